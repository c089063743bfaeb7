package dev.imgd.cli;

import dev.imgd.image.RegistryClients;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.Reference;
import dev.imgd.model.Text;
import dev.imgd.registry.RegistryListing;
import dev.imgd.registry.RegistryListing.Referrers;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// `imgctl registry`: what registries have, and how they are reached.
@Command(
        name = "registry",
        description = "Looks into registries.",
        subcommands = {
            RegistryCommands.Tags.class,
            RegistryCommands.Catalog.class,
            RegistryCommands.ListReferrers.class,
            RegistryCommands.Delete.class,
            RegistryHostsCommand.class,
            RegistryResolveCommand.class,
            RegistryTestCommand.class
        })
final class RegistryCommands extends CommandGroup {
    private static final int MAX_SHOWN_CHARS = 512;

    /// A list of names.
    abstract static class Names extends RegistryCommand {
        @Option(
                names = "--limit",
                paramLabel = "N",
                description = "At most so many (default: all).")
        int limit = RegistryListing.MAX_NAMES;

        @Option(
                names = "--after",
                paramLabel = "NAME",
                description = "Only those after this one, in the registry's order.")
        @Nullable String after;

        int checkedLimit() throws ImageException {
            if (limit < 1 || limit > RegistryListing.MAX_NAMES) {
                throw ImageException.invalidArgument(
                        "--limit %d: wanted 1 to %d".formatted(limit, RegistryListing.MAX_NAMES));
            }
            return limit;
        }

        void print(String of, String member, List<String> names) {
            if (options().json()) {
                out().println(
                                JsonWriter.indented()
                                        .beginObject()
                                        .member("name", of)
                                        .member(member, names)
                                        .endObject());
            } else {
                names.forEach(name -> out().println(Text.printable(name, MAX_SHOWN_CHARS)));
            }
        }
    }

    @Command(name = "tags", description = "Lists the tags of a repository.")
    static final class Tags extends Names {
        @Parameters(
                paramLabel = "REPOSITORY",
                description = "For example debian or localhost:5000/a.")
        String repository = "";

        @Override
        String asked() {
            return repository;
        }

        @Override
        int run(Config config, RegistryClients registries) throws ImageException {
            Reference reference = Reference.parse(repository);
            check(reference);
            List<String> tags =
                    client(registries, reference)
                            .listing()
                            .tags(reference, Optional.ofNullable(after), checkedLimit());
            print(reference.name(), "tags", tags);
            return 0;
        }

        /// Refuses what was meant otherwise: a host alone would be a repository of Docker Hub.
        private void check(Reference reference) throws ImageException {
            String shown = Text.printable(repository, 160);
            String first = repository.split("[:@]", 2)[0];
            if (repository.indexOf('/') < 0
                    && (first.equals("localhost") || first.indexOf('.') >= 0)) {
                throw ImageException.invalidArgument(
                        "registry tags %s: a registry without a repository; say %s/REPOSITORY, or imgctl registry catalog %s for its repositories"
                                .formatted(shown, shown, shown));
            }
            if (reference.tag().isPresent() || reference.digest().isPresent()) {
                boolean bare = repository.indexOf('/') < 0;
                boolean port = bare && reference.tag().filter(t -> t.matches("[0-9]+")).isPresent();
                throw ImageException.invalidArgument(
                        "registry tags %s: wanted a repository without a tag or digest; say %s for all its tags, or %s"
                                .formatted(
                                        shown,
                                        bare ? first : reference.name(),
                                        port
                                                ? shown + "/REPOSITORY if that is a registry"
                                                : "imgctl manifest digest %s for what this one is"
                                                        .formatted(shown)));
            }
        }
    }

    @Command(
            name = "catalog",
            description = "Lists the repositories of a registry, where it tells them.")
    static final class Catalog extends Names {
        @Parameters(paramLabel = "REGISTRY", description = "For example localhost:5000.")
        String registry = "";

        @Override
        String asked() {
            return registry + "/any";
        }

        @Override
        int run(Config config, RegistryClients registries) throws ImageException {
            // Whatever a registry may be called is what a reference may begin with.
            Reference any = Reference.parse(registry + "/any");
            if (!any.registry().equals(registry)) {
                throw ImageException.invalidArgument(
                        "\"%s\": wanted a registry, for example localhost:5000 or docker.io"
                                .formatted(Text.printable(registry, 160)));
            }
            List<String> repositories =
                    client(registries, any)
                            .listing()
                            .repositories(registry, Optional.ofNullable(after), checkedLimit());
            print(registry, "repositories", repositories);
            return 0;
        }
    }

    @Command(
            name = "referrers",
            description = "Lists signatures and other artifacts that refer to an image.")
    static final class ListReferrers extends RegistryCommand {
        @Parameters(paramLabel = "REF")
        String reference = "";

        @Option(names = "--type", paramLabel = "TYPE", description = "Only artifacts of this type.")
        @Nullable String type;

        @Override
        String asked() {
            return reference;
        }

        @Override
        int run(Config config, RegistryClients registries) throws ImageException {
            Reference image = Reference.parse(reference).withDefaultTag();
            var client = client(registries, image);
            Digest subject =
                    image.digest().isPresent()
                            ? image.digest().get()
                            : client.resolve(image).descriptor().digest();
            Referrers referrers =
                    client.listing().referrers(image, subject, Optional.ofNullable(type));
            if (options().json()) {
                JsonWriter json =
                        JsonWriter.indented()
                                .beginObject()
                                .member("subject", subject.toString())
                                .member("byTag", referrers.byTag())
                                .beginArray("referrers");
                referrers.manifests().forEach(entry -> entry.write(json));
                out().println(json.endArray().endObject());
                return 0;
            }
            Table table = new Table("DIGEST", "TYPE", "SIZE");
            for (Descriptor entry : referrers.manifests()) {
                table.row(
                        entry.digest().toString(),
                        Text.printable(entry.artifactType().orElse("-"), 120),
                        Sizes.bytes(entry.sizeBytes()));
            }
            table.print(out());
            return 0;
        }
    }

    @Command(
            name = "delete",
            description = {
                "Deletes a tag, or a manifest by its digest with all its tags, from a registry.",
                "What it consists of goes with the registry's own collection of garbage."
            })
    static final class Delete extends RegistryCommand {
        @Parameters(paramLabel = "REF", description = "With a tag or a digest.")
        String reference = "";

        @Option(names = "--blob", description = "Delete the blob of that digest.")
        boolean blob;

        @Override
        String asked() {
            return reference;
        }

        @Override
        int run(Config config, RegistryClients registries) throws ImageException {
            Reference wanted = Reference.parse(reference);
            if (wanted.digest().isEmpty() && (blob || wanted.tag().isEmpty())) {
                throw ImageException.invalidArgument(
                        "delete %s: say which, as %s"
                                .formatted(
                                        wanted, blob ? "NAME@DIGEST" : "NAME:TAG or NAME@DIGEST"));
            }
            var writer = client(registries, wanted).writer();
            if (blob) {
                writer.deleteBlob(wanted, wanted.digest().orElseThrow());
            } else {
                writer.deleteManifest(wanted);
            }
            if (options().json()) {
                out().println(
                                JsonWriter.indented()
                                        .beginObject()
                                        .member("deleted", wanted.toString())
                                        .endObject());
            } else {
                out().println(wanted);
            }
            return 0;
        }
    }
}
