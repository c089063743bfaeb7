package dev.imgd.hosts;

import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// A rule of TOML, by what the parser says when a file breaks it. What the parser says may quote
/// the file, which may hold passwords: only what is known to be the parser's own is passed on.
///
/// @param said the parser's whole message
/// @param words for people, with the groups of the message that are no text of the file
record TomlRule(Pattern said, String words) {
    private static final String AT = "(line \\d+, column \\d+)";

    /// The first that fits counts. The text of a file comes before the groups, so it cannot be one.
    private static final List<TomlRule> RULES =
            List.of(
                    rule(
                            ".* (?:previously|already) defined at " + AT,
                            "defined twice, first at $1"),
                    rule(
                            ".* previously defined as a literal array at " + AT,
                            "defined twice, first as a list at $1"),
                    rule(
                            ".* is not a table \\(previously defined at " + AT + "\\)",
                            "defined at $1, and not as a table"),
                    rule(
                            ".* is not an array \\(previously defined at " + AT + "\\)",
                            "defined at $1, and not as a list of tables"),
                    rule(
                            ".* is an inline table \\(defined at " + AT + "\\).*",
                            "defined as an inline table at $1, which cannot be extended"),
                    // What is expected is a list of signs and words of the parser.
                    rule("(Unexpected end of (?:line|input), expected .*)", "$1"),
                    rule("Unexpected .*, expected (.*)", "wanted $1"),
                    rule("Invalid escape sequence .*", "Invalid escape sequence"),
                    rule("Invalid floating point number.*", "Invalid floating point number"),
                    rule(
                            "(Invalid (?:year|month|day|hour|minutes|seconds|nanoseconds|zone offset(?: hours| minutes)?)(?: \\(valid range [-+0-9.:/]+\\))?)",
                            "$1"),
                    rule(
                            "(Invalid unicode escape sequence|Empty table key|Leading zeros are not allowed|(?:Integer|Float) is too (?:large|small))",
                            "$1"));

    private static TomlRule rule(String said, String words) {
        return new TomlRule(Pattern.compile(said, Pattern.DOTALL), words);
    }

    /// What is wrong with a file, with nothing of its text.
    ///
    /// @param said by the parser
    static String of(String said) {
        for (TomlRule rule : RULES) {
            Matcher matcher = rule.said.matcher(said);
            if (matcher.matches()) {
                return matcher.replaceFirst(rule.words);
            }
        }
        return "it breaks a rule of the syntax";
    }
}
