package dev.imgd.registry;

import dev.imgd.model.EarlyBytes;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import org.jspecify.annotations.Nullable;

/// Memory for bytes that came before their turn, in units of [#UNIT_BYTES]. Made when first needed;
/// a part is kept when it is given back, the rest is left to the collector. Safe for use by many
/// threads.
final class UnitPool {
    static final int UNIT_BYTES = EarlyBytes.PLACE_BYTES;

    /// Kept by a process that fetches nothing.
    private static final int MOST_KEPT = 8;

    private final ArrayDeque<ByteBuffer> kept = new ArrayDeque<>();
    private int free;

    /// @param bytes at most in use
    UnitPool(long bytes) {
        free = Math.toIntExact(Math.min(bytes / UNIT_BYTES, Integer.MAX_VALUE));
    }

    /// Takes so many units, or returns null when there are not as many.
    synchronized ByteBuffer @Nullable [] take(int count) {
        if (count > free) {
            return null;
        }
        free -= count;
        ByteBuffer[] units = new ByteBuffer[count];
        for (int i = 0; i < count; i++) {
            ByteBuffer unit = kept.poll();
            units[i] = unit != null ? unit : ByteBuffer.allocateDirect(UNIT_BYTES);
        }
        return units;
    }

    /// Takes back what was taken; nobody may use it any more.
    synchronized void give(ByteBuffer[] units) {
        free += units.length;
        for (ByteBuffer unit : units) {
            if (kept.size() < MOST_KEPT) {
                kept.push(unit.clear());
            }
        }
    }
}
