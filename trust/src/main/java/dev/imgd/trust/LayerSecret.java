package dev.imgd.trust;

import dev.imgd.model.Digest;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.util.Arrays;
import javax.crypto.Cipher;
import javax.crypto.Mac;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/// What encrypts one layer: AES-256 in counter mode, and an HMAC with SHA-256 over what comes out.
///
/// The key is only lent, and no message shows it. Immutable. **Source:** ocicrypt's cipher
/// `AES_256_CTR_HMAC_SHA256`.
public final class LayerSecret {
    static final int KEY_BYTES = 32;
    static final int NONCE_BYTES = 16;
    static final int MAC_BYTES = 32;

    private static final int BLOCK_BYTES = 16;
    private static final byte[] NO_MAC = {};
    private static final byte[] TREE =
            "imgd: tree of a decrypted layer\n".getBytes(StandardCharsets.US_ASCII);

    private final byte[] key;
    private final byte[] nonce;
    private final Digest plain;
    private final byte[] mac;

    LayerSecret(byte[] key, byte[] nonce, Digest plain, byte[] mac) {
        this.key = key.clone();
        this.nonce = nonce.clone();
        this.plain = plain;
        this.mac = mac.clone();
    }

    /// A fresh one, for a layer that is to be encrypted.
    ///
    /// @param plain the digest of the layer as it is
    public static LayerSecret create(Digest plain) {
        SecureRandom random = new SecureRandom();
        byte[] key = new byte[KEY_BYTES];
        byte[] nonce = new byte[NONCE_BYTES];
        random.nextBytes(key);
        random.nextBytes(nonce);
        return new LayerSecret(key, nonce, plain, NO_MAC);
    }

    /// The digest of the blob before encryption; or of what it decompresses to, where it was
    /// compressed and encrypted in one go.
    public Digest plain() {
        return plain;
    }

    /// Sets something up with the key.
    ///
    /// @param <T> what is set up
    @FunctionalInterface
    public interface KeyUser<T> {
        /// @param key a copy that is overwritten when this returns
        /// @param counter the first counter block
        T use(byte[] key, byte[] counter);
    }

    /// Lends the key, for a cipher or an HMAC that the JDK has not.
    ///
    /// @param offset of the byte of the layer from whose block on the cipher is to run
    public <T> T lend(long offset, KeyUser<T> user) {
        byte[] copy = key.clone();
        try {
            return user.use(copy, counter(offset));
        } finally {
            Arrays.fill(copy, (byte) 0);
        }
    }

    private byte[] counter(long offset) {
        byte[] counter = new byte[BLOCK_BYTES];
        byte[] sum =
                new BigInteger(1, nonce)
                        .add(BigInteger.valueOf(offset / BLOCK_BYTES))
                        .toByteArray();
        // A carry out of the highest byte is lost, as in the cipher itself.
        int size = Math.min(sum.length, BLOCK_BYTES);
        System.arraycopy(sum, sum.length - size, counter, BLOCK_BYTES - size, size);
        return counter;
    }

    /// Encrypts and decrypts, which is the same, from byte `offset` of the layer on.
    public Cipher cipher(long offset) {
        try {
            Cipher cipher = Cipher.getInstance("AES/CTR/NoPadding");
            cipher.init(
                    Cipher.ENCRYPT_MODE,
                    new SecretKeySpec(key, "AES"),
                    new IvParameterSpec(counter(offset)));
            int skipped = (int) (offset % BLOCK_BYTES);
            if (skipped > 0) {
                var _ = cipher.update(new byte[skipped]);
            }
            return cipher;
        } catch (GeneralSecurityException e) {
            throw new AssertionError("every JDK has AES in counter mode", e);
        }
    }

    /// Computes the HMAC of the encrypted layer.
    public Mac mac() {
        try {
            Mac hmac = Mac.getInstance("HmacSHA256");
            hmac.init(new SecretKeySpec(key, "HmacSHA256"));
            return hmac;
        } catch (GeneralSecurityException e) {
            throw new AssertionError("every JDK has HMAC with SHA-256", e);
        }
    }

    /// Whether that is the HMAC which the image states.
    public boolean authentic(byte[] computed) {
        return MessageDigest.isEqual(mac, computed);
    }

    /// Names the tree of the decrypted layer. Only who can open an envelope of the layer can
    /// compute it, because the key goes into it, and nobody can compute the key from it. It is a
    /// SHA-512 digest, which no layer that is not encrypted is known by.
    ///
    /// @param diffId of the layer
    /// @param blob the digest of the encrypted layer
    public Digest tree(Digest diffId, Digest blob) {
        try {
            MessageDigest sha = MessageDigest.getInstance("SHA-512");
            sha.update(TREE);
            sha.update(key);
            sha.update(nonce);
            sha.update((diffId + "\n" + blob + "\n" + plain).getBytes(StandardCharsets.US_ASCII));
            return Digest.of(Digest.Algorithm.SHA512, sha.digest());
        } catch (GeneralSecurityException e) {
            throw new AssertionError("every JDK has SHA-512", e);
        }
    }

    byte[] key() {
        return key;
    }

    byte[] nonce() {
        return nonce;
    }

    /// Without the key.
    @Override
    public String toString() {
        return "the secret of the layer that is " + plain + " when decrypted";
    }
}
