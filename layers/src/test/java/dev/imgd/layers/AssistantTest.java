package dev.imgd.layers;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.github.luben.zstd.Zstd;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ReadableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/// A second thread that fills windows ahead.
class AssistantTest {
    private static final int SIZE = 5_000_000;

    @TempDir Path directory;

    /// Compresses to a quarter, about.
    private static byte[] content() {
        byte[] content = new byte[SIZE];
        Random random = new Random(7);
        for (int i = 0; i < SIZE; i++) {
            content[i] = (byte) ('a' + random.nextInt(4));
        }
        return content;
    }

    private static byte[] compressed(Compression compression, byte[] content) {
        return switch (compression) {
            case NONE -> content;
            case GZIP -> Apply.gzip(content);
            case ZSTD -> Zstd.compress(content);
        };
    }

    private static BlobStream open(byte[] blob, Assistant assistant) throws IOException {
        return new BlobStream(
                "layer 1", Apply.channel(blob), Limits.defaults(), Growth.UNWATCHED, assistant);
    }

    /// Reads in pieces that do not fit the windows, small ones as headers are in between.
    private static byte[] read(BlobStream stream, int piece) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream(SIZE);
        readTo(out, stream, piece);
        return out.toByteArray();
    }

    private static void readTo(ByteArrayOutputStream out, BlobStream stream, int piece)
            throws IOException {
        byte[] copy = new byte[piece];
        while (true) {
            assertEquals(out.size(), stream.offset());
            int header = Math.min(Buffers.SMALL_BYTES, stream.require(Buffers.SMALL_BYTES));
            stream.window().get(copy, 0, header);
            out.write(copy, 0, header);
            ByteBuffer view = stream.view(piece);
            if (!view.hasRemaining()) {
                return;
            }
            int length = view.remaining();
            view.get(copy, 0, length);
            out.write(copy, 0, length);
        }
    }

    @ParameterizedTest
    @EnumSource
    void read_secondThreadAlways_sameBytesAndDigest(Compression compression) throws Exception {
        byte[] content = content();
        byte[] blob = compressed(compression, content);
        for (int every : new int[] {1, 2, 3, 7}) {
            try (Colleague colleague = new Colleague(every);
                    BlobStream alone = open(blob, Assistant.NONE);
                    BlobStream helped = open(blob, colleague)) {
                assertArrayEquals(content, read(helped, 70_001));
                assertTrue(colleague.begun() > 0);
                assertEquals(alone.drain(), helped.drain());
                assertEquals(blob.length, helped.compressedBytes());
                assertEquals(SIZE, helped.uncompressedBytes());
            }
        }
    }

    @Test
    void read_wrongChecksum_reportedBehindTheLastByteBeforeIt() throws Exception {
        byte[] content = content();
        byte[] blob = compressed(Compression.GZIP, content);
        blob[blob.length - 6] ^= 1;
        try (Colleague colleague = new Colleague(1);
                BlobStream stream = open(blob, colleague)) {
            ByteArrayOutputStream seen = new ByteArrayOutputStream();
            ImageException e =
                    assertThrows(ImageException.class, () -> readTo(seen, stream, 70_001));
            assertEquals(ErrorKind.INVALID_CONTENT, e.kind());
            assertTrue(e.getMessage().contains("wanted CRC"), e.getMessage());
            // Whole windows were handed out; the one with the mistake was not.
            assertTrue(seen.size() > SIZE - 300_000, () -> "saw only " + seen.size());
            assertArrayEquals(Arrays.copyOf(content, seen.size()), seen.toByteArray());
        }
    }

    @Test
    void read_growthRefuses_sameErrorAndNoByteMore() throws Exception {
        AtomicLong grown = new AtomicLong();
        Growth refusing =
                bytes -> {
                    if (grown.addAndGet(bytes) > 2_000_000) {
                        throw new ImageException(ErrorKind.NO_SPACE, "no more");
                    }
                };
        try (Colleague colleague = new Colleague(1);
                BlobStream stream =
                        new BlobStream(
                                "layer 1",
                                Apply.channel(content()),
                                Limits.defaults(),
                                refusing,
                                colleague)) {
            ByteArrayOutputStream seen = new ByteArrayOutputStream();
            ImageException e =
                    assertThrows(ImageException.class, () -> readTo(seen, stream, 50_000));
            assertEquals("no more", e.getMessage());
            assertTrue(seen.size() <= 2_000_000, () -> "saw " + seen.size());
        }
    }

    /// The second thread uses native memory that closing frees.
    @ParameterizedTest
    @ValueSource(ints = {0, 300_000, 1_500_000})
    void close_whileTheSecondThreadWorks_waitsForIt(int read) throws Exception {
        byte[] blob = compressed(Compression.GZIP, content());
        AtomicLong grown = new AtomicLong();
        long grownAtTheEnd;
        try (Colleague colleague = new Colleague(1)) {
            BlobStream stream =
                    new BlobStream(
                            "layer 1",
                            Apply.channel(blob),
                            Limits.defaults(),
                            grown::addAndGet,
                            colleague);
            assertEquals(read, stream.skip(read));
            stream.require(1);
            stream.close();
            grownAtTheEnd = grown.get();
        }
        assertEquals(grownAtTheEnd, grown.get());
    }

    @Test
    void read_interruptedWhileTheSecondThreadWorks_cancelled() throws Exception {
        CountDownLatch reading = new CountDownLatch(1);
        CountDownLatch more = new CountDownLatch(1);
        byte[] content = content();
        AtomicReference<Throwable> failure = new AtomicReference<>();
        ReadableByteChannel slow =
                new ReadableByteChannel() {
                    private int at;

                    @Override
                    public int read(ByteBuffer into) {
                        if (at > 1_000_000) {
                            reading.countDown();
                            boolean interrupted = false;
                            while (more.getCount() > 0) {
                                try {
                                    more.await();
                                } catch (InterruptedException e) {
                                    interrupted = true;
                                }
                            }
                            if (interrupted) {
                                Thread.currentThread().interrupt();
                            }
                        }
                        int length = Math.min(into.remaining(), SIZE - at);
                        into.put(content, at, length);
                        at += length;
                        return length == 0 ? -1 : length;
                    }

                    @Override
                    public boolean isOpen() {
                        return true;
                    }

                    @Override
                    public void close() {}
                };
        try (Colleague colleague = new Colleague(1)) {
            Thread reader =
                    Thread.ofPlatform()
                            .start(
                                    () -> {
                                        try (BlobStream stream =
                                                new BlobStream(
                                                        "layer 1",
                                                        slow,
                                                        Limits.defaults(),
                                                        Growth.UNWATCHED,
                                                        colleague)) {
                                            stream.drain();
                                        } catch (IOException | RuntimeException | Error e) {
                                            failure.set(e);
                                        }
                                    });
            assertTrue(reading.await(20, TimeUnit.SECONDS));
            reader.interrupt();
            more.countDown();
            reader.join();
        }
        assertTrue(
                failure.get() instanceof ImageException e && e.kind() == ErrorKind.CANCELLED,
                () -> "got " + failure.get());
    }

    @Test
    void apply_largeFileWithSecondThread_sameFile() throws Exception {
        byte[] content = content();
        byte[] tar = new TarBuilder().file("large", content, 0644).bytes();
        try (Colleague colleague = new Colleague(1)) {
            Applied applied =
                    new LayerApplier(Limits.defaults())
                            .apply(
                                    "layer 1",
                                    Apply.channel(Apply.gzip(tar)),
                                    directory,
                                    null,
                                    Growth.UNWATCHED,
                                    colleague);
            assertTrue(colleague.begun() > 3);
            assertEquals(tar.length, applied.uncompressedBytes());
        }
        assertArrayEquals(content, Files.readAllBytes(directory.resolve("large")));
    }
}
