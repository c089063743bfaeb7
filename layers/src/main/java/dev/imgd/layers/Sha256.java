package dev.imgd.layers;

import dev.imgd.linux.NativeSha256;
import dev.imgd.model.Digest;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/// SHA-256 of direct buffers with the fastest engine this host has. For one thread.
interface Sha256 extends AutoCloseable {
    /// Hashes the remaining bytes; moves the position to the limit.
    void update(ByteBuffer data);

    /// The digest of everything so far; ends the use of this object.
    Digest digest();

    @Override
    void close();

    /// libcrypto is fast from the first byte on; the JDK's needs the optimising compiler.
    static Sha256 create() {
        return NativeSha256.available() ? new Native() : new Jdk();
    }

    final class Native implements Sha256 {
        private final NativeSha256 sha = new NativeSha256();

        @Override
        public void update(ByteBuffer data) {
            sha.update(data);
        }

        @Override
        public Digest digest() {
            return Digest.of(Digest.Algorithm.SHA256, sha.digest());
        }

        @Override
        public void close() {
            sha.close();
        }
    }

    final class Jdk implements Sha256 {
        private final MessageDigest sha;

        Jdk() {
            try {
                sha = MessageDigest.getInstance(Digest.Algorithm.SHA256.jcaName());
            } catch (NoSuchAlgorithmException e) {
                throw new AssertionError("every JDK has SHA-256", e);
            }
        }

        @Override
        public void update(ByteBuffer data) {
            sha.update(data);
        }

        @Override
        public Digest digest() {
            return Digest.of(Digest.Algorithm.SHA256, sha.digest());
        }

        @Override
        public void close() {}
    }
}
