package dev.imgd.snapshot.overlay;

import dev.imgd.model.ImageException;
import dev.imgd.snapshot.SnapshotMetadata.Measured;
import dev.imgd.snapshot.SnapshotMetadata;
import dev.imgd.snapshot.Usage;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Brings the files of committed directories to the disk, many with one syncfs(2), and records it
/// together with what was measured meanwhile: one transaction for many commits.
///
/// What syncfs reported as failed is never tried again: the kernel may have dropped the pages, and
/// a second call would succeed without them. Such directories stay recorded as not durable, so that
/// the next boot takes them for lost. Thread-safe.
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
    private final Map<Long, Measured> measured = new HashMap<>();
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
        }
        schedule();
    }

    /// Takes over what a committed snapshot takes, to be stored soon.
    void add(Measured usage) {
        synchronized (pending) {
            measured.put(usage.directory(), usage);
        }
        schedule();
    }

    /// What was measured of a directory and is not stored yet.
    Optional<Usage> measured(long directory) {
        synchronized (pending) {
            return Optional.ofNullable(measured.get(directory)).map(Measured::usage);
        }
    }

    private void schedule() {
        synchronized (pending) {
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
            List<Measured> usages;
            synchronized (pending) {
                batch = new ArrayList<>(pending);
                usages = new ArrayList<>(measured.values());
                pending.clear();
            }
            if (!batch.isEmpty()) {
                sync.run();
            }
            if (!batch.isEmpty() || !usages.isEmpty()) {
                metadata.settled(batch, usages);
                synchronized (pending) {
                    for (Measured usage : usages) {
                        measured.remove(usage.directory(), usage);
                    }
                }
            }
        } finally {
            syncing.unlock();
        }
    }
}
