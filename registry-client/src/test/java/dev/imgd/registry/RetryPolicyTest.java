package dev.imgd.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class RetryPolicyTest {
    private final RetryPolicy policy =
            new RetryPolicy(
                    5,
                    Duration.ofMillis(200),
                    Duration.ofSeconds(60),
                    Clock.fixed(Instant.parse("2026-11-23T12:00:00Z"), ZoneOffset.UTC),
                    new Random(1));

    @ParameterizedTest
    @CsvSource({
        "0, 0",
        "7, 7000",
        "'  7 ', 7000",
        "60, 60000",
        "61, 60000",
        "99999999999999999999, 60000",
        "'Mon, 23 Nov 2026 12:00:09 GMT', 9000",
        "'Mon, 23 Nov 2026 11:00:00 GMT', 0",
        "'Mon, 23 Nov 2026 19:00:00 GMT', 60000",
        "'Monday, 23-Nov-26 12:00:09 GMT', 9000",
        "'Mon Nov 23 12:00:09 2026', 9000",
    })
    void delayMillis_retryAfter_isHonouredUpToTheMaximum(String header, long wanted) {
        assertEquals(wanted, policy.delayMillis(1, header));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "soon", "-5", "1e3", "5 seconds", "Mon, 23 Nov", "12:00"})
    void delayMillis_senselessRetryAfter_isIgnored(String header) {
        long delay = policy.delayMillis(1, header);
        assertTrue(delay >= 100 && delay <= 200, delay + " ms for " + header);
    }

    @Test
    void delayMillis_failuresGoOn_growsWithJitterToTheMaximum() {
        for (int failures = 1; failures <= 70; failures++) {
            long ceiling = Math.min(60_000, 200L << Math.min(failures - 1, 20));
            long delay = policy.delayMillis(failures, null);
            assertTrue(
                    delay >= ceiling / 2 && delay <= ceiling,
                    "%d ms after %d failures".formatted(delay, failures));
        }
    }

    @Test
    void delayMillis_sameFailures_variesBetweenClients() {
        assertTrue(
                java.util.stream.IntStream.range(0, 20)
                                .mapToLong(_ -> policy.delayMillis(8, null))
                                .distinct()
                                .count()
                        > 10);
    }

    @Test
    void isTransient_statuses_separatesPassingFromLasting() {
        for (int status : new int[] {408, 429, 500, 502, 503, 504}) {
            assertTrue(RetryPolicy.isTransient(status), "" + status);
        }
        for (int status : new int[] {200, 301, 400, 401, 403, 404, 405, 416, 501, 505}) {
            assertFalse(RetryPolicy.isTransient(status), "" + status);
        }
    }
}
