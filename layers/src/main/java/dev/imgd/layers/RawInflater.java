package dev.imgd.layers;

import dev.imgd.linux.NativeInflate;
import dev.imgd.model.ImageException;
import java.nio.ByteBuffer;
import java.util.zip.CRC32;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;

/// Inflates one deflate stream after another, without headers and trailers, and computes the CRC-32
/// of the output. For one thread.
///
/// **Source:** RFC 1951.
interface RawInflater extends AutoCloseable {
    /// Inflates until `out` is full, all of `in` is used or the stream ends; `in` is never moved
    /// past the end of the stream. Nothing changes behind the end.
    ///
    /// @return whether the stream ended
    /// @throws ImageException `INVALID_CONTENT` for a malformed stream
    boolean inflate(ByteBuffer in, ByteBuffer out) throws ImageException;

    /// The CRC-32 of this stream's output so far.
    long crc32();

    /// Gets ready for the next stream.
    void reset();

    @Override
    void close();

    /// The fastest engine this host has.
    static RawInflater create(String what) {
        return NativeInflate.available() ? new Isal(what) : new Zlib(what);
    }

    /// The JDK's zlib.
    final class Zlib implements RawInflater {
        private final String what;
        private final Inflater inflater = new Inflater(true);
        private final CRC32 crc = new CRC32();

        Zlib(String what) {
            this.what = what;
        }

        @Override
        public boolean inflate(ByteBuffer in, ByteBuffer out) throws ImageException {
            if (inflater.finished()) {
                return true;
            }
            int start = out.position();
            inflater.setInput(in);
            try {
                inflater.inflate(out);
            } catch (DataFormatException e) {
                throw GzipDecoder.malformed(what, "%s".formatted(e.getMessage()));
            }
            if (inflater.needsDictionary()) {
                throw GzipDecoder.malformed(what, "it wants a preset dictionary");
            }
            crc.update(out.duplicate().flip().position(start));
            return inflater.finished();
        }

        @Override
        public long crc32() {
            return crc.getValue();
        }

        @Override
        public void reset() {
            inflater.reset();
            crc.reset();
        }

        @Override
        public void close() {
            inflater.end();
        }
    }

    /// Intel's ISA-L.
    final class Isal implements RawInflater {
        private final String what;
        private final NativeInflate inflate = new NativeInflate();

        Isal(String what) {
            this.what = what;
        }

        @Override
        public boolean inflate(ByteBuffer in, ByteBuffer out) throws ImageException {
            try {
                return inflate.inflate(in, out) == NativeInflate.Status.FINISHED;
            } catch (ImageException e) {
                throw GzipDecoder.malformed(what, "%s".formatted(e.getMessage()));
            }
        }

        @Override
        public long crc32() {
            return inflate.crc32() & 0xffffffffL;
        }

        @Override
        public void reset() {
            inflate.reset();
        }

        @Override
        public void close() {
            inflate.close();
        }
    }
}
