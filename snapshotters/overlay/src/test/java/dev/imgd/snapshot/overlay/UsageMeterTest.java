package dev.imgd.snapshot.overlay;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.imgd.model.ImageException;
import dev.imgd.snapshot.Usage;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class UsageMeterTest {
    private static final long MILLI = 1_000_000;

    private long now = 1;
    private long cost;
    private int measurements;
    private final List<Runnable> background = new ArrayList<>();
    private final UsageMeter meter =
            new UsageMeter(
                    _ -> {
                        now += cost;
                        return new Usage(0, ++measurements);
                    },
                    Duration.ofSeconds(5),
                    () -> now,
                    background::add);

    @Test
    void changing_polled_isMeasuredOncePerTimeToLive() throws ImageException {
        assertEquals(1, meter.changing(7).inodes());
        assertEquals(1, meter.changing(7).inodes());
        assertEquals(2, meter.changing(8).inodes(), "another directory");
        now += 5_000 * MILLI;
        assertEquals(3, meter.changing(7).inodes());
        assertEquals(List.of(), background);
    }

    @Test
    void changing_expensive_isRenewedInTheBackgroundAndRarely() throws ImageException {
        cost = 1_000 * MILLI;
        assertEquals(1, meter.changing(7).inodes());
        now += 49_000 * MILLI;
        assertEquals(1, meter.changing(7).inodes());
        assertEquals(0, background.size());
        now += 1_000 * MILLI;
        assertEquals(1, meter.changing(7).inodes(), "nobody waits for a second");
        assertEquals(1, background.size());
        background.removeFirst().run();
        assertEquals(2, meter.changing(7).inodes());
        assertEquals(0, background.size());
    }

    @Test
    void forget_measuresAgain() throws ImageException {
        assertEquals(1, meter.changing(7).inodes());
        meter.forget(7);
        assertEquals(2, meter.changing(7).inodes());
        assertEquals(3, meter.constant(7).inodes());
    }

    @Test
    void measure_fails_errorReachesTheCaller() {
        UsageMeter failing =
                new UsageMeter(
                        _ -> {
                            throw ImageException.notFound("gone");
                        },
                        Duration.ZERO,
                        () -> now,
                        background::add);
        assertThrows(ImageException.class, () -> failing.changing(1));
        assertThrows(ImageException.class, () -> failing.changing(1));
    }
}
