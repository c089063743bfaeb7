package dev.imgd.e2e;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;

/// A daemon of a test; everything it prints goes to a log file.
class Background implements AutoCloseable {
    private static final Duration START = Duration.ofSeconds(60);
    private static final Duration STOP = Duration.ofSeconds(30);

    private final String name;
    private final Path log;
    private final Process process;

    /// Starts it.
    ///
    /// @param name for people
    /// @param log appended to
    Background(String name, Path log, Object... command) {
        this(name, log, Map.of(), command);
    }

    /// Starts it with more variables in its environment.
    Background(String name, Path log, Map<String, String> environment, Object... command) {
        this.name = name;
        this.log = log;
        List<String> words = new ArrayList<>();
        for (Object word : command) {
            words.add(word.toString());
        }
        try {
            ProcessBuilder builder =
                    new ProcessBuilder(words)
                            .directory(Path.of("/").toFile())
                            .redirectInput(
                                    ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()))
                            .redirectErrorStream(true)
                            .redirectOutput(ProcessBuilder.Redirect.appendTo(log.toFile()));
            builder.environment().putAll(environment);
            process = builder.start();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /// Waits until it is ready; fails at once when it ends.
    final void await(BooleanSupplier ready) {
        Await.until(
                name + " is ready",
                START,
                () -> {
                    if (!process.isAlive()) {
                        throw new AssertionError(
                                "%s ended with exit code %d:%n%s"
                                        .formatted(name, process.exitValue(), log()));
                    }
                    return ready.getAsBoolean();
                });
    }

    /// Whether somebody accepts connections there.
    static boolean accepts(Path socket) {
        try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
            return channel.connect(UnixDomainSocketAddress.of(socket));
        } catch (IOException e) {
            return false;
        }
    }

    /// Everything printed so far.
    final String log() {
        try {
            return Files.readString(log);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    final long pid() {
        return process.pid();
    }

    final boolean isAlive() {
        return process.isAlive();
    }

    /// Ends it with SIGKILL and waits until it is gone.
    final void kill() {
        process.destroyForcibly();
        if (!endsWithin(STOP)) {
            throw new AssertionError(name + " survives SIGKILL for " + STOP);
        }
    }

    /// Ends it with SIGTERM.
    ///
    /// @return the exit code
    final int terminate() {
        process.destroy();
        if (!endsWithin(STOP)) {
            kill();
            throw new AssertionError(
                    "%s did not end within %s of SIGTERM:%n%s".formatted(name, STOP, log()));
        }
        return process.exitValue();
    }

    /// Ends it, if nobody did before.
    @Override
    public void close() {
        if (process.isAlive()) {
            terminate();
        }
    }

    private boolean endsWithin(Duration limit) {
        try {
            return process.waitFor(limit.toMillis(), TimeUnit.MILLISECONDS);
        } catch (InterruptedException e) {
            process.destroyForcibly();
            throw new AssertionError("interrupted while waiting for " + name, e);
        }
    }
}
