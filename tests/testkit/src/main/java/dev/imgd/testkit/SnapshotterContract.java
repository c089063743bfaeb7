package dev.imgd.testkit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.content.Database;
import dev.imgd.content.NodeId;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.snapshot.Kind;
import dev.imgd.snapshot.Mount;
import dev.imgd.snapshot.SnapshotInfo;
import dev.imgd.snapshot.SnapshotService;
import dev.imgd.snapshot.SnapshotService.Staging;
import dev.imgd.snapshot.Snapshotter;
import dev.imgd.snapshot.Usage;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/// What every [SnapshotService] promises, with real mounts: containerd's own suite, and the views
/// and layers that imgd adds. A back end's test class implements [#open] and nothing else. Needs
/// root. **Source:** containerd `core/snapshots/testsuite`,
/// `core/snapshots/storage/metastore_test.go`.
public interface SnapshotterContract {
    /// Opens the back end under test; called again with the same arguments after closing.
    SnapshotService open(Path root, Database database) throws ImageException;

    /// What a test does at a mounted snapshot.
    @FunctionalInterface
    interface Visit {
        void at(Path directory) throws IOException;
    }

    // ---- helpers

    /// Mounts, visits and unmounts.
    static void mounted(SnapshotService service, List<Mount> mounts, Visit visit)
            throws IOException {
        Path target = Files.createTempDirectory("imgd-contract-mount");
        try {
            service.mount(mounts, target);
            try {
                visit.at(target);
            } finally {
                service.unmount(target);
            }
        } finally {
            Files.delete(target);
        }
    }

    /// Builds a committed snapshot from what `visit` does to its mount.
    private static void layer(
            SnapshotService service, Snapshotter view, String name, String parent, Visit visit)
            throws IOException {
        mounted(service, view.prepare("work-" + name, parent, Map.of()), visit);
        view.commit(name, "work-" + name, Map.of(), "");
    }

    /// Asserts what a view of a committed snapshot looks like.
    private static void seen(SnapshotService service, Snapshotter view, String name, Visit visit)
            throws IOException {
        mounted(service, view.view("view-" + name, name, Map.of()), visit);
        view.remove("view-" + name);
    }

    private static void write(Path file, String content) throws IOException {
        Files.writeString(file, content);
    }

    private static void chown(Path file, int uid, int gid) throws IOException {
        Files.setAttribute(file, "unix:uid", uid, LinkOption.NOFOLLOW_LINKS);
        Files.setAttribute(file, "unix:gid", gid, LinkOption.NOFOLLOW_LINKS);
    }

    private static String mode(Path file) throws IOException {
        return PosixFilePermissions.toString(
                Files.getPosixFilePermissions(file, LinkOption.NOFOLLOW_LINKS));
    }

    private static String owner(Path file) throws IOException {
        return Files.getAttribute(file, "unix:uid", LinkOption.NOFOLLOW_LINKS)
                + ":"
                + Files.getAttribute(file, "unix:gid", LinkOption.NOFOLLOW_LINKS);
    }

    /// Relative path to type, mode, owner and content of everything below a directory.
    private static Map<String, String> tree(Path root) throws IOException {
        Map<String, String> tree = new TreeMap<>();
        try (Stream<Path> files = Files.walk(root)) {
            for (Path file : (Iterable<Path>) files::iterator) {
                String content =
                        Files.isDirectory(file, LinkOption.NOFOLLOW_LINKS)
                                ? "directory"
                                : Files.readString(file);
                tree.put(
                        root.relativize(file).toString(),
                        mode(file) + " " + owner(file) + " " + content);
            }
        }
        return tree;
    }

    private static void fails(ErrorKind kind, Executable call) {
        ImageException error = assertThrows(ImageException.class, call);
        assertEquals(kind, error.kind(), error.getMessage());
    }

    private static List<SnapshotInfo> list(Snapshotter view, String... filters)
            throws ImageException {
        List<SnapshotInfo> infos = new ArrayList<>();
        view.walk(List.of(filters), infos::add);
        return infos;
    }

    private static Set<String> names(Snapshotter view, String... filters) throws ImageException {
        Set<String> names = new HashSet<>();
        for (SnapshotInfo info : list(view, filters)) {
            assertTrue(names.add(info.name()), "twice: " + info.name());
        }
        return names;
    }

    private static Digest digest(String text) {
        return Digest.sha256(text.getBytes(StandardCharsets.UTF_8));
    }

    // ---- containerd's suite

    @Test
    default void basic_twoLayers_viewShowsBothAndParentsStay(@TempDir Path root)
            throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter view = service.view("suite");
            Map<String, String> wanted = new TreeMap<>();
            layer(
                    service,
                    view,
                    "base",
                    "",
                    m -> {
                        write(m.resolve("foo"), "foo\n");
                        Files.createDirectories(m.resolve("a/b/c"));
                        write(m.resolve("a/b/c/gone"), "x");
                        wanted.putAll(tree(m));
                    });
            fails(ErrorKind.NOT_FOUND, () -> view.stat("work-base"));
            mounted(
                    service,
                    view.prepare("next", "base", Map.of()),
                    m -> {
                        assertEquals(wanted, tree(m));
                        write(m.resolve("bar"), "bar\n");
                        write(m.resolve("foo"), "changed\n");
                        Files.delete(m.resolve("a/b/c/gone"));
                        Files.createDirectory(m.resolve("a/d"));
                        wanted.clear();
                        wanted.putAll(tree(m));
                    });
            SnapshotInfo active = view.stat("next");
            assertEquals("base", active.parent());
            assertEquals(Kind.ACTIVE, active.kind());
            view.commit("top", "next", Map.of(), "");
            SnapshotInfo top = view.stat("top");
            assertEquals("base", top.parent());
            assertEquals(Kind.COMMITTED, top.kind());
            fails(ErrorKind.NOT_FOUND, () -> view.stat("next"));
            assertEquals(Set.of(view.stat("base"), view.stat("top")), new HashSet<>(list(view)));
            seen(service, view, "top", m -> assertEquals(wanted, tree(m)));
            ImageException error = assertThrows(ImageException.class, () -> view.remove("base"));
            assertEquals(ErrorKind.FAILED_PRECONDITION, error.kind());
            assertTrue(error.getMessage().contains("remove"), error.getMessage());
            view.remove("top");
            view.remove("base");
            assertEquals(List.of(), list(view));
        }
    }

    @Test
    default void stat_activeAndCommitted_tellsNameKindAndParent(@TempDir Path root)
            throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter view = service.view("suite");
            view.prepare("a", "", Map.of("containerd.io/gc.root", "1"));
            SnapshotInfo active = view.stat("a");
            assertEquals("a", active.name());
            assertEquals("", active.parent());
            assertEquals(Kind.ACTIVE, active.kind());
            assertEquals(active.created(), active.updated());
            assertEquals(Map.of("containerd.io/gc.root", "1"), active.labels());
            view.commit("c", "a", Map.of("x", "y"), "");
            SnapshotInfo committed = view.stat("c");
            assertEquals("c", committed.name());
            assertEquals(Kind.COMMITTED, committed.kind());
            assertEquals(Map.of("x", "y"), committed.labels());
            assertEquals(committed.created(), committed.updated());
            assertFalse(committed.created().isBefore(active.created()));
            view.view("v", "c", Map.of());
            assertEquals(Kind.VIEW, view.stat("v").kind());
            assertEquals("c", view.stat("v").parent());
            fails(ErrorKind.NOT_FOUND, () -> view.stat("nobody"));
        }
    }

    @Test
    default void transitivity_threeLayers_parentsFormAChain(@TempDir Path root) throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter view = service.view("suite");
            layer(service, view, "a", "", m -> write(m.resolve("foo"), "1"));
            layer(service, view, "b", "a", m -> write(m.resolve("bar"), "2"));
            layer(service, view, "c", "b", m -> write(m.resolve("baz"), "3"));
            assertEquals("", view.stat("a").parent());
            assertEquals("a", view.stat("b").parent());
            assertEquals("b", view.stat("c").parent());
            seen(
                    service,
                    view,
                    "c",
                    m -> assertEquals(Set.of("", "foo", "bar", "baz"), tree(m).keySet()));
        }
    }

    @Test
    default void prepareAndView_sameKey_alreadyExists(@TempDir Path root) throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter view = service.view("suite");
            layer(service, view, "base", "", m -> {});
            view.prepare("p", "base", Map.of());
            fails(ErrorKind.ALREADY_EXISTS, () -> view.prepare("p", "base", Map.of()));
            fails(ErrorKind.ALREADY_EXISTS, () -> view.view("p", "base", Map.of()));
            view.view("v", "base", Map.of());
            fails(ErrorKind.ALREADY_EXISTS, () -> view.view("v", "base", Map.of()));
            fails(ErrorKind.ALREADY_EXISTS, () -> view.prepare("v", "", Map.of()));
            fails(ErrorKind.ALREADY_EXISTS, () -> view.prepare("base", "", Map.of()));
            fails(ErrorKind.ALREADY_EXISTS, () -> view.commit("base", "p", Map.of(), ""));
            fails(ErrorKind.ALREADY_EXISTS, () -> view.commit("v", "p", Map.of(), ""));
        }
    }

    @Test
    default void update_labels_followMasksAndNothingElseChanges(@TempDir Path root)
            throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter view = service.view("suite");
            layer(service, view, "c1", "", m -> {});
            layer(service, view, "c2", "c1", m -> {});
            view.prepare("a1", "c2", Map.of());
            view.prepare("a2", "", Map.of());
            view.view("v1", "c2", Map.of());
            for (String name : List.of("c1", "c2", "a1", "a2", "v1")) {
                SnapshotInfo before = view.stat(name);
                SnapshotInfo all = view.update(name, Map.of("l1", "v1", "l2", "v2"), List.of());
                assertEquals(Map.of("l1", "v1", "l2", "v2"), all.labels());
                assertEquals(before.created(), all.created());
                assertFalse(all.updated().isBefore(before.updated()));
                assertEquals(before.parent(), all.parent());
                assertEquals(before.kind(), all.kind());
                assertEquals(all, view.stat(name));
                assertEquals(
                        Map.of("l1", "v1", "l2", "new", "l3", "v3"),
                        view.update(
                                        name,
                                        Map.of("l2", "new", "l3", "v3", "other", "x"),
                                        List.of("labels.l2", "labels.l3"))
                                .labels());
                assertEquals(
                        Map.of("l3", "v3"),
                        view.update(name, Map.of("l1", ""), List.of("labels.l1", "labels.l2"))
                                .labels());
                assertEquals(
                        Map.of("a.b/c", "d"),
                        view.update(name, Map.of("a.b/c", "d"), List.of("labels")).labels());
                assertEquals(
                        Map.of(), view.update(name, Map.of(), List.of("labels.a.b/c")).labels());
                fails(
                        ErrorKind.INVALID_ARGUMENT,
                        () -> view.update(name, Map.of(), List.of("parent")));
                fails(
                        ErrorKind.INVALID_ARGUMENT,
                        () -> view.update(name, Map.of(), List.of("labels", "name")));
            }
            fails(ErrorKind.NOT_FOUND, () -> view.update("nobody", Map.of(), List.of()));
        }
    }

    @Test
    default void remove_keyAndName_areFreeAgain(@TempDir Path root) throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter view = service.view("suite");
            layer(service, view, "c", "", m -> write(m.resolve("f"), "first"));
            view.prepare("k", "c", Map.of());
            view.remove("k");
            view.view("k", "c", Map.of());
            view.remove("k");
            mounted(
                    service,
                    view.prepare("k", "c", Map.of()),
                    m -> assertEquals("first", Files.readString(m.resolve("f"))));
            view.remove("k");
            view.remove("c");
            layer(service, view, "c", "", m -> write(m.resolve("g"), "second"));
            seen(service, view, "c", m -> assertEquals(Set.of("", "g"), tree(m).keySet()));
            fails(ErrorKind.NOT_FOUND, () -> view.remove("k"));
        }
    }

    @Test
    default void walk_filters_selectWhatContainerdSelects(@TempDir Path root) throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter view = service.view("suite");
            view.prepare("ap", "", Map.of());
            view.commit("a", "ap", Map.of("my", "one"), "");
            view.prepare("bp", "", Map.of());
            view.commit("b/with slash", "bp", Map.of("with.dots/x", "two"), "");
            view.prepare("a-bottom", "", Map.of("l", "1"));
            view.prepare("a-child", "a", Map.of("l", "2", "containerd.io/snapshot.ref", "T"));
            view.view("v-child", "a", Map.of("l", "2"));
            Set<String> all = Set.of("a", "b/with slash", "a-bottom", "a-child", "v-child");
            assertEquals(all, names(view));
            assertEquals(all, names(view, ""));
            assertEquals(Set.of("a"), names(view, "name==a"));
            assertEquals(Set.of("b/with slash"), names(view, "name==\"b/with slash\""));
            assertEquals(Set.of("a", "a-bottom"), names(view, "name==a", "name==a-bottom"));
            assertEquals(Set.of("a"), names(view, "name==a", "name==a,kind==committed"));
            assertEquals(Set.of("a-child", "v-child"), names(view, "parent==a"));
            assertEquals(Set.of("a-child"), names(view, "parent==a,kind==active"));
            assertEquals(Set.of("a", "b/with slash", "a-bottom"), names(view, "parent!=a"));
            assertEquals(Set.of("a", "b/with slash", "a-bottom"), names(view, "parent==\"\""));
            assertEquals(all, names(view, "parent"));
            assertEquals(Set.of("v-child"), names(view, "kind==view"));
            assertEquals(Set.of("a", "b/with slash"), names(view, "kind==committed"));
            assertEquals(Set.of("a-child", "v-child"), names(view, "labels.l==2"));
            assertEquals(Set.of("a-bottom", "a-child", "v-child"), names(view, "labels.l"));
            assertEquals(Set.of("b/with slash"), names(view, "labels.\"with.dots/x\"==two"));
            assertEquals(Set.of("a-bottom", "a-child"), names(view, "name~=^a-"));
            assertEquals(Set.of("a-child"), names(view, "name~=/child$/,kind!=view"));
            assertEquals(
                    Set.of("a-child"),
                    names(view, "labels.\"containerd.io/snapshot.ref\"==T,parent==\"a\""));
            assertEquals(
                    Set.of(), names(view, "labels.\"containerd.io/snapshot.ref\"==T,parent==\"\""));
            assertEquals(Set.of(), names(view, "unknown==x"));
            fails(ErrorKind.INVALID_ARGUMENT, () -> list(view, "name=a"));
            int[] visited = {0};
            view.walk(List.of(), _ -> ++visited[0] < 2);
            assertEquals(2, visited[0]);
        }
    }

    @Test
    default void layerFileUpdate_sameSizeAndTime_upperWins(@TempDir Path root) throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter view = service.view("suite");
            FileTime time = FileTime.from(Instant.ofEpochSecond(1_700_000_000));
            String parent = "";
            for (int i = 0; i < 5; i++) {
                String content = "round " + i;
                layer(
                        service,
                        view,
                        "l" + i,
                        parent,
                        m -> {
                            write(m.resolve("f"), content);
                            Files.setLastModifiedTime(m.resolve("f"), time);
                        });
                parent = "l" + i;
                seen(
                        service,
                        view,
                        parent,
                        m -> assertEquals(content, Files.readString(m.resolve("f"))));
            }
        }
    }

    @Test
    default void directory_removedAndMadeAgain_hidesTheLowerOne(@TempDir Path root)
            throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter view = service.view("suite");
            layer(
                    service,
                    view,
                    "l1",
                    "",
                    m -> {
                        Files.createDirectory(m.resolve("d"));
                        write(m.resolve("d/old"), "old");
                    });
            layer(
                    service,
                    view,
                    "l2",
                    "l1",
                    m -> {
                        Files.delete(m.resolve("d/old"));
                        Files.delete(m.resolve("d"));
                        Files.createDirectory(m.resolve("d"));
                        write(m.resolve("d/new"), "new");
                    });
            layer(service, view, "l3", "l2", m -> write(m.resolve("d/more"), "more"));
            seen(
                    service,
                    view,
                    "l3",
                    m -> assertEquals(Set.of("", "d", "d/new", "d/more"), tree(m).keySet()));
        }
    }

    @Test
    default void ownerAndMode_changedAlone_areKept(@TempDir Path root) throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter view = service.view("suite");
            layer(
                    service,
                    view,
                    "l1",
                    "",
                    m -> {
                        write(m.resolve("f"), "f");
                        Files.createDirectory(m.resolve("d"));
                        write(m.resolve("d/f"), "f");
                    });
            layer(
                    service,
                    view,
                    "l2",
                    "l1",
                    m -> {
                        chown(m.resolve("f"), 1, 1);
                        chown(m.resolve("d"), 2, 2);
                        chown(m.resolve("d/f"), 3, 3);
                        Files.setPosixFilePermissions(
                                m.resolve("f"), PosixFilePermissions.fromString("r-x------"));
                    });
            seen(
                    service,
                    view,
                    "l2",
                    m -> {
                        assertEquals("1:1", owner(m.resolve("f")));
                        assertEquals("r-x------", mode(m.resolve("f")));
                        assertEquals("2:2", owner(m.resolve("d")));
                        assertEquals("3:3", owner(m.resolve("d/f")));
                        assertEquals("f", Files.readString(m.resolve("d/f")));
                    });
        }
    }

    @Test
    default void directoryPermissions_onCommit_areThoseOfTheLastLayer(@TempDir Path root)
            throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter view = service.view("suite");
            layer(
                    service,
                    view,
                    "l1",
                    "",
                    m -> {
                        for (int i = 1; i <= 3; i++) {
                            Files.createDirectories(m.resolve("d" + i));
                        }
                    });
            layer(
                    service,
                    view,
                    "l2",
                    "l1",
                    m -> {
                        chown(m.resolve("d1"), 1, 1);
                        Files.delete(m.resolve("d2"));
                        Files.createDirectory(m.resolve("d2"));
                        chown(m.resolve("d2"), 7, 8);
                        Files.delete(m.resolve("d3"));
                    });
            layer(
                    service,
                    view,
                    "l3",
                    "l2",
                    m -> {
                        assertFalse(Files.exists(m.resolve("d3")));
                        Files.createDirectory(m.resolve("d3"));
                        chown(m.resolve("d3"), 9, 9);
                        chown(m.resolve("d1"), 5, 5);
                    });
            seen(
                    service,
                    view,
                    "l3",
                    m -> {
                        assertEquals("5:5", owner(m.resolve("d1")));
                        assertEquals("7:8", owner(m.resolve("d2")));
                        assertEquals("9:9", owner(m.resolve("d3")));
                    });
        }
    }

    @Test
    default void removeIntermediate_hasChild_onlyFromTheTop(@TempDir Path root) throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter view = service.view("suite");
            layer(service, view, "base", "", m -> {});
            layer(service, view, "inter", "base", m -> {});
            view.prepare("top", "inter", Map.of());
            fails(ErrorKind.FAILED_PRECONDITION, () -> view.remove("inter"));
            fails(ErrorKind.FAILED_PRECONDITION, () -> view.remove("base"));
            view.remove("top");
            fails(ErrorKind.FAILED_PRECONDITION, () -> view.remove("base"));
            view.remove("inter");
            view.remove("base");
        }
    }

    @Test
    default void deletedFile_emptyThirdLayer_staysDeleted(@TempDir Path root) throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter view = service.view("suite");
            layer(
                    service,
                    view,
                    "l1",
                    "",
                    m -> {
                        write(m.resolve("foo"), "1");
                        write(m.resolve("foobar"), "2");
                    });
            layer(service, view, "l2", "l1", m -> Files.delete(m.resolve("foobar")));
            layer(service, view, "l3", "l2", m -> {});
            seen(service, view, "l3", m -> assertEquals(Set.of("", "foo"), tree(m).keySet()));
        }
    }

    @Test
    default void file_movedWithLinkFromLower_arrivesWhole(@TempDir Path root) throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter view = service.view("suite");
            layer(
                    service,
                    view,
                    "l1",
                    "",
                    m -> {
                        Files.createDirectory(m.resolve("d"));
                        write(m.resolve("d/f"), "moved");
                        write(m.resolve("d/old"), "old");
                    });
            layer(
                    service,
                    view,
                    "l2",
                    "l1",
                    m -> {
                        Files.delete(m.resolve("d/old"));
                        Files.createLink(m.resolve("d/old"), m.resolve("d/f"));
                        Files.delete(m.resolve("d/f"));
                        Files.move(m.resolve("d/old"), m.resolve("here"));
                    });
            seen(
                    service,
                    view,
                    "l2",
                    m -> {
                        assertEquals(Set.of("", "d", "here"), tree(m).keySet());
                        assertEquals("moved", Files.readString(m.resolve("here")));
                    });
        }
    }

    @Test
    default void view_write_isRefused(@TempDir Path root) throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter view = service.view("suite");
            layer(service, view, "one", "", m -> write(m.resolve("f"), "f"));
            layer(service, view, "two", "one", m -> write(m.resolve("g"), "g"));
            List<List<Mount>> views =
                    List.of(
                            view.view("v0", "", Map.of()),
                            view.view("v1", "one", Map.of()),
                            view.view("v2", "two", Map.of()));
            for (List<Mount> mounts : views) {
                mounted(
                        service,
                        mounts,
                        m -> {
                            FileSystemException error =
                                    assertThrows(
                                            FileSystemException.class,
                                            () -> write(m.resolve("new"), "x"));
                            assertTrue(
                                    String.valueOf(error.getReason()).contains("Read-only"),
                                    error.toString());
                        });
            }
            fails(ErrorKind.FAILED_PRECONDITION, () -> view.commit("c", "v1", Map.of(), ""));
        }
    }

    @Test
    default void walk_callsBack_neitherBlocksNorBreaks(@TempDir Path root) throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter view = service.view("suite");
            for (int i = 0; i < 5; i++) {
                view.prepare("k" + i, "", Map.of());
            }
            Set<String> seen = new HashSet<>();
            view.walk(
                    List.of(),
                    info -> {
                        try {
                            assertEquals(info, view.stat(info.name()));
                            view.remove(info.name());
                            view.prepare("new-" + info.name(), "", Map.of());
                        } catch (ImageException e) {
                            throw new AssertionError(e);
                        }
                        return seen.add(info.name());
                    });
            assertEquals(Set.of("k0", "k1", "k2", "k3", "k4"), seen);
            assertEquals(5, list(view).size());
        }
    }

    @Test
    default void close_twice_doesNothing(@TempDir Path root) throws IOException {
        SnapshotService service = open(root, new MemoryDatabase());
        service.view("suite").prepare("k", "", Map.of());
        service.close();
        service.close();
    }

    @Test
    default void root_ofNewSnapshot_isWorldReadableWhateverTheUmask(@TempDir Path root)
            throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter view = service.view("suite");
            mounted(
                    service,
                    view.prepare("k", "", Map.of()),
                    m -> {
                        assertEquals("rwxr-xr-x", mode(m));
                        assertEquals("0:0", owner(m));
                        assertEquals(Set.of(""), tree(m).keySet());
                        chown(m, 12, 34);
                    });
            view.commit("c", "k", Map.of(), "");
            mounted(
                    service,
                    view.prepare("child", "c", Map.of()),
                    m -> {
                        assertEquals("rwxr-xr-x", mode(m));
                        assertEquals("12:34", owner(m));
                    });
        }
    }

    @Test
    default void file_renamedInUpper_movesOnlyThere(@TempDir Path root) throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter view = service.view("suite");
            layer(
                    service,
                    view,
                    "l1",
                    "",
                    m -> {
                        Files.createDirectory(m.resolve("d"));
                        write(m.resolve("d/a"), "a");
                        write(m.resolve("b"), "b");
                    });
            layer(
                    service,
                    view,
                    "l2",
                    "l1",
                    m -> {
                        Files.move(m.resolve("d/a"), m.resolve("d/a2"));
                        Files.move(m.resolve("b"), m.resolve("d/b2"));
                    });
            seen(
                    service,
                    view,
                    "l2",
                    m -> assertEquals(Set.of("", "d", "d/a2", "d/b2"), tree(m).keySet()));
            seen(
                    service,
                    view,
                    "l1",
                    m -> assertEquals(Set.of("", "d", "d/a", "b"), tree(m).keySet()));
        }
    }

    @Test
    default void manyLayers_eachAndTheViewOfAll_mount(@TempDir Path root) throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter view = service.view("suite");
            String parent = "";
            Set<String> wanted = new HashSet<>(Set.of(""));
            for (int i = 0; i < 300; i++) {
                String file = "file-" + i;
                view.prepare("work-" + i, parent, Map.of());
                if (i % 30 == 0 || i == 128 || i == 299) {
                    mounted(
                            service,
                            view.mounts("work-" + i),
                            m -> {
                                assertEquals(wanted, tree(m).keySet());
                                write(m.resolve(file), "x");
                            });
                    wanted.add(file);
                }
                parent = "layer-" + i;
                view.commit(parent, "work-" + i, Map.of(), "");
            }
            seen(service, view, parent, m -> assertEquals(wanted, tree(m).keySet()));
        }
    }

    // ---- the metadata's rules

    @Test
    default void parents_missingOrNotCommitted_areRefused(@TempDir Path root) throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter view = service.view("suite");
            view.prepare("a", "", Map.of());
            view.view("v", "", Map.of());
            fails(ErrorKind.NOT_FOUND, () -> view.prepare("x", "nobody", Map.of()));
            fails(ErrorKind.INVALID_ARGUMENT, () -> view.prepare("x", "a", Map.of()));
            fails(ErrorKind.INVALID_ARGUMENT, () -> view.view("x", "v", Map.of()));
            fails(ErrorKind.NOT_FOUND, () -> view.mounts("x"));
            fails(ErrorKind.NOT_FOUND, () -> view.commit("c", "x", Map.of(), ""));
            view.commit("c", "a", Map.of(), "");
            fails(ErrorKind.FAILED_PRECONDITION, () -> view.mounts("c"));
            fails(ErrorKind.FAILED_PRECONDITION, () -> view.commit("d", "c", Map.of(), ""));
            fails(ErrorKind.NOT_FOUND, () -> view.commit("c2", "a", Map.of(), ""));
        }
    }

    @Test
    default void commit_withParent_rebases(@TempDir Path root) throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter view = service.view("suite");
            layer(service, view, "base", "", m -> write(m.resolve("low"), "low"));
            layer(service, view, "other", "", m -> {});
            mounted(service, view.prepare("k", "", Map.of()), m -> write(m.resolve("up"), "up"));
            view.prepare("active", "", Map.of());
            fails(ErrorKind.NOT_FOUND, () -> view.commit("top", "k", Map.of(), "nobody"));
            fails(ErrorKind.FAILED_PRECONDITION, () -> view.commit("top", "k", Map.of(), "active"));
            view.commit("top", "k", Map.of(), "base");
            assertEquals("base", view.stat("top").parent());
            fails(ErrorKind.FAILED_PRECONDITION, () -> view.remove("base"));
            seen(
                    service,
                    view,
                    "top",
                    m -> assertEquals(Set.of("", "low", "up"), tree(m).keySet()));
            view.prepare("k2", "base", Map.of());
            fails(ErrorKind.INVALID_ARGUMENT, () -> view.commit("top2", "k2", Map.of(), "other"));
            view.commit("top2", "k2", Map.of(), "base");
            assertEquals("base", view.stat("top2").parent());
        }
    }

    @Test
    default void keysAndLabels_outOfLimits_areRefused(@TempDir Path root) throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter view = service.view("suite");
            String key = "k8s.io/42/extract-123-Ab_- sha256:" + "0".repeat(64);
            view.prepare(key, "", Map.of("k", "v".repeat(4095)));
            assertEquals(key, view.stat(key).name());
            view.prepare("ключ/🚀", "", Map.of());
            assertEquals("ключ/🚀", view.stat("ключ/🚀").name());
            for (String bad :
                    List.of("", "a\u0001b", "a\u0000", "a\nb", "\ud800", "x".repeat(1025))) {
                fails(ErrorKind.INVALID_ARGUMENT, () -> view.prepare(bad, "", Map.of()));
            }
            fails(
                    ErrorKind.INVALID_ARGUMENT,
                    () -> view.prepare("l", "", Map.of("k", "v".repeat(4096))));
            fails(ErrorKind.INVALID_ARGUMENT, () -> view.prepare("l", "", Map.of("", "v")));
            fails(
                    ErrorKind.INVALID_ARGUMENT,
                    () -> view.update(key, Map.of("k", "ü".repeat(2048)), List.of("labels.k")));
            for (String bad : List.of("", "a/b", "a\u0001", "x".repeat(256))) {
                fails(ErrorKind.INVALID_ARGUMENT, () -> service.view(bad));
            }
        }
    }

    @Test
    default void views_sameKeys_doNotMeet(@TempDir Path root) throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter one = service.view("one");
            Snapshotter two = service.view("two");
            layer(service, one, "c", "", m -> write(m.resolve("f"), "one"));
            fails(ErrorKind.NOT_FOUND, () -> two.prepare("k", "c", Map.of()));
            layer(service, two, "c", "", m -> write(m.resolve("f"), "two"));
            one.prepare("k", "c", Map.of());
            two.remove("c");
            assertEquals(Set.of("c", "k"), names(one));
            assertEquals(Set.of(), names(two));
            seen(service, one, "c", m -> assertEquals("one", Files.readString(m.resolve("f"))));
        }
    }

    @Test
    default void usage_activeAndCommitted_countsOwnFilesOnly(@TempDir Path root)
            throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter view = service.view("suite");
            layer(
                    service,
                    view,
                    "base",
                    "",
                    m -> {
                        Files.write(m.resolve("big"), new byte[1 << 20]);
                        Files.createLink(m.resolve("link"), m.resolve("big"));
                        write(m.resolve("small"), "x");
                    });
            Usage base = view.usage("base");
            assertEquals(base, view.usage("base"));
            assertEquals(3, base.inodes());
            assertTrue(
                    base.sizeBytes() >= 1 << 20 && base.sizeBytes() < (1 << 20) + (1 << 16),
                    base.toString());
            view.prepare("k", "base", Map.of());
            assertEquals(1, view.usage("k").inodes());
            view.view("v", "base", Map.of());
            assertTrue(view.usage("v").inodes() <= 1, "a view takes nothing");
            fails(ErrorKind.NOT_FOUND, () -> view.usage("nobody"));
        }
    }

    @Test
    default void reopen_everything_isAsBefore(@TempDir Path root) throws IOException {
        MemoryDatabase database = new MemoryDatabase();
        List<SnapshotInfo> before;
        List<Mount> mounts;
        try (SnapshotService service = open(root, database)) {
            Snapshotter view = service.view("suite");
            layer(service, view, "base", "", m -> write(m.resolve("low"), "low"));
            mounts = view.prepare("k", "base", Map.of("a", "b"));
            mounted(service, mounts, m -> write(m.resolve("up"), "up"));
            view.view("v", "base", Map.of());
            before = list(view);
        }
        try (SnapshotService service = open(root, database)) {
            Snapshotter view = service.view("suite");
            assertEquals(before, list(view));
            assertEquals(mounts, view.mounts("k"));
            mounted(
                    service,
                    view.mounts("k"),
                    m -> assertEquals(Set.of("", "low", "up"), tree(m).keySet()));
            view.commit("top", "k", Map.of(), "");
            seen(
                    service,
                    view,
                    "top",
                    m -> assertEquals(Set.of("", "low", "up"), tree(m).keySet()));
        }
    }

    // ---- layers

    /// Unpacks a layer and links it in the view of imgd's own images.
    private static void unpack(
            SnapshotService service,
            String diff,
            Optional<Digest> parentChain,
            String name,
            String parent,
            Visit visit)
            throws IOException {
        try (Staging staging = service.stage(digest(diff), parentChain)) {
            visit.at(staging.directory());
            staging.commit(new Usage(4096, 2), List.of(), parent);
        }
        assertTrue(
                service.link(
                        SnapshotService.LOCAL, name, parent, digest(diff), parentChain, Map.of()));
    }

    @Test
    default void stage_committedAndLinked_isASnapshotInSeveralViews(@TempDir Path root)
            throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter local = service.view(SnapshotService.LOCAL);
            Snapshotter other = service.view("other");
            assertFalse(service.hasLayer(digest("d1"), Optional.empty()));
            fails(
                    ErrorKind.NOT_FOUND,
                    () -> service.link("other", "x", "", digest("d1"), Optional.empty(), Map.of()));
            unpack(
                    service,
                    "d1",
                    Optional.empty(),
                    "chain1",
                    "",
                    m -> {
                        assertEquals("rwxr-xr-x", mode(m));
                        write(m.resolve("f"), "f");
                    });
            assertTrue(service.hasLayer(digest("d1"), Optional.empty()));
            assertTrue(service.hasLayer(digest("d1"), Optional.of(digest("any"))));
            assertEquals(new Usage(4096, 2), local.usage("chain1"));
            assertFalse(
                    service.link(
                            SnapshotService.LOCAL,
                            "chain1",
                            "",
                            digest("d1"),
                            Optional.empty(),
                            Map.of()));
            Map<String, String> labels = Map.of("containerd.io/snapshot.ref", "chain1");
            assertTrue(
                    service.link(
                            "other", "ns/1/chain1", "", digest("d1"), Optional.empty(), labels));
            assertEquals(
                    Set.of("ns/1/chain1"),
                    names(other, "labels.\"containerd.io/snapshot.ref\"==chain1,parent==\"\""));
            fails(
                    ErrorKind.NOT_FOUND,
                    () ->
                            service.link(
                                    "other",
                                    "y",
                                    "nobody",
                                    digest("d1"),
                                    Optional.empty(),
                                    Map.of()));
            seen(
                    service,
                    other,
                    "ns/1/chain1",
                    m -> assertEquals("f", Files.readString(m.resolve("f"))));
            local.remove("chain1");
            assertFalse(
                    service.removeUnreferenced(NodeId.layer(digest("d1").toString())),
                    "another view shows it");
            seen(
                    service,
                    other,
                    "ns/1/chain1",
                    m -> assertEquals("f", Files.readString(m.resolve("f"))));
            assertFalse(
                    service.removeUnreferenced(NodeId.snapshot("other", "ns/1/chain1")),
                    "it belongs to the other view's caller");
            other.remove("ns/1/chain1");
            assertTrue(service.removeUnreferenced(NodeId.layer(digest("d1").toString())));
            assertFalse(service.hasLayer(digest("d1"), Optional.empty()));
        }
    }

    @Test
    default void stage_closedWithoutCommit_leavesNothing(@TempDir Path root) throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Path directory;
            try (Staging staging = service.stage(digest("d"), Optional.empty())) {
                directory = staging.directory();
                write(directory.resolve("f"), "f");
            }
            service.view("any").cleanup();
            assertFalse(Files.exists(directory));
            assertFalse(service.hasLayer(digest("d"), Optional.empty()));
        }
    }

    @Test
    default void stage_equalLayerTwice_firstWins(@TempDir Path root) throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase());
                Staging first = service.stage(digest("d"), Optional.empty());
                Staging second = service.stage(digest("d"), Optional.empty())) {
            write(first.directory().resolve("f"), "first");
            write(second.directory().resolve("f"), "second");
            first.commit(new Usage(1, 1), List.of(), "");
            second.commit(new Usage(2, 2), List.of(), "");
            assertTrue(
                    service.link(
                            SnapshotService.LOCAL,
                            "c",
                            "",
                            digest("d"),
                            Optional.empty(),
                            Map.of()));
            Snapshotter local = service.view(SnapshotService.LOCAL);
            assertEquals(new Usage(1, 1), local.usage("c"));
            seen(service, local, "c", m -> assertEquals("first", Files.readString(m.resolve("f"))));
            local.cleanup();
            assertFalse(Files.exists(second.directory()));
        }
    }

    @Test
    default void stage_implicitDirectories_takeWhatIsBelow(@TempDir Path root) throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            FileTime time = FileTime.from(Instant.ofEpochSecond(1_600_000_000, 5));
            unpack(
                    service,
                    "d1",
                    Optional.empty(),
                    "chain1",
                    "",
                    m -> {
                        Files.createDirectories(m.resolve("a/b"));
                        chown(m.resolve("a"), 11, 12);
                        chown(m.resolve("a/b"), 13, 14);
                        Files.setPosixFilePermissions(
                                m.resolve("a/b"), PosixFilePermissions.fromString("rwx--x---"));
                        Files.setAttribute(
                                m.resolve("a/b"), "user:k", "v".getBytes(StandardCharsets.UTF_8));
                        Files.setLastModifiedTime(m.resolve("a/b"), time);
                    });
            Optional<Digest> below = Optional.of(digest("chain1"));
            try (Staging staging = service.stage(digest("d2"), below)) {
                Files.createDirectories(staging.directory().resolve("a/b"));
                Files.createDirectories(staging.directory().resolve("new"));
                write(staging.directory().resolve("a/b/f"), "f");
                staging.commit(new Usage(1, 1), List.of("a", "a/b", "new"), "chain1");
            }
            assertTrue(service.hasLayer(digest("d2"), below));
            assertFalse(
                    service.hasLayer(digest("d2"), Optional.of(digest("other"))),
                    "its directories depend on what is below");
            assertTrue(
                    service.link(
                            SnapshotService.LOCAL,
                            "chain2",
                            "chain1",
                            digest("d2"),
                            below,
                            Map.of()));
            seen(
                    service,
                    service.view(SnapshotService.LOCAL),
                    "chain2",
                    m -> {
                        assertEquals("11:12", owner(m.resolve("a")));
                        assertEquals("13:14", owner(m.resolve("a/b")));
                        assertEquals("rwx--x---", mode(m.resolve("a/b")));
                        assertEquals(time, Files.getLastModifiedTime(m.resolve("a/b")));
                        assertEquals(
                                "v",
                                new String(
                                        (byte[]) Files.getAttribute(m.resolve("a/b"), "user:k"),
                                        StandardCharsets.UTF_8));
                        assertEquals("0:0", owner(m.resolve("new")));
                        assertEquals("f", Files.readString(m.resolve("a/b/f")));
                    });
        }
    }

    @Test
    default void removeUnreferenced_localSnapshots_goFromTheTop(@TempDir Path root)
            throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            Snapshotter local = service.view(SnapshotService.LOCAL);
            unpack(service, "d1", Optional.empty(), "c1", "", m -> {});
            unpack(service, "d2", Optional.of(digest("c1")), "c2", "c1", m -> {});
            local.prepare("mine", "c2", Map.of());
            assertFalse(service.removeUnreferenced(NodeId.snapshot(SnapshotService.LOCAL, "c1")));
            assertFalse(service.removeUnreferenced(NodeId.snapshot(SnapshotService.LOCAL, "c2")));
            assertFalse(service.removeUnreferenced(NodeId.snapshot(SnapshotService.LOCAL, "mine")));
            local.remove("mine");
            assertFalse(service.removeUnreferenced(NodeId.snapshot(SnapshotService.LOCAL, "c1")));
            assertTrue(service.removeUnreferenced(NodeId.snapshot(SnapshotService.LOCAL, "c2")));
            assertFalse(service.removeUnreferenced(NodeId.snapshot(SnapshotService.LOCAL, "c2")));
            assertFalse(service.removeUnreferenced(NodeId.layer(digest("d1").toString())));
            assertTrue(service.removeUnreferenced(NodeId.layer(digest("d2").toString())));
            assertTrue(service.removeUnreferenced(NodeId.snapshot(SnapshotService.LOCAL, "c1")));
            assertTrue(service.removeUnreferenced(NodeId.layer(digest("d1").toString())));
            local.cleanup();
            assertEquals(List.of(), list(local));
        }
    }

    @Test
    default void removeUnreferenced_layerAboutToBeLinked_stays(@TempDir Path root)
            throws IOException {
        try (SnapshotService service = open(root, new MemoryDatabase())) {
            try (Staging staging = service.stage(digest("d"), Optional.empty())) {
                staging.commit(new Usage(1, 1), List.of(), "");
            }
            assertFalse(service.removeUnreferenced(NodeId.layer(digest("d").toString())));
            assertTrue(
                    service.link(
                            SnapshotService.LOCAL,
                            "c",
                            "",
                            digest("d"),
                            Optional.empty(),
                            Map.of()));
        }
    }

    @Test
    default void unmount_nothingThere_saysSo(@TempDir Path root) throws IOException {
        try (SnapshotService service = open(root.resolve("store"), new MemoryDatabase())) {
            Path target = Files.createDirectory(root.resolve("empty"));
            fails(ErrorKind.FAILED_PRECONDITION, () -> service.unmount(target));
            fails(
                    ErrorKind.FAILED_PRECONDITION,
                    () ->
                            service.mount(
                                    service.view("v").prepare("k", "", Map.of()),
                                    root.resolve("absent")));
        }
    }
}
