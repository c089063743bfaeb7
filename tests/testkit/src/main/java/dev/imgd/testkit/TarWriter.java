package dev.imgd.testkit;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/// Writes small tar archives for tests: well-formed ones by its methods, hostile ones by handing
/// over raw headers and bytes.
///
/// Names that do not fit and extended attributes become PAX records. Not thread-safe.
public final class TarWriter {
    private static final int BLOCK = 512;

    private final ByteArrayOutputStream out = new ByteArrayOutputStream();
    private int uid;
    private int gid;
    private long mtimeSeconds = 1_600_000_000L;
    private final Map<String, byte[]> pax = new LinkedHashMap<>();

    /// The owner of the entries that follow.
    public TarWriter owner(int newUid, int newGid) {
        uid = newUid;
        gid = newGid;
        return this;
    }

    /// The modification time of the entries that follow.
    public TarWriter mtime(long epochSeconds) {
        mtimeSeconds = epochSeconds;
        return this;
    }

    /// An extended attribute of the next entry.
    public TarWriter xattr(String name, byte[] value) {
        return pax("SCHILY.xattr." + name, value);
    }

    /// Any PAX record of the next entry.
    public TarWriter pax(String key, String value) {
        return pax(key, value.getBytes(StandardCharsets.UTF_8));
    }

    /// Any PAX record of the next entry.
    public TarWriter pax(String key, byte[] value) {
        pax.put(key, value.clone());
        return this;
    }

    /// A directory; a `/` at the end of its name is added.
    public TarWriter directory(String name, int mode) {
        String path = name.endsWith("/") ? name : name + '/';
        return entry('5', path, "", mode, new byte[0], 0, 0);
    }

    public TarWriter file(String name, int mode, byte[] content) {
        return entry('0', name, "", mode, content, 0, 0);
    }

    public TarWriter file(String name, String content) {
        return file(name, 0644, content.getBytes(StandardCharsets.UTF_8));
    }

    public TarWriter symlink(String name, String target) {
        return entry('2', name, target, 0777, new byte[0], 0, 0);
    }

    /// @param target the name of an earlier entry
    public TarWriter hardLink(String name, String target) {
        return entry('1', name, target, 0644, new byte[0], 0, 0);
    }

    public TarWriter fifo(String name, int mode) {
        return entry('6', name, "", mode, new byte[0], 0, 0);
    }

    /// @param type `3` for a character device, `4` for a block device
    public TarWriter device(char type, String name, int mode, int major, int minor) {
        return entry(type, name, "", mode, new byte[0], major, minor);
    }

    /// The whiteout of a name: the file `.wh.<name>` beside it.
    public TarWriter whiteout(String name) {
        int slash = name.lastIndexOf('/') + 1;
        return file(name.substring(0, slash) + ".wh." + name.substring(slash), 0, new byte[0]);
    }

    /// The opaque marker of a directory.
    public TarWriter opaque(String directory) {
        return file(directory + "/.wh..wh..opq", 0, new byte[0]);
    }

    /// An entry of any type, with the PAX records collected for it.
    public TarWriter entry(
            char type, String name, String link, int mode, byte[] content, int major, int minor) {
        byte[] nameBytes = name.getBytes(StandardCharsets.UTF_8);
        byte[] linkBytes = link.getBytes(StandardCharsets.UTF_8);
        if (nameBytes.length > 100) {
            pax.putIfAbsent("path", nameBytes);
        }
        if (linkBytes.length > 100) {
            pax.putIfAbsent("linkpath", linkBytes);
        }
        if (!pax.isEmpty()) {
            byte[] records = records(pax);
            pax.clear();
            raw(
                    header(
                            'x',
                            "PaxHeaders/x".getBytes(StandardCharsets.US_ASCII),
                            new byte[0],
                            0644,
                            records.length,
                            0,
                            0));
            raw(padded(records));
        }
        raw(header(type, nameBytes, linkBytes, mode, content.length, major, minor));
        raw(padded(content));
        return this;
    }

    /// Bytes as they are: hostile headers, garbage, missing padding.
    public TarWriter raw(byte[] bytes) {
        out.writeBytes(bytes);
        return this;
    }

    /// The archive with the two empty blocks at its end.
    public byte[] finish() {
        raw(new byte[2 * BLOCK]);
        return out.toByteArray();
    }

    /// The archive as it is, without an end.
    public byte[] unfinished() {
        return out.toByteArray();
    }

    /// A ustar header block with a right checksum. Names are cut at 100 bytes.
    public byte[] header(
            char type, byte[] name, byte[] link, int mode, long size, int major, int minor) {
        byte[] block = new byte[BLOCK];
        put(block, 0, Arrays.copyOf(name, Math.min(name.length, 100)));
        octal(block, 100, 8, mode);
        octal(block, 108, 8, uid);
        octal(block, 116, 8, gid);
        octal(block, 124, 12, size);
        octal(block, 136, 12, mtimeSeconds);
        block[156] = (byte) type;
        put(block, 157, Arrays.copyOf(link, Math.min(link.length, 100)));
        put(block, 257, "ustar\00000".getBytes(StandardCharsets.ISO_8859_1));
        octal(block, 329, 8, major);
        octal(block, 337, 8, minor);
        return withChecksum(block);
    }

    /// Sets the checksum of a header block, in place.
    public static byte[] withChecksum(byte[] block) {
        Arrays.fill(block, 148, 156, (byte) ' ');
        int sum = 0;
        for (byte b : block) {
            sum += b & 0xff;
        }
        octal(block, 148, 7, sum);
        return block;
    }

    /// The records of a PAX header, each with its own length in front.
    public static byte[] records(Map<String, byte[]> records) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        records.forEach(
                (key, value) -> {
                    byte[] name = key.getBytes(StandardCharsets.UTF_8);
                    int rest = name.length + value.length + 3;
                    int length = rest + Integer.toString(rest).length();
                    length = rest + Integer.toString(length).length();
                    out.writeBytes((length + " ").getBytes(StandardCharsets.US_ASCII));
                    out.writeBytes(name);
                    out.write('=');
                    out.writeBytes(value);
                    out.write('\n');
                });
        return out.toByteArray();
    }

    /// The bytes filled up with zeros to a multiple of 512.
    public static byte[] padded(byte[] content) {
        return Arrays.copyOf(content, (content.length + BLOCK - 1) / BLOCK * BLOCK);
    }

    private static void put(byte[] block, int at, byte[] bytes) {
        System.arraycopy(bytes, 0, block, at, bytes.length);
    }

    /// Octal digits and a NUL; a number that needs more is written in base 256.
    private static void octal(byte[] block, int at, int width, long value) {
        String digits = Long.toOctalString(value);
        if (digits.length() < width) {
            Arrays.fill(block, at, at + width - 1, (byte) '0');
            put(
                    block,
                    at + width - 1 - digits.length(),
                    digits.getBytes(StandardCharsets.US_ASCII));
            block[at + width - 1] = 0;
            return;
        }
        for (int i = 0; i < width; i++) {
            int shift = 8 * (width - 1 - i);
            block[at + i] = shift < 64 ? (byte) (value >> shift) : 0;
        }
        block[at] |= (byte) 0x80;
    }
}
