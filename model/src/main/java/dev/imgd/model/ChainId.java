package dev.imgd.model;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/// The identity of a stack of layers: the diffID of the lowest one, then `sha256(chainID(below) + "
/// " + diffID)`. **Source:** OCI image-spec v1.1, config.md § Layer ChainID.
public final class ChainId {
    private ChainId() {}

    /// Returns the chainID of every prefix of the stack, lowest first.
    ///
    /// @param diffIds digests of the uncompressed layers, lowest first
    public static List<Digest> of(List<Digest> diffIds) {
        List<Digest> chain = new ArrayList<>(diffIds.size());
        for (Digest diffId : diffIds) {
            chain.add(
                    chain.isEmpty()
                            ? diffId
                            : Digest.sha256(
                                    (chain.getLast() + " " + diffId)
                                            .getBytes(StandardCharsets.US_ASCII)));
        }
        return List.copyOf(chain);
    }
}
