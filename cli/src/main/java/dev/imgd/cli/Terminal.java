package dev.imgd.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/// What is known of the terminal without native code.
final class Terminal {
    private Terminal() {}

    /// Whether standard error is a terminal.
    static boolean stderrIsTerminal() {
        try {
            String target = Files.readSymbolicLink(Path.of("/proc/self/fd/2")).toString();
            return (target.startsWith("/dev/pts/")
                            || target.startsWith("/dev/tty")
                            || target.equals("/dev/console"))
                    && !"dumb".equals(System.getenv("TERM"));
        } catch (IOException e) {
            return false; // no /proc: draw nothing
        }
    }

    /// The width: the variable that shells export, else 80.
    static int columns() {
        return size("COLUMNS", 80);
    }

    /// The height, else 24.
    static int rows() {
        return size("LINES", 24);
    }

    private static int size(String variable, int absent) {
        String value = System.getenv(variable);
        if (value == null) {
            return absent;
        }
        try {
            return Math.clamp(Integer.parseInt(value.strip()), 20, 1000);
        } catch (NumberFormatException e) {
            return absent; // somebody's own variable of that name
        }
    }
}
