package dev.imgd.model;

import java.util.List;
import java.util.Map;
import java.util.Optional;

/// A list of manifests, and of further indexes, of OCI or Docker. **Source:** OCI image-spec v1.1,
/// image-index.md; Docker manifest list v2.
///
/// @param raw the document as it was received
/// @param mediaType the document's own type, else the declared one, else OCI's
/// @param manifests the entries in their order; types are not restricted
/// @param subject what the index refers to
/// @param artifactType the type of an artifact
/// @param annotations attacker input
public record Index(
        Bytes raw,
        String mediaType,
        List<Descriptor> manifests,
        Optional<Descriptor> subject,
        Optional<String> artifactType,
        Map<String, String> annotations)
        implements ManifestDocument {

    public Index {
        manifests = List.copyOf(manifests);
        annotations = Map.copyOf(annotations);
    }

    /// Reads an index within the default limits; a manifest is an error. See
    /// [ManifestDocument#parse(String, Bytes, Optional, Limits)].
    public static Index parse(String what, Bytes raw, Optional<String> declaredMediaType)
            throws ImageException {
        return parse(what, raw, declaredMediaType, Limits.defaults());
    }

    /// As the other, within limits that were configured.
    public static Index parse(
            String what, Bytes raw, Optional<String> declaredMediaType, Limits limits)
            throws ImageException {
        ManifestDocument document = ManifestDocument.parse(what, raw, declaredMediaType, limits);
        if (document instanceof Index index) {
            return index;
        }
        throw ImageException.invalidContent(
                what + ": wanted an index, got the manifest of one image");
    }
}
