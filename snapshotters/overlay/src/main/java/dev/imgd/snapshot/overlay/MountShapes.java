package dev.imgd.snapshot.overlay;

import dev.imgd.model.ImageException;
import dev.imgd.model.Text;
import dev.imgd.snapshot.Kind;
import dev.imgd.snapshot.Mount;
import dev.imgd.snapshot.SnapshotStack;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/// How a snapshot is mounted: exactly one bind or overlay mount.
///
/// Without a parent it is a bind of its own files; a view of one layer is a read-only bind of that
/// layer; all else is an overlay whose options come in the order in which containerd gives them,
/// because its fast path and its compaction of long options read them. Immutable. **Source:**
/// containerd `plugins/snapshots/overlay/overlay.go`.
final class MountShapes {
    /// **Source:** Linux `fs/overlayfs/params.h` OVL_MAX_STACK.
    private static final int MAX_LAYERS = 500;

    private final SnapshotDirectories directories;
    private final boolean remapIds;
    private final List<String> overlayOptions;

    MountShapes(SnapshotDirectories directories, OverlayOptions options) {
        this.directories = directories;
        this.remapIds = options.remapIds();
        List<String> extra = new ArrayList<>(options.mountOptions());
        if (inUserNamespace() && !extra.contains("userxattr")) {
            extra.add("userxattr");
        }
        if (extra.stream().noneMatch(option -> option.startsWith("index="))
                && Files.exists(Path.of("/sys/module/overlay/parameters/index"))) {
            extra.add("index=off");
        }
        this.overlayOptions = List.copyOf(extra);
    }

    /// In a user namespace overlayfs may not write `trusted.` attributes.
    private static boolean inUserNamespace() {
        try {
            String map = Files.readString(Path.of("/proc/self/uid_map")).strip();
            return !map.endsWith("4294967295") || !map.startsWith("0 ");
        } catch (IOException e) {
            // Kernels without user namespaces have no such file.
            return false;
        }
    }

    /// @throws ImageException `FAILED_PRECONDITION` for a committed snapshot, `INVALID_ARGUMENT`
    ///   for more layers than overlayfs stacks
    List<Mount> of(SnapshotStack stack) throws ImageException {
        Kind kind = stack.top().info().kind();
        long own = stack.top().directory();
        List<Long> lowers = stack.lowers();
        String name = Text.printable(stack.top().info().name(), 200);
        if (kind == Kind.COMMITTED) {
            throw ImageException.failedPrecondition(
                    "mounts of snapshot %s: wanted an active one or a view, got a committed one"
                            .formatted(name));
        }
        if (lowers.size() > MAX_LAYERS) {
            throw ImageException.invalidArgument(
                    "snapshot %s: it has %d layers, overlayfs stacks at most %d; squash the image"
                            .formatted(name, lowers.size(), MAX_LAYERS));
        }
        List<String> options = new ArrayList<>();
        if (remapIds) {
            Optional<IdMapping> mapping = IdMapping.of(stack.top().info().labels());
            if (mapping.isPresent()) {
                options.add("uidmap=" + mapping.get().uids());
                options.add("gidmap=" + mapping.get().gids());
            }
        }
        if (lowers.isEmpty()) {
            return bind(own, kind == Kind.VIEW ? "ro" : "rw", options);
        }
        if (kind == Kind.ACTIVE) {
            options.add("workdir=" + directories.work(own));
            options.add("upperdir=" + directories.files(own));
        } else if (lowers.size() == 1) {
            return bind(lowers.getFirst(), "ro", options);
        }
        StringBuilder paths = new StringBuilder("lowerdir=");
        for (int i = 0; i < lowers.size(); i++) {
            paths.append(i == 0 ? "" : ":").append(directories.files(lowers.get(i)));
        }
        options.add(paths.toString());
        options.addAll(overlayOptions);
        return List.of(new Mount("overlay", "overlay", options));
    }

    private List<Mount> bind(long id, String access, List<String> options) {
        options.add(access);
        options.add("rbind");
        return List.of(new Mount("bind", directories.files(id), options));
    }
}
