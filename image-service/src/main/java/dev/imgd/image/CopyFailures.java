package dev.imgd.image;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.nio.file.AccessDeniedException;

/// Says what went wrong with files.
final class CopyFailures {
    private CopyFailures() {}

    static ImageException of(String what, IOException failure) {
        if (failure instanceof ImageException known) {
            return known;
        }
        if (failure instanceof AccessDeniedException denied) {
            return new ImageException(
                    ErrorKind.PERMISSION_DENIED,
                    "%s: permission denied for %s".formatted(what, denied.getFile()),
                    failure);
        }
        String text = String.valueOf(failure.getMessage());
        return new ImageException(
                text.contains("No space left") ? ErrorKind.NO_SPACE : ErrorKind.INTERNAL,
                "%s: %s".formatted(what, text),
                failure);
    }
}
