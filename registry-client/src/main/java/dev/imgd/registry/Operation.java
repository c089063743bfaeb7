package dev.imgd.registry;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import okhttp3.Call;
import org.jspecify.annotations.Nullable;

/// Something that a client does for its caller: ends its requests and waits from another thread,
/// and passes on what registries say to it.
final class Operation {
    private final Heard heard;
    private final CountDownLatch cancelled = new CountDownLatch(1);
    private volatile @Nullable Call current;
    private final Set<Runnable> listeners = ConcurrentHashMap.newKeySet();
    private final Map<String, Integer> attempts = new ConcurrentHashMap<>();

    /// For a client that tells nobody what it heard.
    Operation() {
        this(new Heard());
    }

    /// @param heard of the client
    Operation(Heard heard) {
        this.heard = heard;
    }

    /// A part of this operation with requests of its own, which must be cancelled with it.
    Operation part() {
        return new Operation(heard);
    }

    /// Takes what a registry wants its users to know.
    void hear(String text) {
        heard.add(text);
    }

    /// Counts requests that are the same.
    ///
    /// @return 1 for the first
    int attempt(String request) {
        return attempts.merge(request, 1, Integer::sum);
    }

    /// Runs something when the operation is cancelled, at once if it is already; perhaps twice.
    ///
    /// @return undoes this
    Runnable onCancel(Runnable listener) {
        listeners.add(listener);
        if (isCancelled()) {
            listener.run();
        }
        return () -> listeners.remove(listener);
    }

    /// Makes a call the one that [#cancel()] ends.
    void watch(Call call) {
        current = call;
        if (isCancelled()) {
            call.cancel();
        }
    }

    void cancel() {
        cancelled.countDown();
        Call call = current;
        if (call != null) {
            call.cancel();
        }
        listeners.forEach(Runnable::run);
    }

    boolean isCancelled() {
        return cancelled.getCount() == 0;
    }

    /// Waits, or fails when the operation is cancelled meanwhile.
    void pause(long millis, String what) throws ImageException {
        try {
            if (cancelled.await(millis, TimeUnit.MILLISECONDS)) {
                throw exception(what, null);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw exception(what, e);
        }
    }

    /// Fails when the operation was cancelled or its thread interrupted.
    void check(String what, @Nullable Throwable cause) throws ImageException {
        if (isCancelled() || Thread.currentThread().isInterrupted()) {
            throw exception(what, cause);
        }
    }

    private static ImageException exception(String what, @Nullable Throwable cause) {
        return new ImageException(ErrorKind.CANCELLED, what + ": cancelled", cause);
    }
}
