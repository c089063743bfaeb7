package dev.imgd.layers;

import java.nio.ByteBuffer;
import java.util.concurrent.ArrayBlockingQueue;

/// The two direct buffers of one pass: compressed input, and a window on what comes out, in front
/// of whose bytes there is room for what is left of the window before it. Kept for the next pass:
/// direct memory is freed only by the garbage collector, and clearing new memory costs more than
/// reusing old.
final class Buffers {
    /// The largest piece [BlobStream#require] can make visible.
    static final int SMALL_BYTES = 4096;

    private static final int INPUT_BYTES = 256 * 1024;

    /// Small enough for the second-level cache: inflate writes it, the hash and the kernel read it.
    private static final int WINDOW_BYTES = 256 * 1024;

    private static final int KEPT = 4;
    private static final ArrayBlockingQueue<Buffers> POOL = new ArrayBlockingQueue<>(KEPT);

    private final ByteBuffer input = ByteBuffer.allocateDirect(INPUT_BYTES);
    private final ByteBuffer window = newWindow();

    private Buffers() {}

    /// Takes a pair whose buffers show nothing.
    static Buffers take() {
        Buffers kept = POOL.poll();
        Buffers buffers = kept == null ? new Buffers() : kept;
        buffers.input.position(0).limit(0);
        empty(buffers.window);
        show(buffers.window);
        return buffers;
    }

    static ByteBuffer newWindow() {
        return ByteBuffer.allocateDirect(SMALL_BYTES + WINDOW_BYTES);
    }

    /// Makes room for all bytes that a window holds.
    static void empty(ByteBuffer window) {
        window.clear().position(SMALL_BYTES);
    }

    /// Shows what was put into an empty window.
    static void show(ByteBuffer window) {
        window.flip().position(SMALL_BYTES);
    }

    ByteBuffer input() {
        return input;
    }

    ByteBuffer window() {
        return window;
    }

    /// Gives the pair back; the caller must not use it afterwards.
    void give() {
        POOL.offer(this); // A full pool leaves it to the garbage collector.
    }
}
