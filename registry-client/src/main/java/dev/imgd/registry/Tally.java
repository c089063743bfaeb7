package dev.imgd.registry;

import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// What one host did for one client. Safe for use by many threads.
///
/// That another host did what this one was asked for is a warning: to the client, for its caller,
/// and in the log. It is given once, and once more if the host is asked no more because of what it
/// sent. Where nobody did it, the error names them all instead.
final class Tally {
    private final String host;
    private final Heard heard;
    private final AtomicLong bytes = new AtomicLong();
    private final AtomicInteger retries = new AtomicInteger();
    private final AtomicBoolean told = new AtomicBoolean();
    private final AtomicBoolean toldOfDistrust = new AtomicBoolean();
    private volatile @Nullable String dropped;
    private volatile boolean distrusted;

    /// @param heard of the client
    Tally(String host, Heard heard) {
        this.host = host;
        this.heard = heard;
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

    /// Asks the host only when no other is left. Says nothing of it yet; see [#tell()].
    void drop(String reason) {
        if (dropped == null) {
            dropped = reason;
        }
    }

    /// Never asks the host again. Says nothing of it yet; see [#tell()].
    void distrust(String reason) {
        if (!distrusted) {
            dropped = reason;
            distrusted = true;
        }
    }

    /// Says that another host is used instead, if the host was dropped.
    void tell() {
        boolean lied = distrusted;
        String reason = dropped;
        if (reason == null) {
            return;
        }
        if (!lied) {
            passedOver(reason);
        } else if (toldOfDistrust.compareAndSet(false, true)) {
            told.set(true);
            say(reason);
        }
    }

    /// Says that another host is used instead, if nothing was said of this one before.
    void passedOver(String reason) {
        if (told.compareAndSet(false, true)) {
            say(reason);
        }
    }

    private void say(String reason) {
        String notice = "registry host %s is passed over: %s".formatted(host, reason);
        heard.add(notice);
        Log.warn(notice);
    }

    boolean isDropped() {
        return dropped != null;
    }

    boolean isDistrusted() {
        return distrusted;
    }

    RegistryClient.SourceUse use() {
        return new RegistryClient.SourceUse(
                host, bytes.get(), retries.get(), Optional.ofNullable(dropped));
    }

    /// Apart, so that a program that drops no host does not start the logging system.
    private static final class Log {
        private static final Logger LOGGER = LoggerFactory.getLogger(Tally.class);

        static void warn(String notice) {
            LOGGER.warn("{}", notice);
        }
    }
}
