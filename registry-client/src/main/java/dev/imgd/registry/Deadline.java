package dev.imgd.registry;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import okhttp3.Call;
import okio.AsyncTimeout;

/// Ends a call that takes too long as a whole, however steadily it trickles.
final class Deadline extends AsyncTimeout implements AutoCloseable {
    private final Call call;
    private volatile boolean expired;
    private boolean begun;

    private Deadline(Call call) {
        this.call = call;
    }

    /// Starts the clock; closing stops it.
    static Deadline start(Call call, Duration duration) {
        Deadline deadline = of(call, duration);
        deadline.begin();
        return deadline;
    }

    /// A deadline whose clock is started with [#begin()].
    static Deadline of(Call call, Duration duration) {
        Deadline deadline = new Deadline(call);
        deadline.timeout(duration.toMillis(), TimeUnit.MILLISECONDS);
        return deadline;
    }

    /// Starts the clock, once. In the thread that closes it.
    void begin() {
        if (!begun) {
            begun = true;
            enter();
        }
    }

    @Override
    protected void timedOut() {
        expired = true;
        call.cancel();
    }

    /// The failure as it should be reported: that the deadline expired, where that is the reason.
    IOException explain(IOException failure) {
        if (!expired) {
            return failure;
        }
        var timeout = new InterruptedIOException("timeout");
        timeout.initCause(failure);
        return timeout;
    }

    @Override
    public void close() {
        if (begun) {
            exit();
        }
    }
}
