package dev.imgd.image;

import dev.imgd.linux.NativeSha256;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.DigestMismatchException;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.SizeMismatchException;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryClient.BlobStream;
import dev.imgd.registry.RegistryWriter.BlobSource;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/// A blob that is hashed while it is read: its last bytes are given out only when the whole is
/// right, so nobody can have taken a wrong one for complete.
///
/// It may be opened again at any offset up to where it was read; what was hashed once is not hashed
/// again. For one thread at a time.
final class VerifiedBlob implements BlobSource, AutoCloseable {
    private final Descriptor blob;
    private final BlobSource source;
    private final AtomicLong progress;
    private final AtomicBoolean cancelled;
    private final @Nullable NativeSha256 fast;
    private final @Nullable MessageDigest usual;
    private long hashed;

    /// @param source the bytes as they come
    /// @param progress how many bytes have been read, at most the size of the blob
    /// @param cancelled makes reads fail
    VerifiedBlob(Descriptor blob, BlobSource source, AtomicLong progress, AtomicBoolean cancelled) {
        this.blob = blob;
        this.source = source;
        this.progress = progress;
        this.cancelled = cancelled;
        Digest.Algorithm algorithm = blob.digest().algorithm();
        boolean isFast = algorithm == Digest.Algorithm.SHA256 && NativeSha256.available();
        this.fast = isFast ? new NativeSha256() : null;
        this.usual = isFast ? null : digest(algorithm);
    }

    private static MessageDigest digest(Digest.Algorithm algorithm) {
        try {
            return MessageDigest.getInstance(algorithm.jcaName());
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java runtime has " + algorithm, e);
        }
    }

    @Override
    public BlobStream open(long offset) throws IOException {
        if (offset > hashed) {
            throw new IllegalArgumentException("opened beyond what was read: " + offset);
        }
        return new Hashing(source.open(offset), offset);
    }

    @Override
    public void close() {
        if (fast != null) {
            fast.close();
        }
    }

    private void hash(ByteBuffer bytes) {
        hashed += bytes.remaining();
        if (fast != null) {
            fast.update(bytes);
        } else if (usual != null) {
            usual.update(bytes);
        }
    }

    private void check(String from) throws DigestMismatchException {
        byte[] got =
                fast != null ? fast.digest() : java.util.Objects.requireNonNull(usual).digest();
        if (!blob.digest().matches(got)) {
            throw new DigestMismatchException(
                    "blob " + blob.digest() + " from " + from,
                    blob.digest(),
                    Digest.of(blob.digest().algorithm(), got),
                    blob.sizeBytes());
        }
    }

    private final class Hashing implements BlobStream {
        private final BlobStream stream;
        private long position;

        Hashing(BlobStream stream, long offset) {
            this.stream = stream;
            this.position = offset;
        }

        @Override
        public int read(ByteBuffer into) throws IOException {
            if (cancelled.get()) {
                throw new ImageException(ErrorKind.CANCELLED, "copy: cancelled");
            }
            int start = into.position();
            int count = fill(into);
            if (count == 0) {
                if (position < blob.sizeBytes()) {
                    throw new SizeMismatchException(
                            "blob " + blob.digest() + " from " + from(),
                            blob.sizeBytes(),
                            position);
                }
                return -1;
            }
            position += count;
            if (position > blob.sizeBytes()) {
                throw new SizeMismatchException(
                        "blob " + blob.digest() + " from " + from(), blob.sizeBytes(), position);
            }
            if (position > hashed) {
                int fresh = (int) (position - hashed);
                ByteBuffer bytes = into.duplicate();
                bytes.position(start + count - fresh).limit(start + count);
                hash(bytes);
                if (hashed == blob.sizeBytes()) {
                    check(from());
                }
            }
            return count;
        }

        /// Connections give a few KiB at a time; hashing and writing are cheaper in large pieces.
        private int fill(ByteBuffer into) throws IOException {
            int start = into.position();
            int last = 0;
            while (last >= 0 && into.hasRemaining()) {
                last = stream.read(into);
                progress.set(Math.min(position + into.position() - start, blob.sizeBytes()));
            }
            return into.position() - start;
        }

        @Override
        public String from() {
            return stream.from();
        }

        @Override
        public List<RegistryClient.Span> spans() {
            return stream.spans();
        }

        @Override
        public void close() {
            stream.close();
        }
    }
}
