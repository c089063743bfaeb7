package dev.imgd.plugin;

import dev.imgd.model.ChainId;
import dev.imgd.model.Digest;

import java.util.List;
import java.util.Optional;

/// An unpacked layer that is on disk.
///
/// @param diffId digest of the uncompressed layer
/// @param parentChain chainID of the layers below; empty for the lowest layer
public record ProvidedLayer(Digest diffId, Optional<Digest> parentChain) {
    /// The chainID of this layer on top of those below.
    public Digest chainId() {
        return parentChain
                .map(below -> ChainId.of(List.of(below, diffId)).getLast())
                .orElse(diffId);
    }
}
