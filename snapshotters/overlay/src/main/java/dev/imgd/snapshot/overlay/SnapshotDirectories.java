package dev.imgd.snapshot.overlay;

import dev.imgd.linux.DirectoryEntry;
import dev.imgd.linux.Fd;
import dev.imgd.linux.Fs;
import dev.imgd.linux.Stat;
import dev.imgd.model.ErrnoException;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Text;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/// The directories on disk, and the only place that knows their names.
///
/// ```
/// <root>/snapshots/<id>/fs        files of a snapshot or layer, mode 0755
///                      /work      overlayfs' work directory of an active snapshot, mode 0711
/// <root>/snapshots-trash/<name>   being deleted; the content store empties a trash of its own
/// <root>/lost/<name>              moved out of the way when the database was lost; never deleted here
/// ```
///
/// Ids are numbers in base 36, never given out twice, so that hundreds of lower directories fit
/// into the page of options that mount(2) takes. A directory is made before its row and unlinked
/// after it: what has no row after a crash is garbage. Thread-safe.
final class SnapshotDirectories implements AutoCloseable {
    /// Who the root of a new snapshot belongs to.
    record Owner(long uid, long gid) {}

    private static final String SNAPSHOTS = "snapshots";
    private static final int ROOT_MODE = 0755;
    private static final int WORK_MODE = 0711;
    private static final int PRIVATE_MODE = 0700;
    private static final int OPEN_DIRECTORY = Fs.O_RDONLY | Fs.O_DIRECTORY | Fs.O_NOFOLLOW;

    private final String snapshotsPath;
    private final Fd root;
    private final Fd snapshots;
    private final Fd trash;

    /// The kernel reports an error of the disk once to each open file: this one is for those who do
    /// not look at it.
    private final Fd ahead;

    private SnapshotDirectories(String snapshotsPath, Fd root, Fd snapshots, Fd trash, Fd ahead) {
        this.snapshotsPath = snapshotsPath;
        this.root = root;
        this.snapshots = snapshots;
        this.trash = trash;
        this.ahead = ahead;
    }

    /// @param path created when absent; made private to the owner
    static SnapshotDirectories open(Path path) throws ImageException {
        String name = path.toAbsolutePath().normalize().toString();
        for (int i = 0; i < name.length(); i++) {
            char c = name.charAt(i);
            if (c == ':' || c == ',' || c == '\\' || c == '"' || Character.isISOControl(c)) {
                throw ImageException.invalidArgument(
                        "snapshot root %s: mount options cannot hold :,\\\" and control characters; %s"
                                .formatted(Text.printable(name, 200), "choose another root"));
            }
        }
        makePath(name);
        Fd root = Fd.open(name, OPEN_DIRECTORY, 0);
        try {
            Fs.fchmod(root.fd(), PRIVATE_MODE);
            Fd snapshots = child(root, SNAPSHOTS);
            try {
                return open(name, root, snapshots);
            } catch (ImageException e) {
                snapshots.close();
                throw e;
            }
        } catch (ImageException e) {
            root.close();
            throw e;
        }
    }

    private static SnapshotDirectories open(String name, Fd root, Fd snapshots)
            throws ImageException {
        Fd trash = child(root, "snapshots-trash");
        try {
            return new SnapshotDirectories(
                    name + '/' + SNAPSHOTS, root, snapshots, trash, child(root, SNAPSHOTS));
        } catch (ImageException e) {
            trash.close();
            throw e;
        }
    }

    private static void makePath(String path) throws ImageException {
        int end = path.indexOf('/', 1);
        while (true) {
            String part = end < 0 ? path : path.substring(0, end);
            try {
                Fs.mkdirat(Fs.AT_FDCWD, part, PRIVATE_MODE);
            } catch (ErrnoException e) {
                // What exists is checked when it is opened; a read-only ancestor says EROFS before
                // EEXIST.
                if (end < 0 && e.errno() != ErrnoException.EEXIST) {
                    throw e;
                }
            }
            if (end < 0) {
                return;
            }
            end = path.indexOf('/', end + 1);
        }
    }

    private static Fd child(Fd parent, String name) throws ErrnoException {
        makeIfAbsent(parent.fd(), name);
        return Fd.of(Fs.openat(parent.fd(), name, OPEN_DIRECTORY, 0));
    }

    private static void makeIfAbsent(int parent, String name) throws ErrnoException {
        try {
            Fs.mkdirat(parent, name, PRIVATE_MODE);
        } catch (ErrnoException e) {
            if (e.errno() != ErrnoException.EEXIST) {
                throw e;
            }
        }
    }

    static String name(long id) {
        return Long.toString(id, 36);
    }

    /// Where a directory is.
    String directory(long id) {
        return snapshotsPath + "/" + name(id);
    }

    /// Where the files of a directory are.
    String files(long id) {
        return directory(id) + "/fs";
    }

    /// Where overlayfs works for an active snapshot.
    String work(long id) {
        return directory(id) + "/work";
    }

    /// A descriptor of the files; the caller closes it.
    ///
    /// @throws ImageException `DATA_LOSS` when they are not there
    Fd openFiles(long id) throws ImageException {
        try {
            return Fd.of(
                    Fs.openat2(
                            snapshots.fd(),
                            name(id) + "/fs",
                            OPEN_DIRECTORY,
                            0,
                            Fs.RESOLVE_BENEATH | Fs.RESOLVE_NO_SYMLINKS));
        } catch (ErrnoException e) {
            throw missing(id, e);
        }
    }

    /// @throws ImageException `DATA_LOSS` when the files are not there
    Owner owner(long id) throws ImageException {
        try {
            Stat stat =
                    Fs.statx(
                            snapshots.fd(), name(id) + "/fs", Fs.AT_SYMLINK_NOFOLLOW, Fs.STATX_ALL);
            return new Owner(stat.uid(), stat.gid());
        } catch (ErrnoException e) {
            throw missing(id, e);
        }
    }

    /// To callers, what is not found is a snapshot; a directory behind one is lost data.
    private ImageException missing(long id, ErrnoException e) {
        if (e.errno() != ErrnoException.ENOENT) {
            return e;
        }
        return new ImageException(
                ErrorKind.DATA_LOSS,
                "%s: is missing; somebody deleted it; remove the image and pull it again"
                        .formatted(files(id)),
                e);
    }

    /// Makes the directory of a snapshot; leaves nothing when it fails.
    ///
    /// @param withWork whether it gets a work directory
    void create(long id, boolean withWork, Owner owner) throws ImageException {
        String name = name(id);
        Fs.mkdirat(snapshots.fd(), name, PRIVATE_MODE);
        try {
            // Modes are set apart, because the process's umask applies to mkdir.
            String files = name + "/fs";
            Fs.mkdirat(snapshots.fd(), files, ROOT_MODE);
            if (owner.uid() != 0 || owner.gid() != 0) {
                Fs.fchownat(
                        snapshots.fd(), files, owner.uid(), owner.gid(), Fs.AT_SYMLINK_NOFOLLOW);
            }
            Fs.fchmodat(snapshots.fd(), files, ROOT_MODE);
            if (withWork) {
                String work = name + "/work";
                Fs.mkdirat(snapshots.fd(), work, WORK_MODE);
                Fs.fchmodat(snapshots.fd(), work, WORK_MODE);
            }
        } catch (ErrnoException e) {
            try {
                discard(id);
            } catch (ErrnoException rest) {
                e.addSuppressed(rest);
            }
            throw e;
        }
    }

    /// Moves a directory to the trash; does nothing when it is not there.
    void discard(long id) throws ErrnoException {
        try {
            Fs.renameat2(snapshots.fd(), name(id), trash.fd(), name(id), 0);
        } catch (ErrnoException e) {
            if (e.errno() != ErrnoException.ENOENT) {
                throw e;
            }
        }
    }

    /// The ids of all directories; anything else in there is left alone.
    List<Long> ids() throws ErrnoException {
        List<Long> ids = new ArrayList<>();
        for (DirectoryEntry entry : Fs.list(snapshots.fd())) {
            try {
                long id = Long.parseLong(entry.name(), 36);
                if (id > 0 && name(id).equals(entry.name())) {
                    ids.add(id);
                }
            } catch (NumberFormatException e) {
                // Not ours: nothing that this class makes has such a name.
            }
        }
        return ids;
    }

    /// Moves all directories of snapshots out of the way, for people to look at.
    ///
    /// @param name a new name under `lost`
    /// @return where they are now
    String putAside(String name) throws ImageException {
        try (Fd lost = child(root, "lost")) {
            Fs.mkdirat(lost.fd(), name, PRIVATE_MODE);
            try (Fd aside = Fd.of(Fs.openat(lost.fd(), name, OPEN_DIRECTORY, 0))) {
                for (long id : ids()) {
                    Fs.renameat2(snapshots.fd(), name(id), aside.fd(), name(id), 0);
                }
            }
        }
        return snapshotsPath.substring(0, snapshotsPath.lastIndexOf('/')) + "/lost/" + name;
    }

    boolean trashIsEmpty() throws ErrnoException {
        return Fs.list(trash.fd()).isEmpty();
    }

    /// Deletes what is in the trash; what cannot be deleted stays there.
    ///
    /// @return what could not be deleted and why, empty when all is gone
    List<ImageException> emptyTrash() {
        return new TreeRemoval(trash.fd()).run();
    }

    /// Writes everything on the file system of the snapshots to the disk.
    void sync() throws ImageException {
        try {
            Fs.syncfs(snapshots.fd());
        } catch (ErrnoException e) {
            throw new ImageException(
                    ErrorKind.DATA_LOSS,
                    "snapshots in %s: the disk did not take them: %s; pull the last images again"
                            .formatted(snapshotsPath, e.getMessage()),
                    e);
        }
    }

    /// As [#sync], ahead of it: what fails here fails there too, once more.
    void syncAhead() throws ErrnoException {
        Fs.syncfs(ahead.fd());
    }

    @Override
    public void close() throws ErrnoException {
        try (root;
                snapshots;
                trash;
                ahead) {
            // All are closed even if one of them fails.
        }
    }
}
