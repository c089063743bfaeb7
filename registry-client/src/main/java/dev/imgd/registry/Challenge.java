package dev.imgd.registry;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.Text;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/// One challenge of a `WWW-Authenticate` header.
///
/// A header may hold several challenges and an answer several headers. What could be understood in
/// two ways is refused: an unterminated quote, a parameter given twice, control characters.
/// **Source:** RFC 9110 §11.
///
/// @param scheme lower case, for example `bearer`
/// @param parameters by lower-case name; empty for a challenge with a bare token
record Challenge(String scheme, Map<String, String> parameters) {
    private static final int MAX_CHALLENGES = 16;

    /// Parses all challenges of an answer.
    ///
    /// @param from who sent them, for the error
    static List<Challenge> parse(List<String> headers, String from, Limits limits)
            throws ImageException {
        List<Challenge> challenges = new ArrayList<>();
        for (String header : headers) {
            limits.check(
                    Limits.Key.CHALLENGE_BYTES,
                    from + ": cannot authenticate: WWW-Authenticate header",
                    header.length());
            new Parser(header, from).appendTo(challenges);
            if (challenges.size() > MAX_CHALLENGES) {
                throw malformed(from, "more than 16 challenges", header);
            }
        }
        return challenges;
    }

    private static ImageException malformed(String from, String problem, String header) {
        return new ImageException(
                ErrorKind.UNAUTHENTICATED,
                "%s: cannot authenticate: malformed WWW-Authenticate header, %s: %s"
                        .formatted(from, problem, Text.printable(header, 120)));
    }

    private static final class Parser {
        private final String text;
        private final String from;
        private int at;

        Parser(String text, String from) {
            this.text = text;
            this.from = from;
        }

        void appendTo(List<Challenge> challenges) throws ImageException {
            skipSeparators();
            while (at < text.length()) {
                String scheme = token();
                if (at < text.length() && !isSpace(text.charAt(at)) && text.charAt(at) != ',') {
                    throw malformed("unexpected character after the scheme");
                }
                challenges.add(
                        new Challenge(scheme.toLowerCase(Locale.ROOT), Map.copyOf(parameters())));
                skipSeparators();
            }
        }

        /// Everything up to the next scheme: a bare token, or parameters.
        private Map<String, String> parameters() throws ImageException {
            Map<String, String> parameters = new HashMap<>();
            skipSpace();
            if (atBareToken()) {
                while (at < text.length() && text.charAt(at) != ',') {
                    at++;
                }
                return parameters;
            }
            while (at < text.length() && atParameter()) {
                String name = token().toLowerCase(Locale.ROOT);
                skipSpace();
                at++;
                skipSpace();
                String value = at < text.length() && text.charAt(at) == '"' ? quoted() : token();
                if (parameters.put(name, value) != null) {
                    throw malformed("parameter given twice");
                }
                skipSpace();
                if (at < text.length() && text.charAt(at) != ',') {
                    throw malformed("missing comma");
                }
                skipSeparators();
            }
            return parameters;
        }

        private boolean atParameter() {
            int i = at;
            while (i < text.length() && isTokenChar(text.charAt(i))) {
                i++;
            }
            if (i == at) {
                return false;
            }
            while (i < text.length() && isSpace(text.charAt(i))) {
                i++;
            }
            return i < text.length() && text.charAt(i) == '=';
        }

        /// Whether what follows a scheme is credentials-like, as in `Negotiate YII=`.
        private boolean atBareToken() {
            int i = at;
            while (i < text.length() && isToken68Char(text.charAt(i))) {
                i++;
            }
            if (i == at) {
                return false;
            }
            while (i < text.length() && text.charAt(i) == '=') {
                i++;
            }
            while (i < text.length() && isSpace(text.charAt(i))) {
                i++;
            }
            return i == text.length() || text.charAt(i) == ',';
        }

        private String token() throws ImageException {
            int start = at;
            while (at < text.length() && isTokenChar(text.charAt(at))) {
                at++;
            }
            if (at == start) {
                throw malformed("a word is missing");
            }
            return text.substring(start, at);
        }

        private String quoted() throws ImageException {
            StringBuilder value = new StringBuilder();
            for (at++; at < text.length(); at++) {
                char c = text.charAt(at);
                if (c == '"') {
                    at++;
                    return value.toString();
                }
                if (c == '\\' && at + 1 < text.length()) {
                    c = text.charAt(++at);
                }
                if (Character.isISOControl(c)) {
                    throw malformed("control character");
                }
                value.append(c);
            }
            throw malformed("unterminated quote");
        }

        private void skipSpace() {
            while (at < text.length() && isSpace(text.charAt(at))) {
                at++;
            }
        }

        private void skipSeparators() {
            while (at < text.length() && (isSpace(text.charAt(at)) || text.charAt(at) == ',')) {
                at++;
            }
        }

        private ImageException malformed(String problem) {
            return Challenge.malformed(from, problem, text);
        }

        private static boolean isSpace(char c) {
            return c == ' ' || c == '\t';
        }

        private static boolean isTokenChar(char c) {
            return c > 0x20 && c < 0x7f && "\"(),/:;<=>?@[\\]{}".indexOf(c) < 0;
        }

        private static boolean isToken68Char(char c) {
            return (c >= '0' && c <= '9')
                    || (c >= 'a' && c <= 'z')
                    || (c >= 'A' && c <= 'Z')
                    || "-._~+/".indexOf(c) >= 0;
        }
    }
}
