package dev.imgd.linux;

import dev.imgd.model.ErrnoException;
import dev.imgd.model.ImageException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/// One mount of this process's mount namespace.
///
/// ```text
/// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
/// id parent  root  point options    tags     - type source    superOptions
///       device
/// ```
///
/// **Source:** proc(5), `/proc/[pid]/mountinfo`.
///
/// @param id unique among the mounts that exist; reused later
/// @param root the path inside the file system that is mounted
/// @param mountPoint the path relative to this process's root
/// @param options those of the mount, for example `rw` and `nosuid`
/// @param tags how mount events propagate, for example `shared:12`; empty for a private mount
/// @param source the device, or what the file system shows instead
/// @param superOptions those of the file system, for example `lowerdir=/a:/b`
public record MountInfo(
        int id,
        int parentId,
        int devMajor,
        int devMinor,
        String root,
        String mountPoint,
        List<String> options,
        List<String> tags,
        String type,
        String source,
        List<String> superOptions) {
    private static final String SELF = "/proc/self/mountinfo";

    public MountInfo {
        options = List.copyOf(options);
        tags = List.copyOf(tags);
        superOptions = List.copyOf(superOptions);
    }

    /// Returns the mounts this process sees, in the kernel's order: what is mounted on top of
    /// something comes after it.
    public static List<MountInfo> list() throws ImageException {
        return parse(readSelf());
    }

    public boolean isReadOnly() {
        return options.contains("ro") || superOptions.contains("ro");
    }

    /// Returns the mounts of the text of a mountinfo file.
    ///
    /// @throws ImageException if a line is not one the kernel writes
    static List<MountInfo> parse(String text) throws ImageException {
        List<MountInfo> mounts = new ArrayList<>();
        int start = 0;
        while (start < text.length()) {
            int end = text.indexOf('\n', start);
            end = end < 0 ? text.length() : end;
            mounts.add(parseLine(text.substring(start, end)));
            start = end + 1;
        }
        return mounts;
    }

    private static MountInfo parseLine(String line) throws ImageException {
        List<String> fields = split(line, ' ');
        int dash = fields.subList(Math.min(6, fields.size()), fields.size()).indexOf("-") + 6;
        List<String> device = fields.size() < 3 ? List.of() : split(fields.get(2), ':');
        if (dash < 6 || fields.size() < dash + 4 || device.size() != 2) {
            throw unknown(line);
        }
        try {
            return new MountInfo(
                    Integer.parseInt(fields.get(0)),
                    Integer.parseInt(fields.get(1)),
                    Integer.parseInt(device.get(0)),
                    Integer.parseInt(device.get(1)),
                    unescape(fields.get(3)),
                    unescape(fields.get(4)),
                    split(fields.get(5), ','),
                    fields.subList(6, dash),
                    unescape(fields.get(dash + 1)),
                    unescape(fields.get(dash + 2)),
                    superOptions(fields.get(dash + 3)));
        } catch (NumberFormatException e) {
            throw unknown(line);
        }
    }

    private static ImageException unknown(String line) {
        return ImageException.invalidContent(
                SELF + ": wanted a line as in proc(5), got " + Errno.printable(line));
    }

    private static List<String> superOptions(String field) {
        List<String> options = split(field, ',');
        options.replaceAll(MountInfo::unescape);
        return options;
    }

    private static List<String> split(String text, char separator) {
        List<String> parts = new ArrayList<>();
        int start = 0;
        for (int at; (at = text.indexOf(separator, start)) >= 0; start = at + 1) {
            parts.add(text.substring(start, at));
        }
        parts.add(text.substring(start));
        return parts;
    }

    /// Undoes the kernel's `\ooo` for white space, backslash and number sign.
    private static String unescape(String text) {
        int at = text.indexOf('\\');
        if (at < 0) {
            return text;
        }
        StringBuilder out = new StringBuilder(text.length()).append(text, 0, at);
        while (at < text.length()) {
            int value = octal(text, at);
            out.append(value < 0 ? text.charAt(at) : (char) value);
            at += value < 0 ? 1 : 4;
        }
        return out.toString();
    }

    /// The value of an escape at a place, or -1.
    private static int octal(String text, int at) {
        if (text.charAt(at) != '\\' || at + 4 > text.length()) {
            return -1;
        }
        int value = 0;
        for (int i = at + 1; i < at + 4; i++) {
            int digit = Character.digit(text.charAt(i), 8);
            if (digit < 0) {
                return -1;
            }
            value = value * 8 + digit;
        }
        return value < 0x80 ? value : -1;
    }

    private static String readSelf() throws ErrnoException {
        byte[] bytes = new byte[32 * 1024];
        int size = 0;
        try (Fd fd = Fd.open(SELF, Fs.O_RDONLY, 0)) {
            while (true) {
                if (size == bytes.length) {
                    bytes = Arrays.copyOf(bytes, size * 2);
                }
                int count = Fs.read(fd.fd(), ByteBuffer.wrap(bytes, size, bytes.length - size));
                if (count < 0) {
                    return FileNames.decode(bytes, 0, size);
                }
                size += count;
            }
        }
    }
}
