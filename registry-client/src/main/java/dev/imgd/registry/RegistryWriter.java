package dev.imgd.registry;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import java.io.IOException;
import java.util.List;

/// Writes to registries.
///
/// Everything goes to the first host of a registry that has the capability `push`: an image must be
/// in one place. Handles authentication, retries and resumption. Uploads go only where the registry
/// itself is, whatever it answers. Blocking; safe for use by many threads. **Source:** OCI
/// distribution-spec v1.1 § Push, § Content Management.
public interface RegistryWriter {
    /// The bytes of a blob that is to be pushed.
    @FunctionalInterface
    interface BlobSource {
        /// Opens the bytes from `offset` on; closed by who opened them. After a failure it is
        /// called again, from where the registry says it is.
        ///
        /// @param offset 0 to the size of the blob
        RegistryClient.BlobStream open(long offset) throws IOException;

        /// A blob in memory.
        static BlobSource of(Bytes content) {
            byte[] bytes = content.toArray();
            return offset -> new MemoryBlobStream(bytes, (int) offset, "memory");
        }
    }

    /// How a blob came to be in a repository.
    enum BlobOutcome {
        /// It was there.
        EXISTED,
        /// The registry took it from another repository.
        MOUNTED,
        UPLOADED
    }

    /// Puts a blob into a repository, unless it is there.
    ///
    /// @param source what to send; not asked when nothing needs to be sent
    /// @param mountFrom repositories of the same registry that may have the blob, best first
    /// @throws ImageException the source's own failure, or `UNAUTHENTICATED`, `PERMISSION_DENIED`,
    ///   `RATE_LIMITED`, `UNAVAILABLE`, `FAILED_PRECONDITION`
    BlobOutcome pushBlob(
            Reference repository, Descriptor blob, BlobSource source, List<Reference> mountFrom)
            throws ImageException;

    /// Puts a manifest or index into a repository, after everything it points to. One with a
    /// subject can be found as its referrer afterwards, also where the registry has no referrers
    /// API: then the index under the tag made of the subject's digest is brought up to date.
    ///
    /// @param descriptor media type, digest and size of `content`
    /// @param tags what to call it; none for the digest alone
    void pushManifest(Reference repository, Descriptor descriptor, Bytes content, List<String> tags)
            throws ImageException;

    /// Deletes a manifest by its digest, with all its tags; or a tag, where the reference has no
    /// digest.
    ///
    /// @throws ImageException `NOT_FOUND`; `FAILED_PRECONDITION` when the registry does not delete
    void deleteManifest(Reference reference) throws ImageException;

    /// Removes a blob from a repository.
    ///
    /// @throws ImageException as [#deleteManifest]
    void deleteBlob(Reference repository, Digest digest) throws ImageException;
}
