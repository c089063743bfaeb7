package dev.imgd.layers;

/// A malformed archive, without the place where it was found; never leaves this package.
final class TarFormatException extends Exception {
    TarFormatException(String why) {
        super(why, null, false, false);
    }
}
