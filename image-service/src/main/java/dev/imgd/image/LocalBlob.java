package dev.imgd.image;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryClient.BlobStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.util.List;

/// A blob on this host, as a stream or as a file.
abstract sealed class LocalBlob implements BlobStream {
    private static final int BUFFER_BYTES = 128 << 10;

    private final String from;

    private LocalBlob(String from) {
        this.from = from;
    }

    /// @param from the file or archive, for messages
    static BlobStream of(FileChannel file, String from) {
        return new OfFile(file, from);
    }

    /// @param from the file or archive, for messages
    static BlobStream of(InputStream in, String from) {
        return new OfStream(in, from);
    }

    abstract int readInto(ByteBuffer into) throws IOException;

    abstract void release() throws IOException;

    @Override
    public int read(ByteBuffer into) throws IOException {
        try {
            return readInto(into);
        } catch (ImageException e) {
            throw e;
        } catch (IOException e) {
            throw new ImageException(
                    ErrorKind.INTERNAL, "cannot read %s: %s".formatted(from, e.getMessage()), e);
        }
    }

    @Override
    public String from() {
        return from;
    }

    /// Nobody sent anything.
    @Override
    public List<RegistryClient.Span> spans() {
        return List.of();
    }

    @Override
    public void close() {
        try {
            release();
        } catch (IOException e) {
            // Nothing was written through it, and what was read was verified.
            return;
        }
    }

    private static final class OfFile extends LocalBlob {
        private final FileChannel file;

        OfFile(FileChannel file, String from) {
            super(from);
            this.file = file;
        }

        @Override
        int readInto(ByteBuffer into) throws IOException {
            return file.read(into);
        }

        @Override
        void release() throws IOException {
            file.close();
        }
    }

    private static final class OfStream extends LocalBlob {
        private final InputStream in;
        private final byte[] buffer = new byte[BUFFER_BYTES];

        OfStream(InputStream in, String from) {
            super(from);
            this.in = in;
        }

        @Override
        int readInto(ByteBuffer into) throws IOException {
            int count = in.read(buffer, 0, Math.min(buffer.length, into.remaining()));
            if (count > 0) {
                into.put(buffer, 0, count);
            }
            return count;
        }

        @Override
        void release() throws IOException {
            in.close();
        }
    }
}
