package dev.imgd.cli;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.ClosedByInterruptException;
import java.nio.file.AccessDeniedException;
import java.nio.file.NoSuchFileException;
import java.util.Objects;

/// What both programs say of an exception that ends them.
final class Failure {
    private Failure() {}

    /// The exception as one with a kind and a message for users.
    ///
    /// @param evidence what to report an unexpected one with
    static ImageException of(Exception e, String evidence) {
        Throwable cause =
                e instanceof UncheckedIOException u ? Objects.requireNonNull(u.getCause()) : e;
        return switch (cause) {
            case ImageException known -> known;
            case ClosedByInterruptException x ->
                    new ImageException(ErrorKind.CANCELLED, "interrupted", x);
            case NoSuchFileException x ->
                    ImageException.notFound(x.getFile() + ": no such file or directory");
            case AccessDeniedException x ->
                    new ImageException(
                            ErrorKind.PERMISSION_DENIED, x.getFile() + ": permission denied", x);
            case IOException x when String.valueOf(x.getMessage()).contains("No space left") ->
                    new ImageException(ErrorKind.NO_SPACE, String.valueOf(x.getMessage()), x);
            case IOException x ->
                    new ImageException(ErrorKind.INTERNAL, String.valueOf(x.getMessage()), x);
            default ->
                    new ImageException(
                            ErrorKind.INTERNAL,
                            "unexpected error, please report it with %s: %s".formatted(evidence, e),
                            e);
        };
    }

    /// The message, on one line.
    static String line(Exception e) {
        String text = String.valueOf(e.getMessage());
        int end = text.indexOf('\n');
        return end < 0 ? text : text.substring(0, end);
    }
}
