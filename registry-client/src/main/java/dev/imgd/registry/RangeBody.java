package dev.imgd.registry;

import dev.imgd.model.ImageException;
import dev.imgd.model.RegistryException;
import dev.imgd.model.SizeMismatchException;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.ByteBuffer;
import okhttp3.Response;
import okio.BufferedSource;
import org.jspecify.annotations.Nullable;

/// The part of a blob that one answer brings: where it begins is checked against the headers, where
/// it ends against what was asked for. For one thread.
final class RangeBody {
    /// How an answer is asked for.
    ///
    /// @param attempts how often the request is made, at most
    /// @param alone whether it must not share a connection with other requests
    /// @param exact whether an answer without the range is a failure; otherwise what comes before
    ///   it is skipped
    record Manner(int attempts, boolean alone, boolean exact) {}

    private static final Manner AHEAD = new Manner(1, true, true);
    private static final long PLACE_PATIENCE_NANOS = 2_000_000_000L;

    private static final int SKIP_BYTES = 64 << 10;

    private final BlobSource source;
    private final RegistryOptions options;
    private final Operation operation;
    private final long size;
    private final long waitedForAnswerNanos;
    private final Answer answer;
    private final BufferedSource body;
    private long end;
    private long position;
    private long waitedNanos;
    private long windowNanos;
    private long windowBytes;
    private boolean slow;
    private boolean left;

    private RangeBody(
            BlobSource source,
            Answer answer,
            long first,
            long end,
            long size,
            RegistryOptions options,
            Operation operation,
            long waitedForAnswerNanos) {
        this.source = source;
        this.answer = answer;
        this.body = answer.response().body().source();
        this.position = first;
        this.end = end;
        this.size = size;
        this.options = options;
        this.operation = operation;
        this.waitedForAnswerNanos = waitedForAnswerNanos;
    }

    /// Asks for `first` to `end` of a blob of `size` bytes.
    ///
    /// @throws IOException an [ImageException] when asking again makes no sense or was done as
    ///   often as allowed
    static RangeBody open(
            BlobSource source,
            long first,
            long end,
            long size,
            Manner manner,
            RegistryOptions options,
            Operation operation)
            throws IOException {
        HostLoad load = source.endpoint().load();
        load.enter(PLACE_PATIENCE_NANOS, operation, source.ask().what());
        return inPlace(source, first, end, size, manner, options, operation);
    }

    /// As [#open], once, over a connection of its own and only if exactly the range is sent.
    ///
    /// @return null when the host has enough to do
    static @Nullable RangeBody openIfFree(
            BlobSource source,
            long first,
            long end,
            long size,
            RegistryOptions options,
            Operation operation)
            throws IOException {
        return source.endpoint().load().tryEnter()
                ? inPlace(source, first, end, size, AHEAD, options, operation)
                : null;
    }

    private static RangeBody inPlace(
            BlobSource source,
            long first,
            long end,
            long size,
            Manner manner,
            RegistryOptions options,
            Operation operation)
            throws IOException {
        boolean opened = false;
        try {
            RangeBody body = send(source, first, end, size, manner, options, operation);
            opened = true;
            return body;
        } finally {
            if (!opened) {
                source.endpoint().load().leave();
            }
        }
    }

    private static RangeBody send(
            BlobSource source,
            long first,
            long end,
            long size,
            Manner manner,
            RegistryOptions options,
            Operation operation)
            throws IOException {
        long started = System.nanoTime();
        boolean ranged = (first > 0 || end < size) && !source.ignoresRanges();
        Answer answer;
        try {
            Ask ask = source.ask().withRange(ranged ? range(first, end, size) : null);
            answer =
                    source.endpoint()
                            .get(
                                    manner.alone() ? ask.onItsOwnConnection() : ask,
                                    operation,
                                    manner.attempts(),
                                    source.tally());
        } catch (RegistryException e) {
            if (ranged && e.status() == 416 && !manner.exact()) {
                // The server has less than the descriptor says, or cannot do ranges: see which.
                source.rangesIgnored();
                return send(source, first, end, size, manner, options, operation);
            }
            throw e;
        }
        try {
            RangeBody opened =
                    new RangeBody(
                            source,
                            answer,
                            first,
                            end,
                            size,
                            options,
                            operation,
                            System.nanoTime() - started);
            if (answer.status() == 206) {
                if (opened.startsRight(ranged, first)) {
                    return opened;
                }
                if (source.ignoresRanges() || manner.exact()) {
                    source.rangesIgnored();
                    throw ImageException.invalidContent(
                            opened.what() + ": the server sends ranges that nobody asked for");
                }
            } else {
                opened.startWhole(ranged, manner);
                return opened;
            }
        } catch (IOException | RuntimeException e) {
            answer.abort();
            throw e;
        }
        answer.abort();
        source.rangesIgnored();
        return send(source, first, end, size, manner, options, operation);
    }

    private static String range(long first, long end, long size) {
        return end == size ? "bytes=" + first + '-' : "bytes=" + first + '-' + (end - 1);
    }

    /// Whether a 206 begins where it should. A part that ends early is fine: the next range gets
    /// the rest.
    private boolean startsRight(boolean ranged, long first) throws ImageException {
        ContentRange range = ContentRange.parse(response().header("Content-Range"));
        if (!ranged || range == null || range.first() != first) {
            return false;
        }
        if (range.total() >= 0 && range.total() != size) {
            throw new SizeMismatchException(what(), size, range.total());
        }
        return range.last() < size;
    }

    private void startWhole(boolean ranged, Manner manner) throws IOException {
        long length = response().body().contentLength();
        if (length > size) {
            throw new SizeMismatchException(what(), size, length);
        }
        if (length >= 0 && length < size && length <= position) {
            throw new ShortBodyException();
        }
        if (ranged) {
            source.rangesIgnored();
            if (manner.exact()) {
                throw ImageException.invalidContent(what() + ": the server ignores ranges");
            }
        }
        end = size;
        skip(position);
    }

    private void skip(long count) throws IOException {
        for (long left = count; left > 0; ) {
            long started = System.nanoTime();
            if (!body.request(1)) {
                throw new ShortBodyException();
            }
            long step = Math.min(Math.min(left, SKIP_BYTES), body.getBuffer().size());
            body.skip(step);
            left -= step;
            measure(System.nanoTime() - started, step);
            requireRate();
            operation.check(source.ask().what(), null);
        }
    }

    /// Reads at least one byte; not to be called at the [#end].
    ///
    /// @throws ShortBodyException when the answer ends before the range
    int read(ByteBuffer into) throws IOException {
        requireRate();
        int limit = into.limit();
        if (into.remaining() > end - position) {
            into.limit(into.position() + (int) (end - position));
        }
        long started = System.nanoTime();
        int count;
        try {
            count = body.read(into);
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

    /// Only time spent waiting for bytes counts: a slow consumer is no slow registry.
    private void measure(long nanos, long bytes) {
        waitedNanos += nanos;
        windowNanos += nanos;
        windowBytes += bytes;
        if (windowNanos >= options.stallTimeout().toNanos()) {
            long wanted = options.minimumRate() * options.stallTimeout().toMillis() / 1000;
            slow = windowBytes < wanted;
            windowNanos = 0;
            windowBytes = 0;
        }
    }

    /// Apart from the measuring, because what was read before is used all the same.
    private void requireRate() throws IOException {
        if (slow) {
            throw new InterruptedIOException(
                    "slower than " + options.minimumRate() + " bytes per second");
        }
    }

    /// Ends the answer after its last byte was read. The connection is kept where it can be.
    ///
    /// @throws SizeMismatchException when the blob is longer than it should be
    void finish() throws ImageException {
        boolean more;
        try {
            more = !body.exhausted();
        } catch (IOException e) {
            // All bytes are here; how the connection ends does not matter.
            more = false;
        }
        leave();
        if (more && end == size) {
            answer.abort();
            throw new SizeMismatchException(what(), size, size + 1);
        }
        if (more) {
            answer.abort();
        } else {
            answer.close();
            source.endpoint().load().succeeded();
        }
    }

    void abort() {
        leave();
        answer.abort();
    }

    private void leave() {
        if (!left) {
            left = true;
            source.endpoint().load().leave();
        }
    }

    BlobSource source() {
        return source;
    }

    long position() {
        return position;
    }

    /// Where the range ends; later than asked for where the server ignores ranges.
    long end() {
        return end;
    }

    /// Time spent waiting for bytes so far.
    long waitedNanos() {
        return waitedNanos;
    }

    /// Time from the request to the headers of the answer.
    long waitedForAnswerNanos() {
        return waitedForAnswerNanos;
    }

    /// The host that sends the bytes, after redirects.
    String from() {
        return answer.from();
    }

    private Response response() {
        return answer.response();
    }

    private String what() {
        return source.ask().what() + " from " + answer.from();
    }
}
