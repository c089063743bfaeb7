package dev.imgd.cli;

import dev.imgd.image.ImageCopier;
import dev.imgd.image.RegistryClients;
import dev.imgd.model.Descriptor;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.Reference;
import java.io.IOException;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// `imgctl blob`: blobs of a registry.
@Command(
        name = "blob",
        description = "Reads and writes blobs of a registry.",
        subcommands = {BlobCommands.Get.class, BlobCommands.Put.class})
final class BlobCommands extends CommandGroup {
    private static ImageCopier copier(Config config, RegistryClients registries)
            throws ImageException {
        return new ImageCopier(
                registries, config.limits(), config.get(Config.CONCURRENT_DOWNLOADS));
    }

    @Command(
            name = "get",
            description = {
                "Writes a blob to standard output or a file.",
                "The last bytes come only when the digest of the whole is right."
            })
    static final class Get extends RegistryCommand {
        @Parameters(
                paramLabel = "NAME@DIGEST",
                description = "For example localhost:5000/a@sha256:…, a layer of its manifest.")
        String reference = "";

        @Option(
                names = "--file",
                paramLabel = "FILE",
                description = "Write to a file that does not exist yet (default: standard output).")
        @Nullable Path file;

        @Override
        String asked() {
            return reference;
        }

        @Override
        int run(Config config, RegistryClients registries) throws ImageException {
            Reference wanted = Reference.parse(reference);
            if (wanted.digest().isEmpty()) {
                throw ImageException.invalidArgument(
                        "blob get %s: wanted NAME@DIGEST; imgctl manifest get %s has the digests of its blobs"
                                .formatted(wanted, wanted));
            }
            ImageCopier copier = copier(config, registries);
            if (file == null) {
                copier.fetchBlob(
                        wanted, wanted.digest().get(), plainHttp, Channels.newChannel(out()));
                print(new byte[0]);
                return 0;
            }
            try (FileChannel out =
                    FileChannel.open(
                            file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
                boolean complete = false;
                try {
                    copier.fetchBlob(wanted, wanted.digest().get(), plainHttp, out);
                    complete = true;
                } finally {
                    if (!complete) {
                        Files.deleteIfExists(file);
                    }
                }
            } catch (FileAlreadyExistsException e) {
                throw ImageException.alreadyExists(file + ": exists already");
            } catch (ImageException e) {
                throw e;
            } catch (IOException e) {
                throw new ImageException(
                        ErrorKind.INTERNAL, "blob get: %s: %s".formatted(file, e.getMessage()), e);
            }
            return 0;
        }
    }

    @Command(name = "put", description = "Pushes a file as a blob and prints its digest.")
    static final class Put extends RegistryCommand {
        @Parameters(
                index = "0",
                paramLabel = "REPOSITORY",
                description = "For example localhost:5000/a.")
        String repository = "";

        @Parameters(
                index = "1",
                arity = "0..1",
                paramLabel = "FILE",
                description = "Default: standard input.")
        @Nullable Path file;

        @Override
        public Integer call() throws ImageException {
            if (file == null) {
                user.needNoInput("blob put");
            }
            return super.call();
        }

        @Override
        String asked() {
            return repository;
        }

        @Override
        int run(Config config, RegistryClients registries) throws ImageException {
            Reference target = Reference.parse(repository);
            Descriptor blob;
            if (file != null) {
                blob = copier(config, registries).pushBlob(target, file, plainHttp);
            } else {
                // The digest must be known before the first byte is sent.
                try {
                    Path spool = Files.createTempFile("imgctl-blob-", "");
                    try {
                        Files.copy(input(), spool, StandardCopyOption.REPLACE_EXISTING);
                        blob = copier(config, registries).pushBlob(target, spool, plainHttp);
                    } finally {
                        Files.delete(spool);
                    }
                } catch (ImageException e) {
                    throw e;
                } catch (IOException e) {
                    throw new ImageException(
                            ErrorKind.INTERNAL, "blob put: cannot read: " + e.getMessage(), e);
                }
            }
            if (options().json()) {
                JsonWriter json = JsonWriter.indented();
                blob.write(json);
                out().println(json);
            } else {
                out().println(blob.digest());
            }
            return 0;
        }
    }
}
