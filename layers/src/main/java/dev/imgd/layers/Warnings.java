package dev.imgd.layers;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/// What was left out on purpose, each kind once with its count and its first example.
final class Warnings {
    /// Kinds may hold names from the archive, so their number is bounded.
    private static final int MAX_KINDS = 32;

    private final Map<String, Count> byKind = new LinkedHashMap<>();

    private static final class Count {
        final String example;
        long count;

        Count(String example) {
            this.example = example;
        }
    }

    /// Counts one case.
    ///
    /// @param kind what was left out and why
    /// @param name the entry
    void add(String kind, String name) {
        Count count = byKind.get(kind);
        if (count == null) {
            if (byKind.size() == MAX_KINDS) {
                return;
            }
            count = new Count(name);
            byKind.put(kind, count);
        }
        count.count++;
    }

    List<String> list() {
        List<String> all = new ArrayList<>(byKind.size());
        byKind.forEach(
                (kind, count) ->
                        all.add(
                                "%s: %d, first %s"
                                        .formatted(
                                                kind,
                                                count.count,
                                                TarReader.quoted(count.example))));
        return all;
    }
}
