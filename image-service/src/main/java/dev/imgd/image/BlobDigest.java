package dev.imgd.image;

import dev.imgd.linux.NativeSha256;
import dev.imgd.model.Digest;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/// The digest of a blob with the fastest engine this host has. For one thread.
interface BlobDigest extends AutoCloseable {
    /// Takes the remaining bytes; moves the position to the limit.
    void update(ByteBuffer data);

    /// The digest of everything so far; ends the use of this object.
    Digest finish();

    @Override
    void close();

    static BlobDigest of(Digest.Algorithm algorithm) {
        return algorithm == Digest.Algorithm.SHA256 && NativeSha256.available()
                ? new Native()
                : new Jdk(algorithm);
    }

    final class Native implements BlobDigest {
        private final NativeSha256 sha = new NativeSha256();

        @Override
        public void update(ByteBuffer data) {
            sha.update(data);
        }

        @Override
        public Digest finish() {
            return Digest.of(Digest.Algorithm.SHA256, sha.digest());
        }

        @Override
        public void close() {
            sha.close();
        }
    }

    final class Jdk implements BlobDigest {
        private final Digest.Algorithm algorithm;
        private final MessageDigest digest;

        Jdk(Digest.Algorithm algorithm) {
            this.algorithm = algorithm;
            try {
                digest = MessageDigest.getInstance(algorithm.jcaName());
            } catch (NoSuchAlgorithmException e) {
                throw new AssertionError("every JDK has " + algorithm, e);
            }
        }

        @Override
        public void update(ByteBuffer data) {
            digest.update(data);
        }

        @Override
        public Digest finish() {
            return Digest.of(algorithm, digest.digest());
        }

        @Override
        public void close() {}
    }
}
