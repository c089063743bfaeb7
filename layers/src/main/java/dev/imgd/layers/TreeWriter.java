package dev.imgd.layers;

import static dev.imgd.model.ErrnoException.EEXIST;
import static dev.imgd.model.ErrnoException.EINVAL;
import static dev.imgd.model.ErrnoException.EISDIR;
import static dev.imgd.model.ErrnoException.ELOOP;
import static dev.imgd.model.ErrnoException.EMLINK;
import static dev.imgd.model.ErrnoException.ENAMETOOLONG;
import static dev.imgd.model.ErrnoException.ENOTDIR;
import static dev.imgd.model.ErrnoException.EOPNOTSUPP;
import static dev.imgd.model.ErrnoException.EPERM;
import static dev.imgd.model.ErrnoException.ERANGE;

import dev.imgd.layers.Directories.Directory;
import dev.imgd.linux.DirectoryEntry;
import dev.imgd.linux.Fs;
import dev.imgd.linux.Stat;
import dev.imgd.linux.Xattrs;
import dev.imgd.model.ErrnoException;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/// Makes the files of a layer in the form overlayfs wants them. For one thread.
///
/// Per entry, as containerd does it: what is in the way is removed unless both are directories; the
/// file is made; owner, attributes, permissions, times follow in this order, because each may
/// change what comes after it. Permissions of directories that their children would inherit, their
/// default ACLs and their times are set by [#finish].
///
/// Whiteouts hide only what lower layers have. So the whiteout of a name the layer itself has does
/// nothing but make a directory of that name opaque, whichever of the two comes first. A device
/// with number 0:0 is how overlayfs stores a whiteout: as an entry of an archive it is left out
/// with a warning, since nobody reading the archive's names would expect it to hide a file.
///
/// Files are made relative to descriptors of [Directories], and no final link is ever followed.
/// **Source:** OCI image-spec v1.1, layer.md § Applying Changesets; Linux overlayfs.rst.
final class TreeWriter implements Directories.Listener, AutoCloseable {
    private static final String WHITEOUT = ".wh.";
    private static final String WHITEOUT_META = ".wh..wh.";
    private static final String OPAQUE = ".wh..wh..opq";

    private static final String OVERLAY_OPAQUE = "trusted.overlay.opaque";
    private static final byte[] YES = {'y'};
    private static final String DEFAULT_ACL = "system.posix_acl_default";

    private static final int CREATE =
            Fs.O_WRONLY | Fs.O_CREAT | Fs.O_EXCL | Fs.O_NOFOLLOW | Fs.O_NOCTTY;

    private static final int SETID = 06000;

    /// The unit of allocation of the file systems that hold images; usage is counted in it.
    private static final long BLOCK_BYTES = 4096;

    /// Longer targets of symbolic links take a block of their own on ext4.
    private static final int INLINE_LINK_BYTES = 60;

    /// **Source:** `MKDEV` of Linux, include/linux/kdev_t.h.
    private static final int MAX_MAJOR = 0xfff;

    private static final int MAX_MINOR = 0xfffff;
    private static final long MAX_ID = 0xffff_fffeL;

    /// What remembering a directory takes besides its path.
    private static final int REMEMBERED_BYTES = 128;

    private final String what;
    private final Limits limits;
    private final Directories directories;
    private final Warnings warnings = new Warnings();
    private final TreeMap<String, Deferred> deferred = new TreeMap<>();
    private final long processUid;
    private final long processGid;
    private final int umask;
    private long rememberedBytes;
    private long usedBytes;
    private long inodes;

    /// What a directory gets when nothing is made in it any more.
    ///
    /// @param mode 0 to 07777, or -1 when it is right already
    private record Deferred(
            int mode,
            long atimeSeconds,
            int atimeNanos,
            long mtimeSeconds,
            int mtimeNanos,
            @Nullable Xattr defaultAcl) {}

    /// @param rootFd the directory to write to; stays open
    TreeWriter(String what, int rootFd, Limits limits) throws IOException {
        this.what = what;
        this.limits = limits;
        this.directories = new Directories(what, rootFd, limits, this);
        Stat self = Fs.statx(Fs.AT_FDCWD, "/proc/self", 0, Fs.STATX_ALL);
        this.processUid = self.uid();
        this.processGid = self.gid();
        this.umask = readUmask();
    }

    /// Reads the mask without changing it, which umask(2) cannot; all bits when the kernel does not
    /// say, so that every mode is set explicitly.
    private static int readUmask() throws IOException {
        String status =
                new String(
                        Files.readAllBytes(Path.of("/proc/self/status")),
                        StandardCharsets.ISO_8859_1);
        int at = status.indexOf("\nUmask:");
        if (at < 0) {
            return 0777;
        }
        int end = status.indexOf('\n', at + 1);
        return Integer.parseInt(status.substring(at + 7, end).strip(), 8);
    }

    /// Bytes allocated for what was made, rounded up per file.
    long usedBytes() {
        return usedBytes;
    }

    long inodes() {
        return inodes;
    }

    List<String> implicitDirectories() {
        return directories.implicit();
    }

    List<String> warnings() {
        return warnings.list();
    }

    /// Makes what an entry describes.
    void apply(TarEntry entry, TarReader reader) throws IOException {
        try {
            applyChecked(entry, reader);
        } catch (ErrnoException e) {
            throw failed(entry, e);
        } catch (TarFormatException e) {
            throw refused(entry, "%s".formatted(e.getMessage()));
        }
    }

    private ImageException refused(TarEntry entry, String why) {
        return ImageException.invalidContent(
                "%s: entry %s at byte %d: %s"
                        .formatted(what, TarReader.quoted(entry.name), entry.offset, why));
    }

    /// Errors that the archive caused are its fault; all others keep the class of the system's
    /// error.
    private ImageException failed(TarEntry entry, ErrnoException e) {
        String reason =
                switch (e.errno()) {
                    case ENAMETOOLONG -> "a name has more than 255 bytes or a path more than 4095";
                    case ELOOP, ENOTDIR, EISDIR, EINVAL, ERANGE, EMLINK ->
                            "%s".formatted(e.getMessage());
                    default -> null;
                };
        if (reason != null) {
            return refused(entry, reason);
        }
        return new ImageException(
                e.kind(),
                "%s: entry %s: %s%s"
                        .formatted(what, TarReader.quoted(entry.name), e.getMessage(), advice(e)),
                e);
    }

    /// What to do about an error that is not the archive's fault, after a semicolon.
    static String advice(ErrnoException e) {
        return e.errno() == EPERM
                ? "; unpacking needs root and the right to make owners and devices; --no-unpack only"
                        + " stores an image"
                : "";
    }

    private void applyChecked(TarEntry entry, TarReader reader)
            throws IOException, TarFormatException {
        String path = Paths.clean(entry.name);
        if (path.isEmpty()) {
            if (entry.type != TarEntry.Type.DIRECTORY) {
                throw refused(entry, "the root can only be a directory");
            }
            // The root of a layer is the snapshotter's: containerd leaves it alone as well.
            return;
        }
        if (path.length() > limits.pathDepth() && Paths.depth(path) > limits.pathDepth()) {
            throw limits.exceeded(
                    Limits.Key.PATH_DEPTH,
                    "%s: path of %s".formatted(what, TarReader.quoted(entry.name)));
        }
        if (entry.uid < 0 || entry.uid > MAX_ID || entry.gid < 0 || entry.gid > MAX_ID) {
            throw refused(
                    entry,
                    "wanted owners from 0 to %d, got %d:%d"
                            .formatted(MAX_ID, entry.uid, entry.gid));
        }
        int slash = path.lastIndexOf('/');
        String name = path.substring(slash + 1);
        String parentPath = slash < 0 ? "" : path.substring(0, slash);
        if (name.startsWith(WHITEOUT)) {
            whiteout(entry, parentPath, name);
            return;
        }
        switch (entry.type) {
            case FILE -> file(entry, reader, directories.make(parentPath), name);
            case DIRECTORY -> directory(entry, directories.make(parentPath), name);
            case SYMBOLIC_LINK -> symbolicLink(entry, directories.make(parentPath), name);
            case HARD_LINK -> hardLink(entry, parentPath, name);
            case CHARACTER_DEVICE -> device(entry, parentPath, name, Fs.S_IFCHR);
            case BLOCK_DEVICE -> device(entry, parentPath, name, Fs.S_IFBLK);
            case FIFO -> node(entry, directories.make(parentPath), name, Fs.S_IFIFO);
        }
    }

    // Whiteouts

    private void whiteout(TarEntry entry, String parentPath, String name)
            throws IOException, TarFormatException {
        if (name.equals(OPAQUE)) {
            markOpaque(directories.make(parentPath), "");
            return;
        }
        if (name.startsWith(WHITEOUT_META)) {
            // Left behind by aufs; Docker's and everybody's trees do without.
            warnings.add("metadata of aufs left out", entry.name);
            return;
        }
        String hidden = name.substring(WHITEOUT.length());
        if (hidden.isEmpty() || hidden.equals(".") || hidden.equals("..")) {
            throw refused(entry, "a whiteout of no name");
        }
        Directory parent = directories.make(parentPath);
        try {
            Fs.mknodat(parent.fd(), hidden, Fs.S_IFCHR, 0, 0);
            inodes++;
        } catch (ErrnoException e) {
            if (e.errno() != EEXIST) {
                throw e;
            }
            Stat own = Directories.stat(parent, hidden);
            if (own != null && own.isDirectory()) {
                markOpaque(parent, hidden);
            }
        }
    }

    private static void markOpaque(Directory parent, String name) throws ErrnoException {
        Xattrs.setxattrat(parent.fd(), name, OVERLAY_OPAQUE, YES, 0);
    }

    /// Whether overlayfs takes a file for a whiteout; only whiteouts are ever made like this.
    private static boolean isWhiteout(Stat stat) {
        return stat.type() == Fs.S_IFCHR && stat.rdevMajor() == 0 && stat.rdevMinor() == 0;
    }

    @Override
    public boolean removeWhiteout(Directory parent, String name, Stat stat) throws ErrnoException {
        if (!isWhiteout(stat)) {
            return false;
        }
        Fs.unlinkat(parent.fd(), name, 0);
        inodes--;
        return true;
    }

    @Override
    public void madeDirectory(Directory parent, String name, boolean hidesLower)
            throws ImageException {
        countDirectory();
        remember(Paths.join(parent.path(), name));
        if (hidesLower) {
            markOpaque(parent, name);
        }
        // The mask must not decide what others may read.
        if ((0755 & umask) != 0 || parent.setgid()) {
            Fs.fchmodat(parent.fd(), name, 0755);
        }
        if (parent.gid() != processGid) {
            Fs.fchownat(parent.fd(), name, processUid, processGid, Fs.AT_SYMLINK_NOFOLLOW);
        }
    }

    private void countDirectory() {
        inodes++;
        usedBytes += BLOCK_BYTES;
    }

    /// Counts the memory a directory takes until the end of the pass.
    private void remember(String path) throws ImageException {
        rememberedBytes += path.length() + REMEMBERED_BYTES;
        if (rememberedBytes > limits.directoryBytes()) {
            throw limits.exceeded(Limits.Key.DIRECTORY_BYTES, what + ": paths of directories");
        }
    }

    // Files

    private void file(TarEntry entry, TarReader reader, Directory parent, String name)
            throws IOException {
        int fd = create(parent, name, entry.mode & 0777);
        try {
            if (entry.sparse == null) {
                long left = entry.size;
                while (left > 0) {
                    ByteBuffer content = reader.content();
                    int count = Fs.write(fd, content);
                    reader.read(count);
                    left -= count;
                }
                usedBytes += allocated(entry.size);
            } else {
                sparse(entry.sparse, reader, fd);
            }
            boolean changesOwner = changesOwner(entry, parent);
            if (changesOwner) {
                Fs.fchownat(fd, "", entry.uid, entry.gid, Fs.AT_EMPTY_PATH);
            }
            for (Xattr xattr : entry.xattrs) {
                if (isAllowed(xattr, entry)) {
                    try {
                        Xattrs.fsetxattr(fd, xattr.name(), xattr.value(), 0);
                    } catch (ErrnoException e) {
                        ignoreUnsupported(xattr, entry, e);
                    }
                }
            }
            // The mask took bits away, the owner's change took the set-id bits, an ACL may do both.
            if ((entry.mode & (umask | SETID | 01000)) != 0 || !entry.xattrs.isEmpty()) {
                Fs.fchmod(fd, entry.mode);
            }
            Fs.futimens(
                    fd, entry.atimeSeconds, entry.atimeNanos, entry.mtimeSeconds, entry.mtimeNanos);
        } finally {
            Fs.close(fd);
        }
    }

    private int create(Directory parent, String name, int mode) throws IOException {
        inodes++;
        try {
            return Fs.openat(parent.fd(), name, CREATE, mode);
        } catch (ErrnoException e) {
            if (e.errno() != EEXIST) {
                throw e;
            }
        }
        remove(parent, name);
        return Fs.openat(parent.fd(), name, CREATE, mode);
    }

    private void sparse(SparseMap map, TarReader reader, int fd) throws IOException {
        for (int i = 0; i < map.count(); i++) {
            long at = map.offset(i);
            long end = at + map.length(i);
            while (at < end) {
                ByteBuffer content = reader.content();
                if (content.remaining() > end - at) {
                    content.limit(content.position() + (int) (end - at));
                }
                int count = Fs.pwrite(fd, content, at);
                reader.read(count);
                at += count;
            }
            usedBytes += allocated(map.length(i));
        }
        Fs.ftruncate(fd, map.realSize());
    }

    private static long allocated(long bytes) {
        return (bytes + BLOCK_BYTES - 1) & -BLOCK_BYTES;
    }

    /// Whether a new file does not have the wanted owner already: it belongs to the process, or to
    /// the group of its directory if that has the set-group-id bit or the mount says so.
    private boolean changesOwner(TarEntry entry, Directory parent) {
        return entry.uid != processUid || entry.gid != processGid || parent.gid() != processGid;
    }

    // Directories

    private void directory(TarEntry entry, Directory parent, String name) throws IOException {
        boolean existed = false;
        boolean hidesLower = false;
        try {
            Fs.mkdirat(parent.fd(), name, entry.mode & 01777);
            countDirectory();
        } catch (ErrnoException e) {
            if (e.errno() != EEXIST) {
                throw e;
            }
            Stat old = Directories.stat(parent, name);
            existed = old != null && old.isDirectory();
            if (!existed) {
                hidesLower = old != null && isWhiteout(old);
                remove(parent, name);
                Fs.mkdirat(parent.fd(), name, entry.mode & 01777);
                countDirectory();
            }
        }
        String path = Paths.join(parent.path(), name);
        remember(path);
        if (hidesLower) {
            markOpaque(parent, name);
        }
        if (existed || changesOwner(entry, parent)) {
            Fs.fchownat(parent.fd(), name, entry.uid, entry.gid, Fs.AT_SYMLINK_NOFOLLOW);
        }
        if (existed) {
            directories.madeExplicit(path);
        }
        Xattr defaultAcl = null;
        for (Xattr xattr : entry.xattrs) {
            if (xattr.name().equals(DEFAULT_ACL)) {
                defaultAcl = xattr;
            } else {
                setAttribute(parent, name, xattr, entry);
            }
        }
        boolean modeDiffers =
                existed
                        || (entry.mode & (umask | SETID)) != 0
                        || parent.setgid()
                        || !entry.xattrs.isEmpty();
        deferred.put(
                path,
                new Deferred(
                        modeDiffers ? entry.mode : -1,
                        entry.atimeSeconds,
                        entry.atimeNanos,
                        entry.mtimeSeconds,
                        entry.mtimeNanos,
                        defaultAcl));
    }

    /// Sets what directories get last, and must be called once after the last entry.
    void finish() throws IOException {
        for (Map.Entry<String, Deferred> entry : deferred.entrySet()) {
            String path = entry.getKey();
            Deferred last = entry.getValue();
            try {
                finish(path, last);
            } catch (TarFormatException e) {
                throw new IllegalStateException("a directory changed: " + path, e);
            } catch (ErrnoException e) {
                throw new ImageException(
                        e.kind(),
                        "%s: directory %s: %s"
                                .formatted(what, TarReader.quoted(path), e.getMessage()),
                        e);
            }
        }
    }

    private void finish(String path, Deferred last) throws IOException, TarFormatException {
        Directory parent = directories.find(Paths.parent(path));
        if (parent == null) {
            throw new IllegalStateException("a directory vanished: " + path);
        }
        String name = Paths.base(path);
        if (last.defaultAcl != null) {
            try {
                Xattrs.setxattrat(
                        parent.fd(), name, last.defaultAcl.name(), last.defaultAcl.value(), 0);
            } catch (ErrnoException e) {
                if (e.errno() != EOPNOTSUPP) {
                    throw e;
                }
                warnings.add(unsupported(last.defaultAcl), path);
            }
        }
        if (last.mode >= 0) {
            Fs.fchmodat(parent.fd(), name, last.mode);
        }
        Fs.utimensat(
                parent.fd(),
                name,
                last.atimeSeconds,
                last.atimeNanos,
                last.mtimeSeconds,
                last.mtimeNanos,
                Fs.AT_SYMLINK_NOFOLLOW);
    }

    // Links

    private void symbolicLink(TarEntry entry, Directory parent, String name) throws IOException {
        if (entry.linkName.isEmpty()) {
            throw refused(entry, "a symbolic link without target");
        }
        try {
            Fs.symlinkat(entry.linkName, parent.fd(), name);
        } catch (ErrnoException e) {
            if (e.errno() != EEXIST) {
                throw e;
            }
            remove(parent, name);
            Fs.symlinkat(entry.linkName, parent.fd(), name);
        }
        inodes++;
        usedBytes += linkBytes(entry.linkName.length());
        if (changesOwner(entry, parent)) {
            Fs.fchownat(parent.fd(), name, entry.uid, entry.gid, Fs.AT_SYMLINK_NOFOLLOW);
        }
        for (Xattr xattr : entry.xattrs) {
            setAttribute(parent, name, xattr, entry);
        }
        times(entry, parent, name);
    }

    private static long linkBytes(long targetBytes) {
        return targetBytes < INLINE_LINK_BYTES ? 0 : BLOCK_BYTES;
    }

    private void hardLink(TarEntry entry, String parentPath, String name)
            throws IOException, TarFormatException {
        String canonical = directories.make(parentPath).path();
        String target = Paths.clean(entry.linkName);
        Directory targetParent = target.isEmpty() ? null : directories.find(Paths.parent(target));
        // Finding the target may have closed the directory of the link. Its canonical path takes
        // one
        // descriptor, which does not close the target's.
        Directory parent = directories.make(canonical);
        String targetName = Paths.base(target);
        Stat file = targetParent == null ? null : Directories.stat(targetParent, targetName);
        if (targetParent == null || file == null || isWhiteout(file)) {
            throw refused(
                    entry,
                    "a hard link to %s, which this layer does not have before it"
                            .formatted(TarReader.quoted(entry.linkName)));
        }
        if (file.isDirectory()) {
            throw refused(
                    entry, "a hard link to the directory " + TarReader.quoted(entry.linkName));
        }
        // Removing what is in the way would remove the target.
        if (targetParent.path().equals(parent.path()) && targetName.equals(name)) {
            throw refused(entry, "a hard link to itself");
        }
        if (Paths.isInside(targetParent.path(), Paths.join(parent.path(), name))) {
            throw refused(entry, "a hard link to what is in the directory that it replaces");
        }
        try {
            Fs.linkat(targetParent.fd(), targetName, parent.fd(), name, 0);
        } catch (ErrnoException e) {
            if (e.errno() != EEXIST) {
                throw e;
            }
            remove(parent, name);
            Fs.linkat(targetParent.fd(), targetName, parent.fd(), name, 0);
        }
        linkMetadata(entry, parent, name, file);
    }

    /// Applies the header of a link to the file it shares, where that says something else:
    /// containerd does, and changing the owner to the same one would drop the file's capabilities.
    private void linkMetadata(TarEntry entry, Directory parent, String name, Stat file)
            throws IOException {
        boolean newOwner = entry.uid != file.uid() || entry.gid != file.gid();
        if (newOwner) {
            Fs.fchownat(parent.fd(), name, entry.uid, entry.gid, Fs.AT_SYMLINK_NOFOLLOW);
        }
        for (Xattr xattr : entry.xattrs) {
            setAttribute(parent, name, xattr, entry);
        }
        boolean newMode = newOwner || !entry.xattrs.isEmpty() || entry.mode != file.permissions();
        if (newMode && !file.isSymbolicLink()) {
            Fs.fchmodat(parent.fd(), name, entry.mode);
        }
        if (entry.mtimeSeconds != file.mtimeSeconds()
                || entry.mtimeNanos != file.mtimeNanos()
                || entry.atimeSeconds != file.atimeSeconds()
                || entry.atimeNanos != file.atimeNanos()) {
            times(entry, parent, name);
        }
    }

    // Devices and pipes

    private void device(TarEntry entry, String parentPath, String name, int type)
            throws IOException, TarFormatException {
        if (entry.deviceMajor < 0
                || entry.deviceMajor > MAX_MAJOR
                || entry.deviceMinor < 0
                || entry.deviceMinor > MAX_MINOR) {
            throw refused(
                    entry,
                    "wanted a device up to %d:%d, got %d:%d"
                            .formatted(MAX_MAJOR, MAX_MINOR, entry.deviceMajor, entry.deviceMinor));
        }
        if (type == Fs.S_IFCHR && entry.deviceMajor == 0 && entry.deviceMinor == 0) {
            warnings.add("character device 0:0, an overlay whiteout, left out", entry.name);
            return;
        }
        node(entry, directories.make(parentPath), name, type);
    }

    private void node(TarEntry entry, Directory parent, String name, int type) throws IOException {
        int mode = type | (entry.mode & 0777);
        int major = (int) entry.deviceMajor;
        int minor = (int) entry.deviceMinor;
        try {
            Fs.mknodat(parent.fd(), name, mode, major, minor);
        } catch (ErrnoException e) {
            if (e.errno() != EEXIST) {
                throw e;
            }
            remove(parent, name);
            Fs.mknodat(parent.fd(), name, mode, major, minor);
        }
        inodes++;
        if (changesOwner(entry, parent)) {
            Fs.fchownat(parent.fd(), name, entry.uid, entry.gid, Fs.AT_SYMLINK_NOFOLLOW);
        }
        for (Xattr xattr : entry.xattrs) {
            setAttribute(parent, name, xattr, entry);
        }
        if ((entry.mode & (umask | SETID | 01000)) != 0 || !entry.xattrs.isEmpty()) {
            Fs.fchmodat(parent.fd(), name, entry.mode);
        }
        times(entry, parent, name);
    }

    // Metadata

    private static void times(TarEntry entry, Directory parent, String name) throws ErrnoException {
        Fs.utimensat(
                parent.fd(),
                name,
                entry.atimeSeconds,
                entry.atimeNanos,
                entry.mtimeSeconds,
                entry.mtimeNanos,
                Fs.AT_SYMLINK_NOFOLLOW);
    }

    private void setAttribute(Directory parent, String name, Xattr xattr, TarEntry entry)
            throws ImageException {
        if (!isAllowed(xattr, entry)) {
            return;
        }
        try {
            Xattrs.setxattrat(parent.fd(), name, xattr.name(), xattr.value(), 0);
        } catch (ErrnoException e) {
            ignoreUnsupported(xattr, entry, e);
        }
    }

    /// Whether an attribute is the image's to set. The `trusted` and `user.overlay` ones steer the
    /// host's overlayfs.
    private boolean isAllowed(Xattr xattr, TarEntry entry) throws ImageException {
        String name = xattr.name();
        if (entry.xattrs.size() > limits.xattrs()) {
            throw limits.exceeded(
                    Limits.Key.XATTRS,
                    "%s: extended attributes of %s".formatted(what, TarReader.quoted(entry.name)));
        }
        if (xattr.value().length > limits.xattrValueBytes()) {
            throw limits.exceeded(
                    Limits.Key.XATTR_VALUE_BYTES,
                    "%s: extended attribute %s of %s"
                            .formatted(what, TarReader.quoted(name), TarReader.quoted(entry.name)));
        }
        if (name.startsWith("trusted.") || name.startsWith("user.overlay.")) {
            warnings.add(
                    name.startsWith("trusted.")
                            ? "extended attributes trusted.* left out"
                            : "extended attributes user.overlay.* left out",
                    entry.name);
            return false;
        }
        return true;
    }

    private void ignoreUnsupported(Xattr xattr, TarEntry entry, ErrnoException e)
            throws ErrnoException {
        boolean ofLinkOrDevice =
                e.errno() == EPERM
                        && xattr.name().startsWith("user.")
                        && entry.type != TarEntry.Type.FILE
                        && entry.type != TarEntry.Type.DIRECTORY;
        if (e.errno() != EOPNOTSUPP && !ofLinkOrDevice) {
            throw e;
        }
        warnings.add(unsupported(xattr), entry.name);
    }

    private static String unsupported(Xattr xattr) {
        int dot = xattr.name().indexOf('.');
        String namespace = dot < 0 ? xattr.name() : xattr.name().substring(0, dot);
        return "extended attributes %s.* left out, the file system does not take them"
                .formatted(TarReader.quoted(namespace));
    }

    // Removal

    /// Removes whatever has a name, with all that is in it.
    private void remove(Directory parent, String name) throws IOException {
        String path = Paths.join(parent.path(), name);
        directories.removed(path);
        if (!unlink(parent.fd(), name)) {
            int fd = Fs.openat(parent.fd(), name, Fs.O_DIRECTORY | Fs.O_NOFOLLOW, 0);
            try {
                removeContent(fd);
            } finally {
                Fs.close(fd);
            }
            removeDirectory(parent.fd(), name);
            deferred.remove(path);
            deferred.subMap(path + '/', path + Paths.BEHIND_SLASH).clear();
        }
    }

    /// Empties a directory. The depth is bounded by that of paths.
    private void removeContent(int fd) throws ErrnoException {
        for (DirectoryEntry child : Fs.list(fd)) {
            if (!unlink(fd, child.name())) {
                int inner = Fs.openat(fd, child.name(), Fs.O_DIRECTORY | Fs.O_NOFOLLOW, 0);
                try {
                    removeContent(inner);
                } finally {
                    Fs.close(inner);
                }
                removeDirectory(fd, child.name());
            }
        }
    }

    private void removeDirectory(int fd, String name) throws ErrnoException {
        Fs.unlinkat(fd, name, Fs.AT_REMOVEDIR);
        inodes--;
        usedBytes -= BLOCK_BYTES;
    }

    /// Unlinks anything but a directory, for which it returns false.
    private boolean unlink(int fd, String name) throws ErrnoException {
        Stat stat = Fs.statx(fd, name, Fs.AT_SYMLINK_NOFOLLOW, Fs.STATX_ALL);
        if (stat.isDirectory()) {
            return false;
        }
        Fs.unlinkat(fd, name, 0);
        if (stat.nlink() == 1) {
            inodes--;
            if (stat.isRegularFile()) {
                usedBytes -= Math.min(allocated(stat.size()), usedBytes);
            } else if (stat.isSymbolicLink()) {
                usedBytes -= linkBytes(stat.size());
            }
        }
        return true;
    }

    @Override
    public void close() throws ErrnoException {
        directories.close();
    }
}
