package dev.imgd.hosts;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.time.Instant;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/// What tells whether a file is the one that was read: time, size and inode. An absent file has a
/// stamp too.
final class FileStamp {
    private final Path path;
    private final @Nullable Instant modified;
    private final long size;
    private final @Nullable Object inode;
    private final boolean directory;
    private final boolean lenient;

    private FileStamp(Path path, @Nullable BasicFileAttributes attributes, boolean lenient) {
        this.path = path;
        this.lenient = lenient;
        modified = attributes == null ? null : attributes.lastModifiedTime().toInstant();
        size = attributes == null ? 0 : attributes.size();
        inode = attributes == null ? null : attributes.fileKey();
        directory = attributes != null && attributes.isDirectory();
    }

    /// Looks at a file, following symbolic links.
    ///
    /// @throws ImageException when there may be a file that this process must not see
    static FileStamp of(Path path) throws ImageException {
        try {
            return new FileStamp(
                    path, Files.readAttributes(path, BasicFileAttributes.class), false);
        } catch (NoSuchFileException e) {
            return new FileStamp(path, null, false);
        } catch (IOException e) {
            throw new ImageException(
                    ErrorKind.PERMISSION_DENIED,
                    "%s: cannot look at it: %s; check its permissions and those of its directories"
                            .formatted(path, e.getClass().getSimpleName()),
                    e);
        }
    }

    /// As [#of], for a file that only one of several hosts needs: what cannot be looked at is as if
    /// it was absent, and an error for who reads it.
    static FileStamp ofOneHost(Path path) {
        try {
            return new FileStamp(path, Files.readAttributes(path, BasicFileAttributes.class), true);
        } catch (IOException e) {
            return new FileStamp(path, null, true);
        }
    }

    /// Looks at the same file once more.
    FileStamp again() throws ImageException {
        return lenient ? ofOneHost(path) : of(path);
    }

    boolean exists() {
        return modified != null;
    }

    boolean isDirectory() {
        return directory;
    }

    /// Whether the file was written so shortly before that another write in the same tick of the
    /// file system's clock would not show.
    boolean isRacy(Instant readAt) {
        return modified != null && modified.isAfter(readAt.minusSeconds(2));
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof FileStamp s
                && path.equals(s.path)
                && Objects.equals(modified, s.modified)
                && size == s.size
                && Objects.equals(inode, s.inode);
    }

    @Override
    public int hashCode() {
        return path.hashCode();
    }
}
