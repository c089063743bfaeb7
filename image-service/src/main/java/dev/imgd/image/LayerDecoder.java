package dev.imgd.image;

import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.registry.RegistryClient.BlobStream;
import dev.imgd.trust.DecryptionKeys;
import dev.imgd.trust.LayerEncryption;
import dev.imgd.trust.LayerSecret;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;

/// Decrypts one layer that somebody else has fetched and will unpack.
///
/// The encrypted layer is put into a file first, because its HMAC is over all of it: nothing is
/// given out before that, its digests and its size are right.
public final class LayerDecoder {
    private static final int BUFFER_BYTES = 256 << 10;

    private LayerDecoder() {}

    /// @param layer as the manifest describes it
    /// @param in the encrypted layer
    /// @param out gets the layer in plain
    /// @param directory for the file
    /// @throws ImageException `PERMISSION_DENIED` when no key fits, `INVALID_CONTENT` or
    ///   `DATA_LOSS` when the layer is not what the manifest describes
    public static void decode(
            Descriptor layer,
            DecryptionKeys.Source keys,
            InputStream in,
            OutputStream out,
            Path directory)
            throws ImageException {
        LayerSecret secret = LayerEncryption.open("decode", layer, keys.load());
        String what = "decode: layer " + layer.digest();
        try {
            Path file = Files.createTempFile(directory, "imgd-decode", null);
            try {
                fill(file, layer, in);
                Digest _ =
                        PlainLayer.verify(
                                what,
                                layer,
                                secret,
                                _ -> LocalBlob.of(FileChannel.open(file), "the input"),
                                Limits.defaults(),
                                () -> {});
                drain(file, secret, out);
            } finally {
                Files.delete(file);
            }
        } catch (IOException e) {
            throw CopyFailures.of(what, e);
        }
    }

    private static void fill(Path file, Descriptor layer, InputStream in) throws IOException {
        try (FileChannel spool = FileChannel.open(file, StandardOpenOption.WRITE);
                VerifiedBlob verified =
                        new VerifiedBlob(
                                layer,
                                _ -> LocalBlob.of(in, "the input"),
                                new AtomicLong(),
                                new AtomicBoolean());
                BlobStream stream = verified.open(0)) {
            ByteBuffer buffer = ByteBuffer.allocateDirect(BUFFER_BYTES);
            while (stream.read(buffer.clear()) >= 0) {
                buffer.flip();
                while (buffer.hasRemaining()) {
                    spool.write(buffer);
                }
            }
        }
    }

    private static void drain(Path file, LayerSecret secret, OutputStream out) throws IOException {
        try (FileChannel spool = FileChannel.open(file);
                LayerCipher cipher = LayerCipher.of(secret, 0)) {
            ByteBuffer buffer = ByteBuffer.allocate(BUFFER_BYTES);
            while (spool.read(buffer.clear()) >= 0) {
                buffer.flip();
                cipher.update(buffer);
                out.write(buffer.array(), 0, buffer.limit());
            }
            out.flush();
        }
    }
}
