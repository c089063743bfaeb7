package dev.imgd.registry;

import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/// What registries said to one client, each text once. Safe for use by many threads.
final class Heard {
    private static final int MOST = 20;

    private final Set<String> texts = new LinkedHashSet<>();

    synchronized void add(String text) {
        if (texts.size() < MOST) {
            texts.add(text);
        }
    }

    synchronized List<String> texts() {
        return List.copyOf(texts);
    }
}
