package dev.imgd.layers;

import dev.imgd.model.ImageException;
import java.nio.ByteBuffer;

/// A streaming decompressor. For one thread; closing frees native memory.
interface Decoder extends AutoCloseable {
    /// Decodes until `out` is full or all of `in` is used. A call that neither uses input nor makes
    /// output needs more input.
    ///
    /// @param in direct; its position moves past what was used
    /// @param out direct; its position moves past what was made
    /// @throws ImageException `INVALID_CONTENT` for anything but a valid stream
    void decode(ByteBuffer in, ByteBuffer out) throws ImageException;

    /// Checks that the stream may end where it did; called when all input was used.
    ///
    /// @throws ImageException `INVALID_CONTENT` for a stream that was cut off
    void finish() throws ImageException;

    @Override
    void close();

    /// A blob that is not compressed.
    final class Plain implements Decoder {
        @Override
        public void decode(ByteBuffer in, ByteBuffer out) {
            int length = Math.min(in.remaining(), out.remaining());
            out.put(out.position(), in, in.position(), length);
            in.position(in.position() + length);
            out.position(out.position() + length);
        }

        @Override
        public void finish() {}

        @Override
        public void close() {}
    }
}
