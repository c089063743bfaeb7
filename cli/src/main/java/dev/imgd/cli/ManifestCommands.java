package dev.imgd.cli;

import dev.imgd.image.RegistryClients;
import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Index;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.Limits;
import dev.imgd.model.ManifestDocument;
import dev.imgd.model.Platform;
import dev.imgd.model.PlatformMatcher;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryClient.FetchedManifest;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// `imgctl manifest`: manifests of a registry as they are.
@Command(
        name = "manifest",
        description = "Reads and writes manifests of a registry.",
        subcommands = {
            ManifestCommands.Get.class,
            ManifestCommands.Put.class,
            ManifestCommands.DigestOf.class
        })
final class ManifestCommands extends CommandGroup {
    /// What reads one manifest.
    abstract static class Reading extends RegistryCommand {
        @Parameters(paramLabel = "REF")
        String reference = "";

        @Option(
                names = "--platform",
                paramLabel = "P",
                description = "Of this platform's image instead of the index.")
        @Nullable String platform;

        @Override
        String asked() {
            return reference;
        }

        FetchedManifest fetch(RegistryClients registries) throws ImageException {
            Reference wanted = Reference.parse(reference).withDefaultTag();
            RegistryClient client = client(registries, wanted);
            FetchedManifest found = client.resolve(wanted);
            if (platform == null) {
                return found;
            }
            PlatformMatcher matcher = PlatformMatcher.only(Platform.parse(platform).normalized());
            for (int depth = 0; depth < Limits.defaults().indexDepth(); depth++) {
                ManifestDocument document =
                        ManifestDocument.parse(
                                wanted.toString(),
                                found.content(),
                                Optional.of(found.descriptor().mediaType()));
                if (!(document instanceof Index index)) {
                    return found;
                }
                List<Descriptor> candidates = matcher.candidates(index);
                if (candidates.isEmpty()) {
                    throw matcher.noMatch(wanted.toString(), PlatformMatcher.offered(index));
                }
                found = client.manifest(wanted, candidates.getFirst());
            }
            throw Limits.defaults().exceeded(Limits.Key.INDEX_DEPTH, wanted.toString());
        }
    }

    @Command(name = "get", description = "Prints a manifest or index, byte for byte.")
    static final class Get extends Reading {
        @Override
        int run(Config config, RegistryClients registries) throws ImageException {
            print(fetch(registries).content().toArray());
            return 0;
        }
    }

    @Command(name = "digest", description = "Prints the digest of a manifest or index.")
    static final class DigestOf extends Reading {
        @Override
        int run(Config config, RegistryClients registries) throws ImageException {
            Descriptor descriptor = fetch(registries).descriptor();
            if (options().json()) {
                JsonWriter json = JsonWriter.indented();
                descriptor.write(json);
                out().println(json);
            } else {
                out().println(descriptor.digest());
            }
            return 0;
        }
    }

    @Command(
            name = "put",
            description = "Pushes a manifest or index; what it refers to must be there.")
    static final class Put extends RegistryCommand {
        @Parameters(
                index = "0",
                paramLabel = "REF",
                description = "With a tag or the manifest's digest; the digest without either.")
        String reference = "";

        @Parameters(
                index = "1",
                arity = "0..1",
                paramLabel = "FILE",
                description = "Default: standard input.")
        @Nullable Path file;

        @Option(
                names = "--media-type",
                paramLabel = "TYPE",
                description = "Default: what the manifest says itself, or looks like.")
        @Nullable String mediaType;

        @Override
        public Integer call() throws ImageException {
            if (file == null) {
                user.needNoInput("manifest put");
            }
            return super.call();
        }

        @Override
        String asked() {
            return reference;
        }

        @Override
        int run(Config config, RegistryClients registries) throws ImageException {
            Reference target = Reference.parse(reference);
            Bytes content = content(config.limits());
            ManifestDocument document =
                    ManifestDocument.parse(
                            file == null ? "standard input" : file.toString(),
                            content,
                            Optional.ofNullable(mediaType),
                            config.limits());
            Digest digest =
                    target.digest().isPresent()
                            ? content.digestLike(target.digest().get())
                            : content.sha256();
            if (target.digest().isPresent() && !target.digest().get().equals(digest)) {
                throw ImageException.invalidArgument(
                        "manifest put %s: the content has another digest: %s"
                                .formatted(target, digest));
            }
            Descriptor descriptor = new Descriptor(document.mediaType(), digest, content.size());
            client(registries, target)
                    .writer()
                    .pushManifest(
                            target,
                            descriptor,
                            content,
                            target.tag().map(List::of).orElse(List.of()));
            if (options().json()) {
                JsonWriter json = JsonWriter.indented();
                descriptor.write(json);
                out().println(json);
            } else {
                out().println(digest);
            }
            return 0;
        }

        private Bytes content(Limits limits) throws ImageException {
            try (InputStream in = file == null ? input() : Files.newInputStream(file)) {
                byte[] content = in.readNBytes(limits.manifestBytes() + 1);
                limits.check(Limits.Key.MANIFEST_BYTES, "manifest put", content.length);
                return Bytes.of(content);
            } catch (ImageException e) {
                throw e;
            } catch (java.nio.file.NoSuchFileException e) {
                throw ImageException.notFound(file + ": no such file");
            } catch (IOException e) {
                throw new ImageException(
                        ErrorKind.INTERNAL, "manifest put: cannot read: " + e.getMessage(), e);
            }
        }
    }
}
