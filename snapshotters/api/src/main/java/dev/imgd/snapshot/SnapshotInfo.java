package dev.imgd.snapshot;

import java.time.Instant;
import java.util.Map;

/// A snapshot as its view shows it.
///
/// @param name the key of an active snapshot or a view, the name of a committed one
/// @param parent the name of the committed snapshot below, or empty
public record SnapshotInfo(
        String name,
        String parent,
        Kind kind,
        Instant created,
        Instant updated,
        Map<String, String> labels) {
    public SnapshotInfo {
        labels = Map.copyOf(labels);
    }
}
