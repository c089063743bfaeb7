package dev.imgd.model;

import java.util.Locale;
import java.util.Optional;

/// Finds which of several words somebody probably meant.
public final class Spelling {
    private Spelling() {}

    /// The word that is nearest to what was written, if it is near: one mistake, or one for every
    /// three letters. Letter case is no mistake.
    public static Optional<String> nearest(String written, Iterable<String> known) {
        Optional<String> best = Optional.empty();
        int fewest = Math.max(1, written.length() / 3) + 1;
        String lower = written.toLowerCase(Locale.ROOT);
        for (String word : known) {
            // No two words are nearer than their lengths are.
            if (Math.abs(word.length() - lower.length()) < fewest) {
                int distance = distance(lower, word.toLowerCase(Locale.ROOT));
                if (distance < fewest) {
                    fewest = distance;
                    best = Optional.of(word);
                }
            }
        }
        return best;
    }

    /// How many letters have to be inserted, deleted, replaced or exchanged with their neighbour to
    /// make one word of the other. **Source:** the optimal string alignment distance.
    public static int distance(String a, String b) {
        int[] twoBack = new int[b.length() + 1];
        int[] back = new int[b.length() + 1];
        for (int j = 0; j <= b.length(); j++) {
            back[j] = j;
        }
        for (int i = 1; i <= a.length(); i++) {
            int[] row = new int[b.length() + 1];
            row[0] = i;
            for (int j = 1; j <= b.length(); j++) {
                int cost = a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1;
                row[j] = Math.min(Math.min(back[j] + 1, row[j - 1] + 1), back[j - 1] + cost);
                if (i > 1
                        && j > 1
                        && a.charAt(i - 1) == b.charAt(j - 2)
                        && a.charAt(i - 2) == b.charAt(j - 1)) {
                    row[j] = Math.min(row[j], twoBack[j - 2] + 1);
                }
            }
            twoBack = back;
            back = row;
        }
        return back[b.length()];
    }
}
