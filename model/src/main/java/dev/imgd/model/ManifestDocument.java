package dev.imgd.model;

import java.util.Map;
import java.util.Optional;

/// What a registry serves under a tag: a manifest, or an index of manifests.
///
/// The raw bytes are kept, and digests are computed over them, never over what was written again. A
/// document that could be read as both kinds is refused: tools that choose differently would run
/// different images under one digest (CVE-2021-41190).
public sealed interface ManifestDocument permits Manifest, Index {
    /// The document as it was received.
    Bytes raw();

    /// The media type: the document's own, else the declared one, else OCI's for its kind.
    String mediaType();

    /// The annotations, which are attacker input.
    Map<String, String> annotations();

    /// What the document refers to, for example the image that a signature is for.
    Optional<Descriptor> subject();

    /// The type of an artifact.
    Optional<String> artifactType();

    /// Reads a document within the default limits; see [#parse(String, Bytes, Optional, Limits)].
    static ManifestDocument parse(String what, Bytes raw, Optional<String> declaredMediaType)
            throws ImageException {
        return parse(what, raw, declaredMediaType, Limits.defaults());
    }

    /// Reads a document.
    ///
    /// @param what the document and where it came from, for error messages
    /// @param declaredMediaType what the descriptor or the `Content-Type` header says. It must
    ///   agree with the document; the general types that plain file servers send count as no
    ///   declaration
    /// @throws ImageException [ErrorKind#INVALID_CONTENT] when the document is malformed or
    ///   ambiguous
    /// @throws LimitExceededException when it is too long, or has too many descriptors or layers
    static ManifestDocument parse(
            String what, Bytes raw, Optional<String> declaredMediaType, Limits limits)
            throws ImageException {
        return ManifestReader.read(what, raw, declaredMediaType.orElse(""), limits);
    }
}
