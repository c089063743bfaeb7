package dev.imgd.registry;

import java.util.LinkedHashMap;
import org.jspecify.annotations.Nullable;

/// What is known or was made for the keys that were used last, such as hosts and configurations. A
/// key is forgotten, and what was kept for it, once enough others were used since; so is that of a
/// configuration that changed, which is a new key. Safe for use by many threads.
final class Recent<K, V> {
    private final int most;
    private final LinkedHashMap<K, V> values = new LinkedHashMap<>(16, 0.75f, true);

    /// @param most how many are kept; far more than are in use at any time
    Recent(int most) {
        this.most = most;
    }

    synchronized @Nullable V get(K key) {
        return values.get(key);
    }

    /// Keeps a value, unless there is one already.
    ///
    /// @return the one that is kept
    synchronized V keep(K key, V value) {
        V known = values.get(key);
        if (known != null) {
            return known;
        }
        values.put(key, value);
        if (values.size() > most) {
            values.pollFirstEntry();
        }
        return value;
    }

    /// Keeps a value in the place of the one that there may be.
    synchronized void replace(K key, V value) {
        values.put(key, value);
        if (values.size() > most) {
            values.pollFirstEntry();
        }
    }

    synchronized int size() {
        return values.size();
    }
}
