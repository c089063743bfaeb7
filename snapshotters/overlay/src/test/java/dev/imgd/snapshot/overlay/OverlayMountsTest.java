package dev.imgd.snapshot.overlay;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.snapshot.Kind;
import dev.imgd.snapshot.Mount;
import dev.imgd.snapshot.SnapshotMetadata;
import dev.imgd.snapshot.Snapshotter;
import dev.imgd.snapshot.overlay.SnapshotDirectories.Owner;
import dev.imgd.testkit.MemoryDatabase;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// The shapes of mounts, which containerd's own fast paths read.
class OverlayMountsTest {
    private static final OverlayOptions OPTIONS = OverlayOptions.defaults().withSyncOnClose(false);
    private static final List<String> INDEX_OFF =
            Files.exists(Path.of("/sys/module/overlay/parameters/index"))
                    ? List.of("index=off")
                    : List.of();

    @TempDir Path root;
    private OverlaySnapshotService service;
    private Snapshotter view;

    @BeforeEach
    void open() throws ImageException {
        service = OverlaySnapshotService.open(root, new MemoryDatabase(), OPTIONS);
        view = service.view("v");
    }

    @AfterEach
    void close() throws ImageException {
        service.close();
    }

    private String directory(String key) throws ImageException {
        long id = service.metadata().require("v", key).directory();
        return root.toAbsolutePath() + "/snapshots/" + Long.toString(id, 36);
    }

    private void commit(String name, String parent) throws ImageException {
        view.prepare("work", parent, Map.of());
        view.commit(name, "work", Map.of(), "");
    }

    private static List<String> with(List<String> options, List<String> more) {
        List<String> all = new ArrayList<>(options);
        all.addAll(more);
        return all;
    }

    @Test
    void withoutParent_bindOfOwnFiles() throws ImageException {
        List<Mount> mounts = view.prepare("k", "", Map.of());
        assertEquals(
                List.of(new Mount("bind", directory("k") + "/fs", List.of("rw", "rbind"))), mounts);
        assertEquals(mounts, view.mounts("k"));
        List<Mount> readOnly = view.view("v", "", Map.of());
        assertEquals(
                List.of(new Mount("bind", directory("v") + "/fs", List.of("ro", "rbind"))),
                readOnly);
    }

    @Test
    void onLayers_overlayWithOptionsInContainerdsOrder() throws ImageException {
        commit("a", "");
        commit("b", "a");
        commit("c", "b");
        List<Mount> active = view.prepare("k", "c", Map.of());
        String lowers =
                "lowerdir=%s/fs:%s/fs:%s/fs"
                        .formatted(directory("c"), directory("b"), directory("a"));
        assertEquals(
                List.of(
                        new Mount(
                                "overlay",
                                "overlay",
                                with(
                                        List.of(
                                                "workdir=" + directory("k") + "/work",
                                                "upperdir=" + directory("k") + "/fs",
                                                lowers),
                                        INDEX_OFF))),
                active);
        assertEquals(
                List.of(new Mount("overlay", "overlay", with(List.of(lowers), INDEX_OFF))),
                view.view("v3", "c", Map.of()));
        assertEquals(
                List.of(new Mount("bind", directory("a") + "/fs", List.of("ro", "rbind"))),
                view.view("v1", "a", Map.of()));
        assertEquals(
                0, service.metadata().require("v", "v1").directory(), "a view needs no directory");
    }

    @Test
    void directories_haveContainerdsModes() throws Exception {
        commit("a", "");
        view.prepare("k", "a", Map.of());
        assertEquals(
                "rwxr-xr-x",
                PosixFilePermissions.toString(
                        Files.getPosixFilePermissions(Path.of(directory("k"), "fs"))));
        assertEquals(
                "rwx--x--x",
                PosixFilePermissions.toString(
                        Files.getPosixFilePermissions(Path.of(directory("k"), "work"))));
        assertEquals(
                "rwx------", PosixFilePermissions.toString(Files.getPosixFilePermissions(root)));
    }

    @Test
    void manyLayers_optionsFitOnePageOnceTheCommonDirectoryIsCutOff() throws ImageException {
        String parent = "";
        for (int i = 0; i < 128; i++) {
            commit("l" + i, parent);
            parent = "l" + i;
        }
        String lowers = view.prepare("k", parent, Map.of()).getFirst().options().get(2);
        String common = root.toAbsolutePath() + "/snapshots/";
        assertTrue(lowers.replace(common, "").length() < 1500, lowers);
    }

    @Test
    void tooManyLayers_sayHowManyFit() throws ImageException {
        String parent = "";
        SnapshotMetadata rows = service.metadata();
        for (int i = 0; i < 499; i++) {
            rows.create("v", "work", Kind.ACTIVE, parent, Map.of(), rows.newDirectory());
            rows.commit("v", "l" + i, "work", Map.of(), "", "boot");
            parent = "l" + i;
        }
        for (int i = 499; i <= 500; i++) {
            rows.create("v", "work", Kind.ACTIVE, parent, Map.of(), rows.newDirectory());
            service.directories()
                    .create(rows.require("v", "work").directory(), false, new Owner(0, 0));
            rows.commit("v", "l" + i, "work", Map.of(), "", "boot");
            parent = "l" + i;
        }
        String top = parent;
        ImageException error =
                assertThrows(ImageException.class, () -> view.view("k", top, Map.of()));
        assertEquals(ErrorKind.INVALID_ARGUMENT, error.kind());
        assertTrue(error.getMessage().contains("at most 500"), error.getMessage());
        ImageException gone = assertThrows(ImageException.class, () -> view.stat("k"));
        assertEquals(ErrorKind.NOT_FOUND, gone.kind());
        String lowers = view.view("k", "l499", Map.of()).getFirst().options().getFirst();
        assertEquals(500, lowers.split(":", -1).length);
    }

    @Test
    void idMapping_ofAContainer_mapsMountAndOwnsRoot() throws Exception {
        commit("a", "");
        Map<String, String> labels =
                Map.of(
                        IdMapping.UID_LABEL, "1:5000:10,0:1000:1",
                        IdMapping.GID_LABEL, "0:2000:65536");
        List<String> options = view.prepare("k", "a", labels).getFirst().options();
        assertEquals("uidmap=1:5000:10,0:1000:1", options.get(0));
        assertEquals("gidmap=0:2000:65536", options.get(1));
        Path files = Path.of(directory("k"), "fs");
        assertEquals(1000, Files.getAttribute(files, "unix:uid", LinkOption.NOFOLLOW_LINKS));
        assertEquals(2000, Files.getAttribute(files, "unix:gid", LinkOption.NOFOLLOW_LINKS));
        assertEquals(
                List.of("uidmap=1:5000:10,0:1000:1", "gidmap=0:2000:65536", "ro", "rbind"),
                view.view("v", "a", labels).getFirst().options());
    }

    @Test
    void idMapping_besideATargetLabel_isAnImagesAnnotationAndIgnored() throws Exception {
        Map<String, String> labels =
                Map.of(
                        IdMapping.UID_LABEL, "0:1000:1",
                        IdMapping.GID_LABEL, "0:1000:1",
                        SnapshotMetadata.REF_LABEL, "sha256:x");
        assertEquals(
                List.of("rw", "rbind"),
                view.prepare("extract-1 sha256:x", "", labels).getFirst().options());
        Path files = Path.of(directory("extract-1 sha256:x"), "fs");
        assertEquals(0, Files.getAttribute(files, "unix:uid", LinkOption.NOFOLLOW_LINKS));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "0:1000",
                "0:1000:0",
                "a:1:1",
                "0:-1:5",
                "0:1:1:1",
                "0:4294967295:1",
                "1:1:1",
                "0:1:1,",
                "0:4294967290:10",
                "99999999999:0:1",
                "0:1:1,\nupperdir=/"
            })
    void idMapping_malformed_isRefusedAndLeavesNothing(String mapping) {
        Map<String, String> labels =
                Map.of(IdMapping.UID_LABEL, mapping, IdMapping.GID_LABEL, "0:1:1");
        ImageException error =
                assertThrows(ImageException.class, () -> view.prepare("k", "", labels));
        assertEquals(ErrorKind.INVALID_ARGUMENT, error.kind(), error.getMessage());
        assertThrows(ImageException.class, () -> view.stat("k"));
    }

    @Test
    void options_extraAndLabel_areUsed(@TempDir Path other) throws ImageException {
        OverlayOptions options =
                OPTIONS.withMountOptions(List.of("index=on", "xino=off"))
                        .withUpperDirectoryLabel(true);
        try (OverlaySnapshotService configured =
                OverlaySnapshotService.open(other, new MemoryDatabase(), options)) {
            Snapshotter snapshots = configured.view("v");
            snapshots.prepare("w", "", Map.of());
            snapshots.commit("a", "w", Map.of(), "");
            List<String> got = snapshots.prepare("k", "a", Map.of()).getFirst().options();
            assertEquals(List.of("index=on", "xino=off"), got.subList(3, got.size()));
            assertEquals(
                    got.get(1).substring("upperdir=".length()),
                    snapshots.stat("k").labels().get("containerd.io/snapshot/overlay.upperdir"));
        }
        assertThrows(
                IllegalArgumentException.class, () -> OPTIONS.withMountOptions(List.of("a,b")));
    }

    @ParameterizedTest
    @ValueSource(strings = {"a:b", "a,b", "a\\b", "a\"b"})
    void root_thatOptionsCannotHold_isRefused(String name) {
        ImageException error =
                assertThrows(
                        ImageException.class,
                        () ->
                                OverlaySnapshotService.open(
                                        root.resolve(name), new MemoryDatabase(), OPTIONS));
        assertEquals(ErrorKind.INVALID_ARGUMENT, error.kind());
        assertFalse(Files.exists(root.resolve(name)));
    }
}
