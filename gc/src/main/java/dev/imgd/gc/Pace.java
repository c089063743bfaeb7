package dev.imgd.gc;

import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/// Spreads deletion over time, so that the disk stays usable for others. For one thread.
final class Pace {
    private final long bytesPerSecond;
    private long readyNanos = System.nanoTime();

    /// @param bytesPerSecond 0 for no limit
    Pace(long bytesPerSecond) {
        this.bytesPerSecond = bytesPerSecond;
    }

    /// Waits until the next deletion may start, then counts it.
    ///
    /// @param bytes what it frees
    void before(long bytes) {
        if (bytesPerSecond == 0) {
            return;
        }
        long wait;
        while ((wait = readyNanos - System.nanoTime()) > 0
                && !Thread.currentThread().isInterrupted()) {
            LockSupport.parkNanos(wait);
        }
        double seconds = (double) bytes / bytesPerSecond;
        readyNanos = System.nanoTime() + (long) (seconds * TimeUnit.SECONDS.toNanos(1));
    }
}
