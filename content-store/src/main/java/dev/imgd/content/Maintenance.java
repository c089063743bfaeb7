package dev.imgd.content;

import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import java.time.Instant;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.LongConsumer;

/// What garbage collection and the check of the store need beyond the everyday API. Safe for use by
/// many threads.
public interface Maintenance {
    /// A blob, whoever sees it.
    ///
    /// @param namespaces those that see it; may be empty
    record StoredBlob(Digest digest, long sizeBytes, Instant created, List<String> namespaces) {
        public StoredBlob {
            namespaces = List.copyOf(namespaces);
        }
    }

    /// An ingest.
    ///
    /// @param active whether a writer has it
    record StoredIngest(String namespace, IngestStatus status, boolean active) {}

    /// Receives an edge of the reference graph.
    @FunctionalInterface
    interface EdgeVisitor {
        void edge(NodeId from, NodeId to) throws ImageException;
    }

    /// Receives a stored reference count.
    @FunctionalInterface
    interface CountVisitor {
        void count(NodeId node, long count) throws ImageException;
    }

    /// All blobs, ordered by digest.
    void blobs(Database.View view, Consumer<StoredBlob> visitor) throws ImageException;

    /// One blob.
    Optional<StoredBlob> blob(Database.View view, Digest digest) throws ImageException;

    /// The images of all namespaces.
    void images(Database.View view, Consumer<ImageRecord> visitor) throws ImageException;

    /// The leases of all namespaces.
    void leases(Database.View view, Consumer<LeaseStore.Lease> visitor) throws ImageException;

    /// All edges, as they are stored by source or, independently, by target.
    void edges(Database.View view, boolean bySource, EdgeVisitor visitor) throws ImageException;

    /// All stored reference counts.
    void counts(Database.View view, CountVisitor visitor) throws ImageException;

    /// Forgets a blob in all namespaces, and what it refers to. Its file goes with [#discard].
    void forgetBlob(Database.Transaction tx, Digest digest) throws ImageException;

    /// Ends a lease that has expired.
    ///
    /// @return false when it is gone or lives on
    boolean endExpiredLease(Database.Transaction tx, String namespace, String id, Instant now)
            throws ImageException;

    /// Sets the reference count of a node to the number of edges that lead to it.
    void recount(Database.Transaction tx, NodeId node) throws ImageException;

    /// Moves the files of forgotten blobs to the trash; a blob that came back keeps its file.
    void discard(Collection<Digest> digests) throws ImageException;

    /// Has `listener` told of each transaction that took the last reference from something, or made
    /// something that has none yet; once it is durable, on the thread that made it. There is one
    /// listener, which returns at once and throws nothing.
    void onUnreferenced(Runnable listener);

    /// Deletes what is in the trash, now.
    ///
    /// @param pace called with the size of each file, in bytes, before it goes; may wait
    /// @return how many bytes were freed
    long emptyTrash(LongConsumer pace) throws ImageException;

    /// The ingests of all namespaces.
    List<StoredIngest> ingests() throws ImageException;

    /// Drops an ingest; does nothing when a writer has it.
    ///
    /// @return whether it was dropped
    boolean dropIngest(String namespace, String ref) throws ImageException;

    /// Compares blob rows and blob files in both directions. What is committed meanwhile is no
    /// finding; what a collection removes meanwhile may be.
    ///
    /// @param rehash also reads every byte and compares digests
    /// @return one line per finding, empty when all is well
    List<String> checkFiles(boolean rehash) throws ImageException;
}
