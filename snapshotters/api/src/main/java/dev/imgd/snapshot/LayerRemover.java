package dev.imgd.snapshot;

import dev.imgd.content.NodeId;
import dev.imgd.model.ImageException;

/// Lets garbage collection remove snapshots and layers. Safe for use by many threads.
public interface LayerRemover {
    /// Removes a snapshot or an unpacked layer when nothing needs it, which is checked again in the
    /// transaction that removes it: it is no root ([SnapshotMetadata#isRoot]), no edge points to
    /// it, and it is not a layer that a pull has just finished and is about to link. The row goes
    /// at once, the directory in the background.
    ///
    /// @param node a node of type `SNAPSHOT` or `LAYER`
    /// @return whether it was removed now
    boolean removeUnreferenced(NodeId node) throws ImageException;
}
