package dev.imgd.linux;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Random;
import java.util.zip.CRC32;
import java.util.zip.Deflater;
import org.junit.jupiter.api.Test;

class NativeInflateTest {
    private static final byte[] TRAILER = "what follows the stream".getBytes();

    /// Text-like, incompressible and constant stretches in turn.
    private static byte[] data(int size, Random random) {
        byte[] data = new byte[size];
        for (int at = 0; at < size; ) {
            int end = Math.min(size, at + 1 + random.nextInt(40_000));
            int kind = random.nextInt(3);
            for (; at < end; at++) {
                data[at] =
                        kind == 0
                                ? (byte) ('a' + random.nextInt(6))
                                : kind == 1 ? (byte) random.nextInt() : (byte) 'x';
            }
        }
        return data;
    }

    private static byte[] deflate(byte[] data, int level, int strategy) {
        try (Deflater deflater = new Deflater(level, true)) {
            deflater.setStrategy(strategy);
            deflater.setInput(data);
            deflater.finish();
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            byte[] piece = new byte[8192];
            while (!deflater.finished()) {
                out.write(piece, 0, deflater.deflate(piece));
            }
            out.write(TRAILER, 0, TRAILER.length);
            return out.toByteArray();
        }
    }

    private static int crc(byte[] data) {
        CRC32 crc = new CRC32();
        crc.update(data);
        return (int) crc.getValue();
    }

    private static ByteBuffer buffer(int size, boolean direct) {
        return direct ? ByteBuffer.allocateDirect(size) : ByteBuffer.allocate(size);
    }

    /// Inflates as a streaming caller does: small refilled input, small drained output.
    private static int inflate(
            NativeInflate inflate, byte[] packed, ByteArrayOutputStream to, Random random, int most)
            throws ImageException {
        boolean direct = random.nextInt(4) != 0;
        int taken = 0;
        while (true) {
            int size = Math.min(packed.length - taken, random.nextInt(most + 1));
            ByteBuffer in = buffer(size, direct).put(packed, taken, size).flip();
            ByteBuffer out = buffer(random.nextInt(most + 1), direct);
            NativeInflate.Status status = inflate.inflate(in, out);
            switch (status) {
                case NEED_INPUT -> assertEquals(0, in.remaining());
                case NEED_OUTPUT -> assertEquals(0, out.remaining());
                case FINISHED -> {}
            }
            taken += in.position();
            byte[] piece = new byte[out.flip().remaining()];
            out.get(piece);
            to.writeBytes(piece);
            if (status == NativeInflate.Status.FINISHED) {
                return taken;
            }
        }
    }

    @Test
    void available_thisMachineHasIsal_isTrue() {
        assertTrue(NativeInflate.available());
    }

    @Test
    void inflate_randomSplits_givesTheDataAndLeavesWhatFollows() throws Exception {
        int[] strategies = {Deflater.DEFAULT_STRATEGY, Deflater.HUFFMAN_ONLY, Deflater.FILTERED};
        try (NativeInflate inflate = new NativeInflate()) {
            for (int seed = 0; seed < 600; seed++) {
                Random random = new Random(seed);
                byte[] data = data(random.nextInt(1 << (4 + random.nextInt(15))), random);
                byte[] packed = deflate(data, random.nextInt(10), strategies[random.nextInt(3)]);
                ByteArrayOutputStream out = new ByteArrayOutputStream();
                int most = 1 << (1 + random.nextInt(18));
                if (most < 64 && data.length > 20_000) {
                    most = 64;
                }
                int taken = inflate(inflate, packed, out, random, most);
                assertArrayEquals(data, out.toByteArray(), "seed " + seed);
                assertEquals(packed.length - TRAILER.length, taken, "seed " + seed);
                assertEquals(data.length, inflate.produced(), "seed " + seed);
                assertEquals(crc(data), inflate.crc32(), "seed " + seed);
                inflate.reset();
            }
        }
    }

    @Test
    void inflate_afterTheEnd_staysFinishedAndTakesNothing() throws Exception {
        try (NativeInflate inflate = new NativeInflate()) {
            ByteBuffer in = ByteBuffer.wrap(deflate(new byte[10], 6, 0));
            ByteBuffer out = ByteBuffer.allocate(100);
            assertEquals(NativeInflate.Status.FINISHED, inflate.inflate(in, out));
            assertEquals(TRAILER.length, in.remaining());
            assertEquals(NativeInflate.Status.FINISHED, inflate.inflate(in, out));
            assertEquals(TRAILER.length, in.remaining());
        }
    }

    @Test
    void inflate_cutShort_asksForInput() throws Exception {
        byte[] packed = deflate(data(50_000, new Random(1)), 6, 0);
        byte[] cut = Arrays.copyOf(packed, packed.length - TRAILER.length - 1);
        try (NativeInflate inflate = new NativeInflate()) {
            ByteBuffer out = ByteBuffer.allocateDirect(100_000);
            assertEquals(
                    NativeInflate.Status.NEED_INPUT, inflate.inflate(ByteBuffer.wrap(cut), out));
        }
    }

    @Test
    void inflate_damagedData_failsOrShowsInTheCrc() throws Exception {
        Random words = new Random(7);
        byte[] data = new byte[60_000];
        for (int at = 0; at < data.length; at++) {
            boolean repeats = at > 100 && words.nextInt(8) != 0;
            data[at] = repeats ? data[at - 90] : (byte) words.nextInt();
        }
        byte[] packed = deflate(data, 6, 0);
        int refused = 0;
        int differing = 0;
        try (NativeInflate inflate = new NativeInflate()) {
            for (int seed = 0; seed < 300; seed++) {
                Random random = new Random(seed);
                byte[] damaged = packed.clone();
                damaged[random.nextInt(packed.length - TRAILER.length)] ^=
                        (byte) (1 << random.nextInt(8));
                ByteBuffer out = ByteBuffer.allocateDirect(1 << 20);
                try {
                    inflate.inflate(ByteBuffer.wrap(damaged), out);
                    byte[] got = new byte[out.flip().remaining()];
                    out.get(got);
                    assertEquals(crc(got), inflate.crc32(), "seed " + seed);
                    differing += Arrays.equals(data, got) ? 0 : 1;
                } catch (ImageException e) {
                    assertEquals(ErrorKind.INVALID_CONTENT, e.kind());
                    refused++;
                }
                inflate.reset();
            }
        }
        assertTrue(refused > 0 && differing > 0, refused + " refused, " + differing + " differ");
    }

    @Test
    void inflate_badBlockType_saysWhatAndNeedsReset() throws Exception {
        try (NativeInflate inflate = new NativeInflate()) {
            ByteBuffer in = ByteBuffer.wrap(new byte[] {7, 0, 0, 0, 0, 0, 0, 0});
            ByteBuffer out = ByteBuffer.allocate(100);
            ImageException e = assertThrows(ImageException.class, () -> inflate.inflate(in, out));
            assertTrue(e.getMessage().contains("invalid block after 0 bytes"), e.getMessage());
            assertThrows(IllegalStateException.class, () -> inflate.inflate(in, out));
            inflate.reset();
            ByteBuffer good = ByteBuffer.wrap(deflate(new byte[10], 6, 0));
            assertEquals(NativeInflate.Status.FINISHED, inflate.inflate(good, out));
        }
    }

    @Test
    void crc32_pieces_isThatOfTheJdk() {
        byte[] data = data(300_000, new Random(9));
        ByteBuffer head = ByteBuffer.allocateDirect(1000).put(data, 0, 1000).flip();
        ByteBuffer rest = ByteBuffer.wrap(data, 1000, data.length - 1000);
        assertEquals(crc(data), NativeInflate.crc32(NativeInflate.crc32(0, head), rest));
        assertEquals(0, head.remaining() + rest.remaining());
    }

    @Test
    void wholeInflate_exactAndSmallBuffers_givesOrRefuses() throws Exception {
        assertTrue(WholeInflate.available());
        byte[] data = data(100_000, new Random(10));
        byte[] packed = deflate(data, 9, 0);
        ByteBuffer in = ByteBuffer.allocateDirect(packed.length).put(packed).flip();
        try (WholeInflate whole = new WholeInflate()) {
            ByteBuffer small = ByteBuffer.allocateDirect(data.length - 1);
            assertEquals(false, whole.inflate(in, small));
            assertEquals(0, in.position() + small.position());
            ByteBuffer out = ByteBuffer.allocateDirect(data.length);
            assertTrue(whole.inflate(in, out));
            assertEquals(TRAILER.length, in.remaining());
            assertEquals(0, out.remaining());
            assertEquals(crc(data), WholeInflate.crc32(0, out.flip()));
            byte[] got = new byte[data.length];
            out.flip().get(got);
            assertArrayEquals(data, got);
        }
    }

    @Test
    void wholeInflate_cutShort_fails() {
        byte[] packed = deflate(data(10_000, new Random(11)), 9, 0);
        int size = packed.length - TRAILER.length - 1;
        ByteBuffer in = ByteBuffer.allocateDirect(size).put(packed, 0, size).flip();
        try (WholeInflate whole = new WholeInflate()) {
            ImageException e =
                    assertThrows(
                            ImageException.class,
                            () -> whole.inflate(in, ByteBuffer.allocateDirect(20_000)));
            assertEquals(ErrorKind.INVALID_CONTENT, e.kind());
        }
    }
}
