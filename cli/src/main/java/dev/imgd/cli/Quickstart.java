package dev.imgd.cli;

import dev.imgd.image.ImageService;
import dev.imgd.image.ImageService.GcReport;
import dev.imgd.image.ImageService.ImageDetails;
import dev.imgd.image.ImageService.LayerDetails;
import dev.imgd.image.ImageService.PullRequest;
import dev.imgd.image.ImageService.PullResult;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.registry.EmbeddedRegistry;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.channels.ClosedByInterruptException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParentCommand;

/// `imgctl quickstart`: the main job, on an embedded registry and a store in a temporary directory.
@Command(
        name = "quickstart",
        description = {
            "Shows the main job on this machine with a sample image.",
            "Serves it from an embedded registry, pulls, verifies, unpacks, mounts and reads it, and"
                    + " removes everything again."
        })
final class Quickstart implements Callable<Integer> {
    private static final String REPOSITORY = "sample";

    @ParentCommand @Nullable Imgctl parent;

    @Option(
            names = {"-h", "--help"},
            usageHelp = true,
            description = "Shows this text.")
    boolean help;

    @Option(names = "--keep", description = "Leave the store where it is, to look at it.")
    boolean keep;

    private int step;

    @Override
    public Integer call() throws ImageException {
        // Before there is a directory that a signal could leave behind.
        try (Interruption _ = Interruption.guard()) {
            show();
        }
        return 0;
    }

    private void show() throws ImageException {
        PrintStream out = Console.current().out();
        long started = System.nanoTime();
        Path directory = temporary();
        try {
            run(directory, out);
        } finally {
            if (!keep) {
                delete(directory);
            }
        }
        out.println();
        out.println(
                "Done in %s. %s"
                        .formatted(
                                Sizes.millis((System.nanoTime() - started) / 1_000_000),
                                keep ? "The store is in " + directory : "Nothing is left behind."));
        out.println("Next: imgctl pull debian:12, then imgctl --help.");
    }

    private void run(Path directory, PrintStream out) throws ImageException {
        boolean root = Superuser.running();
        long at = System.nanoTime();
        SampleImage sample = SampleImage.build();
        try (EmbeddedRegistry registry = EmbeddedRegistry.start(sample.served(REPOSITORY))) {
            String reference = registry.authority() + "/" + REPOSITORY + ":latest";
            at =
                    say(
                            out,
                            at,
                            "Made a sample image of 3 layers (%s compressed) from this host's programs, and"
                                    .formatted(Sizes.bytes(sample.sizeBytes())),
                            "serve it from a registry on " + registry.authority());
            Config config =
                    Config.load(Objects.requireNonNull(parent).options.config)
                            .with(Config.ROOT, directory.resolve("store"));
            try (Assembly assembly = Assembly.open(config)) {
                at = say(out, at, "Opened an empty store in " + config.get(Config.ROOT));
                pullAndShow(out, at, assembly.images(), reference, directory, root);
            }
        } catch (ImageException e) {
            throw e;
        } catch (ClosedByInterruptException e) {
            throw new ImageException(ErrorKind.CANCELLED, "quickstart: interrupted", e);
        } catch (IOException e) {
            throw new ImageException(ErrorKind.INTERNAL, "quickstart: " + e.getMessage(), e);
        }
    }

    private void pullAndShow(
            PrintStream out,
            long since,
            ImageService images,
            String reference,
            Path directory,
            boolean root)
            throws ImageException, IOException {
        long at = since;
        PullRequest request = new PullRequest(reference, Optional.empty(), false, root, false);
        PullResult pulled = images.pull(request, ImageService.ProgressListener.NONE);
        at =
                say(
                        out,
                        at,
                        "Pulled %s".formatted(pulled.name()),
                        "%s fetched; every blob matches its SHA-256 digest"
                                .formatted(Sizes.bytes(pulled.fetchedBytes())),
                        root
                                ? "unpacked in the same pass; every layer matches its diffID"
                                : "stored only: unpacking needs root (owners, devices, mounts)");
        ImageDetails details = images.inspect(reference, Optional.empty());
        at =
                say(
                        out,
                        at,
                        "Looked at it: %s for %s".formatted(details.digest(), details.platform()));
        for (LayerDetails layer : details.layers()) {
            out.println(
                    "     layer %s  %9s  diffID %s"
                            .formatted(
                                    layer.digest().shortHex(),
                                    Sizes.bytes(layer.sizeBytes()),
                                    layer.diffId().map(d -> d.shortHex()).orElse("-")));
        }
        if (root) {
            at = mountAndRead(out, at, images, reference, directory);
        }
        images.remove(List.of(reference));
        GcReport report = images.gc(false, false);
        say(
                out,
                at,
                "Removed the image and collected garbage: %d objects, %s freed"
                        .formatted(report.deleted().size(), Sizes.bytes(report.freedBytes())));
    }

    private long mountAndRead(
            PrintStream out, long since, ImageService images, String reference, Path directory)
            throws ImageException, IOException {
        long at = since;
        Path mountpoint = directory.resolve("mnt");
        images.mount(reference, mountpoint, false);
        try {
            at = say(out, at, "Mounted it read-only at %s (overlayfs)".formatted(mountpoint));
            String text = Files.readString(mountpoint.resolve("." + SampleImage.GREETING));
            if (!text.equals(SampleImage.GREETING_TEXT)) {
                throw ImageException.invalidContent(
                        "quickstart: %s has an unexpected text".formatted(SampleImage.GREETING));
            }
            if (Files.exists(mountpoint.resolve("." + SampleImage.DELETED))) {
                throw ImageException.invalidContent(
                        "quickstart: %s should have been deleted by the third layer"
                                .formatted(SampleImage.DELETED));
            }
            at =
                    say(
                            out,
                            at,
                            "Read %s: \"%s\"".formatted(SampleImage.GREETING, text.strip()),
                            "the third layer replaced that file and deleted another; both show");
        } finally {
            images.unmount(mountpoint);
        }
        return say(out, at, "Unmounted it");
    }

    private long say(PrintStream out, long since, String text, String... more) {
        long now = System.nanoTime();
        out.println(
                "%2d. %s  [%s]".formatted(++step, text, Sizes.millis((now - since) / 1_000_000)));
        for (String line : more) {
            out.println("     " + line);
        }
        out.flush();
        return System.nanoTime();
    }

    private static Path temporary() throws ImageException {
        try {
            return Files.createTempDirectory("imgd-quickstart-");
        } catch (IOException e) {
            throw new ImageException(
                    ErrorKind.NO_SPACE, "cannot make a temporary directory: " + e.getMessage(), e);
        }
    }

    private static void delete(Path directory) throws ImageException {
        try (Stream<Path> tree = Files.walk(directory)) {
            for (Path path : tree.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(path);
            }
        } catch (IOException e) {
            throw new ImageException(
                    ErrorKind.INTERNAL,
                    "quickstart: cannot remove %s: %s".formatted(directory, e.getMessage()),
                    e);
        }
    }
}
