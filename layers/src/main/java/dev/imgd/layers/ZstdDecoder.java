package dev.imgd.layers;

import com.github.luben.zstd.ZstdDecompressCtx;
import com.github.luben.zstd.ZstdException;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import java.nio.ByteBuffer;
import java.util.concurrent.Semaphore;

/// Decodes zstd: any number of frames, with skippable frames between them.
///
/// The header of each frame is read here first, so that a window is refused, or waited for, before
/// memory is taken for it. **Source:** RFC 8878 §3.1.
final class ZstdDecoder implements Decoder {
    private static final int MAGIC = 0xfd2fb528;
    private static final int SKIPPABLE_MAGIC = 0x184d2a50;

    /// Magic, descriptor, window, dictionary, content size.
    private static final int MAX_HEADER_BYTES = 4 + 1 + 1 + 4 + 8;

    /// Frames without output cost work but do not count as output; no tool writes many of them.
    private static final int MAX_EMPTY_FRAMES = 100_000;

    /// Windows up to this size are never waited for; every decoder must support it.
    private static final int FREE_WINDOW_LOG = 23;

    /// Memory for larger windows of all layers together, in MiB.
    private static final int WINDOW_MIB = 256;

    private static final Semaphore WINDOWS = new Semaphore(WINDOW_MIB, true);

    private enum Part {
        HEADER,
        SKIP_LENGTH,
        SKIP,
        BODY
    }

    private final String what;
    private final Limits limits;
    private final ZstdDecompressCtx context = new ZstdDecompressCtx();
    private final ByteBuffer header = ByteBuffer.allocateDirect(MAX_HEADER_BYTES);

    private Part part = Part.HEADER;
    private long skipLeft;
    private long frameBytes;
    private long frames;
    private int emptyFrames;
    private int windowMib;

    ZstdDecoder(String what, Limits limits) {
        this.what = what;
        this.limits = limits;
        context.setLongMax(limits.zstdWindowLog());
    }

    private ImageException malformed(String why) {
        return ImageException.invalidContent(
                "%s: malformed zstd data: %s in frame %d".formatted(what, why, frames + 1));
    }

    @Override
    public void decode(ByteBuffer in, ByteBuffer out) throws ImageException {
        while (in.hasRemaining()) {
            switch (part) {
                case HEADER -> header(in);
                case SKIP_LENGTH -> skipLength(in);
                case SKIP -> skip(in);
                case BODY -> {
                    if (!out.hasRemaining() || !body(in, out)) {
                        return;
                    }
                }
            }
        }
        // What is buffered inside the context still has to come out.
        if (part == Part.BODY && out.hasRemaining()) {
            body(in, out);
        }
    }

    /// Decodes; returns whether the frame ended.
    private boolean body(ByteBuffer in, ByteBuffer out) throws ImageException {
        int start = out.position();
        boolean ended = false;
        try {
            // The header was taken out of the input to look at it.
            if (header.hasRemaining()) {
                ended = context.decompressDirectByteBufferStream(out, header);
            }
            if (!ended && !header.hasRemaining()) {
                ended = context.decompressDirectByteBufferStream(out, in);
            }
        } catch (ZstdException e) {
            throw malformed(String.valueOf(e.getMessage()));
        }
        frameBytes += out.position() - start;
        if (ended) {
            endFrame(frameBytes == 0);
        }
        return ended;
    }

    private void endFrame(boolean empty) throws ImageException {
        releaseWindow();
        frames++;
        if (empty && ++emptyFrames > MAX_EMPTY_FRAMES) {
            throw malformed("more than " + MAX_EMPTY_FRAMES + " empty frames");
        }
        part = Part.HEADER;
        header.clear();
    }

    private void header(ByteBuffer in) throws ImageException {
        if (!fill(in, 4)) {
            return;
        }
        int magic = littleEndian(0, 4);
        if ((magic & ~0xf) == SKIPPABLE_MAGIC) {
            part = Part.SKIP_LENGTH;
            return;
        }
        if (magic != MAGIC) {
            throw malformed(
                    "wanted a frame, got the bytes %08x".formatted(Integer.reverseBytes(magic)));
        }
        if (!fill(in, 5)) {
            return;
        }
        int descriptor = header.get(4) & 0xff;
        boolean singleSegment = (descriptor & 0x20) != 0;
        int windowBytes = singleSegment ? 0 : 1;
        int dictionaryBytes = (1 << (descriptor & 3)) >> 1;
        int sizeBytes =
                switch (descriptor >> 6) {
                    case 0 -> singleSegment ? 1 : 0;
                    case 1 -> 2;
                    case 2 -> 4;
                    default -> 8;
                };
        if (!fill(in, 5 + windowBytes + dictionaryBytes + sizeBytes)) {
            return;
        }
        if (littleEndian(5 + windowBytes, dictionaryBytes) != 0) {
            throw malformed("a dictionary is wanted, layers have none");
        }
        if (!singleSegment) {
            reserveWindow(10 + ((header.get(5) & 0xff) >> 3));
        }
        header.flip();
        frameBytes = 0;
        part = Part.BODY;
    }

    private void reserveWindow(int log) throws ImageException {
        if (log > limits.zstdWindowLog()) {
            throw limits.exceeded(
                    Limits.Key.ZSTD_WINDOW_LOG,
                    "%s: the window of frame %d, 2^%d bytes".formatted(what, frames + 1, log));
        }
        if (log > FREE_WINDOW_LOG) {
            // The mantissa adds up to 7/8 to the power of two.
            int mib = Math.min(1 << (log + 1 - 20), WINDOW_MIB);
            try {
                WINDOWS.acquire(mib);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new ImageException(ErrorKind.CANCELLED, what + ": cancelled", e);
            }
            windowMib = mib;
        }
    }

    private void releaseWindow() {
        if (windowMib > 0) {
            WINDOWS.release(windowMib);
            windowMib = 0;
        }
    }

    private void skipLength(ByteBuffer in) throws ImageException {
        if (fill(in, 8)) {
            skipLeft = littleEndian(4, 4) & 0xffffffffL;
            part = Part.SKIP;
            skip(in);
        }
    }

    private void skip(ByteBuffer in) throws ImageException {
        int length = (int) Math.min(skipLeft, in.remaining());
        in.position(in.position() + length);
        skipLeft -= length;
        if (skipLeft == 0) {
            endFrame(true);
        }
    }

    /// Collects bytes in [#header]; returns whether there are `wanted` of them.
    private boolean fill(ByteBuffer in, int wanted) {
        while (header.position() < wanted && in.hasRemaining()) {
            header.put(in.get());
        }
        return header.position() >= wanted;
    }

    private int littleEndian(int at, int length) {
        int value = 0;
        for (int i = 0; i < length; i++) {
            value |= (header.get(at + i) & 0xff) << (8 * i);
        }
        return value;
    }

    @Override
    public void finish() throws ImageException {
        if (part != Part.HEADER || header.position() != 0) {
            throw malformed("it is cut off");
        }
    }

    @Override
    public void close() {
        releaseWindow();
        context.close();
    }
}
