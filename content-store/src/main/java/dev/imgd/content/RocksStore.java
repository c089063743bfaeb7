package dev.imgd.content;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFileAttributes;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.OptionalLong;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// [Store] on files and RocksDB. Puts the parts together; each part knows one thing.
final class RocksStore implements Store {
    private static final Logger LOG = LoggerFactory.getLogger(RocksStore.class);

    private final BlobPaths paths;
    private final StoreLock lock;
    private final CleanMark clean;
    private final RefJournal journal;
    private final RocksDatabase database;
    private final Recovery recovery;
    private final TrashBin trash;
    private final FileContentStore content;
    private final ImageTable images;
    private final LeaseTable leases;
    private final StoreMaintenance maintenance;
    private final boolean rebuilt;
    private final boolean marked;
    private boolean closed;

    private RocksStore(
            BlobPaths paths,
            StoreLock lock,
            CleanMark clean,
            OptionalLong mark,
            RefJournal journal,
            Opened opened,
            StoreOptions options)
            throws ImageException {
        this.paths = paths;
        this.lock = lock;
        this.clean = clean;
        this.journal = journal;
        this.database = opened.database;
        this.trash = new TrashBin(paths, options.clock().millis());
        this.recovery = new Recovery(paths, database, journal, trash);
        database.onReopened(recovery::agreeAgain);
        this.marked = mark.isPresent();
        this.rebuilt = recover(opened, mark);
        this.content = new FileContentStore(paths, database, trash, options, clean);
        this.images = new ImageTable(database);
        this.leases = new LeaseTable(database, options.clock());
        this.maintenance = new StoreMaintenance(paths, database, content, trash);
        content.dropDead();
        if (!trash.isEmpty()) {
            trash.emptyLater();
        }
    }

    /// @param cut whether the newest rows were lost with the end of its log
    /// @param damaged whether all rows were lost
    private record Opened(RocksDatabase database, boolean created, boolean cut, boolean damaged) {}

    static Store open(Path root, StoreOptions options) throws ImageException {
        BlobPaths paths = new BlobPaths(resolved(root.toAbsolutePath().normalize()));
        prepare(paths);
        StoreLock lock = StoreLock.acquire(paths.root(), paths.lock(), options.clock().instant());
        RefJournal journal = new RefJournal(paths);
        Opened opened = null;
        try {
            CleanMark clean = new CleanMark(paths);
            OptionalLong mark = clean.read();
            opened = openDatabase(paths, journal, options, clean);
            return new RocksStore(paths, lock, clean, mark, journal, opened, options);
        } catch (ImageException | RuntimeException | Error e) {
            try {
                if (opened != null) {
                    opened.database.close();
                }
                journal.close();
                lock.close();
            } catch (ImageException suppressed) {
                e.addSuppressed(suppressed);
            }
            throw e;
        }
    }

    /// The directory behind a root that is a symbolic link, so that mounts and locks name one
    /// place.
    private static Path resolved(Path root) throws ImageException {
        if (!Files.isSymbolicLink(root)) {
            return root;
        }
        try {
            Object owner = Files.getAttribute(root, "unix:uid", LinkOption.NOFOLLOW_LINKS);
            Object self = Files.getAttribute(Path.of("/proc/self"), "unix:uid");
            if (!owner.equals(self) && !owner.equals(0)) {
                throw new ImageException(
                        ErrorKind.PERMISSION_DENIED,
                        ("store %s: wanted a symbolic link of user %s or root, got one of user %s;"
                                        + " give its target")
                                .formatted(root, self, owner));
            }
            return root.toRealPath();
        } catch (NoSuchFileException e) {
            throw new ImageException(
                    ErrorKind.NOT_FOUND,
                    "store %s: a symbolic link to nowhere: %s; make the directory or remove the link"
                            .formatted(root, e.getMessage()),
                    e);
        } catch (IOException e) {
            throw Failures.of("open store", root, e);
        }
    }

    private static void prepare(BlobPaths paths) throws ImageException {
        Path root = paths.root();
        try {
            if (!BlobPaths.createDirectory(root)) {
                repairRoot(root);
            }
            for (Path directory :
                    new Path[] {
                        paths.blobs(),
                        paths.ingests(),
                        paths.database(),
                        paths.refs(),
                        paths.trash()
                    }) {
                BlobPaths.createDirectory(directory);
            }
        } catch (IOException e) {
            throw Failures.of("open store", root, e);
        }
    }

    private static void repairRoot(Path root) throws IOException {
        PosixFileAttributes attributes =
                Files.readAttributes(root, PosixFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
        Object owner = Files.getAttribute(root, "unix:uid", LinkOption.NOFOLLOW_LINKS);
        Object self = Files.getAttribute(Path.of("/proc/self"), "unix:uid");
        if (!owner.equals(self)) {
            throw new ImageException(
                    ErrorKind.PERMISSION_DENIED,
                    ("store %s: wanted it to belong to user %s, got %s;"
                                    + " run as its owner or choose another --root")
                            .formatted(root, self, owner));
        }
        Set<PosixFilePermission> modes = attributes.permissions();
        for (PosixFilePermission mode : modes) {
            if (!mode.name().startsWith("OWNER_")) {
                LOG.warn(
                        "store {} was open to other users, closed it: mode was {}",
                        root,
                        PosixFilePermissions.toString(modes));
                BlobPaths.makePrivate(root);
                return;
            }
        }
    }

    private static Opened openDatabase(
            BlobPaths paths, RefJournal journal, StoreOptions options, CleanMark clean)
            throws ImageException {
        boolean existed = paths.databaseExists();
        try {
            RocksDatabase database = RocksDatabase.open(paths, journal, options, clean::drop);
            return new Opened(database, !existed, false, false);
        } catch (RocksDatabase.DamagedException damage) {
            // A power cut leaves garbage where the file system lets a file grow before its bytes
            // are on the disk; what is before it is whole.
            Opened cut = openBeforeDamage(paths, journal, options, clean, damage);
            if (cut != null) {
                return cut;
            }
            Path aside = paths.quarantine(options.clock().millis());
            LOG.error(
                    "database {} is damaged and set aside as {}: {}; rebuilding it from the blobs",
                    paths.database(),
                    aside,
                    damage.getMessage());
            try {
                clean.drop();
                Files.move(paths.database(), aside);
                BlobPaths.createDirectory(paths.database());
                BlobPaths.syncDirectory(paths.root());
            } catch (IOException e) {
                throw Failures.of("set aside", paths.database(), e);
            }
            try {
                RocksDatabase database = RocksDatabase.open(paths, journal, options, clean::drop);
                return new Opened(database, true, false, true);
            } catch (RocksDatabase.DamagedException again) {
                throw new ImageException(
                        ErrorKind.INTERNAL,
                        "database %s: a new one cannot be opened: %s"
                                .formatted(paths.database(), again.getMessage()),
                        again);
            }
        }
    }

    /// @return null when not only the log is damaged
    private static @Nullable Opened openBeforeDamage(
            BlobPaths paths,
            RefJournal journal,
            StoreOptions options,
            CleanMark clean,
            RocksDatabase.DamagedException damage)
            throws ImageException {
        try {
            RocksDatabase database =
                    RocksDatabase.openBeforeDamage(paths, journal, options, clean::drop);
            LOG.error(
                    "the log of database {} is damaged: {}; going on without what came after that,"
                            + " and restoring names and blobs",
                    paths.database(),
                    damage.getMessage());
            return new Opened(database, false, true, false);
        } catch (RocksDatabase.DamagedException worse) {
            damage.addSuppressed(worse);
            return null;
        }
    }

    /// @return whether the index was made anew or lost something
    private boolean recover(Opened opened, OptionalLong mark) throws ImageException {
        if (opened.damaged || Recovery.isRebuilding(database)) {
            recovery.rebuild();
            return true;
        }
        if (opened.created) {
            if (!hasContent()) {
                return false;
            }
            LOG.error("database {} is missing; rebuilding it from the blobs", paths.database());
            recovery.rebuild();
            return true;
        }
        if (mark.isEmpty() || opened.cut) {
            boolean lost = recovery.reconcile();
            // What can be read from the log of a dead process need not be on the disk; and a
            // damaged log is not to be read again.
            database.flush();
            return lost || opened.cut;
        }
        long known = Recovery.lastEntry(database);
        if (known != mark.getAsLong()) {
            LOG.error(
                    "database {} lost its newest rows: entry wanted={} got={}; restoring names and"
                            + " blobs",
                    paths.database(),
                    mark.getAsLong(),
                    known);
            recovery.reconcile();
            return true;
        }
        return false;
    }

    private boolean hasContent() throws ImageException {
        boolean[] found = {Files.exists(paths.journal())};
        StoreMaintenance.forEachFile(paths, (_, _) -> found[0] = true);
        return found[0];
    }

    @Override
    public Path root() {
        return paths.root();
    }

    @Override
    public ContentStore content() {
        return content;
    }

    @Override
    public ImageStore images() {
        return images;
    }

    @Override
    public LeaseStore leases() {
        return leases;
    }

    @Override
    public Database database() {
        return database;
    }

    @Override
    public Maintenance maintenance() {
        return maintenance;
    }

    @Override
    public boolean rebuilt() {
        return rebuilt;
    }

    @Override
    public synchronized void close() throws ImageException {
        if (closed) {
            return;
        }
        closed = true;
        trash.close();
        try {
            boolean mark = clean.isDropped() || !marked;
            long last = mark ? Recovery.lastEntry(database) : 0;
            boolean usable = database.isUsable();
            if (usable && clean.isDropped() && journal.wantsRewrite()) {
                recovery.rewriteJournal();
            }
            database.close();
            journal.close();
            if (mark && usable) {
                clean.set(last);
            }
        } finally {
            database.close();
            lock.close();
        }
    }
}
