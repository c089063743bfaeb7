package dev.imgd.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/// Whether this process runs as root.
final class Superuser {
    private static final boolean RUNNING = effectiveUid(Path.of("/proc/self/status")) == 0;

    private Superuser() {}

    /// By the effective uid: in a container the name of the user and its home can be anything.
    static boolean running() {
        return RUNNING;
    }

    /// The effective uid in such a file, or -1 when it cannot be read. Read from there because most
    /// commands need no system call of their own, and linking the first one takes longer than they
    /// run.
    ///
    /// **Source:** proc_pid_status(5), `Uid:` real, effective, saved and file system uid.
    static long effectiveUid(Path status) {
        try {
            for (String line : Files.readAllLines(status)) {
                if (line.startsWith("Uid:\t")) {
                    int start = line.indexOf('\t', "Uid:\t".length()) + 1;
                    return Long.parseLong(line, start, line.indexOf('\t', start), 10);
                }
            }
            return -1;
        } catch (IOException | NumberFormatException | IndexOutOfBoundsException e) {
            return -1; // no such /proc: treated like any other user
        }
    }
}
