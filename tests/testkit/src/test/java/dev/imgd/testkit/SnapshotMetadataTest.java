package dev.imgd.testkit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.content.Database.Table;
import dev.imgd.content.NodeId;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.snapshot.Filter;
import dev.imgd.snapshot.Kind;
import dev.imgd.snapshot.Layer;
import dev.imgd.snapshot.SnapshotMetadata;
import dev.imgd.snapshot.SnapshotMetadata.Measured;
import dev.imgd.snapshot.SnapshotMetadata.Session;
import dev.imgd.snapshot.SnapshotMetadata.Unsynced;
import dev.imgd.snapshot.SnapshotService;
import dev.imgd.snapshot.StoredSnapshot;
import dev.imgd.snapshot.Usage;
import java.nio.charset.StandardCharsets;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class SnapshotMetadataTest {
    private static final String LOCAL = SnapshotService.LOCAL;
    private static final Instant START = Instant.ofEpochSecond(1_700_000_000, 123_456_789);

    private final MemoryDatabase database = new MemoryDatabase();
    private final SnapshotMetadata metadata =
            new SnapshotMetadata(database, Clock.fixed(START, ZoneOffset.UTC));

    private static void fails(ErrorKind kind, Executable call) {
        assertEquals(kind, assertThrows(ImageException.class, call).kind());
    }

    private static Digest digest(String text) {
        return Digest.sha256(text.getBytes(StandardCharsets.UTF_8));
    }

    private StoredSnapshot active(String key, String parent) throws ImageException {
        return metadata.create("v", key, Kind.ACTIVE, parent, Map.of(), metadata.newDirectory());
    }

    private StoredSnapshot committed(String name, String parent) throws ImageException {
        active("work-" + name, parent);
        return metadata.commit("v", name, "work-" + name, Map.of("l", name), "", "boot");
    }

    private Layer layer(String diff, String id, long directory) throws ImageException {
        return metadata.addLayer(
                new Layer(id, digest(diff), directory, new Usage(7, 8), START), "boot");
    }

    @Test
    void find_storedRow_isWhatWasWritten() throws ImageException {
        assertEquals(Optional.empty(), metadata.find("v", "k"));
        Map<String, String> labels = Map.of("a", "b", "c", "ü\u0000\uD83D\uDE80");
        StoredSnapshot created = metadata.create("v", "k", Kind.ACTIVE, "", labels, 99);
        assertEquals(Optional.of(created), metadata.find("v", "k"));
        assertEquals(START, created.info().created());
        assertEquals(labels, created.info().labels());
        assertEquals(99, created.directory());
        assertEquals(Optional.empty(), metadata.find("w", "k"));
        fails(ErrorKind.NOT_FOUND, () -> metadata.require("w", "k"));
    }

    @Test
    void find_damagedRow_isDataLoss() throws ImageException {
        active("k", "");
        String key =
                database.keys(Table.SNAPSHOTS).stream()
                        .filter(k -> k.startsWith("s"))
                        .findFirst()
                        .orElseThrow();
        for (byte[] damaged : List.of(new byte[0], new byte[] {9}, new byte[] {1, 77, 0})) {
            database.write(
                    tx -> {
                        tx.put(Table.SNAPSHOTS, key, damaged);
                        return null;
                    });
            fails(ErrorKind.DATA_LOSS, () -> metadata.find("v", "k"));
            fails(ErrorKind.DATA_LOSS, () -> metadata.walk("v", Filter.ALWAYS, _ -> true));
        }
    }

    @Test
    void stack_chain_listsDirectoriesNearestFirst() throws ImageException {
        StoredSnapshot a = committed("a", "");
        StoredSnapshot b = committed("b", "a");
        layer("d", Layer.id(digest("d")), 1000);
        assertTrue(
                metadata.link("v", "c", "b", digest("d"), Optional.empty(), Map.of()).isPresent());
        active("k", "c");
        assertEquals(
                List.of(1000L, b.directory(), a.directory()), metadata.stack("v", "k").lowers());
        assertEquals(List.of(b.directory(), a.directory()), metadata.lowers("v", "b"));
        assertEquals(Optional.of(1000L), metadata.parentDirectory("v", "new", "c"));
        assertEquals(Optional.empty(), metadata.parentDirectory("v", "new", ""));
        fails(ErrorKind.ALREADY_EXISTS, () -> metadata.parentDirectory("v", "k", "c"));
        fails(ErrorKind.INVALID_ARGUMENT, () -> metadata.parentDirectory("v", "new", "k"));
        fails(ErrorKind.NOT_FOUND, () -> metadata.stack("v", "nobody"));
    }

    @Test
    void create_failing_leavesNoRows() throws ImageException {
        committed("a", "");
        active("k", "a");
        Set<String> before = database.keys(Table.SNAPSHOTS);
        fails(ErrorKind.ALREADY_EXISTS, () -> active("k", "a"));
        fails(ErrorKind.NOT_FOUND, () -> active("x", "nobody"));
        fails(ErrorKind.INVALID_ARGUMENT, () -> active("x", "k"));
        fails(ErrorKind.ALREADY_EXISTS, () -> metadata.commit("v", "a", "k", Map.of(), "", "boot"));
        fails(ErrorKind.FAILED_PRECONDITION, () -> metadata.remove("v", "a"));
        assertEquals(before, database.keys(Table.SNAPSHOTS));
    }

    @Test
    void edges_followParentsAndLayers() throws ImageException {
        committed("a", "");
        committed("b", "a");
        layer("d", Layer.id(digest("d")), 1000);
        metadata.link("v", "c", "b", digest("d"), Optional.empty(), Map.of());
        assertEquals(
                Set.of(NodeId.snapshot("v", "b"), NodeId.layer(Layer.id(digest("d")))),
                database.read(v -> new HashSet<>(v.edgesFrom(NodeId.snapshot("v", "c")))));
        assertEquals(1L, database.<Long>read(v -> v.references(NodeId.snapshot("v", "a"))));
        metadata.remove("v", "c");
        assertTrue(database.zeroQueue(10).contains(NodeId.layer(Layer.id(digest("d")))));
        metadata.remove("v", "b");
        metadata.remove("v", "a");
        assertEquals(Set.of(), database.keys(Table.SNAPSHOTS));
    }

    @Test
    void visitNodes_marksRoots() throws ImageException {
        committed("a", "");
        active("k", "a");
        layer("d", Layer.id(digest("d")), 1000);
        metadata.link(LOCAL, "c", "", digest("d"), Optional.empty(), Map.of());
        metadata.create(LOCAL, "mine/with slash", Kind.VIEW, "c", Map.of(), 0);
        Map<NodeId, Boolean> nodes = new HashMap<>();
        database.read(
                v -> {
                    SnapshotMetadata.visitNodes(v, nodes::put);
                    return null;
                });
        assertEquals(
                Map.of(
                        NodeId.snapshot("v", "a"), true,
                        NodeId.snapshot("v", "k"), true,
                        NodeId.snapshot(LOCAL, "c"), false,
                        NodeId.snapshot(LOCAL, "mine/with slash"), true,
                        NodeId.layer(Layer.id(digest("d"))), false),
                nodes);
    }

    @Test
    void settled_usage_onlyForTheSameCommittedSnapshot() throws ImageException {
        StoredSnapshot a = committed("a", "");
        assertEquals(Optional.empty(), a.usage());
        assertEquals(List.of(new Unsynced(a.directory(), "boot")), metadata.unsynced());
        Usage usage = new Usage(1, 2);
        metadata.settled(
                List.of(),
                List.of(
                        new Measured("v", "a", a.directory() + 1, usage),
                        new Measured("v", "gone", 5, usage)));
        assertEquals(Optional.empty(), metadata.require("v", "a").usage());
        metadata.settled(
                List.of(a.directory()), List.of(new Measured("v", "a", a.directory(), usage)));
        assertEquals(Optional.of(usage), metadata.require("v", "a").usage());
        assertEquals(List.of(), metadata.unsynced());
        metadata.update("v", "a", Map.of("x", "y"), List.of());
        assertEquals(Optional.of(usage), metadata.require("v", "a").usage());
    }

    @Test
    void lost_snapshot_refusesChildrenButCanBeRemoved() throws ImageException {
        StoredSnapshot a = committed("a", "");
        committed("b", "a");
        assertEquals(Optional.of("snapshot v/a"), metadata.lost(a.directory()));
        assertEquals(Optional.empty(), metadata.lost(a.directory()));
        fails(ErrorKind.DATA_LOSS, () -> metadata.parentDirectory("v", "k", "a"));
        active("k", "b");
        fails(ErrorKind.DATA_LOSS, () -> metadata.stack("v", "k"));
        metadata.remove("v", "k");
        metadata.remove("v", "b");
        metadata.remove("v", "a");
        assertEquals(Set.of(), database.keys(Table.SNAPSHOTS));
    }

    @Test
    void lost_layer_healsWhenUnpackedAgain() throws ImageException {
        String id = Layer.id(digest("d"));
        layer("d", id, 1000);
        metadata.link("v", "c", "", digest("d"), Optional.empty(), Map.of());
        metadata.link(LOCAL, "c", "", digest("d"), Optional.empty(), Map.of());
        active("k", "c");
        assertEquals(Optional.of("layer " + id), metadata.lost(1000));
        assertEquals(Optional.empty(), metadata.layer(digest("d"), Optional.empty()));
        fails(ErrorKind.DATA_LOSS, () -> metadata.stack("v", "k"));
        fails(
                ErrorKind.NOT_FOUND,
                () -> metadata.link("w", "c", "", digest("d"), Optional.empty(), Map.of()));
        assertEquals(2000, layer("d", id, 2000).directory());
        assertEquals(List.of(2000L), metadata.stack("v", "k").lowers());
        assertEquals(2000, layer("d", id, 3000).directory(), "the first one with files wins");
    }

    @Test
    void lost_layerNobodyShows_isForgotten() throws ImageException {
        String id = Layer.id(digest("d"));
        layer("d", id, 1000);
        assertEquals(Optional.of("layer " + id), metadata.lost(1000));
        assertEquals(Optional.empty(), metadata.layer(id));
        assertEquals(Set.of(), database.keys(Table.LAYERS));
    }

    @Test
    void link_lostSnapshot_isReplaced() throws ImageException {
        StoredSnapshot a = committed("a", "");
        layer("d", Layer.id(digest("d")), 1000);
        assertFalse(
                metadata.link("v", "a", "", digest("d"), Optional.empty(), Map.of()).isPresent());
        metadata.lost(a.directory());
        assertTrue(
                metadata.link("v", "a", "", digest("d"), Optional.empty(), Map.of()).isPresent());
        assertEquals(List.of(1000L), metadata.lowers("v", "a"));
        active("k", "");
        fails(
                ErrorKind.ALREADY_EXISTS,
                () -> metadata.link("v", "k", "", digest("d"), Optional.empty(), Map.of()));
    }

    @Test
    void layer_parentSpecific_onlyOnItsParent() throws ImageException {
        Optional<Digest> parent = Optional.of(digest("p"));
        layer("d", Layer.id(digest("d"), parent), 1000);
        assertTrue(metadata.layer(digest("d"), parent).isPresent());
        assertFalse(metadata.layer(digest("d"), Optional.empty()).isPresent());
        layer("d", Layer.id(digest("d"), Optional.empty()), 1001);
        assertEquals(1001, metadata.layer(digest("d"), Optional.empty()).orElseThrow().directory());
    }

    @Test
    void missing_durableDirectories_findTheirOwners() throws ImageException {
        StoredSnapshot a = committed("a", "");
        StoredSnapshot k = active("k", "");
        metadata.settled(List.of(a.directory()), List.of());
        layer("d", Layer.id(digest("d")), 1000);
        Map<Long, Kind> directories = new HashMap<>();
        metadata.directories(directories::put);
        assertEquals(
                Map.of(
                        a.directory(),
                        Kind.COMMITTED,
                        k.directory(),
                        Kind.ACTIVE,
                        1000L,
                        Kind.COMMITTED),
                directories);
        assertEquals(
                Set.of("snapshot v/a", "layer " + Layer.id(digest("d"))),
                new HashSet<>(metadata.missing(Set.of(a.directory(), 1000L, 77L))));
        assertTrue(metadata.require("v", "a").lost());
        assertEquals(List.of(), metadata.unsynced());
    }

    @Test
    void newDirectory_acrossOwners_neverRepeats() throws ImageException {
        Set<Long> seen = new HashSet<>();
        for (int owner = 0; owner < 3; owner++) {
            SnapshotMetadata next = new SnapshotMetadata(database, Clock.systemUTC());
            for (int i = 0; i < 100; i++) {
                long id = next.newDirectory();
                assertTrue(id > 0 && seen.add(id), "given out twice: " + id);
            }
        }
    }

    @Test
    void session_isRemembered() throws ImageException {
        assertEquals(Session.NONE, metadata.lastSession());
        metadata.sessionOpened();
        assertEquals(Session.OPEN, metadata.lastSession());
        metadata.sessionClosed();
        assertEquals(Session.CLOSED, metadata.lastSession());
    }

    /// What the indexes answer must be what a scan answers, after any history.
    @Test
    void walk_indexedConditions_agreeWithScan() throws ImageException {
        Random random = new Random(42);
        List<String> names = new ArrayList<>();
        for (int i = 0; i < 400; i++) {
            String parent = names.isEmpty() ? "" : names.get(random.nextInt(names.size()));
            switch (random.nextInt(5)) {
                case 0, 1 -> {
                    String name = "n" + i;
                    committed(name, random.nextBoolean() ? "" : parent);
                    names.add(name);
                }
                case 2 -> {
                    if (!parent.isEmpty()) {
                        metadata.update(
                                "v",
                                parent,
                                Map.of(SnapshotMetadata.REF_LABEL, "t" + random.nextInt(3)),
                                List.of("labels." + SnapshotMetadata.REF_LABEL));
                    }
                }
                case 3 -> {
                    if (!parent.isEmpty()) {
                        metadata.update("v", parent, Map.of(), List.of());
                    }
                }
                default -> {
                    try {
                        metadata.remove("v", parent);
                        names.remove(parent);
                    } catch (ImageException e) {
                        assertTrue(
                                e.kind() == ErrorKind.NOT_FOUND
                                        || e.kind() == ErrorKind.FAILED_PRECONDITION,
                                e.getMessage());
                    }
                }
            }
        }
        List<StoredSnapshot> all = new ArrayList<>();
        metadata.walk("v", Filter.ALWAYS, all::add);
        assertEquals(names.size(), all.size());
        List<List<String>> filters = new ArrayList<>();
        for (int t = 0; t < 4; t++) {
            filters.add(List.of("labels.\"containerd.io/snapshot.ref\"==t" + t));
            filters.add(List.of("labels.\"containerd.io/snapshot.ref\"==t" + t + ",parent==\"\""));
        }
        for (String name : names) {
            filters.add(List.of("parent==" + name));
            filters.add(List.of("name==" + name, "parent==" + name));
        }
        int matches = 0;
        for (List<String> text : filters) {
            Filter filter = Filter.parse(text);
            Set<String> wanted = new HashSet<>();
            for (StoredSnapshot snapshot : all) {
                if (filter.matches(snapshot.info())) {
                    wanted.add(snapshot.info().name());
                }
            }
            Set<String> got = new HashSet<>();
            metadata.walk("v", filter, s -> got.add(s.info().name()));
            assertEquals(wanted, got, text.toString());
            matches += wanted.size();
        }
        assertTrue(matches > 50, "the history left too little to compare: " + matches);
    }

    @Test
    void created_andUpdated_comeFromTheClock() throws ImageException {
        committed("a", "");
        SnapshotMetadata later =
                new SnapshotMetadata(
                        database, Clock.fixed(START.plus(Duration.ofHours(1)), ZoneOffset.UTC));
        later.update("v", "a", Map.of(), List.of());
        assertEquals(START, later.require("v", "a").info().created());
        assertEquals(START.plus(Duration.ofHours(1)), later.require("v", "a").info().updated());
    }
}
