package dev.imgd.image;

import dev.imgd.model.Digest;
import dev.imgd.model.DigestMismatchException;
import dev.imgd.model.ImageException;
import dev.imgd.trust.LayerSecret;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.ReadableByteChannel;

/// An encrypted layer of the store in plain.
///
/// The first read computes the HMAC of the whole file; not one byte is given out before that is
/// right. The end of the stream comes only when what was given out has the digest that the envelope
/// states for it. For one thread.
final class DecryptedBlob implements ReadableByteChannel {
    private static final int BUFFER_BYTES = 256 << 10;

    private final String what;
    private final FileChannel file;
    private final LayerSecret secret;
    private final Digest diffId;
    private final Check check;
    private final LayerCipher cipher;
    private final BlobDigest digest;
    private boolean authentic;
    private boolean ended;
    private long size;

    /// @param file the encrypted layer from its beginning; closed with this
    /// @param diffId of the layer, which whoever reads this verifies
    /// @param check asked before each read whether to go on
    DecryptedBlob(String what, FileChannel file, LayerSecret secret, Digest diffId, Check check) {
        this.what = what;
        this.file = file;
        this.secret = secret;
        this.diffId = diffId;
        this.check = check;
        this.cipher = LayerCipher.of(secret, 0);
        this.digest = BlobDigest.of(secret.plain().algorithm());
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
        int start = into.position();
        int count = file.read(into);
        if (count < 0) {
            verify();
            ended = true;
            return -1;
        }
        ByteBuffer fresh = into.duplicate().position(start).limit(start + count);
        cipher.update(fresh);
        digest.update(fresh);
        size += count;
        return count;
    }

    private void authenticate() throws IOException {
        ByteBuffer buffer = ByteBuffer.allocateDirect(BUFFER_BYTES);
        try (LayerMac mac = LayerMac.of(secret)) {
            long at = 0;
            for (int n = file.read(buffer, at); n >= 0; n = file.read(buffer.clear(), at)) {
                check.run();
                mac.update(buffer.flip());
                at += n;
            }
            require(what, secret, mac.finish());
        }
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
        Digest got = digest.finish();
        // Tools that compress and encrypt in one go state the digest of what went in.
        if (!secret.plain().equals(got) && !secret.plain().equals(diffId)) {
            throw new DigestMismatchException(what + ", decrypted", secret.plain(), got, size);
        }
    }

    @Override
    public boolean isOpen() {
        return file.isOpen();
    }

    @Override
    public void close() throws IOException {
        cipher.close();
        digest.close();
        file.close();
    }
}
