package dev.imgd.trust;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.testkit.OpenSsl;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.PrivateKey;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import javax.crypto.Cipher;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// CMS in both directions with the program openssl.
class CmsEnvelopeTest {
    private static final byte[] CONTENT = "{\"a\": \"secret\"}".getBytes(UTF_8);

    @TempDir Path directory;
    private OpenSsl openssl = new OpenSsl(Path.of(""));
    private Path pem = Path.of("");
    private Path certificate = Path.of("");
    private @Nullable PrivateKey key;
    private @Nullable PrivateKey other;

    @BeforeEach
    void start() throws Exception {
        openssl = new OpenSsl(directory);
        pem = openssl.key("RSA2048");
        certificate = openssl.root(pem, "/CN=recipient");
        key = privateKey(pem);
        other = privateKey(openssl.key("RSA2048"));
    }

    private static PrivateKey privateKey(Path pem) throws Exception {
        return PrivateKeyFile.parse("key", Files.readAllBytes(pem), new byte[0]).keys().getFirst();
    }

    private byte[] encrypted(List<String> options, Path... certificates) throws Exception {
        Path in = directory.resolve("content");
        Files.write(in, CONTENT);
        Path out = directory.resolve("message");
        List<String> command =
                new ArrayList<>(
                        List.of(
                                "cms",
                                "-encrypt",
                                "-binary",
                                "-outform",
                                "DER",
                                "-in",
                                in.toString(),
                                "-out",
                                out.toString()));
        command.addAll(options);
        for (Path one : certificates) {
            command.add(one.toString());
        }
        openssl.run(command.toArray(String[]::new));
        return Files.readAllBytes(out);
    }

    private static Optional<byte[]> open(byte[] message, @Nullable PrivateKey... keys)
            throws ImageException {
        return CmsEnvelope.parse(message).open(List.of(keys));
    }

    private static String assertInvalid(byte[] message) {
        ImageException e = assertThrows(ImageException.class, () -> CmsEnvelope.parse(message));
        assertEquals(ErrorKind.INVALID_CONTENT, e.kind(), e.toString());
        return e.getMessage();
    }

    @ParameterizedTest
    @ValueSource(strings = {"-aes128", "-aes192", "-aes256"})
    void open_madeByOpenssl_itsContent(String cipher) throws Exception {
        byte[] message = encrypted(List.of(cipher), certificate);
        assertArrayEquals(CONTENT, open(message, other, key).orElseThrow());
        assertEquals(Optional.empty(), open(message, other));
        assertEquals("pkcs7 for RSA", CmsEnvelope.parse(message).recipients());
    }

    @ParameterizedTest
    @CsvSource({"sha1", "sha256"})
    void open_oaepMadeByOpenssl_itsContent(String hash) throws Exception {
        byte[] message =
                encrypted(
                        List.of(
                                "-aes256",
                                "-recip",
                                certificate.toString(),
                                "-keyopt",
                                "rsa_padding_mode:oaep",
                                "-keyopt",
                                "rsa_oaep_md:" + hash));
        assertArrayEquals(CONTENT, open(message, key).orElseThrow());
        assertEquals("pkcs7 for RSA-OAEP", CmsEnvelope.parse(message).recipients());
    }

    @Test
    void open_severalRecipients_eachAlone() throws Exception {
        Path second = openssl.key("RSA3072");
        byte[] message =
                encrypted(List.of("-aes256"), certificate, openssl.root(second, "/CN=second"));
        assertArrayEquals(CONTENT, open(message, key).orElseThrow());
        assertArrayEquals(CONTENT, open(message, privateKey(second)).orElseThrow());
        Path curve = openssl.key("P-256");
        byte[] mixed = encrypted(List.of("-aes256"), openssl.root(curve, "/CN=ec"), certificate);
        assertArrayEquals(CONTENT, open(mixed, key).orElseThrow());
        assertEquals("pkcs7 for RSA, another kind of key", CmsEnvelope.parse(mixed).recipients());
    }

    /// As ocicrypt writes it: GCM in the structure that is meant for CBC, and the parameters of GCM
    /// with tags that no other program gives them. skopeo's own are read by `EncryptionIT`.
    @ParameterizedTest
    @CsvSource({
        "true, 84, 12, 16, true",
        "false, 04, 12, 16, true",
        "true, 84, 8, 16, false",
        "false, 04, 12, 12, false",
        "true, 02, 12, 16, false"
    })
    void open_gcmInTheWayOfGo_itsContent(
            boolean wrapped, String octets, int nonceBytes, int tagBytes, boolean good)
            throws Exception {
        byte[] contentKey = new byte[16];
        contentKey[3] = 7;
        byte[] nonce = new byte[nonceBytes];
        Cipher gcm = Cipher.getInstance("AES/GCM/NoPadding");
        gcm.init(
                Cipher.ENCRYPT_MODE,
                new SecretKeySpec(contentKey, "AES"),
                new GCMParameterSpec(128, nonce));
        Der sequence =
                Der.of(
                        Der.SEQUENCE,
                        new Der(HexFormat.fromHexDigits(octets), nonce),
                        Der.integer(tagBytes));
        Der parameters = wrapped ? Der.of(0x10, sequence) : sequence;
        Der recipient =
                Der.of(
                        Der.SEQUENCE,
                        Der.integer(0),
                        Der.of(Der.SEQUENCE),
                        Der.of(Der.SEQUENCE, Der.oid(PrivateKeyFile.RSA)),
                        new Der(
                                Der.OCTETS,
                                openssl.encryptKey(openssl.publicKey(pem), contentKey)));
        Der encrypted =
                Der.of(
                        Der.SEQUENCE,
                        Der.oid("2a864886f70d010701"),
                        Der.of(Der.SEQUENCE, Der.oid("608648016503040106"), parameters),
                        Der.of(Der.CONTEXT_0, new Der(Der.OCTETS, gcm.doFinal(CONTENT))));
        byte[] message =
                Der.of(
                                Der.SEQUENCE,
                                Der.oid("2a864886f70d010703"),
                                Der.of(
                                        Der.CONTEXT_0,
                                        Der.of(
                                                Der.SEQUENCE,
                                                Der.integer(0),
                                                Der.of(Der.SET, recipient),
                                                encrypted)))
                        .encoded();
        if (good) {
            assertArrayEquals(CONTENT, open(message, other, key).orElseThrow());
            byte[] changed = message.clone();
            changed[changed.length - 1] ^= 1;
            assertEquals(Optional.empty(), open(changed, key));
        } else {
            assertTrue(assertInvalid(message).contains("nonce of 12 bytes and a tag of 16"));
        }
    }

    @Test
    void seal_forTwo_opensslOpensBoth() throws Exception {
        Path second = openssl.key("RSA2048");
        Path secondCertificate = openssl.root(second, "/CN=second/O=with more than a name");
        List<X509Certificate> certificates =
                LayerRecipients.named(List.of("pkcs7:" + certificate, "pkcs7:" + secondCertificate))
                        .certificates();
        byte[] message = CmsEnvelope.seal(CONTENT, certificates);
        for (List<Path> one :
                List.of(List.of(pem, certificate), List.of(second, secondCertificate))) {
            byte[] content =
                    openssl.filter(
                            message,
                            "cms",
                            "-decrypt",
                            "-binary",
                            "-inform",
                            "DER",
                            "-inkey",
                            one.get(0).toString(),
                            "-recip",
                            one.get(1).toString());
            assertArrayEquals(CONTENT, content);
        }
        assertArrayEquals(CONTENT, open(message, key).orElseThrow());
        assertEquals(Optional.empty(), open(message, other));
    }

    /// No position in the message makes anything but a refusal or no content, and none shows
    /// whether the padding of the key was right.
    @Test
    void open_anyByteChanged_neverOtherContent() throws Exception {
        byte[] message = encrypted(List.of("-aes256"), certificate);
        int opened = 0;
        for (int i = 0; i < message.length; i++) {
            byte[] changed = message.clone();
            changed[i] ^= 0x55;
            try {
                Optional<byte[]> content = open(changed, key);
                if (content.isPresent()) {
                    opened++;
                    // CBC authenticates nothing: it is the JSON and the HMAC of the layer that do.
                    assertEquals('{', content.get()[0]);
                }
            } catch (ImageException e) {
                assertEquals(ErrorKind.INVALID_CONTENT, e.kind(), e.toString());
            }
        }
        // Who it is for is only a hint, so a change there does no harm.
        assertTrue(opened < message.length / 4, "opened " + opened + " of " + message.length);
    }

    @Test
    void open_keyWithWrongPadding_asAnotherKey() throws Exception {
        byte[] message = encrypted(List.of("-aes256"), certificate);
        byte[] changed = message.clone();
        // The encrypted key is the longest string in it.
        int at = indexOf(message, new byte[] {0x04, (byte) 0x82, 0x01, 0x00}) + 4;
        changed[at + 100] ^= 1;
        assertEquals(Optional.empty(), open(changed, key));
    }

    private static int indexOf(byte[] bytes, byte[] wanted) {
        for (int i = 0; i <= bytes.length - wanted.length; i++) {
            if (Arrays.equals(bytes, i, i + wanted.length, wanted, 0, wanted.length)) {
                return i;
            }
        }
        throw new AssertionError("not there");
    }

    @Test
    void parse_otherMessages_refused() throws Exception {
        assertTrue(
                assertInvalid(encrypted(List.of("-des3"), certificate))
                        .contains("content encryption is refused"));
        assertTrue(
                assertInvalid(encrypted(List.of("-aes-256-gcm"), certificate))
                        .contains("wanted enveloped data"));
        assertTrue(
                assertInvalid(encrypted(List.of("-aes256", "-stream"), certificate))
                        .contains("malformed DER"));
        assertTrue(assertInvalid(new byte[0]).contains("wanted one DER element"));
        assertTrue(assertInvalid(CONTENT).contains("malformed DER"));
        byte[] message = encrypted(List.of("-aes256"), certificate);
        for (int length = 0; length < message.length; length += 7) {
            String error = assertInvalid(Arrays.copyOf(message, length));
            assertTrue(error.startsWith("PKCS7"), error);
        }
    }

    @Test
    void parse_tooManyRecipients_refused() throws Exception {
        Path[] many = new Path[33];
        Arrays.fill(many, certificate);
        assertTrue(
                assertInvalid(encrypted(List.of("-aes256"), many))
                        .contains("more than 32 recipients"));
    }
}
