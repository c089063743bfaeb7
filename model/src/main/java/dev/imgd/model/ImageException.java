package dev.imgd.model;

import java.io.IOException;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/// An error that a user, a registry, an image or the host can cause.
///
/// The message reads *what failed: wanted, got, where, what to do*, on one line, and holds no
/// secret and no query string. Programming errors are `IllegalArgumentException` and
/// `IllegalStateException` instead. All subtypes live in this package, so that a `switch` over them
/// is checked by the compiler.
public sealed class ImageException extends IOException
        permits DigestMismatchException,
                ErrnoException,
                LimitExceededException,
                RegistryException,
                SizeMismatchException {

    private final ErrorKind kind;

    public ImageException(ErrorKind kind, String message) {
        this(kind, message, null);
    }

    public ImageException(ErrorKind kind, String message, @Nullable Throwable cause) {
        super(message, cause);
        this.kind = kind;
    }

    /// The message, which every error of this family has.
    @Override
    public String getMessage() {
        return Objects.requireNonNull(super.getMessage());
    }

    /// The error class; decides the gRPC status, the exit code and whether to retry.
    public ErrorKind kind() {
        return kind;
    }

    /// Returns an error of class [ErrorKind#INVALID_ARGUMENT].
    public static ImageException invalidArgument(String message) {
        return new ImageException(ErrorKind.INVALID_ARGUMENT, message);
    }

    /// Returns an error of class [ErrorKind#INVALID_CONTENT].
    public static ImageException invalidContent(String message) {
        return new ImageException(ErrorKind.INVALID_CONTENT, message);
    }

    /// Returns an error of class [ErrorKind#NOT_FOUND].
    public static ImageException notFound(String message) {
        return new ImageException(ErrorKind.NOT_FOUND, message);
    }

    /// Returns an error of class [ErrorKind#ALREADY_EXISTS].
    public static ImageException alreadyExists(String message) {
        return new ImageException(ErrorKind.ALREADY_EXISTS, message);
    }

    /// Returns an error of class [ErrorKind#FAILED_PRECONDITION].
    public static ImageException failedPrecondition(String message) {
        return new ImageException(ErrorKind.FAILED_PRECONDITION, message);
    }

    /// Returns an error of class [ErrorKind#UNAVAILABLE].
    public static ImageException unavailable(String message, @Nullable Throwable cause) {
        return new ImageException(ErrorKind.UNAVAILABLE, message, cause);
    }
}
