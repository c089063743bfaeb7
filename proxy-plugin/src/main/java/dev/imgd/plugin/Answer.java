package dev.imgd.plugin;

import dev.imgd.model.ImageException;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;

/// The one answer to a call: a value, or the status of what was thrown.
final class Answer<T> {
    private final ServerCallStreamObserver<T> out;

    /// Work that may fail.
    @FunctionalInterface
    interface Work {
        void run() throws ImageException;
    }

    /// A computation that may fail.
    @FunctionalInterface
    interface Computation<T> {
        T compute() throws ImageException;
    }

    Answer(StreamObserver<T> out) {
        this.out = (ServerCallStreamObserver<T>) out;
    }

    /// Answers with the result of `computation`.
    void of(Computation<T> computation) {
        unless(() -> with(computation.compute()));
    }

    /// Runs `work`, which answers by itself unless it throws.
    void unless(Work work) {
        try {
            work.run();
        } catch (Throwable e) { // every call must end, whatever went wrong
            if (!out.isCancelled()) {
                out.onError(GrpcErrors.toStatus(e));
            }
        }
    }

    /// Answers with a value. Nobody is left to hear it when the call was cancelled.
    void with(T value) {
        if (!out.isCancelled()) {
            out.onNext(value);
            out.onCompleted();
        }
    }
}
