package dev.imgd.cli;

import dev.imgd.model.ImageException;

/// Opens what a command works with; see [Session#open].
@FunctionalInterface
interface Sessions {
    /// The caller closes what is returned.
    Session open(GlobalOptions options) throws ImageException;
}
