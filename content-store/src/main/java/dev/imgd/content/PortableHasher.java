package dev.imgd.content;

import dev.imgd.model.Digest;
import java.nio.ByteBuffer;
import java.util.Arrays;
import org.bouncycastle.crypto.ExtendedDigest;
import org.bouncycastle.crypto.digests.EncodableDigest;
import org.bouncycastle.crypto.digests.SHA256Digest;
import org.bouncycastle.crypto.digests.SHA512Digest;
import org.jspecify.annotations.Nullable;

/// Hashes with Bouncy Castle, on every machine.
final class PortableHasher implements BlobHasher {
    static final byte ENGINE = 'b';

    private static final int COPY_BYTES = 64 << 10;

    private final Digest.Algorithm algorithm;
    private final ExtendedDigest hash;
    private byte @Nullable [] copy;

    PortableHasher(Digest.Algorithm algorithm) {
        this(
                algorithm,
                switch (algorithm) {
                    case SHA256 -> new SHA256Digest();
                    case SHA512 -> new SHA512Digest();
                });
    }

    private PortableHasher(Digest.Algorithm algorithm, ExtendedDigest hash) {
        this.algorithm = algorithm;
        this.hash = hash;
    }

    static @Nullable BlobHasher restore(Digest.Algorithm algorithm, byte[] state) {
        byte[] encoded = Arrays.copyOfRange(state, 1, state.length);
        try {
            return new PortableHasher(
                    algorithm,
                    switch (algorithm) {
                        case SHA256 -> new SHA256Digest(encoded);
                        case SHA512 -> new SHA512Digest(encoded);
                    });
        } catch (IllegalArgumentException | IllegalStateException | IndexOutOfBoundsException e) {
            return null; // Saved by another version of the library; the bytes are hashed again.
        }
    }

    @Override
    public Digest.Algorithm algorithm() {
        return algorithm;
    }

    @Override
    public void update(ByteBuffer bytes) {
        if (bytes.hasArray()) {
            hash.update(bytes.array(), bytes.arrayOffset() + bytes.position(), bytes.remaining());
            bytes.position(bytes.limit());
            return;
        }
        byte[] part = copy;
        if (part == null) {
            part = new byte[COPY_BYTES];
            copy = part;
        }
        while (bytes.hasRemaining()) {
            int n = Math.min(part.length, bytes.remaining());
            bytes.get(part, 0, n);
            hash.update(part, 0, n);
        }
    }

    @Override
    public byte[] state() {
        byte[] encoded = ((EncodableDigest) hash).getEncodedState();
        byte[] state = new byte[encoded.length + 1];
        state[0] = ENGINE;
        System.arraycopy(encoded, 0, state, 1, encoded.length);
        return state;
    }

    @Override
    public Digest digest() {
        ExtendedDigest last =
                switch (hash) {
                    case SHA256Digest d -> new SHA256Digest(d);
                    case SHA512Digest d -> new SHA512Digest(d);
                    default -> throw new AssertionError("made by the constructor: " + hash);
                };
        byte[] value = new byte[algorithm.bytes()];
        last.doFinal(value, 0);
        return Digest.of(algorithm, value);
    }

    @Override
    public void close() {
        // Nothing but heap.
    }
}
