package dev.imgd.image;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;

import dev.imgd.linux.NativeAesCtr;
import dev.imgd.model.Digest;
import dev.imgd.trust.LayerSecret;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/// Both engines do the same.
class LayerCipherTest {
    private final byte[] content = new byte[300_000];
    private final LayerSecret secret;
    private final byte[] expected;

    LayerCipherTest() {
        new Random(2).nextBytes(content);
        secret = LayerSecret.create(Digest.sha256(content));
        expected = secret.cipher(0).update(content);
    }

    private LayerCipher jdk(long offset) {
        return new LayerCipher.Jdk(secret.cipher(offset));
    }

    @Test
    void update_anyEngineBufferAndOffset_sameBytes() {
        assertInstanceOf(LayerCipher.Native.class, LayerCipher.of(secret, 0));
        assertEquals(true, NativeAesCtr.available());
        for (int offset : List.of(0, 1, 15, 16, 33, 65_536, 70_001, 299_999, 300_000)) {
            for (LayerCipher engine : List.of(LayerCipher.of(secret, offset), jdk(offset))) {
                try (engine) {
                    assertContinues(engine, offset, ByteBuffer.allocate(content.length));
                }
            }
            for (LayerCipher engine : List.of(LayerCipher.of(secret, offset), jdk(offset))) {
                try (engine) {
                    assertContinues(engine, offset, ByteBuffer.allocateDirect(content.length));
                }
            }
        }
    }

    private void assertContinues(LayerCipher engine, int offset, ByteBuffer buffer) {
        buffer.put(content);
        int middle = offset + (content.length - offset) / 3;
        ByteBuffer first = buffer.duplicate().position(offset).limit(middle);
        engine.update(first);
        assertEquals(offset, first.position());
        engine.update(buffer.duplicate().position(middle).limit(content.length));
        byte[] result = new byte[content.length];
        buffer.get(0, result);
        assertArrayEquals(Arrays.copyOf(content, offset), Arrays.copyOf(result, offset));
        assertArrayEquals(
                Arrays.copyOfRange(expected, offset, content.length),
                Arrays.copyOfRange(result, offset, content.length),
                "offset " + offset);
    }

    @Test
    void mac_anyEngineAndBuffer_sameAsTheJdk() {
        byte[] wanted = secret.mac().doFinal(content);
        for (LayerMac engine : List.of(LayerMac.of(secret), new LayerMac.Jdk(secret.mac()))) {
            try (engine) {
                engine.update(ByteBuffer.wrap(content, 0, 100_001));
                ByteBuffer rest = ByteBuffer.allocateDirect(content.length);
                engine.update(rest.put(content, 100_001, content.length - 100_001).flip());
                assertEquals(0, rest.remaining());
                assertArrayEquals(wanted, engine.finish());
            }
        }
        assertInstanceOf(LayerMac.Native.class, LayerMac.of(secret));
        try (LayerMac empty = LayerMac.of(secret)) {
            assertArrayEquals(secret.mac().doFinal(), empty.finish());
        }
    }

    @Test
    void digest_anyAlgorithm_asTheModel() {
        for (Digest wanted : List.of(Digest.sha256(content), sha512())) {
            try (BlobDigest digest = BlobDigest.of(wanted.algorithm())) {
                digest.update(ByteBuffer.wrap(content));
                assertEquals(wanted, digest.finish());
            }
        }
    }

    private Digest sha512() {
        byte[] nothing = new byte[Digest.Algorithm.SHA512.bytes()];
        return Digest.of(Digest.Algorithm.SHA512, nothing).ofSameAlgorithm(content);
    }
}
