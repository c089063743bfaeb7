package dev.imgd.gc;

import java.time.Clock;
import java.time.Duration;

/// How to collect.
///
/// @param grace objects that are not older than this stay even when nothing needs them; zero or
///   more
/// @param ingestTtl ingests without a writer that were not touched for this long go
/// @param bytesPerSecond how fast to delete blob files; 0 for as fast as the disk allows
/// @param clock tells what is expired
public record GcOptions(Duration grace, Duration ingestTtl, long bytesPerSecond, Clock clock) {
    public GcOptions {
        if (grace.isNegative() || ingestTtl.isNegative() || bytesPerSecond < 0) {
            throw new IllegalArgumentException(
                    "negative: grace %s, ingest ttl %s, rate %d"
                            .formatted(grace, ingestTtl, bytesPerSecond));
        }
    }

    /// No grace, 24 h for ingests, no limit, the system clock: what a user who asks for a
    /// collection means.
    public static GcOptions defaults() {
        return new GcOptions(Duration.ZERO, Duration.ofHours(24), 0, Clock.systemUTC());
    }
}
