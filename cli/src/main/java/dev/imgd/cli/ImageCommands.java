package dev.imgd.cli;

import dev.imgd.image.ImageService;
import dev.imgd.image.ImageService.ExportFormat;
import dev.imgd.image.ImageService.GcItem;
import dev.imgd.image.ImageService.GcReport;
import dev.imgd.image.ImageService.ImageDetails;
import dev.imgd.image.ImageService.ImageSummary;
import dev.imgd.image.ImageService.LayerDetails;
import dev.imgd.image.ImageService.PullRequest;
import dev.imgd.image.ImageService.PullResult;
import dev.imgd.image.ImageService.SourceUse;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Json;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.Reference;
import dev.imgd.registry.Credentials;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;

/// The commands that work on images. Each opens the service, makes one call and prints the result.
final class ImageCommands {
    private ImageCommands() {}

    /// What the commands share.
    abstract static class ImageCommand implements Callable<Integer> {
        @ParentCommand @Nullable Imgctl parent;

        @Option(
                names = {"--help", "-h"},
                usageHelp = true,
                description = "Shows this text.")
        boolean help;

        GlobalOptions options() {
            return Objects.requireNonNull(parent).options;
        }

        PrintStream out() {
            return Console.current().out();
        }

        PrintStream err() {
            return Console.current().err();
        }

        abstract int run(ImageService images) throws ImageException;

        int run(Session session) throws ImageException {
            return run(session.images());
        }

        /// Whether the command may be the first of a store.
        boolean beginsStore() {
            return false;
        }

        /// The images that the command is about, as far as a mistake in one ends it: that is found
        /// out before a store is looked for.
        List<String> named() {
            return List.of();
        }

        @Override
        public Integer call() throws ImageException {
            for (String reference : named()) {
                Reference _ = Reference.parse(reference);
            }
            options().onlyExisting = !beginsStore();
            try (Session session = Objects.requireNonNull(parent).sessions.open(options())) {
                return run(session);
            }
        }
    }

    /// Commands that may unpack, and need keys for layers that are encrypted.
    abstract static class UnpackingCommand extends ImageCommand {
        @Option(
                names = "--decryption-key",
                paramLabel = "FILE[:file=F|:fd=N]",
                description = {
                    "A private key for encrypted layers, and where its password is;",
                    "not with a daemon, which has keys of its own."
                })
        List<String> decryptionKeys = List.of();

        @Override
        public Integer call() throws ImageException {
            options().decryptionKeys = decryptionKeys;
            return super.call();
        }
    }

    private static JsonWriter summary(JsonWriter json, ImageSummary image) {
        return json.beginObject()
                .member("name", image.name())
                .member("digest", image.digest().toString())
                .member("mediaType", image.mediaType())
                .member("sizeBytes", image.sizeBytes())
                .member("platforms", image.platforms())
                .member("unpacked", image.unpacked())
                .member("created", image.created().toString())
                .member("updated", image.updated().toString())
                .endObject();
    }

    /// Writes a source as a member of an array.
    static JsonWriter source(JsonWriter json, SourceUse use) {
        json.beginObject()
                .member("host", use.host())
                .member("bytes", use.bytes())
                .member("retries", use.retries());
        use.dropped().ifPresent(reason -> json.member("dropped", reason));
        return json.endObject();
    }

    @Command(
            name = "pull",
            description = {
                "Fetches, verifies, stores and unpacks an image.",
                "What is there already is not fetched again; an interrupted pull goes on where it stopped."
            })
    static final class Pull extends UnpackingCommand {
        @Parameters(
                paramLabel = "REF",
                description = "For example debian:12 or localhost:5000/a@sha256:…")
        String reference = "";

        @Option(
                names = "--platform",
                paramLabel = "P",
                description = "For example linux/arm64 (default: this host's).")
        @Nullable String platform;

        @Option(names = "--all-platforms", description = "Fetch every platform of the image.")
        boolean allPlatforms;

        @Option(names = "--no-unpack", description = "Only store.")
        boolean noUnpack;

        @Option(names = "--plain-http", description = "Speak http, not https, to the registry.")
        boolean plainHttp;

        @Option(
                names = {"-q", "--quiet"},
                description = "Print only the digest.")
        boolean quiet;

        @Mixin final CredentialOptions user = new CredentialOptions();

        private Optional<Credentials> credentials = Optional.empty();

        @Override
        boolean beginsStore() {
            return true;
        }

        @Override
        public Integer call() throws ImageException {
            Warmup.ofPull();
            credentials = user.read(reference);
            return super.call();
        }

        @Override
        int run(Session session) throws ImageException {
            if (credentials.isEmpty()) {
                Reference asked = Reference.parse(reference);
                credentials = session.callers().find(asked.registry(), asked.repository());
            }
            return super.run(session);
        }

        @Override
        int run(ImageService images) throws ImageException {
            PullRequest request =
                    new PullRequest(
                            reference,
                            Optional.ofNullable(platform),
                            allPlatforms,
                            !noUnpack,
                            plainHttp,
                            credentials);
            PullResult result;
            try (ProgressRenderer progress =
                    ProgressRenderer.of(
                            quiet ? GlobalOptions.ProgressMode.none : options().progress, err())) {
                result = images.pull(request, progress);
            }
            result.warnings().forEach(Console.current()::warn);
            if (options().json()) {
                JsonWriter json =
                        JsonWriter.indented()
                                .beginObject()
                                .member("name", result.name())
                                .member("digest", result.digest().toString());
                if (result.chainId().isPresent()) {
                    json.member("chainId", result.chainId().get().toString());
                }
                json.member("layers", result.layers())
                        .member("fetchedBytes", result.fetchedBytes())
                        .member("reusedBytes", result.reusedBytes())
                        .member("millis", result.millis())
                        .beginArray("sources");
                result.sources().forEach(use -> source(json, use));
                json.endArray().member("warnings", result.warnings());
                out().println(json.endObject());
            } else if (quiet) {
                out().println(result.digest());
            } else {
                out().println(result.name() + "@" + result.digest());
                err().println(
                                "%d %s, %s fetched, %s reused, in %s"
                                        .formatted(
                                                result.layers(),
                                                result.layers() == 1 ? "layer" : "layers",
                                                Sizes.bytes(result.fetchedBytes()),
                                                Sizes.bytes(result.reusedBytes()),
                                                Sizes.millis(result.millis())));
                printSources(result.sources());
            }
            return 0;
        }

        /// Says who sent what, where that is not simply the registry.
        private void printSources(List<SourceUse> sources) {
            boolean simple =
                    sources.stream().allMatch(use -> use.retries() == 0 && use.dropped().isEmpty());
            if (simple && sources.size() < 2) {
                return;
            }
            Table table = new Table("SOURCE", "FETCHED", "RETRIES", "DROPPED");
            for (SourceUse use : sources) {
                table.row(
                        use.host(),
                        Sizes.bytes(use.bytes()),
                        Integer.toString(use.retries()),
                        use.dropped().orElse(""));
            }
            table.print(err());
        }
    }

    @Command(name = "ls", description = "Lists images.")
    static final class Ls extends ImageCommand {
        @Option(
                names = {"-q", "--quiet"},
                description = "Print only names.")
        boolean quiet;

        @Override
        int run(ImageService images) throws ImageException {
            List<ImageSummary> all = images.list();
            if (options().json()) {
                JsonWriter json = JsonWriter.indented().beginArray();
                all.forEach(image -> summary(json, image));
                out().println(json.endArray());
            } else if (quiet) {
                all.forEach(image -> out().println(image.name()));
            } else {
                Table table = new Table("NAME", "DIGEST", "SIZE", "PLATFORMS", "UNPACKED");
                for (ImageSummary image : all) {
                    table.row(
                            image.name(),
                            image.digest().algorithm().label() + ":" + image.digest().shortHex(),
                            Sizes.bytes(image.sizeBytes()),
                            String.join(",", image.platforms()),
                            image.unpacked() ? "yes" : "no");
                }
                table.print(out());
            }
            return 0;
        }
    }

    @Command(name = "inspect", description = "Prints all that is known of an image, as JSON.")
    static final class Inspect extends ImageCommand {
        @Parameters(paramLabel = "REF")
        String reference = "";

        @Option(names = "--platform", paramLabel = "P", description = "Which of several platforms.")
        @Nullable String platform;

        @Override
        List<String> named() {
            return List.of(reference);
        }

        @Override
        int run(ImageService images) throws ImageException {
            ImageDetails image = images.inspect(reference, Optional.ofNullable(platform));
            JsonWriter json =
                    JsonWriter.indented()
                            .beginObject()
                            .member("name", image.name())
                            .member("digest", image.digest().toString())
                            .member("mediaType", image.mediaType())
                            .member("platform", image.platform())
                            .member("manifestDigest", image.manifestDigest().toString());
            document(json, "manifest", image.manifest());
            json.member("configDigest", image.configDigest().toString());
            if (!image.config().isEmpty()) {
                document(json, "config", image.config());
            }
            json.beginArray("layers");
            for (LayerDetails layer : image.layers()) {
                json.beginObject()
                        .member("mediaType", layer.mediaType())
                        .member("digest", layer.digest().toString())
                        .member("sizeBytes", layer.sizeBytes())
                        .member("present", layer.present());
                layer.diffId().ifPresent(id -> json.member("diffId", id.toString()));
                layer.chainId().ifPresent(id -> json.member("chainId", id.toString()));
                layer.snapshot().ifPresent(name -> json.member("snapshot", name));
                json.endObject();
            }
            json.endArray();
            image.snapshot().ifPresent(name -> json.member("snapshot", name));
            json.member("created", image.created().toString())
                    .member("updated", image.updated().toString())
                    .member("labels", image.labels());
            out().println(json.endObject());
            return 0;
        }

        private static void document(JsonWriter json, String name, String text)
                throws ImageException {
            json.name(name).value(Json.parse(name, text.getBytes(StandardCharsets.UTF_8)));
        }
    }

    @Command(name = "tag", description = "Gives an image a further name.")
    static final class Tag extends ImageCommand {
        @Parameters(index = "0", paramLabel = "SOURCE")
        String source = "";

        @Parameters(index = "1", paramLabel = "TARGET")
        String target = "";

        @Override
        List<String> named() {
            return List.of(source, target);
        }

        @Override
        int run(ImageService images) throws ImageException {
            ImageSummary tagged = images.tag(source, target);
            if (options().json()) {
                out().println(summary(JsonWriter.indented(), tagged));
            } else {
                out().println(tagged.name());
            }
            return 0;
        }
    }

    @Command(name = "rm", description = "Removes image names; the content goes with the next gc.")
    static final class Rm extends ImageCommand {
        @Parameters(paramLabel = "REF", arity = "1..*")
        List<String> references = List.of();

        @Override
        List<String> named() {
            return references.size() == 1 ? references : List.of();
        }

        @Override
        int run(ImageService images) throws ImageException {
            List<String> removed = new ArrayList<>();
            Map<String, ImageException> failed = new LinkedHashMap<>();
            for (String reference : references) {
                try {
                    removed.addAll(images.remove(List.of(reference)));
                } catch (ImageException e) {
                    if (references.size() == 1 || e.kind() == ErrorKind.CANCELLED) {
                        throw e;
                    }
                    failed.put(reference, e);
                }
            }
            if (options().json()) {
                json(removed, failed);
            } else {
                removed.forEach(out()::println);
                failed.values().forEach(e -> err().println("imgctl: " + e.getMessage()));
            }
            return failed.isEmpty() ? 0 : Imgctl.EXIT_PARTIAL;
        }

        private void json(List<String> removed, Map<String, ImageException> failed) {
            JsonWriter json = JsonWriter.indented().beginObject().member("removed", removed);
            json.beginArray("failed");
            failed.forEach(
                    (reference, e) ->
                            json.beginObject()
                                    .member("reference", reference)
                                    .member("code", e.kind().name())
                                    .member("message", String.valueOf(e.getMessage()))
                                    .endObject());
            out().println(json.endArray().endObject());
        }
    }

    @Command(name = "gc", description = "Deletes what no image, lease or snapshot needs any more.")
    static final class Gc extends ImageCommand {
        @Option(names = "--dry-run", description = "Only say what would go.")
        boolean dryRun;

        @Option(names = "--explain", description = "Also say why each thing stays.")
        boolean explain;

        @Override
        int run(ImageService images) throws ImageException {
            GcReport report = images.gc(dryRun, explain);
            if (options().json()) {
                JsonWriter json =
                        JsonWriter.indented()
                                .beginObject()
                                .member("dryRun", report.dryRun())
                                .member("freedBytes", report.freedBytes());
                items(json.beginArray("deleted"), report.deleted());
                if (explain) {
                    items(json.beginArray("kept"), report.kept());
                }
                out().println(json.endObject());
                return 0;
            }
            for (GcItem item : report.deleted()) {
                line(dryRun ? "would delete" : "deleted", item);
            }
            for (GcItem item : report.kept()) {
                line("keeps", item);
            }
            err().println(
                            "%s %d objects, %s"
                                    .formatted(
                                            dryRun ? "would delete" : "deleted",
                                            report.deleted().size(),
                                            Sizes.bytes(report.freedBytes())));
            return 0;
        }

        private void line(String verb, GcItem item) {
            out().println(
                            "%s %s %s (%s): %s"
                                    .formatted(
                                            verb,
                                            item.kind(),
                                            item.id(),
                                            Sizes.bytes(item.sizeBytes()),
                                            item.reason()));
        }

        private static void items(JsonWriter json, List<GcItem> items) {
            for (GcItem item : items) {
                json.beginObject()
                        .member("kind", item.kind())
                        .member("id", item.id())
                        .member("sizeBytes", item.sizeBytes())
                        .member("reason", item.reason())
                        .endObject();
            }
            json.endArray();
        }
    }

    @Command(
            name = "fsck",
            description = "Checks the store against itself; exit code 5 when something is wrong.")
    static final class Fsck extends ImageCommand {
        @Option(names = "--rehash", description = "Also read and hash every blob.")
        boolean rehash;

        @Override
        int run(ImageService images) throws ImageException {
            List<String> findings = images.verify(rehash);
            if (options().json()) {
                JsonWriter json = JsonWriter.indented().beginObject();
                out().println(json.member("findings", findings).endObject());
            } else {
                findings.forEach(out()::println);
            }
            return findings.isEmpty() ? 0 : ErrorKind.DATA_LOSS.exitCode();
        }
    }

    @Command(
            name = "mount",
            description = "Mounts an image at a directory; unpacks it first if it was only stored.")
    static final class MountImage extends UnpackingCommand {
        @Parameters(index = "0", paramLabel = "REF")
        String reference = "";

        @Parameters(index = "1", paramLabel = "DIR")
        Path directory = Path.of("");

        @Option(names = "--platform", paramLabel = "P", description = "Which of several platforms.")
        @Nullable String platform;

        @Option(names = "--rw", description = "Mount writable; changes go with unmount.")
        boolean writable;

        @Override
        List<String> named() {
            return List.of(reference);
        }

        @Override
        int run(ImageService images) throws ImageException {
            Path target = directory.toAbsolutePath().normalize();
            images.mount(reference, Optional.ofNullable(platform), target, writable);
            if (options().json()) {
                out().println(
                                JsonWriter.indented()
                                        .beginObject()
                                        .member("reference", reference)
                                        .member("directory", target.toString())
                                        .member("writable", writable)
                                        .endObject());
            } else {
                out().println(directory);
            }
            return 0;
        }
    }

    @Command(
            name = "unmount",
            description = {
                "Undoes mount or bundle and drops what was written there.",
                "Of a bundle config.json goes too, unless it was changed."
            })
    static final class Unmount extends ImageCommand {
        @Parameters(paramLabel = "DIR")
        Path directory = Path.of("");

        @Override
        int run(ImageService images) throws ImageException {
            Path target = directory.toAbsolutePath().normalize();
            images.unmount(target);
            if (options().json()) {
                out().println(
                                JsonWriter.indented()
                                        .beginObject()
                                        .member("directory", target.toString())
                                        .endObject());
            }
            return 0;
        }
    }

    @Command(
            name = "bundle",
            description = {
                "Makes an OCI runtime bundle: config.json and a writable rootfs, ready for runc run.",
                "Everything after DIR is the command of the container. Remove the bundle with: imgctl unmount DIR"
            })
    static final class Bundle extends UnpackingCommand {
        @Parameters(index = "0", paramLabel = "REF")
        String reference = "";

        @Parameters(index = "1", paramLabel = "DIR")
        Path directory = Path.of("");

        @Parameters(
                index = "2..*",
                paramLabel = "ARG",
                arity = "0..*",
                parameterConsumer = Remainder.class,
                description = "The command to run instead of the image's.")
        List<String> arguments = List.of();

        @Option(names = "--platform", paramLabel = "P", description = "Which of several platforms.")
        @Nullable String platform;

        @Override
        List<String> named() {
            return List.of(reference);
        }

        @Override
        int run(ImageService images) throws ImageException {
            Path target = directory.toAbsolutePath().normalize();
            images.bundle(reference, Optional.ofNullable(platform), target, arguments);
            if (options().json()) {
                out().println(
                                JsonWriter.indented()
                                        .beginObject()
                                        .member("reference", reference)
                                        .member("directory", target.toString())
                                        .member("rootfs", target.resolve("rootfs").toString())
                                        .member("config", target.resolve("config.json").toString())
                                        .endObject());
            } else {
                out().println(directory);
            }
            return 0;
        }
    }

    @Command(
            name = "import",
            description = {
                "Reads images from an OCI layout (directory or tar) or a docker archive.",
                "A tar may be compressed with gzip or zstd."
            })
    static final class Import extends UnpackingCommand {
        @Parameters(paramLabel = "PATH")
        Path source = Path.of("");

        @Option(
                names = "--name",
                paramLabel = "REF",
                description = "The name of the image, instead of the one in the archive.")
        @Nullable String name;

        @Option(names = "--no-unpack", description = "Only store.")
        boolean noUnpack;

        @Override
        boolean beginsStore() {
            return true;
        }

        @Override
        int run(ImageService images) throws ImageException {
            List<ImageSummary> imported =
                    images.importImages(
                            source.toAbsolutePath().normalize(),
                            Optional.ofNullable(name),
                            !noUnpack);
            if (options().json()) {
                JsonWriter json = JsonWriter.indented().beginArray();
                imported.forEach(image -> summary(json, image));
                out().println(json.endArray());
            } else {
                imported.forEach(image -> out().println(image.name() + "@" + image.digest()));
            }
            return 0;
        }
    }

    @Command(name = "export", description = "Writes images to an OCI layout or an archive.")
    static final class Export extends ImageCommand {
        @Parameters(
                index = "0",
                paramLabel = "PATH",
                description = "What to write; must not exist.")
        Path target = Path.of("");

        @Parameters(index = "1..*", paramLabel = "REF", arity = "1..*")
        List<String> references = List.of();

        @Option(
                names = "--format",
                paramLabel = "FORMAT",
                description =
                        "oci-archive, oci-dir or docker-archive (default: oci-archive for *.tar, else oci-dir).")
        @Nullable String format;

        @Override
        List<String> named() {
            return references;
        }

        @Override
        int run(ImageService images) throws ImageException {
            String wanted =
                    format != null
                            ? format.toLowerCase(Locale.ROOT)
                            : target.toString().endsWith(".tar") ? "oci-archive" : "oci-dir";
            Path path = target.toAbsolutePath().normalize();
            images.export(references, path, chosen(wanted));
            if (options().json()) {
                out().println(
                                JsonWriter.indented()
                                        .beginObject()
                                        .member("path", path.toString())
                                        .member("format", wanted)
                                        .member("references", references)
                                        .endObject());
            } else {
                out().println(target);
            }
            return 0;
        }

        private ExportFormat chosen(String wanted) throws ImageException {
            if (Files.exists(target)) {
                throw ImageException.alreadyExists(
                        target + ": exists already; choose another path or remove it");
            }
            return switch (wanted) {
                case "oci-archive" -> ExportFormat.OCI_ARCHIVE;
                case "oci-dir" -> ExportFormat.OCI_DIRECTORY;
                case "docker-archive" -> ExportFormat.DOCKER_ARCHIVE;
                default ->
                        throw ImageException.invalidArgument(
                                "--format %s: wanted oci-archive, oci-dir or docker-archive"
                                        .formatted(wanted));
            };
        }
    }
}
