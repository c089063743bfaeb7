package dev.imgd.snapshot;

import java.util.Optional;

/// A snapshot with what only its back end knows.
///
/// @param view the view it belongs to
/// @param directory the number of the directory that belongs to it alone; 0 when it has none
/// @param layer the id of the layer it shows; empty when it has its own directory
/// @param usage what its own directory takes, once measured; never set for an active snapshot
/// @param lost a power cut hit before the files of this committed snapshot were durable
public record StoredSnapshot(
        String view,
        SnapshotInfo info,
        long directory,
        String layer,
        Optional<Usage> usage,
        boolean lost) {}
