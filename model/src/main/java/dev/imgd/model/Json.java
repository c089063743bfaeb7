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
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.StreamReadConstraints;
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
/// Thread-safe. **Source:** RFC 8259.
public final class Json {
    /// The longest number, in characters.
    public static final int MAX_NUMBER_CHARS = 32;

    private static final int MAX_NAME_CHARS = 1 << 16;

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
            return new Json(what, parser).document();
        } catch (JacksonException e) {
            String problem = String.valueOf(e.getOriginalMessage());
            for (Constraint constraint : CONSTRAINTS) {
                if (e instanceof StreamConstraintsException && problem.contains(constraint.name)) {
                    ImageException exceeded =
                            limits.exceeded(
                                    constraint.key,
                                    "%s: %s%s"
                                            .formatted(
                                                    what, constraint.of, place(e.getLocation())));
                    exceeded.addSuppressed(e);
                    throw exceeded;
                }
            }
            throw new ImageException(
                    ErrorKind.INVALID_CONTENT,
                    "%s: not valid JSON: %s%s"
                            .formatted(
                                    what,
                                    Text.printable(plain(firstLine(problem)), 300),
                                    place(e.getLocation())),
                    e);
        }
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

    /// What is wrong, without where what was left open had begun, which Jackson tells in words for
    /// developers.
    private static String firstLine(String message) {
        int end = message.indexOf('\n');
        int marker = message.indexOf(" (start marker at");
        int cut = marker < 0 ? end : end < 0 ? marker : Math.min(marker, end);
        return cut < 0 ? message : message.substring(0, cut);
    }

    /// What the parser found, without its words for programmers.
    private static String plain(String problem) {
        if (problem.startsWith("Unexpected end-of-input")) {
            return "it ends in the middle";
        }
        return problem.replaceFirst(
                        "^Unrecognized token '(.*)': was expecting .*", "the unknown word '$1'")
                .replaceFirst(
                        "^Illegal unquoted character \\(\\(CTRL-CHAR, code (\\d+)\\)\\).*",
                        "a control character (code $1) that is not escaped")
                .replaceFirst(
                        "^(?:Illegal|Unexpected) character \\(\\(CTRL-CHAR, code (\\d+)\\)\\).*",
                        "a control character (code $1)")
                .replaceFirst(
                        "^Unexpected character \\('(.*)' \\(code \\d+[^)]*\\)\\): ?(?:was expecting|expected)? ?(.*)",
                        "unexpected '$1', wanted $2")
                .replaceFirst(
                        "^Unrecognized character escape '(.*)' \\(code \\d+\\)",
                        "the unknown escape \\\\$1");
    }

    private static String place(@Nullable TokenStreamLocation location) {
        return location == null || location.getLineNr() < 1
                ? ""
                : " (line %d, column %d)".formatted(location.getLineNr(), location.getColumnNr());
    }
}
