package dev.imgd.plugin;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

/// A stream of answers that waits for its reader, so that no more than one message and the transport's small
/// buffer is in memory. Made in the call's own thread before the handler returns; then used by one thread.
final class PacedStream<T> {
    private final ServerCallStreamObserver<T> out;
    private final Duration stall;
    private final Semaphore changed = new Semaphore(0);
    private boolean stalled;

    /// @param stall how long the reader may take nothing before it is given up
    PacedStream(StreamObserver<T> out, Duration stall) {
        this.out = (ServerCallStreamObserver<T>) out;
        this.stall = stall;
        this.out.setOnReadyHandler(changed::release);
        this.out.setOnCancelHandler(changed::release);
    }

    /// Sends when the reader is ready.
    ///
    /// @return false when there is no reader any more; [#check] says why
    boolean send(T message) {
        try {
            while (!out.isReady() && !out.isCancelled() && !stalled) {
                stalled = !changed.tryAcquire(stall.toNanos(), TimeUnit.NANOSECONDS);
                changed.drainPermits();
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            stalled = true;
        }
        if (stalled || out.isCancelled()) {
            return false;
        }
        out.onNext(message);
        return true;
    }

    /// @throws ImageException `DEADLINE_EXCEEDED` when the reader was given up
    void check() throws ImageException {
        if (stalled) {
            throw new ImageException(
                    ErrorKind.DEADLINE_EXCEEDED,
                    "stream: the caller read nothing for " + stall.toSeconds() + " s");
        }
    }
}
