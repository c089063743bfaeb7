package dev.imgd.snapshot.overlay;

import dev.imgd.linux.DirectoryEntry;
import dev.imgd.linux.Fd;
import dev.imgd.linux.Fs;
import dev.imgd.linux.Stat;
import dev.imgd.model.ErrnoException;
import dev.imgd.snapshot.Usage;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/// Counts what a tree takes: allocated bytes and inodes, a file with several links once.
///
/// The tree may be a container's and change meanwhile: what vanishes is not counted, links and
/// mounts are not followed, and one descriptor is open at a time however deep the tree is. For one
/// thread.
final class DiskUsage {
    private static final int BLOCK_BYTES = 512; // of st_blocks

    /// A directory on the way down and what is left to visit in it.
    private record Level(Stat self, List<String> directories) {}

    private final Set<Long> linked = new HashSet<>();
    private long bytes;
    private long inodes;

    private DiskUsage() {}

    /// @param root an open directory, closed here
    static Usage of(Fd root) throws ErrnoException {
        DiskUsage usage = new DiskUsage();
        usage.walk(root);
        return new Usage(usage.bytes, usage.inodes);
    }

    private void walk(Fd root) throws ErrnoException {
        Deque<Level> levels = new ArrayDeque<>();
        Fd current = root;
        try {
            levels.push(enter(current));
            while (!levels.isEmpty()) {
                Level level = levels.peek();
                if (!level.directories().isEmpty()) {
                    Fd child = child(current, level.directories().removeLast());
                    if (child != null) {
                        current.close();
                        current = child;
                        levels.push(enter(current));
                    }
                    continue;
                }
                levels.pop();
                Level above = levels.peek();
                if (above != null) {
                    Fd parent =
                            Fd.of(Fs.openat(current.fd(), "..", Fs.O_RDONLY | Fs.O_DIRECTORY, 0));
                    current.close();
                    current = parent;
                    Stat found = Fs.statx(current.fd(), "", Fs.AT_EMPTY_PATH, Fs.STATX_ALL);
                    if (!found.isSameFile(above.self())) {
                        // Somebody moved the directory while it was counted; the rest is
                        // unreachable from here.
                        return;
                    }
                }
            }
        } finally {
            current.close();
        }
    }

    private Level enter(Fd directory) throws ErrnoException {
        Stat self = Fs.statx(directory.fd(), "", Fs.AT_EMPTY_PATH, Fs.STATX_ALL);
        count(self);
        List<String> directories = new ArrayList<>();
        List<DirectoryEntry> entries = Fs.nextEntries(directory.fd());
        while (!entries.isEmpty()) {
            for (DirectoryEntry entry : entries) {
                if (entry.isDirectory()) {
                    directories.add(entry.name());
                    continue;
                }
                Stat stat = stat(directory, entry.name());
                if (stat == null) {
                    continue;
                }
                if (stat.isDirectory()) {
                    directories.add(entry.name());
                } else if (stat.nlink() == 1 || linked.add(stat.ino())) {
                    count(stat);
                }
            }
            entries = Fs.nextEntries(directory.fd());
        }
        return new Level(self, directories);
    }

    private void count(Stat stat) {
        bytes += stat.blocks() * BLOCK_BYTES;
        inodes++;
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

    /// Null when it vanished, became something else or is a mount.
    private static @Nullable Fd child(Fd directory, String name) throws ErrnoException {
        try {
            return Fd.of(
                    Fs.openat2(
                            directory.fd(),
                            name,
                            Fs.O_RDONLY | Fs.O_DIRECTORY | Fs.O_NOFOLLOW,
                            0,
                            Fs.RESOLVE_BENEATH | Fs.RESOLVE_NO_SYMLINKS | Fs.RESOLVE_NO_XDEV));
        } catch (ErrnoException e) {
            return switch (e.errno()) {
                case ErrnoException.ENOENT,
                        ErrnoException.ENOTDIR,
                        ErrnoException.ELOOP,
                        ErrnoException.EXDEV ->
                        null;
                default -> throw e;
            };
        }
    }
}
