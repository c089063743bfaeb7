package dev.imgd.snapshot;

import dev.imgd.model.Digest;
import java.time.Instant;
import java.util.Optional;

/// The tree of one unpacked layer on disk.
///
/// @param id the key of its [dev.imgd.content.NodeId#layer] node, see [#id(Digest)]
/// @param directory the number of its directory; 0 when a power cut took its files, until it is
///   unpacked again
/// @param usage what it takes
/// @param created when it was unpacked
public record Layer(String id, Digest diffId, long directory, Usage usage, Instant created) {
    /// The id of a layer whose tree does not depend on the layers below.
    public static String id(Digest diffId) {
        return diffId.toString();
    }

    /// The id of a layer that left out directory entries, so that it took their owners, modes and
    /// times from the layers below.
    ///
    /// @param parentChain the chainID of the layers below, empty for the lowest layer
    public static String id(Digest diffId, Optional<Digest> parentChain) {
        return diffId + "@" + parentChain.map(Digest::toString).orElse("");
    }

    /// Whether the files are gone although snapshots still show the layer.
    public boolean lost() {
        return directory == 0;
    }
}
