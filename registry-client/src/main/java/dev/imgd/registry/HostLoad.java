package dev.imgd.registry;

import dev.imgd.model.ImageException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/// How many blob requests a host gets at once, and how often: additive increase while it answers,
/// halved when it says that it is too much. For all sessions of a client; safe for use by many
/// threads.
final class HostLoad {
    private static final long LONG_PAUSE_NANOS = 1_000_000_000L;
    private static final long HALVE_AT_MOST_EVERY_NANOS = 1_000_000_000L;

    private final Pace requests;
    private final ReentrantLock lock = new ReentrantLock();
    private final Condition freed = lock.newCondition();
    private final int most;
    private double limit;
    private int inUse;
    private long notBefore = System.nanoTime();
    private long halvedAt = System.nanoTime() - HALVE_AT_MOST_EVERY_NANOS;

    /// @param options with both limits
    HostLoad(TransferOptions options) {
        requests = new Pace(options.requestsPerSecond());
        most = options.requestsAtOnce();
        limit = most;
    }

    /// Waits until another request may be sent: a pause that the host asked for, the rate.
    void pace(Operation operation, String what) throws ImageException {
        long wait = pausedNanos();
        if (wait > 0) {
            operation.pause(TimeUnit.NANOSECONDS.toMillis(wait) + 1, what);
        }
        requests.take(1, operation, what);
    }

    /// Whether the host wants to be left alone for so long that others are asked before it.
    boolean wantsRest() {
        return pausedNanos() > LONG_PAUSE_NANOS;
    }

    /// How long the host wants to be left alone; not above 0 when it does not.
    long pausedNanos() {
        lock.lock();
        try {
            return notBefore - System.nanoTime();
        } finally {
            lock.unlock();
        }
    }

    /// Takes a place if one is free. For transfers that can do without.
    boolean tryEnter() {
        lock.lock();
        try {
            if (inUse >= (int) limit || notBefore - System.nanoTime() > 0) {
                return false;
            }
            inUse++;
            return true;
        } finally {
            lock.unlock();
        }
    }

    /// Takes a place, when it becomes free at the latest: a transfer that others wait for must not
    /// wait for them.
    ///
    /// @param patienceNanos after which a place is taken all the same
    void enter(long patienceNanos, Operation operation, String what) throws ImageException {
        Runnable undo = operation.onCancel(this::wake);
        lock.lock();
        try {
            long left = patienceNanos;
            while (inUse >= (int) limit && left > 0) {
                operation.check(what, null);
                left = freed.awaitNanos(left);
            }
            inUse++;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            operation.check(what, e);
        } finally {
            lock.unlock();
            undo.run();
        }
    }

    private void wake() {
        lock.lock();
        try {
            freed.signalAll();
        } finally {
            lock.unlock();
        }
    }

    /// Gives a place back.
    void leave() {
        lock.lock();
        try {
            inUse--;
            freed.signal();
        } finally {
            lock.unlock();
        }
    }

    /// A transfer went well.
    void succeeded() {
        lock.lock();
        try {
            limit = Math.min(most, limit + 1 / limit);
        } finally {
            lock.unlock();
        }
    }

    /// The host said that it is too much.
    ///
    /// @param pauseMillis how long it wants to be left alone, 0 when it did not say
    void overloaded(long pauseMillis) {
        lock.lock();
        try {
            long now = System.nanoTime();
            if (pauseMillis > 0) {
                notBefore = Math.max(notBefore, now + TimeUnit.MILLISECONDS.toNanos(pauseMillis));
            }
            // Requests that fail together are one sign, not several.
            if (now - halvedAt >= HALVE_AT_MOST_EVERY_NANOS) {
                halvedAt = now;
                limit = Math.max(1, Math.min(limit, inUse) / 2);
            }
        } finally {
            lock.unlock();
        }
    }
}
