package dev.imgd.model;

import static dev.imgd.model.Errors.assertFails;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// Digests, chainIDs, media types, bytes and printable text.
class CoreTest {
    private static final String ABC =
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    @ParameterizedTest
    @CsvSource({
        "ghcr.io/a:1, ghcr.io/a:1",
        "https://ghcr.io/a, https://ghcr.io/a",
        "https://ghcr.io/a?sig=secret#b, https://ghcr.io/a",
        "me:secret@ghcr.io/a, …@ghcr.io/a",
        "https://me:secret@ghcr.io/a?sig=secret, https://…@ghcr.io/a",
        "https://me:pa/secret@ghcr.io/a, https://…@ghcr.io/a",
        "https://me:pa@secret@ghcr.io/a, https://…@ghcr.io/a",
        "https://me:pa?secret@ghcr.io/a, https://…",
        "https://ghcr.io/a?mail=a@b&sig=secret, https://…",
        "me:se://secret@ghcr.io, …@ghcr.io",
        "://secret@ghcr.io, …@ghcr.io",
        "'', ''"
    })
    void withoutUser_neverASecret(String text, String shown) {
        assertEquals(shown, Text.withoutUser(text));
    }

    @ParameterizedTest
    @CsvSource({
        "a#b, a#b",
        "org.example/a, org.example/a",
        "me:secret@ghcr.io, …@ghcr.io",
        "ghcr.io/?sig=secret, ghcr.io/",
        "https://ghcr.io/a#secret, https://ghcr.io/a"
    })
    void withoutSecret_anyText(String text, String shown) {
        assertEquals(shown, Text.withoutSecret(text));
    }

    @Test
    void digest_knownVectors_match() throws Exception {
        byte[] abc = {'a', 'b', 'c'};
        Digest digest = Digest.sha256(abc);
        assertEquals(ABC, digest.toString());
        assertEquals(digest, Digest.parse(ABC));
        assertEquals("ba7816bf8f01", digest.shortHex());
        assertTrue(digest.matches(digest.bytes()));
        assertFalse(digest.matches(new byte[32]));
        Digest sha512 = Digest.parse("sha512:" + "0".repeat(128)).ofSameAlgorithm(abc);
        assertTrue(sha512.hex().startsWith("ddaf35a193617abacc417349ae204131"), sha512::hex);
        assertNotEquals(digest, sha512);
        assertThrows(
                IllegalArgumentException.class,
                () -> Digest.of(Digest.Algorithm.SHA512, new byte[32]));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "sha256",
                "sha256:",
                "sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
                "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a",
                "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015add",
                "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a/",
                "SHA256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                "sha512:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                " sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                "md5:d41d8cd98f00b204e9800998ecf8427e",
                "sha256:../../../../../../../../../../../../../../../../../../../../../../",
                "sha256:\u0000a7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            })
    void digest_malformed_fails(String text) {
        assertFails(ErrorKind.INVALID_ARGUMENT, "digest \"", () -> Digest.parse(text));
    }

    @Test
    void chainId_followsTheSpec() throws Exception {
        Digest a = Digest.sha256(new byte[] {1});
        Digest b = Digest.sha256(new byte[] {2});
        List<Digest> chain = ChainId.of(List.of(a, b, a));
        assertEquals(a, chain.getFirst());
        assertEquals(
                Digest.sha256((a + " " + b).getBytes(java.nio.charset.StandardCharsets.US_ASCII)),
                chain.get(1));
        assertEquals(
                Digest.sha256(
                        (chain.get(1) + " " + a)
                                .getBytes(java.nio.charset.StandardCharsets.US_ASCII)),
                chain.get(2));
        assertEquals(List.of(), ChainId.of(List.of()));
    }

    @ParameterizedTest
    @CsvSource({
        "application/vnd.oci.image.layer.v1.tar, NONE, false, false",
        "application/vnd.oci.image.layer.v1.tar+gzip, GZIP, false, false",
        "application/vnd.oci.image.layer.v1.tar+zstd, ZSTD, false, false",
        "application/vnd.oci.image.layer.v1.tar+gzip+encrypted, GZIP, false, true",
        "application/vnd.oci.image.layer.v1.tar+encrypted, NONE, false, true",
        "application/vnd.oci.image.layer.v1.tar+zstd+encrypted, ZSTD, false, true",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+encrypted, NONE, true, true",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip+encrypted, GZIP, true, true",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd+encrypted, ZSTD, true, true",
        "application/vnd.docker.image.rootfs.diff.tar.gzip+encrypted, GZIP, false, true",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip, GZIP, true, false",
        "application/vnd.docker.image.rootfs.diff.tar, UNSPECIFIED, false, false",
        "application/vnd.docker.image.rootfs.diff.tar.gzip, GZIP, false, false",
        "application/vnd.docker.image.rootfs.diff.tar.zstd, ZSTD, false, false",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip, GZIP, true, false",
    })
    void mediaType_layers_areClassified(
            String type, MediaType.Compression compression, boolean foreign, boolean encrypted) {
        assertEquals(new MediaType.LayerType(compression, foreign, encrypted), MediaType.of(type));
    }

    @Test
    void mediaType_others_areClassified() {
        assertEquals(
                new MediaType.IndexType(),
                MediaType.of(MediaType.DOCKER_INDEX + "; charset=utf-8"));
        assertEquals(new MediaType.ConfigType(), MediaType.of(MediaType.OCI_CONFIG));
        assertEquals(new MediaType.Schema1Type(), MediaType.of(MediaType.DOCKER_SCHEMA1_SIGNED));
        assertEquals(new MediaType.OpaqueType("x/y"), MediaType.of("x/y"));
    }

    @Test
    void bytes_areACopy() {
        byte[] source = {1, 2};
        Bytes bytes = Bytes.of(source);
        source[0] = 9;
        bytes.toArray()[1] = 9;
        assertArrayEquals(new byte[] {1, 2}, bytes.toArray());
        assertEquals(Bytes.of(new byte[] {1, 2}), bytes);
        assertEquals(2, bytes.size());
    }

    @ParameterizedTest
    @CsvSource({
        "a\u0000b, a\\u0000b",
        "a\"b, a\"b",
        "\u202e, \\u202e",
        "\u2028, \\u2028",
        "\u0085, \\u0085",
        "\ud800x, \\ud800x",
        "x\udc00, x\\udc00",
        "😀é, 😀é",
        "\udb40\udc01, \\udb40\\udc01",
    })
    void printable_escapesWhatIsNot(String text, String wanted) {
        assertEquals(wanted, Text.printable(text, 80));
    }

    @ParameterizedTest
    @CsvSource({
        "a b, '\"a b\"'",
        "a\"b, '\"a\\\"b\"'",
        "a\\, '\"a\\\\\"'",
        "'', '\"\"'",
    })
    void quoted_textWithQuotes_cannotEndEarly(String text, String wanted) {
        assertEquals(wanted, Text.quoted(text, 80));
    }

    @Test
    void printable_long_isCut() {
        assertEquals("aaaa…", Text.printable("a".repeat(1 << 20), 4));
        assertEquals("aaaa", Text.printable("aaaa", 4));
        assertEquals("😀😀…", Text.printable("😀".repeat(9), 4));
    }
}
