package dev.imgd.layers;

/// The number formats of tar headers and PAX records.
///
/// **Source:** POSIX.1-2017 pax, § ustar and § pax Header Block; GNU tar manual, § Extensions.
final class Fields {
    /// Returned for something that is not a number or does not fit.
    static final long INVALID = Long.MIN_VALUE;

    private Fields() {}

    /// Parses a numeric header field: octal digits with spaces or NULs around them, or base-256
    /// when the first bit is set. An empty field is 0.
    ///
    /// @return the number, or [#INVALID]
    static long numeric(byte[] block, int at, int length) {
        return (block[at] & 0x80) != 0 ? base256(block, at, length) : octal(block, at, length);
    }

    /// Two's complement, big-endian, without the first bit.
    private static long base256(byte[] block, int at, int length) {
        boolean negative = (block[at] & 0x40) != 0;
        long value = negative ? -1 : 0;
        for (int i = 0; i < length; i++) {
            int digit = block[at + i] & 0xff;
            if (i == 0) {
                digit = negative ? digit : digit & 0x7f;
            }
            // Another digit shifts eight bits out: all of them must repeat the sign.
            if (value >> 55 != (negative ? -1 : 0)) {
                return INVALID;
            }
            value = value << 8 | digit;
        }
        return value;
    }

    private static long octal(byte[] block, int at, int length) {
        int start = at;
        int end = at + length;
        while (start < end && (block[start] == ' ' || block[start] == 0)) {
            start++;
        }
        while (end > start && (block[end - 1] == ' ' || block[end - 1] == 0)) {
            end--;
        }
        long value = 0;
        for (int i = start; i < end && block[i] != 0; i++) {
            int digit = block[i] - '0';
            if (digit < 0 || digit > 7 || value >> 60 != 0) {
                return INVALID;
            }
            value = value << 3 | digit;
        }
        return value;
    }

    /// Parses decimal digits with an optional minus sign.
    ///
    /// @return the number, or [#INVALID]
    static long decimal(byte[] bytes, int start, int end) {
        boolean negative = start < end && bytes[start] == '-';
        int at = negative ? start + 1 : start;
        if (at >= end) {
            return INVALID;
        }
        long value = 0;
        for (; at < end; at++) {
            int digit = bytes[at] - '0';
            if (digit < 0 || digit > 9 || value > (Long.MAX_VALUE - digit) / 10) {
                return INVALID;
            }
            value = value * 10 + digit;
        }
        return negative ? -value : value;
    }
}
