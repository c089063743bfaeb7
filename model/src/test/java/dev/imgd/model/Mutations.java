package dev.imgd.model;

import static java.nio.charset.StandardCharsets.ISO_8859_1;

import java.util.List;
import java.util.Random;

/// Endless variations of valid inputs, the same ones for the same seed.
final class Mutations {
    private static final List<String> TOKENS =
            List.of(
                    "{",
                    "}",
                    "[",
                    "]",
                    ",",
                    ":",
                    "\"",
                    "\\",
                    "\\ud800",
                    "null",
                    "true",
                    "-1",
                    "1e9",
                    "99999999999999999999",
                    "0.5",
                    "\"manifests\"",
                    "\"layers\"",
                    "\"config\"",
                    "\"size\"",
                    "\"digest\"",
                    "\"mediaType\"",
                    "sha256:",
                    "/",
                    "..",
                    "@",
                    "%",
                    "(",
                    "+",
                    "é",
                    "\u0000",
                    "\n",
                    "\u00ff",
                    "A");

    private final Random random;
    private final List<byte[]> seeds;

    Mutations(long seed, List<byte[]> seeds) {
        this.random = new Random(seed);
        this.seeds = seeds;
    }

    byte[] next() {
        String text = new String(any(seeds), ISO_8859_1);
        for (int edits = random.nextInt(1, 6); edits > 0; edits--) {
            int from = random.nextInt(text.length() + 1);
            int to = Math.min(text.length(), from + random.nextInt(1, 20));
            String cut = text.substring(from, to);
            String piece =
                    switch (random.nextInt(6)) {
                        case 0 -> "";
                        case 1 -> any(TOKENS);
                        case 2 -> cut + cut;
                        case 3 -> any(TOKENS).repeat(random.nextInt(1, 100));
                        case 4 -> String.valueOf((char) random.nextInt(256)) + cut;
                        default -> slice(new String(any(seeds), ISO_8859_1));
                    };
            text = text.substring(0, from) + piece + text.substring(to);
        }
        return text.getBytes(ISO_8859_1);
    }

    private String slice(String text) {
        int from = random.nextInt(text.length() + 1);
        return text.substring(from, Math.min(text.length(), from + random.nextInt(200)));
    }

    private <T> T any(List<T> list) {
        return list.get(random.nextInt(list.size()));
    }
}
