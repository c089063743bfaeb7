package dev.imgd.layers;

import dev.imgd.model.ImageException;
import java.nio.ByteBuffer;
import java.util.zip.CRC32;

/// Decodes gzip: any number of members, each with its checksum and its length verified.
///
/// ```text
/// 1f 8b 08 FLG MTIME(4) XFL OS [XLEN(2) extra] [name 0] [comment 0] [CRC16]
/// deflate CRC32(4) ISIZE(4)
/// ```
///
/// Behind the last member only zero bytes may follow, which is how tapes and some tools pad.
/// **Source:** RFC 1952.
final class GzipDecoder implements Decoder {
    private static final int FHCRC = 2;
    private static final int FEXTRA = 4;
    private static final int FNAME = 8;
    private static final int FCOMMENT = 16;
    private static final int RESERVED = 0xe0;

    /// Members without output cost work but do not count as output; no tool writes many of them.
    private static final int MAX_EMPTY_MEMBERS = 100_000;

    /// What the next byte belongs to, in the order of a member.
    private enum Part {
        /// Between members, at the start of the blob too.
        BOUNDARY,
        FIXED,
        EXTRA_LENGTH,
        EXTRA,
        NAME,
        COMMENT,
        HEADER_CRC,
        BODY,
        TRAILER,
        PADDING
    }

    private final String what;
    private final RawInflater inflater;
    private final CRC32 headerCrc = new CRC32();

    /// The bytes of the current part of a header or trailer, as far as they arrived.
    private final byte[] pending = new byte[10];

    private Part part = Part.BOUNDARY;
    private int pendingBytes;
    private int flags;
    private int extraLeft;
    private long memberBytes;
    private int members;
    private int emptyMembers;

    GzipDecoder(String what, RawInflater inflater) {
        this.what = what;
        this.inflater = inflater;
    }

    static ImageException malformed(String what, String why) {
        return ImageException.invalidContent(what + ": malformed gzip data: " + why);
    }

    @Override
    public void decode(ByteBuffer in, ByteBuffer out) throws ImageException {
        while (in.hasRemaining()) {
            if (part == Part.BODY) {
                if (!body(in, out)) {
                    return;
                }
            } else {
                frame(in);
            }
        }
        // What is buffered inside the inflater still has to come out.
        if (part == Part.BODY && out.hasRemaining()) {
            body(in, out);
        }
    }

    /// Inflates; returns false when `out` is full or more input is needed.
    private boolean body(ByteBuffer in, ByteBuffer out) throws ImageException {
        int start = out.position();
        boolean ended = inflater.inflate(in, out);
        memberBytes += out.position() - start;
        if (ended) {
            part = Part.TRAILER;
        }
        return ended;
    }

    private void frame(ByteBuffer in) throws ImageException {
        switch (part) {
            case BOUNDARY -> boundary(in);
            case FIXED -> fixed(in);
            case EXTRA_LENGTH -> {
                if (fill(in, 2)) {
                    headerCrc.update(pending, 0, 2);
                    extraLeft = (pending[0] & 0xff) | (pending[1] & 0xff) << 8;
                    enter(Part.EXTRA);
                }
            }
            case EXTRA -> extra(in);
            case NAME -> string(in, Part.COMMENT);
            case COMMENT -> string(in, Part.HEADER_CRC);
            case HEADER_CRC -> headerCrc(in);
            case TRAILER -> trailer(in);
            case PADDING -> padding(in);
            case BODY -> throw new IllegalStateException("the body is not framing");
        }
    }

    /// Moves on to a part, or to the first part behind it that the header has.
    private void enter(Part wanted) {
        pendingBytes = 0;
        Part next = wanted;
        if (next == Part.EXTRA_LENGTH && (flags & FEXTRA) == 0) {
            next = Part.NAME;
        }
        if (next == Part.EXTRA && extraLeft == 0) {
            next = Part.NAME;
        }
        if (next == Part.NAME && (flags & FNAME) == 0) {
            next = Part.COMMENT;
        }
        if (next == Part.COMMENT && (flags & FCOMMENT) == 0) {
            next = Part.HEADER_CRC;
        }
        if (next == Part.HEADER_CRC && (flags & FHCRC) == 0) {
            next = Part.BODY;
        }
        part = next;
    }

    private void boundary(ByteBuffer in) {
        if (members > 0 && in.get(in.position()) == 0) {
            part = Part.PADDING;
        } else {
            enter(Part.FIXED);
        }
    }

    private void fixed(ByteBuffer in) throws ImageException {
        if (!fill(in, 10)) {
            return;
        }
        if (pending[0] != 0x1f || pending[1] != (byte) 0x8b) {
            throw malformed(what, "there is something else behind member " + members);
        }
        if (pending[2] != 8) {
            throw malformed(what, "wanted compression method 8, got " + (pending[2] & 0xff));
        }
        flags = pending[3] & 0xff;
        if ((flags & RESERVED) != 0) {
            throw malformed(what, "reserved header flags are set");
        }
        headerCrc.reset();
        headerCrc.update(pending, 0, 10);
        memberBytes = 0;
        members++;
        if (members > 1) {
            inflater.reset();
        }
        enter(Part.EXTRA_LENGTH);
    }

    private void extra(ByteBuffer in) {
        int length = Math.min(extraLeft, in.remaining());
        int limit = in.limit();
        in.limit(in.position() + length);
        headerCrc.update(in);
        in.limit(limit);
        extraLeft -= length;
        if (extraLeft == 0) {
            enter(Part.NAME);
        }
    }

    private void string(ByteBuffer in, Part next) {
        int limit = in.limit();
        int at = in.position();
        while (at < limit && in.get(at) != 0) {
            at++;
        }
        boolean ended = at < limit;
        in.limit(ended ? at + 1 : at);
        headerCrc.update(in);
        in.limit(limit);
        if (ended) {
            enter(next);
        }
    }

    private void headerCrc(ByteBuffer in) throws ImageException {
        if (fill(in, 2)) {
            int stored = (pending[0] & 0xff) | (pending[1] & 0xff) << 8;
            if (stored != (headerCrc.getValue() & 0xffff)) {
                throw malformed(what, "the header's checksum is wrong in member " + members);
            }
            enter(Part.BODY);
        }
    }

    private void trailer(ByteBuffer in) throws ImageException {
        if (!fill(in, 8)) {
            return;
        }
        long crc = inflater.crc32();
        if (littleEndian(0) != crc) {
            throw malformed(
                    what,
                    "wanted CRC %08x, got %08x in member %d"
                            .formatted(littleEndian(0), crc, members));
        }
        if (littleEndian(4) != (memberBytes & 0xffffffffL)) {
            throw malformed(
                    what,
                    "wanted %d bytes, got %d in member %d"
                            .formatted(littleEndian(4), memberBytes & 0xffffffffL, members));
        }
        if (memberBytes == 0 && ++emptyMembers > MAX_EMPTY_MEMBERS) {
            throw malformed(what, "it has more than " + MAX_EMPTY_MEMBERS + " empty members");
        }
        part = Part.BOUNDARY;
    }

    private void padding(ByteBuffer in) throws ImageException {
        while (in.hasRemaining()) {
            if (in.get() != 0) {
                throw malformed(what, "there is something else behind member " + members);
            }
        }
    }

    @Override
    public void finish() throws ImageException {
        if (part != Part.PADDING && (part != Part.BOUNDARY || members == 0)) {
            throw malformed(what, "it is cut off in member " + Math.max(members, 1));
        }
    }

    /// Collects bytes of a part in [#pending]; returns whether all are there.
    private boolean fill(ByteBuffer in, int wanted) {
        int length = Math.min(wanted - pendingBytes, in.remaining());
        in.get(pending, pendingBytes, length);
        pendingBytes += length;
        if (pendingBytes < wanted) {
            return false;
        }
        pendingBytes = 0;
        return true;
    }

    private long littleEndian(int at) {
        return (pending[at] & 0xffL)
                | (pending[at + 1] & 0xffL) << 8
                | (pending[at + 2] & 0xffL) << 16
                | (pending[at + 3] & 0xffL) << 24;
    }

    @Override
    public void close() {
        inflater.close();
    }
}
