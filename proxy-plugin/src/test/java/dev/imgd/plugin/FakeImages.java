package dev.imgd.plugin;

import dev.imgd.image.ImageService;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import org.jspecify.annotations.Nullable;

/// Remembers each call as text and answers with values that fill every field.
final class FakeImages implements ImageService {
    static final Digest DIGEST = Digest.sha256("image".getBytes(StandardCharsets.UTF_8));
    static final Digest CHAIN = Digest.sha256("chain".getBytes(StandardCharsets.UTF_8));
    static final Instant CREATED = Instant.ofEpochSecond(1_700_000_000L, 123_456_789);

    volatile @Nullable PullRequest lastPull;
    volatile @Nullable CopyRequest lastCopy;

    static final PullResult RESULT =
            new PullResult(
                    "docker.io/library/debian:12",
                    DIGEST,
                    Optional.of(CHAIN),
                    1L << 40,
                    7,
                    5,
                    1234,
                    List.of(
                            new SourceUse("mirror.lan:5000/hub", 0, 2, Optional.of("refused")),
                            new SourceUse("registry-1.docker.io", 1L << 40, 0, Optional.empty())),
                    List.of("layer 3: device skipped"));

    static final ImageDetails DETAILS =
            new ImageDetails(
                    "docker.io/library/debian:12",
                    DIGEST,
                    "application/vnd.oci.image.index.v1+json",
                    "linux/arm64/v8",
                    CHAIN,
                    "{\"manifest\":\"é\"}",
                    DIGEST,
                    "{}",
                    List.of(
                            new LayerDetails(
                                    "type",
                                    DIGEST,
                                    1L << 33,
                                    true,
                                    Optional.of(CHAIN),
                                    Optional.of(DIGEST),
                                    Optional.of("snapshot")),
                            new LayerDetails(
                                    "type",
                                    CHAIN,
                                    0,
                                    false,
                                    Optional.empty(),
                                    Optional.empty(),
                                    Optional.empty())),
                    Optional.of("top"),
                    CREATED,
                    CREATED.plusNanos(1),
                    Map.of("label", "value"));

    final Queue<String> calls = new ConcurrentLinkedQueue<>();
    final CountDownLatch interrupted = new CountDownLatch(1);
    final CountDownLatch blocked = new CountDownLatch(1);
    final CountDownLatch pulled = new CountDownLatch(1);
    volatile ImageException failure;
    volatile boolean blocking;
    volatile int count = 1;
    volatile List<Progress> states = List.of();

    private void called(String call) throws ImageException {
        calls.add(call);
        if (blocking) {
            try {
                blocked.countDown();
                new CountDownLatch(1).await();
            } catch (InterruptedException e) {
                interrupted.countDown();
                throw new ImageException(ErrorKind.CANCELLED, "interrupted", e);
            }
        }
        if (failure != null) {
            throw failure;
        }
    }

    static ImageSummary summary(int i) {
        return new ImageSummary(
                "docker.io/library/image:" + i,
                DIGEST,
                "application/vnd.oci.image.manifest.v1+json",
                (1L << 35) + i,
                List.of("linux/amd64", "linux/arm/v7"),
                i % 2 == 0,
                CREATED,
                CREATED.plusSeconds(i));
    }

    private List<ImageSummary> summaries() {
        List<ImageSummary> images = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            images.add(summary(i));
        }
        return images;
    }

    private List<GcItem> items(String kind) {
        List<GcItem> items = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            items.add(new GcItem(kind, kind + i, i, "reason " + i));
        }
        return items;
    }

    @Override
    public PullResult pull(PullRequest request, ProgressListener progress) throws ImageException {
        called(request.toString());
        lastPull = request;
        states.forEach(progress::progress);
        pulled.countDown();
        return RESULT;
    }

    @Override
    public List<ImageSummary> list() throws ImageException {
        called("list");
        return summaries();
    }

    @Override
    public ImageDetails inspect(String reference, Optional<String> platform) throws ImageException {
        called("inspect " + reference + " " + platform);
        return DETAILS;
    }

    @Override
    public ImageSummary tag(String source, String target) throws ImageException {
        called("tag " + source + " " + target);
        return summary(3);
    }

    @Override
    public List<String> remove(List<String> references) throws ImageException {
        called("remove " + references);
        return references;
    }

    @Override
    public GcReport gc(boolean dryRun, boolean explain) throws ImageException {
        called("gc " + dryRun + " " + explain);
        return new GcReport(dryRun, 1L << 41, items("blob"), explain ? items("lease") : List.of());
    }

    @Override
    public List<String> verify(boolean rehash) throws ImageException {
        called("verify " + rehash);
        return items("blob").stream().map(GcItem::id).toList();
    }

    @Override
    public void mount(String reference, Optional<String> platform, Path directory, boolean writable)
            throws ImageException {
        called("mount " + reference + " " + platform + " " + directory + " " + writable);
    }

    @Override
    public void unmount(Path directory) throws ImageException {
        called("unmount " + directory);
    }

    @Override
    public void bundle(
            String reference, Optional<String> platform, Path directory, List<String> arguments)
            throws ImageException {
        called("bundle " + reference + " " + platform + " " + directory + " " + arguments);
    }

    @Override
    public List<ImageSummary> importImages(Path source, Optional<String> name, boolean unpack)
            throws ImageException {
        called("import " + source + " " + name + " " + unpack);
        return summaries();
    }

    @Override
    public void export(List<String> references, Path target, ExportFormat format)
            throws ImageException {
        called("export " + references + " " + target + " " + format);
    }

    static final CopyResult COPIED =
            new CopyResult(
                    "docker://localhost:5000/a:1",
                    DIGEST,
                    "application/vnd.oci.image.index.v1+json",
                    3,
                    7,
                    2,
                    1,
                    4,
                    5,
                    1L << 40,
                    77,
                    List.of("a warning"));

    @Override
    public CopyResult copy(CopyRequest request, ProgressListener progress) throws ImageException {
        called("copy " + request);
        lastCopy = request;
        progress.progress(
                new Progress(
                        request.destination().toString(),
                        "copying",
                        1,
                        2,
                        3,
                        List.of(),
                        List.of()));
        return COPIED;
    }

    @Override
    public void close() {}
}
