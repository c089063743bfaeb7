package dev.imgd.registry;

import dev.imgd.registry.RegistryClient.BlobStream;
import dev.imgd.registry.RegistryWriter.BlobSource;
import java.io.IOException;
import java.nio.ByteBuffer;
import okhttp3.MediaType;
import okhttp3.RequestBody;
import okio.BufferedSink;
import org.jspecify.annotations.Nullable;

/// A part of a blob as the body of a request. For one request; the source is opened anew for a
/// second attempt.
final class UploadBody extends RequestBody {
    private static final int BUFFER_BYTES = 64 << 10;
    private static final @Nullable MediaType TYPE = MediaType.parse("application/octet-stream");

    private final BlobSource source;
    private final long offset;
    private final long length;
    private final boolean last;
    private Runnable onWritten = () -> {};

    /// @param last whether the part ends with the blob, whose end is then checked
    UploadBody(BlobSource source, long offset, long length, boolean last) {
        this.source = source;
        this.offset = offset;
        this.length = length;
        this.last = last;
    }

    /// @param task run when everything is sent and the wait for the answer begins
    void onWritten(Runnable task) {
        onWritten = task;
    }

    @Override
    public @Nullable MediaType contentType() {
        return TYPE;
    }

    @Override
    public long contentLength() {
        return length;
    }

    /// The bytes are appended to an upload: sending them twice unasked would corrupt it.
    @Override
    public boolean isOneShot() {
        return true;
    }

    @Override
    public void writeTo(BufferedSink sink) throws IOException {
        try (BlobStream stream = open()) {
            // Direct: what hashes on the way need not copy.
            ByteBuffer buffer = ByteBuffer.allocateDirect((int) Math.min(length, BUFFER_BYTES));
            for (long left = length; left > 0; ) {
                buffer.clear().limit((int) Math.min(left, buffer.capacity()));
                if (read(stream, buffer) < 0) {
                    throw new SourceFailure(
                            new IOException("the source ended " + left + " bytes early"));
                }
                buffer.flip();
                left -= buffer.remaining();
                if (left == 0 && last) {
                    // Before the last bytes are sent: a source that is wrong must not become a
                    // blob.
                    requireEnd(stream);
                }
                while (buffer.hasRemaining()) {
                    sink.write(buffer);
                }
            }
        }
        sink.flush();
        onWritten.run();
    }

    private BlobStream open() throws SourceFailure {
        try {
            return source.open(offset);
        } catch (IOException e) {
            throw new SourceFailure(e);
        }
    }

    private static int read(BlobStream stream, ByteBuffer into) throws SourceFailure {
        try {
            return stream.read(into);
        } catch (IOException e) {
            throw new SourceFailure(e);
        }
    }

    private static void requireEnd(BlobStream stream) throws SourceFailure {
        if (read(stream, ByteBuffer.allocate(1)) >= 0) {
            throw new SourceFailure(new IOException("the source is longer than its descriptor"));
        }
    }

    /// What is to be sent cannot be read: not the fault of who receives it.
    static final class SourceFailure extends IOException {
        private final transient IOException failure;

        SourceFailure(IOException failure) {
            super(failure);
            this.failure = failure;
        }

        IOException failure() {
            return failure;
        }
    }
}
