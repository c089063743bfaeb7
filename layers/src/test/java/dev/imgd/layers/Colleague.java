package dev.imgd.layers;

import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/// Takes the work of every n-th call, on a thread of its own.
final class Colleague implements Assistant, AutoCloseable {
    private final ExecutorService thread =
            Executors.newSingleThreadExecutor(Thread.ofPlatform().daemon().factory());
    private final int every;
    private int calls;
    private int begun;

    Colleague(int every) {
        this.every = every;
    }

    @Override
    public boolean begin(Runnable work) {
        if (++calls % every != 0) {
            return false;
        }
        thread.execute(work);
        begun++;
        return true;
    }

    int begun() {
        return begun;
    }

    @Override
    public void close() {
        thread.close();
    }
}
