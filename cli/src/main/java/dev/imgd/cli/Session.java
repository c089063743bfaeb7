package dev.imgd.cli;

import dev.imgd.image.ImageService;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.plugin.RemoteImageService;
import dev.imgd.trust.DecryptionKeys;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// What one command works with: the daemon if there is one, else the store itself.
///
/// `--address` asks for that daemon, `--root` for that store; with both, the store is used if no daemon answers.
/// With neither, a daemon that answers at the configured address is used, else the configured
/// store.
///
/// @param assembly closed with the session; null when a daemon owns the store
/// @param interruption ends with the session
record Session(ImageService images, @Nullable Assembly assembly, Interruption interruption)
        implements AutoCloseable {

    static Session open(GlobalOptions options) throws ImageException {
        Config config = options.configuration();
        if (options.address != null) {
            if (answers(options.address)) {
                return remote(options.address, options);
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
            return remote(config.get(Config.ADDRESS), options);
        }
        Config effective =
                options.root == null
                        ? config
                        : config.with(Config.ROOT, options.root.toAbsolutePath().normalize());
        Assembly assembly = Assembly.open(effective, keys(options.decryptionKeys));
        return new Session(assembly.images(), assembly, Interruption.guard());
    }

    /// Keys that a user names.
    static DecryptionKeys keys(List<String> names) throws ImageException {
        DecryptionKeys keys = DecryptionKeys.NONE;
        for (String name : names) {
            keys = keys.and(DecryptionKeys.named(name));
        }
        return keys;
    }

    private static Session remote(Path address, GlobalOptions options) throws ImageException {
        if (options.authFile != null) {
            throw ImageException.invalidArgument(
                    "--authfile: the daemon at %s asks registries itself; set registry.auth_file in its configuration, or use --root"
                            .formatted(address));
        }
        if (!options.decryptionKeys.isEmpty()) {
            // A key that went over the socket would be in two processes, and in the daemon for good.
            throw ImageException.failedPrecondition(
                    "the daemon at %s uses its own keys only; put the key into the directory of its decryption.keys_path, or use a store of your own with --root"
                            .formatted(address));
        }
        return new Session(RemoteImageService.connect(address), null, Interruption.guard());
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
