package dev.imgd.content;

import dev.imgd.content.Database.Table;
import dev.imgd.content.RocksDatabase.DamagedException;
import dev.imgd.content.RocksDatabase.Graph;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Text;
import java.io.File;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.rocksdb.BlockBasedTableConfig;
import org.rocksdb.Cache;
import org.rocksdb.ColumnFamilyDescriptor;
import org.rocksdb.ColumnFamilyHandle;
import org.rocksdb.ColumnFamilyOptions;
import org.rocksdb.CompressionType;
import org.rocksdb.DBOptions;
import org.rocksdb.FlushOptions;
import org.rocksdb.InfoLogLevel;
import org.rocksdb.LRUCache;
import org.rocksdb.Options;
import org.rocksdb.ReadOptions;
import org.rocksdb.RocksDB;
import org.rocksdb.RocksDBException;
import org.rocksdb.Status;
import org.rocksdb.WALRecoveryMode;
import org.rocksdb.WriteBufferManager;
import org.rocksdb.WriteOptions;

/// One opened RocksDB instance: what is made anew when the database is opened again.
///
/// Reads and writes go through [#db] by any thread; [#close] comes last, from one.
final class Engine implements AutoCloseable {
    private static final long MAX_WAL_BYTES = 4L << 20;
    private static final int MAX_WAL_FILES = 16;

    final RocksDB db;
    final ReadOptions latest = new ReadOptions();
    final WriteOptions unsynced = new WriteOptions();

    private final BlobPaths paths;
    private final List<AutoCloseable> natives;
    private final Map<String, ColumnFamilyHandle> families;
    private final Schema.@Nullable Stamp stamp;
    private final EnumMap<Table, ColumnFamilyHandle> tables = new EnumMap<>(Table.class);
    private final EnumMap<Graph, ColumnFamilyHandle> graph = new EnumMap<>(Graph.class);

    private Engine(
            BlobPaths paths,
            List<AutoCloseable> natives,
            RocksDB db,
            Map<String, ColumnFamilyHandle> families)
            throws RocksDBException {
        this.paths = paths;
        this.natives = natives;
        this.db = db;
        this.families = families;
        for (Table table : Table.values()) {
            tables.put(table, Objects.requireNonNull(families.get(Schema.family(table))));
        }
        for (Graph part : Graph.values()) {
            graph.put(part, Objects.requireNonNull(families.get(Schema.family(part))));
        }
        natives.add(latest);
        natives.add(unsynced);
        stamp = Schema.decode(db.get(table(Table.META), latest, Schema.KEY));
    }

    /// Opens or creates the database.
    ///
    /// @throws ImageException `FAILED_PRECONDITION` for one of a newer version
    static Engine open(BlobPaths paths, long cacheBytes, Schema schema)
            throws ImageException, DamagedException {
        // Whatever was acknowledged must not be rolled back without a word.
        return open(paths, cacheBytes, schema, WALRecoveryMode.TolerateCorruptedTailRecords);
    }

    /// As [#open(BlobPaths, long, Schema)], as of the moment before the first damage in the log: a
    /// state that the database had, without what came after it.
    static Engine openBeforeDamage(BlobPaths paths, long cacheBytes, Schema schema)
            throws ImageException, DamagedException {
        return open(paths, cacheBytes, schema, WALRecoveryMode.PointInTimeRecovery);
    }

    private static Engine open(BlobPaths paths, long cacheBytes, Schema schema, WALRecoveryMode log)
            throws ImageException, DamagedException {
        NativeLibraries.load();
        if (Files.exists(paths.databaseDamaged())) {
            throw new DamagedException("it returned damaged data earlier", null);
        }
        boolean exists = paths.databaseExists();
        Engine engine;
        try {
            engine = open(paths, cacheBytes, schema, log, !exists);
        } catch (RocksDBException e) {
            if (!exists || !isAbout(e, Status.Code.InvalidArgument)) {
                throw failure(paths, e);
            }
            // Not damage: what the database has differs from what this version knows.
            if (!lacksFamilies(paths, schema)) {
                throw failure(paths, e);
            }
            try {
                engine = open(paths, cacheBytes, schema, log, true);
            } catch (RocksDBException again) {
                throw failure(paths, again);
            }
        }
        Schema.Stamp stamp = engine.stamp;
        if (stamp != null && stamp.version() > schema.version()) {
            engine.close();
            throw newer(paths, stamp, schema, "");
        }
        return engine;
    }

    private static Engine open(
            BlobPaths paths, long cacheBytes, Schema schema, WALRecoveryMode log, boolean create)
            throws RocksDBException {
        List<AutoCloseable> natives = new ArrayList<>();
        // Write buffers are charged to the cache, so this is the bound of both together.
        Cache cache = new LRUCache(cacheBytes);
        natives.add(cache);
        WriteBufferManager buffers = new WriteBufferManager(cacheBytes / 2, cache);
        natives.add(buffers);
        DBOptions options =
                new DBOptions()
                        .setCreateIfMissing(create)
                        .setCreateMissingColumnFamilies(create)
                        .setParanoidChecks(true)
                        .setWalRecoveryMode(log)
                        .setRecycleLogFileNum(0)
                        // A manifest that lost its end shows all families as they once were, not
                        // each at another moment.
                        .setAtomicFlush(true)
                        .setMaxTotalWalSize(MAX_WAL_BYTES)
                        .setWriteBufferManager(buffers)
                        .setMaxBackgroundJobs(2)
                        .setMaxOpenFiles(128)
                        // The default starts 16 threads for each family with files.
                        .setMaxFileOpeningThreads(1)
                        .setMaxManifestFileSize(1 << 20)
                        .setManifestPreallocationSize(64 << 10)
                        // The rest keeps opening and closing short: a command line does both each
                        // time.
                        .setSkipStatsUpdateOnDbOpen(true)
                        .setAvoidFlushDuringRecovery(true)
                        .setAvoidFlushDuringShutdown(true)
                        .setStatsDumpPeriodSec(0)
                        .setStatsPersistPeriodSec(0)
                        .setInfoLogLevel(InfoLogLevel.FATAL_LEVEL)
                        .setKeepLogFileNum(1);
        natives.add(options);
        ColumnFamilyOptions rows =
                new ColumnFamilyOptions()
                        .setTableFormatConfig(
                                new BlockBasedTableConfig()
                                        .setBlockCache(cache)
                                        .setCacheIndexAndFilterBlocks(true)
                                        .setPinL0FilterAndIndexBlocksInCache(true))
                        .setWriteBufferSize(2 << 20)
                        .setMaxWriteBufferNumber(2)
                        .setTargetFileSizeBase(8 << 20)
                        .setMaxBytesForLevelBase(32 << 20)
                        .setParanoidFileChecks(true)
                        .setForceConsistencyChecks(true)
                        .setCompressionType(CompressionType.LZ4_COMPRESSION);
        natives.add(rows);
        List<ColumnFamilyDescriptor> descriptors = new ArrayList<>();
        for (Schema.Family family : schema.families()) {
            descriptors.add(new ColumnFamilyDescriptor(utf8(family.name()), rows));
        }
        List<ColumnFamilyHandle> handles = new ArrayList<>();
        RocksDB db = null;
        try {
            db = RocksDB.open(options, paths.database().toString(), descriptors, handles);
            Map<String, ColumnFamilyHandle> families = new HashMap<>();
            for (int i = 0; i < handles.size(); i++) {
                families.put(schema.families().get(i).name(), handles.get(i));
            }
            return new Engine(paths, natives, db, families);
        } catch (RocksDBException e) {
            handles.forEach(ColumnFamilyHandle::close);
            if (db != null) {
                db.close();
            }
            closeAll(natives);
            throw e;
        }
    }

    /// Whether the database is sound and lacks only families that came after it was written, or
    /// that a crash kept its creation from reaching.
    ///
    /// @throws ImageException when it has families that this version does not know
    /// @throws DamagedException when it lost families that it had
    private static boolean lacksFamilies(BlobPaths paths, Schema schema)
            throws ImageException, DamagedException {
        String path = paths.database().toString();
        List<String> found = new ArrayList<>();
        List<ColumnFamilyDescriptor> descriptors = new ArrayList<>();
        List<ColumnFamilyHandle> handles = new ArrayList<>();
        Schema.Stamp stamp;
        try (Options options = new Options();
                DBOptions reading = new DBOptions();
                ColumnFamilyOptions rows = new ColumnFamilyOptions()) {
            for (byte[] name : RocksDB.listColumnFamilies(options, path)) {
                found.add(new String(name, StandardCharsets.UTF_8));
                descriptors.add(new ColumnFamilyDescriptor(name, rows));
            }
            try (RocksDB db = RocksDB.openReadOnly(reading, path, descriptors, handles)) {
                try {
                    stamp = Schema.decode(db.get(Schema.KEY));
                } finally {
                    handles.forEach(ColumnFamilyHandle::close);
                }
            }
        } catch (RocksDBException e) {
            throw failure(paths, e);
        }
        List<String> unknown = new ArrayList<>(found);
        boolean lacks = false;
        for (Schema.Family family : schema.families()) {
            if (unknown.remove(family.name())) {
                continue;
            }
            if (stamp == null ? holdsRows(paths) : family.since() <= stamp.version()) {
                throw new DamagedException(
                        "its column family %s is missing".formatted(family.name()), null);
            }
            lacks = true;
        }
        if (!unknown.isEmpty()) {
            throw newer(paths, stamp, schema, " and tables unknown here: " + unknown);
        }
        return lacks;
    }

    /// Whether anything was ever written. A truncated manifest can hide families and rows, but not
    /// the files they are in.
    private static boolean holdsRows(BlobPaths paths) {
        File[] files =
                paths.database()
                        .toFile()
                        .listFiles(
                                file ->
                                        file.getName().endsWith(".sst")
                                                || (file.getName().endsWith(".log")
                                                        && file.length() > 0));
        return files == null || files.length > 0;
    }

    private static ImageException newer(
            BlobPaths paths, Schema.@Nullable Stamp stamp, Schema schema, String more) {
        return ImageException.failedPrecondition(
                ("database %s: wanted schema %d or older, got %s%s; run that version or a newer"
                                + " one, or choose another --root; nothing was changed")
                        .formatted(
                                paths.database(),
                                schema.version(),
                                stamp == null
                                        ? "one of an unknown program"
                                        : "schema %d, written by %s"
                                                .formatted(
                                                        stamp.version(),
                                                        Text.printable(stamp.program(), 100)),
                                Text.printable(more, 200)));
    }

    private static ImageException failure(BlobPaths paths, RocksDBException e)
            throws DamagedException {
        if (isDamage(e)) {
            throw new DamagedException(String.valueOf(e.getMessage()), e);
        }
        if (isAbout(e, Status.Code.InvalidArgument)
                || isAbout(e, Status.Code.NotSupported)
                || isFromNewerLibrary(e)) {
            return new ImageException(
                    ErrorKind.FAILED_PRECONDITION,
                    ("database %s: this version cannot open it: %s; run the version that wrote it,"
                                    + " or move the directory away: names and blobs are then"
                                    + " restored, snapshots are not")
                            .formatted(paths.database(), e.getMessage()),
                    e);
        }
        return classify("open database " + paths.database(), e);
    }

    private static boolean isAbout(RocksDBException e, Status.Code code) {
        Status status = e.getStatus();
        return status != null && status.getCode() == code;
    }

    /// RocksDB calls a format that it does not know yet corrupt.
    private static boolean isFromNewerLibrary(RocksDBException e) {
        return String.valueOf(e.getMessage()).contains("newer version of RocksDB");
    }

    private static boolean isDamage(RocksDBException e) {
        String state = String.valueOf(e.getMessage());
        if (isAbout(e, Status.Code.Corruption)) {
            return !isFromNewerLibrary(e);
        }
        // A file the manifest speaks of is gone or cut short.
        return isAbout(e, Status.Code.IOError)
                && (state.contains("No such file") || state.contains("file is too short"));
    }

    /// An error with its class and with what to do.
    ///
    /// @param what was being done, for example `read database /x/db`
    static ImageException classify(String what, RocksDBException e) {
        String message = String.valueOf(e.getMessage());
        Status status = e.getStatus();
        ErrorKind kind = ErrorKind.INTERNAL;
        String advice = "";
        if (status != null) {
            if (status.getSubCode() == Status.SubCode.NoSpace || Failures.isNoSpace(message)) {
                kind = ErrorKind.NO_SPACE;
                advice = "; free some space and try again";
            } else if (message.contains("Permission denied")
                    || message.contains("Read-only file system")) {
                kind = ErrorKind.PERMISSION_DENIED;
                advice = "; run as the owner of the store or choose another --root";
            } else if (status.getCode() == Status.Code.Corruption) {
                kind = ErrorKind.DATA_LOSS;
                advice = "; the next start sets the database aside and rebuilds it";
            }
        }
        return new ImageException(kind, what + ": " + message + advice, e);
    }

    /// What the database said about who wrote it when it was opened; null when it said nothing.
    Schema.@Nullable Stamp stamp() {
        return stamp;
    }

    ColumnFamilyHandle table(Table table) {
        return Objects.requireNonNull(tables.get(table));
    }

    ColumnFamilyHandle graph(Graph part) {
        return Objects.requireNonNull(graph.get(part));
    }

    /// Moves rows from the log to table files.
    void flush() throws RocksDBException {
        try (FlushOptions flush = new FlushOptions()) {
            db.flush(flush, new ArrayList<>(families.values()));
        }
    }

    /// Whether the next open would spend more time on the log than a flush takes now.
    boolean walIsLarge() {
        File[] logs = paths.database().toFile().listFiles((_, name) -> name.endsWith(".log"));
        if (logs == null) {
            return false;
        }
        long bytes = 0;
        for (File log : logs) {
            bytes += log.length();
        }
        return logs.length > MAX_WAL_FILES || bytes > MAX_WAL_BYTES / 4;
    }

    @Override
    public void close() {
        families.values().forEach(ColumnFamilyHandle::close);
        db.close();
        closeAll(natives);
    }

    private static void closeAll(List<AutoCloseable> natives) {
        for (AutoCloseable object : natives.reversed()) {
            try {
                object.close();
            } catch (Exception e) {
                throw new AssertionError("a native object does not throw when it is closed", e);
            }
        }
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
