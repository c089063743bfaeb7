package dev.imgd.layers;

import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/// Takes the work of every n-th call, on a thread of its own.
final class Colleague implements Assistant, AutoCloseable {
    private final ExecutorService thread =
            Executors.newSingleThreadExecutor(Thread.ofPlatform().daemon().factory());
    private final int every;
    private int calls;
    private int begun;
    private Future<?> last = thread.submit(() -> {});

    Colleague(int every) {
        this.every = every;
    }

    @Override
    public boolean begin(Runnable work) {
        if (++calls % every != 0) {
            return false;
        }
        last = thread.submit(work);
        begun++;
        return true;
    }

    int begun() {
        return begun;
    }

    /// Whether nothing is being worked on.
    boolean isIdle() {
        return last.isDone();
    }

    @Override
    public void close() {
        thread.close();
    }
}
