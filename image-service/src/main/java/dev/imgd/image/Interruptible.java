package dev.imgd.image;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.registry.RegistryClient;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;

/// Makes calls to registries end when the calling thread is interrupted, which a read from a socket
/// does not by itself.
final class Interruptible {
    private Interruptible() {}

    /// What talks to the registry.
    @FunctionalInterface
    interface Call<T> {
        T run() throws ImageException;
    }

    /// Runs `call` on another thread and waits until it has ended, also when it is cut short.
    ///
    /// @param session that `call` uses; closed when the calling thread is interrupted
    /// @throws ImageException that of the call, or `CANCELLED`
    static <T> T call(String what, RegistryClient session, Call<T> call) throws ImageException {
        return call(what, session::close, call);
    }

    /// As the other, for calls that use more than a session.
    ///
    /// @param cancel makes `call` end soon; run when the calling thread is interrupted
    static <T> T call(String what, Runnable cancel, Call<T> call) throws ImageException {
        CompletableFuture<T> result = new CompletableFuture<>();
        Thread thread =
                Thread.ofPlatform()
                        .name("imgd-resolve")
                        .daemon()
                        .start(
                                () -> {
                                    try {
                                        result.complete(call.run());
                                    } catch (Throwable e) {
                                        result.completeExceptionally(e);
                                    }
                                });
        try {
            return result.get();
        } catch (InterruptedException e) {
            cancel.run();
            awaitEnd(thread);
            throw new ImageException(ErrorKind.CANCELLED, what + ": interrupted", e);
        } catch (ExecutionException e) {
            throw switch (e.getCause()) {
                case ImageException failure -> failure;
                case null, default ->
                        new ImageException(
                                ErrorKind.INTERNAL, "%s: %s".formatted(what, e.getCause()), e);
            };
        }
    }

    private static void awaitEnd(Thread thread) {
        boolean interrupted = false;
        while (thread.isAlive()) {
            try {
                thread.join();
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
