package dev.imgd.cli;

import dev.imgd.model.ImageException;
import dev.imgd.model.Text;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import tools.jackson.databind.JsonNode;

/// A value of the configuration file, with typed access that explains itself: every method throws
/// `INVALID_ARGUMENT` with file, key and what was wanted.
record ConfigValue(Path file, String key, JsonNode node) {
    private static final String A_SIZE = "a size such as \"64MiB\"";
    private static final String A_DURATION = "a duration such as \"30s\", \"5m\" or \"24h\"";
    private static final List<String> SIZE_UNITS = List.of("KiB", "MiB", "GiB", "TiB");

    String text() throws ImageException {
        if (!node.isString()) {
            throw wrong("a string");
        }
        return node.stringValue();
    }

    Path path() throws ImageException {
        try {
            Path path = Path.of(text());
            if (path.isAbsolute()) {
                return path;
            }
        } catch (InvalidPathException e) {
            throw wrong("an absolute path"); // a NUL
        }
        throw wrong("an absolute path");
    }

    /// A list of absolute paths, or one string with colons between them.
    List<Path> paths() throws ImageException {
        List<Path> paths = new ArrayList<>();
        if (node.isArray()) {
            for (ConfigValue item : list()) {
                paths.add(item.path());
            }
            return List.copyOf(paths);
        }
        String wanted = "a list of absolute paths, or one string with colons between them";
        for (String part : text().split(":")) {
            try {
                if (!part.isEmpty()) {
                    paths.add(absolute(part));
                }
            } catch (InvalidPathException e) {
                throw wrong(wanted); // a NUL, or not from the root
            }
        }
        return List.copyOf(paths);
    }

    private static Path absolute(String text) {
        Path path = Path.of(text);
        if (!path.isAbsolute()) {
            throw new InvalidPathException(text, "not absolute");
        }
        return path;
    }

    String oneOf(List<String> choices) throws ImageException {
        String text = text();
        if (!choices.contains(text)) {
            throw wrong("one of " + String.join(", ", choices));
        }
        return text;
    }

    int count(int min, int max) throws ImageException {
        if (!node.isIntegralNumber() || node.longValue() < min || node.longValue() > max) {
            throw wrong("a number from %d to %d".formatted(min, max));
        }
        return node.intValue();
    }

    /// A plain number or a size with a unit.
    long number() throws ImageException {
        return node.isIntegralNumber() ? node.longValue() : bytes();
    }

    long bytes() throws ImageException {
        String text = text();
        for (int i = 0; i < SIZE_UNITS.size(); i++) {
            String unit = SIZE_UNITS.get(i);
            if (text.endsWith(unit)) {
                return amount(text, unit.length(), 1L << (10 * (i + 1)), A_SIZE);
            }
        }
        if (text.endsWith("B")) {
            return amount(text, 1, 1, A_SIZE);
        }
        throw wrong(A_SIZE);
    }

    Duration duration() throws ImageException {
        String text = text();
        if (text.endsWith("ms")) {
            return Duration.ofMillis(amount(text, 2, 1, A_DURATION));
        }
        long amount = amount(text, 1, 1, A_DURATION);
        return switch (text.charAt(text.length() - 1)) {
            case 's' -> Duration.ofSeconds(amount);
            case 'm' -> Duration.ofMinutes(amount);
            case 'h' -> Duration.ofHours(amount);
            default -> throw wrong(A_DURATION);
        };
    }

    /// From 1 ms to 1 h.
    Duration timeout() throws ImageException {
        Duration duration = duration();
        if (duration.isZero() || duration.compareTo(Duration.ofHours(1)) > 0) {
            throw wrong("a duration from \"1ms\" to \"1h\"");
        }
        return duration;
    }

    /// What stands before a unit of some characters, times a factor.
    private long amount(String text, int unitChars, long factor, String wanted)
            throws ImageException {
        String digits = text.substring(0, Math.max(0, text.length() - unitChars)).strip();
        if (digits.isEmpty() || digits.length() > 9) {
            throw wrong(wanted);
        }
        for (int i = 0; i < digits.length(); i++) {
            if (digits.charAt(i) < '0' || digits.charAt(i) > '9') {
                throw wrong(wanted);
            }
        }
        long number = Long.parseLong(digits);
        if (number > Long.MAX_VALUE / factor) {
            throw wrong(wanted);
        }
        return number * factor;
    }

    /// The items of a list, each to be read like a value of its own.
    List<ConfigValue> list() throws ImageException {
        if (!node.isArray()) {
            throw wrong("a list");
        }
        List<ConfigValue> items = new ArrayList<>(node.size());
        for (JsonNode item : node.values()) {
            items.add(new ConfigValue(file, key, item));
        }
        return items;
    }

    /// A list of strings, in their order.
    Set<String> texts() throws ImageException {
        Set<String> texts = new LinkedHashSet<>();
        for (ConfigValue item : list()) {
            texts.add(item.text());
        }
        return texts;
    }

    /// A list of some of the choices, at least one.
    Set<String> someOf(List<String> choices) throws ImageException {
        Set<String> texts = texts();
        if (texts.isEmpty() || !choices.containsAll(texts)) {
            throw wrong("a list of " + String.join(", ", choices));
        }
        return texts;
    }

    boolean bool() throws ImageException {
        if (!node.isBoolean()) {
            throw wrong("true or false");
        }
        return node.booleanValue();
    }

    private ImageException wrong(String wanted) {
        String got = node.toString();
        return ImageException.invalidArgument(
                "%s: %s: wanted %s, got %s"
                        .formatted(
                                file,
                                key,
                                wanted,
                                // It may be the URL of a proxy, with a password.
                                Text.printable(Text.withoutSecret(got), 80)));
    }
}
