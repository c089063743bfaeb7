package dev.imgd.snapshot.overlay;

import dev.imgd.model.ImageException;
import dev.imgd.snapshot.SnapshotMetadata;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Brings the files of committed directories to the disk, many with one syncfs(2), and records it.
///
/// What syncfs reported as failed is never tried again: the kernel may have dropped the pages, and a second call
/// would succeed without them. Such directories stay recorded as not durable, so that the next boot
/// takes them for lost. Thread-safe.
final class Durability {
    private static final Logger log = LoggerFactory.getLogger(Durability.class);

    /// Writes everything to the disk.
    @FunctionalInterface
    interface Sync {
        void run() throws ImageException;
    }

    private final Sync sync;
    private final SnapshotMetadata metadata;
    private final ScheduledExecutorService scheduler;
    private final long delayNanos;
    private final ReentrantLock syncing = new ReentrantLock();
    private final Set<Long> pending = new HashSet<>();
    private boolean scheduled;

    Durability(
            Sync sync,
            SnapshotMetadata metadata,
            ScheduledExecutorService scheduler,
            Duration delay) {
        this.sync = sync;
        this.metadata = metadata;
        this.scheduler = scheduler;
        this.delayNanos = delay.toNanos();
    }

    /// Takes over a directory whose row says that it is not durable.
    void add(long directory) {
        synchronized (pending) {
            pending.add(directory);
            if (scheduled) {
                return;
            }
            scheduled = true;
        }
        try {
            var _ = scheduler.schedule(this::runScheduled, delayNanos, TimeUnit.NANOSECONDS);
        } catch (RejectedExecutionException e) {
            // The service is closing and flushes itself.
        }
    }

    private void runScheduled() {
        synchronized (pending) {
            scheduled = false;
        }
        try {
            flush();
        } catch (ImageException | RuntimeException e) {
            log.error("background sync failed", e);
        }
    }

    /// Makes everything durable that was added before.
    void flush() throws ImageException {
        syncing.lock();
        try {
            List<Long> batch;
            synchronized (pending) {
                batch = new ArrayList<>(pending);
                pending.clear();
            }
            if (!batch.isEmpty()) {
                sync.run();
                metadata.synced(batch);
            }
        } finally {
            syncing.unlock();
        }
    }
}
