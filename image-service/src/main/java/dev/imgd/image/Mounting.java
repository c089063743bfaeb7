package dev.imgd.image;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Text;
import dev.imgd.snapshot.Mount;
import dev.imgd.snapshot.SnapshotInfo;
import dev.imgd.snapshot.SnapshotService;
import dev.imgd.snapshot.Snapshotter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// Mounts of images at directories of users. The snapshot's key holds the directory, so that a
/// later process can undo the mount, and so that the image's layers live as long as it.
/// Thread-safe: one mount is made or undone at a time.
final class Mounting {
    private static final String KEY = "mount:";
    private static final int MOUNTS_SHOWN = 10;
    private static final int PATH_CHARS_SHOWN = 300;

    private final SnapshotService snapshots;

    Mounting(SnapshotService snapshots) {
        this.snapshots = snapshots;
    }

    /// @param top the name of the top snapshot
    /// @param directory absolute; created when absent
    synchronized void mount(String top, Path directory, boolean writable) throws ImageException {
        Snapshotter view = snapshots.view(SnapshotService.LOCAL);
        Path target = create(directory);
        String key = KEY + target;
        if (MountTable.isMounted(target)) {
            throw ImageException.failedPrecondition(
                    "mount at %s: something is mounted there; choose another directory or unmount it"
                            .formatted(target));
        }
        // What is in the store but not mounted was left by a reboot or by somebody's umount.
        removeIfPresent(view, key);
        List<Mount> mounts =
                writable ? view.prepare(key, top, Map.of()) : view.view(key, top, Map.of());
        boolean mounted = false;
        try {
            snapshots.mount(mounts, target);
            mounted = true;
        } finally {
            if (!mounted) {
                removeIfPresent(view, key);
            }
        }
    }

    private static Path create(Path directory) throws ImageException {
        try {
            Files.createDirectories(directory);
            return directory.toRealPath();
        } catch (IOException e) {
            throw new ImageException(
                    ErrorKind.PERMISSION_DENIED,
                    "mount at %s: cannot create the directory: %s"
                            .formatted(directory, e.getMessage()),
                    e);
        }
    }

    /// Remembers something about a mount, to be given back when it is undone.
    void note(Path directory, Map<String, String> labels) throws ImageException {
        var _ =
                snapshots
                        .view(SnapshotService.LOCAL)
                        .update(KEY + real(directory), labels, List.of());
    }

    /// Undoes a mount; `directory` may also be that of a bundle.
    synchronized void unmount(Path directory) throws ImageException {
        Snapshotter view = snapshots.view(SnapshotService.LOCAL);
        Path real = real(directory);
        Path target = real;
        Optional<SnapshotInfo> known = find(view, KEY + target);
        if (known.isEmpty()) {
            target = real.resolve(RuntimeBundle.ROOTFS);
            known = find(view, KEY + target);
        }
        if (known.isEmpty()) {
            throw ImageException.failedPrecondition(
                    "unmount %s: wanted a mount or bundle of this store, got %s; the store's mounts: %s"
                            .formatted(shown(directory), found(real), known(view)));
        }
        if (MountTable.isMounted(target)) {
            snapshots.unmount(target);
        }
        RuntimeBundle.remove(target, known.get().labels());
        removeIfPresent(view, KEY + target);
    }

    private static String found(Path directory) throws ImageException {
        Optional<String> type = MountTable.typeAt(directory);
        if (type.isPresent()) {
            return "a mount of type %s by somebody else, which is undone with: umount %s"
                    .formatted(type.get(), shown(directory));
        }
        return !Files.exists(directory)
                ? "a path that does not exist"
                : Files.isDirectory(directory)
                        ? "a directory where nothing is mounted"
                        : "a file where nothing is mounted";
    }

    /// Some of the directories that images are mounted at, for an error message.
    private static String known(Snapshotter view) throws ImageException {
        List<String> some = new ArrayList<>();
        view.walk(
                List.of(),
                snapshot -> {
                    if (snapshot.name().startsWith(KEY)) {
                        some.add(shown(Path.of(snapshot.name().substring(KEY.length()))));
                    }
                    return some.size() <= MOUNTS_SHOWN;
                });
        if (some.size() > MOUNTS_SHOWN) {
            some.set(MOUNTS_SHOWN, "…");
        }
        return some.isEmpty() ? "none" : String.join(", ", some);
    }

    private static String shown(Path directory) {
        return Text.printable(directory.toString(), PATH_CHARS_SHOWN);
    }

    private static Path real(Path directory) {
        try {
            return directory.toRealPath();
        } catch (IOException e) {
            return directory; // gone already; its snapshot can still be removed
        }
    }

    private static Optional<SnapshotInfo> find(Snapshotter view, String key) throws ImageException {
        try {
            return Optional.of(view.stat(key));
        } catch (ImageException e) {
            if (e.kind() == ErrorKind.NOT_FOUND) {
                return Optional.empty();
            }
            throw e;
        }
    }

    private static void removeIfPresent(Snapshotter view, String key) throws ImageException {
        if (find(view, key).isPresent()) {
            view.remove(key);
        }
    }
}
