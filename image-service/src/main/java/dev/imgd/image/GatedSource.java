package dev.imgd.image;

import dev.imgd.model.ImageException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ReadableByteChannel;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongSupplier;

/// A blob's bytes for an unpacker that has a place in a [CpuGate] from [#enter] to [#leave]: the
/// place is given up while the bytes are not there yet. For one thread.
final class GatedSource implements ReadableByteChannel {
    private final ReadableByteChannel source;
    private final LongSupplier available;
    private final CpuGate gate;
    private final Check check;
    private final long sizeBytes;
    private final AtomicLong consumed;
    private boolean inside;

    /// @param available how many bytes of the blob can be read without waiting
    /// @param check asked before each read whether to go on
    /// @param consumed receives the number of bytes read
    GatedSource(
            ReadableByteChannel source,
            LongSupplier available,
            CpuGate gate,
            Check check,
            long sizeBytes,
            AtomicLong consumed) {
        this.source = source;
        this.available = available;
        this.gate = gate;
        this.check = check;
        this.sizeBytes = sizeBytes;
        this.consumed = consumed;
    }

    /// Waits for a place.
    void enter() throws ImageException {
        gate.enter(sizeBytes - consumed.get(), check);
        inside = true;
    }

    /// Gives the place back if there is one.
    void leave() {
        if (inside) {
            inside = false;
            gate.leave();
        }
    }

    /// Whether so many bytes, or all that are left, can be read without waiting.
    boolean hasReady(long bytes) {
        long read = consumed.get();
        return available.getAsLong() - read >= Math.min(bytes, sizeBytes - read);
    }

    @Override
    public int read(ByteBuffer into) throws IOException {
        check.run();
        int n;
        if (consumed.get() < available.getAsLong()) {
            n = source.read(into);
        } else {
            leave();
            n = source.read(into);
            enter();
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
