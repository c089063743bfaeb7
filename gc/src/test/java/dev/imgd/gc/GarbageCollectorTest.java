package dev.imgd.gc;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.content.Database.Table;
import dev.imgd.content.ImageRecord;
import dev.imgd.content.Ingest;
import dev.imgd.content.NodeId;
import dev.imgd.content.Store;
import dev.imgd.content.StoreOptions;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.snapshot.Kind;
import dev.imgd.snapshot.Layer;
import dev.imgd.snapshot.LayerRemover;
import dev.imgd.snapshot.SnapshotMetadata;
import dev.imgd.snapshot.SnapshotService;
import dev.imgd.snapshot.Usage;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(180)
final class GarbageCollectorTest {
    private static final String NS = "default";

    @TempDir Path directory;

    private final MovableClock clock = new MovableClock();
    private Store store;
    private SnapshotMetadata snapshots;
    private final List<NodeId> removedTrees = new ArrayList<>();

    private static final class MovableClock extends Clock {
        private volatile Instant now = Instant.ofEpochMilli(1_700_000_000_000L);

        @Override
        public Instant instant() {
            return now;
        }

        void advance(Duration by) {
            now = now.plus(by);
        }

        @Override
        public ZoneId getZone() {
            return ZoneOffset.UTC;
        }

        @Override
        public Clock withZone(ZoneId zone) {
            return this;
        }
    }

    @BeforeEach
    void open() throws ImageException {
        store =
                Store.open(
                        directory.resolve("store"),
                        new StoreOptions(8 << 20, Duration.ofHours(24), 0, "test", clock));
        snapshots = new SnapshotMetadata(store.database(), clock);
    }

    @AfterEach
    void close() throws ImageException {
        store.close();
    }

    private GarbageCollector collector(Duration grace) {
        LayerRemover remover =
                node -> {
                    boolean removed = snapshots.removeUnreferenced(node).isPresent();
                    if (removed) {
                        removedTrees.add(node);
                    }
                    return removed;
                };
        return new GarbageCollector(
                store, remover, new GcOptions(grace, Duration.ofHours(24), 0, clock));
    }

    private GarbageCollector collector() {
        return collector(Duration.ZERO);
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private Digest blob(String text, Digest... references) throws ImageException {
        Digest digest = Digest.sha256(bytes(text));
        store.content().write(NS, digest, bytes(text), Map.of(), List.of(references));
        return digest;
    }

    private void image(String name, Digest target, String... tops) throws ImageException {
        store.images()
                .put(
                        new ImageRecord(
                                NS,
                                name,
                                new Descriptor("m", target, 1),
                                List.of(tops),
                                Map.of(),
                                clock.instant(),
                                clock.instant()));
    }

    private Set<String> blobs() throws ImageException {
        Set<String> digests = new HashSet<>();
        store.content().list(NS, info -> digests.add(info.digest().toString()));
        return digests;
    }

    private static Set<String> ids(List<Plan.Item> items, String kind) {
        return items.stream()
                .filter(item -> item.kind().equals(kind))
                .map(Plan.Item::id)
                .collect(Collectors.toSet());
    }

    private static Set<String> texts(Digest... digests) {
        Set<String> texts = new HashSet<>();
        for (Digest digest : digests) {
            texts.add(digest.toString());
        }
        return texts;
    }

    private void layer(String view, String name, String parent, Digest diffId)
            throws ImageException {
        Layer layer =
                new Layer(
                        Layer.id(diffId),
                        diffId,
                        snapshots.newDirectory(),
                        new Usage(100, 1),
                        clock.instant());
        snapshots.addLayer(layer, "boot");
        snapshots.link(view, name, parent, diffId, Optional.empty(), Map.of());
    }

    @Test
    void collect_keepsWhatIsReachableAndSaysWhy() throws Exception {
        Digest config = blob("config");
        Digest shared = blob("shared layer");
        Digest other = blob("other layer");
        Digest manifest = blob("manifest 1", config, shared);
        Digest old = blob("manifest 2", config, shared, other);
        Digest stray = blob("stray");
        image("a:1", manifest);
        image("a:2", old);
        store.images().delete(NS, "a:2");

        Plan plan = collector().plan();
        assertEquals(texts(old, other, stray), ids(plan.removable(), "blob"));
        assertEquals(texts(config, shared, manifest), ids(plan.kept(), "blob"));
        assertEquals(Set.of(NS + "/a:1"), ids(plan.kept(), "image"));
        assertEquals(
                bytes("manifest 2").length + bytes("other layer").length + bytes("stray").length,
                plan.removableBytes());
        for (Plan.Item item : plan.kept()) {
            if (item.id().equals(shared.toString())) {
                assertEquals("needed by blob " + manifest + " of image default/a:1", item.reason());
            }
        }
        for (Plan.Item item : plan.removable()) {
            if (item.id().equals(other.toString())) {
                assertEquals("only blob " + old + " refers to it, which goes too", item.reason());
            }
            if (item.id().equals(stray.toString())) {
                assertEquals("nothing refers to it", item.reason());
            }
        }
        assertEquals(6, blobs().size());

        Report report = collector().collect(plan);
        assertEquals(plan.removableBytes(), report.freedBytes());
        assertEquals(texts(config, shared, manifest), blobs());
        assertFalse(Files.exists(store.content().path(other)));
        assertEquals(List.of(), collector().verify(true));
        assertEquals(List.of(), collector().plan().removable());
        assertEquals(List.of(), collector().collect().removed());
    }

    @Test
    void collect_leases_protectUntilTheyExpire() throws Exception {
        Digest manifest = blob("manifest", blob("layer"));
        store.leases().create(NS, "short", Duration.ofMinutes(5), Map.of());
        store.leases().hold(NS, "short", List.of(NodeId.blob(manifest)));
        assertEquals(List.of(), collector().collect().removed());
        clock.advance(Duration.ofMinutes(6));
        Report report = collector().collect();
        assertEquals(Set.of(NS + "/short"), ids(report.removed(), "lease"));
        assertEquals(Set.of(), blobs());
        assertEquals(List.of(), store.leases().list(NS));
        assertEquals(List.of(), collector().verify(true));
    }

    @Test
    void collect_grace_protectsTheYoungAndWhatTheyNeed() throws Exception {
        Digest layer = blob("layer");
        clock.advance(Duration.ofMinutes(10));
        Digest young = blob("young", layer);
        Digest stray = blob("a stray of the same age as the layer");
        GarbageCollector careful = collector(Duration.ofMinutes(5));
        assertEquals(List.of(), careful.collect().removed());
        assertEquals(List.of(), careful.sweep().removed());
        assertEquals(texts(layer, young, stray), blobs());
        clock.advance(Duration.ofMinutes(6));
        assertEquals(3, careful.collect().removed().size());
    }

    @Test
    void collect_snapshots_rootsStayAndLayersFollow() throws Exception {
        Digest d1 = Digest.sha256(bytes("diff 1"));
        Digest d2 = Digest.sha256(bytes("diff 2"));
        Digest d3 = Digest.sha256(bytes("diff 3"));
        layer(SnapshotService.LOCAL, "c1", "", d1);
        layer(SnapshotService.LOCAL, "c2", "c1", d2);
        layer(SnapshotService.LOCAL, "c3", "c1", d3);
        layer("containerd", "c1", "", d1);
        snapshots.create(SnapshotService.LOCAL, "running", Kind.ACTIVE, "c3", Map.of(), 77);
        image("a:1", blob("m"), "local/c2");

        assertEquals(List.of(), collector().plan().removable());
        store.images().delete(NS, "a:1");
        Plan plan = collector().plan();
        assertEquals(Set.of("local/c2"), ids(plan.removable(), "snapshot"));
        assertEquals(Set.of(Layer.id(d2)), ids(plan.removable(), "layer"));
        Report report = collector().sweep();
        assertEquals(Set.of("local/c2"), ids(report.removed(), "snapshot"));
        assertEquals(Set.of(Layer.id(d2)), ids(report.removed(), "layer"));
        assertEquals(
                Set.of(NodeId.snapshot("local", "c2"), NodeId.layer(Layer.id(d2))),
                new HashSet<>(removedTrees));
        snapshots.remove(SnapshotService.LOCAL, "running");
        assertEquals(
                Set.of("local/c1", "local/c3"), ids(collector().collect().removed(), "snapshot"));
        assertTrue(snapshots.layer(Layer.id(d1)).isPresent(), "containerd's view shows it");
        assertEquals(List.of(), collector().verify(false));
    }

    @Test
    void sweep_removedSnapshots_layersGoAndNothingStaysQueued() throws Exception {
        Digest d1 = Digest.sha256(bytes("diff 1"));
        Digest d2 = Digest.sha256(bytes("diff 2"));
        layer("containerd", "c1", "", d1);
        layer("containerd", "c2", "c1", d2);
        snapshots.remove("containerd", "c2");
        assertEquals(Set.of(Layer.id(d2)), ids(collector().sweep().removed(), "layer"));
        assertTrue(snapshots.find("containerd", "c1").isPresent());
        assertEquals(List.of(), store.database().zeroQueue(10));
        snapshots.remove("containerd", "c1");
        assertEquals(Set.of(Layer.id(d1)), ids(collector().sweep().removed(), "layer"));
        assertEquals(List.of(), store.database().zeroQueue(10));
    }

    @Test
    void sweep_grace_whatItKeepsIsLookedAtAgain() throws Exception {
        GarbageCollector patient = collector(Duration.ofMinutes(5));
        Digest young = blob("young");
        assertEquals(List.of(), patient.sweep().removed());
        assertEquals(texts(young), blobs());
        clock.advance(Duration.ofMinutes(6));
        assertEquals(1, patient.sweep().removed().size());
        assertEquals(List.of(), store.database().zeroQueue(10));
    }

    @Test
    void assembly_held_removalsWaitButNobodyElse() throws Exception {
        Digest layer = blob("layer");
        GarbageCollector collector = collector();
        try (ExecutorService thread = Executors.newSingleThreadExecutor()) {
            Future<Report> sweep;
            collector.assembly().lock();
            try {
                sweep = thread.submit(collector::sweep);
                assertEquals(1, collector.plan().removable().size());
                Digest later = blob("later");
                assertEquals(texts(layer, later), blobs());
                store.leases().create(NS, "lease", Duration.ofHours(1), Map.of());
                store.leases().hold(NS, "lease", List.of(NodeId.blob(layer)));
                assertFalse(sweep.isDone());
            } finally {
                collector.assembly().unlock();
            }
            assertFalse(ids(sweep.get().removed(), "blob").contains(layer.toString()));
            assertTrue(blobs().contains(layer.toString()), "held before the removal");
        }
    }

    @Test
    void collect_ingests_onlyOldOnesWithoutWriter() throws Exception {
        Ingest active = store.content().ingest(NS, "active", Optional.empty());
        Ingest idle = store.content().ingest(NS, "idle", Optional.empty());
        idle.write(ByteBuffer.wrap(new byte[10]));
        idle.close();
        assertEquals(List.of(), collector().plan().removable());
        clock.advance(Duration.ofHours(25));
        Plan plan = collector().plan();
        assertEquals(Set.of(NS + "/idle"), ids(plan.removable(), "ingest"));
        assertEquals(Set.of(NS + "/active"), ids(plan.kept(), "ingest"));
        assertEquals(10, collector().collect(plan).freedBytes());
        active.abort();
        assertEquals(List.of(), store.content().ingests(NS));
    }

    @Test
    void collect_cycle_isBrokenUnlessNeeded() throws Exception {
        Digest a = blob("a");
        Digest b = blob("b", a);
        Digest c = blob("c");
        store.content().references(a, List.of(b, c));
        image("a:1", b);
        assertEquals(List.of(), collector().collect().removed());
        store.images().delete(NS, "a:1");
        Plan plan = collector().plan();
        image("a:2", a);
        assertEquals(List.of(), collector().collect(plan).removed());
        store.images().delete(NS, "a:2");
        assertEquals(3, collector().collect().removed().size());
        assertEquals(List.of(), collector().verify(true));
    }

    @Test
    void collect_namedAgainSincePlan_stays() throws Exception {
        Digest layer = blob("layer");
        Digest manifest = blob("manifest", layer);
        Plan plan = collector().plan();
        assertEquals(2, plan.removable().size());
        image("late:1", manifest);
        assertEquals(List.of(), collector().collect(plan).removed());
        assertEquals(texts(layer, manifest), blobs());
    }

    @Test
    void verify_damage_isFound() throws Exception {
        Digest layer = blob("layer");
        Digest manifest = blob("manifest", layer);
        image("a:1", manifest);
        assertEquals(List.of(), collector().verify(true));
        Files.write(store.content().path(layer), bytes("LAYER"));
        Files.write(store.content().path(layer).resolveSibling("0".repeat(64)), bytes("no row"));
        store.database()
                .write(
                        tx -> {
                            store.maintenance().forgetBlob(tx, manifest);
                            tx.delete(Table.IMAGES, NS + "/a:1");
                            return null;
                        });
        List<String> findings = collector().verify(true);
        assertEquals(4, findings.size(), findings.toString());
        assertTrue(findings.get(0).contains("its source does not exist"), findings.toString());
        assertTrue(
                findings.stream().anyMatch(f -> f.contains("bytes are damaged")),
                findings.toString());
        assertEquals(
                2L,
                findings.stream().filter(f -> f.contains("a file but no row")).count(),
                findings.toString());
    }

    @Test
    void collectAndSweep_randomGraphs_equalModel() throws Exception {
        Random random = new Random(5);
        Map<String, Set<String>> edges = new HashMap<>();
        Map<String, String> names = new HashMap<>();
        int serial = 0;
        for (int round = 0; round < 60; round++) {
            for (int i = random.nextInt(8); i > 0; i--) {
                List<String> known = new ArrayList<>(blobs());
                known.sort(null);
                List<Digest> to = new ArrayList<>();
                for (int e = random.nextInt(4); e > 0 && !known.isEmpty(); e--) {
                    to.add(Digest.parse(known.get(random.nextInt(known.size()))));
                }
                Digest digest = blob("blob " + serial++, to.toArray(Digest[]::new));
                edges.put(digest.toString(), texts(to.toArray(Digest[]::new)));
                if (random.nextInt(3) == 0) {
                    String name = "n" + random.nextInt(6);
                    image(name, digest);
                    names.put(name, digest.toString());
                }
            }
            if (!names.isEmpty() && random.nextInt(2) == 0) {
                String name = names.keySet().stream().sorted().findFirst().orElseThrow();
                store.images().delete(NS, name);
                names.remove(name);
            }
            Set<String> live = new HashSet<>();
            Deque<String> open = new ArrayDeque<>(names.values());
            while (!open.isEmpty()) {
                String node = open.remove();
                if (live.add(node)) {
                    open.addAll(edges.get(node));
                }
            }
            if (round % 3 == 0) {
                assertEquals(live, ids(collector().plan().kept(), "blob"));
                collector().collect();
            } else {
                collector().sweep();
            }
            assertEquals(live, blobs(), "round " + round);
            assertEquals(List.of(), collector().verify(false));
            edges.keySet().retainAll(live);
        }
    }

    @Test
    void collect_duringPullsThatHoldLeases_takesNothingFromThem() throws Exception {
        try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
            List<Future<?>> pulls = new ArrayList<>();
            for (int t = 0; t < 4; t++) {
                int thread = t;
                pulls.add(threads.submit(() -> pulls(thread)));
            }
            int removed = 0;
            while (pulls.stream().anyMatch(pull -> !pull.isDone())) {
                removed += collector().collect().removed().size();
                removed += collector().sweep().removed().size();
            }
            for (Future<?> pull : pulls) {
                pull.get();
            }
            assertTrue(removed > 0, "nothing was ever collected");
        }
        assertEquals(List.of(), collector().verify(true));
    }

    /// The same few images again and again: blobs come back while they are being collected.
    private Void pulls(int thread) throws IOException {
        for (int i = 0; i < 15; i++) {
            String lease = "pull-" + thread + "-" + i;
            byte[] layer = bytes("layer " + i % 3);
            byte[] manifest = bytes("manifest " + i % 3);
            Digest layerDigest = Digest.sha256(layer);
            Digest manifestDigest = Digest.sha256(manifest);
            String name = "image-" + thread;
            store.leases().create(NS, lease, Duration.ofHours(1), Map.of());
            store.leases()
                    .hold(
                            NS,
                            lease,
                            List.of(NodeId.blob(layerDigest), NodeId.blob(manifestDigest)));
            if (!store.content().adopt(NS, layerDigest, Map.of())) {
                try (Ingest ingest = store.content().ingest(NS, lease, Optional.empty())) {
                    ingest.write(ByteBuffer.wrap(layer));
                    ingest.commit(layer.length, layerDigest, Map.of(), List.of());
                }
            }
            store.content().write(NS, manifestDigest, manifest, Map.of(), List.of(layerDigest));
            image(name, manifestDigest);
            store.leases().delete(NS, lease);
            store.content().read(layerDigest, 100);
            store.content().read(manifestDigest, 100);
            store.images().delete(NS, name);
        }
        return null;
    }
}
