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
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// A file system that runs full. Needs root for a small tmpfs.
final class SpaceTest {
    private static final String NS = "default";
    private static final int MIB = 1 << 20;

    @TempDir Path directory;
    private Path mount;

    private static void run(String... command) throws IOException, InterruptedException {
        Process process = new ProcessBuilder(command).inheritIO().start();
        assertEquals(0, process.waitFor(), String.join(" ", command));
    }

    @BeforeEach
    void mountSmall() throws Exception {
        mount = Files.createDirectory(directory.resolve("small"));
        run("mount", "-t", "tmpfs", "-o", "size=24m", "small", mount.toString());
    }

    @AfterEach
    void unmount() throws Exception {
        run("umount", mount.toString());
    }

    @Test
    void write_diskFull_isNoSpaceAndGoesOnWhenThereIsSome() throws Exception {
        byte[] bytes = Trees.random(1, MIB);
        try (Store store = Store.open(mount.resolve("store"), StoreOptions.defaults())) {
            ContentStore content = store.content();
            Digest first = Digest.sha256(bytes);
            content.write(NS, first, bytes, Map.of(), List.of());
            Path ballast = mount.resolve("ballast");
            Files.write(ballast, new byte[4 * MIB]);
            long offset;
            try (Ingest ingest = content.ingest(NS, "big", Optional.empty())) {
                ImageException e =
                        assertThrows(
                                ImageException.class,
                                () -> {
                                    while (true) {
                                        ingest.write(ByteBuffer.wrap(bytes));
                                    }
                                });
                assertEquals(ErrorKind.NO_SPACE, e.kind(), e.getMessage());
                assertTrue(e.getMessage().contains(mount.toString()), e.getMessage());
                offset = ingest.offset();
                assertTrue(offset >= 8 * MIB, "only " + offset);
            }
            assertArrayEquals(bytes, content.read(first, MIB));
            Files.delete(ballast);
            try (Ingest ingest = content.ingest(NS, "big", Optional.empty())) {
                // The write that failed may have left its beginning, which is as good as the rest.
                long resumed = ingest.offset();
                assertTrue(resumed >= offset && resumed < offset + MIB, "got " + resumed);
                int rest = (int) (offset + MIB - resumed);
                ingest.write(ByteBuffer.wrap(bytes, MIB - rest, rest));
                Digest whole = Digest.sha256(repeat(bytes, (int) (offset / MIB) + 1));
                assertEquals(
                        offset + MIB,
                        ingest.commit(offset + MIB, whole, Map.of(), List.of()).sizeBytes());
            }
        }
    }

    @Test
    void database_diskFull_takesWritesAgainWhenThereIsSpace() throws Exception {
        Path ballast = mount.resolve("ballast");
        Path root = mount.resolve("store");
        int written = 0;
        try (Store store = Store.open(root, StoreOptions.defaults())) {
            store.leases().create(NS, "first", Duration.ofHours(1), Map.of());
            fill(ballast);
            ImageException e = null;
            while (e == null) {
                try {
                    label(store, written);
                    written++;
                } catch (ImageException full) {
                    e = full;
                }
            }
            assertEquals(ErrorKind.NO_SPACE, e.kind(), e.getMessage());
            int next = written;
            e = assertThrows(ImageException.class, () -> label(store, next));
            assertEquals(ErrorKind.NO_SPACE, e.kind(), e.getMessage());
            assertEquals(written + 1, acknowledged(store, written), "reads go on");
            Files.delete(ballast);
            label(store, written);
            written++;
            assertEquals(written + 1, acknowledged(store, written));
        }
        try (Store store = Store.open(root, StoreOptions.defaults())) {
            assertEquals(written + 1, acknowledged(store, written));
            assertFalse(store.rebuilt());
        }
        BlobPaths.deleteTree(root.resolve("db"));
        try (Store store = Store.open(root, StoreOptions.defaults())) {
            assertEquals(written + 1, acknowledged(store, written), "the journal has them all");
        }
    }

    private static void fill(Path ballast) throws IOException {
        byte[] block = new byte[64 << 10];
        try (OutputStream out = Files.newOutputStream(ballast)) {
            while (true) {
                out.write(block);
            }
        } catch (IOException full) {
            assertTrue(String.valueOf(full.getMessage()).contains("No space"), full.toString());
        }
    }

    private static void label(Store store, int number) throws ImageException {
        store.leases()
                .create(
                        NS,
                        "n" + number,
                        Duration.ofHours(1),
                        Map.of("k", "%04000d".formatted(number)));
    }

    /// How many of the leases that were acknowledged there are; one that was refused may be there.
    private static long acknowledged(Store store, int written) throws ImageException {
        Set<String> names = new HashSet<>();
        for (LeaseStore.Lease lease : store.leases().list(NS)) {
            names.add(lease.id());
        }
        names.remove("n" + written);
        return names.size();
    }

    private static byte[] repeat(byte[] bytes, int times) {
        byte[] all = new byte[bytes.length * times];
        for (int i = 0; i < times; i++) {
            System.arraycopy(bytes, 0, all, i * bytes.length, bytes.length);
        }
        return all;
    }

    @Test
    void ingest_reserve_isNotUsedUp() throws Exception {
        StoreOptions options =
                new StoreOptions(8 << 20, Duration.ofHours(1), 0.5, "test", Clock.systemUTC());
        try (Store store = Store.open(mount.resolve("store"), options)) {
            Digest digest = Digest.sha256(new byte[1]);
            Optional<Descriptor> small = Optional.of(new Descriptor("x", digest, MIB));
            Optional<Descriptor> large = Optional.of(new Descriptor("x", digest, 14 * MIB));
            store.content().ingest(NS, "small", small).close();
            ImageException e =
                    assertThrows(
                            ImageException.class, () -> store.content().ingest(NS, "l", large));
            assertEquals(ErrorKind.NO_SPACE, e.kind());
        }
    }
}
