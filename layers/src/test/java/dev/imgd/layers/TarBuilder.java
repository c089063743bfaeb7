package dev.imgd.layers;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.ByteArrayOutputStream;
import java.util.function.Consumer;

/// Builds archives byte by byte, valid ones and others.
final class TarBuilder {
    static final long MTIME = 1_600_000_000;

    private final ByteArrayOutputStream out = new ByteArrayOutputStream();

    /// A header block whose fields can be set to anything.
    static final class Header {
        final byte[] block = new byte[512];

        Header() {
            text(257, "ustar\0" + "00");
            octal(100, 8, 0644);
            octal(108, 8, 0);
            octal(116, 8, 0);
            octal(124, 12, 0);
            octal(136, 12, MTIME);
            type('0');
        }

        Header name(String name) {
            return text(0, name);
        }

        Header linkName(String name) {
            return text(157, name);
        }

        Header type(char type) {
            block[156] = (byte) type;
            return this;
        }

        Header mode(int mode) {
            return octal(100, 8, mode);
        }

        Header owner(long uid, long gid) {
            return octal(108, 8, uid).octal(116, 8, gid);
        }

        Header size(long size) {
            return octal(124, 12, size);
        }

        Header mtime(long seconds) {
            return octal(136, 12, seconds);
        }

        Header device(long major, long minor) {
            return octal(329, 8, major).octal(337, 8, minor);
        }

        Header gnu() {
            return text(257, "ustar  \0");
        }

        /// Writes ISO 8859-1 text, so that every byte can be written.
        Header text(int at, String text) {
            byte[] bytes = text.getBytes(ISO_8859_1);
            System.arraycopy(bytes, 0, block, at, bytes.length);
            return this;
        }

        Header octal(int at, int length, long value) {
            String digits = Long.toOctalString(value);
            return text(at, "0".repeat(length - 1 - digits.length()) + digits + '\0');
        }

        Header base256(int at, int length, long value) {
            for (int i = 0; i < length; i++) {
                int shift = 8 * (length - 1 - i);
                block[at + i] = (byte) (shift > 56 ? value >> 63 : value >> shift);
            }
            block[at] |= (byte) 0x80;
            return this;
        }

        byte[] sealed() {
            text(148, "        ");
            int sum = 0;
            for (byte b : block) {
                sum += b & 0xff;
            }
            return text(148, "%06o\0 ".formatted(sum)).block;
        }
    }

    TarBuilder entry(byte[] content, Consumer<Header> fields) {
        Header header = new Header().size(content.length);
        fields.accept(header);
        return raw(header.sealed()).raw(content).pad();
    }

    TarBuilder entry(Consumer<Header> fields) {
        return entry(new byte[0], fields);
    }

    TarBuilder file(String name, String content) {
        return entry(content.getBytes(UTF_8), h -> h.name(name));
    }

    TarBuilder file(String name, byte[] content, int mode) {
        return entry(content, h -> h.name(name).mode(mode));
    }

    TarBuilder directory(String name, int mode) {
        return entry(h -> h.name(name).type('5').mode(mode));
    }

    TarBuilder symlink(String target, String name) {
        return entry(h -> h.name(name).type('2').mode(0777).linkName(target));
    }

    TarBuilder link(String target, String name) {
        return entry(h -> h.name(name).type('1').linkName(target));
    }

    TarBuilder pax(String... keysAndValues) {
        return pax('x', keysAndValues);
    }

    TarBuilder pax(char type, String... keysAndValues) {
        StringBuilder records = new StringBuilder();
        for (int i = 0; i < keysAndValues.length; i += 2) {
            records.append(record(keysAndValues[i], keysAndValues[i + 1]));
        }
        return entry(
                records.toString().getBytes(ISO_8859_1), h -> h.name("PaxHeaders/x").type(type));
    }

    static String record(String key, String value) {
        String rest = " " + key + "=" + value + "\n";
        int length = rest.length() + 1;
        while ((length + rest).length() != length) {
            length = (length + rest).length();
        }
        return length + rest;
    }

    TarBuilder longName(char type, String name) {
        return entry(
                (name + '\0').getBytes(ISO_8859_1), h -> h.gnu().name("././@LongLink").type(type));
    }

    TarBuilder raw(byte[] bytes) {
        out.writeBytes(bytes);
        return this;
    }

    private TarBuilder pad() {
        return raw(new byte[-out.size() & 511]);
    }

    /// The bytes so far, without an end.
    byte[] open() {
        return out.toByteArray();
    }

    /// The archive with its end.
    byte[] bytes() {
        return raw(new byte[1024]).open();
    }
}
