package dev.imgd.cli;

import dev.imgd.model.ImageException;
import java.time.Duration;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// The daemon's collections, one after the other on a thread of their own.
///
/// A sweep follows soon after something lost its last reference, and at intervals, because leases
/// expire in silence. A full collection comes once the daemon has settled and then rarely: it finds
/// what crashes left over. Thread-safe.
final class Housekeeping implements AutoCloseable {
    /// Lets the many removals of one containerd collection share a sweep.
    private static final long DELAY_MILLIS = 1000;

    private static final long CLOSE_SECONDS = 5;
    private static final Logger log = LoggerFactory.getLogger(Housekeeping.class);

    /// A collection.
    @FunctionalInterface
    interface Collection {
        void run() throws ImageException;
    }

    private final ScheduledExecutorService thread =
            Executors.newSingleThreadScheduledExecutor(
                    Thread.ofPlatform().name("imgd-housekeeping").daemon().factory());
    private final AtomicBoolean scheduled = new AtomicBoolean();
    private final boolean enabled;
    private final Collection sweep;

    private Housekeeping(boolean enabled, Collection sweep) {
        this.enabled = enabled;
        this.sweep = sweep;
    }

    /// @param interval of sweeps; zero for never collecting by itself
    /// @param fullInterval of full collections; zero for none
    static Housekeeping start(
            Duration interval, Duration fullInterval, Collection sweep, Collection full) {
        Housekeeping housekeeping = new Housekeeping(!interval.isZero(), sweep);
        if (housekeeping.enabled) {
            Duration first = fullInterval.compareTo(interval) < 0 ? fullInterval : interval;
            housekeeping.repeat(sweep, interval, interval);
            housekeeping.repeat(full, first, fullInterval);
        }
        return housekeeping;
    }

    private void repeat(Collection collection, Duration first, Duration interval) {
        if (!interval.isZero()) {
            var _ =
                    thread.scheduleWithFixedDelay(
                            () -> run(collection),
                            first.toMillis(),
                            interval.toMillis(),
                            TimeUnit.MILLISECONDS);
        }
    }

    /// Has a sweep run soon; returns at once.
    void soon() {
        if (!enabled || !scheduled.compareAndSet(false, true)) {
            return;
        }
        try {
            var _ =
                    thread.schedule(
                            () -> {
                                scheduled.set(false);
                                run(sweep);
                            },
                            DELAY_MILLIS,
                            TimeUnit.MILLISECONDS);
        } catch (RejectedExecutionException e) {
            log.debug("closing: the next process collects", e);
        }
    }

    private static void run(Collection collection) {
        try {
            collection.run();
        } catch (ImageException | RuntimeException e) {
            log.warn("msg=\"collection failed\"", e);
        }
    }

    /// Starts nothing more and waits for the collection that runs, for a while.
    @Override
    public void close() {
        thread.shutdownNow();
        try {
            if (!thread.awaitTermination(CLOSE_SECONDS, TimeUnit.SECONDS)) {
                log.warn("msg=\"the store closes under a collection; the next process goes on\"");
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
