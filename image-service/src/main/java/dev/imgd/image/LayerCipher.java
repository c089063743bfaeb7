package dev.imgd.image;

import dev.imgd.linux.NativeAesCtr;
import dev.imgd.trust.LayerSecret;
import java.nio.ByteBuffer;
import java.security.GeneralSecurityException;
import javax.crypto.Cipher;

/// The cipher of an encrypted layer with the fastest engine this host has, in place. For one
/// thread.
interface LayerCipher extends AutoCloseable {
    /// Encrypts or decrypts, which is the same, the remaining bytes of a buffer that can be
    /// written. Its position stays.
    void update(ByteBuffer data);

    @Override
    void close();

    /// @param offset of the byte of the layer that comes first
    static LayerCipher of(LayerSecret secret, long offset) {
        if (!NativeAesCtr.available()) {
            return new Jdk(secret.cipher(offset));
        }
        LayerCipher cipher =
                secret.lend(offset, (key, counter) -> new Native(new NativeAesCtr(key, counter)));
        cipher.update(ByteBuffer.allocateDirect((int) (offset % Native.BLOCK_BYTES)));
        return cipher;
    }

    final class Native implements LayerCipher {
        private static final int BLOCK_BYTES = 16;
        private static final int SCRATCH_BYTES = 64 << 10;

        private final NativeAesCtr cipher;
        private final ByteBuffer scratch = ByteBuffer.allocateDirect(SCRATCH_BYTES);

        Native(NativeAesCtr cipher) {
            this.cipher = cipher;
        }

        @Override
        public void update(ByteBuffer data) {
            if (data.isDirect()) {
                cipher.update(data);
                return;
            }
            for (int at = data.position(); at < data.limit(); at += scratch.limit()) {
                int size = Math.min(scratch.capacity(), data.limit() - at);
                scratch.clear().put(0, data, at, size).limit(size);
                cipher.update(scratch);
                data.put(at, scratch, 0, size);
            }
        }

        @Override
        public void close() {
            cipher.close();
        }
    }

    final class Jdk implements LayerCipher {
        private final Cipher cipher;

        Jdk(Cipher cipher) {
            this.cipher = cipher;
        }

        @Override
        public void update(ByteBuffer data) {
            byte[] bytes = new byte[data.remaining()];
            data.get(data.position(), bytes);
            try {
                // A stream cipher gives as much as it gets.
                cipher.update(bytes, 0, bytes.length, bytes, 0);
            } catch (GeneralSecurityException e) {
                throw new AssertionError("an array of the same size", e);
            }
            data.put(data.position(), bytes);
        }

        @Override
        public void close() {}
    }
}
