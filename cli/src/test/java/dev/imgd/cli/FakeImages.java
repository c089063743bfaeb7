package dev.imgd.cli;

import dev.imgd.image.ImageService;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// Remembers what it was asked and answers the same each time; fails for references in [#failures].
final class FakeImages implements ImageService {
    static final Digest ONE = digest("1");
    static final Digest TWO = digest("2");
    static final Instant THEN = Instant.parse("2026-01-02T03:04:05Z");

    final List<String> calls = new ArrayList<>();
    final Map<String, ImageException> failures;
    List<String> findings = List.of();
    List<String> copyWarnings = List.of();
    boolean closed;
    @Nullable PullRequest lastPull;
    @Nullable CopyRequest lastCopy;

    FakeImages() {
        this(Map.of());
    }

    FakeImages(Map<String, ImageException> failures) {
        this.failures = failures;
    }

    static Digest digest(String text) {
        return Digest.sha256(text.getBytes(StandardCharsets.US_ASCII));
    }

    private void called(String what, @Nullable String reference) throws ImageException {
        calls.add(what);
        if (reference != null && failures.containsKey(reference)) {
            throw failures.get(reference);
        }
    }

    private static ImageSummary summary(String name) {
        return new ImageSummary(
                name, ONE, "application/x", 2048, List.of("linux/amd64"), true, THEN, THEN);
    }

    @Override
    public PullResult pull(PullRequest request, ProgressListener progress) throws ImageException {
        lastPull = request;
        called("pull " + request, request.reference());
        progress.progress(new Progress(request.reference(), "done", 3, 3, 3, List.of(), List.of()));
        return new PullResult(
                "n:1",
                ONE,
                Optional.of(TWO),
                3,
                4,
                1,
                1500,
                List.of(new SourceUse("host", 3, 0, Optional.empty())),
                List.of("watch out"));
    }

    @Override
    public List<ImageSummary> list() {
        return List.of(summary("a:1"), summary("b:2"));
    }

    @Override
    public ImageDetails inspect(String reference, Optional<String> platform) throws ImageException {
        called("inspect " + reference + " " + platform, reference);
        return new ImageDetails(
                "a:1",
                ONE,
                "application/x",
                "linux/amd64",
                ONE,
                "{\"schemaVersion\":2}",
                TWO,
                "{\"os\":\"linux\"}",
                List.of(
                        new LayerDetails(
                                "application/l",
                                TWO,
                                5,
                                true,
                                Optional.of(ONE),
                                Optional.empty(),
                                Optional.of("s"))),
                Optional.empty(),
                THEN,
                THEN,
                Map.of("k", "v"));
    }

    @Override
    public ImageSummary tag(String source, String target) throws ImageException {
        called("tag " + source + " " + target, source);
        return summary(target);
    }

    @Override
    public List<String> remove(List<String> references) throws ImageException {
        called("remove " + references, references.getFirst());
        return references;
    }

    @Override
    public GcReport gc(boolean dryRun, boolean explain) throws ImageException {
        called("gc " + dryRun + " " + explain, null);
        return new GcReport(
                dryRun,
                7,
                List.of(new GcItem("blob", "b", 7, "unused")),
                explain ? List.of(new GcItem("blob", "c", 8, "of a:1")) : List.of());
    }

    @Override
    public List<String> verify(boolean rehash) throws ImageException {
        called("verify " + rehash, null);
        return findings;
    }

    @Override
    public void mount(String reference, Optional<String> platform, Path directory, boolean writable)
            throws ImageException {
        called("mount " + reference + " " + platform + " " + directory + " " + writable, reference);
    }

    @Override
    public void unmount(Path directory) throws ImageException {
        called("unmount " + directory, null);
    }

    @Override
    public void bundle(
            String reference, Optional<String> platform, Path directory, List<String> arguments)
            throws ImageException {
        called(
                "bundle " + reference + " " + platform + " " + directory + " " + arguments,
                reference);
    }

    @Override
    public List<ImageSummary> importImages(Path source, Optional<String> name, boolean unpack)
            throws ImageException {
        called("import " + source + " " + name + " " + unpack, null);
        return List.of(summary("a:1"));
    }

    @Override
    public void export(List<String> references, Path target, ExportFormat format)
            throws ImageException {
        called("export " + references + " " + target + " " + format, references.getFirst());
    }

    @Override
    public CopyResult copy(CopyRequest request, ProgressListener progress) throws ImageException {
        lastCopy = request;
        called(
                "copy %s %s %s %s"
                        .formatted(
                                request.source(),
                                request.destination(),
                                request.platforms(),
                                request.platform()),
                request.source().place());
        return new CopyResult(
                request.destination().toString(),
                ONE,
                "application/vnd.oci.image.manifest.v1+json",
                1,
                3,
                2,
                0,
                1,
                0,
                1000,
                12,
                copyWarnings);
    }

    @Override
    public void close() {
        closed = true;
    }
}
