package dev.imgd.cli;

import java.io.PrintStream;

/// Where the running command prints.
///
/// @param out results only
/// @param err progress, warnings and errors
record Console(PrintStream out, PrintStream err) {
    private static volatile Console current = new Console(System.out, System.err);

    static Console current() {
        return current;
    }

    static void set(Console console) {
        current = console;
    }
}
