package dev.imgd.snapshot.overlay;

import dev.imgd.content.Store;
import dev.imgd.content.StoreOptions;
import dev.imgd.model.ImageException;
import dev.imgd.snapshot.Snapshotter;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/// Question: does a call take longer when the view holds 20,000 snapshots?
///
/// Workload: a real store; 200 images of 10 committed layers and, on them, active snapshots up to
/// the number given; then rounds of Prepare, Stat, Usage, Commit, a walk by `snapshot.ref` and
/// Remove, one caller. Prints percentiles of each call in microseconds, of a plain append and
/// fdatasync beside them, and the time of one full walk.
///
/// Run: `java -cp <test class path> dev.imgd.snapshot.overlay.SnapshotLatencyBenchmark DIR
/// [SNAPSHOTS] [ROUNDS]`, DIR an absent directory on the disk in question.
final class SnapshotLatencyBenchmark {
    private static final int IMAGES = 200;
    private static final int LAYERS = 10;

    private SnapshotLatencyBenchmark() {}

    @FunctionalInterface
    private interface Call {
        void run() throws IOException;
    }

    private static final class Times {
        private final String name;
        private final long[] nanos;
        private int count;

        Times(String name, int rounds) {
            this.name = name;
            this.nanos = new long[rounds];
        }

        void time(Call call) throws IOException {
            long start = System.nanoTime();
            call.run();
            nanos[count++] = System.nanoTime() - start;
        }

        void print() {
            Arrays.sort(nanos, 0, count);
            System.out.printf(
                    "%-8s p50 %6d  p99 %6d  max %6d us%n",
                    name, at(0.5) / 1000, at(0.99) / 1000, nanos[count - 1] / 1000);
        }

        private long at(double quantile) {
            return nanos[(int) (quantile * (count - 1))];
        }
    }

    public static void main(String[] args) throws Exception {
        Path root = Files.createDirectory(Path.of(args[0]));
        int snapshots = args.length > 1 ? Integer.parseInt(args[1]) : 20_000;
        if (snapshots < IMAGES * LAYERS) {
            throw new IllegalArgumentException("wanted at least " + IMAGES * LAYERS + " snapshots");
        }
        int rounds = args.length > 2 ? Integer.parseInt(args[2]) : 2_000;
        try (Store store = Store.open(root, StoreOptions.defaults());
                OverlaySnapshotService service =
                        OverlaySnapshotService.open(
                                root, store.database(), OverlayOptions.defaults())) {
            Snapshotter view = service.view("benchmark");
            long start = System.nanoTime();
            fill(view, snapshots);
            System.out.printf(
                    "%d snapshots in %.1f s%n", snapshots, (System.nanoTime() - start) / 1e9);
            try (FileChannel probe =
                    FileChannel.open(
                            root.resolve("probe"),
                            StandardOpenOption.CREATE_NEW,
                            StandardOpenOption.APPEND)) {
                measure(view, rounds, probe);
            }
            long walk = System.nanoTime();
            int[] seen = {0};
            view.walk(
                    List.of(),
                    _ -> {
                        seen[0]++;
                        return true;
                    });
            System.out.printf("walk of %d: %.1f ms%n", seen[0], (System.nanoTime() - walk) / 1e6);
        }
    }

    private static String layer(int image, int layer) {
        return "k8s.io/%d/sha256:%064x".formatted(image * LAYERS + layer, image * 31L + layer);
    }

    private static void fill(Snapshotter view, int snapshots) throws ImageException {
        int made = 0;
        for (int image = 0; image < IMAGES; image++) {
            String parent = "";
            for (int layer = 0; layer < LAYERS && made < snapshots; layer++, made++) {
                String name = layer(image, layer);
                Map<String, String> labels = Map.of("containerd.io/snapshot.ref", name);
                view.prepare("extract-" + name, parent, labels);
                view.commit(name, "extract-" + name, labels, "");
                parent = name;
            }
        }
        for (; made < snapshots; made++) {
            view.prepare("k8s.io/c/" + made, layer(made % IMAGES, LAYERS - 1), Map.of());
        }
    }

    private static void measure(Snapshotter view, int rounds, FileChannel probe)
            throws IOException {
        Times sync = new Times("(disk)", rounds);
        Times prepare = new Times("Prepare", rounds);
        Times stat = new Times("Stat", rounds);
        Times usage = new Times("Usage", rounds);
        Times commit = new Times("Commit", rounds);
        Times ref = new Times("by ref", rounds);
        Times remove = new Times("Remove", rounds);
        for (int i = 0; i < rounds; i++) {
            String key = "k8s.io/round/" + i;
            String name = "k8s.io/done/" + i;
            String parent = layer(i % IMAGES, LAYERS - 1);
            String filter =
                    "labels.\"containerd.io/snapshot.ref\"==target-%d,parent==\"%s\""
                            .formatted(i, parent);
            Map<String, String> labels = Map.of("containerd.io/snapshot.ref", "target-" + i);
            sync.time(
                    () -> {
                        probe.write(ByteBuffer.allocate(512));
                        probe.force(false);
                    });
            prepare.time(() -> view.prepare(key, parent, labels));
            stat.time(() -> view.stat(key));
            usage.time(() -> view.usage(key));
            commit.time(() -> view.commit(name, key, labels, ""));
            ref.time(() -> view.walk(List.of(filter), _ -> true));
            remove.time(() -> view.remove(name));
        }
        for (Times times : List.of(sync, prepare, stat, usage, commit, ref, remove)) {
            times.print();
        }
    }
}
