package dev.imgd.plugin;

import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;

/// Waits for what another thread does.
final class Await {
    private Await() {}

    /// @throws AssertionError when the condition does not hold within 20 seconds
    static void until(BooleanSupplier condition) {
        long deadline = System.nanoTime() + 20_000_000_000L;
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError("the condition did not hold within 20 s");
            }
            LockSupport.parkNanos(2_000_000);
        }
    }
}
