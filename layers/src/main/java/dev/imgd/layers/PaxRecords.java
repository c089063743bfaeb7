package dev.imgd.layers;

import static java.nio.charset.StandardCharsets.UTF_8;

import dev.imgd.linux.FileNames;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// The records of the extended headers before one entry.
///
/// ```text
/// "<length> <key>=<value>\n"     the length counts the whole record, itself included
/// ```
///
/// A record with an empty value means: as if there were none. Records of unknown keys are skipped.
/// **Source:** POSIX.1-2017 pax, § pax Extended Header; GNU tar manual, § Storing Sparse Files; the
/// `SCHILY.` keys of star, the `LIBARCHIVE.` keys of libarchive.
final class PaxRecords {
    private static final String SCHILY_XATTR = "SCHILY.xattr.";
    private static final String LIBARCHIVE_XATTR = "LIBARCHIVE.xattr.";
    private static final String SPARSE = "GNU.sparse.";

    @Nullable String path;
    @Nullable String linkPath;

    /// [Fields#INVALID] where there is no record.
    long size = Fields.INVALID;

    long uid = Fields.INVALID;
    long gid = Fields.INVALID;
    boolean hasMtime;
    long mtimeSeconds;
    int mtimeNanos;
    boolean hasAtime;
    long atimeSeconds;
    int atimeNanos;

    /// The format of the sparse map: 0 none, 1 in records, 2 in front of the content.
    int sparseForm;

    @Nullable String sparseName;
    long sparseSize = Fields.INVALID;
    @Nullable SparseMap sparseMap;

    /// By name; the last record of a name counts.
    @Nullable Map<String, byte[]> xattrs;

    private @Nullable Map<String, byte[]> encodedXattrs;
    private long sparseOffset = Fields.INVALID;
    private long sparseMajor = Fields.INVALID;
    private long sparseMinor = Fields.INVALID;
    private long sparseRegions = Fields.INVALID;

    private PaxRecords() {}

    /// Parses the content of an extended header.
    ///
    /// @throws TarFormatException when it is not a sequence of records, or a value is not what its
    ///   key wants
    static PaxRecords parse(byte[] bytes, int length) throws TarFormatException {
        PaxRecords records = new PaxRecords();
        int at = 0;
        while (at < length) {
            int space = at;
            while (space < length && bytes[space] >= '0' && bytes[space] <= '9') {
                space++;
            }
            long recordLength = Fields.decimal(bytes, at, space);
            if (space == length
                    || bytes[space] != ' '
                    || recordLength == Fields.INVALID
                    || recordLength > length - at
                    || at + recordLength - 1 <= space
                    || bytes[at + (int) recordLength - 1] != '\n') {
                throw new TarFormatException("extended header: malformed record at its byte " + at);
            }
            int end = at + (int) recordLength - 1;
            int equals = space + 1;
            while (equals < end && bytes[equals] != '=') {
                equals++;
            }
            if (equals == end || equals == space + 1) {
                throw new TarFormatException(
                        "extended header: record without key at its byte " + at);
            }
            String key = FileNames.decode(bytes, space + 1, equals - space - 1);
            records.put(key, bytes, equals + 1, end);
            at = end + 1;
        }
        records.finish();
        return records;
    }

    /// Whether these records of a global header would change which bytes belong to which name.
    boolean renames() {
        return path != null
                || linkPath != null
                || size != Fields.INVALID
                || sparseForm != 0
                || sparseName != null;
    }

    private void put(String key, byte[] bytes, int start, int end) throws TarFormatException {
        switch (key) {
            case "path" -> path = text(key, bytes, start, end);
            case "linkpath" -> linkPath = text(key, bytes, start, end);
            case "size" -> size = number(key, bytes, start, end);
            case "uid" -> uid = number(key, bytes, start, end);
            case "gid" -> gid = number(key, bytes, start, end);
            case "mtime" -> {
                hasMtime = start < end;
                if (hasMtime) {
                    long[] time = time(key, bytes, start, end);
                    mtimeSeconds = time[0];
                    mtimeNanos = (int) time[1];
                }
            }
            case "atime" -> {
                hasAtime = start < end;
                if (hasAtime) {
                    long[] time = time(key, bytes, start, end);
                    atimeSeconds = time[0];
                    atimeNanos = (int) time[1];
                }
            }
            default -> {
                if (key.startsWith(SCHILY_XATTR)) {
                    xattrs = put(xattrs, key.substring(SCHILY_XATTR.length()), bytes, start, end);
                } else if (key.startsWith(LIBARCHIVE_XATTR)) {
                    encodedXattrs =
                            put(
                                    encodedXattrs,
                                    key.substring(LIBARCHIVE_XATTR.length()),
                                    bytes,
                                    start,
                                    end);
                } else if (key.startsWith(SPARSE)) {
                    putSparse(key, bytes, start, end);
                }
            }
        }
    }

    private static Map<String, byte[]> put(
            @Nullable Map<String, byte[]> to, String name, byte[] bytes, int start, int end) {
        Map<String, byte[]> map = to == null ? new LinkedHashMap<>() : to;
        byte[] value = new byte[end - start];
        System.arraycopy(bytes, start, value, 0, value.length);
        map.put(name, value);
        return map;
    }

    private void putSparse(String key, byte[] bytes, int start, int end) throws TarFormatException {
        switch (key) {
            case "GNU.sparse.major" -> sparseMajor = number(key, bytes, start, end);
            case "GNU.sparse.minor" -> sparseMinor = number(key, bytes, start, end);
            case "GNU.sparse.name" -> sparseName = text(key, bytes, start, end);
            case "GNU.sparse.size", "GNU.sparse.realsize" ->
                    sparseSize = number(key, bytes, start, end);
            case "GNU.sparse.numblocks" -> sparseRegions = number(key, bytes, start, end);
            case "GNU.sparse.offset" -> {
                if (sparseOffset != Fields.INVALID) {
                    throw new TarFormatException(key + ": two in a row");
                }
                sparseOffset = number(key, bytes, start, end);
            }
            case "GNU.sparse.numbytes" -> {
                if (sparseOffset == Fields.INVALID) {
                    throw new TarFormatException(key + ": without GNU.sparse.offset");
                }
                map().add(sparseOffset, number(key, bytes, start, end));
                sparseOffset = Fields.INVALID;
            }
            case "GNU.sparse.map" -> parseMap(key, bytes, start, end);
            default -> {} // of no format that was ever specified
        }
    }

    private void parseMap(String key, byte[] bytes, int start, int end) throws TarFormatException {
        int at = start;
        long offset = Fields.INVALID;
        while (at < end) {
            int comma = at;
            while (comma < end && bytes[comma] != ',') {
                comma++;
            }
            long value = number(key, bytes, at, comma);
            if (offset == Fields.INVALID) {
                offset = value;
            } else {
                map().add(offset, value);
                offset = Fields.INVALID;
            }
            at = comma + 1;
        }
        if (offset != Fields.INVALID) {
            throw new TarFormatException(key + ": wanted pairs of numbers");
        }
    }

    private SparseMap map() {
        SparseMap map = sparseMap;
        if (map == null) {
            map = new SparseMap();
            sparseMap = map;
        }
        return map;
    }

    private void finish() throws TarFormatException {
        if (encodedXattrs != null) {
            addEncodedXattrs(encodedXattrs);
        }
        if (sparseMajor == 1 && sparseMinor == 0) {
            sparseForm = 2;
        } else if (sparseMajor > 0 || sparseMinor > 1) {
            throw new TarFormatException(
                    "sparse format %d.%d is unknown".formatted(sparseMajor, sparseMinor));
        } else if (sparseMap != null || sparseRegions != Fields.INVALID) {
            sparseForm = 1;
            SparseMap map = map();
            if (sparseOffset != Fields.INVALID) {
                throw new TarFormatException("GNU.sparse.offset: without GNU.sparse.numbytes");
            }
            if (sparseRegions != Fields.INVALID && sparseRegions != map.count()) {
                throw new TarFormatException(
                        "GNU.sparse.numblocks: wanted %d regions, got %d"
                                .formatted(sparseRegions, map.count()));
            }
        }
        if (sparseForm != 0 && sparseSize == Fields.INVALID) {
            throw new TarFormatException("sparse file without GNU.sparse.size");
        }
    }

    /// libarchive writes both forms; the plain one is exact, so it counts.
    private void addEncodedXattrs(Map<String, byte[]> encoded) throws TarFormatException {
        Map<String, byte[]> all = xattrs == null ? new LinkedHashMap<>() : xattrs;
        for (Map.Entry<String, byte[]> entry : encoded.entrySet()) {
            byte[] value;
            try {
                value = Base64.getDecoder().decode(entry.getValue());
            } catch (IllegalArgumentException e) {
                throw new TarFormatException(LIBARCHIVE_XATTR + " is not base64");
            }
            all.putIfAbsent(percentDecoded(entry.getKey()), value);
        }
        xattrs = all;
    }

    private static String percentDecoded(String name) throws TarFormatException {
        if (name.indexOf('%') < 0) {
            return name;
        }
        byte[] in = name.getBytes(UTF_8);
        byte[] out = new byte[in.length];
        int length = 0;
        for (int i = 0; i < in.length; i++) {
            if (in[i] != '%') {
                out[length++] = in[i];
                continue;
            }
            int high = i + 2 < in.length ? Character.digit(in[i + 1], 16) : -1;
            int low = i + 2 < in.length ? Character.digit(in[i + 2], 16) : -1;
            if (high < 0 || low < 0) {
                throw new TarFormatException(LIBARCHIVE_XATTR + " has a malformed name");
            }
            out[length++] = (byte) (high << 4 | low);
            i += 2;
        }
        return FileNames.decode(out, 0, length);
    }

    /// A text without NUL; null when empty.
    private static @Nullable String text(String key, byte[] bytes, int start, int end)
            throws TarFormatException {
        for (int i = start; i < end; i++) {
            if (bytes[i] == 0) {
                throw new TarFormatException(key + ": has a NUL inside");
            }
        }
        return start == end ? null : FileNames.decode(bytes, start, end - start);
    }

    /// A number that is not negative; [Fields#INVALID] when empty.
    private static long number(String key, byte[] bytes, int start, int end)
            throws TarFormatException {
        if (start == end) {
            return Fields.INVALID;
        }
        long value = Fields.decimal(bytes, start, end);
        if (value < 0) {
            throw new TarFormatException(key + ": wanted a number from 0 on");
        }
        return value;
    }

    /// Seconds and nanoseconds of `[-]digits[.digits]`; what is finer than nanoseconds is cut.
    private static long[] time(String key, byte[] bytes, int start, int end)
            throws TarFormatException {
        int dot = start;
        while (dot < end && bytes[dot] != '.') {
            dot++;
        }
        long seconds = Fields.decimal(bytes, start, dot);
        long nanos = 0;
        int digits = 0;
        for (int i = dot + 1; i < end; i++) {
            int digit = bytes[i] - '0';
            if (digit < 0 || digit > 9) {
                seconds = Fields.INVALID;
                break;
            }
            if (digits < 9) {
                nanos = nanos * 10 + digit;
                digits++;
            }
        }
        if (seconds == Fields.INVALID) {
            throw new TarFormatException(key + ": wanted seconds with an optional fraction");
        }
        for (; digits < 9; digits++) {
            nanos *= 10;
        }
        if (bytes[start] == '-' && nanos != 0) {
            return new long[] {seconds - 1, 1_000_000_000 - nanos};
        }
        return new long[] {seconds, nanos};
    }
}
