package dev.imgd.content;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Text;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/// The claim of one process on a store. The kernel drops it when the process dies.
///
/// The file keeps one line, `<pid> <start in epoch milliseconds> <program>`, for the message that a
/// second process shows.
final class StoreLock implements AutoCloseable {
    // A POSIX lock does not hold against its own process and falls when any descriptor of the file
    // is
    // closed, so a second open in the same process must not even touch the file.
    private static final Set<Path> OWNED = ConcurrentHashMap.newKeySet();
    private static final int MAX_LINE_BYTES = 512;

    private final Path claimed;
    private final FileChannel channel;

    private StoreLock(Path claimed, FileChannel channel) {
        this.claimed = claimed;
        this.channel = channel;
    }

    /// @param root the directory of the store, which exists
    /// @throws ImageException `LOCKED` naming the owner
    static StoreLock acquire(Path root, Path file, Instant now) throws ImageException {
        Path claimed;
        try {
            claimed = root.toRealPath();
        } catch (IOException e) {
            throw Failures.of("lock", file, e);
        }
        if (!OWNED.add(claimed)) {
            throw locked(claimed, "this process (%d)".formatted(ProcessHandle.current().pid()));
        }
        FileChannel channel = null;
        try {
            channel = BlobPaths.openFile(file);
            FileLock lock = channel.tryLock();
            if (lock == null) {
                throw locked(claimed, owner(channel));
            }
            // Every command line comes here, and the first formatted number takes long.
            long pid = ProcessHandle.current().pid();
            String line = pid + " " + now.toEpochMilli() + " " + program() + "\n";
            channel.truncate(0);
            BlobPaths.writeFully(
                    channel, ByteBuffer.wrap(line.getBytes(StandardCharsets.UTF_8)), 0);
            return new StoreLock(claimed, channel);
        } catch (IOException e) {
            OWNED.remove(claimed);
            ImageException failure = Failures.of("lock", file, e);
            if (channel != null) {
                try {
                    channel.close();
                } catch (IOException suppressed) {
                    failure.addSuppressed(suppressed);
                }
            }
            throw failure;
        }
    }

    private static ImageException locked(Path root, String owner) {
        return new ImageException(
                ErrorKind.LOCKED,
                "store %s: in use by %s; wait for it, stop it, or talk to the daemon with --address"
                        .formatted(root, owner));
    }

    private static String owner(FileChannel channel) throws IOException {
        ByteBuffer line = ByteBuffer.allocate(MAX_LINE_BYTES);
        BlobPaths.readFully(channel, line, 0);
        String text = new String(line.array(), 0, line.position(), StandardCharsets.UTF_8).strip();
        String[] fields = text.split(" ", 3);
        try {
            return "%s (process %d, since %s)"
                    .formatted(
                            fields.length == 3 ? Text.printable(fields[2], 64) : "a program",
                            Long.parseLong(fields[0]),
                            Instant.ofEpochMilli(Long.parseLong(fields[1])));
        } catch (NumberFormatException | ArrayIndexOutOfBoundsException e) {
            return "another process"; // It holds the lock but has not written its line yet.
        }
    }

    private static String program() {
        String command = System.getProperty("imgd.program", System.getProperty("sun.java.command"));
        if (command == null || command.isEmpty()) {
            return "java";
        }
        // Only the first word: arguments may hold secrets.
        int space = command.indexOf(' ');
        String word = space < 0 ? command : command.substring(0, space);
        return word.substring(word.lastIndexOf('/') + 1);
    }

    @Override
    public void close() throws ImageException {
        try {
            channel.close();
        } catch (IOException e) {
            throw Failures.of("unlock", claimed, e);
        } finally {
            OWNED.remove(claimed);
        }
    }
}
