package dev.imgd.faults;

import dev.imgd.content.ImageRecord;
import dev.imgd.content.LeaseStore;
import dev.imgd.image.ImageService.ImageSummary;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.snapshot.Mount;
import dev.imgd.snapshot.SnapshotService;
import dev.imgd.snapshot.Snapshotter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;

/// Opens a store after a cut, looks at everything in it, and says what it found.
///
/// ```
/// name <name> <digest>      an image, whole
/// snapshot <name>           the top snapshot of an image in the view, whole
/// part <name>               another snapshot of the view
/// lost <name>               a snapshot of the view that says that its files are lost
/// bad <text>                what must not be
/// end
/// ```
final class Checker {
    private final Path root;
    private final Path mount;

    private Checker(Path root, Path mount) {
        this.root = root;
        this.mount = mount;
    }

    /// @param args the store, an empty directory to mount at, `check` or `empty`
    public static void main(String[] args) throws Exception {
        Checker checker = new Checker(Path.of(args[0]), Path.of(args[1]));
        if (args[2].equals("empty")) {
            checker.empty();
        } else {
            List<String> found = checker.look();
            List<String> again = checker.look();
            found.forEach(System.out::println);
            if (!found.equals(again)) {
                System.out.println("bad the second start sees something else: " + again);
            }
        }
        System.out.println("end");
        System.out.flush();
    }

    private List<String> look() throws IOException {
        List<String> found = new ArrayList<>();
        try (Node node = new Node(root)) {
            node.images.verify(true).forEach(finding -> found.add("bad " + finding));
            for (ImageSummary image : node.images.list()) {
                requireFiles(node, image, found);
                node.images.mount(image.name(), mount, false);
                try {
                    Images.damage(mount)
                            .ifPresent(
                                    what -> found.add("bad %s: %s".formatted(image.name(), what)));
                } finally {
                    node.images.unmount(mount);
                }
                found.add("name %s %s".formatted(image.name(), image.digest()));
            }
            List<String> names = new ArrayList<>();
            node.snapshots.view(Node.VIEW).walk(List.of(), info -> names.add(info.name()));
            for (String name : names) {
                found.add(snapshot(node, name));
            }
        }
        return found;
    }

    /// A mount would unpack again what was lost; a name may not lose anything.
    private static void requireFiles(Node node, ImageSummary image, List<String> found)
            throws ImageException {
        ImageRecord record = node.store.images().find("default", image.name()).orElseThrow();
        for (String top : record.snapshots()) {
            try {
                String chainId = top.substring(SnapshotService.LOCAL.length() + 1);
                node.snapshots.sync(SnapshotService.LOCAL, List.of(chainId));
            } catch (ImageException e) {
                found.add("bad %s: %s".formatted(image.name(), e.getMessage()));
            }
        }
    }

    private String snapshot(Node node, String name) throws IOException {
        List<Mount> mounts;
        try {
            mounts = node.snapshots.view(Node.VIEW).view("looking", name, Map.of());
        } catch (ImageException e) {
            return (e.kind() == ErrorKind.DATA_LOSS ? "lost " : "bad " + e + " ") + name;
        }
        try {
            node.snapshots.mount(mounts, mount);
            try {
                // Only a top layer has the list of parts.
                if (Files.exists(mount.resolve("parts"))) {
                    return Images.damage(mount)
                            .map(what -> "bad %s: %s".formatted(name, what))
                            .orElse("snapshot " + name);
                }
                return "part " + name;
            } finally {
                node.snapshots.unmount(mount);
            }
        } finally {
            node.snapshots.view(Node.VIEW).remove("looking");
        }
    }

    /// Removes everything: then nothing may be left on the disk.
    private void empty() throws IOException {
        try (Node node = new Node(root)) {
            node.images.remove(node.images.list().stream().map(ImageSummary::name).toList());
            Snapshotter view = node.snapshots.view(Node.VIEW);
            Map<String, String> parents = new HashMap<>();
            view.walk(List.of(), info -> parents.put(info.name(), info.parent()) == null);
            while (!parents.isEmpty()) {
                Set<String> leaves = new HashSet<>(parents.keySet());
                leaves.removeAll(parents.values());
                for (String leaf : leaves) {
                    view.remove(leaf);
                    parents.remove(leaf);
                }
            }
            for (LeaseStore.Lease lease : node.store.leases().list("default")) {
                node.store.leases().delete("default", lease.id());
            }
            node.images.gc(false, false);
            node.images.verify(true).forEach(finding -> System.out.println("bad " + finding));
        }
        for (String place : List.of("blobs/sha256", "snapshots", "snapshots-trash", "trash")) {
            try (Stream<Path> left = Files.list(root.resolve(place))) {
                left.forEach(path -> System.out.println("bad left over: " + path));
            }
        }
    }
}
