package dev.imgd.hosts;

import java.math.BigDecimal;
import java.time.Duration;
import org.jspecify.annotations.Nullable;

/// Durations as Go writes them: `200ms`, `1.5s`, `1m30s`. **Source:** Go `time.ParseDuration`.
final class GoDuration {
    private static final int MAX_CHARS = 40;

    private GoDuration() {}

    /// Returns the duration, or null when the text is none. Not negative: a sign is refused.
    static @Nullable Duration parse(String text) {
        if (text.equals("0")) {
            return Duration.ZERO;
        }
        if (text.isEmpty() || text.length() > MAX_CHARS) {
            return null;
        }
        BigDecimal nanos = BigDecimal.ZERO;
        int i = 0;
        while (i < text.length()) {
            int from = i;
            int dots = 0;
            while (i < text.length() && (isDigit(text.charAt(i)) || text.charAt(i) == '.')) {
                dots += text.charAt(i++) == '.' ? 1 : 0;
            }
            if (i - from == dots || dots > 1) {
                return null;
            }
            int unitFrom = i;
            while (i < text.length() && !isDigit(text.charAt(i)) && text.charAt(i) != '.') {
                i++;
            }
            long unit = unitNanos(text.substring(unitFrom, i));
            if (unit == 0) {
                return null;
            }
            // BigDecimal reads ".5" and "5." as Go does.
            BigDecimal amount = new BigDecimal(text.substring(from, unitFrom));
            nanos = nanos.add(amount.multiply(BigDecimal.valueOf(unit)));
        }
        return nanos.compareTo(BigDecimal.valueOf(Long.MAX_VALUE)) > 0
                ? null
                : Duration.ofNanos(nanos.longValue());
    }

    private static boolean isDigit(char c) {
        return c >= '0' && c <= '9';
    }

    private static long unitNanos(String unit) {
        return switch (unit) {
            case "ns" -> 1;
            case "us", "µs", "μs" -> 1_000;
            case "ms" -> 1_000_000;
            case "s" -> 1_000_000_000;
            case "m" -> 60_000_000_000L;
            case "h" -> 3_600_000_000_000L;
            default -> 0;
        };
    }
}
