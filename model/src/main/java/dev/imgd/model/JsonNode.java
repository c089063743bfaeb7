package dev.imgd.model;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// A value of a JSON document that knows where it stands, so that every error says which document
/// and which member is wrong.
///
/// Immutable once [Json#parse] has returned it. A method that does not fit the kind of the value
/// throws [ErrorKind#INVALID_CONTENT]. Names are compared exactly. A member that is `null` is
/// treated as one that is absent.
public final class JsonNode {
    /// What a value is.
    public enum Kind {
        OBJECT("an object"),
        ARRAY("an array"),
        STRING("a string"),
        NUMBER("a number"),
        BOOLEAN("a boolean"),
        NULL("null");

        private final String label;

        Kind(String label) {
            this.label = label;
        }
    }

    private static final int MAX_SHOWN_CHARS = 80;

    private final Kind kind;
    private final Object content;
    private final @Nullable JsonNode parent;
    private final String name;
    private final int index;

    /// @param content a `Map`, a `List`, the text of a string or number, or a `Boolean`
    /// @param name the name of a member, or of the document when there is no parent
    /// @param index the position in an array, or -1
    JsonNode(Kind kind, Object content, @Nullable JsonNode parent, String name, int index) {
        this.kind = kind;
        this.content = content;
        this.parent = parent;
        this.name = name;
        this.index = index;
    }

    /// What this value is.
    public Kind kind() {
        return kind;
    }

    /// The member of an object, or nothing when it is absent or `null`.
    public Optional<JsonNode> find(String member) throws ImageException {
        JsonNode node = membersByName().get(member);
        return node == null || node.kind == Kind.NULL ? Optional.empty() : Optional.of(node);
    }

    /// The member of an object, which must be there and not `null`.
    public JsonNode require(String member) throws ImageException {
        JsonNode node = membersByName().get(member);
        if (node == null || node.kind == Kind.NULL) {
            throw invalid("\"" + member + "\" is missing");
        }
        return node;
    }

    /// The members of an object in their order, those that are `null` included.
    public Map<String, JsonNode> members() throws ImageException {
        return Collections.unmodifiableMap(membersByName());
    }

    /// The items of an array.
    @SuppressWarnings("unchecked") // the kind says what the content is
    public List<JsonNode> items() throws ImageException {
        if (kind != Kind.ARRAY) {
            throw wrongKind(Kind.ARRAY);
        }
        return Collections.unmodifiableList((List<JsonNode>) content);
    }

    /// The text of a string, always well-formed UTF-16.
    public String text() throws ImageException {
        if (kind != Kind.STRING) {
            throw wrongKind(Kind.STRING);
        }
        return (String) content;
    }

    /// The value of a number that is an integer from `min` to `max`, written without a fraction or
    /// an exponent.
    public long integer(long min, long max) throws ImageException {
        if (kind != Kind.NUMBER) {
            throw wrongKind(Kind.NUMBER);
        }
        String digits = (String) content;
        try {
            long value = Long.parseLong(digits);
            if (value >= min && value <= max) {
                return value;
            }
        } catch (NumberFormatException e) {
            // Too large for a long or not an integer: refused below like any other number out of
            // range.
        }
        throw invalid("wanted an integer from %d to %d, got %s".formatted(min, max, digits));
    }

    /// The text of a number, as it was written.
    public String number() throws ImageException {
        if (kind != Kind.NUMBER) {
            throw wrongKind(Kind.NUMBER);
        }
        return (String) content;
    }

    /// The value of a boolean.
    public boolean bool() throws ImageException {
        if (kind != Kind.BOOLEAN) {
            throw wrongKind(Kind.BOOLEAN);
        }
        return (Boolean) content;
    }

    /// The text of a member, or `absent`.
    public String text(String member, String absent) throws ImageException {
        Optional<JsonNode> node = find(member);
        return node.isPresent() ? node.get().text() : absent;
    }

    /// The integer of a member, or `absent`; see [#integer(long, long)].
    public long integer(String member, long min, long max, long absent) throws ImageException {
        Optional<JsonNode> node = find(member);
        return node.isPresent() ? node.get().integer(min, max) : absent;
    }

    /// The boolean of a member, or `absent`.
    public boolean bool(String member, boolean absent) throws ImageException {
        Optional<JsonNode> node = find(member);
        return node.isPresent() ? node.get().bool() : absent;
    }

    /// The items of a member that is an array, or an empty list.
    public List<JsonNode> items(String member) throws ImageException {
        Optional<JsonNode> node = find(member);
        return node.isPresent() ? node.get().items() : List.of();
    }

    /// The strings of a member that is an array, or an empty list. An item that is `null` is an
    /// empty string, as containerd reads it.
    public List<String> texts(String member) throws ImageException {
        List<JsonNode> items = items(member);
        List<String> texts = new ArrayList<>(items.size());
        for (JsonNode item : items) {
            texts.add(item.kind == Kind.NULL ? "" : item.text());
        }
        return Collections.unmodifiableList(texts);
    }

    /// The strings of a member that is an object, in their order, or an empty map. A value that is
    /// `null` is an empty string, as containerd reads it.
    public Map<String, String> textMap(String member) throws ImageException {
        Optional<JsonNode> node = find(member);
        if (node.isEmpty()) {
            return Map.of();
        }
        Map<String, String> texts = new LinkedHashMap<>();
        for (Map.Entry<String, JsonNode> entry : node.get().membersByName().entrySet()) {
            JsonNode value = entry.getValue();
            texts.put(entry.getKey(), value.kind == Kind.NULL ? "" : value.text());
        }
        return Collections.unmodifiableMap(texts);
    }

    /// The names of the members of a member that is an object, in their order, or an empty list.
    public List<String> names(String member) throws ImageException {
        Optional<JsonNode> node = find(member);
        return node.isEmpty() ? List.of() : List.copyOf(node.get().membersByName().keySet());
    }

    /// The document and the path in it, for example `manifest of a:1: layers[2].size`.
    public String where() {
        StringBuilder path = new StringBuilder();
        appendPath(path);
        String document = document().name;
        return path.isEmpty() ? document : document + ": " + path;
    }

    /// The error for a value that breaks a rule, with its place.
    ///
    /// @param problem what was wanted and what is there, with foreign text made printable
    public ImageException invalid(String problem) {
        return ImageException.invalidContent(where() + ": " + problem);
    }

    private JsonNode document() {
        JsonNode node = this;
        while (node.parent != null) {
            node = node.parent;
        }
        return node;
    }

    private void appendPath(StringBuilder path) {
        if (parent == null) {
            return;
        }
        parent.appendPath(path);
        if (index >= 0) {
            path.append('[').append(index).append(']');
        } else {
            path.append(path.isEmpty() ? "" : ".").append(shown(name));
        }
    }

    /// What may be shown of a name: some files have URLs with passwords for names.
    private static String shown(String name) {
        return Text.printable(Text.withoutSecret(name), MAX_SHOWN_CHARS);
    }

    @SuppressWarnings("unchecked") // the kind says what the content is
    private Map<String, JsonNode> membersByName() throws ImageException {
        if (kind != Kind.OBJECT) {
            throw wrongKind(Kind.OBJECT);
        }
        return (Map<String, JsonNode>) content;
    }

    private ImageException wrongKind(Kind wanted) {
        return invalid("wanted " + wanted.label + ", got " + kind.label);
    }

    /// The kind and the place, not the content: a document may be large or hold secrets.
    @Override
    public String toString() {
        return kind.label + " at " + where();
    }
}
