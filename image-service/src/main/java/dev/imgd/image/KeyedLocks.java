package dev.imgd.image;

import dev.imgd.model.ImageException;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;

/// One lock per key, for as long as somebody uses it. Keeps two pulls in one process from fetching
/// or unpacking the same thing twice. Thread-safe.
final class KeyedLocks {
    private static final long CHECK_MILLIS = 100;

    private static final class Entry {
        final ReentrantLock lock = new ReentrantLock();
        int users;
    }

    private final Map<Object, Entry> entries = new HashMap<>();

    /// Waits for the lock of `key`.
    ///
    /// @param check asked ten times a second whether to go on waiting
    /// @throws InterruptedException when the thread is interrupted while it waits
    Held lock(Object key, Check check) throws InterruptedException, ImageException {
        Entry entry;
        synchronized (entries) {
            entry = entries.computeIfAbsent(key, k -> new Entry());
            entry.users++;
        }
        try {
            while (!entry.lock.tryLock(CHECK_MILLIS, TimeUnit.MILLISECONDS)) {
                check.run();
            }
        } catch (InterruptedException | ImageException e) {
            release(key, entry);
            throw e;
        }
        return () -> {
            entry.lock.unlock();
            release(key, entry);
        };
    }

    private void release(Object key, Entry entry) {
        synchronized (entries) {
            if (--entry.users == 0) {
                entries.remove(key);
            }
        }
    }

    /// A lock that is held; closed by the thread that took it.
    interface Held extends AutoCloseable {
        @Override
        void close();
    }
}
