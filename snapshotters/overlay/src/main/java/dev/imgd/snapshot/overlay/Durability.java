package dev.imgd.snapshot.overlay;

import dev.imgd.model.ImageException;
import dev.imgd.snapshot.SnapshotMetadata;
import dev.imgd.snapshot.SnapshotMetadata.Measured;
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
/// a second call would succeed without them. Such directories are recorded as lost, durably and
/// before anything else is done, so that no later call and no later process takes them for
/// complete. Thread-safe.
final class Durability {
    private static final Logger log = LoggerFactory.getLogger(Durability.class);

    /// Writes everything to the disk.
    @FunctionalInterface
    interface Sync {
        void run() throws ImageException;
    }

    /// Records that directories lost their files.
    @FunctionalInterface
    interface Loss {
        void record(List<Long> directories) throws ImageException;
    }

    private final Sync sync;
    private final Loss loss;
    private final SnapshotMetadata metadata;
    private final ScheduledExecutorService scheduler;
    private final long delayNanos;
    private final ReentrantLock syncing = new ReentrantLock();
    private final Set<Long> pending = new HashSet<>();

    /// Those that a sync failed for and that are not recorded as lost yet. Guarded by `pending`.
    private final Set<Long> failed = new HashSet<>();

    private final Map<Long, Measured> measured = new HashMap<>();
    private boolean scheduled;

    Durability(
            Sync sync,
            Loss loss,
            SnapshotMetadata metadata,
            ScheduledExecutorService scheduler,
            Duration delay) {
        this.sync = sync;
        this.loss = loss;
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
            synchronized (pending) {
                if (failed.isEmpty()) {
                    return;
                }
            }
            schedule();
        }
    }

    /// Makes everything durable that was added before, except what a sync failed for before.
    ///
    /// @throws ImageException after which what had been added is recorded as lost, or will be
    ///   before anything else is synced
    void flush() throws ImageException {
        syncing.lock();
        try {
            recordLosses();
            List<Long> batch;
            List<Measured> usages;
            synchronized (pending) {
                batch = new ArrayList<>(pending);
                usages = new ArrayList<>(measured.values());
            }
            if (!batch.isEmpty()) {
                sync(batch);
            }
            if (!batch.isEmpty() || !usages.isEmpty()) {
                metadata.settled(batch, usages);
                synchronized (pending) {
                    pending.removeAll(batch);
                    for (Measured usage : usages) {
                        measured.remove(usage.directory(), usage);
                    }
                }
            }
        } finally {
            syncing.unlock();
        }
    }

    private void sync(List<Long> batch) throws ImageException {
        try {
            sync.run();
        } catch (ImageException e) {
            synchronized (pending) {
                pending.removeAll(batch);
                failed.addAll(batch);
            }
            try {
                recordLosses();
            } catch (ImageException later) {
                e.addSuppressed(later);
            }
            throw e;
        }
    }

    private void recordLosses() throws ImageException {
        List<Long> lost;
        synchronized (pending) {
            lost = new ArrayList<>(failed);
        }
        if (!lost.isEmpty()) {
            loss.record(lost);
            synchronized (pending) {
                failed.removeAll(lost);
            }
        }
    }
}
