package dev.imgd.model;

import java.util.List;
import java.util.Map;
import java.util.Optional;

/// A typed, sized pointer to content. **Source:** OCI image-spec v1.1, descriptor.md.
///
/// @param mediaType the declared media type, never empty
/// @param digest the digest of the content
/// @param sizeBytes the exact size, 0 to 1 TiB
/// @param annotations attacker input when it came from a registry; never security-relevant
/// @param urls extra places of foreign layers; not fetched unless configured
/// @param platform the platform of an index entry
/// @param artifactType the type of an artifact manifest that an index points to
/// @param data the content itself where the descriptor embeds it; at most 4 MiB, not yet verified
public record Descriptor(
        String mediaType,
        Digest digest,
        long sizeBytes,
        Map<String, String> annotations,
        List<String> urls,
        Optional<Platform> platform,
        Optional<String> artifactType,
        Optional<Bytes> data) {

    /// The largest size a descriptor may state: 1 TiB.
    public static final long MAX_SIZE_BYTES = 1L << 40;

    public Descriptor {
        if (sizeBytes < 0 || sizeBytes > MAX_SIZE_BYTES) {
            throw new IllegalArgumentException("size out of range: " + sizeBytes);
        }
        annotations = Map.copyOf(annotations);
        urls = List.copyOf(urls);
    }

    /// A descriptor with nothing but the three required fields.
    public Descriptor(String mediaType, Digest digest, long sizeBytes) {
        this(
                mediaType,
                digest,
                sizeBytes,
                Map.of(),
                List.of(),
                Optional.empty(),
                Optional.empty(),
                Optional.empty());
    }

    /// The media type, classified.
    public MediaType type() {
        return MediaType.of(mediaType);
    }
}
