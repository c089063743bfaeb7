package dev.imgd.image;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ReadableByteChannel;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongSupplier;

/// A blob's bytes for an unpacker that holds a place in a [CpuGate]: the place is given up while the bytes
/// are not there yet. For one thread.
final class GatedSource implements ReadableByteChannel {
    private final ReadableByteChannel source;
    private final LongSupplier available;
    private final CpuGate gate;
    private final long sizeBytes;
    private final AtomicLong consumed;

    /// @param available how many bytes of the blob can be read without waiting
    /// @param consumed receives the number of bytes read
    GatedSource(
            ReadableByteChannel source,
            LongSupplier available,
            CpuGate gate,
            long sizeBytes,
            AtomicLong consumed) {
        this.source = source;
        this.available = available;
        this.gate = gate;
        this.sizeBytes = sizeBytes;
        this.consumed = consumed;
    }

    @Override
    public int read(ByteBuffer into) throws IOException {
        long position = consumed.get();
        int n;
        if (position < available.getAsLong()) {
            n = source.read(into);
        } else {
            gate.leave();
            try {
                n = source.read(into);
            } finally {
                gate.enter(sizeBytes - position);
            }
        }
        if (n > 0) {
            consumed.addAndGet(n);
        }
        return n;
    }

    @Override
    public boolean isOpen() {
        return source.isOpen();
    }

    @Override
    public void close() throws IOException {
        source.close();
    }
}
