package dev.imgd.registry;

import java.io.IOException;

/// The body of an answer ended before what was asked for did.
final class ShortBodyException extends IOException {
    private static final long serialVersionUID = 1;

    ShortBodyException() {
        super("the body ended early");
    }
}
