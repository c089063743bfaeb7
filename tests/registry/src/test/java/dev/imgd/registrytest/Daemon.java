package dev.imgd.registrytest;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/// A server program that others wrote, on loopback ports, until it is closed.
final class Daemon implements AutoCloseable {
    private final Process process;

    private Daemon(Process process) {
        this.process = process;
    }

    static int freePort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return socket.getLocalPort();
        }
    }

    /// Starts a program and waits until it listens.
    static Daemon start(Path log, int port, String... command) throws IOException {
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment().merge("PATH", "/usr/sbin", (path, more) -> path + ':' + more);
        Process process = builder.redirectOutput(log.toFile()).start();
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
        while (true) {
            try (Socket _ = new Socket(InetAddress.getLoopbackAddress(), port)) {
                return new Daemon(process);
            } catch (IOException e) {
                if (System.nanoTime() > deadline || !process.isAlive()) {
                    process.destroyForcibly();
                    throw new IllegalStateException(
                            command[0] + " does not listen: " + Files.readString(log), e);
                }
                LockSupport.parkNanos(20_000_000);
            }
        }
    }

    /// Starts docker-registry.
    ///
    /// @param auth the `auth` section of its configuration, or nothing
    static Daemon dockerRegistry(Path directory, int port, String auth) throws IOException {
        Path config =
                Files.writeString(
                        directory.resolve("registry-" + port + ".yml"),
                        """
                        version: 0.1
                        storage:
                          filesystem:
                            rootdirectory: %s
                          delete:
                            enabled: true
                        http:
                          addr: 127.0.0.1:%d
                        %s
                        """
                                .formatted(directory.resolve("data-" + port), port, auth));
        Path log = directory.resolve("registry-" + port + ".log");
        return start(log, port, "docker-registry", "serve", config.toString());
    }

    @Override
    public void close() {
        process.destroy();
        try {
            if (!process.waitFor(10, TimeUnit.SECONDS)) {
                process.destroyForcibly().waitFor();
            }
        } catch (InterruptedException e) {
            process.destroyForcibly();
            Thread.currentThread().interrupt();
        }
    }
}
