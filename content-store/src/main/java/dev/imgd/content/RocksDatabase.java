package dev.imgd.content;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;

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
import org.rocksdb.ReadOptions;
import org.rocksdb.RocksDB;
import org.rocksdb.RocksDBException;
import org.rocksdb.RocksIterator;
import org.rocksdb.Snapshot;
import org.rocksdb.Status;
import org.rocksdb.WALRecoveryMode;
import org.rocksdb.WriteBatchWithIndex;
import org.rocksdb.WriteBufferManager;
import org.rocksdb.WriteOptions;

import java.io.File;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.Iterator;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.locks.ReentrantLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.BiPredicate;

/// [Database] on one RocksDB instance.
///
/// A writer holds the lock only while its body runs and its batch goes to the memtable and the log;
/// the sync of the log happens afterwards and is shared by all transactions that wait for one.
/// Every row of the reference graph is kept twice, by source and by target:
///
/// ```
/// edges_out   <from> NUL <to>     empty
/// edges_in    <to> NUL <from>     empty
/// counts      <to>                number of edges_in, 8 bytes, big-endian; absent when 0
/// zero        <node>              empty
/// sequences   <name>              last number given out, 8 bytes, big-endian
/// ```
///
/// Lock order: writer, then log sync; never the other way round.
final class RocksDatabase implements Database, AutoCloseable {
    /// The sequence that numbers the entries of [RefJournal].
    static final String JOURNAL_SEQUENCE = "imgd.journal";

    private static final byte[] EMPTY = {};
    private static final long MAX_WAL_BYTES = 4L << 20;
    private static final int MAX_WAL_FILES = 16;
    private static final int SCAN_CHUNK = 64;

    private enum Graph {
        EDGES_OUT,
        EDGES_IN,
        COUNTS,
        ZERO,
        SEQUENCES
    }

    private final BlobPaths paths;
    private final RefJournal journal;
    private final BeforeChange beforeChange;
    private final List<AutoCloseable> natives;
    private final RocksDB db;
    private final EnumMap<Table, ColumnFamilyHandle> tables = new EnumMap<>(Table.class);
    private final EnumMap<Graph, ColumnFamilyHandle> graph = new EnumMap<>(Graph.class);
    private final ReadOptions latest;
    private final WriteOptions unsynced;

    private final ReentrantReadWriteLock gate = new ReentrantReadWriteLock();
    private final ReentrantLock writer = new ReentrantLock(true);
    private final ReentrantLock syncer = new ReentrantLock();
    private volatile long written;
    private volatile long synced;
    private volatile @Nullable ImageException failure;
    private volatile Runnable unreferenced = () -> {};
    private @Nullable ExecutorService syncThread;
    private boolean closed;

    private RocksDatabase(
            BlobPaths paths,
            RefJournal journal,
            BeforeChange beforeChange,
            List<AutoCloseable> natives,
            RocksDB db,
            List<ColumnFamilyHandle> handles) {
        this.paths = paths;
        this.journal = journal;
        this.beforeChange = beforeChange;
        this.natives = natives;
        this.db = db;
        Iterator<ColumnFamilyHandle> next = handles.iterator();
        for (Table table : Table.values()) {
            tables.put(table, next.next());
        }
        for (Graph part : Graph.values()) {
            graph.put(part, next.next());
        }
        this.latest = new ReadOptions();
        this.unsynced = new WriteOptions();
        natives.add(latest);
        natives.add(unsynced);
    }

    /// Runs before each batch is written.
    @FunctionalInterface
    interface BeforeChange {
        void run() throws ImageException;
    }

    /// A database that cannot be opened or read as it is and has to be rebuilt.
    static final class DamagedException extends Exception {
        DamagedException(String reason, @Nullable Throwable cause) {
            super(reason, cause);
        }
    }

    /// Opens or creates the database.
    ///
    /// @param beforeChange runs before each batch is written, under the writer lock
    static RocksDatabase open(
            BlobPaths paths, RefJournal journal, long cacheBytes, BeforeChange beforeChange)
            throws ImageException, DamagedException {
        NativeLibraries.load();
        if (Files.exists(paths.databaseDamaged())) {
            throw new DamagedException("it returned damaged data earlier", null);
        }
        List<AutoCloseable> natives = new ArrayList<>();
        // Write buffers are charged to the cache, so this is the bound of both together.
        Cache cache = new LRUCache(cacheBytes);
        natives.add(cache);
        WriteBufferManager buffers = new WriteBufferManager(cacheBytes / 2, cache);
        natives.add(buffers);
        DBOptions options =
                new DBOptions()
                        .setCreateIfMissing(!paths.databaseExists())
                        // A family that is missing from an existing database was lost.
                        .setCreateMissingColumnFamilies(!paths.databaseExists())
                        .setParanoidChecks(true)
                        // Whatever was acknowledged must not be rolled back: refuse, and rebuild.
                        .setWalRecoveryMode(WALRecoveryMode.TolerateCorruptedTailRecords)
                        .setRecycleLogFileNum(0)
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

        List<ColumnFamilyDescriptor> families = new ArrayList<>();
        for (Table table : Table.values()) {
            families.add(family(table == Table.META ? "default" : lower(table.name()), rows));
        }
        for (Graph part : Graph.values()) {
            families.add(family(lower(part.name()), rows));
        }
        List<ColumnFamilyHandle> handles = new ArrayList<>();
        try {
            RocksDB db = RocksDB.open(options, paths.database().toString(), families, handles);
            return new RocksDatabase(paths, journal, beforeChange, natives, db, handles);
        } catch (RocksDBException e) {
            closeAll(natives);
            if (isDamage(e)) {
                throw new DamagedException(String.valueOf(e.getMessage()), e);
            }
            throw classify("open database " + paths.database(), e);
        }
    }

    private static ColumnFamilyDescriptor family(String name, ColumnFamilyOptions options) {
        return new ColumnFamilyDescriptor(name.getBytes(StandardCharsets.UTF_8), options);
    }

    private static String lower(String name) {
        return name.toLowerCase(java.util.Locale.ROOT);
    }

    private static boolean isDamage(RocksDBException e) {
        Status status = e.getStatus();
        if (status == null) {
            return false;
        }
        String state = String.valueOf(e.getMessage());
        return switch (status.getCode()) {
            case Corruption, NotFound, InvalidArgument, NotSupported -> true;
            // A file the manifest speaks of is gone or cut short.
            case IOError -> state.contains("No such file") || state.contains("file is too short");
            default -> false;
        };
    }

    private static ImageException classify(String what, RocksDBException e) {
        String message = String.valueOf(e.getMessage());
        Status status = e.getStatus();
        ErrorKind kind = ErrorKind.INTERNAL;
        String advice = "";
        if (status != null) {
            if (status.getSubCode() == Status.SubCode.NoSpace || Failures.isNoSpace(message)) {
                kind = ErrorKind.NO_SPACE;
                advice = "; free some space and start again";
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

    /// Notes damage found while running, so that the next open rebuilds.
    private ImageException failed(String what, RocksDBException e) {
        ImageException classified = classify(what, e);
        if (classified.kind() == ErrorKind.DATA_LOSS) {
            try {
                Files.createFile(paths.databaseDamaged());
            } catch (IOException alreadyNotedOrHopeless) {
                classified.addSuppressed(alreadyNotedOrHopeless);
            }
        }
        return classified;
    }

    @Override
    public <T extends @Nullable Object> T write(Body<T> body) throws ImageException {
        enter();
        try {
            T result;
            long ticket;
            boolean queued;
            writer.lock();
            try (WriteBatchWithIndex batch = new WriteBatchWithIndex(true)) {
                checkUsable();
                RocksTransaction tx = new RocksTransaction(batch);
                result = body.run(tx);
                tx.finish();
                if (batch.count() == 0) {
                    return result;
                }
                beforeChange.run();
                long undo = journal.append(tx.entries);
                try {
                    db.write(unsynced, batch);
                } catch (RocksDBException e) {
                    journal.undo(undo);
                    throw failed("write to database " + paths.database(), e);
                }
                ticket = written + 1;
                written = ticket;
                queued = tx.queued;
            } finally {
                writer.unlock();
            }
            syncThrough(ticket);
            if (queued) {
                unreferenced.run();
            }
            return result;
        } finally {
            leave();
        }
    }

    /// Has `listener` told when something was put on the zero queue.
    void onUnreferenced(Runnable listener) {
        unreferenced = listener;
    }

    private void syncThrough(long ticket) throws ImageException {
        if (synced >= ticket) {
            return;
        }
        syncer.lock();
        try {
            if (synced >= ticket) {
                return;
            }
            checkUsable();
            long covered = written;
            ImageException cause = Thread.currentThread().isVirtual() ? syncElsewhere() : sync();
            if (cause != null) {
                failure = cause;
                throw cause;
            }
            synced = covered;
        } finally {
            syncer.unlock();
        }
    }

    private @Nullable ImageException sync() {
        try {
            db.syncWal();
            journal.force();
            return null;
        } catch (RocksDBException e) {
            return failed("sync database " + paths.database(), e);
        } catch (ImageException e) {
            return e;
        }
    }

    /// A sync in native code would hold the carrier of a virtual thread for as long as the disk
    /// takes.
    private @Nullable ImageException syncElsewhere() {
        ExecutorService thread = syncThread;
        if (thread == null) {
            thread =
                    Executors.newSingleThreadExecutor(
                            Thread.ofPlatform().daemon().name("imgd-sync").factory());
            syncThread = thread;
        }
        return CompletableFuture.supplyAsync(this::sync, thread).join();
    }

    /// After a failed sync nothing that was written lately can be trusted to be on disk.
    private void checkUsable() throws ImageException {
        ImageException cause = failure;
        if (cause != null) {
            throw new ImageException(
                    ErrorKind.UNAVAILABLE,
                    "database %s: takes no more writes after an error; start again: %s"
                            .formatted(paths.database(), cause.getMessage()),
                    cause);
        }
    }

    @Override
    public <T extends @Nullable Object> T read(ReadBody<T> body) throws ImageException {
        enter();
        try {
            Snapshot snapshot = db.getSnapshot();
            try (ReadOptions options = new ReadOptions().setSnapshot(snapshot)) {
                return body.run(new SnapshotView(options));
            } finally {
                db.releaseSnapshot(snapshot);
            }
        } finally {
            leave();
        }
    }

    @Override
    public Optional<byte[]> get(Table table, String key) throws ImageException {
        enter();
        try {
            return Optional.ofNullable(db.get(table(table), latest, utf8(key)));
        } catch (RocksDBException e) {
            throw failed("read database " + paths.database(), e);
        } finally {
            leave();
        }
    }

    @Override
    public List<NodeId> zeroQueue(int max) throws ImageException {
        return read(
                view -> {
                    List<NodeId> nodes = new ArrayList<>();
                    ((RocksView) view)
                            .scanKeys(
                                    graph(Graph.ZERO),
                                    EMPTY,
                                    (key, _) -> {
                                        if (nodes.size() >= max) {
                                            return false;
                                        }
                                        nodes.add(NodeId.parse(text(key, 0, key.length)));
                                        return true;
                                    });
                    return nodes;
                });
    }

    @Override
    public void dequeue(List<NodeId> nodes) throws ImageException {
        write(
                tx -> {
                    for (NodeId node : nodes) {
                        ((RocksTransaction) tx).dequeue(node);
                    }
                    return null;
                });
    }

    private void enter() throws ImageException {
        gate.readLock().lock();
        if (closed) {
            gate.readLock().unlock();
            throw new ImageException(
                    ErrorKind.UNAVAILABLE, "store %s: it is closed".formatted(paths.root()));
        }
    }

    private void leave() {
        gate.readLock().unlock();
    }

    /// Waits for running transactions and releases the database. Idempotent.
    @Override
    public void close() throws ImageException {
        gate.writeLock().lock();
        try {
            if (closed) {
                return;
            }
            closed = true;
            try {
                if (failure == null && walIsLarge()) {
                    flush();
                }
            } finally {
                if (syncThread != null) {
                    syncThread.shutdown();
                }
                for (ColumnFamilyHandle handle : tables.values()) {
                    handle.close();
                }
                for (ColumnFamilyHandle handle : graph.values()) {
                    handle.close();
                }
                db.close();
                closeAll(natives);
            }
        } finally {
            gate.writeLock().unlock();
        }
    }

    /// Moves rows from the log to table files.
    void flush() throws ImageException {
        List<ColumnFamilyHandle> all = new ArrayList<>(tables.values());
        all.addAll(graph.values());
        try (FlushOptions flush = new FlushOptions()) {
            db.flush(flush, all);
        } catch (RocksDBException e) {
            throw failed("flush database " + paths.database(), e);
        }
    }

    /// Whether the next open would spend more time on the log than this close on a flush.
    private boolean walIsLarge() {
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

    private static void closeAll(List<AutoCloseable> natives) {
        for (AutoCloseable object : natives.reversed()) {
            try {
                object.close();
            } catch (Exception e) {
                throw new AssertionError("a native object does not throw when it is closed", e);
            }
        }
    }

    private ColumnFamilyHandle table(Table table) {
        return Objects.requireNonNull(tables.get(table));
    }

    private ColumnFamilyHandle graph(Graph part) {
        return Objects.requireNonNull(graph.get(part));
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String text(byte[] bytes, int from, int to) {
        return new String(bytes, from, to - from, StandardCharsets.UTF_8);
    }

    private static byte[] node(NodeId node) {
        if (node.key().indexOf(0) >= 0) {
            throw new IllegalArgumentException("a node key holds no NUL: " + node);
        }
        return utf8(node.toString());
    }

    private static byte[] edge(byte[] near, byte[] far) {
        byte[] key = Arrays.copyOf(near, near.length + 1 + far.length);
        System.arraycopy(far, 0, key, near.length + 1, far.length);
        return key;
    }

    private static byte[] edgePrefix(byte[] near) {
        return Arrays.copyOf(near, near.length + 1);
    }

    private static boolean startsWith(byte[] key, byte[] prefix) {
        return key.length >= prefix.length
                && Arrays.equals(key, 0, prefix.length, prefix, 0, prefix.length);
    }

    private static long number(byte @Nullable [] value) {
        return value == null ? 0 : ByteBuffer.wrap(value).getLong();
    }

    private static byte[] number(long value) {
        return ByteBuffer.allocate(Long.BYTES).putLong(value).array();
    }

    /// Receives rows until it returns false.
    @FunctionalInterface
    interface RowVisitor {
        boolean visit(byte[] key, byte[] value) throws ImageException;
    }

    /// Reads that snapshots and transactions have in common.
    abstract class RocksView implements View {
        abstract byte @Nullable [] get(ColumnFamilyHandle family, byte[] key)
                throws RocksDBException;

        abstract void scanKeys(ColumnFamilyHandle family, byte[] prefix, RowVisitor visitor)
                throws ImageException;

        final byte @Nullable [] row(ColumnFamilyHandle family, byte[] key) throws ImageException {
            try {
                return get(family, key);
            } catch (RocksDBException e) {
                throw failed("read database " + paths.database(), e);
            }
        }

        /// Visits rows of an open iterator; returns the last key seen when `limit` was reached.
        final byte @Nullable [] visit(
                RocksIterator rows, byte[] prefix, int limit, RowVisitor visitor)
                throws ImageException {
            int seen = 0;
            for (; rows.isValid(); rows.next()) {
                byte[] key = rows.key();
                if (!startsWith(key, prefix) || !visitor.visit(key, rows.value())) {
                    return null;
                }
                if (++seen == limit) {
                    return key;
                }
            }
            try {
                rows.status();
            } catch (RocksDBException e) {
                throw failed("scan database " + paths.database(), e);
            }
            return null;
        }

        @Override
        public byte @Nullable [] get(Table table, String key) throws ImageException {
            return row(table(table), utf8(key));
        }

        @Override
        public void scan(Table table, String prefix, BiPredicate<String, byte[]> visitor)
                throws ImageException {
            scanKeys(
                    table(table),
                    utf8(prefix),
                    (key, value) -> visitor.test(text(key, 0, key.length), value));
        }

        @Override
        public long references(NodeId to) throws ImageException {
            return number(row(graph(Graph.COUNTS), node(to)));
        }

        @Override
        public List<NodeId> edgesFrom(NodeId from) throws ImageException {
            return far(Graph.EDGES_OUT, from);
        }

        @Override
        public List<NodeId> edgesTo(NodeId to) throws ImageException {
            return far(Graph.EDGES_IN, to);
        }

        private List<NodeId> far(Graph part, NodeId near) throws ImageException {
            byte[] prefix = edgePrefix(node(near));
            List<NodeId> nodes = new ArrayList<>();
            scanKeys(
                    graph(part),
                    prefix,
                    (key, _) -> {
                        nodes.add(NodeId.parse(text(key, prefix.length, key.length)));
                        return true;
                    });
            return nodes;
        }

        final void edges(boolean bySource, Maintenance.EdgeVisitor visitor) throws ImageException {
            scanKeys(
                    graph(bySource ? Graph.EDGES_OUT : Graph.EDGES_IN),
                    EMPTY,
                    (key, _) -> {
                        int nul = 0;
                        while (key[nul] != 0) {
                            nul++;
                        }
                        NodeId near = NodeId.parse(text(key, 0, nul));
                        NodeId far = NodeId.parse(text(key, nul + 1, key.length));
                        visitor.edge(bySource ? near : far, bySource ? far : near);
                        return true;
                    });
        }

        final void counts(Maintenance.CountVisitor visitor) throws ImageException {
            scanKeys(
                    graph(Graph.COUNTS),
                    EMPTY,
                    (key, value) -> {
                        visitor.count(NodeId.parse(text(key, 0, key.length)), number(value));
                        return true;
                    });
        }

        final long sequence(String name) throws ImageException {
            return number(row(graph(Graph.SEQUENCES), utf8(name)));
        }
    }

    private final class SnapshotView extends RocksView {
        private final ReadOptions options;

        SnapshotView(ReadOptions options) {
            this.options = options;
        }

        @Override
        byte @Nullable [] get(ColumnFamilyHandle family, byte[] key) throws RocksDBException {
            return db.get(family, options, key);
        }

        @Override
        void scanKeys(ColumnFamilyHandle family, byte[] prefix, RowVisitor visitor)
                throws ImageException {
            try (RocksIterator rows = db.newIterator(family, options)) {
                rows.seek(prefix);
                visit(rows, prefix, Integer.MAX_VALUE, visitor);
            }
        }
    }

    /// A transaction; for the thread that holds the writer lock.
    final class RocksTransaction extends RocksView implements Transaction {
        private final WriteBatchWithIndex batch;
        private final List<RefJournal.Entry> entries = new ArrayList<>();
        private boolean over;
        private boolean queued;

        RocksTransaction(WriteBatchWithIndex batch) {
            this.batch = batch;
        }

        private void finish() {
            over = true;
        }

        private void checkOpen() {
            if (over) {
                throw new IllegalStateException("the transaction is over");
            }
        }

        @Override
        byte @Nullable [] get(ColumnFamilyHandle family, byte[] key) throws RocksDBException {
            checkOpen();
            return batch.getFromBatchAndDB(db, family, latest, key);
        }

        /// Visitors may write, which an open iterator over the batch would not survive; so rows are
        /// fetched in chunks.
        @Override
        void scanKeys(ColumnFamilyHandle family, byte[] prefix, RowVisitor visitor)
                throws ImageException {
            checkOpen();
            byte[] from = prefix;
            boolean first = true;
            while (true) {
                List<byte[]> chunk = new ArrayList<>();
                byte[] last;
                try (RocksIterator rows =
                        batch.newIteratorWithBase(family, db.newIterator(family, latest))) {
                    rows.seek(from);
                    if (!first && rows.isValid() && Arrays.equals(rows.key(), from)) {
                        rows.next();
                    }
                    last =
                            visit(
                                    rows,
                                    prefix,
                                    SCAN_CHUNK,
                                    (key, value) -> {
                                        chunk.add(key);
                                        chunk.add(value);
                                        return true;
                                    });
                }
                for (int i = 0; i < chunk.size(); i += 2) {
                    if (!visitor.visit(chunk.get(i), chunk.get(i + 1))) {
                        return;
                    }
                }
                if (last == null) {
                    return;
                }
                from = last;
                first = false;
            }
        }

        @Override
        public void put(Table table, String key, byte[] value) throws ImageException {
            put(table(table), utf8(key), value);
        }

        private void put(ColumnFamilyHandle family, byte[] key, byte[] value)
                throws ImageException {
            checkOpen();
            try {
                batch.put(family, key, value);
            } catch (RocksDBException e) {
                throw failed("prepare write to database " + paths.database(), e);
            }
        }

        @Override
        public void delete(Table table, String key) throws ImageException {
            delete(table(table), utf8(key));
        }

        private void delete(ColumnFamilyHandle family, byte[] key) throws ImageException {
            checkOpen();
            try {
                batch.delete(family, key);
            } catch (RocksDBException e) {
                throw failed("prepare write to database " + paths.database(), e);
            }
        }

        @Override
        public void link(NodeId from, NodeId to) throws ImageException {
            if (from.equals(to)) {
                throw new IllegalArgumentException("an object does not hold itself: " + from);
            }
            byte[] source = node(from);
            byte[] target = node(to);
            byte[] out = edge(source, target);
            if (row(graph(Graph.EDGES_OUT), out) != null) {
                return;
            }
            put(graph(Graph.EDGES_OUT), out, EMPTY);
            put(graph(Graph.EDGES_IN), edge(target, source), EMPTY);
            long count = number(row(graph(Graph.COUNTS), target));
            put(graph(Graph.COUNTS), target, number(count + 1));
            if (count == 0) {
                dequeue(to);
            }
        }

        @Override
        public void unlink(NodeId from, NodeId to) throws ImageException {
            byte[] source = node(from);
            byte[] target = node(to);
            byte[] out = edge(source, target);
            if (row(graph(Graph.EDGES_OUT), out) == null) {
                return;
            }
            delete(graph(Graph.EDGES_OUT), out);
            delete(graph(Graph.EDGES_IN), edge(target, source));
            long count = number(row(graph(Graph.COUNTS), target)) - 1;
            if (count > 0) {
                put(graph(Graph.COUNTS), target, number(count));
            } else {
                delete(graph(Graph.COUNTS), target);
                enqueue(to);
            }
        }

        @Override
        public void unlinkAll(NodeId from) throws ImageException {
            for (NodeId to : edgesFrom(from)) {
                unlink(from, to);
            }
        }

        @Override
        public long next(String sequence) throws ImageException {
            byte[] key = utf8(sequence);
            long next = number(row(graph(Graph.SEQUENCES), key)) + 1;
            put(graph(Graph.SEQUENCES), key, number(next));
            return next;
        }

        /// Puts a node on the zero queue.
        void enqueue(NodeId node) throws ImageException {
            put(graph(Graph.ZERO), node(node), EMPTY);
            queued = true;
        }

        /// Takes a node off the zero queue.
        void dequeue(NodeId node) throws ImageException {
            byte[] key = node(node);
            if (row(graph(Graph.ZERO), key) != null) {
                delete(graph(Graph.ZERO), key);
            }
        }

        /// Adds an entry to the journal of names, durable together with this transaction.
        void journal(RefJournal.Change change) throws ImageException {
            entries.add(new RefJournal.Entry(next(JOURNAL_SEQUENCE), change));
        }

        /// Continues the numbering of the journal at `last`.
        void journalAt(long last) throws ImageException {
            put(graph(Graph.SEQUENCES), utf8(JOURNAL_SEQUENCE), number(last));
        }

        /// Sets the count of a node to the number of edges that are there.
        void recount(NodeId node) throws ImageException {
            long count = edgesTo(node).size();
            if (count == 0) {
                delete(graph(Graph.COUNTS), node(node));
                enqueue(node);
            } else {
                put(graph(Graph.COUNTS), node(node), number(count));
            }
        }
    }

    /// Whether no sync has failed.
    boolean isUsable() {
        return failure == null;
    }
}
