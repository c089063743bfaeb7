package dev.imgd.image;

import dev.imgd.layers.Decompression;
import dev.imgd.layers.Growth;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.DigestMismatchException;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.registry.RegistryClient.BlobStream;
import dev.imgd.registry.RegistryWriter.BlobSource;
import dev.imgd.trust.LayerSecret;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ReadableByteChannel;
import java.nio.channels.WritableByteChannel;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;

/// Finds out whether an encrypted layer is what its manifest and its envelope say, without giving
/// anything of it out.
final class PlainLayer {
    private static final int BUFFER_BYTES = 256 << 10;

    private final String what;
    private final Descriptor layer;
    private final LayerSecret secret;
    private final BlobSource bytes;
    private final Limits limits;
    private final Check check;

    private PlainLayer(
            String what,
            Descriptor layer,
            LayerSecret secret,
            BlobSource bytes,
            Limits limits,
            Check check) {
        this.what = what;
        this.layer = layer;
        this.secret = secret;
        this.bytes = bytes;
        this.limits = limits;
        this.check = check;
    }

    /// Reads the layer once; twice when the envelope states the digest of what the layer
    /// decompresses to, as tools do that compress and encrypt in one go.
    ///
    /// @param what the layer, for messages
    /// @param bytes the encrypted layer
    /// @param limits of what it decompresses to
    /// @param check asked now and then whether to go on
    /// @return the digest of the decrypted layer
    /// @throws ImageException `INVALID_CONTENT` for a wrong HMAC, else `DATA_LOSS` when the content
    ///   is not what was encrypted
    static Digest verify(
            String what,
            Descriptor layer,
            LayerSecret secret,
            BlobSource bytes,
            Limits limits,
            Check check)
            throws ImageException {
        PlainLayer plain = new PlainLayer(what, layer, secret, bytes, limits, check);
        Digest digest = plain.digest();
        if (!digest.equals(secret.plain())) {
            plain.requireContent(digest);
        }
        return digest;
    }

    private Digest digest() throws ImageException {
        try (LayerMac mac = LayerMac.of(secret);
                LayerCipher cipher = LayerCipher.of(secret, 0);
                BlobDigest digest = BlobDigest.of(secret.plain().algorithm())) {
            read(
                    what,
                    layer,
                    bytes,
                    check,
                    buffer -> {
                        mac.update(buffer.duplicate());
                        cipher.update(buffer);
                        digest.update(buffer);
                    });
            DecryptedBlob.require(what, secret, mac.finish());
            return digest.finish();
        }
    }

    /// Reads a layer to its end, its digest checked.
    static void read(
            String what, Descriptor layer, BlobSource bytes, Check check, Consumer<ByteBuffer> sink)
            throws ImageException {
        try (VerifiedBlob verified =
                        new VerifiedBlob(layer, bytes, new AtomicLong(), new AtomicBoolean());
                BlobStream stream = verified.open(0)) {
            ByteBuffer buffer = ByteBuffer.allocateDirect(BUFFER_BYTES);
            while (stream.read(buffer.clear()) >= 0) {
                check.run();
                sink.accept(buffer.flip());
            }
        } catch (IOException e) {
            throw CopyFailures.of(what, e);
        }
    }

    private void requireContent(Digest blob) throws ImageException {
        AtomicLong size = new AtomicLong();
        Growth growth =
                more -> {
                    check.run();
                    limits.check(
                            Limits.Key.LAYER_UNCOMPRESSED_BYTES,
                            what + ": uncompressed size",
                            size.addAndGet(more));
                };
        try (LayerCipher cipher = LayerCipher.of(secret, 0);
                BlobDigest content = BlobDigest.of(secret.plain().algorithm());
                BlobStream stream = bytes.open(0)) {
            long _ =
                    Decompression.copy(
                            what, new Plain(stream, cipher), new Sink(content), limits, growth);
            if (!content.finish().equals(secret.plain())) {
                throw new DigestMismatchException(
                        what + ", decrypted", secret.plain(), blob, layer.sizeBytes());
            }
        } catch (ImageException e) {
            if (e.kind() != ErrorKind.INVALID_CONTENT) {
                throw e;
            }
            // Not a layer at all, which the digest says better.
            throw new DigestMismatchException(
                    what + ", decrypted", secret.plain(), blob, layer.sizeBytes());
        } catch (IOException e) {
            throw CopyFailures.of(what, e);
        }
    }

    /// What a stream gives, decrypted.
    private record Plain(BlobStream stream, LayerCipher cipher) implements ReadableByteChannel {
        @Override
        public int read(ByteBuffer into) throws IOException {
            int start = into.position();
            int count = stream.read(into);
            if (count > 0) {
                cipher.update(into.duplicate().position(start).limit(start + count));
            }
            return count;
        }

        @Override
        public boolean isOpen() {
            return true;
        }

        @Override
        public void close() {}
    }

    private record Sink(BlobDigest digest) implements WritableByteChannel {
        @Override
        public int write(ByteBuffer from) {
            int count = from.remaining();
            digest.update(from);
            return count;
        }

        @Override
        public boolean isOpen() {
            return true;
        }

        @Override
        public void close() {}
    }
}
