package dev.imgd.plugin;

import dev.imgd.model.ChainId;
import dev.imgd.model.Digest;
import java.util.List;
import java.util.Optional;

/// An unpacked layer that is on disk.
///
/// @param diffId digest of the uncompressed layer
/// @param parentChain chainID of the layers below; empty for the lowest layer
/// @param tree what the snapshotter knows the layer by: its diffID, unless it was decrypted
/// @param parentTree what it knows the layers below by, as a chainID
public record ProvidedLayer(
        Digest diffId, Optional<Digest> parentChain, Digest tree, Optional<Digest> parentTree) {
    /// A layer of which nothing is encrypted.
    public ProvidedLayer(Digest diffId, Optional<Digest> parentChain) {
        this(diffId, parentChain, diffId, parentChain);
    }

    /// The chainID of this layer on top of those below.
    public Digest chainId() {
        return parentChain
                .map(below -> ChainId.of(List.of(below, diffId)).getLast())
                .orElse(diffId);
    }
}
