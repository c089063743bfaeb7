package dev.imgd.snapshot;

import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// A back end with all its views, and the unpacked layers they share.
///
/// A *view* is what one caller sees: one per name of a containerd proxy plugin, and [#LOCAL] for
/// imgd's own images. Views never see each other's snapshots. A *layer* is the tree of one unpacked
/// layer on disk, known by its diffID; committed snapshots of several views may show the same
/// layer, and it lives as long as any of them. Safe for use by many threads.
public interface SnapshotService extends LayerRemover, AutoCloseable {
    /// The view of images that imgd pulled for itself.
    String LOCAL = "local";

    /// The view of that name, created when first used.
    ///
    /// @param view a name without a slash, at most 255 characters
    Snapshotter view(String view) throws ImageException;

    /// Starts to build the layer of a diffID in a directory that nobody sees until
    /// [Staging#commit]. Several layers of an image are built at once; only commits are ordered.
    ///
    /// @param parentChain the chainID of the layers below, or empty for the lowest layer; matters
    ///   only to layers that leave out directory entries
    Staging stage(Digest diffId, Optional<Digest> parentChain) throws ImageException;

    /// Whether the layer is on disk, usable on top of `parentChain`.
    boolean hasLayer(Digest diffId, Optional<Digest> parentChain) throws ImageException;

    /// Adds a committed snapshot that shows an existing layer. Metadata only.
    ///
    /// @param name for an image layer its chainID
    /// @param parent the committed snapshot below in the same view, or empty
    /// @return false when the view has a committed snapshot of that name already
    /// @throws ImageException `NOT_FOUND` (layer, parent)
    boolean link(
            String view,
            String name,
            String parent,
            Digest diffId,
            Optional<Digest> parentChain,
            Map<String, String> labels)
            throws ImageException;

    /// A layer under construction. For one thread; [#close] without commit deletes everything in
    /// the background.
    interface Staging extends AutoCloseable {
        /// The directory to fill; its own mode is already 0755.
        Path directory();

        /// Told from time to time how many bytes more were written, so that they can go to the disk
        /// while others are being written. Any thread.
        void written(long bytes);

        /// Makes the layer known: [SnapshotService#link] finds it when this returns. An equal layer
        /// that somebody else committed first wins. Its files become durable within seconds, or
        /// with [SnapshotService#sync]; when the machine stops or the disk fails before, the layer
        /// is reported as absent ([SnapshotService#hasLayer]), and committing it again heals all
        /// snapshots that show it.
        ///
        /// @param usage what the layer takes
        /// @param implicitDirectories directories that had no entry of their own, relative, parents
        ///   first; they get owner, mode, times and extended attributes of the same directory in
        ///   the layers below
        /// @param parent the committed snapshot below in the view [SnapshotService#LOCAL], or empty
        void commit(Usage usage, List<String> implicitDirectories, String parent)
                throws ImageException;

        /// Idempotent.
        @Override
        void close();
    }

    /// Makes the files of committed layers and snapshots durable now: of all that were committed
    /// before, in one go.
    ///
    /// @param names committed snapshots whose files, with those of their ancestors, have to be on
    ///   the disk when this returns
    /// @throws ImageException `NOT_FOUND`; `DATA_LOSS` when the disk did not take them, now or at
    ///   an earlier sync: then they are lost, [#hasLayer] says so, and committing a layer again
    ///   heals
    void sync(String view, List<String> names) throws ImageException;

    /// Shows mounts at a directory; the caller unmounts with [#unmount].
    ///
    /// @param target an existing directory
    void mount(List<Mount> mounts, Path target) throws ImageException;

    /// Undoes [#mount].
    ///
    /// @throws ImageException `FAILED_PRECONDITION` when nothing is mounted there
    void unmount(Path target) throws ImageException;

    /// Ends background work, makes what was committed durable and releases everything; mounts stay.
    @Override
    void close() throws ImageException;
}
