package dev.imgd.content;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/// Pieces that are hashed beside the thread that writes, which fetches the next ones meanwhile.
/// They are hashed in batches, because waking a thread costs as much as hashing a small piece.
///
/// At most two batches are held: one that is being hashed and one that is gathered. For one thread.
final class HashAhead {
    /// Pieces of a batch.
    static final int BATCH = 4;

    /// Whether there are processors left beside a writer and a follower of what it writes.
    static final boolean SPARE_PROCESSORS = Runtime.getRuntime().availableProcessors() > 2;

    private static final class Threads {
        /// As many as there are processors to hash on; where all are busy, the writer hashes
        /// itself.
        static final Executor EXECUTOR =
                new ThreadPoolExecutor(
                        0,
                        Runtime.getRuntime().availableProcessors(),
                        10,
                        TimeUnit.SECONDS,
                        new SynchronousQueue<>(),
                        Thread.ofPlatform().name("imgd-hash-", 0).daemon().factory());
    }

    private final List<ByteBuffer> gathered = new ArrayList<>(BATCH);
    private long gatheredBytes;
    private @Nullable CompletableFuture<Void> running;

    /// Gathers all remaining bytes, which must not change before they are hashed.
    void add(ByteBuffer bytes) {
        gathered.add(bytes);
        gatheredBytes += bytes.remaining();
    }

    boolean isFull() {
        return gathered.size() >= BATCH;
    }

    /// Bytes that are gathered and not being hashed.
    long gatheredBytes() {
        return gatheredBytes;
    }

    /// Begins to hash what is gathered, after [#await].
    void start(BlobHasher hasher) {
        List<ByteBuffer> batch = List.copyOf(gathered);
        clear();
        try {
            running =
                    CompletableFuture.runAsync(
                            () -> batch.forEach(hasher::update), Threads.EXECUTOR);
        } catch (RejectedExecutionException allBusy) {
            batch.forEach(hasher::update);
        }
    }

    /// Waits until what was begun is hashed. An interruption is kept for later: the hash has to be
    /// whole, and takes a fraction of a millisecond.
    void await() {
        CompletableFuture<Void> begun = running;
        if (begun != null) {
            running = null;
            begun.join();
        }
    }

    /// Hashes everything that was added and is not hashed yet.
    void finish(BlobHasher hasher) {
        await();
        gathered.forEach(hasher::update);
        clear();
    }

    private void clear() {
        gathered.clear();
        gatheredBytes = 0;
    }
}
