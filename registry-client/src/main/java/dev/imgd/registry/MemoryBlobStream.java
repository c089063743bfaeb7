package dev.imgd.registry;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.nio.ByteBuffer;
import java.util.List;

/// A blob that its descriptor carries, or an empty rest of one.
final class MemoryBlobStream implements RegistryClient.BlobStream {
    private final ByteBuffer rest;
    private final String from;
    private final int start;
    private volatile boolean closed;

    MemoryBlobStream(byte[] content, int offset, String from) {
        this.rest = ByteBuffer.wrap(content, offset, content.length - offset);
        this.from = from;
        this.start = offset;
    }

    @Override
    public int read(ByteBuffer into) throws ImageException {
        if (closed) {
            throw new ImageException(ErrorKind.CANCELLED, "blob from " + from + ": closed");
        }
        if (!into.hasRemaining()) {
            throw new IllegalArgumentException("the buffer is full");
        }
        if (!rest.hasRemaining()) {
            return -1;
        }
        int count = Math.min(into.remaining(), rest.remaining());
        into.put(rest.slice(rest.position(), count));
        rest.position(rest.position() + count);
        return count;
    }

    @Override
    public String from() {
        return from;
    }

    @Override
    public List<RegistryClient.Span> spans() {
        int read = rest.position() - start;
        return read == 0 ? List.of() : List.of(new RegistryClient.Span(from, start, read, 0));
    }

    @Override
    public void close() {
        closed = true;
    }
}
