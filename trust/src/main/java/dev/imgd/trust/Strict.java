package dev.imgd.trust;

import dev.imgd.model.ImageException;
import dev.imgd.model.JsonNode;
import dev.imgd.model.Text;
import java.util.Base64;
import java.util.List;
import java.util.Map;

/// Reading that leaves nothing to interpretation: what one reader could overlook or understand
/// differently is refused.
final class Strict {
    private Strict() {}

    /// Refuses members that are not allowed or `null`.
    static JsonNode only(JsonNode object, List<String> allowed) throws ImageException {
        for (Map.Entry<String, JsonNode> member : object.members().entrySet()) {
            if (!allowed.contains(member.getKey())) {
                throw object.invalid(
                        "unknown field \"%s\"; wanted one of %s"
                                .formatted(
                                        Text.printable(member.getKey(), 60),
                                        String.join(", ", allowed)));
            }
            if (member.getValue().kind() == JsonNode.Kind.NULL) {
                throw member.getValue().invalid("is null; leave the field out");
            }
        }
        return object;
    }

    /// Base64 with its padding and without white space, as written by an encoder.
    static byte[] base64(String what, String text) throws ImageException {
        try {
            byte[] content = Base64.getDecoder().decode(text);
            if (Base64.getEncoder().encodeToString(content).equals(text)) {
                return content;
            }
        } catch (IllegalArgumentException e) {
            // Said below, as for text that another decoder would read differently.
        }
        throw ImageException.invalidContent(what + ": not canonical base64");
    }

    /// Base64url without padding, as JOSE wants it.
    static byte[] base64Url(String what, String text) throws ImageException {
        try {
            byte[] content = Base64.getUrlDecoder().decode(text);
            if (Base64.getUrlEncoder().withoutPadding().encodeToString(content).equals(text)) {
                return content;
            }
        } catch (IllegalArgumentException e) {
            // Said below.
        }
        throw ImageException.invalidContent(what + ": not canonical base64url");
    }
}
