package dev.imgd.registry;

import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.random.RandomGenerator;
import okhttp3.Headers;
import org.jspecify.annotations.Nullable;

/// When a failed request is made again: exponential backoff with jitter, or what the registry asks
/// for.
record RetryPolicy(
        int attempts, Duration first, Duration maximum, Clock clock, RandomGenerator random) {

    private static final String RETRY_AFTER = "Retry-After";

    /// Whether the same request may succeed later.
    static boolean isTransient(int status) {
        return switch (status) {
            case 408, 429, 500, 502, 503, 504 -> true;
            default -> false;
        };
    }

    /// The wait before the next attempt, in milliseconds.
    ///
    /// @param failures how many attempts have failed, at least 1
    /// @param retryAfter the header of that name: seconds or a date. **Source:** RFC 9110 §10.2.3.
    long delayMillis(int failures, @Nullable String retryAfter) {
        long limit = maximum.toMillis();
        long asked = retryAfter == null ? -1 : askedMillis(retryAfter.strip());
        if (asked >= 0) {
            return Math.min(asked, limit);
        }
        long exponential = first.toMillis() << Math.min(failures - 1, 20);
        long ceiling = Math.min(exponential, limit);
        return ceiling / 2 + (ceiling > 1 ? random.nextLong(ceiling / 2 + 1) : 0);
    }

    private long askedMillis(String header) {
        if (header.isEmpty() || header.length() > 64) {
            return -1;
        }
        if (header.charAt(0) >= '0' && header.charAt(0) <= '9') {
            long seconds = 0;
            for (int i = 0; i < header.length(); i++) {
                char c = header.charAt(i);
                if (c < '0' || c > '9') {
                    return -1;
                }
                seconds = Math.min(10 * seconds + c - '0', Integer.MAX_VALUE);
            }
            return seconds * 1000;
        }
        // The obsolete forms as well, of which RFC 9110 §5.6.7 says that they are to be read.
        Instant date =
                new Headers.Builder()
                        .addUnsafeNonAscii(RETRY_AFTER, header)
                        .build()
                        .getInstant(RETRY_AFTER);
        if (date == null) {
            return -1;
        }
        Instant now = clock.instant();
        return date.isAfter(now) ? Duration.between(now, date).toMillis() : 0;
    }
}
