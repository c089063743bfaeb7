package dev.imgd.registry;

import dev.imgd.model.EarlyBytes;
import dev.imgd.model.EarlyBytes.Place;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.RegistryException;
import dev.imgd.model.SizeMismatchException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.LongSupplier;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;

/// A blob over HTTP that continues by range after failures, from the same host or the next one.
///
/// A failure counts against the attempts of the options, for each host; a host that made progress
/// since its last failure starts counting anew. Of the hosts that have not failed for good, the one
/// with the fewest failures continues, the first in order among equals. A big blob is asked for in
/// parts; when one connection turns out to be slow, a [RangeWindow] fetches ahead over several. The
/// size of the descriptor is enforced exactly.
///
/// The last host that is left is waited for when it had been sending and then went away: registries
/// restart, and networks come back.
final class HttpBlobStream implements RegistryClient.BlobStream {
    /// How often a mirror is asked while there is another host to turn to.
    private static final int ATTEMPTS_WITH_OTHERS = 2;

    /// How long it may take until it is seen that a host is back.
    private static final long MOST_PAUSE_MILLIS = 5000;

    /// A host that is away is not asked more often than this.
    private static final long AWAY_PAUSE_MILLIS = 100;

    /// The first part of a big blob, in which it shows whether one connection is enough. While it
    /// is, parts double.
    private static final long FIRST_LEAD_BYTES = 8 << 20;

    private static final long MOST_LEAD_BYTES = 64 << 20;

    /// Named as the sender of what an earlier process had fetched.
    private static final String EARLIER = "an earlier pull";

    private static final long CHECK_BYTES = 256 << 10;

    /// Whoever has no more than this to work on may wait soon.
    private static final long STARVED_BYTES = 1 << 20;

    /// Whoever has more than this does not wait for some time. Chunks come in bursts, so there is a
    /// wide gap between the two.
    private static final long SATED_BYTES = 16 << 20;

    /// A connection is judged by samples of so many bytes, or of so much waiting. Servers that
    /// limit the rate send a MiB or two and pause, which smaller samples would take for a fast one.
    private static final long SAMPLE_BYTES = 4 << 20;

    private static final long SAMPLE_NANOS = 250_000_000;

    /// A connection that brings so many bytes a second is not what holds a transfer up.
    private static final long FAST_BYTES_PER_SECOND = 200L << 20;

    private final List<BlobSource> sources;
    private final boolean oneHost;
    private final RegistryOptions options;
    private final RetryPolicy retries;
    private final UnitPool memory;
    private final EarlyBytes early;
    private final Pace bandwidth;
    private final Operation operation;
    private final Runnable onClose;
    private final long size;
    private final long start;
    private final SpanLog spans;

    /// Held while bytes are read; who holds it may close the answer.
    private final ReentrantLock reading = new ReentrantLock();

    private BlobSource current;
    private @Nullable RangeBody body;
    private @Nullable RangeWindow window;

    /// Where the range ends that the reader fetches itself while there is no window.
    private long leadEnd;

    private long lead = FIRST_LEAD_BYTES;
    private long sampleStart;
    private long sampleStartNanos;
    private long sampleStartWaited;
    private long checkedAt;
    private volatile String from;
    private long position;
    private long reused;

    /// Where and when the first of the failures happened since which no byte came.
    private long stuckAt = -1;

    private long stuckSince;

    /// Whether the attempts are used up, and the host is asked all the same for it may be back.
    private boolean waiting;

    private boolean ended;
    private LongSupplier backlog = () -> 0;

    /// @param sources in the order of preference; not empty
    /// @param onClose run once the stream is closed, perhaps more than once
    HttpBlobStream(
            List<BlobSource> sources,
            RegistryClient.BlobWish wish,
            long size,
            RegistryOptions options,
            RetryPolicy retries,
            UnitPool memory,
            Pace bandwidth,
            Operation operation,
            Runnable onClose) {
        this.sources = sources;
        this.oneHost = wish.oneHost();
        this.options = options;
        this.retries = retries;
        this.memory = memory;
        this.early = wish.early();
        this.bandwidth = bandwidth;
        this.operation = operation;
        this.onClose = onClose;
        this.size = size;
        this.start = wish.offset();
        this.position = start;
        this.spans = new SpanLog(sources.size() > 1, start);
        this.current = sources.getFirst();
        this.from = current.endpoint().authority();
    }

    /// Sends the first request.
    void open() throws ImageException {
        reading.lock();
        try {
            BlobSource best = best();
            current = best == null ? current : best;
            adopt();
            connect();
        } catch (IOException e) {
            recover(e);
        } finally {
            reading.unlock();
        }
    }

    /// Takes what an earlier process kept of the rest; it frees what it had read already.
    private void adopt() {
        List<Place> kept = new ArrayList<>();
        for (Place place : early.kept()) {
            if (place.offset() + place.sizeBytes() > position) {
                kept.add(place);
            } else {
                place.free();
            }
        }
        if (!kept.isEmpty()) {
            RangeWindow made = window(position);
            made.adopt(kept);
            window = made;
        }
    }

    private RangeWindow window(long next) {
        return new RangeWindow(lanes(), next, size, options, memory, early, bandwidth, operation);
    }

    @Override
    public void backlog(LongSupplier bytes) {
        backlog = bytes;
    }

    @Override
    public int read(ByteBuffer into) throws IOException {
        reading.lock();
        try {
            return readLocked(into);
        } finally {
            reading.unlock();
            if (operation.isCancelled()) {
                releaseIfIdle();
            }
        }
    }

    private int readLocked(ByteBuffer into) throws ImageException {
        if (!into.hasRemaining()) {
            throw new IllegalArgumentException("the buffer is full");
        }
        while (true) {
            operation.check(what(), null);
            if (ended) {
                return -1;
            }
            try {
                int count = readOnce(into);
                if (count > 0) {
                    return count;
                }
            } catch (IOException e) {
                recover(e);
            }
        }
    }

    /// @return how many bytes were read; 0 when the end was reached and found to be right
    private int readOnce(ByteBuffer into) throws IOException {
        while (true) {
            RangeBody open = body;
            if (open != null && position < open.end()) {
                if (!isForsaken(open.source())) {
                    return readDirectly(open, into);
                }
                disconnect();
                open = null;
            }
            if (open != null) {
                body = null;
                open.finish();
            }
            if (position == size) {
                ended = true;
                return 0;
            }
            int count = readAhead(into);
            if (count > 0) {
                return count;
            }
            if (isForsaken(current)) {
                BlobSource best = best();
                current = best == null ? current : best;
            }
            connect();
        }
    }

    /// Whether a host was found out meanwhile to have sent wrong bytes of another blob.
    private boolean isForsaken(BlobSource source) {
        return !oneHost && source.tally().isDistrusted() && othersLeft(source);
    }

    private int readDirectly(RangeBody open, ByteBuffer into) throws IOException {
        int at = into.position();
        int count = open.read(into);
        received(open.source(), into, at, count);
        bandwidth.take(count, operation, what());
        if (position - checkedAt >= CHECK_BYTES
                || (window == null && open.waitedNanos() - sampleStartWaited >= SAMPLE_NANOS)) {
            checkedAt = position;
            considerMore(open);
        }
        return count;
    }

    /// Reads what was fetched ahead.
    ///
    /// @return 0 when nothing was for this position
    private int readAhead(ByteBuffer into) throws ImageException {
        RangeWindow ahead = window;
        if (ahead == null) {
            return 0;
        }
        if (position - checkedAt >= CHECK_BYTES) {
            checkedAt = position;
            staff(ahead, 0);
        }
        return ahead.read(position, into, this::isForsaken, this::received, what());
    }

    private void received(@Nullable BlobSource source, ByteBuffer into, int at, int count) {
        position += count;
        if (source == null) {
            reused += count;
            spans.add(EARLIER, into, at, count);
        } else {
            source.received(count);
            spans.add(source.host(), into, at, count);
        }
    }

    /// Fetches ahead over more connections when this one is what the transfer waits for.
    private void considerMore(RangeBody open) {
        RangeWindow ahead = window;
        if (ahead != null) {
            staff(ahead, 1);
            return;
        }
        if (leadEnd == size || open.end() != leadEnd) {
            return; // fast enough, small, or ranges are ignored
        }
        if (isSlow(open) && backlog.getAsLong() <= STARVED_BYTES) {
            RangeWindow made = window(leadEnd);
            window = made;
            made.staff(1);
        }
    }

    private void staff(RangeWindow ahead, int readers) {
        long bytes = backlog.getAsLong();
        if (bytes <= STARVED_BYTES) {
            ahead.awaited(true);
        } else if (bytes > SATED_BYTES) {
            ahead.awaited(false);
        }
        ahead.staff(readers);
    }

    private boolean isSlow(RangeBody open) {
        long bytes = position - sampleStart;
        long waited = open.waitedNanos() - sampleStartWaited;
        if (bytes < SAMPLE_BYTES && waited < SAMPLE_NANOS) {
            return false;
        }
        boolean slow =
                bytes * 1e9 / Math.max(waited, 1) < FAST_BYTES_PER_SECOND
                        && 2 * waited > System.nanoTime() - sampleStartNanos;
        startSample(open);
        return slow;
    }

    private void startSample(RangeBody open) {
        sampleStart = position;
        sampleStartNanos = System.nanoTime();
        sampleStartWaited = open.waitedNanos();
    }

    private List<BlobSource> lanes() {
        List<BlobSource> lanes = new ArrayList<>(List.of(current));
        if (!oneHost) {
            for (BlobSource source : sources) {
                if (source != current) {
                    lanes.add(source);
                }
            }
        }
        return lanes;
    }

    /// Where the range ends that the reader asks for at its position.
    private long ownEnd() {
        RangeWindow ahead = window;
        if (ahead != null) {
            return ahead.reserve(position, FIRST_LEAD_BYTES);
        }
        if (position >= leadEnd) {
            boolean whole =
                    options.transfer().rangeConnections() == 1
                            || size - start < options.transfer().rangeThreshold()
                            || size - position < 2 * lead
                            || current.ignoresRanges();
            leadEnd = whole ? size : position + lead;
            lead = Math.min(2 * lead, MOST_LEAD_BYTES);
        }
        return leadEnd;
    }

    /// Connects again after a failure, to the same or to another host, or gives up.
    private void recover(IOException first) throws ImageException {
        IOException failure = first;
        while (true) {
            disconnect();
            if (failure instanceof ImageException e && e.kind() == ErrorKind.CANCELLED) {
                throw e;
            }
            operation.check(what(), failure);
            BlobSource failed = current;
            current = afterFailure(failure);
            failed.tally().retried();
            if (current.failures() > 0) {
                operation.pause(delayMillis(), what());
            }
            try {
                connect();
                return;
            } catch (IOException e) {
                failure = e;
            }
        }
    }

    private long delayMillis() {
        long delay = retries.delayMillis(current.failures(), null);
        if (!waiting) {
            return delay;
        }
        long most = Math.min(MOST_PAUSE_MILLIS, TimeUnit.NANOSECONDS.toMillis(patienceNanos()));
        return Math.clamp(delay, Math.min(AWAY_PAUSE_MILLIS, most), most);
    }

    /// How much longer the last host may be away; not below 0.
    private long patienceNanos() {
        long waited = System.nanoTime() - stuckSince;
        return Math.max(0, options.outageTimeout().toNanos() - waited);
    }

    /// The host to go on with.
    ///
    /// @throws ImageException when there is none: the registry's own failure, or that of the last
    ///   host that failed, with those of the others attached
    private BlobSource afterFailure(IOException failure) throws ImageException {
        BlobSource failed = current;
        failed.failed(position);
        if (position != stuckAt) {
            stuckAt = position;
            stuckSince = System.nanoTime();
        }
        boolean transientFailure = BlobSource.isTransient(failure);
        boolean answered = failure instanceof ImageException;
        boolean enough =
                failed.failures() >= retries.attempts()
                        || (answered && (!transientFailure || position == start));
        waiting = enough && isWorthWaitingFor(failed, failure);
        if (enough && !waiting) {
            ImageException reported =
                    failure instanceof ImageException e
                            ? withPatience(failed, e)
                            : givenUp(failed, failure);
            failed.giveUp(reported);
            if (sources.size() > 1 && failed.isFault(reported)) {
                failed.tally().drop(HostFailures.reason(what(), failure));
            }
        }
        BlobSource next = oneHost && position > start && failed.isOut() ? null : best();
        if (next == null) {
            throw finalFailure(failed);
        }
        return oneHost && position > start ? failed : next;
    }

    private boolean isWorthWaitingFor(BlobSource failed, IOException failure) {
        long patience = patienceNanos();
        return patience > 0
                && mayComeBack(failed, failure)
                && !othersLeft(current)
                && failed.endpoint().load().pausedNanos() < patience;
    }

    private boolean mayComeBack(BlobSource failed, IOException failure) {
        return BlobSource.isAway(failure) && (position > start || failed.tally().hasServed());
    }

    /// A failure that says how long it was waited for the host.
    private ImageException withPatience(BlobSource failed, ImageException failure) {
        Duration waited = Duration.ofNanos(System.nanoTime() - stuckSince);
        if (!(failure instanceof RegistryException answer)
                || !mayComeBack(failed, failure)
                || othersLeft(current)
                || waited.toSeconds() == 0
                || waited.compareTo(options.outageTimeout()) < 0) {
            return failure;
        }
        return new RegistryException(
                answer.kind(),
                "%s; it had been answering, and was asked again for %d s"
                        .formatted(failure.getMessage(), waited.toSeconds()),
                answer.status(),
                answer.details(),
                failure);
    }

    private @Nullable BlobSource best() {
        BlobSource best = null;
        for (BlobSource source : sources) {
            if (source.isOut()) {
                continue;
            }
            if (best == null
                    || (isLastResort(best) && !isLastResort(source))
                    || (isLastResort(best) == isLastResort(source)
                            && source.failures() < best.failures())) {
                best = source;
            }
        }
        return best;
    }

    private static boolean isLastResort(BlobSource source) {
        return source.tally().isDropped() || source.endpoint().load().wantsRest();
    }

    /// Whether there is a host beside one that may well have the rest.
    private boolean othersLeft(BlobSource one) {
        for (BlobSource source : sources) {
            if (source != one && !source.isOut() && !isLastResort(source)) {
                return true;
            }
        }
        return false;
    }

    private ImageException finalFailure(BlobSource failed) {
        BlobSource reported = failed;
        for (BlobSource source : sources) {
            if (source.isOut() && !(reported.isRegistry() && reported.isOut())) {
                reported = source;
            }
        }
        Map<String, ImageException> others = new LinkedHashMap<>();
        for (BlobSource source : sources) {
            if (source != reported && source.isOut()) {
                others.put(source.host(), source.failure());
            }
        }
        return HostFailures.beside(what(), reported.failure(), others);
    }

    private ImageException givenUp(BlobSource failed, IOException failure) {
        String what = failed.ask().what() + " from " + from;
        if (failure instanceof ShortBodyException) {
            return new SizeMismatchException(what, size, position);
        }
        return new RegistryException(
                ErrorKind.UNAVAILABLE,
                "%s: got %d of %d bytes: %s"
                        .formatted(what, position, size, TransportFailure.of(failure).text()),
                0,
                List.of(),
                failure);
    }

    private String what() {
        return current.ask().what();
    }

    private void connect() throws IOException {
        long end = ownEnd();
        if (end == position) {
            return; // a worker was faster
        }
        boolean hurried = !current.isRegistry() && othersLeft(current);
        int attempts = waiting ? 1 : hurried ? ATTEMPTS_WITH_OTHERS : retries.attempts();
        waiting = false;
        from = current.endpoint().authority();
        RangeBody opened =
                RangeBody.open(
                        current,
                        position,
                        end,
                        size,
                        new RangeBody.Manner(attempts, false, false),
                        options,
                        operation);
        body = opened;
        for (BlobSource source : sources) {
            if (source.isOut()) {
                source.tally().tell();
            }
        }
        startSample(opened);
        from = opened.from();
    }

    @Override
    public String from() {
        return from;
    }

    @Override
    public long reusedBytes() {
        return reused;
    }

    @Override
    public List<RegistryClient.Span> spans() {
        return spans.list();
    }

    @Override
    public void close() {
        operation.cancel();
        releaseIfIdle();
        onClose.run();
    }

    /// Frees the connection, unless a read is using it: then the reader does it when it fails.
    private void releaseIfIdle() {
        if (reading.tryLock()) {
            try {
                disconnect();
                RangeWindow ahead = window;
                window = null;
                if (ahead != null) {
                    ahead.close();
                }
            } finally {
                reading.unlock();
            }
        }
    }

    private void disconnect() {
        RangeBody open = body;
        body = null;
        if (open != null) {
            open.abort();
        }
    }

    /// Who sent which part, and a checksum of each where there is more than one host to blame.
    /// Written by the reader, read by any thread.
    private static final class SpanLog {
        private final boolean checked;
        private final CRC32C crc = new CRC32C();
        private final List<RegistryClient.Span> closed = new ArrayList<>();
        private String host = "";
        private long offset;
        private long length;

        SpanLog(boolean checked, long offset) {
            this.checked = checked;
            this.offset = offset;
        }

        synchronized void add(String sender, ByteBuffer bytes, int at, int count) {
            if (!sender.equals(host)) {
                if (length > 0) {
                    closed.add(last());
                    offset += length;
                    length = 0;
                    crc.reset();
                }
                host = sender;
            }
            length += count;
            if (checked) {
                crc.update(bytes.duplicate().position(at).limit(at + count));
            }
        }

        private RegistryClient.Span last() {
            return new RegistryClient.Span(host, offset, length, (int) crc.getValue());
        }

        synchronized List<RegistryClient.Span> list() {
            List<RegistryClient.Span> all = new ArrayList<>(closed);
            if (length > 0) {
                all.add(last());
            }
            return all;
        }
    }
}
