package dev.imgd.content;

import java.time.Clock;
import java.time.Duration;

/// How a store behaves.
///
/// @param cacheBytes RocksDB's block cache and write buffers together, in bytes
/// @param ingestTtl how long an untouched ingest is kept
/// @param minFreeRatio the part of the file system, 0 to 1, that an ingest may not use up
/// @param program who writes to the store, name and version on one line; what an older program that
///   cannot read it any more names to its user
/// @param clock gives the times in metadata
public record StoreOptions(
        long cacheBytes, Duration ingestTtl, double minFreeRatio, String program, Clock clock) {
    /// 24 MiB of cache and buffers, 24 h for ingests, no reserve, `imgd`, the system clock.
    public static StoreOptions defaults() {
        return new StoreOptions(24L << 20, Duration.ofHours(24), 0, "imgd", Clock.systemUTC());
    }
}
