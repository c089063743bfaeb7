package dev.imgd.content;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.DigestMismatchException;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.SizeMismatchException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/// The behaviour of blobs and ingests. The first part follows the cases of containerd's
/// `core/content/testsuite`.
final class FileContentStoreTest {
    private static final String NS = "default";
    private static final String OTHER = "k8s.io";

    @TempDir Path directory;

    private final SteppingClock clock = new SteppingClock();
    private Store store;
    private ContentStore content;

    /// Moves on by a second whenever it is read.
    private static final class SteppingClock extends Clock {
        private long millis = 1_700_000_000_000L;

        @Override
        public synchronized Instant instant() {
            millis += 1000;
            return Instant.ofEpochMilli(millis);
        }

        @Override
        public ZoneId getZone() {
            return ZoneOffset.UTC;
        }

        @Override
        public Clock withZone(ZoneId zone) {
            return this;
        }
    }

    @BeforeEach
    void open() throws ImageException {
        store =
                Store.open(
                        directory.resolve("store"),
                        new StoreOptions(8 << 20, Duration.ofHours(24), 0, "test", clock));
        content = store.content();
    }

    @AfterEach
    void close() throws ImageException {
        store.close();
    }

    private static Descriptor descriptor(byte[] bytes) {
        return new Descriptor("application/octet-stream", Digest.sha256(bytes), bytes.length);
    }

    private static void write(Ingest ingest, byte[] bytes, int from, int to) throws IOException {
        ingest.write(ByteBuffer.wrap(bytes, from, to - from));
    }

    private BlobInfo add(String namespace, byte[] bytes) throws IOException {
        try (Ingest ingest = content.ingest(namespace, "add", Optional.empty())) {
            write(ingest, bytes, 0, bytes.length);
            return ingest.commit(bytes.length, Digest.sha256(bytes), Map.of(), List.of());
        }
    }

    private static void assertKind(ErrorKind kind, Executable call) {
        ImageException e = assertThrows(ImageException.class, call);
        assertEquals(kind, e.kind(), e.getMessage());
    }

    private List<Path> leftovers() throws IOException {
        return Trees.files(directory.resolve("store/ingest"));
    }

    @Test
    void commit_writersWithAndWithoutDescriptor_allVisible() throws Exception {
        for (int i = 0; i < 4; i++) {
            byte[] bytes = Trees.random(i, 100_000 + i);
            Optional<Descriptor> expected =
                    i % 2 == 0 ? Optional.empty() : Optional.of(descriptor(bytes));
            Instant before = clock.instant();
            BlobInfo info;
            try (Ingest ingest = content.ingest(NS, "ref-" + i, expected)) {
                for (int at = 0; at < bytes.length; at += 32) {
                    write(ingest, bytes, at, Math.min(bytes.length, at + 32));
                }
                info = ingest.commit(-1, null, Map.of("n", "" + i), List.of());
            }
            assertEquals(Digest.sha256(bytes), info.digest());
            assertEquals(bytes.length, info.sizeBytes());
            assertEquals(Map.of("n", "" + i), info.labels());
            assertTrue(info.created().isAfter(before) && info.created().isBefore(clock.instant()));
            assertEquals(info, content.info(NS, info.digest()));
            assertArrayEquals(bytes, content.read(info.digest(), bytes.length));
            assertEquals(
                    "r--------",
                    PosixFilePermissions.toString(
                            Files.getPosixFilePermissions(content.path(info.digest()))));
        }
        assertEquals(List.of(), leftovers());
    }

    @Test
    void status_afterEachWrite_movesOn() throws Exception {
        byte[] bytes = Trees.random(1, 300);
        try (Ingest ingest = content.ingest(NS, "ref", Optional.of(descriptor(bytes)))) {
            IngestStatus last = ingest.status();
            assertEquals(0, last.offsetBytes());
            assertEquals(300, last.totalBytes());
            assertEquals(Optional.of(Digest.sha256(bytes)), last.expected());
            for (int i = 0; i < 3; i++) {
                write(ingest, bytes, i * 100, i * 100 + 100);
                IngestStatus status = content.ingests(NS).getFirst();
                assertEquals(i * 100 + 100, status.offsetBytes());
                assertEquals(last.started(), status.started());
                assertTrue(status.updated().isAfter(last.updated()));
                last = status;
            }
        }
        assertEquals(List.of(), content.ingests(OTHER));
    }

    @Test
    void ingest_expectedAlreadyThere_alreadyExists() throws Exception {
        byte[] bytes = Trees.random(2, 50);
        add(NS, bytes);
        assertKind(
                ErrorKind.ALREADY_EXISTS,
                () -> content.ingest(NS, "again", Optional.of(descriptor(bytes))));
        assertEquals(bytes.length, add(NS, bytes).sizeBytes());
        assertEquals(List.of(), leftovers());
    }

    @Test
    void ingest_closedHalfWay_resumes() throws Exception {
        byte[] bytes = Trees.random(3, 1000);
        IngestStatus before;
        try (Ingest ingest = content.ingest(NS, "ref", Optional.empty())) {
            write(ingest, bytes, 0, 600);
            before = ingest.status();
        }
        assertEquals(List.of(before), content.ingests(NS));
        try (Ingest ingest = content.ingest(NS, "ref", Optional.empty())) {
            assertEquals(before, ingest.status());
            assertEquals(0, ((FileIngest) ingest).rehashedBytes());
            write(ingest, bytes, 600, 1000);
            ingest.commit(1000, Digest.sha256(bytes), Map.of(), List.of());
        }
        assertArrayEquals(bytes, content.read(Digest.sha256(bytes), 1000));
        assertEquals(List.of(), content.ingests(NS));
    }

    @Test
    void truncate_anywhere_thenComplete() throws Exception {
        byte[] bytes = Trees.random(4, 20_000);
        for (int to : new int[] {0, 1, 4096, 9999, 10_000}) {
            Digest digest;
            try (Ingest ingest = content.ingest(NS, "ref", Optional.empty())) {
                write(ingest, bytes, 0, 10_000);
                ingest.truncate(to);
                assertEquals(to, ingest.offset());
            }
            try (Ingest ingest = content.ingest(NS, "ref", Optional.empty())) {
                assertEquals(to, ingest.offset());
                write(ingest, bytes, to, bytes.length);
                digest = ingest.commit(-1, Digest.sha256(bytes), Map.of(), List.of()).digest();
            }
            content.delete(NS, digest);
        }
    }

    @Test
    void updateLabels_replaceAllAndMasked() throws Exception {
        BlobInfo old = add(NS, Trees.random(5, 10));
        Digest digest = old.digest();
        BlobInfo set = content.updateLabels(NS, digest, Map.of("a", "1", "b", "2"), List.of());
        assertEquals(Map.of("a", "1", "b", "2"), set.labels());
        assertTrue(set.updated().isAfter(old.updated()));
        assertEquals(old.created(), set.created());
        assertEquals(
                Map.of("a", "1", "c", "3"),
                content.updateLabels(NS, digest, Map.of("c", "3", "d", "4"), List.of("b", "c"))
                        .labels());
        assertEquals(
                Map.of("z", "1"),
                content.updateLabels(NS, digest, Map.of("z", "1", "y", ""), List.of()).labels());
        assertKind(
                ErrorKind.INVALID_ARGUMENT,
                () -> content.updateLabels(NS, digest, Map.of("k", "x".repeat(4096)), List.of()));
        assertKind(
                ErrorKind.NOT_FOUND,
                () -> content.updateLabels(OTHER, digest, Map.of(), List.of()));
    }

    @Test
    void commit_wrongDigest_leavesNothing() throws Exception {
        byte[] bytes = Trees.random(6, 100);
        try (Ingest ingest = content.ingest(NS, "ref", Optional.empty())) {
            write(ingest, bytes, 0, 100);
            DigestMismatchException e =
                    assertThrows(
                            DigestMismatchException.class,
                            () ->
                                    ingest.commit(
                                            100, Digest.sha256(new byte[0]), Map.of(), List.of()));
            assertEquals(Digest.sha256(bytes), e.got());
        }
        assertEquals(List.of(), leftovers());
        assertFalse(Files.exists(content.path(Digest.sha256(bytes))));
        add(NS, bytes);
    }

    @Test
    void commit_wrongSize_leavesNothing() throws Exception {
        byte[] bytes = Trees.random(7, 100);
        try (Ingest ingest = content.ingest(NS, "ref", Optional.empty())) {
            write(ingest, bytes, 0, 100);
            assertThrows(
                    SizeMismatchException.class,
                    () -> ingest.commit(101, Digest.sha256(bytes), Map.of(), List.of()));
        }
        assertEquals(List.of(), leftovers());
    }

    @Test
    void write_beyondExpectedSize_isRefused() throws Exception {
        byte[] bytes = Trees.random(8, 100);
        try (Ingest ingest = content.ingest(NS, "ref", Optional.of(descriptor(bytes)))) {
            write(ingest, bytes, 0, 60);
            assertThrows(SizeMismatchException.class, () -> write(ingest, bytes, 50, 100));
            assertEquals(60, ingest.offset());
            write(ingest, bytes, 60, 100);
            ingest.commit(-1, Digest.sha256(bytes), Map.of(), List.of());
        }
    }

    @Test
    void ingest_secondWriter_unavailableUntilClosed() throws Exception {
        try (Ingest _ = content.ingest(NS, "ref", Optional.empty())) {
            assertKind(ErrorKind.UNAVAILABLE, () -> content.ingest(NS, "ref", Optional.empty()));
            assertKind(ErrorKind.UNAVAILABLE, () -> content.abort(NS, "ref"));
            content.ingest(OTHER, "ref", Optional.empty()).close();
        }
        content.ingest(NS, "ref", Optional.empty()).close();
        content.abort(NS, "ref");
        assertKind(ErrorKind.NOT_FOUND, () -> content.abort(NS, "ref"));
    }

    @Test
    void namespaces_shareBytesButNotVisibility() throws Exception {
        byte[] bytes = Trees.random(9, 100);
        Digest digest = add(NS, bytes).digest();
        assertEquals(Optional.empty(), content.find(OTHER, digest));
        assertTrue(content.adopt(OTHER, digest, Map.of("only", "here")));
        assertEquals(Map.of(), content.info(NS, digest).labels());
        assertEquals(Map.of("only", "here"), content.info(OTHER, digest).labels());
        content.delete(NS, digest);
        assertArrayEquals(bytes, content.read(digest, 100));
        content.delete(OTHER, digest);
        assertKind(ErrorKind.NOT_FOUND, () -> content.read(digest, 100));
        assertFalse(content.adopt(NS, digest, Map.of()));
        assertKind(ErrorKind.NOT_FOUND, () -> content.delete(NS, digest));
    }

    @Test
    void list_isOrderedAndOfTheNamespace() throws Exception {
        List<Digest> digests = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            digests.add(add(NS, Trees.random(100 + i, 10)).digest());
        }
        add(OTHER, Trees.random(200, 10));
        List<Digest> listed = new ArrayList<>();
        content.list(NS, info -> listed.add(info.digest()));
        digests.sort(null);
        assertEquals(digests, listed);
    }

    @Test
    void write_smallBlob_recordsReferences() throws Exception {
        byte[] child = Trees.random(10, 10);
        byte[] manifest = "{\"x\":1}".getBytes(StandardCharsets.UTF_8);
        Digest digest = Digest.sha256(manifest);
        Digest to = Digest.sha256(child);
        content.write(NS, digest, manifest, Map.of("a", "b"), List.of(to));
        assertEquals(
                List.of(NodeId.blob(to)),
                store.database().read(view -> view.edgesFrom(NodeId.blob(digest))));
        BlobInfo again = content.write(OTHER, digest, manifest, Map.of(), List.of(to));
        assertEquals(Map.of(), again.labels());
        assertEquals(1L, (long) store.database().read(v -> v.references(NodeId.blob(to))));
        content.references(digest, List.of());
        assertEquals(0L, (long) store.database().read(v -> v.references(NodeId.blob(to))));
        assertThrows(
                DigestMismatchException.class,
                () -> content.write(NS, to, manifest, Map.of(), List.of()));
        assertEquals(List.of(), leftovers());
    }

    private void damage(Digest digest, byte[] bytes) throws IOException {
        Path file = content.path(digest);
        Files.delete(file);
        if (bytes.length > 0) {
            Files.write(file, bytes);
        }
    }

    @Test
    void recheck_fileThatIsNotWhole_goesAndMayComeAgain() throws Exception {
        byte[] bytes = Trees.random(5, 50_000);
        Digest digest = Digest.sha256(bytes);
        byte[] changed = bytes.clone();
        changed[40_000] ^= 1;
        add(NS, bytes);
        assertTrue(content.recheck(digest));
        for (byte[] found : List.of(changed, new byte[700], new byte[0])) {
            damage(digest, found);

            assertFalse(content.recheck(digest));

            assertFalse(Files.exists(content.path(digest)));
            assertEquals(Optional.empty(), content.findWhole(NS, digest));
            assertFalse(content.adopt(OTHER, digest, Map.of()));
            assertEquals(Optional.empty(), content.find(OTHER, digest));
            try (Ingest ingest = content.ingest(NS, "again", Optional.of(descriptor(bytes)))) {
                write(ingest, bytes, 0, bytes.length);
                ingest.commit(bytes.length, digest, Map.of(), List.of());
            }
            assertArrayEquals(bytes, content.read(digest, bytes.length));
            assertEquals(content.find(NS, digest), content.findWhole(NS, digest));
            assertTrue(content.recheck(digest));
        }
        assertEquals(List.of(), store.maintenance().checkFiles(true));
    }

    @Test
    void write_whereTheFileHasOtherBytes_replacesIt() throws Exception {
        byte[] bytes = "a document".getBytes(StandardCharsets.UTF_8);
        Digest digest = Digest.sha256(bytes);
        content.write(NS, digest, bytes, Map.of("a", "b"), List.of());
        for (String found : List.of("A document", "short", "")) {
            damage(digest, found.getBytes(StandardCharsets.UTF_8));

            content.write(NS, digest, bytes, Map.of(), List.of());

            assertArrayEquals(bytes, content.read(digest, 100));
            assertEquals(Map.of("a", "b"), content.info(NS, digest).labels());
        }
        assertThrows(
                DigestMismatchException.class,
                () -> content.write(NS, digest, new byte[10], Map.of(), List.of()));
        assertArrayEquals(bytes, content.read(digest, 100));
        assertEquals(List.of(), store.maintenance().checkFiles(true));
    }

    @Test
    void read_damagedFile_isDataLoss() throws Exception {
        Digest digest = add(NS, Trees.random(11, 100)).digest();
        Files.write(content.path(digest), new byte[100]);
        assertKind(ErrorKind.DATA_LOSS, () -> content.read(digest, 100));
        assertKind(ErrorKind.LIMIT_EXCEEDED, () -> content.read(digest, 99));
        assertEquals(1, store.maintenance().checkFiles(true).size());
        assertEquals(List.of(), store.maintenance().checkFiles(false));
    }

    @Test
    void commit_fileOfKnownBlobWasLost_healsIt() throws Exception {
        byte[] bytes = Trees.random(12, 100);
        Digest digest = add(NS, bytes).digest();
        Files.delete(content.path(digest));
        assertEquals(1, store.maintenance().checkFiles(false).size());
        add(NS, bytes);
        assertArrayEquals(bytes, content.read(digest, 100));
        assertEquals(List.of(), store.maintenance().checkFiles(true));
    }

    @Test
    void commit_otherAlgorithmOnlyKnownThen_hashesAgain() throws Exception {
        byte[] bytes = Trees.random(13, 5000);
        Digest sha512 =
                Digest.of(
                        Digest.Algorithm.SHA512,
                        java.security.MessageDigest.getInstance("SHA-512").digest(bytes));
        try (Ingest ingest = content.ingest(NS, "ref", Optional.empty())) {
            write(ingest, bytes, 0, bytes.length);
            assertEquals(sha512, ingest.commit(-1, sha512, Map.of(), List.of()).digest());
        }
        assertArrayEquals(bytes, content.read(sha512, 5000));
        Digest zero = Digest.sha256(new byte[0]);
        assertNotEquals(zero, sha512);
    }

    @Test
    void commit_emptyBlob_works() throws Exception {
        assertEquals(0, add(NS, new byte[0]).sizeBytes());
        assertEquals(0, content.read(Digest.sha256(new byte[0]), 0).length);
    }

    @Test
    void ingest_moreThanTheDiskHas_isRefusedAtOnce() throws Exception {
        Descriptor huge =
                new Descriptor("x", Digest.sha256(new byte[1]), Descriptor.MAX_SIZE_BYTES);
        assertTrue(
                directory.toFile().getUsableSpace() < Descriptor.MAX_SIZE_BYTES,
                "needs a disk below 1 TiB");
        assertKind(ErrorKind.NO_SPACE, () -> content.ingest(NS, "huge", Optional.of(huge)));
        assertKind(ErrorKind.NOT_FOUND, () -> content.info(NS, huge.digest()));
        // The reference is free again.
        content.ingest(NS, "huge", Optional.empty()).close();
    }

    @Test
    void names_fromOutside_areChecked() {
        for (String bad : List.of("", "a/b", ".a", "a b", "x".repeat(77))) {
            assertKind(
                    ErrorKind.INVALID_ARGUMENT, () -> content.ingest(bad, "r", Optional.empty()));
        }
        assertKind(ErrorKind.INVALID_ARGUMENT, () -> content.ingest(NS, "", Optional.empty()));
    }

    @Test
    void dropDead_oldIngests_exceptThoseInUse() throws Exception {
        content.ingest(NS, "old", Optional.empty()).close();
        Path data = Trees.files(directory.resolve("store/ingest")).getFirst();
        Files.setLastModifiedTime(
                data.resolveSibling("data"),
                java.nio.file.attribute.FileTime.from(clock.instant().minus(Duration.ofHours(25))));
        try (Ingest fresh = content.ingest(NS, "fresh", Optional.empty())) {
            Files.setLastModifiedTime(
                    ((FileContentStore) content)
                            .findIngests().stream()
                                    .filter(FileContentStore.FoundIngest::active)
                                    .findFirst()
                                    .orElseThrow()
                                    .directory()
                                    .resolve("data"),
                    java.nio.file.attribute.FileTime.from(Instant.EPOCH));
            assertEquals(1, ((FileContentStore) content).dropDead());
            assertEquals("fresh", content.ingests(NS).getFirst().ref());
            assertEquals(1, content.ingests(NS).size());
            fresh.abort();
        }
    }
}
