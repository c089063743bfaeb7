package dev.imgd.image;

import dev.imgd.image.ImageService.Progress;
import dev.imgd.image.ImageService.ProgressListener;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.RegistryException;
import dev.imgd.registry.RegistryClient;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/// Ends what a pull asks of registries when it takes too long, however steadily it trickles. What
/// is here then is kept. Unpacking what is here already goes on: begun anew it would take as long
/// again.
final class PullDeadline implements AutoCloseable {
    static final String KEY = "pull.deadline";

    private final String what;
    private final Duration duration;
    private final CountDownLatch ended = new CountDownLatch(1);
    private final AtomicReference<@Nullable Progress> last = new AtomicReference<>();
    private volatile boolean passed;

    private PullDeadline(String what, Duration duration) {
        this.what = what;
        this.duration = duration;
    }

    /// Starts the clock; closing stops it.
    ///
    /// @param duration zero for no deadline
    /// @param session closed when the time is over
    static PullDeadline start(String what, Duration duration, RegistryClient session) {
        PullDeadline deadline = new PullDeadline(what, duration);
        if (!duration.isZero()) {
            Thread.ofVirtual()
                    .name("imgd-pull-deadline")
                    .start(
                            () -> {
                                if (!deadline.endedInTime()) {
                                    deadline.passed = true;
                                    session.close();
                                }
                            });
        }
        return deadline;
    }

    private boolean endedInTime() {
        try {
            // Converting a longer one than there are nanoseconds gives the longest there is.
            return ended.await(TimeUnit.NANOSECONDS.convert(duration), TimeUnit.NANOSECONDS);
        } catch (InterruptedException e) {
            throw new IllegalStateException("nobody knows this thread", e);
        }
    }

    /// Listens along, to be able to say how far the pull came.
    ProgressListener listening(ProgressListener listener) {
        return progress -> {
            last.set(progress);
            listener.progress(progress);
        };
    }

    /// The failure as it should be reported: that the time was over, where that is the reason, and
    /// what is kept.
    ImageException explain(ImageException failure) {
        if (failure.kind() == ErrorKind.UNAVAILABLE || failure.kind() == ErrorKind.RATE_LIMITED) {
            return withAdvice(failure);
        }
        if (!passed
                || failure.kind() != ErrorKind.CANCELLED
                || Thread.currentThread().isInterrupted()) {
            return failure;
        }
        Progress progress = last.get();
        String kept =
                progress == null || progress.totalBytes() == 0
                        ? ""
                        : ", with %d of %d bytes; they are kept"
                                .formatted(progress.doneBytes(), progress.totalBytes());
        return new ImageException(
                ErrorKind.DEADLINE_EXCEEDED,
                "%s: not complete after %s%s; pull again to go on, or raise %s (\"0s\" for none)"
                        .formatted(what, shown(), kept, KEY),
                failure);
    }

    private ImageException withAdvice(ImageException failure) {
        Progress progress = last.get();
        if (progress == null || progress.doneBytes() == 0) {
            return failure;
        }
        String message =
                "%s; %d of %d bytes are kept, pull again to go on where it stopped"
                        .formatted(
                                failure.getMessage(), progress.doneBytes(), progress.totalBytes());
        return failure instanceof RegistryException answer
                ? new RegistryException(
                        answer.kind(), message, answer.status(), answer.details(), failure)
                : new ImageException(failure.kind(), message, failure);
    }

    private String shown() {
        return duration.toMillisPart() != 0
                ? duration.toMillis() + " ms"
                : duration.toSecondsPart() != 0
                        ? duration.toSeconds() + " s"
                        : duration.toMinutes() + " min";
    }

    @Override
    public void close() {
        ended.countDown();
    }
}
