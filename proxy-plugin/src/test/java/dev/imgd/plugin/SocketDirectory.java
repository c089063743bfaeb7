package dev.imgd.plugin;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/// A fresh directory with a path short enough for a socket.
final class SocketDirectory implements AutoCloseable {
    private final Path directory;

    SocketDirectory() throws IOException {
        directory = Files.createTempDirectory("imgd");
    }

    Path socket() {
        return directory.resolve("s.sock");
    }

    Path path() {
        return directory;
    }

    @Override
    public void close() throws IOException {
        try (var files = Files.walk(directory)) {
            for (Path file : files.sorted(java.util.Comparator.reverseOrder()).toList()) {
                Files.delete(file);
            }
        }
    }
}
