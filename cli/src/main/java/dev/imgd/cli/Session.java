package dev.imgd.cli;

import dev.imgd.content.Store;
import dev.imgd.image.ImageService;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.plugin.RemoteImageService;
import dev.imgd.registry.CredentialSource;
import dev.imgd.registry.Credentials;
import dev.imgd.trust.DecryptionKeys;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// What one command works with: the daemon if there is one, else the store itself.
///
/// `--address` asks for that daemon, `--root` for that store; with both, the store is used if no
/// daemon answers. With neither, a daemon that answers at the configured address is used, else the
/// configured store.
///
/// @param assembly closed with the session; null when a daemon owns the store
/// @param callers credentials of this process that a daemon is given for the registry it is to use:
///   the user's, who may have logged in to more than the daemon; none where the store is used
///   directly, because this process then finds them itself
/// @param interruption ends with the session
record Session(
        ImageService images,
        @Nullable Assembly assembly,
        CredentialSource callers,
        Interruption interruption)
        implements AutoCloseable {

    static Session open(GlobalOptions options) throws ImageException {
        Config config = options.configuration();
        if (options.address != null) {
            if (answers(options.address)) {
                return remote(options.address, options, config);
            }
            if (options.root == null) {
                throw ImageException.unavailable(
                        "no daemon answers at %s; start imgd, or say --root DIR to use a store directly"
                                .formatted(options.address),
                        null);
            }
        }
        if (options.root == null
                && options.address == null
                && Files.exists(config.get(Config.ADDRESS))
                && answers(config.get(Config.ADDRESS))) {
            return remote(config.get(Config.ADDRESS), options, config);
        }
        Config effective =
                options.root == null
                        ? config
                        : config.with(Config.ROOT, options.root.toAbsolutePath().normalize());
        if (options.onlyExisting && !Store.exists(effective.get(Config.ROOT))) {
            throw ImageException.notFound(
                    "no store at %s; %s, or pull or import an image to begin one"
                            .formatted(
                                    effective.get(Config.ROOT),
                                    options.root == null
                                            ? "name another with --root DIR or in the configuration"
                                            : "name another with --root"));
        }
        Assembly assembly = Assembly.open(effective, keys(options.decryptionKeys));
        return new Session(
                assembly.images(), assembly, CredentialSource.anonymous(), Interruption.guard());
    }

    /// Keys that a user names.
    static DecryptionKeys keys(List<String> names) throws ImageException {
        DecryptionKeys keys = DecryptionKeys.NONE;
        for (String name : names) {
            keys = keys.and(DecryptionKeys.named(name));
        }
        return keys;
    }

    private static Session remote(Path address, GlobalOptions options, Config config)
            throws ImageException {
        if (!options.decryptionKeys.isEmpty()) {
            // A key that went over the socket would be in two processes, and in the daemon for
            // good.
            throw ImageException.failedPrecondition(
                    "the daemon at %s uses its own keys only; put the key into the directory of its decryption.keys_path, or use a store of your own with --root"
                            .formatted(address));
        }
        return new Session(
                RemoteImageService.connect(address),
                null,
                callers(options, config, System.getenv()),
                Interruption.guard());
    }

    /// What is found is for one call of the daemon, and wins over the daemon's own.
    static CredentialSource callers(
            GlobalOptions options, Config config, Map<String, String> environment) {
        if (options.authFile != null) {
            // "No other": what the file does not have, the daemon shall not replace by its own.
            return CredentialSource.file(options.authFile.toAbsolutePath().normalize())
                    .orElse((_, _) -> Optional.of(new Credentials.Anonymous()));
        }
        // A file that the configuration wants used alone is for the daemon to read.
        return config.get(Config.AUTH_FILE).isPresent()
                ? CredentialSource.anonymous()
                : CredentialSource.standardFiles(environment);
    }

    private static boolean answers(Path address) throws ImageException {
        try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
            channel.connect(UnixDomainSocketAddress.of(address));
            return true;
        } catch (java.nio.file.AccessDeniedException e) {
            throw denied(address, e);
        } catch (IOException e) {
            if (String.valueOf(e.getMessage()).contains("Permission denied")) {
                throw denied(address, e);
            }
            return false; // nobody listens: the daemon is gone and left its socket
        }
    }

    private static ImageException denied(Path address, IOException cause) {
        return new ImageException(
                ErrorKind.PERMISSION_DENIED,
                "the daemon at %s does not let this user connect; run as the user it runs as, usually root"
                        .formatted(address),
                cause);
    }

    @Override
    public void close() throws ImageException {
        try (interruption) {
            if (assembly != null) {
                assembly.close();
            } else {
                images.close();
            }
        }
    }
}
