package dev.imgd.image;

import dev.imgd.model.Digest;
import dev.imgd.model.DigestMismatchException;
import dev.imgd.model.ImageException;
import dev.imgd.trust.LayerSecret;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.ReadableByteChannel;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import javax.crypto.Cipher;
import javax.crypto.Mac;

/// An encrypted layer of the store in plain.
///
/// The first read computes the HMAC of the whole file; not one byte is given out before that is
/// right. The end of the stream comes only when what was given out has the digest that the image
/// states for it. For one thread.
final class DecryptedBlob implements ReadableByteChannel {
    private static final int BUFFER_BYTES = 256 << 10;

    private final String what;
    private final FileChannel file;
    private final LayerSecret secret;
    private final Check check;
    private final ByteBuffer buffer = ByteBuffer.allocate(BUFFER_BYTES);
    private final Cipher cipher;
    private final MessageDigest digest;
    private boolean authentic;
    private boolean ended;
    private long size;

    /// @param file the encrypted layer from its beginning; closed with this
    /// @param check asked before each read whether to go on
    DecryptedBlob(String what, FileChannel file, LayerSecret secret, Check check) {
        this.what = what;
        this.file = file;
        this.secret = secret;
        this.check = check;
        this.cipher = secret.cipher(0);
        this.digest = digest(secret.plain().algorithm());
    }

    private static MessageDigest digest(Digest.Algorithm algorithm) {
        try {
            return MessageDigest.getInstance(algorithm.jcaName());
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError("every JDK has " + algorithm, e);
        }
    }

    @Override
    public int read(ByteBuffer into) throws IOException {
        if (!authentic) {
            authenticate();
        }
        if (ended) {
            return -1;
        }
        check.run();
        buffer.clear().limit(Math.min(buffer.capacity(), into.remaining()));
        int count = file.read(buffer);
        if (count < 0) {
            verify();
            ended = true;
            return -1;
        }
        buffer.flip();
        try {
            // A stream cipher gives as much as it gets.
            byte[] bytes = buffer.array();
            cipher.update(bytes, 0, count, bytes, 0);
        } catch (GeneralSecurityException e) {
            throw new AssertionError("a buffer of the same size", e);
        }
        digest.update(buffer.array(), 0, count);
        into.put(buffer);
        size += count;
        return count;
    }

    private void authenticate() throws IOException {
        Mac mac = secret.mac();
        long at = 0;
        for (int n = file.read(buffer.clear(), at); n >= 0; n = file.read(buffer.clear(), at)) {
            check.run();
            mac.update(buffer.flip());
            at += n;
        }
        require(what, secret, mac.doFinal());
        authentic = true;
    }

    /// @param mac as computed
    /// @throws ImageException `INVALID_CONTENT` unless the image states the same
    static void require(String what, LayerSecret secret, byte[] mac) throws ImageException {
        if (!secret.authentic(mac)) {
            throw ImageException.invalidContent(
                    what
                            + ": its HMAC is wrong: the encrypted bytes or the HMAC in the manifest were"
                            + " changed; nothing of it was decrypted");
        }
    }

    private void verify() throws DigestMismatchException {
        byte[] got = digest.digest();
        if (!secret.plain().matches(got)) {
            throw new DigestMismatchException(
                    what + ", decrypted",
                    secret.plain(),
                    Digest.of(secret.plain().algorithm(), got),
                    size);
        }
    }

    @Override
    public boolean isOpen() {
        return file.isOpen();
    }

    @Override
    public void close() throws IOException {
        file.close();
    }
}
