package dev.imgd.snapshot.overlay;

import dev.imgd.model.ImageException;
import dev.imgd.snapshot.Usage;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/// Measures directories, and active ones not more often than is cheap.
///
/// Callers poll: a measurement is served again until it is as old as the time to live or as
/// [#COST_FACTOR] times what it took, and one that took long is renewed in the background while the
/// old one is served. Calls for the same directory share one measurement. Thread-safe.
final class UsageMeter {
    /// Keeps measuring below 2 % of one processor for each directory.
    private static final int COST_FACTOR = 50;

    private static final long MAX_AGE_NANOS = Duration.ofMinutes(10).toNanos();
    private static final long CHEAP_NANOS = Duration.ofMillis(20).toNanos();

    /// Measures a directory.
    @FunctionalInterface
    interface Gauge {
        Usage measure(long directory) throws ImageException;
    }

    private record Measured(Usage usage, long atNanos, long costNanos) {}

    private final Gauge gauge;
    private final long ttlNanos;
    private final LongSupplier ticker;
    private final Executor background;
    private final Map<Long, Measured> known = new ConcurrentHashMap<>();
    private final Map<Long, CompletableFuture<Measured>> running = new ConcurrentHashMap<>();

    /// @param ticker nanoseconds from an arbitrary start
    UsageMeter(Gauge gauge, Duration ttl, LongSupplier ticker, Executor background) {
        this.gauge = gauge;
        this.ttlNanos = ttl.toNanos();
        this.ticker = ticker;
        this.background = background;
    }

    /// What a directory takes that changes all the time.
    Usage changing(long directory) throws ImageException {
        Measured last = known.get(directory);
        if (last != null) {
            long age = ticker.getAsLong() - last.atNanos();
            long valid = Math.min(MAX_AGE_NANOS, last.costNanos() * COST_FACTOR);
            if (age < Math.max(ttlNanos, valid)) {
                return last.usage();
            }
            if (last.costNanos() > CHEAP_NANOS) {
                if (!running.containsKey(directory)) {
                    background.execute(() -> refresh(directory));
                }
                return last.usage();
            }
        }
        Measured measured = measure(directory);
        known.put(directory, measured);
        return measured.usage();
    }

    /// What a directory takes that does not change any more.
    Usage constant(long directory) throws ImageException {
        return measure(directory).usage();
    }

    /// Forgets a directory that is gone or does not change any more.
    void forget(long directory) {
        known.remove(directory);
    }

    private void refresh(long directory) {
        try {
            Measured measured = measure(directory);
            known.computeIfPresent(directory, (_, _) -> measured);
        } catch (ImageException e) {
            // Gone meanwhile, or broken: the next caller measures itself and gets the error.
            known.remove(directory);
        }
    }

    private Measured measure(long directory) throws ImageException {
        CompletableFuture<Measured> mine = new CompletableFuture<>();
        CompletableFuture<Measured> other = running.putIfAbsent(directory, mine);
        if (other != null) {
            return await(other);
        }
        try {
            long start = ticker.getAsLong();
            Usage usage = gauge.measure(directory);
            long end = ticker.getAsLong();
            Measured measured = new Measured(usage, end, end - start);
            mine.complete(measured);
            return measured;
        } catch (ImageException | RuntimeException e) {
            mine.completeExceptionally(e);
            throw e;
        } finally {
            running.remove(directory);
        }
    }

    private static Measured await(CompletableFuture<Measured> other) throws ImageException {
        try {
            return other.get();
        } catch (ExecutionException e) {
            @Nullable Throwable cause = e.getCause();
            if (cause instanceof ImageException error) {
                throw new ImageException(error.kind(), String.valueOf(error.getMessage()), error);
            }
            throw new IllegalStateException("measuring a directory", cause);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new ImageException(
                    dev.imgd.model.ErrorKind.CANCELLED, "measuring a directory: interrupted", e);
        }
    }
}
