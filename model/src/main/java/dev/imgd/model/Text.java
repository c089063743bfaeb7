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

    /// Returns a URL, or a name that may have been meant as one, without what may be a secret in
    /// it: all that stands before the last `@`, and a query or fragment. Where these cannot be told
    /// apart nothing but the scheme is left.
    public static String withoutUser(String text) {
        int colon = text.indexOf("://");
        String scheme = colon > 0 && isScheme(text, colon) ? text.substring(0, colon + 3) : "";
        String rest = text.substring(scheme.length());
        int at = rest.lastIndexOf('@');
        int query = 0;
        while (query < rest.length() && "?#".indexOf(rest.charAt(query)) < 0) {
            query++;
        }
        if (query < at) {
            return scheme + '…';
        }
        return scheme + (at < 0 ? "" : "…") + rest.substring(Math.max(at, 0), query);
    }

    /// Returns any text, such as a name or a value of a file, as [#withoutUser] where it may be a
    /// URL that has secrets.
    public static String withoutSecret(String text) {
        boolean suspect = text.indexOf('@') >= 0 || text.indexOf('?') >= 0 || text.contains("://");
        return suspect ? withoutUser(text) : text;
    }

    private static boolean isScheme(String text, int end) {
        for (int i = 0; i < end; i++) {
            char c = text.charAt(i);
            boolean letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
            if (!letter && (i == 0 || "0123456789+-.".indexOf(c) < 0)) {
                return false;
            }
        }
        return true;
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
