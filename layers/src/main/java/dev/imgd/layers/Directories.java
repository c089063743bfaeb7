package dev.imgd.layers;

import static dev.imgd.model.ErrnoException.EEXIST;
import static dev.imgd.model.ErrnoException.ELOOP;
import static dev.imgd.model.ErrnoException.ENOENT;
import static dev.imgd.model.ErrnoException.ENOTDIR;

import dev.imgd.linux.Fs;
import dev.imgd.linux.Stat;
import dev.imgd.model.ErrnoException;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NavigableSet;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/// The directories of the tree that is being made, by path, with the descriptors of the last used.
///
/// A descriptor is only ever opened along a path without symbolic links, below the root's. Links
/// are followed here, component by component: absolute targets and `..` stay inside the root, and
/// what a link points to is made if it is missing, as containerd does. So the kernel never follows
/// a link that came out of an archive. For one thread; closing closes the descriptors.
final class Directories implements AutoCloseable {
    private static final int OPEN = Fs.O_PATH | Fs.O_DIRECTORY | Fs.O_NOFOLLOW;
    private static final int RESOLVE =
            Fs.RESOLVE_BENEATH
                    | Fs.RESOLVE_NO_SYMLINKS
                    | Fs.RESOLVE_NO_MAGICLINKS
                    | Fs.RESOLVE_NO_XDEV;

    private static final int MAX_OPEN = 128;

    /// As in containerd; the kernel's own limit is 40.
    private static final int MAX_LINKS = 255;

    /// Components looked at for one path, those of link targets included: bounds the work that a
    /// few links with long targets can cause.
    private static final int MAX_STEPS = 8192;

    /// Aliases remembered; each is only worth some system calls.
    private static final int MAX_ALIASES = 1024;

    private static final int IMPLICIT_MODE = 0755;

    private final String what;
    private final Limits limits;
    private final Listener listener;
    private final Directory root;

    /// By canonical path, the least recently used first.
    private final LinkedHashMap<String, Directory> open = new LinkedHashMap<>(64, 0.75f, true);

    /// Paths that lead through links, with the canonical path they lead to.
    private final Map<String, String> aliases = new HashMap<>();

    private final NavigableSet<String> implicit = new TreeSet<>();

    /// A directory that is open.
    ///
    /// @param path canonical
    /// @param fd opened with `O_PATH`
    /// @param gid its group, which new files may inherit
    record Directory(String path, int fd, long gid, boolean setgid) {}

    /// Told about directories made on the way to others.
    interface Listener {
        /// Takes a whiteout out of the way of a directory that is needed in its place.
        ///
        /// @return whether there was one
        boolean removeWhiteout(Directory parent, String name, Stat stat) throws ImageException;

        /// @param hidesLower whether a whiteout was in its place
        void madeDirectory(Directory parent, String name, boolean hidesLower) throws ImageException;
    }

    /// @param what the layer, for error messages
    Directories(String what, int rootFd, Limits limits, Listener listener) throws ErrnoException {
        this.what = what;
        this.limits = limits;
        this.listener = listener;
        this.root = directory("", rootFd);
    }

    private static Directory directory(String path, int fd) throws ErrnoException {
        Stat stat = Fs.statx(fd, "", Fs.AT_EMPTY_PATH, Fs.STATX_ALL);
        return new Directory(path, fd, stat.gid(), (stat.mode() & 02000) != 0);
    }

    Directory root() {
        return root;
    }

    /// Directories made because entries below them needed them, parents first.
    List<String> implicit() {
        return List.copyOf(implicit);
    }

    /// Takes note that a directory that existed has an entry of its own.
    void madeExplicit(String path) throws ErrnoException {
        forget(path); // what is known of its group is no longer true
        implicit.remove(path);
    }

    /// Returns the directory of a path, following links and making what is missing.
    ///
    /// @throws TarFormatException where something else is in the way
    Directory make(String path) throws ImageException, TarFormatException {
        Directory directory = lookUp(path, true);
        if (directory == null) {
            throw new IllegalStateException("a missing directory was not made: " + path);
        }
        return directory;
    }

    /// Returns the directory of a path, following links, or null if there is none.
    @Nullable Directory find(String path) throws ImageException, TarFormatException {
        return lookUp(path, false);
    }

    private @Nullable Directory lookUp(String path, boolean create)
            throws ImageException, TarFormatException {
        if (path.isEmpty()) {
            return root;
        }
        Directory directory = open.get(path);
        if (directory == null) {
            String target = aliases.get(path);
            directory = openCanonical(target == null ? path : target);
        }
        return directory == null ? walk(path, create) : directory;
    }

    /// Opens a path that has no links in it; null if there is no such directory.
    private @Nullable Directory openCanonical(String path) throws ErrnoException {
        if (path.isEmpty()) {
            return root;
        }
        Directory directory = open.get(path);
        if (directory != null) {
            return directory;
        }
        int fd;
        try {
            fd = Fs.openat2(root.fd(), path, OPEN, 0, RESOLVE);
        } catch (ErrnoException e) {
            if (e.errno() == ENOENT || e.errno() == ENOTDIR || e.errno() == ELOOP) {
                return null;
            }
            throw e;
        }
        return remember(path, fd);
    }

    private Directory remember(String path, int fd) throws ErrnoException {
        Directory directory;
        try {
            directory = directory(path, fd);
        } catch (ErrnoException e) {
            Fs.close(fd);
            throw e;
        }
        if (open.size() >= MAX_OPEN) {
            var eldest = open.entrySet().iterator();
            Directory closed = eldest.next().getValue();
            eldest.remove();
            Fs.close(closed.fd());
        }
        open.put(path, directory);
        return directory;
    }

    private @Nullable Directory walk(String path, boolean create)
            throws ImageException, TarFormatException {
        String canonical = resolve(path);
        Directory directory = create ? makeCanonical(canonical) : openCanonical(canonical);
        if (directory != null && !canonical.equals(path)) {
            if (aliases.size() == MAX_ALIASES) {
                aliases.clear();
            }
            aliases.put(path, canonical);
        }
        return directory;
    }

    /// Follows the links of a path. What is missing counts as a directory, so that `missing/..` is
    /// where it would be if it were there.
    private String resolve(String path) throws ImageException, TarFormatException {
        ArrayDeque<String> pending = new ArrayDeque<>();
        Paths.push(pending, path);
        String at = "";
        // Below this there is nothing; it is not looked at again, because failing costs.
        String missing = null;
        int links = 0;
        int steps = 0;
        while (!pending.isEmpty()) {
            String name = pending.pop();
            if (++steps > MAX_STEPS) {
                throw new TarFormatException("its links lead through too many directories");
            }
            if (name.equals(".")) {
                continue;
            }
            if (name.equals("..")) {
                at = Paths.parent(at);
                if (missing != null && !Paths.isInside(at, missing)) {
                    missing = null;
                }
                continue;
            }
            String child = Paths.join(at, name);
            checkLength(child);
            if (missing != null || openCanonical(child) != null) {
                at = child;
                continue;
            }
            Directory parent = existing(at);
            Stat stat = stat(parent, name);
            if (stat == null || !stat.isSymbolicLink()) {
                at = child;
                missing = child;
                continue;
            }
            if (++links > MAX_LINKS) {
                throw new TarFormatException(
                        "more than " + MAX_LINKS + " symbolic links on the way");
            }
            String target = Fs.readlinkat(parent.fd(), name);
            if (target.startsWith("/")) {
                at = "";
            }
            Paths.push(pending, target);
        }
        return at;
    }

    /// Opens a path that has no links in it, making what is missing.
    private Directory makeCanonical(String path) throws ImageException, TarFormatException {
        Directory at = root;
        boolean missing = false;
        int end = 0;
        while (end < path.length()) {
            int slash = path.indexOf('/', end + 1);
            end = slash < 0 ? path.length() : slash;
            String prefix = path.substring(0, end);
            Directory next = missing ? null : openCanonical(prefix);
            if (next == null) {
                missing = true;
                make(at, prefix);
                next = existing(prefix);
            }
            at = next;
        }
        return at;
    }

    private void make(Directory parent, String path) throws ImageException, TarFormatException {
        String name = Paths.base(path);
        boolean hidesLower = false;
        try {
            Fs.mkdirat(parent.fd(), name, IMPLICIT_MODE);
        } catch (ErrnoException e) {
            if (e.errno() != EEXIST) {
                throw e;
            }
            Stat stat = stat(parent, name);
            hidesLower = stat != null && listener.removeWhiteout(parent, name, stat);
            if (!hidesLower) {
                throw new TarFormatException(
                        "wanted a directory at %s, there is something else"
                                .formatted(TarReader.quoted(path)));
            }
            Fs.mkdirat(parent.fd(), name, IMPLICIT_MODE);
        }
        implicit.add(path);
        listener.madeDirectory(parent, name, hidesLower);
    }

    private Directory existing(String path) throws ErrnoException {
        Directory directory = openCanonical(path);
        if (directory == null) {
            throw new IllegalStateException("a directory vanished: " + path);
        }
        return directory;
    }

    private void checkLength(String path) throws ImageException {
        if (path.length() > limits.nameBytes()) {
            throw limits.exceeded(Limits.Key.NAME_BYTES, what + ": a path with its links resolved");
        }
        if (path.length() > limits.pathDepth() && Paths.depth(path) > limits.pathDepth()) {
            throw limits.exceeded(Limits.Key.PATH_DEPTH, what + ": a path with its links resolved");
        }
    }

    /// What a name in a directory is, links not followed; null if there is nothing.
    static @Nullable Stat stat(Directory parent, String name) throws ErrnoException {
        try {
            return Fs.statx(parent.fd(), name, Fs.AT_SYMLINK_NOFOLLOW, Fs.STATX_ALL);
        } catch (ErrnoException e) {
            if (e.errno() == ENOENT) {
                return null;
            }
            throw e;
        }
    }

    /// Forgets what is known about a path because something else takes its place, or its owner
    /// changes.
    void forget(String path) throws ErrnoException {
        aliases.clear();
        var all = open.values().iterator();
        while (all.hasNext()) {
            Directory directory = all.next();
            if (Paths.isInside(directory.path(), path)) {
                all.remove();
                Fs.close(directory.fd());
            }
        }
    }

    /// As [#forget], when the directory is gone.
    void removed(String path) throws ErrnoException {
        forget(path);
        implicit.remove(path);
        implicit.subSet(path + '/', path + Paths.BEHIND_SLASH).clear();
    }

    @Override
    public void close() throws ErrnoException {
        for (Directory directory : open.values()) {
            Fs.close(directory.fd());
        }
        open.clear();
    }
}
