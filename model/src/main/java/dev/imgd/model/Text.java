package dev.imgd.model;

/// Makes text from outside fit for an error message, a log or a terminal.
public final class Text {
    private Text() {}

    /// Returns the text on one line: control and format characters, line separators and lone
    /// surrogates escaped as `\\uXXXX`, cut to about `maxChars` characters with an ellipsis.
    public static String printable(String text, int maxChars) {
        StringBuilder out = new StringBuilder(Math.min(text.length(), maxChars) + 8);
        int i = 0;
        while (i < text.length()) {
            if (out.length() >= maxChars) {
                return out.append("…").toString();
            }
            int c = text.codePointAt(i);
            int chars = Character.charCount(c);
            if (isPrintable(c)) {
                out.appendCodePoint(c);
            } else {
                for (int k = i; k < i + chars; k++) {
                    out.append("\\u%04x".formatted((int) text.charAt(k)));
                }
            }
            i += chars;
        }
        return out.toString();
    }

    /// Returns [#printable] in quotes, with the quotes and backslashes inside escaped by a
    /// backslash: a value in a log line, which no text can end early.
    public static String quoted(String text, int maxChars) {
        String printable = printable(text, maxChars);
        StringBuilder out = new StringBuilder(printable.length() + 2).append('"');
        for (int i = 0; i < printable.length(); i++) {
            char c = printable.charAt(i);
            if (c == '"' || c == '\\') {
                out.append('\\');
            }
            out.append(c);
        }
        return out.append('"').toString();
    }

    private static boolean isPrintable(int c) {
        return switch (Character.getType(c)) {
            case Character.CONTROL,
                    Character.FORMAT,
                    Character.LINE_SEPARATOR,
                    Character.PARAGRAPH_SEPARATOR,
                    Character.SURROGATE ->
                    false;
            default -> true;
        };
    }

    /// Returns the text with each lone surrogate replaced by U+FFFD, so that it can be encoded.
    static String wellFormed(String text) {
        for (int i = 0; i < text.length(); i++) {
            if (isLoneSurrogate(text, i)) {
                return replaceLoneSurrogates(text, i);
            }
        }
        return text;
    }

    private static String replaceLoneSurrogates(String text, int first) {
        StringBuilder out = new StringBuilder(text);
        for (int i = first; i < text.length(); i++) {
            if (isLoneSurrogate(text, i)) {
                out.setCharAt(i, '\uFFFD');
            }
        }
        return out.toString();
    }

    private static boolean isLoneSurrogate(String text, int i) {
        char c = text.charAt(i);
        if (Character.isHighSurrogate(c)) {
            return i + 1 == text.length() || !Character.isLowSurrogate(text.charAt(i + 1));
        }
        return Character.isLowSurrogate(c)
                && (i == 0 || !Character.isHighSurrogate(text.charAt(i - 1)));
    }
}
