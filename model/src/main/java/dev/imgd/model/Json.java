package dev.imgd.model;

import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonPointer;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.TokenStreamContext;
import tools.jackson.core.TokenStreamFactory;
import tools.jackson.core.TokenStreamLocation;
import tools.jackson.core.exc.StreamConstraintsException;
import tools.jackson.core.json.JsonFactory;

/// Strict reading of JSON that came from outside.
///
/// A document is well-formed UTF-8 without a byte order mark, at most [Limits#manifestBytes()]
/// long, nested at most [Limits.Key#JSON_DEPTH] deep, has at most [Limits.Key#JSON_TOKENS] values,
/// names and brackets, strings of at most [Limits.Key#JSON_STRING_CHARS] and numbers of at most
/// [#MAX_NUMBER_CHARS] characters; a member's name has at most 65,536. The same name twice in an
/// object and anything after the value are errors: what another reader could understand differently
/// is refused. Escaped lone surrogates in a string become U+FFFD, as containerd reads them, so that
/// every string can be written again; in a name they are an error.
///
/// What is said of a document that is not valid JSON has nothing of its text but the names of the
/// members that what is wrong stands in, without a password of a URL: it may hold credentials.
///
/// Thread-safe. **Source:** RFC 8259.
public final class Json {
    /// The longest number, in characters.
    public static final int MAX_NUMBER_CHARS = 32;

    private static final int MAX_NAME_CHARS = 1 << 16;

    private static final int MAX_POINTER_CHARS = 200;

    private static final JsonFactory FACTORY = factory(Limits.defaults());

    /// A limit that the parser enforces.
    ///
    /// @param name by which its messages call it
    /// @param of what exceeds it
    private record Constraint(String name, Limits.Key key, String of) {}

    private static final List<Constraint> CONSTRAINTS =
            List.of(
                    new Constraint("getMaxNestingDepth", Limits.Key.JSON_DEPTH, "nesting"),
                    new Constraint("getMaxTokenCount", Limits.Key.JSON_TOKENS, "number of tokens"),
                    new Constraint("getMaxStringLength", Limits.Key.JSON_STRING_CHARS, "a string"));

    /// A rule of the syntax.
    ///
    /// @param sign what the parser's message has in it when a document breaks the rule
    /// @param words for people: what is wrong, or what is wanted instead
    private record Rule(String sign, String words) {}

    private static final String VALUE =
            "wanted a string in double quotes, a number, an array, an object, true, false or null";
    private static final String ESCAPE =
            "wanted one of the escapes \\\", \\\\, \\/, \\b, \\f, \\n, \\r, \\t, or \\u and four hexadecimal digits";

    /// The first that fits counts. What a document says can at most choose among these words.
    private static final List<Rule> RULES =
            List.of(
                    new Rule("Unrecognized token", VALUE),
                    new Rule("Unexpected end-of-input", "it ends in the middle"),
                    new Rule(
                            "Number value length",
                            "a number of more than " + MAX_NUMBER_CHARS + " characters"),
                    new Rule(
                            "Name length", "a name of more than " + MAX_NAME_CHARS + " characters"),
                    new Rule("Illegal unquoted", "a control character that is not escaped"),
                    new Rule("CTRL-CHAR", "a control character"),
                    new Rule("urrogate", "half of a surrogate pair"),
                    new Rule("character escape", ESCAPE),
                    new Rule("comment", "a comment, which JSON does not have"),
                    new Rule("start property name", "wanted a name in double quotes"),
                    new Rule("expecting a colon", "wanted a colon after a name"),
                    new Rule(
                            "expecting comma", "wanted a comma, or the end of the array or object"),
                    new Rule("to close", "a closing bracket of nothing"),
                    new Rule("close marker", "the wrong closing bracket"),
                    new Rule("separating root-level", "wanted nothing more, or white space"),
                    new Rule("Non-standard token", VALUE),
                    new Rule("expected a val", VALUE),
                    new Rule("numeric", "wanted a number as JSON writes them"),
                    new Rule("number", "wanted a number as JSON writes them"),
                    new Rule("Decimal point", "wanted a number as JSON writes them"));

    private final String what;
    private final JsonParser parser;

    /// Names are not canonicalised: the shared symbol table would keep what attackers send.
    private static JsonFactory factory(Limits limits) {
        return JsonFactory.builder()
                .disable(TokenStreamFactory.Feature.CANONICALIZE_PROPERTY_NAMES)
                .streamReadConstraints(
                        StreamReadConstraints.builder()
                                .maxNestingDepth(limits.jsonDepth())
                                .maxNumberLength(MAX_NUMBER_CHARS)
                                .maxStringLength(limits.jsonStringChars())
                                .maxNameLength(MAX_NAME_CHARS)
                                .maxTokenCount(limits.jsonTokens())
                                .build())
                .build();
    }

    private Json(String what, JsonParser parser) {
        this.what = what;
        this.parser = parser;
    }

    /// Reads a document of at most 4 MiB.
    ///
    /// @param what the document and where it came from, for error messages
    /// @throws ImageException [ErrorKind#INVALID_CONTENT] when the document breaks a rule
    /// @throws LimitExceededException when it exceeds a limit
    public static JsonNode parse(String what, byte[] document) throws ImageException {
        return parse(what, document, Limits.defaults());
    }

    /// Reads a document.
    ///
    /// @param what the document and where it came from, for error messages
    /// @throws ImageException [ErrorKind#INVALID_CONTENT] when the document breaks a rule
    /// @throws LimitExceededException when it exceeds one of the limits
    public static JsonNode parse(String what, byte[] document, Limits limits)
            throws ImageException {
        limits.check(Limits.Key.MANIFEST_BYTES, what, document.length);
        CharBuffer text = decode(what, document);
        JsonFactory factory = limits.equals(Limits.defaults()) ? FACTORY : factory(limits);
        try (JsonParser parser =
                factory.createParser(
                        ObjectReadContext.empty(),
                        text.array(),
                        text.arrayOffset(),
                        text.length())) {
            Json json = new Json(what, parser);
            try {
                return json.document();
            } catch (JacksonException e) {
                throw json.refused(e, limits);
            }
        }
    }

    /// Neither the words of the parser nor its exception are passed on: they quote the document,
    /// which may be a file of credentials.
    private ImageException refused(JacksonException e, Limits limits) {
        String said = String.valueOf(e.getOriginalMessage());
        String place = place(e.getLocation());
        if (e instanceof StreamConstraintsException) {
            for (Constraint constraint : CONSTRAINTS) {
                if (said.contains(constraint.name)) {
                    return limits.exceeded(
                            constraint.key, "%s: %s%s".formatted(what, constraint.of, place));
                }
            }
        }
        return ImageException.invalidContent(
                "%s: not valid JSON: %s%s".formatted(what, rule(said), place));
    }

    private static CharBuffer decode(String what, byte[] document) throws ImageException {
        CharsetDecoder decoder =
                StandardCharsets.UTF_8
                        .newDecoder()
                        .onMalformedInput(CodingErrorAction.REPORT)
                        .onUnmappableCharacter(CodingErrorAction.REPORT);
        ByteBuffer in = ByteBuffer.wrap(document);
        CharBuffer out = CharBuffer.allocate(document.length);
        CoderResult result = decoder.decode(in, out, true);
        if (result.isError()) {
            throw ImageException.invalidContent(
                    "%s: not valid JSON: not UTF-8 at byte %d".formatted(what, in.position()));
        }
        return out.flip();
    }

    private JsonNode document() throws ImageException {
        JsonToken first = parser.nextToken();
        if (first == null) {
            throw ImageException.invalidContent(what + ": not valid JSON: the document is empty");
        }
        JsonNode root = value(first, null, what, -1);
        if (parser.nextToken() != null) {
            throw ImageException.invalidContent(
                    "%s: not valid JSON: more data after the document%s"
                            .formatted(what, place(parser.currentTokenLocation())));
        }
        return root;
    }

    private JsonNode value(JsonToken token, @Nullable JsonNode parent, String name, int i)
            throws ImageException {
        return switch (token) {
            case START_OBJECT -> object(parent, name, i);
            case START_ARRAY -> array(parent, name, i);
            case VALUE_STRING ->
                    new JsonNode(
                            JsonNode.Kind.STRING,
                            Text.wellFormed(parser.getString()),
                            parent,
                            name,
                            i);
            case VALUE_NUMBER_INT, VALUE_NUMBER_FLOAT ->
                    new JsonNode(JsonNode.Kind.NUMBER, parser.getString(), parent, name, i);
            case VALUE_TRUE -> new JsonNode(JsonNode.Kind.BOOLEAN, true, parent, name, i);
            case VALUE_FALSE -> new JsonNode(JsonNode.Kind.BOOLEAN, false, parent, name, i);
            case VALUE_NULL -> new JsonNode(JsonNode.Kind.NULL, "null", parent, name, i);
            case END_OBJECT, END_ARRAY, PROPERTY_NAME, VALUE_EMBEDDED_OBJECT, NOT_AVAILABLE ->
                    throw new AssertionError("a parser of text gave " + token + " for a value");
        };
    }

    private JsonNode object(@Nullable JsonNode parent, String name, int index)
            throws ImageException {
        Map<String, JsonNode> members = new LinkedHashMap<>();
        JsonNode node = new JsonNode(JsonNode.Kind.OBJECT, members, parent, name, index);
        while (parser.nextToken() != JsonToken.END_OBJECT) {
            String member = Text.wellFormed(parser.currentName());
            JsonNode child = value(parser.nextToken(), node, member, -1);
            if (members.put(member, child) != null) {
                throw child.invalid("the name occurs twice in the same object");
            }
        }
        return node;
    }

    private JsonNode array(@Nullable JsonNode parent, String name, int index)
            throws ImageException {
        List<JsonNode> items = new ArrayList<>();
        JsonNode node = new JsonNode(JsonNode.Kind.ARRAY, items, parent, name, index);
        for (JsonToken token = parser.nextToken();
                token != JsonToken.END_ARRAY;
                token = parser.nextToken()) {
            items.add(value(token, node, "", items.size()));
        }
        return node;
    }

    /// The rule that a document breaks.
    private static String rule(String said) {
        return RULES.stream()
                .filter(rule -> said.contains(rule.sign))
                .findFirst()
                .map(Rule::words)
                .orElse("it breaks a rule of its syntax");
    }

    /// Where in the document, and in which of its objects and arrays.
    private String place(@Nullable TokenStreamLocation location) {
        List<String> places = new ArrayList<>();
        if (location != null && location.getLineNr() >= 1) {
            places.add(
                    "line %d, column %d".formatted(location.getLineNr(), location.getColumnNr()));
        }
        // Not the member itself: where something is left out, a value stands for its name.
        TokenStreamContext around = parser.streamReadContext().getParent();
        String pointer = pointer(around).toString();
        if (!pointer.isEmpty()) {
            places.add("in " + Text.printable(pointer, MAX_POINTER_CHARS));
        }
        return places.isEmpty() ? "" : " (" + String.join(", ", places) + ')';
    }

    /// The pointer to what is read there. A name may be a URL with a password, as in a file of
    /// credentials.
    private static JsonPointer pointer(@Nullable TokenStreamContext context) {
        if (context == null || context.inRoot()) {
            return JsonPointer.empty();
        }
        JsonPointer around = pointer(context.getParent());
        if (context.inArray()) {
            return around.appendIndex(context.getCurrentIndex());
        }
        String name = context.currentName();
        return name == null ? around : around.appendProperty(Text.withoutSecret(name));
    }
}
