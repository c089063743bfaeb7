package dev.imgd.cli;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/// Reads passwords, which are never taken from the command line: other users see that.
final class SecretInput {
    private static final int MAX_BYTES = 64 << 10;

    private SecretInput() {}

    /// Asks at the terminal, or else reads standard input to its end, without the line break there.
    ///
    /// @param prompt shown at a terminal
    /// @return perhaps empty
    // The check wants no comparison with null; without a terminal there is none all the same.
    @SuppressWarnings("SystemConsoleNull")
    static String read(String prompt) throws ImageException {
        java.io.Console terminal = System.console();
        if (terminal != null && terminal.isTerminal()) {
            char[] typed = terminal.readPassword("%s", prompt);
            return typed == null ? "" : new String(typed);
        }
        return piped();
    }

    /// Asks at the terminal for what may be seen.
    ///
    /// @return empty without a terminal, or where nothing was typed
    @SuppressWarnings("SystemConsoleNull")
    static Optional<String> ask(String prompt) {
        java.io.Console terminal = System.console();
        if (terminal == null || !terminal.isTerminal()) {
            return Optional.empty();
        }
        String typed = terminal.readLine("%s", prompt);
        return Optional.ofNullable(typed).map(String::strip).filter(text -> !text.isEmpty());
    }

    /// As [#read], for several: without a terminal, each is a line.
    @SuppressWarnings("SystemConsoleNull")
    static List<String> read(List<String> prompts) throws ImageException {
        java.io.Console terminal = System.console();
        if (prompts.size() == 1 || (terminal != null && terminal.isTerminal())) {
            List<String> typed = new ArrayList<>();
            for (String prompt : prompts) {
                typed.add(read(prompt));
            }
            return typed;
        }
        List<String> lines = piped().lines().toList();
        if (lines.size() != prompts.size()) {
            throw ImageException.invalidArgument(
                    "standard input: wanted %d passwords, each a line, got %d lines"
                            .formatted(prompts.size(), lines.size()));
        }
        return lines;
    }

    private static String piped() throws ImageException {
        try {
            byte[] bytes = System.in.readNBytes(MAX_BYTES + 1);
            if (bytes.length > MAX_BYTES) {
                throw ImageException.invalidArgument(
                        "the password on standard input is longer than 64 KiB");
            }
            String text = new String(bytes, StandardCharsets.UTF_8);
            if (text.endsWith("\n")) {
                text = text.substring(0, text.length() - 1);
            }
            return text.endsWith("\r") ? text.substring(0, text.length() - 1) : text;
        } catch (ImageException e) {
            throw e;
        } catch (IOException e) {
            throw new ImageException(
                    ErrorKind.INTERNAL, "the password cannot be read: " + e.getMessage(), e);
        }
    }
}
