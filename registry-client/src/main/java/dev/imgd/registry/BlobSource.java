package dev.imgd.registry;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.RegistryException;
import java.io.IOException;
import org.jspecify.annotations.Nullable;

/// A place that may have a blob, and how it fared with it so far. Guarded by the stream it belongs
/// to, where nothing else is said.
final class BlobSource {
    /// So many bytes between two failures make the count of failures start anew.
    private static final long PROGRESS_BYTES = 256 << 10;

    private final Endpoint endpoint;
    private final Ask ask;
    private final Tally tally;
    private final Part part;
    private final boolean counted;
    private final boolean registry;
    private volatile boolean rangesIgnored;
    private int failures;
    private long lastFailureAt = -1;
    private volatile @Nullable ImageException out;

    /// @param counted whether the bytes it sends go into the tally
    /// @param registry whether it is the registry itself, whose failure counts
    BlobSource(
            Endpoint endpoint, Ask ask, Tally tally, Part part, boolean counted, boolean registry) {
        this.endpoint = endpoint;
        this.ask = ask;
        this.tally = tally;
        this.part = part;
        this.counted = counted;
        this.registry = registry;
    }

    /// Notes bytes that were used. For any thread.
    void received(long count) {
        if (counted) {
            tally.received(count);
        }
    }

    /// Whether it is the registry itself, or what its configuration names in its place.
    boolean isRegistry() {
        return registry;
    }

    Endpoint endpoint() {
        return endpoint;
    }

    Ask ask() {
        return ask;
    }

    Tally tally() {
        return tally;
    }

    String host() {
        return tally.host();
    }

    /// Whether it sends the whole blob whatever range is asked for. For any thread.
    boolean ignoresRanges() {
        return rangesIgnored;
    }

    void rangesIgnored() {
        rangesIgnored = true;
    }

    /// Failures since it last made progress.
    int failures() {
        return failures;
    }

    /// Whether it has said to ask no more for this blob. For any thread.
    boolean isOut() {
        return out != null;
    }

    /// Why it is out.
    ImageException failure() {
        ImageException failure = out;
        if (failure == null) {
            throw new IllegalStateException(host() + " did not fail");
        }
        return failure;
    }

    /// Counts a failure at a position of the blob. Progress since the last one makes the count
    /// start anew, except where ranges are ignored: there each try sends the whole blob again. The
    /// next request asks the host itself where the blob is.
    void failed(long position) {
        if (!rangesIgnored && position - lastFailureAt >= PROGRESS_BYTES) {
            failures = 0;
        }
        lastFailureAt = position;
        failures++;
        Whereabouts whereabouts = ask.whereabouts();
        if (whereabouts != null) {
            whereabouts.lost();
        }
    }

    /// Asks no more for this blob.
    void giveUp(ImageException failure) {
        out = failure;
    }

    /// Whether asking again later may help.
    static boolean isTransient(IOException failure) {
        return !(failure instanceof ImageException e)
                || e.kind() == ErrorKind.UNAVAILABLE
                || e.kind() == ErrorKind.RATE_LIMITED;
    }

    /// Whether the host could not be reached, or somebody in front of it said that it is away.
    static boolean isAway(IOException failure) {
        return failure instanceof RegistryException e
                && e.kind() == ErrorKind.UNAVAILABLE
                && switch (e.status()) {
                    case 0, 502, 503, 504 -> true;
                    default -> false;
                };
    }

    /// Whether the host is asked last from then on when it failed like this.
    boolean isFault(ImageException failure) {
        return part.isFault(failure);
    }

    /// A failure in few words, for the report of the pull.
    static String reason(IOException failure) {
        if (failure instanceof ImageException e) {
            boolean transport =
                    e instanceof RegistryException r
                            && r.status() == 0
                            && e.getCause() instanceof IOException
                            && !(e.getCause() instanceof ImageException);
            return transport && e.getCause() instanceof IOException cause
                    ? TransportFailure.of(cause).text()
                    : e.getMessage();
        }
        return TransportFailure.of(failure).text();
    }
}
