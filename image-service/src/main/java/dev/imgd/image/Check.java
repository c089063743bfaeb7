package dev.imgd.image;

import dev.imgd.model.ImageException;

/// Whether work shall go on.
@FunctionalInterface
interface Check {
    /// @throws ImageException why it shall not, usually `CANCELLED`
    void run() throws ImageException;
}
