package dev.imgd.registry;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;

import java.io.IOException;
import java.nio.ByteBuffer;

/// Fetches images from registries.
///
/// Handles authentication, redirects, retries and resumption; verifies sizes of bodies and digests
/// of manifests. Blob digests are verified by whoever stores the bytes, in the same pass. Blocking;
/// safe for use by many threads, virtual or not. **Source:** OCI distribution-spec v1.1.
public interface RegistryClient extends AutoCloseable {
    /// A client with the given settings. Opens no connection.
    static RegistryClient create(RegistryOptions options) {
        return new HttpRegistryClient(options);
    }

    /// A manifest or index as it was received.
    ///
    /// @param descriptor media type, digest (computed from the bytes) and size
    /// @param from the host that answered, for people
    record FetchedManifest(Descriptor descriptor, Bytes content, String from) {}

    /// Fetches what a reference points to: by digest where it has one, else by tag. One round trip
    /// where the registry allows it.
    ///
    /// @throws ImageException `NOT_FOUND`, `UNAUTHENTICATED`, `PERMISSION_DENIED`, `RATE_LIMITED`,
    ///   `UNAVAILABLE`, `DATA_LOSS`, `LIMIT_EXCEEDED`
    FetchedManifest resolve(Reference reference) throws ImageException;

    /// Fetches a manifest that an index listed, from the same repository.
    FetchedManifest manifest(Reference repository, Descriptor descriptor) throws ImageException;

    /// Fetches a small blob (an image configuration) whole and verified.
    Bytes smallBlob(Reference repository, Descriptor descriptor) throws ImageException;

    /// Opens a blob from `offset` on. Failures in the middle are retried by range inside the
    /// stream.
    ///
    /// @param offset 0 to the size of the blob
    BlobStream blob(Reference repository, Descriptor descriptor, long offset) throws ImageException;

    /// The bytes of a blob. For one thread; the caller closes it.
    interface BlobStream extends AutoCloseable {
        /// Reads at least one byte into the buffer; -1 after exactly as many bytes as the
        /// descriptor says.
        ///
        /// @throws ImageException [dev.imgd.model.SizeMismatchException] when the body is shorter
        ///   (after retries) or longer
        int read(ByteBuffer into) throws IOException;

        /// The host that serves the bytes now, for people and for error messages.
        String from();

        /// Ends the transfer; also from another thread, which makes a blocked read fail.
        @Override
        void close();
    }

    /// Pushes and deletes, with the settings, the connections and the end of this client.
    RegistryWriter writer();

    /// Lists tags, repositories and referrers, with the settings, the connections and the end of
    /// this client.
    RegistryListing listing();

    /// A client that shares settings, connections and tokens with this one, and whose [#close] ends only
    /// the calls that were made through it: whatever thread they block, they fail with `CANCELLED`.
    RegistryClient session();

    /// Closes idle connections; running transfers fail, those of sessions too.
    @Override
    void close();
}
