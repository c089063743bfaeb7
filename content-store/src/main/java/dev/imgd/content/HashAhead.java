package dev.imgd.content;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;
import java.util.concurrent.FutureTask;
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
    private @Nullable FutureTask<@Nullable Void> running;

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
        FutureTask<@Nullable Void> task =
                new FutureTask<>(() -> batch.forEach(hasher::update), null);
        clear();
        running = task;
        try {
            Threads.EXECUTOR.execute(task);
        } catch (RejectedExecutionException allBusy) {
            task.run();
        }
    }

    /// Waits until what was begun is hashed. An interruption is kept for later: the hash has to be
    /// whole, and takes a fraction of a millisecond.
    void await() {
        FutureTask<@Nullable Void> task = running;
        if (task == null) {
            return;
        }
        running = null;
        boolean interrupted = false;
        try {
            while (true) {
                try {
                    task.get();
                    return;
                } catch (InterruptedException e) {
                    interrupted = true;
                } catch (ExecutionException e) {
                    throw new IllegalStateException("hashing failed", e.getCause());
                }
            }
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
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
