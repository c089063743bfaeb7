package dev.imgd.content;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Opening, owning and closing a store, and the names in it.
final class StoreTest {
    private static final String NS = "default";

    @TempDir Path directory;

    private Path root() {
        return directory.resolve("store");
    }

    private Store open() throws ImageException {
        return Store.open(root(), StoreOptions.defaults());
    }

    private static ImageRecord image(String name, Digest target) {
        Instant now = Instant.ofEpochMilli(1_700_000_000_000L);
        return new ImageRecord(
                NS,
                name,
                new Descriptor("application/vnd.oci.image.manifest.v1+json", target, 2),
                List.of("local/top"),
                Map.of("label", "value"),
                now,
                now);
    }

    @Test
    void exists_onlyWhatWasOpenedOnce() throws Exception {
        assertFalse(Store.exists(root()));
        Files.createDirectory(root());
        Files.writeString(root().resolve("something"), "else");
        assertFalse(Store.exists(root()));
        Files.delete(root().resolve("something"));
        open().close();
        assertTrue(Store.exists(root()));
        // What is left of a store is one: opening repairs it.
        Files.move(root().resolve("db"), directory.resolve("aside"));
        assertTrue(Store.exists(root()));
    }

    /// For anybody, root included: what is behind a link to itself cannot be looked at.
    @Test
    void exists_whereItCannotBeSeen_mayBe() throws Exception {
        Path link = directory.resolve("link");
        Files.createSymbolicLink(link, link);
        assertTrue(Store.exists(link));
        assertTrue(Store.exists(link.resolve("store")));
        Files.delete(link);
        assertFalse(Store.exists(link.resolve("store")));
    }

    @Test
    void open_again_seesEverything() throws Exception {
        byte[] content = "{}".getBytes(StandardCharsets.UTF_8);
        Digest digest = Digest.sha256(content);
        ImageRecord image = image("docker.io/library/a:1", digest);
        try (Store store = open()) {
            store.content().write(NS, digest, content, Map.of("k", "v"), List.of());
            store.images().put(image);
            store.leases().create(NS, "lease", Duration.ofHours(1), Map.of());
            store.leases().hold(NS, "lease", List.of(NodeId.blob(digest)));
        }
        try (Store store = open()) {
            assertArrayEquals(content, store.content().read(digest, 10));
            assertEquals(Map.of("k", "v"), store.content().info(NS, digest).labels());
            assertEquals(List.of(image), store.images().list(NS));
            assertEquals(List.of(NodeId.blob(digest)), store.leases().held(NS, "lease"));
            assertEquals(2L, (long) store.database().read(v -> v.references(NodeId.blob(digest))));
            assertFalse(store.rebuilt());
        }
    }

    @Test
    void open_twiceInOneProcess_isLocked() throws Exception {
        try (Store _ = open()) {
            ImageException e = assertThrows(ImageException.class, this::open);
            assertEquals(ErrorKind.LOCKED, e.kind());
            assertTrue(
                    e.getMessage().contains(Long.toString(ProcessHandle.current().pid())),
                    e.getMessage());
        }
        open().close();
    }

    @Test
    void open_symbolicLink_isResolvedOnce() throws Exception {
        Path target = Files.createDirectory(directory.resolve("target"));
        Files.createSymbolicLink(root(), target);
        try (Store store = open()) {
            assertEquals(target.toRealPath(), store.root());
            ImageException e =
                    assertThrows(
                            ImageException.class,
                            () -> Store.open(target, StoreOptions.defaults()));
            assertEquals(ErrorKind.LOCKED, e.kind());
        }
        assertTrue(Files.isDirectory(target.resolve("blobs")));
    }

    @Test
    void open_symbolicLinkToNowhere_saysSo() throws Exception {
        Files.createSymbolicLink(root(), directory.resolve("target"));
        ImageException e = assertThrows(ImageException.class, this::open);
        assertEquals(ErrorKind.NOT_FOUND, e.kind());
        assertTrue(e.getMessage().contains("a symbolic link to nowhere"), e.getMessage());
    }

    @Test
    @Tag("root")
    void open_symbolicLinkOfSomebodyElse_isRefused() throws Exception {
        Files.createDirectory(directory.resolve("target"));
        Files.createSymbolicLink(root(), directory.resolve("target"));
        Files.setAttribute(root(), "unix:uid", 12345, LinkOption.NOFOLLOW_LINKS);
        ImageException e = assertThrows(ImageException.class, this::open);
        assertEquals(ErrorKind.PERMISSION_DENIED, e.kind());
    }

    @Test
    void onUnreferenced_lastReferenceGone_isTold() throws Exception {
        byte[] content = "{}".getBytes(StandardCharsets.UTF_8);
        Digest digest = Digest.sha256(content);
        AtomicInteger told = new AtomicInteger();
        try (Store store = open()) {
            store.maintenance().onUnreferenced(told::incrementAndGet);
            store.leases().create(NS, "lease", Duration.ofHours(1), Map.of());
            store.leases().hold(NS, "lease", List.of(NodeId.blob(digest)));
            store.content().write(NS, digest, content, Map.of(), List.of());
            store.images().put(image("docker.io/library/a:1", digest));
            store.leases().delete(NS, "lease");
            assertEquals(0, told.get());
            store.images().delete(NS, "docker.io/library/a:1");
            assertEquals(1, told.get(), "the image went");
        }
    }

    @Test
    void open_rootOpenToOthers_isClosedToThem() throws Exception {
        open().close();
        Files.setPosixFilePermissions(root(), PosixFilePermissions.fromString("rwxr-x--x"));
        open().close();
        assertEquals(
                "rwx------", PosixFilePermissions.toString(Files.getPosixFilePermissions(root())));
    }

    @Test
    void call_afterClose_isUnavailable() throws Exception {
        Store store = open();
        store.close();
        store.close();
        ImageException e = assertThrows(ImageException.class, () -> store.images().list(NS));
        assertEquals(ErrorKind.UNAVAILABLE, e.kind());
    }
}
