package dev.imgd.content;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.nio.channels.ClosedByInterruptException;
import java.nio.file.AccessDeniedException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.FileSystemException;
import java.nio.file.Path;

/// Gives errors of the file system a class and a message that says what to do.
final class Failures {
    private Failures() {}

    /// Wraps an error; one that has a class already passes unchanged.
    ///
    /// @param what what was being done, for example `write blob`
    static ImageException of(String what, Path path, IOException cause) {
        if (cause instanceof ImageException classified) {
            return classified;
        }
        if (cause instanceof ClosedByInterruptException) {
            return new ImageException(
                    ErrorKind.CANCELLED, "%s %s: interrupted".formatted(what, path), cause);
        }
        String reason = reason(cause);
        if (isNoSpace(reason)) {
            return noSpace(what, path, cause);
        }
        if (cause instanceof AccessDeniedException
                || reason.contains("Permission denied")
                || reason.contains("Read-only file system")
                || reason.contains("Operation not permitted")) {
            return new ImageException(
                    ErrorKind.PERMISSION_DENIED,
                    "%s %s: %s; run as the owner of the store or choose another --root"
                            .formatted(what, path, denied(cause, reason)),
                    cause);
        }
        return new ImageException(
                ErrorKind.INTERNAL, "%s %s: %s".formatted(what, path, reason), cause);
    }

    static ImageException of(String what, Path path, DirectoryIteratorException cause) {
        IOException reason = cause.getCause();
        return of(what, path, reason == null ? new IOException(cause) : reason);
    }

    private static String denied(IOException cause, String reason) {
        return cause instanceof AccessDeniedException ? "Permission denied" : reason;
    }

    private static String reason(IOException cause) {
        String reason =
                cause instanceof FileSystemException f && f.getReason() != null
                        ? f.getReason()
                        : cause.getMessage();
        return reason == null ? cause.getClass().getSimpleName() : reason;
    }

    static boolean isNoSpace(String reason) {
        return reason.contains("No space left") || reason.contains("quota exceeded");
    }

    private static ImageException noSpace(String what, Path path, IOException cause) {
        Path existing = path;
        while (existing.getParent() != null && !existing.toFile().exists()) {
            existing = existing.getParent();
        }
        return new ImageException(
                ErrorKind.NO_SPACE,
                "%s %s: no space left, %d bytes free; free some or run imgctl gc"
                        .formatted(what, path, existing.toFile().getUsableSpace()),
                cause);
    }
}
