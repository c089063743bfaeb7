package dev.imgd.image;

import dev.imgd.image.ImageService.LayerProgress;
import dev.imgd.image.ImageService.LayerState;
import dev.imgd.layers.Applied;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.DigestMismatchException;
import dev.imgd.registry.RegistryClient.Span;
import dev.imgd.snapshot.SnapshotService.Staging;
import dev.imgd.trust.LayerSecret;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/// One layer of a pull, from the registry to a staged directory.
final class LayerJob {
    /// An unpacked layer that waits for its turn to be committed.
    ///
    /// @param staging empty when the layer was on disk already
    record Unpacked(Optional<Staging> staging, @Nullable Applied applied) {
        /// It was there before.
        static final Unpacked BEFORE = new Unpacked(Optional.empty(), null);
    }

    final Descriptor descriptor;

    /// Empty when the layer is only stored.
    final Optional<Digest> diffId;

    /// What the snapshotter knows the layer by; empty when it is only stored.
    final Optional<Digest> tree;

    /// Of a layer that is encrypted and unpacked.
    final Optional<LayerSecret> secret;

    final Optional<Digest> parentChain;
    final AtomicLong stored = new AtomicLong();
    final AtomicLong fetched = new AtomicLong();
    final AtomicLong unpackedBytes = new AtomicLong();
    final CompletableFuture<Void> blob = new CompletableFuture<>();
    final CompletableFuture<Unpacked> unpacked = new CompletableFuture<>();

    /// Who sent the bytes of the last download; for the fetcher.
    List<Span> spans = List.of();

    /// How many bytes of the last download had been kept by an earlier process; for the fetcher.
    long reused;

    /// Who sent the bytes of downloads that were wrong as a whole; for the fetcher.
    final List<Span> suspects = new ArrayList<>();

    /// How many downloads were wrong, or failed after one that was; for the fetcher.
    int wrongDownloads;

    /// What was wrong with the last of them; for the fetcher.
    @Nullable DigestMismatchException wrong;

    /// Whether the stored blob was read again because it did not unpack; for the unpacker.
    volatile boolean rechecked;

    volatile LayerState state = LayerState.WAITING;

    /// A layer that is only stored.
    LayerJob(Descriptor descriptor) {
        this(descriptor, Optional.empty(), Optional.empty(), Optional.empty(), Optional.empty());
    }

    LayerJob(
            Descriptor descriptor,
            Optional<Digest> diffId,
            Optional<Digest> tree,
            Optional<LayerSecret> secret,
            Optional<Digest> parentChain) {
        this.descriptor = descriptor;
        this.diffId = diffId;
        this.tree = tree;
        this.secret = secret;
        this.parentChain = parentChain;
    }

    /// How many bytes the unpacker has not got to yet; 0 where none follows the download.
    long backlog() {
        boolean followed = diffId.isPresent() && secret.isEmpty() && !unpacked.isDone();
        return followed ? stored.get() - unpackedBytes.get() : 0;
    }

    /// The same layer once more, at another place.
    LayerJob above(Optional<Digest> otherParentChain) {
        return new LayerJob(descriptor, diffId, tree, secret, otherParentChain);
    }

    LayerProgress progress() {
        return new LayerProgress(
                descriptor.digest(),
                state,
                stored.get(),
                unpackedBytes.get(),
                descriptor.sizeBytes());
    }
}
