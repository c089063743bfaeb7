package dev.imgd.registry;

import dev.imgd.model.ImageException;

/// Spreads something countable over time: who takes more than there is waits for it, once that is
/// worth a pause. What was not taken is kept for a fifth of a second. Safe for use by many threads.
final class Pace {
    private static final long BURST_NANOS = 200_000_000;
    private static final long SHORTEST_PAUSE_NANOS = 2_000_000;

    private final double perSecond;
    private long free = System.nanoTime();

    /// @param perSecond 0 for no limit
    Pace(double perSecond) {
        this.perSecond = perSecond;
    }

    /// Takes `count` and waits until it was due.
    void take(long count, Operation operation, String what) throws ImageException {
        if (perSecond == 0) {
            return;
        }
        long wait;
        synchronized (this) {
            long now = System.nanoTime();
            free = Math.max(free, now - BURST_NANOS) + (long) (count * 1e9 / perSecond);
            wait = free - now;
        }
        if (wait > SHORTEST_PAUSE_NANOS) {
            operation.pause(wait / 1_000_000, what);
        }
    }
}
