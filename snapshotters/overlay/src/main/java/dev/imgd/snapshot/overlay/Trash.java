package dev.imgd.snapshot.overlay;

import dev.imgd.model.ErrnoException;
import dev.imgd.model.ImageException;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.ReentrantLock;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Deletes directories that no row uses any more, away from the callers. Thread-safe.
final class Trash {
    private static final Logger log = LoggerFactory.getLogger(Trash.class);

    /// Lets many removals share one run, and stays out of the way of their caller.
    private static final long DELAY_MILLIS = 100;

    private final SnapshotDirectories directories;
    private final ScheduledExecutorService background;
    private final Queue<Long> queue = new ConcurrentLinkedQueue<>();
    private final AtomicBoolean scheduled = new AtomicBoolean();
    private final ReentrantLock emptying = new ReentrantLock();

    /// @param background one thread
    Trash(SnapshotDirectories directories, ScheduledExecutorService background) {
        this.directories = directories;
        this.background = background;
    }

    /// Has a directory deleted soon; returns at once.
    ///
    /// @param directory 0 does nothing
    void add(long directory) {
        if (directory != 0) {
            queue.add(directory);
            start();
        }
    }

    /// Has what is in the trash already deleted soon.
    void start() {
        if (scheduled.compareAndSet(false, true)) {
            try {
                var _ =
                        background.schedule(
                                this::runScheduled, DELAY_MILLIS, TimeUnit.MILLISECONDS);
            } catch (RejectedExecutionException e) {
                // The service is closing: what waits here is moved then and deleted by the next
                // owner.
                scheduled.set(false);
            }
        }
    }

    private void runScheduled() {
        scheduled.set(false);
        for (ImageException failure : empty()) {
            log.warn("trash: cannot delete, left there: {}", failure.getMessage());
        }
    }

    /// Deletes everything now.
    ///
    /// @return what could not be deleted
    List<ImageException> empty() {
        emptying.lock();
        try {
            List<ImageException> failures = new ArrayList<>(moveQueued());
            failures.addAll(directories.emptyTrash());
            return failures;
        } finally {
            emptying.unlock();
        }
    }

    /// Moves what waits into the trash directory, where the next owner finds it without comparing
    /// rows.
    List<ImageException> moveQueued() {
        List<ImageException> failures = new ArrayList<>();
        for (Long directory = queue.poll(); directory != null; directory = queue.poll()) {
            try {
                directories.discard(directory);
            } catch (ErrnoException e) {
                failures.add(e);
            }
        }
        return failures;
    }
}
