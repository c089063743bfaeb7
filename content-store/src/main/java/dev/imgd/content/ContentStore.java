package dev.imgd.content;

import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;

/// Blobs by digest, and ingests: blobs that are still being written.
///
/// A blob becomes visible only when it is complete, verified and durable. Every call names a
/// namespace; labels and visibility belong to the namespace, the bytes are shared. Safe for use by
/// many threads. **Source:** containerd `services/content/v1`.
public interface ContentStore {
    /// The blob's metadata in the namespace.
    ///
    /// @throws ImageException `NOT_FOUND`
    BlobInfo info(String namespace, Digest digest) throws ImageException;

    /// Like [#info], empty when the namespace does not have the blob.
    Optional<BlobInfo> find(String namespace, Digest digest) throws ImageException;

    /// Like [#find], but empty also when the blob's file is missing or has a wrong size: such a
    /// blob can be ingested or written once more.
    Optional<BlobInfo> findWhole(String namespace, Digest digest) throws ImageException;

    /// Reads a blob that made no sense to its reader. A file whose bytes are no longer those of its
    /// digest is deleted, so that the blob can be fetched once more.
    ///
    /// @return whether the bytes are right
    boolean recheck(Digest digest) throws ImageException;

    /// Replaces the labels whose keys are given (all when `keys` is empty); an absent or empty
    /// value deletes.
    BlobInfo updateLabels(
            String namespace, Digest digest, Map<String, String> labels, List<String> keys)
            throws ImageException;

    /// Calls `visitor` for each blob of the namespace, ordered by digest.
    void list(String namespace, Consumer<BlobInfo> visitor) throws ImageException;

    /// Makes a blob that the store has visible in this namespace; false when the store does not
    /// have it whole, as far as the size of its file tells.
    boolean adopt(String namespace, Digest digest, Map<String, String> labels)
            throws ImageException;

    /// Opens the blob for reading; the caller closes it. The bytes were verified when they were
    /// committed.
    ///
    /// @throws ImageException `NOT_FOUND`
    FileChannel open(Digest digest) throws IOException;

    /// Reads a small blob whole.
    ///
    /// @throws ImageException `NOT_FOUND`; `LIMIT_EXCEEDED` above `maxBytes`; `DATA_LOSS` when the
    ///   bytes no longer match the digest
    byte[] read(Digest digest, int maxBytes) throws ImageException;

    /// The file of a blob, whether or not it exists.
    Path path(Digest digest);

    /// Removes the blob from the namespace; the bytes go when no namespace holds it.
    ///
    /// @throws ImageException `NOT_FOUND`
    void delete(String namespace, Digest digest) throws ImageException;

    /// Opens an ingest: a new one, or the one left under the same reference, which goes on where it
    /// stopped.
    ///
    /// @param ref the caller's name of this download, unique within the namespace
    /// @param expected digest and size, where known in advance
    /// @throws ImageException `UNAVAILABLE` when another writer has it; `ALREADY_EXISTS` when the
    ///   expected blob is already in the namespace, see [#findWhole]
    Ingest ingest(String namespace, String ref, Optional<Descriptor> expected)
            throws ImageException;

    /// Commits bytes that are already in memory (manifests and configs); does nothing more than
    /// [#adopt] when the blob exists, and replaces it when its file has other bytes.
    ///
    /// @throws ImageException `DATA_LOSS` when the bytes do not match the digest
    BlobInfo write(
            String namespace,
            Digest digest,
            byte[] content,
            Map<String, String> labels,
            List<Digest> references)
            throws ImageException;

    /// Records that a blob refers to others (a manifest to its config and layers), so that they
    /// live as long as it does. Replaces what was recorded before.
    void references(Digest from, List<Digest> to) throws ImageException;

    /// The ingests of a namespace.
    List<IngestStatus> ingests(String namespace) throws ImageException;

    /// Drops an ingest and its bytes.
    ///
    /// @throws ImageException `NOT_FOUND`; `UNAVAILABLE` while a writer has it
    void abort(String namespace, String ref) throws ImageException;
}
