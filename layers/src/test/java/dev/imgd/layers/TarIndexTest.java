package dev.imgd.layers;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.LimitExceededException;
import dev.imgd.model.Limits;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.SeekableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TarIndexTest {
    @TempDir Path directory;

    /// A file that counts what is read from it.
    private static final class Counted implements SeekableByteChannel {
        private final FileChannel file;
        long bytesRead;

        Counted(FileChannel file) {
            this.file = file;
        }

        @Override
        public int read(ByteBuffer to) throws IOException {
            int n = file.read(to);
            bytesRead += Math.max(0, n);
            return n;
        }

        @Override
        public int write(ByteBuffer from) {
            throw new UnsupportedOperationException();
        }

        @Override
        public long position() throws IOException {
            return file.position();
        }

        @Override
        public SeekableByteChannel position(long position) throws IOException {
            file.position(position);
            return this;
        }

        @Override
        public long size() throws IOException {
            return file.size();
        }

        @Override
        public SeekableByteChannel truncate(long size) {
            throw new UnsupportedOperationException();
        }

        @Override
        public boolean isOpen() {
            return file.isOpen();
        }

        @Override
        public void close() throws IOException {
            file.close();
        }
    }

    private TarIndex index(byte[] archive, Limits limits) throws IOException {
        Path file = Files.write(directory.resolve("archive.tar"), archive);
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            return TarIndex.read("archive", channel, limits);
        }
    }

    private static byte[] content(byte[] archive, TarIndex.Entry entry) {
        int offset = Math.toIntExact(entry.offset());
        return Arrays.copyOfRange(archive, offset, offset + Math.toIntExact(entry.sizeBytes()));
    }

    @Test
    void read_everyKindOfEntry_isFoundAtItsPlace() throws IOException {
        // Larger than what is read ahead, so that what follows is reached by seeking.
        byte[] large = "0123456789abcdef".repeat(100_000).getBytes(UTF_8);
        byte[] archive =
                new TarBuilder()
                        .file("./index.json", "{}")
                        .file("large", large, 0644)
                        .directory("blobs", 0755)
                        .pax("path", "blobs/" + "n".repeat(200))
                        .file("short", "by PAX")
                        .longName('L', "blobs/" + "g".repeat(200))
                        .file("short", "by GNU")
                        .link("large", "hard")
                        .symlink("../large", "blobs/soft")
                        .file("twice", "first")
                        .file("twice", "second")
                        .pax("GNU.sparse.size", "9000", "GNU.sparse.map", "512,512")
                        .file("sparse", "z".repeat(512))
                        .bytes();
        TarIndex index = index(archive, Limits.defaults());
        assertEquals("{}", new String(content(archive, index.find("index.json").get()), UTF_8));
        assertTrue(Arrays.equals(large, content(archive, index.find("large").get())));
        String pax = "blobs/" + "n".repeat(200);
        assertEquals("by PAX", new String(content(archive, index.find(pax).get()), UTF_8));
        String gnu = "blobs/" + "g".repeat(200);
        assertEquals("by GNU", new String(content(archive, index.find(gnu).get()), UTF_8));
        assertEquals("second", new String(content(archive, index.find("twice").get()), UTF_8));
        assertEquals(TarIndex.Kind.HARD_LINK, index.find("hard").get().kind());
        assertEquals("large", index.find("hard").get().target());
        assertEquals(TarIndex.Kind.SYMBOLIC_LINK, index.find("blobs/soft").get().kind());
        assertEquals(TarIndex.Kind.OTHER, index.find("sparse").get().kind());
        assertEquals(Optional.empty(), index.find("short"));
        assertEquals(Optional.empty(), index.find(""));
    }

    @Test
    void read_contentOfGigabytes_isNotRead() throws IOException {
        long size = 5L << 30;
        byte[] first = new TarBuilder().entry(h -> h.name("large").base256(124, 12, size)).bytes();
        byte[] header = Arrays.copyOf(first, 512);
        byte[] last = new TarBuilder().file("last", "here").bytes();
        Path file = directory.resolve("large.tar");
        try (FileChannel channel =
                FileChannel.open(
                        file,
                        StandardOpenOption.CREATE_NEW,
                        StandardOpenOption.READ,
                        StandardOpenOption.WRITE)) {
            channel.write(ByteBuffer.wrap(header), 0);
            channel.write(ByteBuffer.wrap(last), 512 + size);
            Counted counted = new Counted(channel);
            TarIndex index = TarIndex.read("archive", counted, Limits.defaults());
            assertEquals(512 + size + 512, index.find("last").get().offset());
            assertTrue(counted.bytesRead < 2 << 20, "read " + counted.bytesRead);

            channel.truncate(size);
            channel.position(0);
            ImageException e =
                    assertThrows(
                            ImageException.class,
                            () -> TarIndex.read("archive", channel, Limits.defaults()));
            assertEquals(ErrorKind.INVALID_CONTENT, e.kind());
            assertTrue(e.getMessage().contains("ends inside"), e.getMessage());
        }
    }

    @Test
    void read_tooManyEntries_stopsBeforeTheRest() throws Exception {
        TarBuilder tar = new TarBuilder();
        for (int i = 0; i < 11; i++) {
            tar.directory("d" + i, 0755);
        }
        // Would be refused for another reason if it was looked at.
        byte[] archive = tar.raw("garbage".repeat(100).getBytes(UTF_8)).bytes();
        Limits limits = Limits.defaults().with(Limits.Key.ARCHIVE_ENTRIES, 10);
        LimitExceededException e =
                assertThrows(LimitExceededException.class, () -> index(archive, limits));
        assertEquals("limits.archive_entries", e.key());
    }

    @Test
    void read_namesThatFillTheMemory_areRefused() throws Exception {
        TarBuilder tar = new TarBuilder();
        for (int i = 0; i < 400; i++) {
            tar.longName('L', "n".repeat(3000) + i).file("short", "");
        }
        byte[] archive = tar.bytes();
        Limits limits = Limits.defaults().with(Limits.Key.DIRECTORY_BYTES, 1 << 20);
        LimitExceededException e =
                assertThrows(LimitExceededException.class, () -> index(archive, limits));
        assertEquals("limits.directory_bytes", e.key());
        assertTrue(index(archive, Limits.defaults()).find("n".repeat(3000) + 7).isPresent());
    }

    @Test
    void read_extensionOfGigabytes_isRefused() {
        byte[] archive =
                new TarBuilder().entry(h -> h.type('x').base256(124, 12, 3L << 30)).bytes();
        LimitExceededException e =
                assertThrows(LimitExceededException.class, () -> index(archive, Limits.defaults()));
        assertEquals("limits.pax_bytes", e.key());
    }

    /// Whatever comes in, only a refusal comes out, and no entry reaches beyond the archive.
    @Test
    void read_mutated_isWithinTheArchiveOrRefused() throws IOException {
        byte[] archive =
                new TarBuilder()
                        .file("manifest.json", "[]".repeat(400))
                        .pax("path", "blobs/sha256/" + "0f".repeat(32))
                        .file("short", "x".repeat(3000))
                        .longName('K', "manifest.json")
                        .symlink("short", "link")
                        .link("manifest.json", "hard")
                        .entry(h -> h.name("big").base256(124, 12, 0))
                        .bytes();
        Random random = new Random(9);
        int accepted = 0;
        for (int round = 0; round < 3000; round++) {
            byte[] changed = archive.clone();
            for (int edits = random.nextInt(4); edits >= 0; edits--) {
                int block = random.nextInt(changed.length / 512) * 512;
                // Sizes and types, where it hurts, or anywhere.
                int at = random.nextBoolean() ? block + 124 + random.nextInt(33) : block;
                changed[Math.min(at + random.nextInt(8), changed.length - 1)] =
                        (byte) random.nextInt(256);
                if (random.nextInt(8) != 0) {
                    seal(changed, block);
                }
            }
            try {
                TarIndex index = index(changed, Limits.defaults());
                accepted++;
                for (String name : List.of("manifest.json", "hard", "big", "link")) {
                    index.find(name)
                            .ifPresent(
                                    e ->
                                            assertTrue(
                                                    e.offset() >= 0
                                                            && e.sizeBytes() >= 0
                                                            && e.offset() + e.sizeBytes()
                                                                    <= changed.length,
                                                    e.toString()));
                }
            } catch (ImageException e) {
                assertEquals(1, e.getMessage().lines().count(), e.getMessage());
            }
        }
        assertTrue(accepted > 0 && accepted < 3000, "accepted " + accepted);
    }

    /// Makes the checksum of a block right.
    private static void seal(byte[] archive, int block) {
        Arrays.fill(archive, block + 148, block + 156, (byte) ' ');
        int sum = 0;
        for (int i = block; i < block + 512; i++) {
            sum += archive[i] & 0xff;
        }
        byte[] digits = "%06o\0 ".formatted(sum).getBytes(UTF_8);
        System.arraycopy(digits, 0, archive, block + 148, 8);
    }
}
