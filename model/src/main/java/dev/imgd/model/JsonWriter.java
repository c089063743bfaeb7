package dev.imgd.model;

import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.Map;
import java.util.TreeMap;

/// Writes one JSON document: compact for storage and the wire, or indented for people.
///
/// The caller is responsible for balanced brackets and for names inside objects; a mistake is an
/// `IllegalStateException`. Lone surrogates become U+FFFD, and control characters, DEL and C1
/// included, are escaped, so that the document is safe to print. Not thread-safe.
public final class JsonWriter {
    /// The deepest nesting of arrays and objects: one bit of [#objects] for each.
    static final int MAX_DEPTH = Long.SIZE;

    private static final String HEX = "0123456789abcdef";

    private final StringBuilder out = new StringBuilder(256);
    private final boolean indented;
    // One bit for each open bracket, the innermost lowest: 1 is an object.
    private long objects;
    private int depth;
    private boolean empty = true;
    private boolean named;
    private boolean complete;

    private JsonWriter(boolean indented) {
        this.indented = indented;
    }

    /// A writer without white space.
    public static JsonWriter compact() {
        return new JsonWriter(false);
    }

    /// A writer that puts each member and item on a line of its own, two spaces deeper per level.
    public static JsonWriter indented() {
        return new JsonWriter(true);
    }

    /// Begins an object as a value.
    public JsonWriter beginObject() {
        return begin('{', 1);
    }

    /// Begins an object as a member.
    public JsonWriter beginObject(String name) {
        return name(name).beginObject();
    }

    /// Ends the innermost object.
    public JsonWriter endObject() {
        return end('}', 1);
    }

    /// Begins an array as a value.
    public JsonWriter beginArray() {
        return begin('[', 0);
    }

    /// Begins an array as a member.
    public JsonWriter beginArray(String name) {
        return name(name).beginArray();
    }

    /// Ends the innermost array.
    public JsonWriter endArray() {
        return end(']', 0);
    }

    /// Writes the name of the next value.
    public JsonWriter name(String name) {
        if (depth == 0 || (objects & 1) == 0 || named) {
            throw new IllegalStateException("a name belongs into an object, once for each value");
        }
        separate();
        quote(name);
        out.append(indented ? ": " : ":");
        named = true;
        return this;
    }

    /// Writes a string as a value.
    public JsonWriter value(String value) {
        beforeValue();
        quote(value);
        return afterValue();
    }

    /// Writes an integer as a value.
    public JsonWriter value(long value) {
        beforeValue();
        out.append(value);
        return afterValue();
    }

    /// Writes a boolean as a value.
    public JsonWriter value(boolean value) {
        beforeValue();
        out.append(value);
        return afterValue();
    }

    /// Writes `null` as a value.
    public JsonWriter nullValue() {
        beforeValue();
        out.append("null");
        return afterValue();
    }

    /// Writes a parsed value as it was read: members in order, numbers with all their digits.
    ///
    /// @throws ImageException never for a value that [Json#parse] has returned
    public JsonWriter value(JsonNode value) throws ImageException {
        return switch (value.kind()) {
            case OBJECT -> {
                beginObject();
                for (Map.Entry<String, JsonNode> member : value.members().entrySet()) {
                    name(member.getKey()).value(member.getValue());
                }
                yield endObject();
            }
            case ARRAY -> {
                beginArray();
                for (JsonNode item : value.items()) {
                    value(item);
                }
                yield endArray();
            }
            case STRING -> value(value.text());
            case NUMBER -> {
                beforeValue();
                out.append(value.number());
                yield afterValue();
            }
            case BOOLEAN -> value(value.bool());
            case NULL -> nullValue();
        };
    }

    /// Writes a member that is a string.
    public JsonWriter member(String name, String value) {
        return name(name).value(value);
    }

    /// Writes a member that is an integer.
    public JsonWriter member(String name, long value) {
        return name(name).value(value);
    }

    /// Writes a member that is a boolean.
    public JsonWriter member(String name, boolean value) {
        return name(name).value(value);
    }

    /// Writes a member that is an array of strings.
    public JsonWriter member(String name, Collection<String> values) {
        beginArray(name);
        for (String value : values) {
            value(value);
        }
        return endArray();
    }

    /// Writes a member that is an object of strings, sorted by name so that equal maps give equal
    /// bytes.
    public JsonWriter member(String name, Map<String, String> values) {
        beginObject(name);
        for (Map.Entry<String, String> entry : new TreeMap<>(values).entrySet()) {
            member(entry.getKey(), entry.getValue());
        }
        return endObject();
    }

    /// The document in UTF-8.
    public byte[] toBytes() {
        return toString().getBytes(StandardCharsets.UTF_8);
    }

    /// The document, without a line end.
    @Override
    public String toString() {
        if (!complete) {
            throw new IllegalStateException("the document is not complete");
        }
        return out.toString();
    }

    private JsonWriter begin(char bracket, long object) {
        if (depth == MAX_DEPTH) {
            throw new IllegalStateException("nested deeper than " + MAX_DEPTH);
        }
        beforeValue();
        out.append(bracket);
        objects = objects << 1 | object;
        depth++;
        empty = true;
        return this;
    }

    private JsonWriter end(char bracket, long object) {
        if (depth == 0 || (objects & 1) != object || named) {
            throw new IllegalStateException("no matching bracket for " + bracket);
        }
        depth--;
        // The bit of a 65th level would be lost here, which is why begin() has a limit.
        objects >>>= 1;
        if (!empty) {
            newLine();
        }
        out.append(bracket);
        return afterValue();
    }

    private void beforeValue() {
        if (complete) {
            throw new IllegalStateException("the document is complete");
        }
        if (depth > 0 && (objects & 1) == 1) {
            if (!named) {
                throw new IllegalStateException("a value in an object needs a name");
            }
            named = false;
        } else if (depth > 0) {
            separate();
        }
    }

    private JsonWriter afterValue() {
        empty = false;
        complete = depth == 0;
        return this;
    }

    private void separate() {
        if (!empty) {
            out.append(',');
        }
        newLine();
    }

    private void newLine() {
        if (indented) {
            out.append('\n');
            for (int i = 0; i < depth; i++) {
                out.append("  ");
            }
        }
    }

    private void quote(String text) {
        String safe = Text.wellFormed(text);
        out.append('"');
        for (int i = 0; i < safe.length(); i++) {
            char c = safe.charAt(i);
            switch (c) {
                case '"', '\\' -> out.append('\\').append(c);
                case '\n' -> out.append("\\n");
                case '\r' -> out.append("\\r");
                case '\t' -> out.append("\\t");
                default -> {
                    if (Character.isISOControl(c)) {
                        out.append("\\u00").append(HEX.charAt(c >> 4)).append(HEX.charAt(c & 15));
                    } else {
                        out.append(c);
                    }
                }
            }
        }
        out.append('"');
    }
}
