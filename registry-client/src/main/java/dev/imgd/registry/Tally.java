package dev.imgd.registry;

import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// What one host did for one client. Safe for use by many threads.
final class Tally {
    private final String host;
    private final AtomicLong bytes = new AtomicLong();
    private final AtomicInteger retries = new AtomicInteger();
    private volatile @Nullable String dropped;
    private volatile boolean distrusted;

    Tally(String host) {
        this.host = host;
    }

    String host() {
        return host;
    }

    void received(long count) {
        bytes.addAndGet(count);
    }

    /// Whether any bytes came from the host.
    boolean hasServed() {
        return bytes.get() > 0;
    }

    void retried() {
        retries.incrementAndGet();
    }

    /// Asks the host only when no other is left.
    void drop(String reason) {
        if (dropped == null) {
            dropped = reason;
            Log.dropped(host, reason);
        }
    }

    /// Never asks the host again.
    void distrust(String reason) {
        if (!distrusted) {
            dropped = reason;
            distrusted = true;
            Log.dropped(host, reason);
        }
    }

    boolean isDropped() {
        return dropped != null;
    }

    boolean isDistrusted() {
        return distrusted;
    }

    /// Apart, so that a program that drops no host does not start the logging system.
    private static final class Log {
        private static final Logger LOGGER = LoggerFactory.getLogger(Tally.class);

        static void dropped(String host, String reason) {
            LOGGER.info("source dropped host={} reason=\"{}\"", host, reason);
        }
    }

    RegistryClient.SourceUse use() {
        return new RegistryClient.SourceUse(
                host, bytes.get(), retries.get(), Optional.ofNullable(dropped));
    }
}
