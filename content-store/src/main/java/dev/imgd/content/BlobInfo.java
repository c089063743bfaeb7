package dev.imgd.content;

import dev.imgd.model.Digest;
import java.time.Instant;
import java.util.Map;

/// What is known of a blob in a namespace.
public record BlobInfo(
        Digest digest,
        long sizeBytes,
        Instant created,
        Instant updated,
        Map<String, String> labels) {
    public BlobInfo {
        labels = Map.copyOf(labels);
    }
}
