package dev.imgd.content;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.ReadableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// Resuming after a kill, and reading behind the writer.
@Timeout(120)
final class FileIngestTest {
    private static final String NS = "default";
    private static final int MIB = 1 << 20;

    @TempDir Path directory;

    private Store open(String name) throws ImageException {
        return Store.open(directory.resolve(name), StoreOptions.defaults());
    }

    private static void write(Ingest ingest, byte[] bytes, int from, int to) throws IOException {
        for (int at = from; at < to; at += 100_000) {
            ingest.write(ByteBuffer.wrap(bytes, at, Math.min(100_000, to - at)));
        }
    }

    /// A copy of the store at this moment is what a kill would leave.
    private Path killed(String name) throws IOException {
        Path copy = directory.resolve("killed");
        Trees.copy(directory.resolve(name), copy);
        return copy;
    }

    private FileIngest resume(Store store, Optional<Descriptor> expected) throws ImageException {
        return (FileIngest) store.content().ingest(NS, "ref", expected);
    }

    @Test
    void resume_afterKill_readsOnlyTheTail() throws Exception {
        byte[] bytes = Trees.random(1, 30 * MIB);
        Digest digest = Digest.sha256(bytes);
        Path copy;
        try (Store store = open("a");
                Ingest ingest = store.content().ingest(NS, "ref", Optional.empty())) {
            write(ingest, bytes, 0, 21 * MIB);
            copy = killed("a");
        }
        try (Store store = Store.open(copy, StoreOptions.defaults());
                FileIngest ingest = resume(store, Optional.empty())) {
            assertEquals(21 * MIB, ingest.offset());
            assertTrue(ingest.rehashedBytes() > 0);
            assertTrue(
                    ingest.rehashedBytes() <= FileIngest.CHECKPOINT_BYTES + 100_000,
                    "read again: " + ingest.rehashedBytes());
            write(ingest, bytes, 21 * MIB, bytes.length);
            assertEquals(digest, ingest.commit(bytes.length, digest, Map.of(), List.of()).digest());
        }
    }

    @Test
    void lend_buffersInTurn_hashesEveryByteOnce() throws Exception {
        byte[] bytes = Trees.random(7, 21 * MIB + 4321);
        Digest digest = Digest.sha256(bytes);
        Path copy;
        try (Store store = open("a");
                Ingest ingest = store.content().ingest(NS, "ref", Optional.empty())) {
            lend(ingest, bytes, 0, 17 * MIB);
            ingest.reclaim();
            copy = killed("a");
            lend(ingest, bytes, 17 * MIB, bytes.length);
            assertEquals(bytes.length, ingest.offset());
            assertEquals(digest, ingest.commit(bytes.length, digest, Map.of(), List.of()).digest());
            ingest.reclaim();
        }
        try (Store store = Store.open(copy, StoreOptions.defaults());
                FileIngest ingest = resume(store, Optional.empty())) {
            assertEquals(17 * MIB, ingest.offset());
            assertTrue(ingest.rehashedBytes() <= FileIngest.CHECKPOINT_BYTES, "checkpoints");
            lend(ingest, bytes, 17 * MIB, bytes.length);
            ingest.commit(bytes.length, digest, Map.of(), List.of());
        }
    }

    @Test
    void lend_bufferChangedAfterReclaim_doesNotMatter() throws Exception {
        byte[] bytes = Trees.random(8, MIB);
        try (Store store = open("a");
                Ingest ingest = store.content().ingest(NS, "ref", Optional.empty())) {
            ByteBuffer buffer = ByteBuffer.allocateDirect(MIB).put(bytes).flip();
            ingest.lend(buffer);
            ingest.reclaim();
            buffer.clear().put(new byte[MIB]);
            ingest.commit(MIB, Digest.sha256(bytes), Map.of(), List.of());
        }
    }

    /// Each buffer is overwritten as soon as the ingest may no longer read it.
    private static void lend(Ingest ingest, byte[] bytes, int from, int to) throws IOException {
        ByteBuffer[] buffers = new ByteBuffer[Ingest.LENT_BUFFERS];
        for (int i = 0; i < buffers.length; i++) {
            buffers[i] = ByteBuffer.allocateDirect(MIB);
        }
        int turn = 0;
        for (int at = from; at < to; turn++) {
            int size = Math.min(turn % 3 == 0 ? MIB : 70_000, to - at);
            ByteBuffer buffer = buffers[turn % buffers.length].clear();
            ingest.lend(buffer.put(bytes, at, size).flip());
            at += size;
        }
    }

    @Test
    void resume_tailTornOrCheckpointDamaged_hashesWhatIsThere() throws Exception {
        byte[] bytes = Trees.random(2, 20 * MIB);
        Path copy;
        try (Store store = open("a");
                Ingest ingest = store.content().ingest(NS, "ref", Optional.empty())) {
            write(ingest, bytes, 0, 18 * MIB);
            copy = killed("a");
        }
        List<Path> files = Trees.files(copy.resolve("ingest"));
        try (FileChannel data = FileChannel.open(files.getFirst(), StandardOpenOption.WRITE);
                FileChannel state = FileChannel.open(files.get(1), StandardOpenOption.WRITE)) {
            data.truncate(17 * MIB + 12345);
            state.write(ByteBuffer.wrap(new byte[100]), 0); // The second checkpoint, at 16 MiB.
        }
        try (Store store = Store.open(copy, StoreOptions.defaults());
                FileIngest ingest = resume(store, Optional.empty())) {
            assertEquals(17 * MIB + 12345, ingest.offset());
            assertTrue(ingest.rehashedBytes() > FileIngest.CHECKPOINT_BYTES);
            assertTrue(ingest.rehashedBytes() < 10 * MIB);
            write(ingest, bytes, 17 * MIB + 12345, bytes.length);
            ingest.commit(bytes.length, Digest.sha256(bytes), Map.of(), List.of());
        }
    }

    @Test
    void resume_afterReboot_believesOnlyTheBytes() throws Exception {
        byte[] bytes = Trees.random(3, 9 * MIB);
        Path ingestDirectory;
        try (Store store = open("a");
                Ingest ingest = store.content().ingest(NS, "ref", Optional.empty())) {
            write(ingest, bytes, 0, bytes.length);
            ingestDirectory =
                    ((FileContentStore) store.content()).findIngests().getFirst().directory();
        }
        // What a power cut may do: the checkpoint is there, bytes before it are zeros.
        try (FileChannel data =
                FileChannel.open(ingestDirectory.resolve("data"), StandardOpenOption.WRITE)) {
            data.write(ByteBuffer.allocate(4096), 4096);
        }
        Path stateFile = ingestDirectory.resolve("state");
        IngestState.Saved saved = IngestState.read(stateFile);
        IngestState.Checkpoint point = saved.checkpoint();
        try (FileChannel state = FileChannel.open(stateFile, StandardOpenOption.WRITE)) {
            for (int i = 1; i <= 2; i++) {
                IngestState.writeCheckpoint(
                        state,
                        new IngestState.Checkpoint(
                                point.number() + i,
                                "another boot",
                                point.updated(),
                                point.offset(),
                                point.algorithm(),
                                point.hash()));
            }
        }
        try (Store store = open("a");
                FileIngest ingest = resume(store, Optional.empty())) {
            assertEquals(bytes.length, ingest.rehashedBytes());
            assertThrows(
                    ImageException.class,
                    () -> ingest.commit(bytes.length, Digest.sha256(bytes), Map.of(), List.of()));
        }
    }

    @Test
    void resume_sha512_keepsItsState() throws Exception {
        byte[] bytes = Trees.random(4, 12 * MIB);
        Digest digest =
                Digest.of(
                        Digest.Algorithm.SHA512,
                        MessageDigest.getInstance("SHA-512").digest(bytes));
        Optional<Descriptor> expected = Optional.of(new Descriptor("x", digest, bytes.length));
        try (Store store = open("a");
                Ingest ingest = store.content().ingest(NS, "ref", expected)) {
            write(ingest, bytes, 0, 11 * MIB);
        }
        try (Store store = open("a");
                FileIngest ingest = resume(store, expected)) {
            assertEquals(0, ingest.rehashedBytes());
            write(ingest, bytes, 11 * MIB, bytes.length);
            assertEquals(digest, ingest.commit(-1, digest, Map.of(), List.of()).digest());
        }
    }

    @Test
    void hashers_bothEngines_agreeAndResume() throws Exception {
        Random random = new Random(5);
        for (int round = 0; round < 200; round++) {
            byte[] bytes = Trees.random(round, random.nextInt(1000));
            int cut = bytes.length == 0 ? 0 : random.nextInt(bytes.length);
            List<BlobHasher> hashers = new ArrayList<>();
            hashers.add(BlobHasher.start(Digest.Algorithm.SHA256));
            hashers.add(new PortableHasher(Digest.Algorithm.SHA256));
            for (BlobHasher hasher : hashers) {
                hasher.update(ByteBuffer.wrap(bytes, 0, cut));
                BlobHasher resumed = BlobHasher.restore(Digest.Algorithm.SHA256, hasher.state());
                assertEquals(Digest.sha256(java.util.Arrays.copyOf(bytes, cut)), hasher.digest());
                ByteBuffer direct = ByteBuffer.allocateDirect(bytes.length - cut);
                resumed.update(direct.put(bytes, cut, bytes.length - cut).flip());
                assertEquals(Digest.sha256(bytes), resumed.digest());
                resumed.close();
                hasher.close();
            }
        }
    }

    private static byte[] drain(ReadableByteChannel channel, int step) throws IOException {
        try (channel) {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            ByteBuffer buffer = ByteBuffer.allocate(step);
            while (channel.read(buffer.clear()) >= 0) {
                out.write(buffer.array(), 0, buffer.position());
            }
            return out.toByteArray();
        }
    }

    @Test
    void follow_manyReaders_seeEverythingOnce() throws Exception {
        byte[] bytes = Trees.random(6, 8 * MIB + 17);
        try (ExecutorService readers = Executors.newVirtualThreadPerTaskExecutor();
                Store store = open("a")) {
            List<Future<byte[]>> results = new ArrayList<>();
            try (Ingest ingest = store.content().ingest(NS, "ref", Optional.empty())) {
                for (int i = 0; i < 8; i++) {
                    int step = 1000 + 37_000 * i;
                    ReadableByteChannel channel = ingest.follow();
                    results.add(readers.submit(() -> drain(channel, step)));
                }
                Random random = new Random(7);
                for (int at = 0; at < bytes.length; ) {
                    int n = Math.min(1 + random.nextInt(70_000), bytes.length - at);
                    ingest.write(ByteBuffer.wrap(bytes, at, n));
                    at += n;
                }
                ReadableByteChannel late = ingest.follow();
                results.add(readers.submit(() -> drain(late, 65536)));
                ingest.commit(-1, Digest.sha256(bytes), Map.of(), List.of());
                ReadableByteChannel after = ingest.follow();
                results.add(readers.submit(() -> drain(after, 65536)));
            }
            for (Future<byte[]> result : results) {
                assertArrayEquals(bytes, result.get());
            }
        }
    }

    private static ImageException failureOf(Future<?> reader) {
        Throwable cause =
                assertThrows(java.util.concurrent.ExecutionException.class, reader::get).getCause();
        return (ImageException) cause;
    }

    @Test
    void follow_writerFailsClosesOrRestarts_readersLearnIt() throws Exception {
        try (ExecutorService readers = Executors.newVirtualThreadPerTaskExecutor();
                Store store = open("a")) {
            Ingest failing = store.content().ingest(NS, "failing", Optional.empty());
            failing.write(ByteBuffer.wrap(new byte[10]));
            ReadableByteChannel one = failing.follow();
            Future<byte[]> first = readers.submit(() -> drain(one, 100));
            failing.fail(new ImageException(ErrorKind.UNAVAILABLE, "the registry went away"));
            assertEquals(ErrorKind.UNAVAILABLE, failureOf(first).kind());
            assertEquals("the registry went away", failureOf(first).getMessage());
            failing.close();

            Ingest closing = store.content().ingest(NS, "closing", Optional.empty());
            ReadableByteChannel two = closing.follow();
            Future<byte[]> second = readers.submit(() -> drain(two, 100));
            closing.close();
            assertEquals(ErrorKind.ABORTED, failureOf(second).kind());

            Ingest again = store.content().ingest(NS, "again", Optional.empty());
            again.write(ByteBuffer.wrap(new byte[10]));
            ReadableByteChannel three = again.follow();
            Future<byte[]> third = readers.submit(() -> drain(three, 100));
            again.truncate(0);
            assertEquals(ErrorKind.ABORTED, failureOf(third).kind());

            Ingest wrong = store.content().ingest(NS, "wrong", Optional.empty());
            wrong.write(ByteBuffer.wrap(new byte[10]));
            ReadableByteChannel four = wrong.follow();
            Future<byte[]> fourth = readers.submit(() -> drain(four, 100));
            assertThrows(
                    ImageException.class,
                    () -> wrong.commit(11, Digest.sha256(new byte[1]), Map.of(), List.of()));
            assertEquals(ErrorKind.DATA_LOSS, failureOf(fourth).kind());
            again.close();
        }
    }

    @Test
    void follow_readerInterrupted_writerGoesOn() throws Exception {
        byte[] bytes = Trees.random(8, 1000);
        try (ExecutorService readers = Executors.newThreadPerTaskExecutor(Thread::new);
                Store store = open("a");
                Ingest ingest = store.content().ingest(NS, "ref", Optional.empty())) {
            ReadableByteChannel channel = ingest.follow();
            Future<byte[]> reader = readers.submit(() -> drain(channel, 100));
            readers.shutdownNow();
            assertTrue(readers.awaitTermination(30, TimeUnit.SECONDS));
            assertThrows(Exception.class, reader::get);
            ingest.write(ByteBuffer.wrap(bytes));
            ingest.commit(1000, Digest.sha256(bytes), Map.of(), List.of());
            assertTrue(Files.exists(store.content().path(Digest.sha256(bytes))));
        }
    }

    @Test
    void commit_interruptedThread_losesNothing() throws Exception {
        byte[] bytes = Trees.random(9, 1000);
        Digest digest = Digest.sha256(bytes);
        try (Store store = open("a")) {
            Ingest ingest = store.content().ingest(NS, "ref", Optional.empty());
            ingest.write(ByteBuffer.wrap(bytes));
            Thread.currentThread().interrupt();
            ImageException e =
                    assertThrows(
                            ImageException.class,
                            () -> ingest.commit(1000, digest, Map.of(), List.of()));
            assertEquals(ErrorKind.CANCELLED, e.kind());
            assertTrue(Thread.interrupted());

            // Names and small blobs are written whatever the state of the thread.
            Thread.currentThread().interrupt();
            store.leases().create(NS, "lease", java.time.Duration.ofHours(1), Map.of());
            store.content().write(NS, Digest.sha256(new byte[1]), new byte[1], Map.of(), List.of());
            assertTrue(Thread.interrupted());

            try (FileIngest again = resume(store, Optional.empty())) {
                assertEquals(1000, again.offset());
                again.commit(1000, digest, Map.of(), List.of());
            }
            assertArrayEquals(bytes, store.content().read(digest, 1000));
        }
    }
}
