package dev.imgd.content;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.content.Database.Table;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.MediaType;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// What a crash between any two steps, or a damaged disk, leaves of a store.
@Timeout(180)
final class RecoveryTest {
    private static final String NS = "default";

    @TempDir Path directory;

    private final byte[] layer = Trees.random(1, 50_000);
    private final byte[] config = "{\"os\":\"linux\"}".getBytes(StandardCharsets.UTF_8);
    private final byte[] manifest =
            ("{\"schemaVersion\":2,\"mediaType\":\"%s\","
                            + "\"config\":{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%d},"
                            + "\"layers\":[{\"mediaType\":\"%s\",\"digest\":\"%s\","
                            + "\"size\":%d}]}")
                    .formatted(
                            MediaType.OCI_MANIFEST,
                            MediaType.OCI_CONFIG,
                            Digest.sha256(config),
                            config.length,
                            MediaType.OCI_LAYER,
                            Digest.sha256(layer),
                            layer.length)
                    .getBytes(StandardCharsets.UTF_8);
    private Path root;

    @BeforeEach
    void fill() throws Exception {
        root = directory.resolve("store");
        try (Store store = open(root)) {
            ContentStore content = store.content();
            content.write(NS, Digest.sha256(layer), layer, Map.of(), List.of());
            content.write(NS, Digest.sha256(config), config, Map.of(), List.of());
            content.write(
                    NS,
                    Digest.sha256(manifest),
                    manifest,
                    Map.of(),
                    List.of(Digest.sha256(config), Digest.sha256(layer)));
            for (int i = 0; i < 20; i++) {
                store.images().put(image("docker.io/library/a:" + i));
            }
            for (int i = 0; i < 10; i++) {
                store.images().delete(NS, "docker.io/library/a:" + i);
            }
            store.leases().create(NS, "lease", Duration.ofHours(1), Map.of("a", "b"));
            store.leases().hold(NS, "lease", List.of(NodeId.layer("held")));
            store.leases().create(NS, "ended", Duration.ofHours(1), Map.of());
            store.leases().delete(NS, "ended");
        }
    }

    private static Store open(Path root) throws ImageException {
        return Store.open(root, StoreOptions.defaults());
    }

    private ImageRecord image(String name) {
        Instant now = Instant.ofEpochMilli(1_700_000_000_000L);
        Descriptor target =
                new Descriptor(MediaType.OCI_MANIFEST, Digest.sha256(manifest), manifest.length);
        return new ImageRecord(NS, name, target, List.of("local/x"), Map.of(), now, now);
    }

    private Path killedCopy(String name) throws IOException {
        Path copy = directory.resolve(name);
        Trees.copy(root, copy);
        Files.deleteIfExists(copy.resolve("refs/clean"));
        return copy;
    }

    /// Everything that was acknowledged is there, and the index agrees with itself.
    private void assertComplete(Store store) throws ImageException {
        assertComplete(store, 10);
    }

    private void assertComplete(Store store, int manifestReferences) throws ImageException {
        List<String> names = new ArrayList<>();
        for (ImageRecord image : store.images().list(NS)) {
            assertEquals(image(image.name()), image);
            names.add(image.name().substring("docker.io/library/a:".length()));
        }
        assertEquals(List.of("10", "11", "12", "13", "14", "15", "16", "17", "18", "19"), names);
        assertEquals(1, store.leases().list(NS).size());
        assertEquals(Map.of("a", "b"), store.leases().list(NS).getFirst().labels());
        assertEquals(List.of(NodeId.layer("held")), store.leases().held(NS, "lease"));
        for (byte[] blob : List.of(layer, config, manifest)) {
            assertArrayEquals(blob, store.content().read(Digest.sha256(blob), blob.length));
            assertEquals(blob.length, store.content().info(NS, Digest.sha256(blob)).sizeBytes());
        }
        NodeId top = NodeId.blob(Digest.sha256(manifest));
        store.database()
                .read(
                        view -> {
                            assertEquals(manifestReferences, view.references(top));
                            assertEquals(2, view.edgesFrom(top).size());
                            store.maintenance()
                                    .counts(
                                            view,
                                            (node, n) ->
                                                    assertEquals(view.edgesTo(node).size(), n));
                            return null;
                        });
        assertEquals(List.of(), store.maintenance().checkFiles(true));
    }

    @Test
    void open_killedAfterRenameOfTheBlob_dropsTheIngest() throws Exception {
        byte[] bytes = Trees.random(7, 40_000);
        Descriptor blob = new Descriptor("x", Digest.sha256(bytes), bytes.length);
        try (Store store = open(root);
                Ingest ingest = store.content().ingest(NS, "r", Optional.of(blob))) {
            ingest.write(ByteBuffer.wrap(bytes));
        }
        Path copy = killedCopy("renamed");
        Path data = ingestData(copy);
        Files.move(data, copy.resolve("blobs/sha256").resolve(blob.digest().hex()));

        try (Store store = open(copy)) {
            assertFalse(Files.exists(data.getParent()));
            assertEquals(List.of(), store.content().ingests(NS));
            assertArrayEquals(bytes, store.content().read(blob.digest(), bytes.length));
        }
    }

    @Test
    void open_ingestOfABlobThatIsThere_dropsTheIngest() throws Exception {
        byte[] bytes = Trees.random(8, 40_000);
        Descriptor blob = new Descriptor("x", Digest.sha256(bytes), bytes.length);
        Descriptor other = new Descriptor("x", Digest.sha256(new byte[1]), 1);
        try (Store store = open(root)) {
            try (Ingest ingest = store.content().ingest(NS, "r", Optional.of(blob))) {
                ingest.write(ByteBuffer.wrap(bytes, 0, 10_000));
            }
            store.content().write(NS, blob.digest(), bytes, Map.of(), List.of());
            store.content().ingest(NS, "other", Optional.of(other)).close();
        }

        try (Store store = open(killedCopy("there"))) {
            List<IngestStatus> left = store.content().ingests(NS);
            assertEquals(1, left.size());
            assertEquals("other", left.getFirst().ref());
        }
    }

    private static Path ingestData(Path root) throws IOException {
        List<Path> data =
                Trees.files(root.resolve("ingest")).stream()
                        .filter(file -> file.endsWith("data"))
                        .toList();
        assertEquals(1, data.size(), data.toString());
        return data.getFirst();
    }

    @Test
    void open_afterKill_changesNothing() throws Exception {
        Path copy = killedCopy("copy");
        for (int i = 0; i < 2; i++) {
            try (Store store = open(copy)) {
                assertFalse(store.rebuilt());
                assertComplete(store);
            }
            Files.delete(copy.resolve("refs/clean"));
        }
    }

    @Test
    void open_databaseGone_isRebuilt() throws Exception {
        BlobPaths.deleteTree(root.resolve("db"));
        try (Store store = open(root)) {
            assertTrue(store.rebuilt());
            assertComplete(store);
        }
        try (Store store = open(root)) {
            assertFalse(store.rebuilt());
            assertComplete(store);
        }
    }

    @Test
    void open_databaseDamagedAnywhere_losesNoName() throws Exception {
        Random random = new Random(42);
        int rebuilds = 0;
        for (int round = 0; round < 40; round++) {
            Path copy = directory.resolve("damaged-" + round);
            Trees.copy(root, copy);
            if (round % 4 == 3) {
                // Move everything from the log to table files, to damage those too.
                try (Store store = open(copy)) {
                    ((RocksDatabase) store.database()).flush();
                }
            }
            if (round % 2 == 0) {
                Files.deleteIfExists(copy.resolve("refs/clean"));
            }
            List<Path> files = Trees.files(copy.resolve("db"));
            files.removeIf(file -> file.toFile().length() == 0);
            Path victim = files.get(random.nextInt(files.size()));
            byte[] bytes = Files.readAllBytes(victim);
            switch (random.nextInt(4)) {
                case 0 -> bytes = java.util.Arrays.copyOf(bytes, random.nextInt(bytes.length));
                case 1 -> bytes[random.nextInt(bytes.length)] ^= 0x40;
                case 2 ->
                        java.util.Arrays.fill(
                                bytes, random.nextInt(bytes.length), bytes.length, (byte) 0);
                default -> bytes = new byte[0];
            }
            Files.write(victim, bytes);
            String what = "round " + round + ", " + victim.getFileName();
            Store store = open(copy);
            try {
                assertComplete(store);
            } catch (ImageException e) {
                // Found only when it was read: the next open knows.
                assertEquals(ErrorKind.DATA_LOSS, e.kind(), what + ": " + e.getMessage());
                store.close();
                store = open(copy);
                assertTrue(store.rebuilt(), what);
                assertComplete(store);
            } catch (AssertionError e) {
                throw new AssertionError(what, e);
            } finally {
                rebuilds += store.rebuilt() ? 1 : 0;
                store.close();
            }
            try (Store again = open(copy)) {
                assertFalse(again.rebuilt(), what);
                assertComplete(again);
            }
            BlobPaths.deleteTree(copy);
        }
        assertTrue(rebuilds >= 5, "only " + rebuilds + " of 40 damages mattered");
    }

    private static void put(Store store, String key) throws ImageException {
        byte[] bytes = key.getBytes(StandardCharsets.UTF_8);
        store.database()
                .write(
                        tx -> {
                            tx.put(Database.Table.SNAPSHOTS, key, bytes);
                            return true;
                        });
    }

    private static boolean has(Store store, String key) throws ImageException {
        return store.database().read(view -> view.get(Database.Table.SNAPSHOTS, key)) != null;
    }

    /// Where a file may grow before its bytes are on the disk, a power cut leaves garbage at the
    /// end of the log: what is not in the journal is in the rows before it.
    @Test
    void open_garbageAtTheEndOfTheLog_losesNoRowBeforeIt() throws Exception {
        Path copy = directory.resolve("cut");
        try (Store store = open(root)) {
            for (int i = 0; i < 100; i++) {
                put(store, "row " + i);
            }
            Trees.copy(root, copy);
        }
        List<Path> logs = Trees.files(copy.resolve("db"));
        logs.removeIf(file -> !file.toString().endsWith(".log") || file.toFile().length() == 0);
        Path log = logs.stream().max(Comparator.naturalOrder()).orElseThrow();
        byte[] bytes = Files.readAllBytes(log);
        System.arraycopy(Trees.random(5, 200), 0, bytes, bytes.length - 200, 200);
        Files.write(log, bytes);

        for (boolean first : List.of(true, false)) {
            try (Store store = open(copy)) {
                assertEquals(first, store.rebuilt());
                assertComplete(store);
                assertTrue(has(store, "row 90"));
                assertFalse(has(store, "row 99"));
                put(store, "row after");
            }
        }
        try (Store store = open(copy)) {
            assertTrue(has(store, "row after"));
        }
        try (var files = Files.list(copy)) {
            assertEquals(0, files.filter(f -> f.toString().contains("db.damaged")).count());
        }
    }

    @Test
    void open_journalDamaged_isWrittenAnew() throws Exception {
        Random random = new Random(7);
        for (int round = 0; round < 10; round++) {
            Path copy = killedCopy("journal-" + round);
            Path journal = copy.resolve("refs/journal");
            byte[] bytes = Files.readAllBytes(journal);
            if (round == 0) {
                Files.delete(journal);
            } else if (round < 5) {
                Files.write(journal, java.util.Arrays.copyOf(bytes, random.nextInt(bytes.length)));
            } else {
                bytes[random.nextInt(bytes.length)] ^= 0x10;
                Files.write(journal, bytes);
            }
            try (Store store = open(copy)) {
                assertComplete(store);
            }
            BlobPaths.deleteTree(copy.resolve("db"));
            try (Store store = open(copy)) {
                assertTrue(store.rebuilt());
                assertComplete(store);
            }
        }
    }

    @Test
    void open_fileWithoutRow_isAdoptedWithItsEdges() throws Exception {
        byte[] index =
                ("{\"schemaVersion\":2,\"mediaType\":\"%s\",\"manifests\":[{\"mediaType\":\"%s\","
                                + "\"digest\":\"%s\",\"size\":%d}]}")
                        .formatted(
                                MediaType.OCI_INDEX,
                                MediaType.OCI_MANIFEST,
                                Digest.sha256(manifest),
                                manifest.length)
                        .getBytes(StandardCharsets.UTF_8);
        Path copy = killedCopy("copy");
        Digest good = Digest.sha256(index);
        Digest bad = Digest.sha256(new byte[] {1});
        Files.write(copy.resolve("blobs/sha256/" + good.hex()), index);
        Files.write(copy.resolve("blobs/sha256/" + bad.hex()), new byte[] {2});
        Files.write(copy.resolve("blobs/sha256/stray"), new byte[] {3});
        Files.write(copy.resolve("trash/half-deleted"), new byte[1000]);
        try (Store store = open(copy)) {
            assertComplete(store, 11);
            assertEquals(Optional.empty(), store.content().find(NS, good));
            assertTrue(store.content().adopt(NS, good, Map.of()));
            assertEquals(
                    List.of(NodeId.blob(Digest.sha256(manifest))),
                    store.database().read(view -> view.edgesFrom(NodeId.blob(good))));
            assertFalse(store.content().adopt(NS, bad, Map.of()));
            assertFalse(Files.exists(store.content().path(bad)));
            store.maintenance().emptyTrash(_ -> {});
            assertEquals(List.of(), Trees.files(copy.resolve("trash")));
        }
    }

    @Test
    void open_rowWithoutFile_isDropped() throws Exception {
        Path copy = killedCopy("copy");
        Files.delete(copy.resolve("blobs/sha256/" + Digest.sha256(layer).hex()));
        try (Store store = open(copy)) {
            assertEquals(Optional.empty(), store.content().find(NS, Digest.sha256(layer)));
            assertEquals(List.of(), store.maintenance().checkFiles(true));
            // The manifest still wants it, so a new pull brings it back under the same edges.
            assertEquals(
                    1L,
                    (long)
                            store.database()
                                    .read(v -> v.references(NodeId.blob(Digest.sha256(layer)))));
        }
    }

    @Test
    void open_databaseBehindTheJournal_catchesUp() throws Exception {
        // The database of before and the journal of after: its newest rows were lost with the log.
        Path before = killedCopy("before");
        try (Store store = open(root)) {
            store.images().put(image("docker.io/library/a:20"));
            store.images().delete(NS, "docker.io/library/a:10");
            store.images().delete(NS, "docker.io/library/a:20");
            store.images().put(image("docker.io/library/a:9"));
            store.images().delete(NS, "docker.io/library/a:9");
            store.images().put(image("docker.io/library/a:10"));
        }
        for (String file : List.of("refs/journal", "refs/clean")) {
            Files.copy(
                    root.resolve(file),
                    before.resolve(file),
                    java.nio.file.StandardCopyOption.REPLACE_EXISTING);
        }
        try (Store store = open(before)) {
            assertTrue(store.rebuilt());
            assertComplete(store);
            store.images().put(image("docker.io/library/b:1"));
        }
        BlobPaths.deleteTree(before.resolve("db"));
        try (Store store = open(before)) {
            store.images().delete(NS, "docker.io/library/b:1");
            assertComplete(store);
        }
    }

    @Test
    void rebuild_interrupted_startsAgain() throws Exception {
        BlobPaths.deleteTree(root.resolve("db"));
        Path copy = killedCopy("copy");
        try (Store store = open(copy)) {
            // As if the process had died just before the end.
            store.database()
                    .write(
                            tx -> {
                                tx.put(Table.META, "content.rebuilding", new byte[0]);
                                for (byte[] blob : List.of(layer, config)) {
                                    BlobRows.forget(tx, Digest.sha256(blob));
                                }
                                return null;
                            });
        }
        try (Store store = open(copy)) {
            assertTrue(store.rebuilt());
            assertComplete(store);
        }
    }

    @Test
    void journal_rewritten_keepsTheLiveState() throws Exception {
        try (Store store = open(root)) {
            ImageRecord image = image("docker.io/library/z");
            for (int i = 0; i < 350; i++) {
                store.images()
                        .put(
                                new ImageRecord(
                                        NS,
                                        image.name(),
                                        image.target(),
                                        image.snapshots(),
                                        Map.of("n" + i, "x".repeat(4000)),
                                        image.created(),
                                        image.updated()));
            }
            assertTrue(Files.size(root.resolve("refs/journal")) > 1_400_000);
            store.images().delete(NS, image.name());
        }
        long size = Files.size(root.resolve("refs/journal"));
        assertTrue(size < 100_000, "still " + size + " bytes");
        RefJournal.State state = new RefJournal(new BlobPaths(root)).read();
        assertEquals(10, state.images().size());
        assertFalse(state.damaged());
        BlobPaths.deleteTree(root.resolve("db"));
        try (Store store = open(root)) {
            assertComplete(store);
        }
    }

    @Test
    void open_unreadableRow_saysWhichRow() throws Exception {
        try (Store store = open(root)) {
            store.database()
                    .write(
                            tx -> {
                                tx.put(Table.IMAGES, NS + "/broken", new byte[] {1, 2});
                                return null;
                            });
            ImageException e =
                    assertThrows(ImageException.class, () -> store.images().find(NS, "broken"));
            assertEquals(ErrorKind.DATA_LOSS, e.kind());
            assertTrue(e.getMessage().contains("image broken"), e.getMessage());
        }
    }
}
