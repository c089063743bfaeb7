package dev.imgd.cli;

import java.io.PrintStream;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/// Where the running command prints. Safe for use by many threads.
final class Console {
    private static volatile Console current = new Console(System.out, System.err);

    private final PrintStream out;
    private final PrintStream err;
    private final Set<String> warned = ConcurrentHashMap.newKeySet();

    /// @param out results only
    /// @param err progress, warnings and errors
    Console(PrintStream out, PrintStream err) {
        this.out = out;
        this.err = err;
    }

    static Console current() {
        return current;
    }

    static void set(Console console) {
        current = console;
    }

    PrintStream out() {
        return out;
    }

    PrintStream err() {
        return err;
    }

    /// Prints a warning. Each is printed once: what is logged may also be in a result.
    void warn(String text) {
        if (warned.add(text)) {
            err.println("imgctl: warning: " + text);
            err.flush();
        }
    }
}
