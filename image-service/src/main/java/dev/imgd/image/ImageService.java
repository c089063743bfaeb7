package dev.imgd.image;

import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.registry.Credentials;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/// What a user does with images. Implemented in-process by [LocalImageService] and over a socket by
/// the daemon's client; both behave alike.
///
/// Names are references as users write them (`debian:12`, `localhost:5000/a@sha256:…`) and are
/// normalised here. Blocking; safe for use by many threads. Interrupting the calling thread cancels
/// a call: it throws `CANCELLED`, keeps what can be resumed and leaves nothing else behind.
public interface ImageService extends AutoCloseable {

    /// Fetches, verifies, stores and by default unpacks an image. What is present already is not
    /// fetched or unpacked again; an interrupted pull goes on where it stopped.
    ///
    /// @param progress told of the state about ten times a second and at the end, from one thread
    /// @throws ImageException of any kind; nothing half-done is visible afterwards
    PullResult pull(PullRequest request, ProgressListener progress) throws ImageException;

    /// @param reference what to pull
    /// @param platform one platform in containerd's syntax; empty for the host's
    /// @param allPlatforms every platform an index lists; only the matching one is unpacked
    /// @param unpack whether to unpack after storing
    /// @param plainHttp speak http to this registry even if it is not on loopback
    /// @param credentials for the registry of the reference, used before all others and for this
    ///   call only; empty for those that are configured
    record PullRequest(
            String reference,
            Optional<String> platform,
            boolean allPlatforms,
            boolean unpack,
            boolean plainHttp,
            Optional<Credentials> credentials) {
        /// With the credentials that are configured.
        public PullRequest(
                String reference,
                Optional<String> platform,
                boolean allPlatforms,
                boolean unpack,
                boolean plainHttp) {
            this(reference, platform, allPlatforms, unpack, plainHttp, Optional.empty());
        }

        /// The same with other credentials.
        public PullRequest withCredentials(Optional<Credentials> value) {
            return new PullRequest(reference, platform, allPlatforms, unpack, plainHttp, value);
        }

        /// Pulls for the host's platform and unpacks.
        public static PullRequest of(String reference) {
            return new PullRequest(reference, Optional.empty(), false, true, false);
        }
    }

    /// @param name the normalised name
    /// @param digest the digest the name points to
    /// @param chainId the top chainID of the unpacked platform; empty when nothing was unpacked
    /// @param fetchedBytes bytes received from the network
    /// @param reusedBytes bytes of blobs that were present before
    /// @param layers number of layers of the selected platforms
    /// @param millis how long it took
    /// @param sources the hosts that served blobs, or failed to
    record PullResult(
            String name,
            Digest digest,
            Optional<Digest> chainId,
            long fetchedBytes,
            long reusedBytes,
            int layers,
            long millis,
            List<SourceUse> sources,
            List<String> warnings) {
        /// The same, with one more warning at its end.
        PullResult withWarning(String warning) {
            return new PullResult(
                    name,
                    digest,
                    chainId,
                    fetchedBytes,
                    reusedBytes,
                    layers,
                    millis,
                    sources,
                    Stream.concat(warnings.stream(), Stream.of(warning)).toList());
        }
    }

    /// What a host that serves the registry did for a pull.
    ///
    /// @param host `host` or `host:port`, with a path where it is an unusual one
    /// @param bytes bytes of blobs received from it
    /// @param retries how often something was asked for again because of its failures
    /// @param dropped why it was asked last or no more
    record SourceUse(String host, long bytes, int retries, Optional<String> dropped) {}

    /// Receives the state of a running call.
    @FunctionalInterface
    interface ProgressListener {
        /// A listener that ignores everything.
        ProgressListener NONE = state -> {};

        void progress(Progress state);
    }

    /// The state of a pull at one moment.
    ///
    /// @param phase what is being done, for example `resolving`, `downloading`, `unpacking`, `done`
    /// @param doneBytes bytes of all blobs that are present now
    /// @param totalBytes bytes of all blobs; 0 until the manifest is known
    /// @param fetchedBytes bytes received from the network by this pull
    /// @param sources the hosts used so far
    record Progress(
            String reference,
            String phase,
            long doneBytes,
            long totalBytes,
            long fetchedBytes,
            List<LayerProgress> layers,
            List<SourceUse> sources) {}

    /// The state of one layer.
    ///
    /// @param state one of [LayerState]
    /// @param doneBytes compressed bytes present
    /// @param unpackedBytes compressed bytes that went through the unpacker
    /// @param totalBytes compressed size
    record LayerProgress(
            Digest digest, LayerState state, long doneBytes, long unpackedBytes, long totalBytes) {}

    /// The stations of a layer.
    enum LayerState {
        WAITING,
        DOWNLOADING,
        UNPACKING,
        DONE,
        /// Was there before.
        EXISTS
    }

    /// All images, ordered by name.
    List<ImageSummary> list() throws ImageException;

    /// @param sizeBytes compressed size of the stored blobs of the image
    /// @param platforms platforms whose blobs are all present, formatted
    /// @param unpacked whether the host's platform is unpacked
    record ImageSummary(
            String name,
            Digest digest,
            String mediaType,
            long sizeBytes,
            List<String> platforms,
            boolean unpacked,
            Instant created,
            Instant updated) {}

    /// Everything known of an image.
    ///
    /// @param platform as for a pull; decides between several stored platforms
    /// @throws ImageException `NOT_FOUND`
    ImageDetails inspect(String reference, Optional<String> platform) throws ImageException;

    /// @param manifest the raw JSON of the platform's manifest
    /// @param config the raw JSON of its configuration; empty for artifacts
    record ImageDetails(
            String name,
            Digest digest,
            String mediaType,
            String platform,
            Digest manifestDigest,
            String manifest,
            Digest configDigest,
            String config,
            List<LayerDetails> layers,
            Optional<String> snapshot,
            Instant created,
            Instant updated,
            Map<String, String> labels) {}

    /// @param snapshot name of the layer's committed snapshot, when unpacked
    record LayerDetails(
            String mediaType,
            Digest digest,
            long sizeBytes,
            boolean present,
            Optional<Digest> diffId,
            Optional<Digest> chainId,
            Optional<String> snapshot) {}

    /// Gives an image a further name; replaces what the name pointed to.
    ImageSummary tag(String source, String target) throws ImageException;

    /// Removes names. Content goes with the next collection.
    ///
    /// @return the names removed
    /// @throws ImageException `NOT_FOUND` when none of that name exists; names before it are
    ///   removed
    List<String> remove(List<String> references) throws ImageException;

    /// Deletes what nothing needs.
    ///
    /// @param dryRun only says what would go
    /// @param explain also says why each thing stays
    GcReport gc(boolean dryRun, boolean explain) throws ImageException;

    /// @param freedBytes bytes of what is deleted
    /// @param kept why things stay, when asked for
    record GcReport(boolean dryRun, long freedBytes, List<GcItem> deleted, List<GcItem> kept) {}

    /// @param kind `blob`, `layer`, `snapshot`, `ingest` or `lease`
    /// @param reason why it goes or stays
    record GcItem(String kind, String id, long sizeBytes, String reason) {}

    /// Checks the store against itself: reference counts, files and rows in both directions, and
    /// with `rehash` every byte.
    ///
    /// @return findings, empty when all is well
    List<String> verify(boolean rehash) throws ImageException;

    /// Mounts an image at an existing or new directory; read-only unless `writable`. The mount
    /// lives on without this process. What is stored but not unpacked yet is unpacked first.
    ///
    /// @param platform as for [#inspect]
    /// @throws ImageException `NOT_FOUND`; `FAILED_PRECONDITION` when something is mounted there
    void mount(String reference, Optional<String> platform, Path directory, boolean writable)
            throws ImageException;

    /// Mounts the only platform, or this host's where there are several.
    default void mount(String reference, Path directory, boolean writable) throws ImageException {
        mount(reference, Optional.empty(), directory, writable);
    }

    /// Undoes [#mount] or [#bundle] and drops what was written there. Of a bundle `config.json`
    /// goes too, unless it was changed, and so do the directories that were made for it, once
    /// empty.
    ///
    /// @param directory the mount's, a bundle's, or a bundle's `rootfs`
    void unmount(Path directory) throws ImageException;

    /// Makes an OCI runtime bundle: `config.json` from the image's configuration and a writable
    /// `rootfs`.
    ///
    /// @param platform as for [#inspect]
    /// @param arguments replace the image's `Cmd`; none for what the image says
    void bundle(String reference, Optional<String> platform, Path directory, List<String> arguments)
            throws ImageException;

    /// Makes a bundle of the only platform, or of this host's where there are several.
    default void bundle(String reference, Path directory, List<String> arguments)
            throws ImageException {
        bundle(reference, Optional.empty(), directory, arguments);
    }

    /// Reads images from an OCI layout (directory or tar) or a docker archive; a tar may be
    /// compressed with gzip or zstd.
    ///
    /// @param name the name for an image that has none of its own, or instead of its own
    List<ImageSummary> importImages(Path source, Optional<String> name, boolean unpack)
            throws ImageException;

    /// Writes images to an OCI layout directory or a tar.
    void export(List<String> references, Path target, ExportFormat format) throws ImageException;

    /// What [#export] writes.
    enum ExportFormat {
        OCI_DIRECTORY,
        OCI_ARCHIVE,
        DOCKER_ARCHIVE
    }

    /// Copies an image from one place to another, digests preserved. Blobs that the destination has
    /// are not sent; nothing has a name there before all of it is there.
    ///
    /// @throws ImageException of any kind
    CopyResult copy(CopyRequest request, ProgressListener progress) throws ImageException;

    /// Which images of an index are copied.
    enum CopyPlatforms {
        /// The one that matches the platform.
        ONE,
        /// The index with everything in it.
        ALL,
        /// The index if the source has all of it, else the one that matches.
        AVAILABLE
    }

    /// @param platform for `ONE`, in containerd's syntax; empty for the host's
    /// @param referrers whether to copy signatures and other artifacts that refer to the image
    /// @param foreignLayers whether to copy layers that say to live elsewhere
    /// @param sourcePlainHttp speak http to the source registry even if it is not on loopback
    /// @param destinationPlainHttp as `sourcePlainHttp` for the other one
    /// @param sourceCredentials for the registry of the source, used before all others and for this
    ///   call only; empty for those that are configured
    /// @param destinationCredentials as `sourceCredentials` for the other one
    record CopyRequest(
            ImageLocation source,
            ImageLocation destination,
            CopyPlatforms platforms,
            Optional<String> platform,
            boolean referrers,
            boolean foreignLayers,
            boolean sourcePlainHttp,
            boolean destinationPlainHttp,
            Optional<Credentials> sourceCredentials,
            Optional<Credentials> destinationCredentials) {
        /// With the credentials that are configured.
        public CopyRequest(
                ImageLocation source,
                ImageLocation destination,
                CopyPlatforms platforms,
                Optional<String> platform,
                boolean referrers,
                boolean foreignLayers,
                boolean sourcePlainHttp,
                boolean destinationPlainHttp) {
            this(
                    source,
                    destination,
                    platforms,
                    platform,
                    referrers,
                    foreignLayers,
                    sourcePlainHttp,
                    destinationPlainHttp,
                    Optional.empty(),
                    Optional.empty());
        }

        /// The same with other credentials.
        public CopyRequest withCredentials(
                Optional<Credentials> forSource, Optional<Credentials> forDestination) {
            return new CopyRequest(
                    source,
                    destination,
                    platforms,
                    platform,
                    referrers,
                    foreignLayers,
                    sourcePlainHttp,
                    destinationPlainHttp,
                    forSource,
                    forDestination);
        }

        /// The image of the host's platform, and nothing else.
        public static CopyRequest of(String source, String destination) throws ImageException {
            return new CopyRequest(
                    ImageLocation.parse(source),
                    ImageLocation.parse(destination),
                    CopyPlatforms.ONE,
                    Optional.empty(),
                    false,
                    false,
                    false,
                    false);
        }
    }

    /// @param destination where the image is now
    /// @param digest of what was named there
    /// @param manifests manifests and indexes copied, those of referrers included
    /// @param blobs how many different blobs they have
    /// @param existingBlobs those that were there
    /// @param mountedBlobs those that the registry took from another repository
    /// @param skippedBlobs foreign layers that were left out
    /// @param copiedBytes bytes of the blobs that were sent
    record CopyResult(
            String destination,
            Digest digest,
            String mediaType,
            int manifests,
            int blobs,
            int existingBlobs,
            int mountedBlobs,
            int skippedBlobs,
            int referrers,
            long copiedBytes,
            long millis,
            List<String> warnings) {}

    /// Waits for running calls and releases everything.
    @Override
    void close() throws ImageException;
}
