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
/// Every byte that enters the window was hashed and counted against the limits before. For one
/// thread; closing returns the buffers and leaves the source open.
final class BlobStream implements AutoCloseable {
    private final String what;
    private final Buffers buffers;
    private final Inflow inflow;
    private final InflowAhead ahead;

    /// The source when what is skipped need not be read.
    private final @Nullable SeekableByteChannel seekable;

    /// Uncompressed bytes between position and limit.
    private ByteBuffer window;

    /// Where the bytes of the window end; its limit is lower while a view is handed out.
    private int windowEnd;

    /// The position of the end of the window in the uncompressed stream.
    private long windowEndOffset;

    /// Whether nothing is behind the window.
    private boolean ended;

    /// Opens a blob and reads its first bytes.
    BlobStream(
            String what,
            ReadableByteChannel source,
            Limits limits,
            Growth growth,
            Assistant assistant)
            throws IOException {
        this(what, source, limits, growth, assistant, RawInflater::create);
    }

    /// Opens a blob with another inflate engine.
    BlobStream(
            String what,
            ReadableByteChannel source,
            Limits limits,
            Growth growth,
            Assistant assistant,
            Function<String, RawInflater> inflaters)
            throws IOException {
        this.what = what;
        this.seekable = null;
        this.buffers = Buffers.take();
        this.window = buffers.window();
        this.windowEnd = window.limit();
        try {
            this.inflow = new Inflow(what, source, buffers.input(), limits, growth, inflaters);
        } catch (IOException | RuntimeException | Error e) {
            buffers.give();
            throw e;
        }
        this.ahead = new InflowAhead(inflow, assistant);
    }

    private BlobStream(String what, SeekableByteChannel source, Limits limits) {
        this.what = what;
        this.seekable = source;
        this.buffers = Buffers.take();
        this.window = buffers.window();
        this.windowEnd = window.limit();
        this.inflow = Inflow.plain(what, source, buffers.input(), limits);
        this.ahead = new InflowAhead(inflow, Assistant.NONE);
    }

    /// Opens an uncompressed archive to look through its headers: nothing is hashed, and what is
    /// skipped is not read.
    static BlobStream headersOf(String what, SeekableByteChannel source, Limits limits) {
        return new BlobStream(what, source, limits);
    }

    Compression compression() {
        return inflow.compression();
    }

    /// How many bytes the blob has; only behind the end.
    long compressedBytes() {
        return inflow.compressedBytes();
    }

    /// How many bytes were seen so far, up to the end of the window.
    long uncompressedBytes() {
        return windowEndOffset;
    }

    /// The position of the next byte in the uncompressed stream.
    long offset() {
        return windowEndOffset - (windowEnd - window.position());
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
        int input = inflow.skipInput(count);
        long room = Math.max(0, archive.size() - archive.position());
        long jump = Math.min(count - input, room);
        if (jump > 0) {
            archive.position(archive.position() + jump);
        }
        inflow.skipped(input + jump);
        windowEndOffset += input + jump;
        return input + jump;
    }

    /// Reads to the end and returns the digest of the whole stream.
    Digest drain() throws IOException {
        skip(Long.MAX_VALUE);
        return inflow.digest();
    }

    /// Moves on to the next window, and takes along what is left of this one.
    private void refill() throws IOException {
        if (Thread.currentThread().isInterrupted()) {
            throw new ImageException(ErrorKind.CANCELLED, what + ": cancelled");
        }
        int left = window.remaining();
        ByteBuffer next = ahead.next();
        if (next != null) {
            carry(next);
        } else if (inflow.ended()) {
            ended = true;
            return;
        } else {
            next = buffers.window();
            // Before it is filled, because it may be the window itself.
            carry(next);
            Buffers.empty(next);
            inflow.fill(next);
            Buffers.show(next);
        }
        window = next;
        windowEnd = next.limit();
        windowEndOffset += next.remaining();
        next.position(next.position() - left);
        ahead.proceed();
    }

    /// Puts what is left of the window in front of the bytes of the next one.
    private void carry(ByteBuffer next) {
        int left = window.remaining();
        next.put(Buffers.SMALL_BYTES - left, window, window.position(), left);
    }

    @Override
    public void close() {
        ahead.close();
        inflow.close();
        buffers.give();
    }
}
