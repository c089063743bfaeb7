package dev.imgd.plugin;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Map;
import java.util.Set;

/// The file of a socket: makes its directory, and removes the file when its owner is gone.
final class SocketPath {
    /// `sun_path` less its final zero. **Source:** unix(7).
    private static final int MAX_BYTES = 107;

    private static final int TYPE_MASK = 0170000;
    private static final int SOCKET_TYPE = 0140000;

    private SocketPath() {}

    /// Makes the path free to bind.
    ///
    /// @return the uid that files made here belong to
    /// @throws ImageException `LOCKED` when a process answers there; `FAILED_PRECONDITION` when
    ///   something else is there or others could replace the socket
    static int claim(Path path) throws ImageException {
        int bytes = path.toString().getBytes(StandardCharsets.UTF_8).length;
        if (bytes > MAX_BYTES) {
            throw ImageException.invalidArgument(
                    ("socket %s: the path has %d bytes, the kernel takes at most %d;"
                                    + " use a shorter one")
                            .formatted(path, bytes, MAX_BYTES));
        }
        Path directory = path.getParent();
        if (directory == null) {
            throw ImageException.invalidArgument("socket " + path + ": not a file name");
        }
        try {
            int owner = claimDirectory(path, directory);
            claimFile(path);
            return owner;
        } catch (ImageException e) {
            throw e;
        } catch (IOException e) {
            throw new ImageException(
                    ErrorKind.PERMISSION_DENIED, "socket " + path + ": cannot prepare it: " + e, e);
        }
    }

    private static int claimDirectory(Path path, Path directory) throws IOException {
        if (!Files.exists(directory)) {
            Path above = directory.getParent();
            if (above != null) {
                Files.createDirectories(above);
            }
            Files.createDirectories(
                    directory,
                    PosixFilePermissions.asFileAttribute(
                            PosixFilePermissions.fromString("rwx------")));
        }
        int self = (int) Files.getAttribute(Path.of("/proc/self"), "unix:uid");
        Map<String, Object> found = Files.readAttributes(directory, "unix:uid,permissions");
        int owner = (int) found.getOrDefault("uid", -1);
        @SuppressWarnings("unchecked") // the type that PosixFileAttributes promises
        var mode = (Set<PosixFilePermission>) found.getOrDefault("permissions", Set.of());
        boolean othersWrite =
                mode.contains(PosixFilePermission.GROUP_WRITE)
                        || mode.contains(PosixFilePermission.OTHERS_WRITE);
        if (othersWrite || (owner != self && owner != 0)) {
            throw ImageException.failedPrecondition(
                    ("socket %s: other users can write to %s and replace the socket;"
                                    + " put it into a directory of mode 0700")
                            .formatted(path, directory));
        }
        return self;
    }

    private static void claimFile(Path path) throws IOException {
        if (!Files.exists(path, LinkOption.NOFOLLOW_LINKS)) {
            return;
        }
        int mode = (int) Files.getAttribute(path, "unix:mode", LinkOption.NOFOLLOW_LINKS);
        if ((mode & TYPE_MASK) != SOCKET_TYPE) {
            throw ImageException.failedPrecondition(
                    ("socket %s: something that is not a socket is there;"
                                    + " move it away or choose another path")
                            .formatted(path));
        }
        if (answers(path)) {
            throw new ImageException(
                    ErrorKind.LOCKED,
                    "socket %s: another process answers there; stop it or choose another path"
                            .formatted(path));
        }
        Files.deleteIfExists(path);
    }

    /// Whether a process listens. Never waits: a full queue answers too, with an error of its own.
    static boolean answers(Path path) {
        try (SocketChannel probe = SocketChannel.open(StandardProtocolFamily.UNIX)) {
            probe.configureBlocking(false);
            probe.connect(UnixDomainSocketAddress.of(path));
            return true;
        } catch (IOException e) {
            String message = e.getMessage();
            return message != null && message.contains("temporarily unavailable");
        }
    }
}
