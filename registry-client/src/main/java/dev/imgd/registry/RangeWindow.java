package dev.imgd.registry;

import dev.imgd.model.EarlyBytes;
import dev.imgd.model.EarlyBytes.Place;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// The part of a blob ahead of its reader that is fetched over several connections, in chunks.
///
/// ```
/// |  read  | reader's own range | chunk | chunk | chunk | … not assigned …        |
///          position             first                   next                   size
/// ```
///
/// Chunks are assigned in order and read in order, so the memory between the two ends is bounded: a
/// few chunks for each connection, and never more than the pool has. They are kept beside the blob
/// as well, so that a process that is killed loses none. Workers decide nothing: one that fails
/// leaves its chunk to another host or, as far as it came, to the reader, which retries and gives
/// up by its own rules. Each worker fetches from the host that serves a connection best: another
/// host is tried with one chunk and is used for as long as it is clearly faster.
///
/// For the reader's thread; workers are this class's own.
final class RangeWindow {
    private static final int MOST_CHUNK_UNITS = 8;

    /// A chunk is no larger than this part of the blob, so that the last ones end together.
    private static final int CHUNK_FRACTION = 256;

    private static final int CHUNKS_PER_WORKER = 2;
    private static final int PUBLISH_BYTES = 64 << 10;
    private static final double CLEARLY_FASTER = 1.25;
    private static final long REST_AFTER_FAILURE_NANOS = TimeUnit.SECONDS.toNanos(2);

    /// Told whose bytes were put into a buffer.
    @FunctionalInterface
    interface Account {
        /// @param source null where an earlier process fetched them
        void received(@Nullable BlobSource source, ByteBuffer into, int at, int count);
    }

    /// How a host serves this blob.
    private static final class Lane {
        final BlobSource source;

        /// Bytes a second of one connection, lately; 0 when not known.
        double rate;

        long completed;

        /// The value of `completed` when a worker last came here because of the rate.
        long joinedAt = -1;

        boolean tried;
        long restUntil = System.nanoTime();

        Lane(BlobSource source) {
            this.source = source;
        }

        boolean usable(long now) {
            return !source.isOut()
                    && !source.ignoresRanges()
                    && !source.tally().isDropped()
                    && restUntil - now <= 0;
        }
    }

    private final List<Lane> lanes = new ArrayList<>();
    private final long size;
    private final RegistryOptions options;
    private final UnitPool pool;
    private final EarlyBytes early;
    private final Pace bandwidth;
    private final Operation operation;
    private final int mostWorkers;
    private final Runnable forget;
    private final ReentrantLock lock = new ReentrantLock();

    /// Bytes came, or a worker is done with its chunk: for the reader.
    private final Condition arrived = lock.newCondition();

    /// There is room for a chunk: for workers.
    private final Condition room = lock.newCondition();

    private final ArrayDeque<WindowChunk> chunks = new ArrayDeque<>();
    private long next;
    private int chunkUnits;
    private int workers;
    private long failedAt;
    private boolean closed;
    private boolean awaited = true;

    /// @param sources where chunks may be fetched from, the one that serves the reader first
    /// @param next where the reader's own range ends
    RangeWindow(
            List<BlobSource> sources,
            long next,
            long size,
            RegistryOptions options,
            UnitPool pool,
            EarlyBytes early,
            Pace bandwidth,
            Operation operation) {
        sources.forEach(source -> lanes.add(new Lane(source)));
        this.next = next;
        this.size = size;
        this.options = options;
        this.pool = pool;
        this.early = early;
        this.bandwidth = bandwidth;
        this.operation = operation;
        this.mostWorkers = options.transfer().rangeConnections();
        this.chunkUnits =
                Math.clamp(size / CHUNK_FRACTION / UnitPool.UNIT_BYTES, 1, MOST_CHUNK_UNITS);
        this.failedAt = System.nanoTime() - REST_AFTER_FAILURE_NANOS;
        this.forget = operation.onCancel(this::wake);
    }

    /// Takes what an earlier process kept, before anything else is done.
    ///
    /// @param kept in order
    void adopt(List<Place> kept) {
        lock.lock();
        try {
            for (Place place : kept) {
                WindowChunk chunk = WindowChunk.kept(place);
                chunks.add(chunk);
                next = chunk.end();
            }
        } finally {
            lock.unlock();
        }
    }

    private void wake() {
        lock.lock();
        try {
            arrived.signalAll();
            room.signalAll();
        } finally {
            lock.unlock();
        }
    }

    /// Workers end after a chunk while nobody waits for the bytes.
    void awaited(boolean yes) {
        lock.lock();
        try {
            awaited = yes;
            if (!yes) {
                room.signalAll();
            }
        } finally {
            lock.unlock();
        }
    }

    /// Starts workers as far as they are wanted, there are too few and none failed just now.
    ///
    /// @param readers how many connections the reader itself uses
    void staff(int readers) {
        lock.lock();
        try {
            boolean rested = System.nanoTime() - failedAt >= REST_AFTER_FAILURE_NANOS;
            while (!closed && awaited && rested && workers + readers < mostWorkers && next < size) {
                workers++;
                Thread.ofVirtual().name("imgd-range").start(this::work);
            }
        } finally {
            lock.unlock();
        }
    }

    /// Assigns a range that begins at `position` to the reader.
    ///
    /// @param step how long it is unless something ahead is assigned already
    /// @return its end
    long reserve(long position, long step) {
        lock.lock();
        try {
            WindowChunk first = first(position);
            if (first != null) {
                return Math.max(position, first.start);
            }
            if (next <= position) {
                next = Math.min(size, position + step);
            }
            return next;
        } finally {
            lock.unlock();
        }
    }

    /// The first chunk that does not end before the position. A host that ignores ranges sends its
    /// reader also what was fetched ahead.
    private @Nullable WindowChunk first(long position) {
        WindowChunk first = chunks.peekFirst();
        while (first != null && first.end() <= position) {
            remove(first);
            first = chunks.peekFirst();
        }
        if (first != null) {
            first.used = (int) Math.max(0, position - first.start);
        }
        next = Math.max(next, position);
        return first;
    }

    /// Reads bytes of the chunk that begins at the position or covers it; waits for them.
    ///
    /// @param unwanted whose bytes are not to be used any more
    /// @return how many; 0 when the position is the reader's own to fetch
    int read(
            long position,
            ByteBuffer into,
            Predicate<BlobSource> unwanted,
            Account account,
            String what)
            throws ImageException {
        WindowChunk chunk;
        int from;
        int count;
        @Nullable BlobSource source;
        lock.lock();
        try {
            chunk = first(position);
            if (chunk == null || chunk.start > position) {
                return 0;
            }
            while (chunk.filled <= chunk.used && chunk.fetching) {
                operation.check(what, null);
                arrived.await();
            }
            if (chunk.filled <= chunk.used) {
                remove(chunk);
                return 0;
            }
            from = chunk.used;
            source = chunk.source(from);
            if (source != null && unwanted.test(source)) {
                refuse(source);
                return 0;
            }
            count = Math.min(into.remaining(), chunk.readable(from));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            operation.check(what, e);
            throw new IllegalStateException("an interruption is a cancellation", e);
        } finally {
            lock.unlock();
        }
        // Without the lock: workers write behind what is filled only.
        int at = into.position();
        int copied = count;
        try {
            chunk.copy(from, count, into);
            account.received(source, into, at, count);
        } catch (IOException e) {
            copied = 0;
            Log.lost(e);
        }
        lock.lock();
        try {
            chunk.used += copied;
            if (copied == 0 || chunk.used == chunk.length) {
                remove(chunk);
            }
        } finally {
            lock.unlock();
        }
        return copied;
    }

    /// Drops all that a host has a part in, so that a later process does not find it either.
    private void refuse(BlobSource source) {
        for (WindowChunk chunk : List.copyOf(chunks)) {
            if (chunk.hasBytesOf(source)) {
                chunk.unwanted = true;
                remove(chunk);
            }
        }
    }

    private void remove(WindowChunk chunk) {
        chunks.remove(chunk);
        if (!chunk.fetching) {
            chunk.drop();
            chunk.close(pool);
        }
        room.signalAll();
    }

    /// Ends all workers once they are cancelled, and gives the memory back. For the reader, who
    /// reads nothing afterwards.
    void close() {
        forget.run();
        lock.lock();
        try {
            if (!closed) {
                closed = true;
                for (WindowChunk chunk : chunks) {
                    if (!chunk.fetching) {
                        chunk.close(pool);
                    }
                }
                chunks.removeIf(chunk -> !chunk.fetching);
                room.signalAll();
                arrived.signalAll();
            }
        } finally {
            lock.unlock();
        }
    }

    private void work() {
        Operation own = operation.part();
        Runnable undo = operation.onCancel(own::cancel);
        @Nullable Lane lane = null;
        try {
            // Whoever was called fetches something, even if the bytes came just then.
            for (boolean called = true; ; called = false) {
                WindowChunk chunk = assign(called);
                if (chunk == null) {
                    return;
                }
                try {
                    lane = fill(chunk, lane, own);
                } finally {
                    finished(chunk);
                }
                if (lane == null) {
                    return;
                }
            }
        } finally {
            undo.run();
            lock.lock();
            try {
                workers--;
                arrived.signalAll();
            } finally {
                lock.unlock();
            }
        }
    }

    /// The next chunk, once there is room for it; null when there is nothing more to do.
    private @Nullable WindowChunk assign(boolean called) {
        lock.lock();
        try {
            while (!closed && (awaited || called) && !operation.isCancelled() && next < size) {
                if (chunks.size() < CHUNKS_PER_WORKER * mostWorkers) {
                    int length =
                            (int) Math.min(size - next, (long) chunkUnits * UnitPool.UNIT_BYTES);
                    int units = (length + UnitPool.UNIT_BYTES - 1) / UnitPool.UNIT_BYTES;
                    ByteBuffer[] memory = pool.take(units);
                    if (memory != null) {
                        WindowChunk chunk = WindowChunk.toFetch(next, length, memory, early);
                        next += length;
                        chunks.add(chunk);
                        return chunk;
                    }
                    if (chunks.isEmpty()) {
                        return null; // other blobs have it all
                    }
                }
                room.await();
            }
            return null;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return null;
        } finally {
            lock.unlock();
        }
    }

    /// Fetches a chunk, from another host when one fails.
    ///
    /// @return the lane to go on with; null when none is left, and the chunk to the reader
    private @Nullable Lane fill(WindowChunk chunk, @Nullable Lane current, Operation own) {
        Lane lane = choose(current);
        while (lane != null && !own.isCancelled()) {
            try {
                return fetch(chunk, lane, own) ? lane : busy();
            } catch (IOException e) {
                if (own.isCancelled()) {
                    return null;
                }
                lane = another(lane, e);
                if (chunk.filled == chunk.length) {
                    return lane;
                }
            }
        }
        return null;
    }

    /// @return false when the host has enough to do
    private boolean fetch(WindowChunk chunk, Lane lane, Operation own) throws IOException {
        BlobSource source = lane.source;
        long started = System.nanoTime();
        int before = chunk.filled;
        RangeBody body =
                RangeBody.openIfFree(
                        source, chunk.start + chunk.filled, chunk.end(), size, options, own);
        if (body == null) {
            return false;
        }
        boolean done = false;
        try {
            int at = chunk.filled;
            int published = at;
            while (at < chunk.length) {
                int count = body.read(chunk.room(at));
                at += count;
                bandwidth.take(count, own, source.ask().what());
                if (at - published >= PUBLISH_BYTES || at == chunk.length) {
                    chunk.keep(published, at);
                    publish(chunk, source, at);
                    published = at;
                }
            }
            done = true;
        } finally {
            if (done) {
                body.finish();
            } else {
                body.abort();
            }
        }
        measure(lane, chunk.length - before, System.nanoTime() - started, body);
        return true;
    }

    private void publish(WindowChunk chunk, BlobSource source, int filled) {
        lock.lock();
        try {
            chunk.publish(source, filled);
            arrived.signalAll();
        } finally {
            lock.unlock();
        }
    }

    private void finished(WindowChunk chunk) {
        lock.lock();
        try {
            chunk.fetching = false;
            boolean read = !chunks.contains(chunk);
            if (read) {
                chunk.drop();
            }
            if (closed || read) {
                chunk.close(pool);
            }
            arrived.signalAll();
        } finally {
            lock.unlock();
        }
    }

    private void measure(Lane lane, int bytes, long nanos, RangeBody body) {
        lock.lock();
        try {
            double rate = bytes * 1e9 / Math.max(nanos, 1);
            lane.rate = lane.rate == 0 ? rate : (lane.rate + rate) / 2;
            lane.completed++;
            // Mostly waiting for answers: larger chunks wait less often.
            if (4 * body.waitedForAnswerNanos() > nanos && chunkUnits < MOST_CHUNK_UNITS) {
                chunkUnits = Math.min(2 * chunkUnits, MOST_CHUNK_UNITS);
            }
        } finally {
            lock.unlock();
        }
    }

    /// The lane for a worker's next chunk.
    private @Nullable Lane choose(@Nullable Lane current) {
        lock.lock();
        try {
            long now = System.nanoTime();
            Lane best = current != null && current.usable(now) ? current : null;
            for (Lane lane : lanes) {
                if (best == null && lane.usable(now)) {
                    best = lane;
                }
            }
            if (best == null || !options.transfer().spread()) {
                return best;
            }
            boolean settled = best.completed >= mostWorkers;
            for (Lane lane : lanes) {
                if (lane == best || !lane.usable(now)) {
                    continue;
                }
                if (settled && !lane.tried && lane.completed == 0) {
                    lane.tried = true;
                    return lane;
                }
                if (lane.completed > lane.joinedAt
                        && lane.rate > CLEARLY_FASTER * best.rate
                        && best.rate > 0) {
                    best = lane;
                }
            }
            if (best != current) {
                // One worker at a time: the next one sees what this one's coming has changed.
                best.joinedAt = best.completed;
            }
            return best;
        } finally {
            lock.unlock();
        }
    }

    /// The host has enough to do: one connection less for a while.
    private @Nullable Lane busy() {
        lock.lock();
        try {
            failedAt = System.nanoTime();
            return null;
        } finally {
            lock.unlock();
        }
    }

    private @Nullable Lane another(Lane failed, IOException failure) {
        lock.lock();
        try {
            failed.source.tally().retried();
            failed.restUntil = System.nanoTime() + REST_AFTER_FAILURE_NANOS;
            failed.tried = true;
            Lane other = choose(null);
            if (other == null) {
                failedAt = System.nanoTime();
            }
            Log.failed(failed.source.host(), failure);
            return other;
        } finally {
            lock.unlock();
        }
    }

    /// Apart, so that a program whose transfers go well does not start the logging system.
    private static final class Log {
        private static final Logger LOGGER = LoggerFactory.getLogger(RangeWindow.class);

        static void lost(IOException failure) {
            LOGGER.debug("what was kept is fetched again reason=\"{}\"", failure.getMessage());
        }

        static void failed(String host, IOException failure) {
            LOGGER.debug("range failed host={} reason=\"{}\"", host, failure.getMessage());
        }
    }
}
