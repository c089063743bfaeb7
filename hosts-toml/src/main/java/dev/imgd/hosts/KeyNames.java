package dev.imgd.hosts;

import java.util.List;
import java.util.Locale;

/// Says which word was probably meant.
final class KeyNames {
    private KeyNames() {}

    /// `did you mean "x"?` when one of the words is close, else the list of them.
    static String advice(String unknown, List<String> known) {
        String best = "";
        int fewest = Integer.MAX_VALUE;
        for (String word : known) {
            int distance = distance(unknown.toLowerCase(Locale.ROOT), word);
            if (distance < fewest) {
                fewest = distance;
                best = word;
            }
        }
        return fewest <= Math.max(2, best.length() / 3)
                ? "did you mean \"%s\"?".formatted(best)
                : "the keys here are " + String.join(", ", known);
    }

    /// Levenshtein's edit distance.
    private static int distance(String a, String b) {
        int[] row = new int[b.length() + 1];
        for (int j = 0; j <= b.length(); j++) {
            row[j] = j;
        }
        for (int i = 1; i <= a.length(); i++) {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= b.length(); j++) {
                int above = row[j];
                int cost = a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1;
                row[j] = Math.min(Math.min(row[j] + 1, row[j - 1] + 1), diagonal + cost);
                diagonal = above;
            }
        }
        return row[b.length()];
    }
}
