package dev.imgd.registry;

import org.jspecify.annotations.Nullable;

/// A `Content-Range: bytes first-last/total` header. **Source:** RFC 9110 §14.4.
///
/// @param last inclusive
/// @param total -1 when the server does not say
record ContentRange(long first, long last, long total) {
    /// Returns null when the header is missing or malformed.
    static @Nullable ContentRange parse(@Nullable String header) {
        if (header == null || !header.regionMatches(true, 0, "bytes ", 0, 6)) {
            return null;
        }
        int dash = header.indexOf('-', 6);
        int slash = header.indexOf('/', 6);
        if (dash < 0 || slash < dash) {
            return null;
        }
        long first = number(header, 6, dash);
        long last = number(header, dash + 1, slash);
        boolean unknown = header.length() == slash + 2 && header.charAt(slash + 1) == '*';
        long total = unknown ? -1 : number(header, slash + 1, header.length());
        if (first < 0 || last < first || (!unknown && total <= last)) {
            return null;
        }
        return new ContentRange(first, last, total);
    }

    private static long number(String text, int from, int to) {
        if (from >= to || to - from > 18) {
            return -1;
        }
        long value = 0;
        for (int i = from; i < to; i++) {
            char c = text.charAt(i);
            if (c < '0' || c > '9') {
                return -1;
            }
            value = 10 * value + c - '0';
        }
        return value;
    }
}
