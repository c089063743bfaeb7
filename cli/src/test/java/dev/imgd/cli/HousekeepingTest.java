package dev.imgd.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class HousekeepingTest {
    private static final Duration HOUR = Duration.ofHours(1);
    private static final Duration SHORT = Duration.ofMillis(5);

    private static void await(CountDownLatch latch) throws InterruptedException {
        assertTrue(latch.await(30, TimeUnit.SECONDS));
    }

    @Test
    void soon_manyTimes_sweepsOnceAndThenAgain() throws Exception {
        AtomicInteger sweeps = new AtomicInteger();
        CountDownLatch first = new CountDownLatch(1);
        CountDownLatch second = new CountDownLatch(2);
        try (Housekeeping housekeeping =
                Housekeeping.start(
                        HOUR,
                        HOUR,
                        () -> {
                            sweeps.incrementAndGet();
                            first.countDown();
                            second.countDown();
                        },
                        () -> {})) {
            for (int i = 0; i < 100; i++) {
                housekeeping.soon();
            }
            await(first);
            assertEquals(1, sweeps.get());
            housekeeping.soon();
            await(second);
        }
        assertEquals(2, sweeps.get());
    }

    @Test
    void intervals_bothCollections_comeAgainAlsoAfterFailures() throws Exception {
        CountDownLatch swept = new CountDownLatch(3);
        CountDownLatch collected = new CountDownLatch(3);
        try (Housekeeping _ =
                Housekeeping.start(
                        SHORT,
                        SHORT,
                        () -> {
                            swept.countDown();
                            throw new ImageException(ErrorKind.UNAVAILABLE, "not now");
                        },
                        collected::countDown)) {
            await(swept);
            await(collected);
        }
    }

    @Test
    void intervalZero_nothingIsEverCollected() throws Exception {
        AtomicInteger runs = new AtomicInteger();
        CountDownLatch others = new CountDownLatch(1);
        try (Housekeeping off =
                        Housekeeping.start(
                                Duration.ZERO,
                                SHORT,
                                runs::incrementAndGet,
                                runs::incrementAndGet);
                Housekeeping on =
                        Housekeeping.start(HOUR, HOUR, others::countDown, others::countDown)) {
            off.soon();
            on.soon();
            await(others);
        }
        assertEquals(0, runs.get());
    }
}
