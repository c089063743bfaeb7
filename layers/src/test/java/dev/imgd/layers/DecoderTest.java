package dev.imgd.layers;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.github.luben.zstd.Zstd;
import com.github.luben.zstd.ZstdCompressCtx;
import com.github.luben.zstd.ZstdDictCompress;
import dev.imgd.linux.NativeInflate;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.LimitExceededException;
import dev.imgd.model.Limits;
import dev.imgd.testkit.Required;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ReadableByteChannel;
import java.util.Arrays;
import java.util.Random;
import java.util.function.Function;
import java.util.zip.CRC32;
import java.util.zip.Deflater;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class DecoderTest {
    /// The inflate engines; both must do the same.
    enum Engine {
        JDK(RawInflater.Zlib::new),
        ISAL(RawInflater.Isal::new);

        final Function<String, RawInflater> inflaters;

        Engine(Function<String, RawInflater> inflaters) {
            this.inflaters = inflaters;
        }

        Function<String, RawInflater> inflaters() {
            Required.library("libisal.so.2", this == JDK || NativeInflate.available());
            return inflaters;
        }
    }

    private static byte[] decode(Engine engine, byte[] blob) throws IOException {
        return decode(engine, blob, Integer.MAX_VALUE, Limits.defaults());
    }

    /// Decodes alone and with a second thread, which must make no difference.
    private static byte[] decode(Engine engine, byte[] blob, int piece, Limits limits)
            throws IOException {
        try (Colleague colleague = new Colleague(1)) {
            byte[] alone;
            try {
                alone = decode(engine, blob, piece, limits, Assistant.NONE);
            } catch (ImageException e) {
                ImageException helped =
                        assertThrows(
                                ImageException.class,
                                () -> decode(engine, blob, piece, limits, colleague));
                assertEquals(e.getMessage(), helped.getMessage());
                throw e;
            }
            assertArrayEquals(alone, decode(engine, blob, piece, limits, colleague));
            return alone;
        }
    }

    private static byte[] decode(
            Engine engine, byte[] blob, int piece, Limits limits, Assistant assistant)
            throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (BlobStream stream =
                new BlobStream(
                        "layer 1",
                        new Pieces(blob, piece),
                        limits,
                        Growth.UNWATCHED,
                        assistant,
                        engine.inflaters())) {
            byte[] buffer = new byte[1 << 16];
            while (true) {
                ByteBuffer view = stream.view(buffer.length);
                int length = view.remaining();
                if (length == 0) {
                    assertEquals(blob.length, stream.compressedBytes());
                    assertEquals(out.size(), stream.uncompressedBytes());
                    return out.toByteArray();
                }
                view.get(buffer, 0, length);
                out.write(buffer, 0, length);
            }
        }
    }

    /// Gives a few bytes at a time, as a network does.
    private static final class Pieces implements ReadableByteChannel {
        private final ByteBuffer bytes;
        private final int piece;

        Pieces(byte[] bytes, int piece) {
            this.bytes = ByteBuffer.wrap(bytes);
            this.piece = piece;
        }

        @Override
        public int read(ByteBuffer to) {
            int length = Math.min(piece, Math.min(bytes.remaining(), to.remaining()));
            if (length == 0) {
                return -1;
            }
            to.put(bytes.slice(bytes.position(), length));
            bytes.position(bytes.position() + length);
            return length;
        }

        @Override
        public boolean isOpen() {
            return true;
        }

        @Override
        public void close() {}
    }

    private static void refuses(Engine engine, byte[] blob, String why) {
        ImageException e = assertThrows(ImageException.class, () -> decode(engine, blob), why);
        assertEquals(ErrorKind.INVALID_CONTENT, e.kind(), e.getMessage());
        assertTrue(e.getMessage().startsWith("layer 1: "), e.getMessage());
        assertTrue(e.getMessage().contains(why), e.getMessage());
    }

    /// Compressible but not trivial: words of a seeded generator.
    private static byte[] sample(int length) {
        Random random = new Random(length);
        byte[] bytes = new byte[length];
        for (int i = 0; i < length; ) {
            byte[] word = Integer.toString(random.nextInt(5000), 36).getBytes(UTF_8);
            int count = Math.min(word.length, length - i);
            System.arraycopy(word, 0, bytes, i, count);
            i += count;
        }
        return bytes;
    }

    private static byte[] concat(byte[]... parts) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        for (byte[] part : parts) {
            out.writeBytes(part);
        }
        return out.toByteArray();
    }

    /// A member with every optional header field.
    private static byte[] memberWithAllFields(byte[] content) {
        ByteArrayOutputStream header = new ByteArrayOutputStream();
        header.writeBytes(new byte[] {0x1f, (byte) 0x8b, 8, 2 | 4 | 8 | 16, 1, 2, 3, 4, 0, 3});
        byte[] extra = sample(700);
        header.write(extra.length & 0xff);
        header.write(extra.length >> 8);
        header.writeBytes(extra);
        header.writeBytes("a name\0".getBytes(UTF_8));
        header.writeBytes("a comment\0".getBytes(UTF_8));
        CRC32 crc = new CRC32();
        crc.update(header.toByteArray());
        header.write((int) crc.getValue() & 0xff);
        header.write((int) crc.getValue() >> 8 & 0xff);
        byte[] plain = Apply.gzip(content);
        return concat(header.toByteArray(), Arrays.copyOfRange(plain, 10, plain.length));
    }

    // gzip

    @ParameterizedTest
    @EnumSource(Engine.class)
    void gzip_membersOfAllSizes_giveTheirContent(Engine engine) throws Exception {
        byte[] content = new byte[0];
        byte[] blob = new byte[0];
        for (int size : new int[] {1, 0, 100, 511, 262_144, 262_145, 0, 3_000_000, 7}) {
            content = concat(content, sample(size));
            blob = concat(blob, Apply.gzip(sample(size)));
        }
        assertArrayEquals(content, decode(engine, blob));
    }

    @ParameterizedTest
    @EnumSource(Engine.class)
    void gzip_byteByByte_givesTheSame(Engine engine) throws Exception {
        byte[] content = sample(20_000);
        byte[] blob = concat(memberWithAllFields(content), Apply.gzip(content), new byte[9]);
        byte[] wanted = concat(content, content);
        for (int piece : new int[] {1, 2, 3, 7, 11, 1000}) {
            assertArrayEquals(wanted, decode(engine, blob, piece, Limits.defaults()));
        }
    }

    @ParameterizedTest
    @EnumSource(Engine.class)
    void gzip_storedFixedAndDynamicBlocks_giveTheirContent(Engine engine) throws Exception {
        byte[] content = sample(300_000);
        for (int level = 0; level <= 9; level++) {
            for (int strategy :
                    new int[] {
                        Deflater.DEFAULT_STRATEGY, Deflater.FILTERED, Deflater.HUFFMAN_ONLY
                    }) {
                assertArrayEquals(content, decode(engine, member(content, level, strategy)));
            }
        }
    }

    private static byte[] member(byte[] content, int level, int strategy) {
        Deflater deflater = new Deflater(level, true);
        deflater.setStrategy(strategy);
        deflater.setInput(content);
        deflater.finish();
        byte[] body = new byte[content.length + 10_000];
        int length = 0;
        while (!deflater.finished()) {
            length += deflater.deflate(body, length, body.length - length);
        }
        deflater.end();
        byte[] plain = Apply.gzip(content);
        return concat(
                Arrays.copyOf(plain, 10),
                Arrays.copyOf(body, length),
                Arrays.copyOfRange(plain, plain.length - 8, plain.length));
    }

    @ParameterizedTest
    @EnumSource(Engine.class)
    void gzip_thousandsOfMembers_isQuick(Engine engine) throws Exception {
        ByteArrayOutputStream blob = new ByteArrayOutputStream();
        byte[] member = Apply.gzip(sample(100));
        for (int i = 0; i < 50_000; i++) {
            blob.writeBytes(member);
        }
        assertEquals(5_000_000, decode(engine, blob.toByteArray()).length);
    }

    @ParameterizedTest
    @EnumSource(Engine.class)
    void gzip_everyTruncation_isRefused(Engine engine) throws Exception {
        byte[] first = memberWithAllFields(sample(50));
        byte[] blob = concat(first, Apply.gzip(sample(60)));
        for (int length = 3; length < blob.length; length++) {
            byte[] cut = Arrays.copyOf(blob, length);
            if (length == first.length) {
                assertEquals(50, decode(engine, cut).length);
            } else {
                refuses(engine, cut, "cut off");
            }
        }
    }

    @ParameterizedTest
    @EnumSource(Engine.class)
    void gzip_everyFlippedBit_isRefusedOrHarmless(Engine engine) throws Exception {
        byte[] content = sample(300);
        byte[] blob = memberWithAllFields(content);
        for (int bit = 24; bit < 8 * blob.length; bit++) {
            byte[] changed = blob.clone();
            changed[bit / 8] ^= (byte) (1 << (bit % 8));
            byte[] outcome = outcome(engine, changed);
            // The bits that fill up the last byte of a stream mean nothing.
            if (outcome.length != 1) {
                assertEquals(blob.length - 9, bit / 8);
                assertArrayEquals(content, outcome);
            }
        }
    }

    @ParameterizedTest
    @EnumSource(Engine.class)
    void gzip_badTrailers_areRefused(Engine engine) {
        byte[] blob = Apply.gzip(sample(1000));
        int end = blob.length;
        byte[] crc = blob.clone();
        crc[end - 8]++;
        refuses(engine, crc, "wanted CRC");
        byte[] size = blob.clone();
        size[end - 4]++;
        refuses(engine, size, "wanted 1001 bytes, got 1000");
        refuses(engine, concat(blob, new byte[] {1}), "cut off");
        refuses(engine, concat(blob, "trailing bytes".getBytes(UTF_8)), "something else");
        refuses(engine, concat(blob, new byte[600], blob), "something else");
    }

    @ParameterizedTest
    @EnumSource(Engine.class)
    void gzip_zeroPadding_isAccepted(Engine engine) throws Exception {
        assertEquals(5, decode(engine, concat(Apply.gzip(sample(5)), new byte[100_000])).length);
    }

    @ParameterizedTest
    @EnumSource(Engine.class)
    void gzip_reservedFlags_areRefused(Engine engine) {
        byte[] blob = Apply.gzip(sample(5));
        blob[3] = 0x20;
        refuses(engine, blob, "reserved");
    }

    @ParameterizedTest
    @EnumSource(Engine.class)
    void gzip_tooManyEmptyMembers_areRefused(Engine engine) {
        byte[] empty = Apply.gzip(new byte[0]);
        ByteArrayOutputStream blob = new ByteArrayOutputStream();
        for (int i = 0; i < 100_001; i++) {
            blob.writeBytes(empty);
        }
        refuses(engine, blob.toByteArray(), "empty members");
    }

    @ParameterizedTest
    @EnumSource(Engine.class)
    void gzip_zeros_areRefusedOnlyByALowerRatio(Engine engine) throws Exception {
        byte[] blob = member(new byte[70 << 20], 9, Deflater.DEFAULT_STRATEGY);
        Limits strict = Limits.defaults().with(Limits.Key.GZIP_RATIO, 200);
        LimitExceededException e =
                assertThrows(
                        LimitExceededException.class, () -> decode(engine, blob, 1 << 20, strict));
        assertEquals("limits.gzip_ratio", e.key());
        assertEquals(70 << 20, decode(engine, blob).length);
    }

    @ParameterizedTest
    @EnumSource(Engine.class)
    void sizes_beyondTheLimits_areRefused(Engine engine) throws Exception {
        byte[] blob = Apply.gzip(sample(1_000_000));
        Limits output = Limits.defaults().with(Limits.Key.LAYER_UNCOMPRESSED_BYTES, 999_999);
        assertEquals(
                "limits.layer_uncompressed_bytes",
                assertThrows(LimitExceededException.class, () -> decode(engine, blob, 1000, output))
                        .key());
        Limits input = Limits.defaults().with(Limits.Key.LAYER_COMPRESSED_BYTES, blob.length - 1L);
        assertEquals(
                "limits.layer_compressed_bytes",
                assertThrows(LimitExceededException.class, () -> decode(engine, blob, 1000, input))
                        .key());
    }

    @Test
    void gzip_seededMutations_bothEnginesAgree() {
        byte[] blob = concat(Apply.gzip(sample(3000)), memberWithAllFields(sample(500)));
        Random random = new Random(42);
        for (int round = 0; round < 3000; round++) {
            byte[] changed = blob.clone();
            for (int i = random.nextInt(3); i >= 0; i--) {
                changed[3 + random.nextInt(blob.length - 3)] = (byte) random.nextInt(256);
            }
            assertArrayEquals(
                    outcome(Engine.JDK, changed), outcome(Engine.ISAL, changed), "round " + round);
        }
    }

    /// The content, or a mark that it was refused.
    private static byte[] outcome(Engine engine, byte[] blob) {
        try {
            return decode(engine, blob);
        } catch (ImageException e) {
            assertEquals(ErrorKind.INVALID_CONTENT, e.kind(), e.getMessage());
            return new byte[] {-1};
        } catch (IOException e) {
            throw new AssertionError("memory does not fail", e);
        }
    }

    // zstd

    private static byte[] skippable(int magic, int length) {
        byte[] frame = new byte[8 + length];
        ByteBuffer.wrap(frame)
                .order(java.nio.ByteOrder.LITTLE_ENDIAN)
                .putInt(0x184d2a50 + magic)
                .putInt(length);
        return frame;
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 5, 1000, Integer.MAX_VALUE})
    void zstd_framesAndSkippableFrames_giveTheirContent(int piece) throws Exception {
        byte[] blob =
                concat(
                        skippable(0, 0),
                        skippable(15, 300),
                        Zstd.compress(sample(400_000), 3),
                        Zstd.compress(new byte[0]),
                        skippable(3, 70_000),
                        Zstd.compress(sample(7), 19));
        assertArrayEquals(
                concat(sample(400_000), sample(7)),
                decode(Engine.JDK, blob, piece, Limits.defaults()));
    }

    @Test
    void zstd_streamedFrameWithChecksum_givesItsContent() throws Exception {
        byte[] content = sample(5_000_000);
        try (ZstdCompressCtx context = new ZstdCompressCtx()) {
            context.setChecksum(true).setContentSize(false).setLong(24);
            assertArrayEquals(content, decode(Engine.JDK, context.compress(content)));
        }
    }

    @Test
    void zstd_everyTruncation_isRefused() throws Exception {
        byte[] first = Zstd.compress(sample(500));
        byte[] blob = concat(first, skippable(1, 20), Zstd.compress(sample(60)));
        for (int length = 4; length < blob.length; length++) {
            if (length != first.length && length != first.length + 28) {
                refuses(Engine.JDK, Arrays.copyOf(blob, length), "cut off");
            }
        }
    }

    @Test
    void zstd_otherBytesBehindAFrame_areRefused() {
        refuses(
                Engine.JDK,
                concat(Zstd.compress(sample(10)), new byte[] {0, 0, 0, 0, 0}),
                "wanted a frame, got the bytes 00000000");
    }

    @Test
    void zstd_dictionary_isRefused() {
        byte[] dictionary = sample(2000);
        byte[] blob;
        try (ZstdDictCompress dict = new ZstdDictCompress(trained(), 3);
                ZstdCompressCtx context = new ZstdCompressCtx()) {
            context.loadDict(dict);
            blob = context.compress(dictionary);
        }
        refuses(Engine.JDK, blob, "dictionary");
    }

    private static byte[] trained() {
        byte[][] samples = new byte[1000][];
        for (int i = 0; i < samples.length; i++) {
            samples[i] = sample(200 + i);
        }
        byte[] dictionary = new byte[16 << 10];
        long length = Zstd.trainFromBuffer(samples, dictionary);
        return Arrays.copyOf(dictionary, (int) length);
    }

    @Test
    void zstd_hugeWindow_isRefusedFromItsHeader() {
        byte[] frame = {0x28, (byte) 0xb5, 0x2f, (byte) 0xfd, 0, (byte) ((31 - 10) << 3), 1, 0, 0};
        LimitExceededException e =
                assertThrows(LimitExceededException.class, () -> decode(Engine.JDK, frame));
        assertEquals("limits.zstd_window_log", e.key());
    }

    @Test
    void zstd_zeros_areRefusedOnlyByALowerRatio() throws Exception {
        byte[] blob = Zstd.compress(new byte[100 << 20], 3);
        Limits strict = Limits.defaults().with(Limits.Key.ZSTD_RATIO, 1_000);
        LimitExceededException e =
                assertThrows(
                        LimitExceededException.class,
                        () -> decode(Engine.JDK, blob, 1 << 20, strict));
        assertEquals("limits.zstd_ratio", e.key());
        assertEquals(100 << 20, decode(Engine.JDK, blob).length);
    }

    @Test
    void zstd_tooManyEmptyFrames_areRefused() {
        ByteArrayOutputStream blob = new ByteArrayOutputStream();
        for (int i = 0; i < 100_001; i++) {
            blob.writeBytes(skippable(0, 0));
        }
        refuses(Engine.JDK, blob.toByteArray(), "empty frames");
    }

    @Test
    void zstd_seededMutations_areRefusedOrDecoded() {
        byte[] blob = concat(Zstd.compress(sample(3000), 3), skippable(2, 9));
        Random random = new Random(7);
        for (int round = 0; round < 3000; round++) {
            byte[] changed = blob.clone();
            changed[4 + random.nextInt(blob.length - 4)] = (byte) random.nextInt(256);
            try {
                decode(Engine.JDK, changed);
            } catch (ImageException e) {
                assertTrue(
                        e.kind() == ErrorKind.INVALID_CONTENT
                                || e.kind() == ErrorKind.LIMIT_EXCEEDED,
                        e.getMessage());
            } catch (IOException e) {
                throw new AssertionError("memory does not fail", e);
            }
        }
    }

    // Magic

    @Test
    void otherCompressions_areNamed() {
        refuses(
                Engine.JDK,
                new byte[] {(byte) 0xfd, '7', 'z', 'X', 'Z', 0, 0, 0},
                "wanted tar, gzip or zstd, got xz");
        refuses(Engine.JDK, "BZh91AY".getBytes(UTF_8), "got bzip2");
    }

    @Test
    void plain_passesThrough() throws Exception {
        byte[] content = sample(1_000_000);
        assertArrayEquals(content, decode(Engine.JDK, content, 12_345, Limits.defaults()));
    }

    @Test
    void sha256_enginesAgree() throws Exception {
        byte[] content = sample(777_777);
        ByteBuffer direct = ByteBuffer.allocateDirect(content.length).put(content).flip();
        try (Sha256 jdk = new Sha256.Jdk();
                Sha256 fastest = Sha256.create()) {
            for (int at = 0; at < content.length; at += 100_003) {
                int length = Math.min(100_003, content.length - at);
                jdk.update(direct.slice(at, length));
                fastest.update(direct.slice(at, length));
            }
            assertEquals(jdk.digest(), fastest.digest());
        }
    }
}
