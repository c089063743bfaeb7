package dev.imgd.content;

import dev.imgd.model.ImageException;
import dev.imgd.model.Text;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/// The rules for names that come from outside. **Source:** containerd `pkg/identifiers`,
/// `core/labels`.
final class Names {
    private static final int MAX_NAMESPACE_CHARS = 76;
    private static final int MAX_LABEL_BYTES = 4096;
    private static final int MAX_NAME_BYTES = 16 << 10;

    private Names() {}

    static void requireNamespace(String namespace) throws ImageException {
        boolean wellFormed = !namespace.isEmpty() && namespace.length() <= MAX_NAMESPACE_CHARS;
        for (int i = 0; wellFormed && i < namespace.length(); i++) {
            char c = namespace.charAt(i);
            wellFormed =
                    (c >= 'a' && c <= 'z')
                            || (c >= 'A' && c <= 'Z')
                            || (c >= '0' && c <= '9')
                            || (i > 0 && (c == '.' || c == '_' || c == '-'));
        }
        if (!wellFormed) {
            throw ImageException.invalidArgument(
                    "namespace \"%s\": wanted 1 to %d letters, digits, dots, dashes or underscores"
                            .formatted(Text.printable(namespace, 100), MAX_NAMESPACE_CHARS));
        }
    }

    /// @param kind for the message, for example `image name`
    static void requireName(String kind, String name) throws ImageException {
        if (name.isEmpty()
                || name.indexOf(0) >= 0
                || name.getBytes(StandardCharsets.UTF_8).length > MAX_NAME_BYTES) {
            throw ImageException.invalidArgument(
                    "%s \"%s\": wanted 1 to %d bytes without NUL"
                            .formatted(kind, Text.printable(name, 100), MAX_NAME_BYTES));
        }
    }

    static void requireLabels(Map<String, String> labels) throws ImageException {
        for (Map.Entry<String, String> label : labels.entrySet()) {
            int bytes =
                    label.getKey().getBytes(StandardCharsets.UTF_8).length
                            + label.getValue().getBytes(StandardCharsets.UTF_8).length;
            if (bytes > MAX_LABEL_BYTES) {
                throw ImageException.invalidArgument(
                        "label \"%s\": wanted at most %d bytes of key and value, got %d"
                                .formatted(
                                        Text.printable(label.getKey(), 100),
                                        MAX_LABEL_BYTES,
                                        bytes));
            }
        }
    }
}
