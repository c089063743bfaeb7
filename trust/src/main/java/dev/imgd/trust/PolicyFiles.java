package dev.imgd.trust;

import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/// Reads what a policy consists of, and remembers all of it in one hash: two policies with the same
/// hash decide alike. For one thread.
final class PolicyFiles {
    private static final int MAX_BYTES = 1 << 20;
    private static final int MAX_FILES = 1000;

    private final MessageDigest hash;
    private int files;

    PolicyFiles() {
        try {
            hash = MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError("every JDK has SHA-256", e);
        }
    }

    /// @throws ImageException `FAILED_PRECONDITION` when there is no such file
    byte[] read(Path file) throws ImageException {
        Optional<byte[]> content = find(file);
        if (content.isEmpty()) {
            throw ImageException.failedPrecondition(
                    "trust policy: %s: no such file".formatted(file));
        }
        return content.get();
    }

    /// The content of a file of at most 1 MiB; empty when it does not exist.
    Optional<byte[]> find(Path file) throws ImageException {
        if (++files > MAX_FILES) {
            throw ImageException.failedPrecondition(
                    "trust policy: more than %d files".formatted(MAX_FILES));
        }
        try {
            // Neither a pipe that never ends nor a device is a policy.
            if (Files.exists(file) && !Files.isRegularFile(file)) {
                throw ImageException.failedPrecondition(
                        "trust policy: %s: not a regular file".formatted(file));
            }
            byte[] content;
            try (InputStream in = Files.newInputStream(file)) {
                content = in.readNBytes(MAX_BYTES + 1);
            }
            if (content.length > MAX_BYTES) {
                throw ImageException.failedPrecondition(
                        "trust policy: %s: larger than 1 MiB".formatted(file));
            }
            remember(file, content);
            return Optional.of(content);
        } catch (NoSuchFileException e) {
            remember(file, new byte[0]);
            return Optional.empty();
        } catch (IOException e) {
            throw unreadable(file, e);
        }
    }

    /// The files of a directory in the order of their names; empty when it does not exist. Anything
    /// but a regular file in it is an error: a link could lead to what somebody else may write.
    List<Path> list(Path directory) throws ImageException {
        List<Path> found = new ArrayList<>();
        if (Files.notExists(directory, LinkOption.NOFOLLOW_LINKS)) {
            return found;
        }
        if (!Files.isDirectory(directory, LinkOption.NOFOLLOW_LINKS)) {
            throw ImageException.failedPrecondition(
                    "trust policy: %s: not a directory, or a symbolic link".formatted(directory));
        }
        try (DirectoryStream<Path> entries = Files.newDirectoryStream(directory)) {
            for (Path entry : entries) {
                if (!Files.isRegularFile(entry, LinkOption.NOFOLLOW_LINKS)) {
                    throw ImageException.failedPrecondition(
                            "trust policy: %s: wanted a regular file, no symbolic link or directory"
                                    .formatted(entry));
                }
                found.add(entry);
            }
        } catch (IOException e) {
            throw unreadable(directory, e);
        }
        found.sort(null);
        return found;
    }

    /// The hash of everything read so far.
    Digest hash() {
        try {
            return Digest.of(Digest.Algorithm.SHA256, ((MessageDigest) hash.clone()).digest());
        } catch (CloneNotSupportedException e) {
            throw new AssertionError("the JDK's SHA-256 can be cloned", e);
        }
    }

    private void remember(Path file, byte[] content) {
        hash.update((file + "\0" + content.length + "\0").getBytes(StandardCharsets.UTF_8));
        hash.update(content);
    }

    private static ImageException unreadable(Path file, IOException cause) {
        if (cause instanceof ImageException known) {
            return known;
        }
        return new ImageException(
                cause instanceof AccessDeniedException
                        ? ErrorKind.PERMISSION_DENIED
                        : ErrorKind.FAILED_PRECONDITION,
                "trust policy: %s: cannot be read: %s".formatted(file, cause),
                cause);
    }
}
