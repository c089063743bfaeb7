package dev.imgd.hosts;

import dev.imgd.model.Spelling;
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
            int distance = Spelling.distance(unknown.toLowerCase(Locale.ROOT), word);
            if (distance < fewest) {
                fewest = distance;
                best = word;
            }
        }
        return fewest <= Math.max(2, best.length() / 3)
                ? "did you mean \"%s\"?".formatted(best)
                : "the keys here are " + String.join(", ", known);
    }
}
