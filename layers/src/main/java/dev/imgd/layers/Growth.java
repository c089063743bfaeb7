package dev.imgd.layers;

import dev.imgd.model.ImageException;

/// Told how much a layer grows while it is applied, and may stop it: how much room there is depends
/// on what else is being unpacked, which a single layer does not know.
@FunctionalInterface
public interface Growth {
    /// Stops nothing.
    Growth UNWATCHED = bytes -> {};

    /// Called after each piece of at most 256 KiB, by one thread at a time: the one that applies
    /// the layer, or the one that its [Assistant] lends.
    ///
    /// @param bytes uncompressed bytes since the last call
    /// @throws ImageException to end the layer with this error
    void grown(int bytes) throws ImageException;
}
