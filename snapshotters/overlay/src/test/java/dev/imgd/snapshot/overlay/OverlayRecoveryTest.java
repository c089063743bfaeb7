package dev.imgd.snapshot.overlay;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.snapshot.Mount;
import dev.imgd.snapshot.SnapshotService;
import dev.imgd.snapshot.SnapshotService.Staging;
import dev.imgd.snapshot.Snapshotter;
import dev.imgd.snapshot.Usage;
import dev.imgd.testkit.MemoryDatabase;
import dev.imgd.testkit.SnapshotterContract;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// What the next owner finds after a process was killed, the machine stopped, or directories
/// vanished.
///
/// A killed process is a service that is not closed: nothing it does at closing has happened.
class OverlayRecoveryTest {
    private static final OverlayOptions OPTIONS =
            OverlayOptions.defaults().withSyncOnClose(false).withSyncDelay(Duration.ofHours(1));
    private static final Digest DIFF = Digest.sha256("d".getBytes(StandardCharsets.UTF_8));

    @TempDir Path root;
    private final MemoryDatabase database = new MemoryDatabase();

    private OverlaySnapshotService open(String boot) throws ImageException {
        return OverlaySnapshotService.open(root, database, OPTIONS, boot);
    }

    private Set<String> directories() throws IOException {
        return names(root.resolve("snapshots"));
    }

    private static Set<String> names(Path directory) throws IOException {
        try (Stream<Path> files = Files.list(directory)) {
            return files.map(f -> f.getFileName().toString())
                    .collect(Collectors.toCollection(TreeSet::new));
        }
    }

    private static void commit(OverlaySnapshotService service, String name, String parent)
            throws IOException {
        Snapshotter view = service.view("v");
        SnapshotterContract.mounted(
                service,
                view.prepare("work", parent, Map.of()),
                m -> Files.writeString(m.resolve(name), name));
        view.commit(name, "work", Map.of(), "");
    }

    private static ErrorKind kind(org.junit.jupiter.api.function.Executable call) {
        return assertThrows(ImageException.class, call).kind();
    }

    @Test
    void killed_betweenDirectoryAndRow_directoryIsThrownAway() throws IOException {
        OverlaySnapshotService killed = open("b1");
        commit(killed, "a", "");
        Set<String> used = directories();
        killed.directories()
                .create(
                        killed.metadata().newDirectory(),
                        true,
                        new SnapshotDirectories.Owner(0, 0));
        Staging staging = killed.stage(DIFF, Optional.empty());
        Files.writeString(staging.directory().resolve("f"), "half");
        assertEquals(used.size() + 2, directories().size());
        try (OverlaySnapshotService next = open("b1")) {
            next.cleanup();
            assertEquals(used, directories());
            assertEquals(Set.of(), names(root.resolve("snapshots-trash")));
            assertFalse(next.hasLayer(DIFF, Optional.empty()));
            SnapshotterContract.mounted(
                    next,
                    next.view("v").view("x", "a", Map.of()),
                    m -> assertEquals("a", Files.readString(m.resolve("a"))));
        }
    }

    @Test
    void killed_betweenRowAndDeletion_directoryIsThrownAway() throws IOException {
        OverlaySnapshotService killed = open("b1");
        commit(killed, "a", "");
        commit(killed, "b", "a");
        killed.metadata().remove("v", "b");
        assertEquals(2, directories().size());
        try (OverlaySnapshotService next = open("b1")) {
            next.cleanup();
            assertEquals(1, directories().size());
        }
    }

    @Test
    void killed_duringDeletion_trashIsEmptied() throws IOException {
        OverlaySnapshotService killed = open("b1");
        commit(killed, "a", "");
        long directory = killed.metadata().remove("v", "a").directory();
        killed.directories().discard(directory);
        assertEquals(1, names(root.resolve("snapshots-trash")).size());
        try (OverlaySnapshotService next = open("b1")) {
            next.cleanup();
            assertEquals(Set.of(), names(root.resolve("snapshots-trash")));
        }
    }

    @Test
    void closed_cleanly_nothingIsCompared() throws IOException {
        try (OverlaySnapshotService first = open("b1")) {
            commit(first, "a", "");
        }
        Path stranger = Files.createDirectories(root.resolve("snapshots/zz/fs"));
        try (OverlaySnapshotService next = open("b1")) {
            next.cleanup();
            assertTrue(Files.exists(stranger), "a clean end leaves nothing to look for");
        }
    }

    @Test
    void orphan_stillMounted_isLeftAlone(@TempDir Path target) throws IOException {
        OverlaySnapshotService killed = open("b1");
        commit(killed, "a", "");
        List<Mount> mounts = killed.view("v").prepare("k", "a", Map.of());
        killed.mount(mounts, target);
        try {
            Files.writeString(target.resolve("f"), "kept");
            killed.metadata().remove("v", "k");
            try (OverlaySnapshotService next = open("b1")) {
                next.cleanup();
                assertEquals(2, directories().size());
                assertEquals("kept", Files.readString(target.resolve("f")));
            }
        } finally {
            killed.unmount(target);
        }
    }

    @Test
    void reboot_afterSync_everythingIsThere() throws IOException {
        OverlaySnapshotService killed = open("b1");
        commit(killed, "a", "");
        killed.sync("v", List.of());
        assertEquals(List.of(), killed.metadata().unsynced());
        try (OverlaySnapshotService next = open("b2")) {
            next.view("v").prepare("k", "a", Map.of());
        }
    }

    @Test
    void restart_beforeSync_sameBoot_filesAreKeptAndSyncedLater() throws IOException {
        OverlaySnapshotService killed = open("b1");
        commit(killed, "a", "");
        try (OverlaySnapshotService next = open("b1")) {
            next.view("v").prepare("k", "a", Map.of());
            assertEquals(1, next.metadata().unsynced().size());
            next.sync("v", List.of());
            assertEquals(List.of(), next.metadata().unsynced());
        }
    }

    @Test
    void reboot_beforeSync_snapshotIsLostAndSaysSo() throws IOException {
        OverlaySnapshotService killed = open("b1");
        commit(killed, "a", "");
        killed.sync("v", List.of());
        commit(killed, "b", "a");
        killed.view("v").prepare("k", "b", Map.of());
        try (OverlaySnapshotService next = open("b2")) {
            Snapshotter view = next.view("v");
            view.prepare("on-a", "a", Map.of());
            assertEquals(ErrorKind.DATA_LOSS, kind(() -> view.prepare("on-b", "b", Map.of())));
            assertEquals(ErrorKind.DATA_LOSS, kind(() -> view.mounts("k")));
            view.remove("k");
            view.remove("b");
            commit(next, "b", "a");
            view.prepare("on-b", "b", Map.of());
        }
    }

    @Test
    void reboot_beforeSync_layerIsAbsentUntilUnpackedAgain() throws IOException {
        OverlaySnapshotService killed = open("b1");
        unpack(killed, "first");
        killed.link(SnapshotService.LOCAL, "c", "", DIFF, Optional.empty(), Map.of());
        killed.link("v", "ns/1/c", "", DIFF, Optional.empty(), Map.of());
        try (OverlaySnapshotService next = open("b2")) {
            assertFalse(next.hasLayer(DIFF, Optional.empty()));
            Snapshotter view = next.view("v");
            assertEquals(ErrorKind.DATA_LOSS, kind(() -> view.prepare("k", "ns/1/c", Map.of())));
            List<String> names = List.of("c");
            assertEquals(ErrorKind.DATA_LOSS, kind(() -> next.sync(SnapshotService.LOCAL, names)));
            unpack(next, "second");
            next.sync(SnapshotService.LOCAL, names);
            assertEquals(List.of(), next.metadata().unsynced());
            assertFalse(
                    next.link(SnapshotService.LOCAL, "c", "", DIFF, Optional.empty(), Map.of()));
            SnapshotterContract.mounted(
                    next,
                    view.view("x", "ns/1/c", Map.of()),
                    m -> assertEquals("second", Files.readString(m.resolve("f"))));
            next.cleanup();
            assertEquals(1, directories().size());
        }
    }

    private static void unpack(OverlaySnapshotService service, String content) throws IOException {
        try (Staging staging = service.stage(DIFF, Optional.empty())) {
            Files.writeString(staging.directory().resolve("f"), content);
            staging.commit(new Usage(1, 1), List.of(), "");
        }
    }

    @Test
    void directory_missing_activeIsMadeAnewAndCommittedIsLost() throws IOException {
        OverlaySnapshotService killed = open("b1");
        commit(killed, "a", "");
        commit(killed, "b", "");
        Snapshotter before = killed.view("v");
        before.prepare("k", "a", Map.of());
        killed.sync("v", List.of());
        long active = killed.metadata().require("v", "k").directory();
        long committed = killed.metadata().require("v", "b").directory();
        killed.directories().discard(active);
        killed.directories().discard(committed);
        try (OverlaySnapshotService next = open("b1")) {
            Snapshotter view = next.view("v");
            SnapshotterContract.mounted(
                    next,
                    view.mounts("k"),
                    m -> {
                        assertEquals(Set.of("a"), names(m));
                        Files.writeString(m.resolve("f"), "f");
                    });
            assertEquals(ErrorKind.DATA_LOSS, kind(() -> view.prepare("x", "b", Map.of())));
            view.remove("b");
        }
    }

    @Test
    void database_lost_directoriesArePutAside() throws IOException {
        OverlaySnapshotService killed = open("b1");
        commit(killed, "a", "");
        database.clear();
        try (OverlaySnapshotService next = open("b1")) {
            assertEquals(Set.of(), directories());
            Path aside =
                    root.resolve("lost").resolve(names(root.resolve("lost")).iterator().next());
            Path found = aside.resolve(names(aside).iterator().next());
            assertEquals("a", Files.readString(found.resolve("fs/a")));
            commit(next, "a", "");
        }
    }

    @Test
    void foreignNames_inTheDirectory_areLeftAlone() throws IOException {
        OverlaySnapshotService killed = open("b1");
        commit(killed, "a", "");
        for (String name : List.of("lost+found", "A", "007", ".hidden", "-5")) {
            Files.createDirectory(root.resolve("snapshots").resolve(name));
        }
        try (OverlaySnapshotService next = open("b1")) {
            next.cleanup();
            assertEquals(6, directories().size());
        }
    }
}
