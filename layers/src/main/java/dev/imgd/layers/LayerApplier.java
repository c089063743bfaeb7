package dev.imgd.layers;

import dev.imgd.model.Digest;
import dev.imgd.model.Limits;
import java.io.IOException;
import java.nio.channels.ReadableByteChannel;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/// Applies layer blobs to directories that overlayfs will stack: one pass from compressed bytes to
/// files, hashing the uncompressed stream on the way.
///
/// Everything happens relative to the descriptor of the directory; no entry, link or whiteout can
/// reach outside of it. Whiteouts become overlayfs character devices, opaque directories the
/// `trusted.overlay.opaque` attribute; both hide only what lower layers have, wherever in the
/// archive they stand. What containerd accepts is accepted and gives the same tree, except for
/// archives that readers understand differently: two sizes for one file, global headers that
/// rename, a root that is not a directory, and bytes other than zeros behind the last gzip member
/// are refused; devices with the number 0:0 are left out with a warning.
///
/// The caller passes a private directory, throws it away on any error, and syncs the file system
/// before it relies on the files. The process's umask must not change during a call. Reentrant:
/// each call is independent; call it on a platform thread, because most of its time is spent in
/// native code. An interrupt cancels it. **Source:** OCI image-spec v1.1, layer.md.
public final class LayerApplier {
    private final Limits limits;

    public LayerApplier(Limits limits) {
        this.limits = limits;
    }

    /// Applies a layer that may grow as far as the limits allow; see [#apply(String,
    /// ReadableByteChannel, Path, Digest, Growth, Assistant)].
    public Applied apply(
            String what, ReadableByteChannel source, Path directory, @Nullable Digest expected)
            throws IOException {
        return apply(what, source, directory, expected, Growth.UNWATCHED, Assistant.NONE);
    }

    /// Reads `source` to its end and applies it.
    ///
    /// @param what the layer and where it comes from, for error messages
    /// @param source the blob's bytes, a blocking channel that gives up by itself when no more
    ///   come; not closed here; an error here stops reading early
    /// @param directory an empty directory on the target file system
    /// @param expected the diffID that the stream must have; null accepts any
    /// @param growth told how much comes out, before it is written
    /// @param assistant lends a second thread, which then decodes and hashes while this one writes
    /// @throws dev.imgd.model.ImageException `INVALID_CONTENT`, `LIMIT_EXCEEDED`, `NO_SPACE`,
    ///   `CANCELLED`, [dev.imgd.model.DigestMismatchException] for another diffID
    /// @throws IOException what the source throws, as it is
    public Applied apply(
            String what,
            ReadableByteChannel source,
            Path directory,
            @Nullable Digest expected,
            Growth growth,
            Assistant assistant)
            throws IOException {
        return new LayerPass(limits, what, source, directory, expected, growth, assistant).run();
    }
}
