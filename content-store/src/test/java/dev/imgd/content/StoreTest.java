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

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;

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
    void open_symbolicLink_isRefused() throws Exception {
        Files.createDirectory(directory.resolve("target"));
        Files.createSymbolicLink(root(), directory.resolve("target"));
        ImageException e = assertThrows(ImageException.class, this::open);
        assertEquals(ErrorKind.PERMISSION_DENIED, e.kind());
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
