package dev.imgd.snapshot;

import java.util.List;

/// A snapshot and the directories below it.
///
/// @param lowers the directory numbers of its ancestors, nearest first, each once
public record SnapshotStack(StoredSnapshot top, List<Long> lowers) {
    public SnapshotStack {
        lowers = List.copyOf(lowers);
    }
}
