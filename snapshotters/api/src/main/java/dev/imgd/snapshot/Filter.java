package dev.imgd.snapshot;

import dev.imgd.model.ImageException;
import dev.imgd.model.Text;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import org.jspecify.annotations.Nullable;

/// A condition in containerd's filter language.
///
/// A list of filters holds when any of them does; an empty list and an empty filter always hold. A
/// filter is a comma-separated list of selectors that must all hold:
///
/// ```
/// selector  = fieldpath [ ("==" | "!=" | "~=") value ]     bare: the field is present
/// fieldpath = field *("." field)
/// field     = quoted | 1*(letter | digit | "_")
/// value     = quoted | 1*(any character but space and comma)
/// quoted    = a Go string in double quotes; after "~=" also /…/ and |…|
/// ```
///
/// `~=` searches the value for a regular expression. Immutable. **Source:** containerd
/// `pkg/filters/parser.go`.
public final class Filter {
    /// The filter that always holds.
    public static final Filter ALWAYS = new Filter(List.of(List.of()));

    enum Operator {
        PRESENT,
        EQUAL,
        NOT_EQUAL,
        MATCHES
    }

    record Selector(List<String> path, Operator operator, String value, @Nullable Pattern pattern) {
        boolean matches(Function<List<String>, @Nullable String> fields) {
            String field = fields.apply(path);
            return switch (operator) {
                case PRESENT -> field != null;
                case EQUAL -> field != null && field.equals(value);
                case NOT_EQUAL -> field == null ? !value.isEmpty() : !field.equals(value);
                case MATCHES ->
                        pattern != null && pattern.matcher(field == null ? "" : field).find();
            };
        }
    }

    private final List<List<Selector>> alternatives;

    private Filter(List<List<Selector>> alternatives) {
        this.alternatives = alternatives;
    }

    /// Parses a list of filters of which any may hold.
    ///
    /// @throws ImageException `INVALID_ARGUMENT` naming the filter and the position
    public static Filter parse(List<String> filters) throws ImageException {
        if (filters.isEmpty()) {
            return ALWAYS;
        }
        List<List<Selector>> alternatives = new ArrayList<>(filters.size());
        for (String filter : filters) {
            alternatives.add(new Parser(filter).selectors());
        }
        return new Filter(List.copyOf(alternatives));
    }

    /// Whether the filter holds for an object.
    ///
    /// @param fields returns the value of a field path, null when the object has no such field
    public boolean matches(Function<List<String>, @Nullable String> fields) {
        for (List<Selector> selectors : alternatives) {
            if (all(selectors, fields)) {
                return true;
            }
        }
        return false;
    }

    private static boolean all(
            List<Selector> selectors, Function<List<String>, @Nullable String> fields) {
        for (Selector selector : selectors) {
            if (!selector.matches(fields)) {
                return false;
            }
        }
        return true;
    }

    /// Whether the filter holds for a snapshot: `name`, `parent` (always present), `kind`
    /// (`active`, `view`, `committed`) and `labels.<key>`, whose key is the rest of the path joined
    /// by dots.
    public boolean matches(SnapshotInfo info) {
        return matches(path -> field(info, path));
    }

    /// The conditions of which any must hold, each a conjunction.
    List<List<Selector>> alternatives() {
        return alternatives;
    }

    private static @Nullable String field(SnapshotInfo info, List<String> path) {
        return switch (path.getFirst()) {
            case "name" -> info.name();
            case "parent" -> info.parent();
            case "kind" ->
                    switch (info.kind()) {
                        case VIEW -> "view";
                        case ACTIVE -> "active";
                        case COMMITTED -> "committed";
                    };
            case "labels" -> info.labels().get(String.join(".", path.subList(1, path.size())));
            default -> null;
        };
    }

    /// Recursive descent over the characters of one filter.
    private static final class Parser {
        private final String input;
        private int at;

        Parser(String input) {
            this.input = input;
        }

        List<Selector> selectors() throws ImageException {
            List<Selector> selectors = new ArrayList<>();
            skipSpace();
            if (at == input.length()) {
                return selectors;
            }
            while (true) {
                selectors.add(selector());
                skipSpace();
                if (at == input.length()) {
                    return List.copyOf(selectors);
                }
                if (input.charAt(at) != ',') {
                    throw error("wanted a comma or the end");
                }
                at++;
            }
        }

        private Selector selector() throws ImageException {
            List<String> path = new ArrayList<>();
            path.add(field());
            while (at < input.length() && input.charAt(at) == '.') {
                at++;
                path.add(field());
            }
            skipSpace();
            if (at == input.length() || input.charAt(at) == ',') {
                return new Selector(List.copyOf(path), Operator.PRESENT, "", null);
            }
            Operator operator = operator();
            skipSpace();
            int valueAt = at;
            String value = value(operator == Operator.MATCHES);
            Pattern pattern = null;
            if (operator == Operator.MATCHES) {
                try {
                    pattern = Pattern.compile(value);
                } catch (PatternSyntaxException e) {
                    at = valueAt;
                    throw error("malformed regular expression: " + e.getDescription());
                }
            }
            return new Selector(List.copyOf(path), operator, value, pattern);
        }

        private String field() throws ImageException {
            skipSpace();
            if (at < input.length() && input.charAt(at) == '"') {
                return quoted('"');
            }
            int start = at;
            while (at < input.length() && isFieldCharacter(input.charAt(at))) {
                at++;
            }
            if (at == start) {
                throw error("wanted a field");
            }
            return input.substring(start, at);
        }

        private Operator operator() throws ImageException {
            for (Operator operator :
                    new Operator[] {Operator.EQUAL, Operator.NOT_EQUAL, Operator.MATCHES}) {
                String sign =
                        switch (operator) {
                            case EQUAL -> "==";
                            case NOT_EQUAL -> "!=";
                            case MATCHES -> "~=";
                            case PRESENT -> "";
                        };
                if (input.startsWith(sign, at)) {
                    at += 2;
                    return operator;
                }
            }
            throw error("wanted ==, != or ~=");
        }

        private String value(boolean alternativeQuotes) throws ImageException {
            if (at < input.length()) {
                char quote = input.charAt(at);
                if (quote == '"' || (alternativeQuotes && (quote == '/' || quote == '|'))) {
                    return quoted(quote);
                }
            }
            int start = at;
            while (at < input.length()
                    && input.charAt(at) != ','
                    && !Character.isWhitespace(input.charAt(at))) {
                at++;
            }
            if (at == start) {
                throw error("wanted a value");
            }
            return input.substring(start, at);
        }

        /// In `/…/` and `|…|` a backslash only escapes the quote, for regular expressions.
        private String quoted(char quote) throws ImageException {
            int start = at++;
            StringBuilder out = new StringBuilder();
            while (at < input.length()) {
                char c = input.charAt(at++);
                if (c == quote) {
                    return out.toString();
                }
                if (c != '\\') {
                    out.append(c);
                } else if (at == input.length()) {
                    break;
                } else if (quote == '"') {
                    escape(out);
                } else if (input.charAt(at) == quote) {
                    out.append(input.charAt(at++));
                } else {
                    out.append(c).append(input.charAt(at++));
                }
            }
            at = start;
            throw error("the quoted string does not end");
        }

        private void escape(StringBuilder out) throws ImageException {
            char c = input.charAt(at++);
            switch (c) {
                case 'a' -> out.append('\u0007');
                case 'b' -> out.append('\b');
                case 'f' -> out.append('\f');
                case 'n' -> out.append('\n');
                case 'r' -> out.append('\r');
                case 't' -> out.append('\t');
                case 'v' -> out.append('\u000b');
                case '\\', '"', '\'' -> out.append(c);
                case 'x' -> out.appendCodePoint(number(2, 16));
                case 'u' -> out.appendCodePoint(number(4, 16));
                case 'U' -> out.appendCodePoint(number(8, 16));
                case '0', '1', '2', '3', '4', '5', '6', '7' -> {
                    at--;
                    out.appendCodePoint(number(3, 8));
                }
                default -> throw error("unknown escape \\" + c);
            }
        }

        private int number(int digits, int radix) throws ImageException {
            long number = 0;
            for (int i = 0; i < digits; i++) {
                int digit = at < input.length() ? Character.digit(input.charAt(at), radix) : -1;
                if (digit < 0) {
                    throw error("wanted %d digits of base %d".formatted(digits, radix));
                }
                number = number * radix + digit;
                at++;
            }
            if (number > Character.MAX_CODE_POINT) {
                throw error("no such character");
            }
            return (int) number;
        }

        private void skipSpace() {
            while (at < input.length() && Character.isWhitespace(input.charAt(at))) {
                at++;
            }
        }

        private static boolean isFieldCharacter(char c) {
            return c == '_'
                    || (c >= 'a' && c <= 'z')
                    || (c >= 'A' && c <= 'Z')
                    || (c >= '0' && c <= '9');
        }

        private ImageException error(String what) {
            return ImageException.invalidArgument(
                    "filter \"%s\": %s at position %d"
                            .formatted(Text.printable(input, 200), what, at + 1));
        }
    }
}
