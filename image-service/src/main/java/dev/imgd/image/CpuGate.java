package dev.imgd.image;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.util.PriorityQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/// Lets as many unpackers run as there are processors, the ones with the most work left first.
///
/// An unpacker that waits for the network gives its place away, so a slow download never keeps a
/// processor idle; and because the longest layer goes first, it is not the one that everybody waits
/// for at the end. Thread-safe.
final class CpuGate {
    private record Waiter(long work, long order, Condition turn) {
        boolean isFirst(PriorityQueue<Waiter> queue) {
            Waiter first = queue.peek();
            return first != null && first.order == order;
        }
    }

    private static final long CHECK_NANOS = TimeUnit.MILLISECONDS.toNanos(100);

    private final ReentrantLock lock = new ReentrantLock();
    private final PriorityQueue<Waiter> waiters =
            new PriorityQueue<>(
                    (a, b) ->
                            a.work != b.work
                                    ? Long.compare(b.work, a.work)
                                    : Long.compare(a.order, b.order));
    private int free;
    private long arrivals;

    CpuGate(int places) {
        this.free = places;
    }

    /// Waits for a place.
    ///
    /// @param work how much is left to do, in any unit that all callers share
    /// @param check asked ten times a second whether to go on waiting
    /// @throws ImageException that of the check; then there is no place to give back
    void enter(long work, Check check) throws ImageException {
        lock.lock();
        try {
            if (free > 0 && waiters.isEmpty()) {
                free--;
                return;
            }
            Waiter self = new Waiter(work, arrivals++, lock.newCondition());
            waiters.add(self);
            try {
                while (free == 0 || !self.isFirst(waiters)) {
                    self.turn.awaitNanos(CHECK_NANOS);
                    check.run();
                }
                free--;
            } catch (InterruptedException e) {
                throw new ImageException(
                        ErrorKind.CANCELLED, "interrupted while waiting for a processor", e);
            } finally {
                waiters.remove(self);
                wakeNext();
            }
        } finally {
            lock.unlock();
        }
    }

    /// Takes a place that nobody waits for.
    ///
    /// @return whether there was one, to be given back
    boolean tryEnter() {
        lock.lock();
        try {
            if (free == 0 || !waiters.isEmpty()) {
                return false;
            }
            free--;
            return true;
        } finally {
            lock.unlock();
        }
    }

    /// Gives the place back.
    void leave() {
        lock.lock();
        try {
            free++;
            wakeNext();
        } finally {
            lock.unlock();
        }
    }

    private void wakeNext() {
        Waiter next = waiters.peek();
        if (next != null && free > 0) {
            next.turn.signal();
        }
    }
}
