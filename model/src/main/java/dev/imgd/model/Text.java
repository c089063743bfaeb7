package dev.imgd.model;

/// Makes text from outside fit for an error message, a log or a terminal.
public final class Text {
    private Text() {}

    /// Returns the text with control characters, quotes and lone surrogates escaped as `\\uXXXX`, cut to
    /// `maxChars` characters with an ellipsis.
    public static String printable(String text, int maxChars) {
        StringBuilder out = new StringBuilder(Math.min(text.length(), maxChars) + 8);
        for (int i = 0; i < text.length(); i++) {
            if (out.length() >= maxChars) {
                return out.append("…").toString();
            }
            char c = text.charAt(i);
            if (Character.isISOControl(c)
                    || c == '"'
                    || Character.getType(c) == Character.FORMAT
                    || (Character.isSurrogate(c) && !isPaired(text, i))) {
                out.append("\\u%04x".formatted((int) c));
            } else {
                out.append(c);
            }
        }
        return out.toString();
    }

    private static boolean isPaired(String text, int i) {
        char c = text.charAt(i);
        return Character.isHighSurrogate(c)
                ? i + 1 < text.length() && Character.isLowSurrogate(text.charAt(i + 1))
                : i > 0 && Character.isHighSurrogate(text.charAt(i - 1));
    }
}
