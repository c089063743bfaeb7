package dev.imgd.trust;

import dev.imgd.model.ImageException;
import java.security.PrivateKey;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;

/// The secret of a layer, encrypted for one or more recipients.
interface LayerEnvelope {
    /// For how many it is.
    int size();

    /// For whom it is, as far as it says, for messages.
    String recipients();

    /// The content; empty when none of the keys opens it.
    ///
    /// @throws ImageException `INVALID_CONTENT` when a key fits and the content was changed
    Optional<byte[]> open(List<PrivateKey> keys) throws ImageException;

    /// Equal ones together: `2 × RSA-OAEP, ECDH-ES+A256KW`.
    static String list(List<String> names) {
        Map<String, Integer> counts = new LinkedHashMap<>();
        names.forEach(name -> counts.merge(name, 1, Integer::sum));
        return counts.entrySet().stream()
                .map(e -> e.getValue() == 1 ? e.getKey() : e.getValue() + " × " + e.getKey())
                .collect(Collectors.joining(", "));
    }
}
