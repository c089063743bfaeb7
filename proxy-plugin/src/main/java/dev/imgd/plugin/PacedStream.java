package dev.imgd.plugin;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/// A stream of answers that waits for its reader, so that no more than one message and the
/// transport's small buffer is in memory. Made in the call's own thread before the handler returns;
/// then used by one thread at a time.
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
    /// @return false when there is no reader any more; [#end] says why
    synchronized boolean send(T message) {
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

    /// Sends when the reader is ready now; else drops the message, for which a newer one will come.
    synchronized void offer(Supplier<T> message) {
        if (out.isReady() && !out.isCancelled()) {
            out.onNext(message.get());
        }
    }

    /// Ends the stream.
    ///
    /// @throws ImageException `DEADLINE_EXCEEDED` when the reader was given up
    synchronized void end() throws ImageException {
        if (stalled) {
            throw new ImageException(
                    ErrorKind.DEADLINE_EXCEEDED,
                    "stream: the caller read nothing for " + stall.toSeconds() + " s");
        }
        if (!out.isCancelled()) {
            out.onCompleted();
        }
    }
}
