package dev.imgd.hosts;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import dev.imgd.model.Text;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/// A change of repository names for one mirror, as k3s and RKE2 have it in `rewrite` tables.
///
/// Every match of the pattern in the name is replaced. The replacement follows Go's `regexp`: `$1`
/// and `${1}` are groups, `${name}` is a named one, the longest run of letters, digits and
/// underscores after `$` is the name, `$$` is a dollar sign, and a group that is not there is
/// empty. Immutable. **Source:** k3s private registry configuration, Go `regexp.Expand`.
public final class Rewrite {
    /// Far beyond what sensible patterns need for a name of 255 characters.
    private static final int MAX_STEPS = 1_000_000;

    private static final int MAX_REPLACEMENT_CHARS = 1_000;

    private final String source;
    private final Pattern pattern;
    private final String replacement;

    private Rewrite(String source, Pattern pattern, String replacement) {
        this.source = source;
        this.pattern = pattern;
        this.replacement = replacement;
    }

    /// Compiles a rewrite.
    ///
    /// @throws ImageException `INVALID_ARGUMENT` when the pattern is no regular expression
    public static Rewrite of(String pattern, String replacement) throws ImageException {
        if (replacement.length() > MAX_REPLACEMENT_CHARS) {
            throw ImageException.invalidArgument(
                    "the replacement is longer than %d characters"
                            .formatted(MAX_REPLACEMENT_CHARS));
        }
        try {
            // Go writes named groups with a P.
            return new Rewrite(
                    pattern, Pattern.compile(pattern.replace("(?P<", "(?<")), replacement);
        } catch (PatternSyntaxException e) {
            throw new ImageException(
                    ErrorKind.INVALID_ARGUMENT,
                    "\"%s\" is not a regular expression: %s"
                            .formatted(Text.printable(pattern, 100), e.getDescription()),
                    e);
        }
    }

    /// The pattern as it was written.
    public String pattern() {
        return source;
    }

    /// The replacement as it was written.
    public String replacement() {
        return replacement;
    }

    /// Returns the rewritten name, or the same one when the pattern does not match.
    ///
    /// @param host for error messages
    String apply(String repository, String host) throws ImageException {
        StringBuilder out = new StringBuilder();
        int end = 0;
        boolean matched = false;
        try {
            Matcher matcher = pattern.matcher(new Metered(repository));
            while (matcher.find()) {
                // Go has no empty match at the end of another match; Java has.
                if (matched && matcher.end() == end) {
                    continue;
                }
                matched = true;
                out.append(repository, end, matcher.start());
                expand(matcher, out);
                end = matcher.end();
            }
        } catch (TooManyStepsException | StackOverflowError e) {
            throw new ImageException(
                    ErrorKind.INVALID_ARGUMENT,
                    "%s: the rewrite \"%s\" takes too long on \"%s\"; write a simpler pattern"
                            .formatted(host, Text.printable(source, 100), repository),
                    e);
        }
        String rewritten = out.append(repository, end, repository.length()).toString();
        return rewritten.equals(repository) ? repository : checked(repository, rewritten, host);
    }

    private String checked(String repository, String rewritten, String host) throws ImageException {
        try {
            Reference reference = Reference.parse("localhost/" + rewritten);
            if (reference.repository().equals(rewritten)) {
                return rewritten;
            }
        } catch (ImageException e) {
            // Said below, with the rewrite.
        }
        throw ImageException.invalidArgument(
                "%s: the rewrite \"%s\" makes \"%s\" of \"%s\", which is not a repository name"
                        .formatted(
                                host,
                                Text.printable(source, 100),
                                Text.printable(rewritten, 160),
                                repository));
    }

    private void expand(Matcher matcher, StringBuilder out) {
        int i = 0;
        while (i < replacement.length()) {
            char c = replacement.charAt(i++);
            if (c != '$' || i == replacement.length()) {
                out.append(c);
                continue;
            }
            if (replacement.charAt(i) == '$') {
                out.append('$');
                i++;
                continue;
            }
            boolean braced = replacement.charAt(i) == '{';
            int from = braced ? i + 1 : i;
            int to = from;
            while (to < replacement.length() && isWord(replacement.charAt(to))) {
                to++;
            }
            boolean closed =
                    !braced || (to < replacement.length() && replacement.charAt(to) == '}');
            if (to == from || !closed) {
                out.append('$');
                continue;
            }
            out.append(group(matcher, replacement.substring(from, to)));
            i = braced ? to + 1 : to;
        }
    }

    private static boolean isWord(char c) {
        return c == '_'
                || (c >= '0' && c <= '9')
                || (c >= 'a' && c <= 'z')
                || (c >= 'A' && c <= 'Z');
    }

    private static String group(Matcher matcher, String name) {
        String value = null;
        boolean number = name.length() < 4;
        for (int i = 0; i < name.length(); i++) {
            number &= name.charAt(i) >= '0' && name.charAt(i) <= '9';
        }
        if (number) {
            int group = Integer.parseInt(name);
            value = group <= matcher.groupCount() ? matcher.group(group) : null;
        } else if (matcher.namedGroups().containsKey(name)) {
            value = matcher.group(name);
        }
        return value == null ? "" : value;
    }

    /// Compares the texts: patterns themselves have no equality.
    @Override
    public boolean equals(Object other) {
        return other instanceof Rewrite r
                && source.equals(r.source)
                && replacement.equals(r.replacement);
    }

    @Override
    public int hashCode() {
        return 31 * source.hashCode() + replacement.hashCode();
    }

    @Override
    public String toString() {
        return source + " -> " + replacement;
    }

    /// Counts how often the matcher looks at the text: Java's patterns can take exponential time.
    private static final class Metered implements CharSequence {
        private final String text;
        private int steps;

        Metered(String text) {
            this.text = text;
        }

        @Override
        public char charAt(int index) {
            if (++steps > MAX_STEPS) {
                throw new TooManyStepsException();
            }
            return text.charAt(index);
        }

        @Override
        public int length() {
            return text.length();
        }

        @Override
        public CharSequence subSequence(int start, int end) {
            return text.subSequence(start, end);
        }

        @Override
        public String toString() {
            return text;
        }
    }

    private static final class TooManyStepsException extends RuntimeException {
        private static final long serialVersionUID = 1;
    }
}
