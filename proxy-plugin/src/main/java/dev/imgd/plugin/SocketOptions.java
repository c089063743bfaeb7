package dev.imgd.plugin;

import java.nio.file.Path;
import java.util.Set;

/// Where a server listens and to whom.
///
/// @param path absolute path of the socket; its directory is made with mode 0700 when it is missing
/// @param allowedUids users that may connect besides root and the user imgd runs as
public record SocketOptions(Path path, Set<Integer> allowedUids) {
    public SocketOptions {
        if (!path.isAbsolute()) {
            throw new IllegalArgumentException("socket path is relative: " + path);
        }
        path = path.normalize();
        allowedUids = Set.copyOf(allowedUids);
    }

    /// A socket for root and the user imgd runs as.
    public static SocketOptions at(Path path) {
        return new SocketOptions(path, Set.of());
    }
}
