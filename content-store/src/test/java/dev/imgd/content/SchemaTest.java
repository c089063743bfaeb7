package dev.imgd.content;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.content.Database.Table;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rocksdb.ColumnFamilyDescriptor;
import org.rocksdb.ColumnFamilyHandle;
import org.rocksdb.ColumnFamilyOptions;
import org.rocksdb.DBOptions;
import org.rocksdb.Options;
import org.rocksdb.RocksDB;

/// Databases of other versions: none of them is damage, and none costs a row.
final class SchemaTest {
    private static final String NS = "default";
    private static final byte[] ROW = {1, 2, 3};

    @TempDir Path directory;
    private Path root;
    private BlobPaths paths;

    @BeforeEach
    void fill() throws Exception {
        root = directory.resolve("store");
        paths = new BlobPaths(root);
        try (Store store = open()) {
            store.leases().create(NS, "lease", Duration.ofHours(1), Map.of());
            write(store.database());
        }
    }

    private Store open() throws ImageException {
        return Store.open(root, StoreOptions.defaults());
    }

    private static void write(Database database) throws ImageException {
        database.write(
                tx -> {
                    tx.put(Table.SNAPSHOTS, "snapshot", ROW);
                    return null;
                });
    }

    private static Schema next(int more) {
        List<Schema.Family> families = new ArrayList<>(Schema.CURRENT.families());
        int version = Schema.CURRENT.version() + 1;
        for (int i = 0; i < more; i++) {
            families.add(new Schema.Family("later" + i, version));
        }
        return new Schema(version, families);
    }

    /// Opens the database as another version of the program.
    private RocksDatabase openAs(Schema schema, String program) throws Exception {
        StoreOptions defaults = StoreOptions.defaults();
        return RocksDatabase.open(
                paths,
                new RefJournal(paths),
                new StoreOptions(
                        defaults.cacheBytes(),
                        defaults.ingestTtl(),
                        defaults.minFreeRatio(),
                        program,
                        defaults.clock()),
                () -> {},
                schema);
    }

    @FunctionalInterface
    private interface Change {
        void on(RocksDB db, Map<String, ColumnFamilyHandle> families) throws Exception;
    }

    /// Changes the database behind everybody's back.
    private void change(Change change) throws Exception {
        String path = root.resolve("db").toString();
        List<ColumnFamilyDescriptor> descriptors = new ArrayList<>();
        List<ColumnFamilyHandle> handles = new ArrayList<>();
        Map<String, ColumnFamilyHandle> families = new java.util.HashMap<>();
        try (Options options = new Options();
                DBOptions dbOptions = new DBOptions();
                ColumnFamilyOptions rows = new ColumnFamilyOptions()) {
            for (byte[] name : RocksDB.listColumnFamilies(options, path)) {
                descriptors.add(new ColumnFamilyDescriptor(name, rows));
            }
            try (RocksDB db = RocksDB.open(dbOptions, path, descriptors, handles)) {
                for (ColumnFamilyHandle handle : handles) {
                    families.put(new String(handle.getName(), StandardCharsets.UTF_8), handle);
                }
                change.on(db, families);
                handles.forEach(ColumnFamilyHandle::close);
            }
        }
    }

    private ImageException refused() {
        ImageException e = assertThrows(ImageException.class, this::open);
        assertEquals(ErrorKind.FAILED_PRECONDITION, e.kind(), e.getMessage());
        return e;
    }

    private List<Path> setAside() throws Exception {
        try (var found = Files.newDirectoryStream(root, "db.damaged-*")) {
            List<Path> all = new ArrayList<>();
            found.forEach(all::add);
            return all;
        }
    }

    @Test
    void open_olderSchema_getsItsNewFamiliesAndKeepsItsRows() throws Exception {
        Schema later = next(2);
        try (RocksDatabase database = openAs(later, "imgd 9.9")) {
            assertArrayEquals(ROW, database.get(Table.SNAPSHOTS, "snapshot").orElseThrow());
            write(database);
        }
        try (RocksDatabase database = openAs(later, "imgd 9.9")) {
            assertArrayEquals(ROW, database.get(Table.SNAPSHOTS, "snapshot").orElseThrow());
        }
    }

    @Test
    void open_newerSchemaWithMoreFamilies_isRefusedAndUnchanged() throws Exception {
        try (RocksDatabase database = openAs(next(1), "imgd 9.9")) {
            write(database);
        }
        String message = refused().getMessage();
        assertTrue(message.contains("schema 2, written by imgd 9.9"), message);
        assertTrue(message.contains("later0"), message);
        assertEquals(List.of(), setAside());
        try (RocksDatabase database = openAs(next(1), "imgd 9.9")) {
            assertArrayEquals(ROW, database.get(Table.SNAPSHOTS, "snapshot").orElseThrow());
        }
    }

    @Test
    void open_newerSchemaWithTheSameFamilies_isRefused() throws Exception {
        try (RocksDatabase database = openAs(next(0), "imgd 9.9")) {
            write(database);
        }
        String message = refused().getMessage();
        assertTrue(message.contains("schema 2, written by imgd 9.9"), message);
        assertEquals(List.of(), setAside());
    }

    @Test
    void open_familyOfAStranger_isRefusedAndUnchanged() throws Exception {
        change(
                (db, _) ->
                        db.createColumnFamily(
                                        new ColumnFamilyDescriptor(
                                                "stranger".getBytes(StandardCharsets.UTF_8)))
                                .close());
        String message = refused().getMessage();
        assertTrue(message.contains("stranger"), message);
        assertEquals(List.of(), setAside());
    }

    @Test
    void open_familyLost_isDamage() throws Exception {
        change((db, families) -> db.dropColumnFamily(families.get("layers")));
        try (Store store = open()) {
            assertTrue(store.rebuilt());
            assertEquals(1, store.leases().list(NS).size());
        }
        assertEquals(1, setAside().size());
    }

    @Test
    void open_creationCutShort_goesOn() throws Exception {
        root = directory.resolve("second");
        paths = new BlobPaths(root);
        Files.createDirectories(root.resolve("db"));
        try (Options options = new Options().setCreateIfMissing(true);
                RocksDB db = RocksDB.open(options, root.resolve("db").toString())) {
            db.createColumnFamily(
                            new ColumnFamilyDescriptor("content".getBytes(StandardCharsets.UTF_8)))
                    .close();
        }
        try (Store store = open()) {
            assertFalse(store.rebuilt());
            write(store.database());
        }
        assertEquals(List.of(), setAside());
    }

    @Test
    void open_readingOnly_writesNoStamp() throws Exception {
        Path clean = root.resolve("refs/clean");
        try (RocksDatabase database = openAs(Schema.CURRENT, "imgd 0.0.1")) {
            assertTrue(database.get(Table.SNAPSHOTS, "snapshot").isPresent());
        }
        assertTrue(Files.exists(clean));
        try (Store store = open()) {
            assertTrue(store.database().get(Table.SNAPSHOTS, "snapshot").isPresent());
        }
        assertTrue(Files.exists(clean));
        change(
                (db, _) ->
                        assertEquals(
                                new Schema.Stamp(Schema.CURRENT.version(), "imgd"),
                                Schema.decode(db.get(Schema.KEY))));
    }
}
