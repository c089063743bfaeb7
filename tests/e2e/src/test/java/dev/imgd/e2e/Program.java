package dev.imgd.e2e;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;

/// A program that is run to its end, with all it prints.
final class Program {
    private static final Executor READERS = Thread::startVirtualThread;

    private final List<String> words;
    private final Map<String, String> environment = new HashMap<>();
    private Path directory = Path.of("/");
    private String input = "";
    private Duration limit = Duration.ofMinutes(3);

    private Program(List<String> words) {
        this.words = List.copyOf(words);
    }

    static Program of(Object... words) {
        List<String> text = new ArrayList<>();
        for (Object word : words) {
            text.add(word.toString());
        }
        return new Program(text);
    }

    /// Sets a variable of the program's environment.
    Program env(String name, String value) {
        environment.put(name, value);
        return this;
    }

    /// What it reads on standard input, less than a pipe holds; nothing by default.
    Program input(String text) {
        input = text;
        return this;
    }

    /// Sets the working directory.
    Program in(Path directory) {
        this.directory = directory;
        return this;
    }

    /// How long it may take before it is killed and the test fails; 3 minutes by default.
    Program within(Duration limit) {
        this.limit = limit;
        return this;
    }

    /// Runs it, whatever its exit code will be.
    Finished run() {
        return start().end();
    }

    /// Runs it and expects success.
    ///
    /// @return what it printed on standard output
    String ok() {
        Finished finished = run();
        finished.expectExit(0);
        return finished.out();
    }

    /// Starts it; the caller ends it by [Running#end] or [Running#kill].
    Running start() {
        ProcessBuilder builder = new ProcessBuilder(words).directory(directory.toFile());
        builder.environment().putAll(environment);
        if (input.isEmpty()) {
            builder.redirectInput(ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()));
        }
        try {
            Process process = builder.start();
            if (!input.isEmpty()) {
                try (OutputStream in = process.getOutputStream()) {
                    in.write(input.getBytes(StandardCharsets.UTF_8));
                }
            }
            return new Running(
                    words,
                    process,
                    limit,
                    System.nanoTime(),
                    read(process.getInputStream()),
                    read(process.getErrorStream()));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static CompletableFuture<byte[]> read(InputStream stream) {
        return CompletableFuture.supplyAsync(
                () -> {
                    try (stream) {
                        return stream.readAllBytes();
                    } catch (IOException e) {
                        throw new UncheckedIOException(e);
                    }
                },
                READERS);
    }

    /// A program that runs.
    record Running(
            List<String> words,
            Process process,
            Duration limit,
            long startNanos,
            CompletableFuture<byte[]> out,
            CompletableFuture<byte[]> err) {

        /// Waits for its end.
        Finished end() {
            try {
                if (!process.waitFor(limit.toMillis(), TimeUnit.MILLISECONDS)) {
                    process.descendants().forEach(ProcessHandle::destroyForcibly);
                    process.destroyForcibly().waitFor();
                    throw new AssertionError(finished() + "\nkilled: took longer than " + limit);
                }
                return finished();
            } catch (InterruptedException e) {
                process.destroyForcibly();
                throw new AssertionError("interrupted: " + words, e);
            }
        }

        /// Whether it ended by itself within that time.
        boolean ends(Duration within) throws InterruptedException {
            return process.waitFor(within.toNanos(), TimeUnit.NANOSECONDS);
        }

        /// Ends it with SIGKILL.
        Finished kill() throws InterruptedException {
            process.destroyForcibly().waitFor();
            return finished();
        }

        /// Sends a signal, for example `INT`.
        void signal(String name) {
            Program.of("kill", "-" + name, process.pid()).ok();
        }

        private Finished finished() {
            return new Finished(
                    words,
                    process.exitValue(),
                    new String(out.join(), StandardCharsets.UTF_8),
                    new String(err.join(), StandardCharsets.UTF_8),
                    Duration.ofNanos(System.nanoTime() - startNanos));
        }
    }

    /// A program that ended.
    record Finished(List<String> words, int exit, String out, String err, Duration took) {
        /// Fails with everything it printed unless it ended with this code.
        Finished expectExit(int code) {
            if (exit != code) {
                throw new AssertionError("wanted exit code " + code + "\n" + this);
            }
            return this;
        }

        @Override
        public String toString() {
            return "%s: exit code %d after %d ms%n--- standard output%n%s%n--- standard error%n%s"
                    .formatted(String.join(" ", words), exit, took.toMillis(), out, err);
        }
    }
}
