package dev.imgd.image;

import dev.imgd.linux.NativeSha256;
import dev.imgd.trust.LayerSecret;
import java.nio.ByteBuffer;
import java.util.Arrays;
import javax.crypto.Mac;

/// The HMAC with SHA-256 of an encrypted layer, with the fastest engine this host has. For one
/// thread. **Source:** RFC 2104.
interface LayerMac extends AutoCloseable {
    /// Takes the remaining bytes; moves the position to the limit.
    void update(ByteBuffer data);

    /// The HMAC of everything so far; ends the use of this object.
    byte[] finish();

    @Override
    void close();

    static LayerMac of(LayerSecret secret) {
        return NativeSha256.available()
                ? secret.lend(0, (key, _) -> new Native(key))
                : new Jdk(secret.mac());
    }

    final class Native implements LayerMac {
        private static final int BLOCK_BYTES = 64;

        private final NativeSha256 inner = new NativeSha256();
        private final NativeSha256 outer = new NativeSha256();

        /// @param key not longer than a block
        Native(byte[] key) {
            pad(inner, key, 0x36);
            pad(outer, key, 0x5c);
        }

        private static void pad(NativeSha256 sha, byte[] key, int with) {
            byte[] block = new byte[BLOCK_BYTES];
            for (int i = 0; i < block.length; i++) {
                block[i] = (byte) ((i < key.length ? key[i] : 0) ^ with);
            }
            sha.update(ByteBuffer.wrap(block));
            Arrays.fill(block, (byte) 0);
        }

        @Override
        public void update(ByteBuffer data) {
            inner.update(data);
        }

        @Override
        public byte[] finish() {
            outer.update(ByteBuffer.wrap(inner.digest()));
            return outer.digest();
        }

        @Override
        public void close() {
            inner.close();
            outer.close();
        }
    }

    final class Jdk implements LayerMac {
        private final Mac mac;

        Jdk(Mac mac) {
            this.mac = mac;
        }

        @Override
        public void update(ByteBuffer data) {
            mac.update(data);
        }

        @Override
        public byte[] finish() {
            return mac.doFinal();
        }

        @Override
        public void close() {}
    }
}
