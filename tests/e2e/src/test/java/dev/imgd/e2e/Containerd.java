package dev.imgd.e2e;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/// containerd with a store of its own, its CRI plugin, and imgd as a proxy plugin.
final class Containerd extends Background {
    private final Path address;

    private Containerd(Path directory, Path config, Path address) {
        super("containerd", directory.resolve("log"), "containerd", "--config", config);
        this.address = address;
        await(() -> accepts(address));
    }

    /// Starts it.
    ///
    /// @param snapshotter the snapshotter of the CRI plugin
    /// @param proxy the socket of the proxy plugin `imgd`
    static Containerd start(Path directory, String snapshotter, Path proxy) throws IOException {
        return start(directory, snapshotter, proxy, "");
    }

    /// Starts it with more lines in its configuration.
    static Containerd start(Path directory, String snapshotter, Path proxy, String more)
            throws IOException {
        Files.createDirectories(directory);
        Path address = directory.resolve("c.sock");
        Path config = directory.resolve("config.toml");
        Files.writeString(
                config,
                """
                version = 2
                root = "%1$s/root"
                state = "%1$s/state"
                disabled_plugins = [
                  "io.containerd.snapshotter.v1.aufs",
                  "io.containerd.snapshotter.v1.btrfs",
                  "io.containerd.snapshotter.v1.devmapper",
                  "io.containerd.snapshotter.v1.zfs",
                ]
                [grpc]
                  address = "%2$s"
                [proxy_plugins.imgd]
                  type = "snapshot"
                  address = "%3$s"
                [plugins."io.containerd.internal.v1.opt"]
                  path = "%1$s/opt"
                [plugins."io.containerd.grpc.v1.cri".containerd]
                  snapshotter = "%4$s"
                  disable_snapshot_annotations = false
                [plugins."io.containerd.grpc.v1.cri".cni]
                  bin_dir = "%1$s/cni/bin"
                  conf_dir = "%1$s/cni/conf"
                """
                                .formatted(directory, address, proxy, snapshotter)
                        + more);
        return new Containerd(directory, config, address);
    }

    /// A `ctr` command.
    Program ctr(Object... words) {
        return client("ctr", words);
    }

    /// Waits until it reaches imgd again after a restart; it dials with growing pauses.
    ///
    /// @param namespace one that has snapshots, or it would not ask imgd
    void awaitProxy(String namespace) {
        Await.until(
                "containerd reaches imgd",
                Duration.ofSeconds(30),
                () -> snapshots(namespace, "imgd", "ls").run().exit() == 0);
    }

    /// The tree that a container of an image would see: that of the snapshot made for it.
    ///
    /// `ctr images mount` is of no use here, since it takes no notice of its option
    /// `--snapshotter`, and a view without a container is garbage to containerd.
    ///
    /// @param mountpoint an empty directory
    Tree tree(String namespace, String snapshotter, String reference, Path mountpoint) {
        ctr(
                        "-n",
                        namespace,
                        "containers",
                        "create",
                        "--snapshotter",
                        snapshotter,
                        reference,
                        "tree")
                .ok();
        try {
            String mount = snapshots(namespace, snapshotter, "mounts", mountpoint, "tree").ok();
            Program.of("sh", "-euc", mount).ok();
            try {
                return Tree.of(mountpoint);
            } finally {
                Program.of("umount", mountpoint).ok();
            }
        } finally {
            ctr("-n", namespace, "containers", "rm", "tree").ok();
        }
    }

    /// A `ctr snapshots` command.
    Program snapshots(String namespace, String snapshotter, Object... words) {
        List<Object> all =
                new ArrayList<>(
                        List.of(
                                "--namespace",
                                namespace,
                                "snapshots",
                                "--snapshotter",
                                snapshotter));
        all.addAll(List.of(words));
        return ctr(all.toArray());
    }

    /// A command of stargz-snapshotter's `ctr-remote`.
    Program ctrRemote(Object... words) {
        return client("ctr-remote", words);
    }

    private Program client(String program, Object... words) {
        List<Object> all = new ArrayList<>(List.of(program, "--address", address));
        all.addAll(List.of(words));
        return Program.of(all.toArray());
    }

    /// A client of its CRI image service; the caller closes it.
    Cri cri() {
        return new Cri(address);
    }
}
