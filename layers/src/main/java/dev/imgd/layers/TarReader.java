package dev.imgd.layers;

import dev.imgd.linux.FileNames;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.Text;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// Reads a tar archive entry by entry. For one thread.
///
/// ```text
///   0 name(100)   100 mode(8)   108 uid(8)    116 gid(8)    124 size(12)  136 mtime(12)
/// 148 checksum(8) 156 type      157 linkname(100)           257 magic(6)  263 version(2)
/// 265 uname(32)   297 gname(32) 329 major(8)  337 minor(8)  345 prefix(155)
///
/// GNU:  345 atime(12) 357 ctime(12) 386 sparse 4x(12+12) 482 more 483 real size(12)
/// star: 345 prefix(131) 476 atime(12) 488 ctime(12) 508 "tar\0"
/// ```
///
/// It understands what Go's reader understands, because that is what images were made for and
/// checked with: v7, ustar, star, GNU and PAX, sparse files in all four forms. It refuses more: a
/// size that two headers state differently, and global headers that rename, since other readers
/// would see other files in the same bytes. **Source:** POSIX.1-2017 pax; GNU tar manual, § Tar
/// Internals.
final class TarReader {
    private static final int BLOCK = 512;

    /// What a ustar size field can hold; a writer of something larger may leave anything in it.
    private static final long MAX_OCTAL_SIZE = 1L << 33;

    private enum Format {
        V7,
        USTAR,
        STAR,
        GNU
    }

    private final String what;
    private final BlobStream stream;
    private final Limits limits;
    private final byte[] block = new byte[BLOCK];
    private byte[] extension = new byte[4096];
    private int extensionBytes;

    /// Bytes of content not yet read, and padding behind it.
    private long contentLeft;

    private int padding;
    private long entries;
    private long headerOffset;
    private final TarEntry entry = new TarEntry();

    TarReader(String what, BlobStream stream, Limits limits) {
        this.what = what;
        this.stream = stream;
        this.limits = limits;
    }

    /// The number of entries so far.
    long entries() {
        return entries;
    }

    /// Reads the next entry, skipping what is left of the content of the one before.
    ///
    /// @return the entry, valid until the next call, or null at the end of the archive
    @Nullable TarEntry next() throws IOException {
        skipContent();
        try {
            return readEntry();
        } catch (TarFormatException e) {
            throw malformed("%s".formatted(e.getMessage()));
        }
    }

    /// A view of the next bytes of the entry's content; valid until the next call.
    ///
    /// @return empty only behind the last byte
    ByteBuffer content() throws IOException {
        ByteBuffer view = stream.view(contentLeft);
        if (!view.hasRemaining() && contentLeft > 0) {
            throw malformed("the archive ends inside the content of " + quoted(entry.name));
        }
        return view;
    }

    /// Counts bytes of [#content] as read.
    void read(int bytes) {
        contentLeft -= bytes;
    }

    long contentLeft() {
        return contentLeft;
    }

    private ImageException malformed(String why) {
        return ImageException.invalidContent(
                "%s: tar header at byte %d: %s".formatted(what, headerOffset, why));
    }

    static String quoted(String name) {
        return '"' + Text.printable(name, 200) + '"';
    }

    private void skipContent() throws IOException {
        long left = contentLeft;
        contentLeft = 0;
        if (stream.skip(left) != left) {
            throw malformed("the archive ends inside the content of " + quoted(entry.name));
        }
        // Writers that stop right behind the last byte were always accepted.
        stream.skip(padding);
        padding = 0;
    }

    private @Nullable TarEntry readEntry() throws IOException, TarFormatException {
        PaxRecords pax = null;
        String longName = null;
        String longLink = null;
        extensionBytes = 0;
        while (true) {
            headerOffset = stream.offset();
            if (!readHeader()) {
                if (pax != null || longName != null || longLink != null) {
                    throw new TarFormatException("the archive ends behind an extended header");
                }
                return null;
            }
            switch (block[156]) {
                case 'x' -> pax = readPax();
                case 'g' -> {
                    if (readPax().renames()) {
                        throw new TarFormatException(
                                "a global header sets names or sizes, which readers take"
                                        + " differently; rebuild the layer without it");
                    }
                    // Global headers belong to no entry, so they do not add up.
                    extensionBytes = 0;
                }
                case 'L' -> longName = readLongName();
                case 'K' -> longLink = readLongName();
                default -> {
                    fill(pax, longName, longLink);
                    return entry;
                }
            }
        }
    }

    /// Reads a header block; returns false at the end of the archive.
    private boolean readHeader() throws IOException, TarFormatException {
        if (!readBlock()) {
            return false;
        }
        if (isZero()) {
            if (!readBlock() || isZero()) {
                return false;
            }
            throw new TarFormatException("there is an entry behind a block of zeros");
        }
        long stored = Fields.numeric(block, 148, 8);
        int unsigned = 0;
        int signed = 0;
        for (int i = 0; i < BLOCK; i++) {
            unsigned += block[i] & 0xff;
            signed += block[i];
        }
        for (int i = 148; i < 156; i++) {
            unsigned += ' ' - (block[i] & 0xff);
            signed += ' ' - block[i];
        }
        // Some old writers summed signed bytes.
        if (stored != unsigned && stored != signed) {
            throw new TarFormatException(
                    entries == 0 && headerOffset == 0
                            ? "wanted a tar archive, got something else"
                            : "wanted checksum %d, got %d".formatted(unsigned, stored));
        }
        return true;
    }

    /// Fills [#block]; returns false at the end of the stream.
    private boolean readBlock() throws IOException, TarFormatException {
        int visible = stream.require(BLOCK);
        if (visible == 0) {
            return false;
        }
        if (visible < BLOCK) {
            throw new TarFormatException("the archive ends inside a header");
        }
        stream.window().get(block);
        return true;
    }

    private boolean isZero() {
        for (int i = 0; i < BLOCK; i++) {
            if (block[i] != 0) {
                return false;
            }
        }
        return true;
    }

    private PaxRecords readPax() throws IOException, TarFormatException {
        int length = readExtension();
        return PaxRecords.parse(extension, length);
    }

    private String readLongName() throws IOException, TarFormatException {
        int length = readExtension();
        return string(extension, 0, length);
    }

    /// Reads the content of an extension header into [#extension]; returns its length.
    private int readExtension() throws IOException, TarFormatException {
        long size = Fields.numeric(block, 124, 12);
        if (size < 0) {
            throw new TarFormatException("an extended header has no valid size");
        }
        int length = reserveExtension(size);
        readInto(extension, length);
        int pad = -length & (BLOCK - 1);
        if (stream.skip(pad) != pad) {
            throw new TarFormatException("the archive ends inside an extended header");
        }
        return length;
    }

    /// Counts bytes of extensions of this entry against the limit.
    private int reserveExtension(long size) throws ImageException {
        if (size > limits.paxBytes() - extensionBytes) {
            throw limits.exceeded(
                    Limits.Key.PAX_BYTES,
                    "%s: extended headers at byte %d".formatted(what, headerOffset));
        }
        extensionBytes += (int) size;
        if (size > extension.length) {
            extension = new byte[(int) size];
        }
        return (int) size;
    }

    private void readInto(byte[] to, int length) throws IOException, TarFormatException {
        int at = 0;
        while (at < length) {
            ByteBuffer view = stream.view(length - at);
            if (!view.hasRemaining()) {
                throw new TarFormatException("the archive ends inside an extended header");
            }
            int count = view.remaining();
            view.get(to, at, count);
            at += count;
        }
    }

    private void fill(
            @Nullable PaxRecords pax, @Nullable String longName, @Nullable String longLink)
            throws IOException, TarFormatException {
        if (++entries > limits.tarEntries()) {
            throw limits.exceeded(Limits.Key.TAR_ENTRIES, what + ": number of entries");
        }
        Format format = format();
        TarEntry e = entry;
        e.clear(headerOffset);
        e.name = string(block, 0, 100);
        e.linkName = string(block, 157, 100);
        // The type bits some writers put above the permissions are in the type already.
        e.mode = (int) number("mode", 100, 8) & 07777;
        e.uid = number("uid", 108, 8);
        e.gid = number("gid", 116, 8);
        e.size = number("size", 124, 12);
        e.mtimeSeconds = number("mtime", 136, 12);
        fillByFormat(e, format);
        if (pax != null) {
            merge(e, pax);
        }
        if (longName != null) {
            e.name = longName;
        }
        if (longLink != null) {
            e.linkName = longLink;
        }
        if (e.size < 0) {
            throw new TarFormatException("wanted a size from 0 on, got " + e.size);
        }
        byte flag = block[156];
        e.type = type(e, flag);
        normaliseTimes(e);
        if (e.type != TarEntry.Type.FILE) {
            // Go's reader and GNU tar agree: these have no content, whatever the field says.
            e.size = 0;
        }
        long padded = e.size;
        contentLeft = e.size;
        if (flag == 'S') {
            e.sparse = readOldSparseMap(e.size);
        } else if (pax != null && pax.sparseForm != 0 && e.type == TarEntry.Type.FILE) {
            e.sparse = completeSparse(pax);
            e.size = contentLeft;
        }
        if (e.sparse != null && e.sparse.realSize() > limits.layerUncompressedBytes()) {
            throw limits.exceeded(
                    Limits.Key.LAYER_UNCOMPRESSED_BYTES,
                    "%s: size of the sparse file %s".formatted(what, quoted(e.name)));
        }
        padding = (int) (-padded & (BLOCK - 1));
        checkNames(e);
    }

    private void checkNames(TarEntry e) throws ImageException {
        if (e.name.length() > limits.nameBytes()) {
            throw limits.exceeded(
                    Limits.Key.NAME_BYTES, "%s: name at byte %d".formatted(what, headerOffset));
        }
        if (e.linkName.length() > limits.linkBytes()) {
            throw limits.exceeded(
                    Limits.Key.LINK_BYTES, "%s: link target of %s".formatted(what, quoted(e.name)));
        }
    }

    private Format format() {
        if (equalsAt(257, "ustar\0")) {
            return equalsAt(508, "tar\0") ? Format.STAR : Format.USTAR;
        }
        return equalsAt(257, "ustar  \0") ? Format.GNU : Format.V7;
    }

    private boolean equalsAt(int at, String text) {
        for (int i = 0; i < text.length(); i++) {
            if (block[at + i] != text.charAt(i)) {
                return false;
            }
        }
        return true;
    }

    private void fillByFormat(TarEntry e, Format format) throws TarFormatException {
        if (format == Format.V7) {
            return;
        }
        e.deviceMajor = number("major", 329, 8);
        e.deviceMinor = number("minor", 337, 8);
        switch (format) {
            case V7 -> {}
            case USTAR -> addPrefix(e, 155);
            case STAR -> {
                addPrefix(e, 131);
                e.atimeSeconds = number("atime", 476, 12);
            }
            case GNU -> {
                long atime = block[345] == 0 ? 0 : Fields.numeric(block, 345, 12);
                if (atime != Fields.INVALID) {
                    e.atimeSeconds = atime;
                } else if (isAscii(345, 155)) {
                    // Go before 1.8 wrote a prefix into headers it marked as GNU's; images have
                    // them.
                    addPrefix(e, 155);
                }
            }
        }
    }

    private void addPrefix(TarEntry e, int length) {
        if (block[345] != 0) {
            e.name = string(block, 345, length) + '/' + e.name;
        }
    }

    private boolean isAscii(int at, int length) {
        for (int i = at; i < at + length && block[i] != 0; i++) {
            if (block[i] < 0) {
                return false;
            }
        }
        return true;
    }

    private void merge(TarEntry e, PaxRecords pax) throws TarFormatException {
        if (pax.path != null) {
            e.name = pax.path;
        }
        if (pax.sparseName != null) {
            e.name = pax.sparseName;
        }
        if (pax.linkPath != null) {
            e.linkName = pax.linkPath;
        }
        if (pax.size != Fields.INVALID) {
            if (e.size != 0 && e.size != pax.size && pax.size < MAX_OCTAL_SIZE) {
                throw new TarFormatException(
                        "ambiguous size: %d in the header, %d in the extended header of %s"
                                .formatted(e.size, pax.size, quoted(e.name)));
            }
            e.size = pax.size;
        }
        if (pax.uid != Fields.INVALID) {
            e.uid = pax.uid;
        }
        if (pax.gid != Fields.INVALID) {
            e.gid = pax.gid;
        }
        if (pax.hasMtime) {
            e.mtimeSeconds = pax.mtimeSeconds;
            e.mtimeNanos = pax.mtimeNanos;
        }
        if (pax.hasAtime) {
            e.atimeSeconds = pax.atimeSeconds;
            e.atimeNanos = pax.atimeNanos;
        }
        if (pax.xattrs != null) {
            for (Map.Entry<String, byte[]> xattr : pax.xattrs.entrySet()) {
                e.xattrs.add(new Xattr(xattr.getKey(), xattr.getValue()));
            }
        }
    }

    private static TarEntry.Type type(TarEntry e, byte flag) throws TarFormatException {
        return switch (flag) {
            case '0', '7', 'S' -> TarEntry.Type.FILE;
            // Archives older than the type for directories mark them by a slash.
            case 0 -> e.name.endsWith("/") ? TarEntry.Type.DIRECTORY : TarEntry.Type.FILE;
            case '1' -> TarEntry.Type.HARD_LINK;
            case '2' -> TarEntry.Type.SYMBOLIC_LINK;
            case '3' -> TarEntry.Type.CHARACTER_DEVICE;
            case '4' -> TarEntry.Type.BLOCK_DEVICE;
            case '5' -> TarEntry.Type.DIRECTORY;
            case '6' -> TarEntry.Type.FIFO;
            default ->
                    throw new TarFormatException(
                            "unknown type 0x%02x of %s".formatted(flag & 0xff, quoted(e.name)));
        };
    }

    /// As containerd does: times before 1970 and after 2262 become 1970, and a file was never read
    /// before it was written.
    private static void normaliseTimes(TarEntry e) {
        if (e.atimeSeconds < e.mtimeSeconds
                || (e.atimeSeconds == e.mtimeSeconds && e.atimeNanos < e.mtimeNanos)) {
            e.atimeSeconds = e.mtimeSeconds;
            e.atimeNanos = e.mtimeNanos;
        }
        if (isOutOfRange(e.mtimeSeconds)) {
            e.mtimeSeconds = 0;
            e.mtimeNanos = 0;
        }
        if (isOutOfRange(e.atimeSeconds)) {
            e.atimeSeconds = 0;
            e.atimeNanos = 0;
        }
    }

    private static boolean isOutOfRange(long seconds) {
        return seconds < 0 || seconds >= Long.MAX_VALUE / 1_000_000_000;
    }

    private SparseMap readOldSparseMap(long stored) throws IOException, TarFormatException {
        SparseMap map = new SparseMap();
        long realSize = number("real size", 483, 12);
        addRegions(map, 386, 4);
        boolean more = block[482] != 0;
        while (more) {
            reserveExtension(BLOCK);
            if (!readBlock()) {
                throw new TarFormatException("the archive ends inside a sparse map");
            }
            addRegions(map, 0, 21);
            more = block[504] != 0;
        }
        map.complete(realSize, stored);
        return map;
    }

    private void addRegions(SparseMap map, int at, int count) throws TarFormatException {
        for (int i = 0; i < count && block[at + 24 * i] != 0; i++) {
            map.add(
                    number("sparse offset", at + 24 * i, 12),
                    number("sparse length", at + 24 * i + 12, 12));
        }
    }

    private SparseMap completeSparse(PaxRecords pax) throws IOException, TarFormatException {
        SparseMap map = pax.sparseMap;
        if (pax.sparseForm == 2) {
            map = readSparseMap();
        }
        if (map == null) {
            map = new SparseMap();
        }
        map.complete(pax.sparseSize, contentLeft);
        return map;
    }

    /// Reads the map at the start of the content: decimal numbers, one per line, padded to a block.
    private SparseMap readSparseMap() throws IOException, TarFormatException {
        SparseMap map = new SparseMap();
        long[] number = new long[1];
        int at = BLOCK;
        long count = -1;
        long offset = -1;
        while (count != 0) {
            at = readLine(at, number);
            if (count < 0) {
                count = number[0];
            } else if (offset < 0) {
                offset = number[0];
            } else {
                map.add(offset, number[0]);
                offset = -1;
                count--;
            }
        }
        return map;
    }

    /// Reads a line of the map from byte `at` of the block, getting more blocks as needed.
    private int readLine(int at, long[] number) throws IOException, TarFormatException {
        long value = -1;
        int i = at;
        while (true) {
            if (i == BLOCK) {
                if (contentLeft < BLOCK) {
                    throw new TarFormatException("the sparse map is longer than the content");
                }
                reserveExtension(BLOCK);
                if (!readBlock()) {
                    throw new TarFormatException("the archive ends inside a sparse map");
                }
                contentLeft -= BLOCK;
                i = 0;
            }
            byte b = block[i++];
            if (b == '\n' && value >= 0) {
                number[0] = value;
                return i;
            }
            int digit = b - '0';
            if (digit < 0 || digit > 9 || value > (Long.MAX_VALUE - digit) / 10) {
                throw new TarFormatException("the sparse map is malformed");
            }
            value = (value < 0 ? 0 : value * 10) + digit;
        }
    }

    private long number(String field, int at, int length) throws TarFormatException {
        long value = Fields.numeric(block, at, length);
        if (value == Fields.INVALID) {
            throw new TarFormatException("the field \"" + field + "\" is not a number");
        }
        return value;
    }

    /// The string up to the first NUL.
    private static String string(byte[] bytes, int at, int maxLength) {
        int end = at;
        while (end < at + maxLength && bytes[end] != 0) {
            end++;
        }
        return FileNames.decode(bytes, at, end - at);
    }
}
