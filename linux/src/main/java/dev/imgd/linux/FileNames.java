package dev.imgd.linux;

import static java.nio.charset.StandardCharsets.UTF_8;

import dev.imgd.model.ErrnoException;
import java.util.Arrays;

/// The mapping between file names, which Linux defines as bytes, and strings.
///
/// Names are UTF-8. A byte that is not part of valid UTF-8 becomes a lone surrogate, U+DC00 plus
/// the byte, and turns back into the same byte, so that every name survives the way through a
/// string. All paths, link targets and attribute names this package takes or returns are such
/// strings.
///
/// **Source:** Python's PEP 383 describes the same mapping.
public final class FileNames {
    private FileNames() {}

    /// Returns the string of a name; never fails.
    public static String decode(byte[] name) {
        return decode(name, 0, name.length);
    }

    /// Returns the string of `length` bytes from `offset`; never fails.
    public static String decode(byte[] bytes, int offset, int length) {
        String text = new String(bytes, offset, length, UTF_8);
        return text.indexOf('\ufffd') < 0 ? text : decodeInvalid(bytes, offset, length);
    }

    /// Returns the bytes of a name.
    ///
    /// @throws IllegalArgumentException if the string holds a surrogate that is neither part of a
    ///   pair nor a mapped byte
    public static byte[] encode(String name) {
        byte[] bytes = new byte[name.length() * 3];
        int length = encode(name, bytes, true);
        if (length < 0) {
            throw new IllegalArgumentException("not a file name: lone surrogate in " + name);
        }
        return Arrays.copyOf(bytes, length);
    }

    /// Writes the bytes of a name that must not hold a NUL.
    ///
    /// @return the number of bytes, or a negative error number
    static int encode(String name, byte[] to) {
        return encode(name, to, false);
    }

    static boolean isRawByte(char c) {
        return c >= '\udc80' && c <= '\udcff';
    }

    private static int encode(String name, byte[] to, boolean nulAllowed) {
        int chars = name.length();
        int at = 0;
        for (int i = 0; i < chars; i++) {
            char c = name.charAt(i);
            if (c < 0x80) {
                if (c == 0 && !nulAllowed) {
                    return -ErrnoException.EINVAL;
                }
                if (at == to.length) {
                    return -ErrnoException.ENAMETOOLONG;
                }
                to[at++] = (byte) c;
                continue;
            }
            int point = c;
            if (Character.isHighSurrogate(c)
                    && i + 1 < chars
                    && Character.isLowSurrogate(name.charAt(i + 1))) {
                point = Character.toCodePoint(c, name.charAt(++i));
            }
            int written = encodePoint(point, to, at);
            if (written < 0) {
                return written;
            }
            at += written;
        }
        return at;
    }

    private static int encodePoint(int point, byte[] to, int at) {
        if (point <= 0xffff && Character.isSurrogate((char) point)) {
            if (!isRawByte((char) point)) {
                return -ErrnoException.EINVAL;
            }
            if (at == to.length) {
                return -ErrnoException.ENAMETOOLONG;
            }
            to[at] = (byte) point;
            return 1;
        }
        int size = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
        if (at + size > to.length) {
            return -ErrnoException.ENAMETOOLONG;
        }
        for (int i = size - 1, rest = point; i > 0; i--, rest >>= 6) {
            to[at + i] = (byte) (0x80 | (rest & 0x3f));
        }
        int lead = size == 2 ? 0xc0 : size == 3 ? 0xe0 : 0xf0;
        to[at] = (byte) (lead | (point >> (6 * (size - 1))));
        return size;
    }

    private static String decodeInvalid(byte[] bytes, int offset, int length) {
        StringBuilder out = new StringBuilder(length);
        int end = offset + length;
        for (int i = offset; i < end; ) {
            int size = sequenceLength(bytes, i, end);
            if (size == 0) {
                int raw = bytes[i++] & 0xff;
                out.append((char) (0xdc00 + raw));
            } else {
                out.append(new String(bytes, i, size, UTF_8));
                i += size;
            }
        }
        return out.toString();
    }

    /// The length of the well-formed UTF-8 sequence at `i`, or 0.
    ///
    /// **Source:** Unicode, table 3-7.
    private static int sequenceLength(byte[] bytes, int i, int end) {
        int lead = bytes[i] & 0xff;
        if (lead < 0x80) {
            return 1;
        }
        int size = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
        if (size == 0 || i + size > end) {
            return 0;
        }
        int low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        int high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
        int second = bytes[i + 1] & 0xff;
        if (second < low || second > high) {
            return 0;
        }
        for (int k = 2; k < size; k++) {
            if ((bytes[i + k] & 0xc0) != 0x80) {
                return 0;
            }
        }
        return size;
    }
}
