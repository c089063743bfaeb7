package dev.imgd.registry;

import dev.imgd.hosts.RegistryHosts;
import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.EarlyBytes;
import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;
import java.util.function.LongSupplier;

/// Fetches images from registries.
///
/// Handles authentication, redirects, retries and resumption; verifies sizes of bodies and digests
/// of manifests. Blob digests are verified by whoever stores the bytes, in the same pass. Blocking;
/// safe for use by many threads, virtual or not. **Source:** OCI distribution-spec v1.1.
public interface RegistryClient extends AutoCloseable {
    /// What the failure of a server that does not speak https ends with. It is wrong for who asked
    /// for plain http in vain, which only the caller knows.
    String PLAIN_HTTP_ADVICE =
            "; if you trust the network, use --plain-http, or name it with http:// in hosts.toml";

    /// What the failure of a server ends with that closes the connection instead of a handshake, as
    /// some do that do not speak https.
    String HANDSHAKE_ENDED =
            "the server ended the handshake; check that it speaks https at this port";

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
    ///   `UNAVAILABLE`, `UNTRUSTED`, `DATA_LOSS`, `LIMIT_EXCEEDED`, `INVALID_ARGUMENT` for a wrong
    ///   configuration
    FetchedManifest resolve(Reference reference) throws ImageException;

    /// Fetches a manifest that an index listed, from the same repository.
    FetchedManifest manifest(Reference repository, Descriptor descriptor) throws ImageException;

    /// Fetches a small blob (an image configuration) whole and verified.
    Bytes smallBlob(Reference repository, Descriptor descriptor) throws ImageException;

    /// Opens a blob from `offset` on. Failures in the middle are retried by range inside the
    /// stream, with the next host of the registry where there is one.
    ///
    /// @param offset 0 to the size of the blob
    default BlobStream blob(Reference repository, Descriptor descriptor, long offset)
            throws ImageException {
        return blob(repository, descriptor, BlobWish.from(offset));
    }

    /// As [#blob(Reference, Descriptor, long)].
    BlobStream blob(Reference repository, Descriptor descriptor, BlobWish wish)
            throws ImageException;

    /// What of a blob is wanted, and how.
    ///
    /// @param offset of the first byte, 0 to the size of the blob
    /// @param oneHost whether all bytes must come from the same host, so that it alone is to blame
    ///   when they are wrong
    /// @param early keeps what comes before its turn, and has what was kept before: that is not
    ///   fetched again
    record BlobWish(long offset, boolean oneHost, EarlyBytes early) {
        public static BlobWish from(long offset) {
            return new BlobWish(offset, false, EarlyBytes.NONE);
        }

        /// The whole blob, from one host.
        public static BlobWish ofOneHost() {
            return new BlobWish(0, true, EarlyBytes.NONE);
        }
    }

    /// A part of a blob that came from one host.
    ///
    /// @param host as in [SourceUse]
    /// @param offset of its first byte in the blob
    /// @param crc32c of its bytes, to find out later which parts were wrong; 0 where only one host
    ///   could have sent them
    record Span(String host, long offset, long sizeBytes, int crc32c) {}

    /// What a host did for this client.
    ///
    /// @param host `host` or `host:port`, with the path where it is not `/v2`
    /// @param blobBytes bytes of blobs that were read, small ones left out
    /// @param retries how often something was asked for again because of its failures
    /// @param dropped why it is asked last or no more: it could not be reached or used, refused, or
    ///   sent nonsense
    record SourceUse(String host, long blobBytes, int retries, Optional<String> dropped) {}

    /// The hosts that did something for this client or failed to, in the order of first use.
    List<SourceUse> sources();

    /// What the registries said in `Warning` headers to this client, its sessions left out, and
    /// which hosts were passed over for others and why, fit to be shown: for people, each text
    /// once. The log has it too, headers for all clients together once an hour.
    List<String> notices();

    /// Asks a host no more, because it sent wrong bytes.
    ///
    /// @param host as in [Span]
    /// @param reason for the report
    /// @return whether the registry has another host that may be asked for blobs
    boolean distrust(Reference repository, String host, String reason) throws ImageException;

    /// The bytes of a blob. For one thread; the caller closes it.
    interface BlobStream extends AutoCloseable {
        /// Reads at least one byte into the buffer; -1 after exactly as many bytes as the
        /// descriptor says.
        ///
        /// @throws ImageException [dev.imgd.model.SizeMismatchException] when the body is shorter
        ///   (after retries) or longer
        int read(ByteBuffer into) throws IOException;

        /// Gives a way to learn how many of the bytes read so far are not used yet: no further
        /// connections are made for somebody who has enough to do with what there is.
        ///
        /// @param bytes asked now and then by the reading thread, while it reads
        default void backlog(LongSupplier bytes) {}

        /// How many of the bytes that were read had been kept before and were not fetched now.
        default long reusedBytes() {
            return 0;
        }

        /// The host that serves the bytes now, for people and for error messages.
        String from();

        /// Who sent the bytes that were read so far, in order and without gaps.
        List<Span> spans();

        /// Ends the transfer; also from another thread, which makes a blocked read fail.
        @Override
        void close();
    }

    /// Pushes and deletes, with the settings, the connections and the end of this client.
    RegistryWriter writer();

    /// Lists tags, repositories and referrers, with the settings, the connections and the end of
    /// this client.
    RegistryListing listing();

    /// A client that shares settings, connections and tokens with this one, and whose [#close] ends
    /// only the calls that were made through it: whatever thread they block, they fail with
    /// `CANCELLED`.
    RegistryClient session();

    /// As [#session()], with other hosts.
    RegistryClient session(RegistryHosts hosts);

    /// As [#session()], for somebody else: tokens are not shared with this client or any other
    /// session, and end with this one.
    ///
    /// @param credentials asked before those of this client
    RegistryClient session(CredentialSource credentials);

    /// This client for what is not the image itself, such as its signatures: a host that refuses
    /// that (401, 403) is asked for the image as before. All else is shared with this client, its
    /// end included; its sessions are for the same.
    RegistryClient beside();

    /// Closes idle connections; running transfers fail, those of sessions too.
    @Override
    void close();
}
