package dev.imgd.trust;

import dev.imgd.model.Limits;
import java.time.Duration;

/// How much is done to find a signature that counts, whatever a registry has to offer.
///
/// @param limits how many signatures of one image are looked at
/// @param time in which the registry must have answered all that is asked about one image
public record Effort(Limits limits, Duration time) {
    /// The configuration key of the time.
    public static final String TIME_KEY = "trust.timeout";

    public Effort {
        if (time.isNegative() || time.isZero()) {
            throw new IllegalArgumentException("no time to look signatures up: " + time);
        }
    }

    /// The limits of a configuration that sets none, and 10 seconds.
    public static Effort defaults() {
        return new Effort(Limits.defaults(), Duration.ofSeconds(10));
    }

    int signatures() {
        return Math.toIntExact(limits.value(Limits.Key.SIGNATURES));
    }
}
