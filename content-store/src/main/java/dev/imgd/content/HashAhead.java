package dev.imgd.content;

import java.nio.ByteBuffer;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;
import java.util.concurrent.FutureTask;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/// One piece at a time is hashed beside the thread that writes, which fetches the next one meanwhile.
/// For that one thread.
final class HashAhead {
    private static final class Threads {
        /// As many as there are processors to hash on; where all are busy, the writer hashes itself.
        static final Executor EXECUTOR =
                new ThreadPoolExecutor(
                        0,
                        Runtime.getRuntime().availableProcessors(),
                        10,
                        TimeUnit.SECONDS,
                        new SynchronousQueue<>(),
                        Thread.ofPlatform().name("imgd-hash-", 0).daemon().factory());
    }

    private @Nullable FutureTask<@Nullable Void> running;

    /// Begins to hash all remaining bytes, which must not change before [#await] has returned.
    void start(BlobHasher hasher, ByteBuffer bytes) {
        await();
        FutureTask<@Nullable Void> task =
                new FutureTask<>(() -> hasher.update(bytes), null);
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
}
