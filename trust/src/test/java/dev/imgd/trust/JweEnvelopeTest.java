package dev.imgd.trust;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.testkit.OpenSsl;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.spec.ECPrivateKeySpec;
import java.security.spec.RSAPrivateKeySpec;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// JWE against the examples of the RFCs, messages made with the program openssl, and every way to
/// change one.
class JweEnvelopeTest {
    private static final Base64.Encoder URL = Base64.getUrlEncoder().withoutPadding();
    private static final byte[] CONTENT = "{\"a\": \"secret\"}".getBytes(UTF_8);

    @TempDir Path directory;
    private OpenSsl openssl = new OpenSsl(Path.of(""));

    @BeforeEach
    void start() {
        openssl = new OpenSsl(directory);
    }

    private static byte[] url(String text) {
        return Base64.getUrlDecoder().decode(text);
    }

    private static PrivateKey privateKey(Path pem) throws Exception {
        return PrivateKeyFile.parse("key", Files.readAllBytes(pem), new byte[0]).keys().getFirst();
    }

    private PublicKey publicKey(Path pem) throws Exception {
        return LayerRecipients.named(List.of("jwe:" + openssl.publicKey(pem))).keys().getFirst();
    }

    private static Optional<byte[]> open(String jwe, PrivateKey... keys) throws ImageException {
        return JweEnvelope.parse(jwe.getBytes(UTF_8)).open(List.of(keys));
    }

    private static String assertInvalid(String jwe, PrivateKey... keys) {
        ImageException e = assertThrows(ImageException.class, () -> open(jwe, keys));
        assertEquals(ErrorKind.INVALID_CONTENT, e.kind(), e.toString());
        return e.getMessage();
    }

    /// **Source:** RFC 7516 A.1.
    @Test
    void open_exampleOfTheRfc_itsText() throws Exception {
        String modulus =
                "oahUIoWw0K0usKNuOR6H4wkf4oBUXHTxRvgb48E-BVvxkeDNjbC4he8rUWcJoZmds2h7M70imEVhRU5d"
                        + "jINXtqllXI4DFqcI1DgjT9LewND8MW2Krf3Spsk_ZkoFnilakGygTwpZ3uesH-PFABNIUYpOiN15"
                        + "dsQRkgr0vEhxN92i2asbOenSZeyaxziK72UwxrrKoExv6kc5twXTq4h-QChLOln0_mtUZwfsRaMS"
                        + "tPs6mS6XrgxnxbWhojf663tuEQueGC-FCMfra36C9knDFGzKsNa7LZK2djYgyD3JR_MB_4NUJW_T"
                        + "qOQtwHYbxevoJArm-L5StowjzGy-_bq6Gw";
        String exponent =
                "kLdtIj6GbDks_ApCSTYQtelcNttlKiOyPzMrXHeI-yk1F7-kpDxY4-WY5NWV5KntaEeXS1j82E375xxh"
                        + "WMHXyvjYecPT9fpwR_M9gV8n9Hrh2anTpTD93Dt62ypW3yDsJzBnTnrYu1iwWRgBKrEYY46qAZIr"
                        + "A2xAwnm2X7uGR1hghkqDp0Vqj3kbSCz1XyfCs6_LehBwtxHIyh8Ripy40p24moOAbgxVw3rxT_vl"
                        + "t3UVe4WO3JkJOzlpUf-KTVI2Ptgm-dARxTEtE-id-4OJr0h-K-VFs3VSndVTIznSxfyrj8ILL6MG"
                        + "_Uv8YAu7VILSB3lOW085-4qE3DzgrTjgyQ";
        String message =
                "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ."
                        + "OKOawDo13gRp2ojaHV7LFpZcgV7T6DVZKTyKOMTYUmKoTCVJRgckCL9kiMT03JGe"
                        + "ipsEdY3mx_etLbbWSrFr05kLzcSr4qKAq7YN7e9jwQRb23nfa6c9d-StnImGyFDb"
                        + "Sv04uVuxIp5Zms1gNxKKK2Da14B8S4rzVRltdYwam_lDp5XnZAYpQdb76FdIKLaV"
                        + "mqgfwX7XWRxv2322i-vDxRfqNzo_tETKzpVLzfiwQyeyPGLBIO56YJ7eObdv0je8"
                        + "1860ppamavo35UgoRdbYaBcoh9QcfylQr66oc6vFWXRcZ_ZT2LawVCWTIy3brGPi"
                        + "6UklfCpIMfIjf7iGdXKHzg.48V1_ALb6US04U3b."
                        + "5eym8TW_c8SuK0ltJ3rpYIzOeDQz7TALvtu6UG9oMo4vpzs9tX_EFShS8iB7j6ji"
                        + "SdiwkIr3ajwQzaBtQD_A.XFBoMYUZodetZdvTiFvSkQ";
        PrivateKey key =
                KeyFactory.getInstance("RSA")
                        .generatePrivate(
                                new RSAPrivateKeySpec(
                                        new BigInteger(1, url(modulus)),
                                        new BigInteger(1, url(exponent))));
        assertEquals(
                "The true sign of intelligence is not knowledge but imagination.",
                new String(open(message, key).orElseThrow(), UTF_8));
    }

    /// **Source:** RFC 7518 C.
    @Test
    void derive_exampleOfTheRfc_itsKey() throws Exception {
        EcCurve curve = EcCurve.named("P-256");
        PrivateKey alice =
                KeyFactory.getInstance("EC")
                        .generatePrivate(
                                new ECPrivateKeySpec(
                                        new BigInteger(
                                                1,
                                                url("0_NxaRPUMQoAJt50Gz8YiTr8gRTwyEaCumd-MToTmIo")),
                                        curve.parameters()));
        PublicKey bob =
                curve.point(
                        "bob",
                        url("weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ"),
                        url("e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck"));
        byte[] key =
                JweEnvelope.derive(
                        "A128GCM",
                        alice,
                        bob,
                        "Alice".getBytes(US_ASCII),
                        "Bob".getBytes(US_ASCII),
                        16);
        assertEquals("VqqN6vgjbSBcIijNcacQGg", URL.encodeToString(key));
    }

    /// Everything of the message is made by openssl.
    @ParameterizedTest
    @CsvSource({"RSA-OAEP, sha1", "RSA-OAEP-256, sha256"})
    void open_madeWithOpenssl_itsContent(String algorithm, String hash) throws Exception {
        Path pem = openssl.key("RSA2048");
        byte[] key = new byte[64];
        for (int i = 0; i < key.length; i++) {
            key[i] = (byte) (i * 7);
        }
        byte[] encryptedKey =
                openssl.encryptKey(
                        openssl.publicKey(pem),
                        key,
                        "rsa_padding_mode:oaep",
                        "rsa_oaep_md:" + hash,
                        "rsa_mgf1_md:" + hash);
        byte[] iv = Arrays.copyOfRange(key, 3, 19);
        byte[] ciphertext = openssl.aesCbc(CONTENT, Arrays.copyOfRange(key, 32, 64), iv);
        String header =
                URL.encodeToString(
                        "{\"alg\":\"%s\",\"enc\":\"A256CBC-HS512\"}"
                                .formatted(algorithm)
                                .getBytes(UTF_8));
        byte[] authenticated =
                ByteBuffer.allocate(header.length() + iv.length + ciphertext.length + 8)
                        .put(header.getBytes(US_ASCII))
                        .put(iv)
                        .put(ciphertext)
                        .putLong(8L * header.length())
                        .array();
        byte[] tag =
                Arrays.copyOf(openssl.hmac("sha512", Arrays.copyOf(key, 32), authenticated), 32);
        String message =
                String.join(
                        ".",
                        header,
                        URL.encodeToString(encryptedKey),
                        URL.encodeToString(iv),
                        URL.encodeToString(ciphertext),
                        URL.encodeToString(tag));
        PrivateKey own = privateKey(pem);
        assertArrayEquals(CONTENT, open(message, own).orElseThrow());
        String[] parts = message.split("\\.");
        for (int part : List.of(2, 3, 4)) {
            String[] changed = parts.clone();
            byte[] bytes = url(changed[part]);
            bytes[0] ^= 1;
            changed[part] = URL.encodeToString(bytes);
            String error = assertInvalid(String.join(".", changed), own);
            assertTrue(error.contains("was changed"), error);
        }
    }

    @Test
    void seal_rsa_opensslOpensTheKey() throws Exception {
        Path pem = openssl.key("RSA3072");
        String message = new String(JweEnvelope.seal(CONTENT, List.of(publicKey(pem))), UTF_8);
        byte[] encryptedKey = url(message.replaceAll(".*\"encrypted_key\":\"([^\"]*)\".*", "$1"));
        assertEquals(32, openssl.decryptKey(pem, encryptedKey, "rsa_padding_mode:oaep").length);
        assertArrayEquals(CONTENT, open(message, privateKey(pem)).orElseThrow());
    }

    @ParameterizedTest
    @ValueSource(strings = {"RSA2048", "P-256", "P-384", "P-521"})
    void open_ownMessage_onlyItsKeyOpensIt(String kind) throws Exception {
        Path pem = openssl.key(kind);
        String message = new String(JweEnvelope.seal(CONTENT, List.of(publicKey(pem))), UTF_8);
        PrivateKey other = privateKey(openssl.key(kind));
        PrivateKey rsa = privateKey(openssl.key("RSA2048"));
        assertEquals(Optional.empty(), open(message, other, rsa));
        assertEquals(Optional.empty(), open(message));
        assertArrayEquals(CONTENT, open(message, rsa, other, privateKey(pem)).orElseThrow());
        assertNotEquals(
                message, new String(JweEnvelope.seal(CONTENT, List.of(publicKey(pem))), UTF_8));
    }

    @Test
    void open_severalRecipients_eachAlone() throws Exception {
        List<Path> keys =
                List.of(openssl.key("RSA2048"), openssl.key("P-256"), openssl.key("P-521"));
        List<PublicKey> recipients =
                List.of(publicKey(keys.get(0)), publicKey(keys.get(1)), publicKey(keys.get(2)));
        String message = new String(JweEnvelope.seal(CONTENT, recipients), UTF_8);
        for (Path key : keys) {
            assertArrayEquals(CONTENT, open(message, privateKey(key)).orElseThrow());
        }
        assertEquals(
                "jwe for RSA-OAEP, 2 × ECDH-ES+A256KW",
                JweEnvelope.parse(message.getBytes(UTF_8)).recipients());
        // As go-jose 2 writes it; not when it is another one.
        String first = message.replaceAll(".*?(\"encrypted_key\":\"[^\"]*\").*", "$1");
        String repeated = message.replace("],\"iv\"", "]," + first + ",\"iv\"");
        assertArrayEquals(CONTENT, open(repeated, privateKey(keys.get(2))).orElseThrow());
        String another = message.replace("],\"iv\"", "],\"encrypted_key\":\"AAAA\",\"iv\"");
        assertTrue(assertInvalid(another).contains("another one beside"));
    }

    @Test
    void open_anyPartChanged_refused() throws Exception {
        for (String kind : List.of("RSA2048", "P-256")) {
            Path pem = openssl.key(kind);
            PrivateKey key = privateKey(pem);
            String message = new String(JweEnvelope.seal(CONTENT, List.of(publicKey(pem))), UTF_8);
            for (String name : List.of("iv", "ciphertext", "tag")) {
                String error = assertInvalid(flipped(message, name), key);
                assertTrue(error.contains("was changed"), error);
            }
            assertEquals(Optional.empty(), open(flipped(message, "encrypted_key"), key));
            // A header that says more is another header.
            String protectedHeader = message.replaceAll(".*\"protected\":\"([^\"]*)\".*", "$1");
            String more =
                    URL.encodeToString(
                            new String(url(protectedHeader), UTF_8)
                                    .replace("}", ",\"kid\":\"x\"}")
                                    .replace(",\"kid\":\"x\"},", "},")
                                    .getBytes(UTF_8));
            String error = assertInvalid(message.replace(protectedHeader, more), key);
            assertTrue(error.contains("was changed"), error);
        }
    }

    private static String flipped(String message, String name) {
        String value = message.replaceAll(".*\"" + name + "\":\"([^\"]*)\".*", "$1");
        byte[] bytes = url(value);
        bytes[bytes.length / 2] ^= 4;
        return message.replace(value, URL.encodeToString(bytes));
    }

    private static String message(String header, String more) {
        return """
                {"protected":"%s","encrypted_key":"AAAA","iv":"AAAAAAAAAAAAAAAA",\
                "ciphertext":"AAAA","tag":"AAAAAAAAAAAAAAAAAAAAAA"%s}"""
                .formatted(URL.encodeToString(header.getBytes(UTF_8)), more);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "{\"alg\":\"RSA-OAEP\",\"enc\":\"A256GCM\",\"zip\":\"DEF\"}||\"zip\" is refused",
                "{\"alg\":\"RSA-OAEP\",\"enc\":\"A256GCM\"}|,\"unprotected\":{\"zip\":\"DEF\"}|\"zip\" is refused",
                "{\"alg\":\"RSA-OAEP\",\"enc\":\"A256GCM\",\"crit\":[\"x\"],\"x\":1}||\"crit\" is refused",
                "{\"alg\":\"PBES2-HS256+A128KW\",\"enc\":\"A256GCM\",\"p2c\":2000000000,\"p2s\":\"AA\"}||PBES2-HS256+A128KW is refused",
                "{\"enc\":\"A256GCM\"}||without \"alg\"",
                "{\"alg\":\"RSA-OAEP\"}||content encryption \"\" is refused",
                "{\"alg\":\"RSA-OAEP\",\"enc\":\"XC20P\"}||content encryption \"XC20P\" is refused",
                "{\"alg\":\"RSA-OAEP\",\"enc\":\"A128CBC-HS256\"}||wanted an initialization vector of 16",
                "{\"alg\":\"RSA-OAEP\",\"enc\":\"A256GCM\"}|,\"header\":{\"alg\":\"RSA1_5\"}|stands in two headers",
                "{\"alg\":\"RSA-OAEP\",\"enc\":\"A256GCM\",\"enc\":\"A128GCM\"}||enc",
                "{\"alg\":\"RSA-OAEP\",\"enc\":\"A256GCM\"}|,\"more\":\"x\"|unknown field \"more\"",
                "{\"alg\":\"RSA-OAEP\",\"enc\":\"A256GCM\"}|,\"aad\":\"A+==\"|additional data",
                "{\"alg\":\"RSA-OAEP\",\"enc\":\"A256GCM\"}|,\"recipients\":[]|another one beside"
            })
    void parse_forbiddenOrMalformed_refused(String header, String more, String reason) {
        String error = assertInvalid(message(header, more == null ? "" : more));
        assertTrue(error.contains(reason), error);
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "a.b.c.d", "{}", "[]", "....", "{\"protected\":\"=\"}", "{"})
    void parse_noMessage_refused(String text) {
        assertTrue(assertInvalid(text).contains("JWE"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"RSA1_5", "dir", "A256KW", "ECDH-ES", "RSA-OAEP-512", "none"})
    void open_algorithmOfOthers_noKeyOpensIt(String algorithm) throws Exception {
        String message = message("{\"alg\":\"%s\",\"enc\":\"A256GCM\"}".formatted(algorithm), "");
        PrivateKey[] keys = {privateKey(openssl.key("RSA2048")), privateKey(openssl.key("P-256"))};
        assertEquals(Optional.empty(), open(message, keys));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "|without the sender's public key",
                ",\"epk\":{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"AA\"}|without the sender's public key",
                ",\"epk\":{\"kty\":\"EC\",\"crv\":\"P-224\",\"x\":\"AA\",\"y\":\"AA\"}|wanted the curve",
                ",\"epk\":{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}|coordinates of 32 bytes",
                ",\"epk\":{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ\",\"y\":\"e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOycg\"}|not on the curve"
            })
    void open_senderKeyOffTheCurve_refused(String epk, String reason) throws Exception {
        String header =
                "{\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256GCM\"%s}"
                        .formatted(epk == null ? "" : epk);
        String error = assertInvalid(message(header, ""), privateKey(openssl.key("P-256")));
        assertTrue(error.contains(reason), error);
    }

    @Test
    void parse_tooManyRecipients_refused() throws Exception {
        for (int count : List.of(32, 33)) {
            String recipients =
                    IntStream.range(0, count)
                            .mapToObj(
                                    _ ->
                                            "{\"header\":{\"alg\":\"RSA-OAEP\"},\"encrypted_key\":\"AAAA\"}")
                            .collect(Collectors.joining(","));
            String message =
                    message("{\"enc\":\"A256GCM\"}", ",\"recipients\":[%s]".formatted(recipients))
                            .replaceFirst("\"encrypted_key\":\"AAAA\",", "");
            if (count == 32) {
                assertEquals(Optional.empty(), open(message));
            } else {
                assertTrue(assertInvalid(message).contains("more than 32 recipients"));
            }
        }
    }

    @Test
    void coordinate_ofAnyLength_isPadded() throws Exception {
        EcCurve curve = EcCurve.named("P-521");
        assertEquals(
                "00".repeat(65) + "07",
                HexFormat.of().formatHex(curve.coordinate(BigInteger.valueOf(7))));
        BigInteger large = BigInteger.ONE.shiftLeft(521).subtract(BigInteger.ONE);
        assertEquals("01" + "ff".repeat(65), HexFormat.of().formatHex(curve.coordinate(large)));
    }
}
