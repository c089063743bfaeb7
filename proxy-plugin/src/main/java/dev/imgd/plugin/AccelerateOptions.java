package dev.imgd.plugin;

import java.time.Duration;
import java.util.Set;

/// How the snapshotter accelerates.
///
/// @param labelSources which labels may name the image; the CRI ones are tried first
/// @param maxWait how long a Prepare waits for its layer before containerd fetches it. containerd's
///   garbage collector waits for running Prepares, and everything else for the collector
/// @param retryAfter how long an image whose layer could not be provided is left to containerd
public record AccelerateOptions(
        Set<LabelSource> labelSources, Duration maxWait, Duration retryAfter) {
    public AccelerateOptions {
        labelSources = Set.copyOf(labelSources);
        if (maxWait.isNegative() || maxWait.isZero() || retryAfter.isNegative()) {
            throw new IllegalArgumentException(
                    "durations must be positive: " + maxWait + ", " + retryAfter);
        }
    }

    /// Both label sets, ten minutes, one minute.
    public static AccelerateOptions defaults() {
        return new AccelerateOptions(
                Set.of(LabelSource.CRI, LabelSource.STARGZ),
                Duration.ofMinutes(10),
                Duration.ofMinutes(1));
    }
}
