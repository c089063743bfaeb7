package dev.imgd.snapshot.overlay;

import dev.imgd.content.Database;
import dev.imgd.content.NodeId;
import dev.imgd.linux.Fd;
import dev.imgd.linux.MountInfo;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrnoException;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.snapshot.Kind;
import dev.imgd.snapshot.Layer;
import dev.imgd.snapshot.Mount;
import dev.imgd.snapshot.SnapshotMetadata;
import dev.imgd.snapshot.SnapshotMetadata.Session;
import dev.imgd.snapshot.SnapshotMetadata.Unsynced;
import dev.imgd.snapshot.SnapshotService;
import dev.imgd.snapshot.Snapshotter;
import dev.imgd.snapshot.Usage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Snapshots as directories stacked by overlayfs.
///
/// Rows are the truth about what exists, [SnapshotDirectories] holds the files. A directory is made
/// before its row is written and deleted after the row is gone, so a crash leaves at most
/// directories without rows; the next owner throws those away. Commit and remove only touch rows:
/// usage is measured, files are synced and directories deleted by background threads. What was
/// committed and not yet synced when the machine stopped is reported as lost by the next owner,
/// never shown.
///
/// Safe for use by many threads; one instance for a root at a time, which the owner of the database
/// is.
public final class OverlaySnapshotService implements SnapshotService {
    private static final Logger log = LoggerFactory.getLogger(OverlaySnapshotService.class);

    /// How long a pull may take from finishing a layer to linking it.
    private static final long LINK_NANOS = TimeUnit.MINUTES.toNanos(15);

    /// How much is written before it is worth a sync of its own: what the last sync has left to do
    /// takes a disk a second or less.
    private static final long WRITE_BEHIND_BYTES = 128L << 20;

    private final SnapshotDirectories directories;
    private final SnapshotMetadata metadata;
    private final OverlayOptions options;
    private final String bootId;
    private final MountShapes shapes;
    private final ScheduledThreadPoolExecutor worker;
    private final ScheduledThreadPoolExecutor deleter;
    private final ScheduledThreadPoolExecutor writer;
    private final WriteBehind writeBehind;
    private final Trash trash;
    private final Durability durability;
    private final UsageMeter meter;
    private final Map<String, Long> unlinkedLayers = new ConcurrentHashMap<>();
    private final Object sessionLock = new Object();
    private volatile boolean changing;
    private volatile boolean leavesOrphans;
    private volatile boolean closed;

    private OverlaySnapshotService(
            SnapshotDirectories directories,
            SnapshotMetadata metadata,
            OverlayOptions options,
            String bootId) {
        this.directories = directories;
        this.metadata = metadata;
        this.options = options;
        this.bootId = bootId;
        this.shapes = new MountShapes(directories, options);
        this.worker = executor("imgd-snapshots");
        this.deleter = executor("imgd-trash");
        this.writer = executor("imgd-write-behind");
        this.writeBehind = new WriteBehind(directories::syncAhead, writer, WRITE_BEHIND_BYTES);
        this.trash = new Trash(directories, deleter);
        this.durability =
                new Durability(
                        directories::sync, this::lose, metadata, worker, options.syncDelay());
        this.meter =
                new UsageMeter(
                        directory -> DiskUsage.of(directories.openFiles(directory)),
                        options.usageTtl(),
                        System::nanoTime,
                        this::inBackground);
    }

    private static ScheduledThreadPoolExecutor executor(String name) {
        ThreadFactory threads = Thread.ofPlatform().name(name).daemon(true).factory();
        ScheduledThreadPoolExecutor executor = new ScheduledThreadPoolExecutor(1, threads);
        executor.setExecuteExistingDelayedTasksAfterShutdownPolicy(false);
        return executor;
    }

    /// Opens or creates the back end and brings rows and directories into agreement after a crash
    /// or reboot.
    ///
    /// @param root a directory on a file system that overlayfs accepts for upper directories; its
    ///   path may not hold colons, commas, backslashes, quotes and control characters
    /// @param database holds the rows; stays open longer than the service
    public static OverlaySnapshotService open(Path root, Database database, OverlayOptions options)
            throws ImageException {
        return open(root, database, options, currentBootId());
    }

    static OverlaySnapshotService open(
            Path root, Database database, OverlayOptions options, String bootId)
            throws ImageException {
        SnapshotMetadata metadata = new SnapshotMetadata(database, options.clock());
        SnapshotDirectories directories = SnapshotDirectories.open(root);
        try {
            OverlaySnapshotService service =
                    new OverlaySnapshotService(directories, metadata, options, bootId);
            service.recover();
            return service;
        } catch (ImageException | RuntimeException e) {
            directories.close();
            throw e;
        }
    }

    private static String currentBootId() throws ImageException {
        try {
            return Files.readString(Path.of("/proc/sys/kernel/random/boot_id")).strip();
        } catch (IOException e) {
            throw new ImageException(
                    ErrorKind.FAILED_PRECONDITION,
                    "boot id: cannot read /proc/sys/kernel/random/boot_id; mount /proc",
                    e);
        }
    }

    // ---- recovery

    private void recover() throws ImageException {
        Session last = metadata.lastSession();
        dropLostFiles();
        switch (last) {
            case NONE -> putAsideForeign();
            case OPEN -> reconcile();
            case CLOSED -> {}
        }
        if (!directories.trashIsEmpty()) {
            trash.start();
        }
    }

    /// Files that were not durable survive the end of a process, but not the end of a boot.
    private void dropLostFiles() throws ImageException {
        for (Unsynced unsynced : metadata.unsynced()) {
            if (unsynced.bootId().equals(bootId)) {
                durability.add(unsynced.directory());
                continue;
            }
            beginChange();
            Optional<String> owner = metadata.lost(unsynced.directory());
            if (owner.isPresent()) {
                log.warn(
                        "{}: the machine stopped before its files were on the disk; dropped them",
                        owner.get());
                trash.add(unsynced.directory());
            }
        }
    }

    /// What the disk did not take is taken back at once, for this process and the next. A container
    /// that runs on it keeps its files for as long as the kernel has them.
    private void lose(List<Long> lost) throws ImageException {
        noteChange();
        Set<Long> mounted = mounted(Set.copyOf(lost));
        for (long directory : lost) {
            Optional<String> owner = metadata.lost(directory);
            if (owner.isEmpty()) {
                continue;
            }
            log.error("{}: the disk did not take its files; dropped them", owner.get());
            if (mounted.contains(directory)) {
                leavesOrphans = true;
            } else {
                trash.add(directory);
            }
        }
    }

    /// Directories without a database are those of a database that was lost: containers may run on
    /// them.
    private void putAsideForeign() throws ImageException {
        if (!directories.ids().isEmpty()) {
            Instant now = options.clock().instant();
            log.warn(
                    "found snapshot directories although the database knows none; moved them to {}",
                    directories.putAside(Long.toString(now.toEpochMilli())));
        }
    }

    private void reconcile() throws ImageException {
        Map<Long, Kind> used = new HashMap<>();
        metadata.directories(used::put);
        Set<Long> found = new HashSet<>(directories.ids());
        Set<Long> orphans = new HashSet<>(found);
        orphans.removeAll(used.keySet());
        if (!orphans.isEmpty()) {
            Set<Long> mounted = mounted(orphans);
            for (long orphan : orphans) {
                if (mounted.contains(orphan)) {
                    log.warn(
                            "{}: belongs to no snapshot but is mounted; left alone",
                            directories.files(orphan));
                } else {
                    trash.add(orphan);
                }
            }
            log.info(
                    "recovered: threw away {} unfinished snapshot directories",
                    orphans.size() - mounted.size());
        }
        Set<Long> gone = new HashSet<>();
        for (Map.Entry<Long, Kind> entry : used.entrySet()) {
            if (found.contains(entry.getKey())) {
                continue;
            }
            if (entry.getValue() == Kind.COMMITTED) {
                gone.add(entry.getKey());
            } else {
                // Nothing in it was durable, or the directory itself would be there.
                log.warn("{}: was missing; made anew, empty", directories.files(entry.getKey()));
                directories.create(
                        entry.getKey(),
                        entry.getValue() == Kind.ACTIVE,
                        new SnapshotDirectories.Owner(0, 0));
            }
        }
        if (!gone.isEmpty()) {
            for (String owner : metadata.missing(gone)) {
                log.error("{}: its directory is missing; it cannot be used any more", owner);
            }
        }
    }

    private Set<Long> mounted(Set<Long> candidates) throws ImageException {
        Set<Long> mounted = new HashSet<>();
        for (MountInfo mount : MountInfo.list()) {
            for (long id : candidates) {
                String directory = directories.directory(id);
                if (uses(mount.root(), directory)
                        || uses(mount.mountPoint(), directory)
                        || mount.superOptions().stream().anyMatch(o -> uses(o, directory))) {
                    mounted.add(id);
                }
            }
        }
        return mounted;
    }

    /// Whether a text of mountinfo names something in a directory.
    private static boolean uses(String text, String directory) {
        return text.contains(directory + "/");
    }

    /// Notes durably, once, that directories and rows may differ from now on.
    void beginChange() throws ImageException {
        noteChange();
        if (closed) {
            throw new IllegalStateException("the snapshot service is closed");
        }
    }

    private void noteChange() throws ImageException {
        if (!changing) {
            synchronized (sessionLock) {
                if (!changing) {
                    metadata.sessionOpened();
                    changing = true;
                }
            }
        }
    }

    // ---- the service

    @Override
    public Snapshotter view(String view) throws ImageException {
        SnapshotMetadata.checkView(view);
        return new OverlaySnapshotter(view, this);
    }

    @Override
    public Staging stage(Digest diffId, Optional<Digest> parentChain) throws ImageException {
        beginChange();
        long directory = metadata.newDirectory();
        directories.create(directory, false, new SnapshotDirectories.Owner(0, 0));
        return new OverlayStaging(this, diffId, parentChain, directory);
    }

    @Override
    public boolean hasLayer(Digest diffId, Optional<Digest> parentChain) throws ImageException {
        return metadata.layer(diffId, parentChain).isPresent();
    }

    @Override
    public boolean link(
            String view,
            String name,
            String parent,
            Digest diffId,
            Optional<Digest> parentChain,
            Map<String, String> labels)
            throws ImageException {
        Optional<Layer> layer = metadata.link(view, name, parent, diffId, parentChain, labels);
        // Also when the snapshot was there: then it is what keeps the layer.
        unlinkedLayers.remove(Layer.id(diffId));
        unlinkedLayers.remove(Layer.id(diffId, parentChain));
        return layer.isPresent();
    }

    /// Stores the layer in `directory`, or throws the directory away when the layer is there
    /// already.
    void addLayer(String id, Digest diffId, long directory, Usage usage) throws ImageException {
        unlinkedLayers.put(id, System.nanoTime());
        Layer stored =
                metadata.addLayer(
                        new Layer(id, diffId, directory, usage, options.clock().instant()), bootId);
        if (stored.directory() == directory) {
            durability.add(directory);
        } else {
            trash.add(directory);
        }
    }

    @Override
    public boolean removeUnreferenced(NodeId node) throws ImageException {
        if (node.type() == NodeId.Type.LAYER) {
            Long finished = unlinkedLayers.get(node.key());
            if (finished != null) {
                if (System.nanoTime() - finished < LINK_NANOS) {
                    return false;
                }
                unlinkedLayers.remove(node.key(), finished);
            }
        }
        beginChange();
        Optional<Long> directory = metadata.removeUnreferenced(node);
        directory.ifPresent(trash::add);
        return directory.isPresent();
    }

    @Override
    public void sync(String view, List<String> names) throws ImageException {
        requireFiles(view, names);
        durability.flush();
        // Also what a sync took back that somebody else had asked for.
        requireFiles(view, names);
    }

    private void requireFiles(String view, List<String> names) throws ImageException {
        for (String name : names) {
            metadata.lowers(view, name);
        }
    }

    @Override
    public void mount(List<Mount> mounts, Path target) throws ImageException {
        MountCalls.mount(mounts, target);
    }

    @Override
    public void unmount(Path target) throws ImageException {
        MountCalls.unmount(target);
    }

    /// Deletes what waits for it; an error names what could not be deleted.
    void cleanup() throws ImageException {
        List<ImageException> failures = trash.empty();
        if (!failures.isEmpty()) {
            ImageException first = failures.getFirst();
            throw new ImageException(
                    first.kind(),
                    "cleanup: %d directories cannot be deleted, the first: %s"
                            .formatted(failures.size(), first.getMessage()),
                    first);
        }
    }

    @Override
    public void close() throws ImageException {
        synchronized (sessionLock) {
            if (closed) {
                return;
            }
            closed = true;
        }
        worker.shutdown();
        deleter.shutdownNow();
        writer.shutdown();
        List<ImageException> failures = new ArrayList<>();
        await(worker);
        await(deleter);
        await(writer);
        try {
            if (options.syncOnClose()) {
                durability.flush();
            }
        } catch (ImageException e) {
            failures.add(e);
        }
        failures.addAll(trash.moveQueued());
        if (failures.isEmpty() && changing && !leavesOrphans) {
            metadata.sessionClosed();
        }
        directories.close();
        if (!failures.isEmpty()) {
            throw failures.getFirst();
        }
    }

    private static void await(ScheduledThreadPoolExecutor executor) {
        boolean interrupted = false;
        while (true) {
            try {
                if (executor.awaitTermination(1, TimeUnit.DAYS)) {
                    break;
                }
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    // ---- for the views

    SnapshotMetadata metadata() {
        return metadata;
    }

    SnapshotDirectories directories() {
        return directories;
    }

    MountShapes shapes() {
        return shapes;
    }

    OverlayOptions options() {
        return options;
    }

    String bootId() {
        return bootId;
    }

    WriteBehind writeBehind() {
        return writeBehind;
    }

    Trash trash() {
        return trash;
    }

    UsageMeter meter() {
        return meter;
    }

    Durability durability() {
        return durability;
    }

    /// Runs work that nobody waits for, or drops it while the service closes.
    void inBackground(Runnable work) {
        try {
            worker.execute(work);
        } catch (RejectedExecutionException e) {
            log.debug("closing: dropped background work");
        }
    }

    /// The files of a committed snapshot and its ancestors, nearest first; the caller closes them.
    List<Fd> openLowers(String view, String name) throws ImageException {
        List<Fd> opened = new ArrayList<>();
        if (name.isEmpty()) {
            return opened;
        }
        try {
            for (long directory : metadata.lowers(view, name)) {
                opened.add(directories.openFiles(directory));
            }
            return opened;
        } catch (ImageException e) {
            for (Fd fd : opened) {
                try {
                    fd.close();
                } catch (ErrnoException closing) {
                    e.addSuppressed(closing);
                }
            }
            throw e;
        }
    }
}
