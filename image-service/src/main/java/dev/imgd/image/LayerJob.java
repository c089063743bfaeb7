package dev.imgd.image;

import dev.imgd.image.ImageService.LayerProgress;
import dev.imgd.image.ImageService.LayerState;
import dev.imgd.layers.Applied;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.DigestMismatchException;
import dev.imgd.registry.RegistryClient.Span;
import dev.imgd.snapshot.SnapshotService.Staging;
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

    /// So much keeps an unpacker busy for longer than a connection takes to be made.
    private static final long ENOUGH_BYTES = 1 << 20;
    private static final long LITTLE_BYTES = 256 << 10;

    final Descriptor descriptor;

    /// Empty when the layer is only stored.
    final Optional<Digest> diffId;

    final Optional<Digest> parentChain;
    final AtomicLong stored = new AtomicLong();
    final AtomicLong fetched = new AtomicLong();
    final AtomicLong unpackedBytes = new AtomicLong();
    final CompletableFuture<Void> blob = new CompletableFuture<>();
    final CompletableFuture<Unpacked> unpacked = new CompletableFuture<>();

    /// Who sent the bytes of the last download; for the fetcher.
    List<Span> spans = List.of();

    /// Who sent the bytes of downloads that were wrong as a whole; for the fetcher.
    final List<Span> suspects = new ArrayList<>();

    /// How many downloads were wrong, or failed after one that was; for the fetcher.
    int wrongDownloads;

    /// What was wrong with the last of them; for the fetcher.
    @Nullable DigestMismatchException wrong;

    /// Whether the stored blob was read again because it did not unpack; for the unpacker.
    volatile boolean rechecked;

    private boolean awaited = true;

    volatile LayerState state = LayerState.WAITING;

    LayerJob(Descriptor descriptor, Optional<Digest> diffId, Optional<Digest> parentChain) {
        this.descriptor = descriptor;
        this.diffId = diffId;
        this.parentChain = parentChain;
    }

    /// Whether the download is what one waits for: not while its unpacker has enough to do. For the
    /// fetcher.
    boolean isAwaited() {
        long backlog = stored.get() - unpackedBytes.get();
        awaited = diffId.isEmpty() || unpacked.isDone() || backlog <= (awaited ? ENOUGH_BYTES : LITTLE_BYTES);
        return awaited;
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
