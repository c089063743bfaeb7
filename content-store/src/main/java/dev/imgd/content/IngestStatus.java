package dev.imgd.content;

import dev.imgd.model.Digest;
import java.time.Instant;
import java.util.Optional;

/// The state of an ingest.
///
/// @param offsetBytes how many bytes are written
/// @param totalBytes the size it will have, 0 when unknown
public record IngestStatus(
        String ref,
        long offsetBytes,
        long totalBytes,
        Optional<Digest> expected,
        Instant started,
        Instant updated) {}
