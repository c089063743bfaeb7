package dev.imgd.linux;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Random;
import javax.crypto.Cipher;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.SecretKeySpec;
import org.junit.jupiter.api.Test;

/// libcrypto's cipher against the JDK's.
class NativeAesCtrTest {
    private final Random random = new Random(11);

    private byte[] bytes(int size) {
        byte[] bytes = new byte[size];
        random.nextBytes(bytes);
        return bytes;
    }

    @Test
    void update_inPiecesOfAnySize_asTheJdk() throws Exception {
        assertTrue(NativeAesCtr.available());
        for (int run = 0; run < 50; run++) {
            byte[] key = bytes(32);
            byte[] counter = bytes(16);
            byte[] content = bytes(random.nextInt(200_000));
            Cipher jdk = Cipher.getInstance("AES/CTR/NoPadding");
            jdk.init(
                    Cipher.ENCRYPT_MODE,
                    new SecretKeySpec(key, "AES"),
                    new IvParameterSpec(counter));
            ByteBuffer data = ByteBuffer.allocateDirect(content.length).put(content).flip();
            try (NativeAesCtr cipher = new NativeAesCtr(key, counter)) {
                while (data.hasRemaining()) {
                    int size = Math.min(data.remaining(), random.nextInt(70_000));
                    ByteBuffer piece = data.duplicate().limit(data.position() + size);
                    cipher.update(piece);
                    assertEquals(data.position(), piece.position());
                    data.position(data.position() + size);
                }
            }
            byte[] result = new byte[content.length];
            data.get(0, result);
            assertArrayEquals(jdk.doFinal(content), result);
        }
    }

    @Test
    void update_counterOverflows_wrapsAsTheJdk() throws Exception {
        byte[] key = bytes(32);
        byte[] counter = new byte[16];
        Arrays.fill(counter, (byte) 0xff);
        Cipher jdk = Cipher.getInstance("AES/CTR/NoPadding");
        jdk.init(Cipher.ENCRYPT_MODE, new SecretKeySpec(key, "AES"), new IvParameterSpec(counter));
        ByteBuffer data = ByteBuffer.allocateDirect(64);
        try (NativeAesCtr cipher = new NativeAesCtr(key, counter)) {
            cipher.update(data);
        }
        byte[] result = new byte[64];
        data.get(0, result);
        assertArrayEquals(jdk.doFinal(new byte[64]), result);
    }

    @Test
    void wrongUse_isAnError() {
        assertThrows(
                IllegalArgumentException.class,
                () -> new NativeAesCtr(new byte[16], new byte[16]).close());
        assertThrows(
                IllegalArgumentException.class,
                () -> new NativeAesCtr(new byte[32], new byte[12]).close());
        try (NativeAesCtr cipher = new NativeAesCtr(new byte[32], new byte[16])) {
            assertThrows(
                    IllegalArgumentException.class, () -> cipher.update(ByteBuffer.allocate(1)));
            assertThrows(
                    IllegalArgumentException.class,
                    () -> cipher.update(ByteBuffer.allocateDirect(1).asReadOnlyBuffer()));
        }
        NativeAesCtr closed;
        try (NativeAesCtr cipher = new NativeAesCtr(new byte[32], new byte[16])) {
            closed = cipher;
        }
        assertThrows(
                IllegalStateException.class, () -> closed.update(ByteBuffer.allocateDirect(1)));
    }
}
