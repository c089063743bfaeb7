package dev.imgd.content;

import dev.imgd.model.ImageException;
import java.util.List;
import java.util.Optional;
import java.util.function.BiPredicate;
import org.jspecify.annotations.Nullable;

/// Ordered tables and a reference graph with transactions.
///
/// Writers are serial: a transaction sees its own writes and nobody else's unfinished ones, and
/// everything it did becomes durable at once (one batch, one sync, shared by transactions that end
/// together). Keep bodies short and free of I/O. Safe for use by many threads.
public interface Database {
    /// The tables. A module writes only to its own.
    enum Table {
        /// Content-store's own.
        CONTENT,
        IMAGES,
        LEASES,
        /// Snapshot rows, written by snapshotters/api.
        SNAPSHOTS,
        /// Unpacked layers on disk, written by snapshotters/api.
        LAYERS,
        /// Counters, boot id, schema version.
        META
    }

    /// The work of a transaction.
    @FunctionalInterface
    interface Body<T extends @Nullable Object> {
        T run(Transaction tx) throws ImageException;
    }

    /// Reads of one consistent state.
    interface View {
        /// The value of a key.
        byte @Nullable [] get(Table table, String key) throws ImageException;

        /// Calls `visitor` with each key that starts with `prefix`, in byte order of UTF-8, until
        /// it returns false.
        void scan(Table table, String prefix, BiPredicate<String, byte[]> visitor)
                throws ImageException;

        /// How many edges point to the node.
        long references(NodeId to) throws ImageException;

        /// The nodes that `from` points to.
        List<NodeId> edgesFrom(NodeId from) throws ImageException;

        /// The nodes that point to `to`.
        List<NodeId> edgesTo(NodeId to) throws ImageException;
    }

    /// Reads and writes that happen together or not at all.
    interface Transaction extends View {
        void put(Table table, String key, byte[] value) throws ImageException;

        void delete(Table table, String key) throws ImageException;

        /// Adds an edge and counts it; does nothing when it exists.
        void link(NodeId from, NodeId to) throws ImageException;

        /// Removes an edge and counts it; does nothing when it does not exist. A node whose count
        /// falls to zero enters the zero queue.
        void unlink(NodeId from, NodeId to) throws ImageException;

        /// Removes all edges that leave `from`.
        void unlinkAll(NodeId from) throws ImageException;

        /// The next number of a durable sequence, from 1.
        long next(String sequence) throws ImageException;
    }

    /// Runs `body` and makes its writes durable before returning; writes nothing when it throws.
    <T extends @Nullable Object> T write(Body<T> body) throws ImageException;

    /// Runs `body` on one consistent state, without blocking writers.
    <T extends @Nullable Object> T read(ReadBody<T> body) throws ImageException;

    /// The work of a read.
    @FunctionalInterface
    interface ReadBody<T extends @Nullable Object> {
        T run(View view) throws ImageException;
    }

    /// Nodes whose reference count fell to zero since they were last taken from the queue, at most
    /// `max`.
    List<NodeId> zeroQueue(int max) throws ImageException;

    /// Takes a node off the zero queue.
    void dequeue(List<NodeId> nodes) throws ImageException;

    /// The value of a key, outside of any transaction.
    default Optional<byte[]> get(Table table, String key) throws ImageException {
        return Optional.ofNullable(read(view -> view.get(table, key)));
    }
}
