package dev.imgd.registry;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.RegistryException;
import dev.imgd.model.SizeMismatchException;

import okhttp3.Response;

import okio.BufferedSource;

import org.jspecify.annotations.Nullable;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.locks.ReentrantLock;

/// A blob over HTTP that continues by range after failures.
///
/// A failure counts against the attempts of the options; progress of [#PROGRESS_BYTES] since the
/// last one makes the count start anew, except where the server ignores ranges: there each try
/// sends the whole blob again. The size of the descriptor is enforced exactly.
final class HttpBlobStream implements RegistryClient.BlobStream {
    private static final long PROGRESS_BYTES = 256 << 10;
    private static final int SKIP_BYTES = 64 << 10;

    private final Endpoint endpoint;
    private final Ask ask;
    private final RegistryOptions options;
    private final RetryPolicy retries;
    private final Cancellation cancellation;
    private final Runnable onClose;
    private final long size;

    /// Held while bytes are read; who holds it may close the answer.
    private final ReentrantLock reading = new ReentrantLock();

    private @Nullable Answer answer;
    private @Nullable BufferedSource source;
    private volatile String from;
    private long position;
    private boolean ended;
    private boolean rangesIgnored;
    private int failures;
    private long lastFailureAt = -1;
    private long windowNanos;
    private long windowBytes;

    /// @param onClose run once the stream is closed, perhaps more than once
    HttpBlobStream(
            Endpoint endpoint,
            Ask ask,
            long size,
            long offset,
            RegistryOptions options,
            RetryPolicy retries,
            Cancellation cancellation,
            Runnable onClose) {
        this.endpoint = endpoint;
        this.ask = ask;
        this.options = options;
        this.retries = retries;
        this.cancellation = cancellation;
        this.onClose = onClose;
        this.size = size;
        this.position = offset;
        this.from = endpoint.authority();
    }

    /// Sends the first request.
    void open() throws ImageException {
        reading.lock();
        try {
            connect();
        } catch (IOException e) {
            recover(e);
        } finally {
            reading.unlock();
        }
    }

    @Override
    public int read(ByteBuffer into) throws IOException {
        reading.lock();
        try {
            return readLocked(into);
        } finally {
            reading.unlock();
            if (cancellation.isCancelled()) {
                releaseIfIdle();
            }
        }
    }

    private int readLocked(ByteBuffer into) throws ImageException {
        if (!into.hasRemaining()) {
            throw new IllegalArgumentException("the buffer is full");
        }
        while (true) {
            cancellation.check(ask.what(), null);
            if (ended) {
                return -1;
            }
            try {
                int count = readOnce(into);
                if (count > 0) {
                    return count;
                }
            } catch (ImageException e) {
                disconnect();
                throw e;
            } catch (IOException e) {
                recover(e);
            }
        }
    }

    /// @return how many bytes were read; 0 when the end was reached and found to be right
    private int readOnce(ByteBuffer into) throws IOException {
        BufferedSource open = source;
        if (open == null) {
            throw new ShortBodyException();
        }
        if (position == size) {
            requireEnd(open);
            return 0;
        }
        int limit = into.limit();
        if (into.remaining() > size - position) {
            into.limit(into.position() + (int) (size - position));
        }
        long started = System.nanoTime();
        int count;
        try {
            count = open.read(into);
        } finally {
            into.limit(limit);
        }
        if (count < 0) {
            throw new ShortBodyException();
        }
        position += count;
        measure(System.nanoTime() - started, count);
        return count;
    }

    private void requireEnd(BufferedSource open) throws ImageException {
        boolean more;
        try {
            more = !open.exhausted();
        } catch (IOException e) {
            // All bytes are here; how the connection ends does not matter.
            more = false;
        }
        if (more) {
            throw new SizeMismatchException(what(), size, size + 1);
        }
        ended = true;
        disconnectCleanly();
    }

    /// Only time spent waiting for bytes counts: a slow consumer is no slow registry.
    private void measure(long nanos, long bytes) throws IOException {
        windowNanos += nanos;
        windowBytes += bytes;
        long window = options.stallTimeout().toNanos();
        if (windowNanos >= window) {
            long wanted = options.minimumRate() * options.stallTimeout().toMillis() / 1000;
            boolean slow = windowBytes < wanted;
            windowNanos = 0;
            windowBytes = 0;
            if (slow) {
                throw new InterruptedIOException(
                        "slower than " + options.minimumRate() + " bytes per second");
            }
        }
    }

    /// Connects again after a failure, or gives up.
    private void recover(IOException first) throws ImageException {
        IOException failure = first;
        while (true) {
            disconnect();
            if (failure instanceof ImageException e) {
                throw e;
            }
            cancellation.check(ask.what(), failure);
            if (!rangesIgnored && position - lastFailureAt >= PROGRESS_BYTES) {
                failures = 0;
            }
            lastFailureAt = position;
            if (++failures >= retries.attempts()) {
                throw givenUp(failure);
            }
            cancellation.pause(retries.delayMillis(failures, null), ask.what());
            try {
                connect();
                return;
            } catch (IOException e) {
                failure = e;
            }
        }
    }

    private ImageException givenUp(IOException failure) {
        if (failure instanceof ShortBodyException) {
            return new SizeMismatchException(what(), size, position);
        }
        return new RegistryException(
                ErrorKind.UNAVAILABLE,
                "%s: got %d of %d bytes: %s"
                        .formatted(what(), position, size, TransportFailure.of(failure).text()),
                0,
                List.of(),
                failure);
    }

    private String what() {
        return ask.what() + " from " + from;
    }

    private void connect() throws IOException {
        boolean ranged = position > 0 && !rangesIgnored;
        String range = ranged ? "bytes=" + position + '-' : null;
        Answer opened;
        try {
            opened = endpoint.get(ask.withRange(range), cancellation);
        } catch (RegistryException e) {
            if (ranged && e.status() == 416) {
                // The server has less than the descriptor says, or cannot do ranges: see which.
                rangesIgnored = true;
                connect();
                return;
            }
            throw e;
        }
        answer = opened;
        from = opened.from();
        Response response = opened.response();
        BufferedSource body = response.body().source();
        if (opened.status() == 206) {
            if (!startsHere(response, ranged)) {
                disconnect();
                if (rangesIgnored) {
                    throw ImageException.invalidContent(
                            what() + ": the server sends ranges that nobody asked for");
                }
                rangesIgnored = true;
                connect();
                return;
            }
        } else {
            requireLength(response.body().contentLength());
            if (position > 0) {
                rangesIgnored = true;
                skip(body, position);
            }
        }
        source = body;
    }

    /// Whether a 206 continues at the position. A part that ends early is fine: the next range gets
    /// the rest.
    private boolean startsHere(Response response, boolean ranged) throws ImageException {
        ContentRange range = ContentRange.parse(response.header("Content-Range"));
        if (!ranged || range == null || range.first() != position) {
            return false;
        }
        if (range.total() >= 0 && range.total() != size) {
            throw new SizeMismatchException(what(), size, range.total());
        }
        return range.last() < size;
    }

    private void requireLength(long length) throws IOException {
        if (length > size) {
            throw new SizeMismatchException(what(), size, length);
        }
        if (length >= 0 && length < size && length <= position) {
            throw new ShortBodyException();
        }
    }

    private void skip(BufferedSource body, long count) throws IOException {
        for (long left = count; left > 0; ) {
            long started = System.nanoTime();
            if (!body.request(1)) {
                throw new ShortBodyException();
            }
            long step = Math.min(Math.min(left, SKIP_BYTES), body.getBuffer().size());
            body.skip(step);
            left -= step;
            measure(System.nanoTime() - started, step);
            cancellation.check(ask.what(), null);
        }
    }

    @Override
    public String from() {
        return from;
    }

    @Override
    public void close() {
        cancellation.cancel();
        releaseIfIdle();
        onClose.run();
    }

    /// Frees the connection, unless a read is using it: then the reader does it when it fails.
    private void releaseIfIdle() {
        if (reading.tryLock()) {
            try {
                disconnect();
            } finally {
                reading.unlock();
            }
        }
    }

    private void disconnect() {
        Answer open = answer;
        answer = null;
        source = null;
        if (open != null) {
            open.abort();
        }
    }

    private void disconnectCleanly() {
        Answer open = answer;
        answer = null;
        source = null;
        if (open != null) {
            open.close();
        }
    }

    /// The body ended before the blob did.
    private static final class ShortBodyException extends IOException {
        ShortBodyException() {
            super("the body ended early");
        }
    }
}
