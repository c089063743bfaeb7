package dev.imgd.trust;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient.FetchedManifest;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/// A lookup that ends when it takes too long, however the time is spread over questions. The clock
/// starts with the first one. For one thread.
final class TimedLookup implements SignatureLookup, AutoCloseable {
    private enum State {
        RUNNING,
        PASSED,
        ENDED
    }

    private final SignatureLookup lookup;
    private final Reference image;
    private final Duration time;
    private final CountDownLatch ended = new CountDownLatch(1);
    private final AtomicReference<State> state = new AtomicReference<>(State.RUNNING);
    private boolean begun;

    /// @param image for messages
    TimedLookup(SignatureLookup lookup, Reference image, Duration time) {
        this.lookup = lookup;
        this.image = image;
        this.time = time;
    }

    /// Something to ask.
    @FunctionalInterface
    private interface Question<T> {
        T ask() throws ImageException;
    }

    private <T> T timed(Question<T> question) throws ImageException {
        if (!begun) {
            begun = true;
            Thread.ofVirtual().name("imgd-trust-timeout").start(this::watch);
        }
        check(null);
        try {
            return question.ask();
        } catch (ImageException e) {
            check(e);
            throw e;
        }
    }

    private void watch() {
        try {
            // Converting a longer one than there are nanoseconds gives the longest there is.
            boolean inTime = ended.await(TimeUnit.NANOSECONDS.convert(time), TimeUnit.NANOSECONDS);
            if (!inTime && state.compareAndSet(State.RUNNING, State.PASSED)) {
                lookup.cancel();
            }
        } catch (InterruptedException e) {
            throw new IllegalStateException("nobody knows this thread", e);
        }
    }

    private void check(@Nullable ImageException cause) throws ImageException {
        if (state.get() == State.PASSED && !Thread.currentThread().isInterrupted()) {
            throw new ImageException(
                    ErrorKind.DEADLINE_EXCEEDED,
                    "image %s: cannot be decided by the policy: looking its signatures up took longer than %s; try again, or raise %s"
                            .formatted(image, shown(), Effort.TIME_KEY),
                    cause);
        }
    }

    private String shown() {
        return time.toMillisPart() != 0 ? time.toMillis() + " ms" : time.toSeconds() + " s";
    }

    /// Stops the clock.
    ///
    /// @throws ImageException when it was too late, since the lookup is cancelled then
    void end() throws ImageException {
        close();
        check(null);
    }

    @Override
    public Optional<FetchedManifest> tagged(String tag) throws ImageException {
        return timed(() -> lookup.tagged(tag));
    }

    @Override
    public List<Descriptor> referrers(Descriptor of, List<String> artifactTypes)
            throws ImageException {
        return timed(() -> lookup.referrers(of, artifactTypes));
    }

    @Override
    public Bytes manifest(Descriptor descriptor) throws ImageException {
        return timed(() -> lookup.manifest(descriptor));
    }

    @Override
    public Bytes blob(Descriptor descriptor) throws ImageException {
        return timed(() -> lookup.blob(descriptor));
    }

    @Override
    public void cancel() {
        lookup.cancel();
    }

    @Override
    public void close() {
        state.compareAndSet(State.RUNNING, State.ENDED);
        ended.countDown();
    }
}
