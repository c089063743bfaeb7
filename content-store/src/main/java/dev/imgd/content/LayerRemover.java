package dev.imgd.content;

import dev.imgd.model.ImageException;
import java.time.Instant;
import java.util.function.Consumer;

/// What garbage collection asks of the module that owns the snapshots and layers.
///
/// Collection decides what nothing needs; the owner knows the rows and the directories. Safe for use by
/// many threads.
public interface LayerRemover {
    /// A snapshot or a layer.
    ///
    /// @param node of type `SNAPSHOT` or `LAYER`
    /// @param sizeBytes what it takes on disk itself, 0 when unknown
    /// @param created when it came into being
    /// @param root whether it lives without references: an active snapshot, a view, and a snapshot that
    ///     somebody outside removes explicitly
    /// @param reason for people, why it is a root; empty when it is none
    record StoredObject(
            NodeId node, long sizeBytes, Instant created, boolean root, String reason) {}

    /// Calls `visitor` with each snapshot and each layer there is.
    void objects(Database.View view, Consumer<StoredObject> visitor) throws ImageException;

    /// Forgets a snapshot or a layer that nothing refers to: deletes its rows and its outgoing edges. Its
    /// directory may stay until [#reclaim]. Does nothing when it is gone already.
    void forget(Database.Transaction tx, NodeId node) throws ImageException;

    /// Deletes the directories of what was forgotten. Called after the transaction is durable; may take long.
    void reclaim() throws ImageException;

    /// For a store without snapshots.
    LayerRemover NONE =
            new LayerRemover() {
                @Override
                public void objects(Database.View view, Consumer<StoredObject> visitor) {}

                @Override
                public void forget(Database.Transaction tx, NodeId node) {}

                @Override
                public void reclaim() {}
            };
}
