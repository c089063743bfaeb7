package dev.imgd.linux;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;

class NativeSha256Test {
    private static byte[] data(int size, int seed) {
        byte[] data = new byte[size];
        new Random(seed).nextBytes(data);
        return data;
    }

    private static byte[] jdk(byte[] data) throws Exception {
        return MessageDigest.getInstance("SHA-256").digest(data);
    }

    private static ByteBuffer direct(byte[] data) {
        return ByteBuffer.allocateDirect(data.length).put(data).flip();
    }

    @Test
    void available_thisMachineHasLibcrypto_isTrue() {
        assertTrue(NativeSha256.available());
    }

    @Test
    void digest_everyLengthAroundTheBlocks_isThatOfTheJdk() throws Exception {
        byte[] data = data(300, 1);
        for (int size = 0; size <= data.length; size++) {
            try (NativeSha256 sha = new NativeSha256()) {
                byte[] message = Arrays.copyOf(data, size);
                sha.update(direct(message));
                assertArrayEquals(jdk(message), sha.digest(), "size " + size);
                assertArrayEquals(jdk(message), sha.digest(), "again, size " + size);
                assertEquals(size, sha.bytes());
            }
        }
    }

    @Test
    void update_randomPiecesOfBothKinds_isThatOfTheJdk() throws Exception {
        byte[] data = data(1 << 20, 2);
        Random random = new Random(3);
        try (NativeSha256 sha = new NativeSha256()) {
            for (int at = 0; at < data.length; ) {
                int size = Math.min(data.length - at, random.nextInt(200_000));
                byte[] piece = Arrays.copyOfRange(data, at, at + size);
                ByteBuffer buffer =
                        random.nextBoolean()
                                ? direct(piece)
                                : ByteBuffer.wrap(data, at, size).asReadOnlyBuffer();
                sha.update(buffer);
                assertEquals(0, buffer.remaining());
                at += size;
                assertArrayEquals(jdk(Arrays.copyOf(data, at)), sha.digest());
            }
        }
    }

    @Test
    void restore_savedAnywhere_goesOn() throws Exception {
        byte[] data = data(70_000, 4);
        for (int at : new int[] {0, 1, 55, 56, 63, 64, 65, 127, 128, 4096, 65_535, 70_000}) {
            byte[] state;
            try (NativeSha256 sha = new NativeSha256()) {
                sha.update(ByteBuffer.wrap(data, 0, at));
                state = sha.saveState();
            }
            assertEquals(40 + at % 64, state.length);
            try (NativeSha256 sha = NativeSha256.restore(state)) {
                assertEquals(at, sha.bytes());
                sha.update(ByteBuffer.wrap(data, at, data.length - at));
                assertArrayEquals(jdk(data), sha.digest(), "saved at " + at);
            }
        }
    }

    @Test
    void restore_behindFourGiB_keepsTheLength() throws Exception {
        byte[] block = new byte[64];
        ByteBuffer state = ByteBuffer.allocate(40).putLong(1L << 33);
        try (NativeSha256 sha = new NativeSha256()) {
            state.put(sha.saveState(), 8, 32);
        }
        try (NativeSha256 sha = NativeSha256.restore(state.array())) {
            sha.update(ByteBuffer.wrap(block));
            assertEquals((1L << 33) + 64, sha.bytes());
            assertEquals((1L << 33) + 64, ByteBuffer.wrap(sha.saveState()).getLong());
        }
    }

    @Test
    void restore_damagedState_fails() {
        byte[] tooLong = new byte[41];
        byte[] negative = new byte[40];
        negative[0] = (byte) 0x80;
        for (byte[] state : new byte[][] {{}, new byte[39], tooLong, negative}) {
            ImageException e =
                    assertThrows(ImageException.class, () -> NativeSha256.restore(state));
            assertEquals(ErrorKind.INVALID_CONTENT, e.kind());
        }
    }

    @Test
    void reset_usedDigest_startsAgain() throws Exception {
        try (NativeSha256 sha = new NativeSha256()) {
            sha.update(ByteBuffer.wrap(data(100, 5)));
            sha.reset();
            sha.update(ByteBuffer.wrap(data(77, 6)));
            assertArrayEquals(jdk(data(77, 6)), sha.digest());
        }
    }

    @Test
    void update_closed_fails() {
        NativeSha256 sha = new NativeSha256();
        sha.close();
        assertThrows(IllegalStateException.class, () -> sha.update(ByteBuffer.allocate(1)));
    }
}
