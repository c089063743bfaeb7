package dev.imgd.content;

import dev.imgd.linux.NativeSha256;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/// SHA-256 by the system's libcrypto: fast from the first byte of a cold process.
final class NativeHasher implements BlobHasher {
    static final byte ENGINE = 'n';

    private final NativeSha256 hash;

    NativeHasher() {
        this(new NativeSha256());
    }

    private NativeHasher(NativeSha256 hash) {
        this.hash = hash;
    }

    static @Nullable BlobHasher restore(Digest.Algorithm algorithm, byte[] state) {
        if (algorithm != Digest.Algorithm.SHA256 || !NativeSha256.available()) {
            return null;
        }
        try {
            byte[] saved = Arrays.copyOfRange(state, 1, state.length);
            return new NativeHasher(NativeSha256.restore(saved));
        } catch (ImageException notAState) {
            return null;
        }
    }

    @Override
    public Digest.Algorithm algorithm() {
        return Digest.Algorithm.SHA256;
    }

    @Override
    public void update(ByteBuffer bytes) {
        hash.update(bytes);
    }

    @Override
    public byte[] state() {
        byte[] saved = hash.saveState();
        byte[] state = new byte[saved.length + 1];
        state[0] = ENGINE;
        System.arraycopy(saved, 0, state, 1, saved.length);
        return state;
    }

    @Override
    public Digest digest() {
        return Digest.of(Digest.Algorithm.SHA256, hash.digest());
    }

    @Override
    public void close() {
        hash.close();
    }
}
