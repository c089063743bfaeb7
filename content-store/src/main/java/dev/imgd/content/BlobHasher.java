package dev.imgd.content;

import dev.imgd.linux.NativeSha256;
import dev.imgd.model.Digest;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/// A running hash whose state can be saved and restored, which the JDK's digests cannot. For one
/// thread.
sealed interface BlobHasher extends AutoCloseable permits NativeHasher, PortableHasher {
    static BlobHasher start(Digest.Algorithm algorithm) {
        return algorithm == Digest.Algorithm.SHA256 && NativeSha256.available()
                ? new NativeHasher()
                : new PortableHasher(algorithm);
    }

    /// Goes on from [#state]; null when this process cannot, because another engine saved it.
    static @Nullable BlobHasher restore(Digest.Algorithm algorithm, byte[] state) {
        if (state.length == 0) {
            return null;
        }
        return switch (state[0]) {
            case NativeHasher.ENGINE -> NativeHasher.restore(algorithm, state);
            case PortableHasher.ENGINE -> PortableHasher.restore(algorithm, state);
            default -> null;
        };
    }

    Digest.Algorithm algorithm();

    /// Hashes all remaining bytes.
    void update(ByteBuffer bytes);

    /// The state so far, at most [#MAX_STATE_BYTES]; hashing goes on. The first byte names the
    /// engine.
    byte[] state();

    /// The digest of everything hashed so far; hashing goes on.
    Digest digest();

    /// Releases native memory. Idempotent.
    @Override
    void close();

    /// Room for the state of any algorithm and engine.
    int MAX_STATE_BYTES = 768;
}
