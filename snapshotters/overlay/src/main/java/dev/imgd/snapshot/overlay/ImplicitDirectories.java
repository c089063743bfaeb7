package dev.imgd.snapshot.overlay;

import dev.imgd.linux.Fd;
import dev.imgd.linux.Fs;
import dev.imgd.linux.Stat;
import dev.imgd.linux.Xattrs;
import dev.imgd.model.ErrnoException;
import dev.imgd.model.ImageException;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// Gives directories that a layer's archive left out the metadata they have in the layers below, as
/// if overlayfs had copied them up.
///
/// The directory is looked up in the merged view of the layers below: whiteouts, opaque directories
/// and files in the way hide what is under them. Where the view has no such directory, nothing
/// changes.
final class ImplicitDirectories {
    private static final String OPAQUE = "trusted.overlay.opaque";
    private static final int OPEN_DIRECTORY = Fs.O_RDONLY | Fs.O_DIRECTORY | Fs.O_NOFOLLOW;
    private static final int STAY_INSIDE =
            Fs.RESOLVE_BENEATH | Fs.RESOLVE_NO_SYMLINKS | Fs.RESOLVE_NO_XDEV;

    private ImplicitDirectories() {}

    /// @param target the files of the new layer
    /// @param names relative paths, parents first
    /// @param lowers the files of the layers below, nearest first
    static void complete(Fd target, List<String> names, List<Fd> lowers) throws ImageException {
        // Children first, so that changing a child never touches a time that was already set.
        for (int i = names.size() - 1; i >= 0; i--) {
            String name = names.get(i);
            Fd below = visible(name, lowers);
            if (below != null) {
                try (below;
                        Fd directory = open(target, name)) {
                    copy(below, directory);
                }
            }
        }
    }

    /// The directory that the merged view of the layers below shows at a path, or null; the caller
    /// closes it.
    private static @Nullable Fd visible(String name, List<Fd> lowers) throws ErrnoException {
        List<Fd> current = List.of();
        boolean first = true;
        for (String component : name.split("/", -1)) {
            List<Fd> next = new ArrayList<>();
            try {
                descend(first ? lowers : current, component, next);
            } finally {
                closeAll(current);
                current = next;
                first = false;
            }
        }
        if (current.isEmpty()) {
            return null;
        }
        closeAll(current.subList(1, current.size()));
        return current.getFirst();
    }

    /// Adds the directories that a name of merged directories merges, nearest first.
    private static void descend(List<Fd> parents, String name, List<Fd> found)
            throws ErrnoException {
        try {
            for (Fd parent : parents) {
                Stat stat = stat(parent, name);
                if (stat == null) {
                    continue;
                }
                if (!stat.isDirectory()) {
                    return; // a file or a whiteout hides the rest
                }
                Fd directory = open(parent, name);
                found.add(directory);
                byte[] opaque = Xattrs.fgetxattr(directory.fd(), OPAQUE);
                if (opaque != null && opaque.length == 1 && opaque[0] == 'y') {
                    return;
                }
            }
        } catch (ErrnoException e) {
            closeAll(found);
            found.clear();
            throw e;
        }
    }

    private static void closeAll(List<Fd> fds) throws ErrnoException {
        for (Fd fd : fds) {
            fd.close();
        }
    }

    private static @Nullable Stat stat(Fd directory, String name) throws ErrnoException {
        try {
            return Fs.statx(directory.fd(), name, Fs.AT_SYMLINK_NOFOLLOW, Fs.STATX_ALL);
        } catch (ErrnoException e) {
            if (e.errno() == ErrnoException.ENOENT) {
                return null;
            }
            throw e;
        }
    }

    private static Fd open(Fd directory, String name) throws ErrnoException {
        return Fd.of(Fs.openat2(directory.fd(), name, OPEN_DIRECTORY, 0, STAY_INSIDE));
    }

    private static void copy(Fd from, Fd to) throws ErrnoException {
        Stat stat = Fs.statx(from.fd(), "", Fs.AT_EMPTY_PATH, Fs.STATX_ALL);
        Fs.fchownat(to.fd(), "", stat.uid(), stat.gid(), Fs.AT_EMPTY_PATH);
        for (String name : Xattrs.flistxattr(from.fd())) {
            if (!name.startsWith("trusted.")) {
                byte[] value = Xattrs.fgetxattr(from.fd(), name);
                if (value != null) {
                    Xattrs.fsetxattr(to.fd(), name, value, 0);
                }
            }
        }
        Fs.fchmod(to.fd(), stat.permissions());
        Fs.futimens(
                to.fd(),
                stat.atimeSeconds(),
                stat.atimeNanos(),
                stat.mtimeSeconds(),
                stat.mtimeNanos());
    }
}
