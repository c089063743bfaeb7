package dev.imgd.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrnoException;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/// Real mounts, so it needs root. Whatever a test mounts below its directory is unmounted after it.
class MountsIT {
    @TempDir Path dir;
    private Path target;

    @BeforeEach
    void createTarget() throws IOException {
        target = Files.createDirectory(dir.resolve("target"));
    }

    @AfterEach
    void unmountAll() throws Exception {
        Deque<String> points = new ArrayDeque<>();
        for (MountInfo mount : MountInfo.list()) {
            if (mount.mountPoint().startsWith(dir + "/")) {
                points.push(mount.mountPoint());
            }
        }
        for (String point : points) {
            Mounts.umount2(point, Mounts.MNT_DETACH);
        }
    }

    private static ErrnoException assertErrno(int errno, Executable call) {
        ErrnoException e = assertThrows(ErrnoException.class, call);
        assertEquals(errno, e.errno(), e.getMessage());
        return e;
    }

    private Optional<MountInfo> mounted(Path point) throws ImageException {
        return MountInfo.list().stream()
                .filter(mount -> mount.mountPoint().equals(point.toString()))
                .reduce((_, last) -> last);
    }

    private String directory(String name) throws IOException {
        return Files.createDirectories(dir.resolve(name)).toString();
    }

    /// A layer with a file of its own and one that every layer has.
    private String layer(String name) throws IOException {
        Path layer = Path.of(directory(name));
        Files.writeString(layer.resolve("common"), name);
        Files.writeString(layer.resolve("only-" + layer.getFileName()), name);
        return layer.toString();
    }

    private int descriptors() throws IOException {
        try (var all = Files.list(Path.of("/proc/self/fd"))) {
            return (int) all.count();
        }
    }

    @Test
    void mount_tmpfs_isThereWithItsOptions() throws Exception {
        Mounts.mount(
                "word", target.toString(), "tmpfs", Mounts.MS_NOSUID | Mounts.MS_NODEV, "size=64k");
        MountInfo mount = mounted(target).orElseThrow();
        assertEquals("tmpfs", mount.type());
        assertEquals("word", mount.source());
        assertTrue(mount.options().containsAll(List.of("rw", "nosuid", "nodev")));
        assertTrue(mount.superOptions().contains("size=64k"));
        assertEquals(64 * 1024, Fs.statfs(target.toString()).blocks() * 4096);
        Mounts.umount2(target.toString(), 0);
        assertTrue(mounted(target).isEmpty());
    }

    @Test
    void mount_unknownType_saysWhatOnWhat() {
        ErrnoException e =
                assertErrno(
                        ErrnoException.ENODEV,
                        () -> Mounts.mount("x", target.toString(), "nofs", 0, ""));
        assertEquals("mount nofs x on " + target + ": No such device (errno 19)", e.getMessage());
    }

    @Test
    void umount2_notMounted_fails() {
        assertErrno(ErrnoException.EINVAL, () -> Mounts.umount2(target.toString(), 0));
    }

    @Test
    void umount2_busyMount_isBusyUnlessDetached() throws Exception {
        Mounts.mount("word", target.toString(), "tmpfs", 0, "");
        try (Fd inside = Fd.open(target.toString(), Fs.O_RDONLY, 0)) {
            assertErrno(ErrnoException.EBUSY, () -> Mounts.umount2(target.toString(), 0));
            Mounts.umount2(target.toString(), Mounts.MNT_DETACH | Mounts.UMOUNT_NOFOLLOW);
            assertEquals(StatFs.TMPFS_MAGIC, Fs.fstatfs(inside.fd()).type());
        }
        assertTrue(mounted(target).isEmpty());
    }

    @Test
    void fsopenToMoveMount_tmpfs_isAttachedOnlyAtTheEnd() throws Exception {
        int before = MountInfo.list().size();
        try (Fd config = Fd.of(Mounts.fsopen("tmpfs"))) {
            Mounts.fsconfigString(config.fd(), "size", "64k");
            Mounts.fsconfigFlag(config.fd(), "noswap");
            Mounts.fsconfigCreate(config.fd());
            try (Fd mount =
                    Fd.of(
                            Mounts.fsmount(
                                    config.fd(),
                                    Mounts.MOUNT_ATTR_NOEXEC | Mounts.MOUNT_ATTR_RDONLY))) {
                assertEquals(before, MountInfo.list().size());
                Mounts.moveMount(
                        mount.fd(),
                        "",
                        Fs.AT_FDCWD,
                        target.toString(),
                        Mounts.MOVE_MOUNT_F_EMPTY_PATH);
            }
        }
        MountInfo mount = mounted(target).orElseThrow();
        assertTrue(mount.options().containsAll(List.of("ro", "noexec")));
        assertFalse(mount.superOptions().contains("ro"));
        Mounts.mountSetattr(Fs.AT_FDCWD, target.toString(), 0, 0, Mounts.MOUNT_ATTR_RDONLY, 0, 0);
        Files.writeString(target.resolve("a"), "writable now");
    }

    @Test
    void fsconfig_unknownOption_tellsTheKernelsReason() throws Exception {
        try (Fd config = Fd.of(Mounts.fsopen("tmpfs"))) {
            ErrnoException e =
                    assertErrno(
                            ErrnoException.EINVAL,
                            () -> Mounts.fsconfigString(config.fd(), "nonsense", "1"));
            assertEquals("fsconfig", e.call());
            assertTrue(
                    e.getMessage()
                            .startsWith(
                                    "fsconfig nonsense=1: Invalid argument: tmpfs: Unknown"
                                            + " parameter 'nonsense'"),
                    e.getMessage());
        }
        assertErrno(ErrnoException.ENODEV, () -> Mounts.fsopen("nofs"));
    }

    @Test
    void fsconfigFd_overlayLayer_isAccepted() throws Exception {
        try (Fd config = Fd.of(Mounts.fsopen("overlay"));
                Fd layer = Fd.open(layer("layer"), Fs.O_PATH | Fs.O_DIRECTORY, 0)) {
            Mounts.fsconfigFd(config.fd(), "lowerdir+", layer.fd());
            assertErrno(
                    ErrnoException.EINVAL,
                    () -> Mounts.fsconfigFd(config.fd(), "xino", layer.fd()));
        }
    }

    @Test
    void mountOverlay_upperAndLower_mergesAndWritesAbove() throws Exception {
        List<String> lowers = List.of(layer("b"), layer("a"));
        int before = descriptors();
        Mounts.mountOverlay(
                lowers,
                directory("upper"),
                directory("work"),
                target.toString(),
                List.of("index=off", "xino=off"),
                false);
        assertEquals(before, descriptors());
        assertEquals("b", Files.readString(target.resolve("common")));
        assertEquals("a", Files.readString(target.resolve("only-a")));
        Files.writeString(target.resolve("common"), "changed");
        assertEquals("changed", Files.readString(dir.resolve("upper/common")));
        assertEquals("b", Files.readString(dir.resolve("b/common")));
        Files.delete(target.resolve("only-a"));
        Stat whiteout = Fs.statx(Fs.AT_FDCWD, dir + "/upper/only-a", 0, Fs.STATX_ALL);
        assertEquals(Fs.S_IFCHR, whiteout.type());
        MountInfo mount = mounted(target).orElseThrow();
        assertEquals("overlay", mount.type());
        assertEquals("overlay", mount.source());
        assertTrue(mount.superOptions().contains("lowerdir+=" + lowers.get(1)), mount.toString());
        assertEquals(StatFs.OVERLAYFS_MAGIC, Fs.statfs(target.toString()).type());
    }

    @Test
    void mountOverlay_withoutUpper_refusesWrites() throws Exception {
        Mounts.mountOverlay(
                List.of(layer("b"), layer("a")), null, null, target.toString(), List.of(), true);
        assertEquals("b", Files.readString(target.resolve("common")));
        assertThrows(
                FileSystemException.class, () -> Files.writeString(target.resolve("new"), "x"));
        assertTrue(mounted(target).orElseThrow().isReadOnly());
    }

    @Test
    void mountOverlay_readOnlyWithUpper_refusesWrites() throws Exception {
        Mounts.mountOverlay(
                List.of(layer("a")),
                directory("upper"),
                directory("work"),
                target.toString(),
                List.of(),
                true);
        assertThrows(
                FileSystemException.class, () -> Files.writeString(target.resolve("new"), "x"));
    }

    @Test
    void mountOverlay_moreLayersThanAPageHolds_showsThemAll() throws Exception {
        List<String> lowers = new ArrayList<>();
        for (int i = 0; i < 499; i++) {
            lowers.add(layer("layers/of-a-very-long-name-that-fills-a-page-soon/" + i));
        }
        Mounts.mountOverlay(
                lowers, directory("upper"), directory("work"), target.toString(), List.of(), false);
        for (int i = 0; i < lowers.size(); i++) {
            assertTrue(Files.exists(target.resolve("only-" + i)), "layer " + i);
        }
        assertTrue(Files.readString(target.resolve("common")).endsWith("/0"));
    }

    @Test
    void mountOverlay_awkwardPaths_areMounted() throws Exception {
        String longName = "n".repeat(200);
        String far = layer(longName + "/" + longName + "/c");
        List<String> lowers =
                List.of(layer("a:b"), layer("a,b"), layer("a\\b"), layer("a b"), layer("ü€"), far);
        String upper = directory("upper:,\\ " + longName);
        int before = descriptors();
        for (boolean classic : new boolean[] {false, true}) {
            Mounts.Overlay overlay =
                    new Mounts.Overlay(
                            lowers,
                            upper,
                            directory("work:,\\ "),
                            target.toString(),
                            List.of(),
                            false);
            if (classic) {
                overlay.mountByData();
            } else {
                overlay.mountByDescriptors();
            }
            for (String lower : lowers) {
                assertTrue(
                        Files.exists(target.resolve("only-" + Path.of(lower).getFileName())),
                        lower);
            }
            Files.writeString(target.resolve("new"), "" + classic);
            assertEquals("" + classic, Files.readString(Path.of(upper, "new")));
            Mounts.umount2(target.toString(), 0);
            assertEquals(before, descriptors());
        }
    }

    @Test
    void mountOverlay_classicWithManyLayers_shortensTheirPaths() throws Exception {
        List<String> lowers = new ArrayList<>();
        for (int i = 0; i < 180; i++) {
            lowers.add(layer("layers/of-a-very-long-name-that-fills-a-page-soon/" + i));
        }
        int before = descriptors();
        new Mounts.Overlay(lowers, null, null, target.toString(), List.of(), true).mountByData();
        assertEquals(before, descriptors());
        for (int i = 0; i < lowers.size(); i++) {
            assertTrue(Files.exists(target.resolve("only-" + i)), "layer " + i);
        }
    }

    @Test
    void mountOverlay_badOption_tellsTheKernelsReasonAndLeavesNothing() throws Exception {
        int before = descriptors();
        String layer = layer("a");
        String upper = directory("upper");
        String work = directory("work");
        ErrnoException e =
                assertErrno(
                        ErrnoException.EINVAL,
                        () ->
                                Mounts.mountOverlay(
                                        List.of(layer),
                                        upper,
                                        work,
                                        target.toString(),
                                        List.of("nonsense=1"),
                                        false));
        assertTrue(e.getMessage().contains("nonsense"), e.getMessage());
        assertEquals(1, e.getSuppressed().length);
        assertTrue(mounted(target).isEmpty());
        assertEquals(before, descriptors());
    }

    @Test
    void mountOverlay_missingLayer_fails() {
        assertErrno(
                ErrnoException.ENOENT,
                () ->
                        Mounts.mountOverlay(
                                List.of(dir + "/none", dir + "/neither"),
                                null,
                                null,
                                target.toString(),
                                List.of(),
                                true));
        assertThrows(
                IllegalArgumentException.class,
                () -> Mounts.mountOverlay(List.of(), null, null, "/x", List.of(), true));
        assertThrows(
                IllegalArgumentException.class,
                () -> Mounts.mountOverlay(List.of("/a"), "/b", null, "/x", List.of(), true));
    }

    @Test
    void bind_recursiveReadOnly_coversWhatIsBelow() throws Exception {
        String source = layer("source");
        Mounts.mount("word", directory("source/below"), "tmpfs", Mounts.MS_NOSUID, "");
        Files.writeString(Path.of(source, "below/inner"), "inner");
        Mounts.bind(source, target.toString(), true, true);
        assertEquals("inner", Files.readString(target.resolve("below/inner")));
        for (String file : List.of("new", "below/new")) {
            assertThrows(
                    FileSystemException.class, () -> Files.writeString(target.resolve(file), "x"));
        }
        Files.writeString(Path.of(source, "new"), "the source stays writable");
        assertEquals("the source stays writable", Files.readString(target.resolve("new")));
    }

    @Test
    void bind_notRecursive_leavesOutWhatIsBelow() throws Exception {
        String source = layer("source");
        Mounts.mount("word", directory("source/below"), "tmpfs", 0, "");
        Files.writeString(Path.of(source, "below/inner"), "inner");
        Mounts.bind(source, target.toString(), false, false);
        assertFalse(Files.exists(target.resolve("below/inner")));
        Files.writeString(target.resolve("new"), "x");
        assertTrue(Files.exists(Path.of(source, "new")));
    }

    @Test
    void bindClassic_readOnly_keepsTheOtherFlags() throws Exception {
        Path source = Path.of(directory("source"));
        Mounts.mount(
                "word",
                source.toString(),
                "tmpfs",
                Mounts.MS_NOSUID | Mounts.MS_NODEV | Mounts.MS_NOEXEC,
                "");
        Mounts.bindClassic(source.toString(), target.toString(), true, true);
        MountInfo mount = mounted(target).orElseThrow();
        assertTrue(
                mount.options().containsAll(List.of("ro", "nosuid", "nodev", "noexec", "relatime")),
                mount.toString());
        assertFalse(mounted(source).orElseThrow().isReadOnly());
    }

    @Test
    void bind_missingSource_fails() {
        ErrnoException e =
                assertErrno(
                        ErrnoException.ENOENT,
                        () -> Mounts.bind(dir + "/none", target.toString(), true, false));
        assertTrue(e.getMessage().startsWith("open_tree " + dir + "/none: "), e.getMessage());
    }
}
