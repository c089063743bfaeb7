package dev.imgd.layers;

import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ReadableByteChannel;
import java.nio.channels.WritableByteChannel;

/// Takes the compression off a whole blob, with the decoders that layers are read with.
public final class Decompression {
    private static final int PIECE_BYTES = 256 << 10;

    private Decompression() {}

    /// Copies the content of `source`, whose compression its first bytes decide.
    ///
    /// @param what names the source in errors
    /// @param source read to its end; not closed
    /// @param target written in pieces; not closed
    /// @param limits of the formats; those on the size of a layer do not apply
    /// @param growth decides how large the content may get
    /// @return how many bytes were written
    /// @throws ImageException `INVALID_CONTENT` for a malformed or cut-off stream,
    ///   `LIMIT_EXCEEDED`, `CANCELLED` when interrupted
    /// @throws IOException of the channels
    public static long copy(
            String what,
            ReadableByteChannel source,
            WritableByteChannel target,
            Limits limits,
            Growth growth)
            throws IOException {
        Limits whole =
                limits.with(
                                Limits.Key.LAYER_COMPRESSED_BYTES,
                                Limits.Key.LAYER_COMPRESSED_BYTES.max())
                        .with(
                                Limits.Key.LAYER_UNCOMPRESSED_BYTES,
                                Limits.Key.LAYER_UNCOMPRESSED_BYTES.max());
        try (BlobStream stream = new BlobStream(what, source, whole, growth, Assistant.NONE)) {
            long written = 0;
            while (true) {
                ByteBuffer piece = stream.view(PIECE_BYTES);
                if (!piece.hasRemaining()) {
                    return written;
                }
                while (piece.hasRemaining()) {
                    written += target.write(piece);
                }
            }
        }
    }
}
