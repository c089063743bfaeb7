package dev.imgd.content;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.locks.ReentrantLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.BiPredicate;
import org.jspecify.annotations.Nullable;
import org.rocksdb.ColumnFamilyHandle;
import org.rocksdb.ReadOptions;
import org.rocksdb.RocksDB;
import org.rocksdb.RocksDBException;
import org.rocksdb.RocksIterator;
import org.rocksdb.Snapshot;
import org.rocksdb.WriteBatchWithIndex;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

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
    private static final Logger LOG = LoggerFactory.getLogger(RocksDatabase.class);

    /// The sequence that numbers the entries of [RefJournal].
    static final String JOURNAL_SEQUENCE = "imgd.journal";

    private static final byte[] EMPTY = {};
    private static final int SCAN_CHUNK = 64;

    enum Graph {
        EDGES_OUT,
        EDGES_IN,
        COUNTS,
        ZERO,
        SEQUENCES
    }

    /// Less is not worth the attempt to open again.
    private static final long MIN_FREE_BYTES = 8L << 20;

    private final BlobPaths paths;
    private final RefJournal journal;
    private final BeforeChange beforeChange;
    private final long cacheBytes;
    private final Schema schema;
    private final Schema.Stamp stamp;

    /// Null after an attempt to open it again failed. Changes under the write lock of the gate.
    private @Nullable Engine engine;

    private final ReentrantReadWriteLock gate = new ReentrantReadWriteLock();
    private final ReentrantLock writer = new ReentrantLock(true);
    private final ReentrantLock syncer = new ReentrantLock();
    private volatile long written;
    private volatile long synced;
    private volatile @Nullable ImageException failure;
    private volatile boolean stamped;
    private volatile Reopened reopened = () -> {};
    private volatile Runnable unreferenced = () -> {};
    private @Nullable ExecutorService syncThread;
    private boolean closed;

    private RocksDatabase(
            BlobPaths paths,
            RefJournal journal,
            StoreOptions options,
            BeforeChange beforeChange,
            Schema schema,
            Engine engine) {
        this.paths = paths;
        this.journal = journal;
        this.beforeChange = beforeChange;
        this.cacheBytes = options.cacheBytes();
        this.schema = schema;
        this.stamp = new Schema.Stamp(schema.version(), options.program());
        this.engine = engine;
        this.stamped = stamp.equals(engine.stamp());
    }

    /// Runs before each batch is written.
    @FunctionalInterface
    interface BeforeChange {
        void run() throws ImageException;
    }

    /// Runs after the database was opened again, with nobody else in it.
    @FunctionalInterface
    interface Reopened {
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
            BlobPaths paths, RefJournal journal, StoreOptions options, BeforeChange beforeChange)
            throws ImageException, DamagedException {
        return open(paths, journal, options, beforeChange, Schema.CURRENT);
    }

    /// As [#open], without what came after the first damage in the log.
    static RocksDatabase openBeforeDamage(
            BlobPaths paths, RefJournal journal, StoreOptions options, BeforeChange beforeChange)
            throws ImageException, DamagedException {
        Schema schema = Schema.CURRENT;
        Engine engine = Engine.openBeforeDamage(paths, options.cacheBytes(), schema);
        return new RocksDatabase(paths, journal, options, beforeChange, schema, engine);
    }

    static RocksDatabase open(
            BlobPaths paths,
            RefJournal journal,
            StoreOptions options,
            BeforeChange beforeChange,
            Schema schema)
            throws ImageException, DamagedException {
        Engine engine = Engine.open(paths, options.cacheBytes(), schema);
        return new RocksDatabase(paths, journal, options, beforeChange, schema, engine);
    }

    private Engine engine() {
        return Objects.requireNonNull(engine);
    }

    /// Notes damage found while running, so that the next open rebuilds.
    private ImageException failed(String what, RocksDBException e) {
        ImageException classified = Engine.classify(what, e);
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
        reopenIfFull();
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
                    if (!stamped) {
                        batch.put(table(Table.META), Schema.KEY, Schema.encode(stamp));
                    }
                    engine().db.write(engine().unsynced, batch);
                    stamped = true;
                } catch (RocksDBException e) {
                    ImageException cause = failed("write to database " + paths.database(), e);
                    if (cause.kind() == ErrorKind.NO_SPACE) {
                        // RocksDB takes no more writes from now on.
                        failure = cause;
                    }
                    journal.undo(undo);
                    throw cause;
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
            engine().db.syncWal();
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

    /// Opens the database again when it stopped because the disk was full and there is space now.
    /// What was not acknowledged may be there or not, as after a kill.
    private void reopenIfFull() throws ImageException {
        ImageException cause = failure;
        if (cause == null
                || cause.kind() != ErrorKind.NO_SPACE
                || gate.getReadHoldCount() > 0
                || paths.root().toFile().getUsableSpace() < MIN_FREE_BYTES) {
            return;
        }
        gate.writeLock().lock();
        try {
            if (closed || !cause.equals(failure)) {
                return;
            }
            if (engine != null) {
                engine.close();
                engine = null;
            }
            try {
                engine = Engine.open(paths, cacheBytes, schema);
                // The log of before may not be on the disk although it can be read.
                engine.flush();
            } catch (RocksDBException e) {
                throw failed("open database again " + paths.database(), e);
            }
            failure = null;
            synced = written;
            try {
                reopened.run();
            } catch (ImageException e) {
                failure = e.kind() == ErrorKind.NO_SPACE ? e : cause;
                throw e;
            }
            LOG.info("database {} was full and takes writes again", paths.database());
        } catch (DamagedException e) {
            throw new ImageException(
                    ErrorKind.DATA_LOSS,
                    "database %s: damaged after the disk was full: %s; start again to rebuild it"
                            .formatted(paths.database(), e.getMessage()),
                    e);
        } finally {
            gate.writeLock().unlock();
        }
    }

    /// Has `reopened` run after the database was opened again.
    void onReopened(Reopened reopened) {
        this.reopened = reopened;
    }

    /// After a failed sync nothing that was written lately can be trusted to be on disk.
    private void checkUsable() throws ImageException {
        ImageException cause = failure;
        if (cause != null) {
            boolean full = cause.kind() == ErrorKind.NO_SPACE;
            throw new ImageException(
                    full ? ErrorKind.NO_SPACE : ErrorKind.UNAVAILABLE,
                    "database %s: takes no more writes %s: %s"
                            .formatted(
                                    paths.database(),
                                    full
                                            ? "until there are %d MiB free"
                                                    .formatted(MIN_FREE_BYTES >> 20)
                                            : "after an error; start again",
                                    cause.getMessage()),
                    cause);
        }
    }

    @Override
    public <T extends @Nullable Object> T read(ReadBody<T> body) throws ImageException {
        enter();
        try {
            RocksDB db = engine().db;
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
            return Optional.ofNullable(engine().db.get(table(table), engine().latest, utf8(key)));
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
        if (closed || engine == null) {
            gate.readLock().unlock();
            throw new ImageException(
                    ErrorKind.UNAVAILABLE,
                    "store %s: it is closed%s"
                            .formatted(paths.root(), closed ? "" : "; the disk was full"),
                    failure);
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
            if (syncThread != null) {
                syncThread.shutdown();
            }
            if (engine == null) {
                return;
            }
            try {
                if (failure == null && engine.walIsLarge()) {
                    flush();
                }
            } finally {
                engine.close();
            }
        } finally {
            gate.writeLock().unlock();
        }
    }

    /// Moves rows from the log to table files.
    void flush() throws ImageException {
        try {
            engine().flush();
        } catch (RocksDBException e) {
            throw failed("flush database " + paths.database(), e);
        }
    }

    private ColumnFamilyHandle table(Table table) {
        return engine().table(table);
    }

    private ColumnFamilyHandle graph(Graph part) {
        return engine().graph(part);
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
            return engine().db.get(family, options, key);
        }

        @Override
        void scanKeys(ColumnFamilyHandle family, byte[] prefix, RowVisitor visitor)
                throws ImageException {
            try (RocksIterator rows = engine().db.newIterator(family, options)) {
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
            return batch.getFromBatchAndDB(engine().db, family, engine().latest, key);
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
                        batch.newIteratorWithBase(
                                family, engine().db.newIterator(family, engine().latest))) {
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
