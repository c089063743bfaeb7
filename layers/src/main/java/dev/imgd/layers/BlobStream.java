package dev.imgd.layers;

import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ReadableByteChannel;
import java.nio.channels.SeekableByteChannel;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/// The uncompressed bytes of a blob, seen through a window that moves forward.
///
/// Every byte that enters the window is hashed and counted against the limits before anybody sees
/// it. For one thread; closing returns the buffers and leaves the source open.
final class BlobStream implements AutoCloseable {
    private final String what;
    private final Limits limits;
    private final ReadableByteChannel source;
    private final Buffers buffers;

    /// Compressed bytes between position and limit.
    private final ByteBuffer input;

    /// Uncompressed bytes between position and limit.
    private final ByteBuffer window;

    /// Null when only looked through.
    private final @Nullable Sha256 sha;

    /// The source when what is skipped need not be read.
    private final @Nullable SeekableByteChannel seekable;

    private final Compression compression;
    private final Decoder decoder;
    private final long maxRatio;
    private final Growth growth;
    private boolean sourceEnded;
    private boolean ended;
    private long compressedBytes;
    private long uncompressedBytes;

    /// Where the bytes of the window end; its limit is lower while a view is handed out.
    private int windowEnd;

    /// Opens a blob and reads its first bytes.
    BlobStream(String what, ReadableByteChannel source, Limits limits, Growth growth)
            throws IOException {
        this(what, source, limits, growth, RawInflater::create);
    }

    /// Opens a blob with another inflate engine.
    BlobStream(
            String what,
            ReadableByteChannel source,
            Limits limits,
            Growth growth,
            Function<String, RawInflater> inflaters)
            throws IOException {
        this.what = what;
        this.limits = limits;
        this.growth = growth;
        this.source = source;
        this.seekable = null;
        this.sha = Sha256.create();
        this.buffers = Buffers.take();
        this.input = buffers.input();
        this.window = buffers.window();
        try {
            while (input.remaining() < Compression.MAGIC_BYTES && readMore()) {
                // The magic may arrive in pieces.
            }
            this.compression = Compression.sniff(input);
            this.decoder =
                    switch (compression) {
                        case NONE -> {
                            refuseUnsupported();
                            yield new Decoder.Plain();
                        }
                        case GZIP -> new GzipDecoder(what, inflaters.apply(what));
                        case ZSTD -> new ZstdDecoder(what, limits);
                    };
        } catch (IOException | RuntimeException | Error e) {
            sha.close();
            buffers.give();
            throw e;
        }
        this.maxRatio =
                switch (compression) {
                    case NONE -> Long.MAX_VALUE;
                    case GZIP -> limits.gzipRatio();
                    case ZSTD -> limits.zstdRatio();
                };
    }

    private BlobStream(String what, SeekableByteChannel source, Limits limits) {
        this.what = what;
        this.limits = limits;
        this.growth = Growth.UNWATCHED;
        this.source = source;
        this.seekable = source;
        this.sha = null;
        this.buffers = Buffers.take();
        this.input = buffers.input();
        this.window = buffers.window();
        this.compression = Compression.NONE;
        this.decoder = new Decoder.Plain();
        this.maxRatio = Long.MAX_VALUE;
    }

    /// Opens an uncompressed archive to look through its headers: nothing is hashed, and what is
    /// skipped is not read.
    static BlobStream headersOf(String what, SeekableByteChannel source, Limits limits) {
        return new BlobStream(what, source, limits);
    }

    /// Names what the blob is when it is surely no archive, which says more than a bad tar header.
    private void refuseUnsupported() throws ImageException {
        String format = null;
        if (startsWith(0xfd, '7', 'z', 'X', 'Z', 0)) {
            format = "xz";
        } else if (startsWith('B', 'Z', 'h')) {
            format = "bzip2";
        }
        if (format != null) {
            throw ImageException.invalidContent(
                    "%s: wanted tar, gzip or zstd, got %s; rebuild the image with one of those"
                            .formatted(what, format));
        }
    }

    private boolean startsWith(int... magic) {
        if (input.remaining() < magic.length) {
            return false;
        }
        for (int i = 0; i < magic.length; i++) {
            if (input.get(input.position() + i) != (byte) magic[i]) {
                return false;
            }
        }
        return true;
    }

    Compression compression() {
        return compression;
    }

    /// How many bytes were read from the source.
    long compressedBytes() {
        return compressedBytes;
    }

    /// How many bytes have entered the window.
    long uncompressedBytes() {
        return uncompressedBytes;
    }

    /// The position of the next byte in the uncompressed stream.
    long offset() {
        return uncompressedBytes - (windowEnd - window.position());
    }

    /// Makes at least `wanted` bytes visible, fewer only at the end of the stream.
    ///
    /// @param wanted at most [Buffers#SMALL_BYTES]
    /// @return how many bytes are visible
    int require(int wanted) throws IOException {
        window.limit(windowEnd);
        if (window.remaining() < wanted && !ended) {
            refill();
        }
        return window.remaining();
    }

    /// The window; its position says what was used.
    ByteBuffer window() {
        return window;
    }

    /// The window limited to `max` bytes of what is visible. Valid until the next call of this
    /// object.
    ///
    /// @return empty only at the end of the stream or for `max` 0
    ByteBuffer view(long max) throws IOException {
        int visible = require(1);
        window.limit(window.position() + (int) Math.min(visible, max));
        return window;
    }

    /// Moves forward; returns how many bytes there were, fewer than `count` only at the end.
    long skip(long count) throws IOException {
        long left = count;
        if (seekable != null && left > windowEnd - window.position()) {
            left -= windowEnd - window.position();
            window.limit(windowEnd).position(windowEnd);
            return count - left + seek(seekable, left);
        }
        while (left > 0) {
            ByteBuffer view = view(left);
            if (!view.hasRemaining()) {
                break;
            }
            left -= view.remaining();
            view.position(view.limit());
        }
        return count - left;
    }

    /// Skips what is not in the window: what was read ahead, and then in the source itself.
    private long seek(SeekableByteChannel archive, long count) throws IOException {
        int ahead = (int) Math.min(count, input.remaining());
        input.position(input.position() + ahead);
        long room = Math.max(0, archive.size() - archive.position());
        long jump = Math.min(count - ahead, room);
        if (jump > 0) {
            archive.position(archive.position() + jump);
        }
        uncompressedBytes += ahead + jump;
        return ahead + jump;
    }

    /// Reads to the end and returns the digest of the whole stream.
    Digest drain() throws IOException {
        if (sha == null) {
            throw new IllegalStateException("nothing was hashed");
        }
        skip(Long.MAX_VALUE);
        return sha.digest();
    }

    private void refill() throws IOException {
        window.compact();
        int start = window.position();
        while (window.hasRemaining() && !ended) {
            int inBefore = input.position();
            int outBefore = window.position();
            decoder.decode(input, window);
            if (window.position() != outBefore) {
                checkOutput(uncompressedBytes + window.position() - start);
            } else if (input.position() == inBefore && !readMore()) {
                decoder.finish();
                ended = true;
            }
        }
        windowEnd = window.position();
        uncompressedBytes += windowEnd - start;
        growth.grown(windowEnd - start);
        window.flip().position(start);
        if (sha != null) {
            sha.update(window);
        }
        window.position(0);
    }

    private void checkOutput(long total) throws ImageException {
        if (total > limits.layerUncompressedBytes()) {
            throw limits.exceeded(
                    Limits.Key.LAYER_UNCOMPRESSED_BYTES, what + ": uncompressed size");
        }
        if (total > Limits.RATIO_GRACE_BYTES) {
            long used = compressedBytes - input.remaining();
            if (total / maxRatio > used) {
                throw limits.exceeded(
                        compression == Compression.GZIP
                                ? Limits.Key.GZIP_RATIO
                                : Limits.Key.ZSTD_RATIO,
                        "%s: compression ratio, %d bytes out of %d,".formatted(what, total, used));
            }
        }
    }

    /// Reads once from the source; returns false at its end.
    private boolean readMore() throws IOException {
        if (sourceEnded) {
            return false;
        }
        if (Thread.currentThread().isInterrupted()) {
            throw new ImageException(ErrorKind.CANCELLED, what + ": cancelled");
        }
        input.compact();
        int count = source.read(input);
        input.flip();
        if (count < 0) {
            sourceEnded = true;
            return false;
        }
        compressedBytes += count;
        if (compressedBytes > limits.layerCompressedBytes()) {
            throw limits.exceeded(Limits.Key.LAYER_COMPRESSED_BYTES, what + ": compressed size");
        }
        return true;
    }

    @Override
    public void close() {
        decoder.close();
        if (sha != null) {
            sha.close();
        }
        buffers.give();
    }
}
