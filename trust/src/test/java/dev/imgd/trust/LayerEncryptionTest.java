package dev.imgd.trust;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.MediaType;
import dev.imgd.testkit.OpenSsl;
import java.io.ByteArrayOutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import javax.crypto.Cipher;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// The annotations of encrypted layers, and the keys that open them.
class LayerEncryptionTest {
    private static final String JWE = "org.opencontainers.image.enc.keys.jwe";
    private static final String PKCS7 = "org.opencontainers.image.enc.keys.pkcs7";
    private static final String PUBLIC = "org.opencontainers.image.enc.pubopts";
    private static final Digest PLAIN = Digest.sha256(new byte[] {1});
    private static final String KEY = Base64.getEncoder().encodeToString(new byte[32]);
    private static final String NONCE = Base64.getEncoder().encodeToString(new byte[16]);

    @TempDir Path directory;
    private OpenSsl openssl = new OpenSsl(Path.of(""));
    private Path keys = Path.of("");
    private Path pem = Path.of("");
    private LayerRecipients recipients = new LayerRecipients(List.of(), List.of());

    @BeforeEach
    void start() throws Exception {
        openssl = new OpenSsl(directory);
        keys = Files.createDirectory(directory.resolve("keys"));
        pem = openssl.key("P-256");
        Files.copy(pem, keys.resolve("own.pem"));
        recipients = LayerRecipients.named(List.of("jwe:" + openssl.publicKey(pem)));
    }

    private DecryptionKeys directoryKeys() throws ImageException {
        return DecryptionKeys.directory(keys, true);
    }

    private static Descriptor layer(Map<String, String> annotations) {
        return new Descriptor(
                MediaType.OCI_LAYER_GZIP + LayerEncryption.SUFFIX,
                Digest.sha256(new byte[] {2}),
                1,
                annotations,
                List.of(),
                Optional.empty(),
                Optional.empty(),
                Optional.empty());
    }

    private Map<String, String> sealed(LayerSecret secret) {
        return LayerEncryption.seal(secret, new byte[32], recipients);
    }

    private ImageException assertFails(
            ErrorKind kind, Map<String, String> annotations, DecryptionKeys with) {
        ImageException e =
                assertThrows(
                        ImageException.class,
                        () -> LayerEncryption.open("image a:1", layer(annotations), with));
        assertEquals(kind, e.kind(), e.toString());
        assertTrue(e.getMessage().startsWith("image a:1: encrypted layer sha256:"), e.getMessage());
        assertFalse(e.getMessage().contains(KEY), e.getMessage());
        return e;
    }

    @Test
    void seal_open_sameSecret() throws Exception {
        LayerSecret secret = LayerSecret.create(PLAIN);
        byte[] mac = new byte[32];
        mac[5] = 9;
        LayerSecret opened =
                LayerEncryption.open(
                        "a", layer(LayerEncryption.seal(secret, mac, recipients)), directoryKeys());
        assertArrayEquals(secret.key(), opened.key());
        assertArrayEquals(secret.nonce(), opened.nonce());
        assertEquals(PLAIN, opened.plain());
        assertTrue(opened.authentic(mac));
        assertFalse(opened.authentic(new byte[32]));
        assertNotEquals(secret.tree(PLAIN, PLAIN), LayerSecret.create(PLAIN).tree(PLAIN, PLAIN));
        byte[] lent =
                opened.lend(
                        16L,
                        (key, counter) -> {
                            assertArrayEquals(secret.key(), key);
                            assertEquals(16, counter.length);
                            return key;
                        });
        assertArrayEquals(new byte[32], lent, "still there after it was lent");
    }

    @Test
    void open_noKeyFits_deniedSayingForWhomAndWhereWasLooked() throws Exception {
        Path rsa = openssl.key("RSA2048");
        Path certificate = openssl.root(rsa, "/CN=x");
        LayerRecipients several =
                LayerRecipients.named(
                        List.of(
                                "jwe:" + openssl.publicKey(pem),
                                "jwe:" + openssl.publicKey(rsa),
                                "pkcs7:" + certificate));
        Map<String, String> annotations =
                new HashMap<>(
                        LayerEncryption.seal(LayerSecret.create(PLAIN), new byte[32], several));
        annotations.put("org.opencontainers.image.enc.keys.pgp", "AAAA");
        Path others = Files.createDirectory(directory.resolve("others"));
        Files.copy(openssl.key("P-384"), others.resolve("a.pem"));
        Files.copy(certificate, others.resolve("a.crt"));
        ImageException e =
                assertFails(
                        ErrorKind.PERMISSION_DENIED,
                        annotations,
                        DecryptionKeys.directory(others, true));
        assertTrue(
                e.getMessage()
                        .endsWith(
                                "no key opens it; it is encrypted as jwe for ECDH-ES+A256KW, RSA-OAEP; pgp (not supported); pkcs7 for RSA; keys were looked for in %s (1 key)"
                                        .formatted(others)),
                e.getMessage());
        ImageException none =
                assertFails(ErrorKind.PERMISSION_DENIED, annotations, DecryptionKeys.NONE);
        assertTrue(none.getMessage().endsWith("no keys are configured"), none.getMessage());
        // Each of the three opens it alone.
        Files.copy(rsa, others.resolve("b.pem"));
        var _ =
                LayerEncryption.open(
                        "a", layer(annotations), DecryptionKeys.directory(others, true));
        annotations.remove(JWE);
        var _ =
                LayerEncryption.open(
                        "a", layer(annotations), DecryptionKeys.directory(others, true));
        assertFails(ErrorKind.PERMISSION_DENIED, annotations, directoryKeys());
    }

    private static String base64(String text) {
        return Base64.getEncoder().encodeToString(text.getBytes(UTF_8));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "{}|wanted the cipher AES_256_CTR_HMAC_SHA256, got \"\"",
                "{\"cipher\":\"AES_128_CTR\",\"hmac\":\"M\"}|got \"AES_128_CTR\"",
                "{\"cipher\":\"AES_256_CTR_HMAC_SHA256\"}|hmac",
                "{\"cipher\":\"AES_256_CTR_HMAC_SHA256\",\"hmac\":\"\"}|wanted 32 bytes, got 0",
                "{\"cipher\":\"AES_256_CTR_HMAC_SHA256\",\"hmac\":null}|hmac",
                "{\"cipher\":\"AES_256_CTR_HMAC_SHA256\",\"hmac\":\"AAAA\"}|wanted 32 bytes, got 3",
                "{\"cipher\":\"AES_256_CTR_HMAC_SHA256\",\"hmac\":\"M\",\"cipheroptions\":{\"nonce\":\"AAAA\"}}|a public nonce is refused",
                "{\"cipher\":\"AES_256_CTR_HMAC_SHA256\",\"hmac\":\"M\",\"cipheroptions\":{\"nonce\":null}}|a public nonce is refused",
                "{\"cipher\":\"AES_256_CTR_HMAC_SHA256\",\"hmac\":\"M\",\"cipheroptions\":{\"x\":\"AAAA\"}}|public option \"x\" is unknown",
                "{\"cipher\":\"AES_256_CTR_HMAC_SHA256\",\"hmac\":\"M\",\"symkey\":\"AAAA\"}|unknown field \"symkey\"",
                "{\"cipher\":\"AES_256_CTR_HMAC_SHA256\",\"hmac\":\"M\",\"hmac\":\"M\"}|hmac",
                "{\"cipher\":\"AES_256_CTR_HMAC_SHA256\",\"hmac\":\"M\"} {}|public options",
                "[]|public options"
            })
    void open_publicOptionsWrong_refusedWithReason(String options, String reason) throws Exception {
        Map<String, String> annotations = new HashMap<>(sealed(LayerSecret.create(PLAIN)));
        annotations.put(PUBLIC, base64(options.replace("\"M\"", "\"" + KEY + "\"")));
        ImageException e = assertFails(ErrorKind.INVALID_CONTENT, annotations, directoryKeys());
        assertTrue(e.getMessage().contains(reason), e.getMessage());
    }

    @Test
    void open_annotationsMissingOrNoBase64_refusedWithReason() throws Exception {
        Map<String, String> good = sealed(LayerSecret.create(PLAIN));
        String many =
                Base64.getEncoder()
                        .encodeToString(
                                JweEnvelope.seal(
                                        new byte[10],
                                        Collections.nCopies(32, recipients.keys().getFirst())));
        for (String[] row :
                new String[][] {
                    {PUBLIC, null, "with its HMAC is missing"},
                    {PUBLIC, "", "with its HMAC is missing"},
                    {PUBLIC, "A", "canonical base64"},
                    {PUBLIC, "A".repeat(4100), "longer than 4096"},
                    {JWE, "A", "canonical base64"},
                    {JWE, good.get(JWE) + ",", "JWE"},
                    {JWE, good.get(JWE) + "\n", "canonical base64"},
                    {JWE, (good.get(JWE) + ",").repeat(33), "more than 32 envelopes"},
                    {JWE, many + "," + good.get(JWE), "more than 32 recipients"},
                    {JWE, "A".repeat(400_000), "larger than 256 KiB"},
                    {PKCS7, "AAAA", "PKCS7"}
                }) {
            Map<String, String> annotations = new HashMap<>(good);
            if (row[1] == null) {
                annotations.remove(row[0]);
            } else {
                annotations.put(row[0], row[1]);
            }
            ImageException e = assertFails(ErrorKind.INVALID_CONTENT, annotations, directoryKeys());
            assertTrue(e.getMessage().contains(row[2]), e.getMessage());
        }
        ImageException none =
                assertFails(
                        ErrorKind.PERMISSION_DENIED,
                        Map.of(PUBLIC, good.get(PUBLIC)),
                        directoryKeys());
        assertTrue(none.getMessage().contains("no envelope is there"), none.getMessage());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "{\"digest\":\"D\",\"cipheroptions\":{\"nonce\":\"N\"}}|symkey",
                "{\"symkey\":\"AAAA\",\"digest\":\"D\",\"cipheroptions\":{\"nonce\":\"N\"}}|wanted 32 bytes, got 3",
                "{\"symkey\":\"K\",\"cipheroptions\":{\"nonce\":\"N\"}}|digest",
                "{\"symkey\":\"K\",\"digest\":\"\",\"cipheroptions\":{\"nonce\":\"N\"}}|digest",
                "{\"symkey\":\"K\",\"digest\":\"md5:00\",\"cipheroptions\":{\"nonce\":\"N\"}}|md5",
                "{\"symkey\":\"K\",\"digest\":\"D\"}|cipheroptions",
                "{\"symkey\":\"K\",\"digest\":\"D\",\"cipheroptions\":{}}|nonce",
                "{\"symkey\":\"K\",\"digest\":\"D\",\"cipheroptions\":{\"nonce\":\"AAAA\"}}|wanted 16 bytes, got 3",
                "{\"symkey\":\"K\",\"digest\":\"D\",\"cipheroptions\":{\"nonce\":\"N\",\"x\":\"\"}}|unknown field \"x\"",
                "{\"symkey\":\"K\",\"digest\":\"D\",\"cipheroptions\":{\"nonce\":\"N\"},\"x\":1}|unknown field \"x\"",
                "{\"symkey\":\"K\",\"symkey\":\"K\",\"digest\":\"D\",\"cipheroptions\":{\"nonce\":\"N\"}}|each name once",
                "nothing|private options"
            })
    void open_privateOptionsWrong_refusedWithReason(String options, String reason)
            throws Exception {
        String content =
                options.replace("\"K\"", "\"" + KEY + "\"")
                        .replace("\"D\"", "\"" + PLAIN + "\"")
                        .replace("\"N\"", "\"" + NONCE + "\"");
        Map<String, String> annotations = new HashMap<>(sealed(LayerSecret.create(PLAIN)));
        annotations.put(
                JWE,
                Base64.getEncoder()
                        .encodeToString(
                                JweEnvelope.seal(content.getBytes(UTF_8), recipients.keys())));
        ImageException e = assertFails(ErrorKind.INVALID_CONTENT, annotations, directoryKeys());
        assertTrue(e.getMessage().contains(reason), e.getMessage());
    }

    /// The counter runs over the end of each of its parts.
    @Test
    void cipher_atAnyOffset_continuesAsFromTheStart() throws Exception {
        byte[] nonce = new byte[16];
        Arrays.fill(nonce, (byte) 0xff);
        nonce[15] = (byte) 0xf0;
        LayerSecret secret = new LayerSecret(new byte[32], nonce, PLAIN, new byte[32]);
        byte[] content = new byte[2000];
        byte[] whole = secret.cipher(0).update(content);
        Path in = directory.resolve("zeros");
        Files.write(in, content);
        byte[] theirs =
                openssl.filter(
                        content,
                        "enc",
                        "-aes-256-ctr",
                        "-K",
                        "00".repeat(32),
                        "-iv",
                        "ff".repeat(15) + "f0");
        assertArrayEquals(theirs, whole);
        for (int offset : List.of(0, 1, 15, 16, 17, 255, 256, 257, 1000, 1999)) {
            ByteArrayOutputStream rest = new ByteArrayOutputStream();
            Cipher cipher = secret.cipher(offset);
            byte[] part = cipher.update(content, offset, content.length - offset);
            rest.writeBytes(part);
            assertArrayEquals(
                    Arrays.copyOfRange(whole, offset, whole.length),
                    rest.toByteArray(),
                    "offset " + offset);
        }
    }

    @Test
    void tree_anythingElse_anotherName() {
        Digest diffId = Digest.sha256(new byte[] {7});
        Digest blob = Digest.sha256(new byte[] {8});
        LayerSecret secret = new LayerSecret(new byte[32], new byte[16], PLAIN, new byte[32]);
        byte[] otherKey = new byte[32];
        otherKey[31] = 1;
        byte[] otherNonce = new byte[16];
        otherNonce[0] = 1;
        List<Digest> names =
                List.of(
                        diffId,
                        secret.tree(diffId, blob),
                        secret.tree(blob, blob),
                        secret.tree(diffId, diffId),
                        new LayerSecret(otherKey, new byte[16], PLAIN, new byte[32])
                                .tree(diffId, blob),
                        new LayerSecret(new byte[32], otherNonce, PLAIN, new byte[32])
                                .tree(diffId, blob),
                        new LayerSecret(new byte[32], new byte[16], blob, new byte[32])
                                .tree(diffId, blob));
        assertEquals(names.size(), names.stream().distinct().count());
        assertFalse(secret.toString().contains(KEY));
    }

    // ---- keys

    private Path converted(String... command) throws Exception {
        Path out = directory.resolve("converted.pem");
        String[] all = Arrays.copyOf(command, command.length + 2);
        all[command.length] = "-out";
        all[command.length + 1] = out.toString();
        openssl.run(all);
        return out;
    }

    private void assertOpens(String kind, String name) throws Exception {
        Path key = directory.resolve("kept.pem");
        Map<String, String> annotations =
                LayerEncryption.seal(
                        LayerSecret.create(PLAIN),
                        new byte[32],
                        LayerRecipients.named(List.of("jwe:" + openssl.publicKey(key))));
        LayerSecret secret =
                LayerEncryption.open("a", layer(annotations), DecryptionKeys.named(name));
        assertEquals(PLAIN, secret.plain(), kind);
    }

    @ParameterizedTest
    @ValueSource(strings = {"RSA2048", "P-256", "P-384"})
    void named_everyFormOfAKey_opens(String kind) throws Exception {
        Path key = directory.resolve("kept.pem");
        Files.copy(openssl.key(kind), key);
        Path password = Files.writeString(directory.resolve("password"), "geheim ü\n");
        String family = kind.startsWith("RSA") ? "rsa" : "ec";
        assertOpens(kind, key.toString());
        String in = key.toString();
        assertOpens("traditional", converted("pkey", "-traditional", "-in", in).toString());
        String pass = "file:" + password;
        for (String cipher : List.of("-aes128", "-aes192", "-aes256", "-des3")) {
            Path old = converted("pkey", "-traditional", cipher, "-passout", pass, "-in", in);
            assertTrue(Files.readString(old).contains("Proc-Type: 4,ENCRYPTED"));
            assertOpens(family + cipher, old + ":file=" + password);
        }
        for (String prf : List.of("hmacWithSHA1", "hmacWithSHA256", "hmacWithSHA512")) {
            Path modern =
                    converted(
                            "pkcs8",
                            "-topk8",
                            "-v2",
                            "aes256",
                            "-v2prf",
                            prf,
                            "-passout",
                            pass,
                            "-in",
                            in);
            assertTrue(Files.readString(modern).contains("BEGIN ENCRYPTED PRIVATE KEY"));
            assertOpens(prf, modern + ":file=" + password);
        }
    }

    private static ImageException assertKeyFails(ErrorKind kind, String name) {
        ImageException e = assertThrows(ImageException.class, () -> DecryptionKeys.named(name));
        assertEquals(kind, e.kind(), e.toString());
        return e;
    }

    @Test
    void named_wrongUse_saysWhatIsWanted() throws Exception {
        Path password = Files.writeString(directory.resolve("password"), "right");
        Path wrong = Files.writeString(directory.resolve("wrong"), "wrong");
        Path encrypted =
                converted("pkcs8", "-topk8", "-passout", "file:" + password, "-in", pem.toString());
        assertTrue(
                assertKeyFails(ErrorKind.INVALID_ARGUMENT, encrypted + ":file=" + wrong)
                        .getMessage()
                        .contains("the password is wrong"));
        assertTrue(
                assertKeyFails(ErrorKind.INVALID_ARGUMENT, encrypted.toString())
                        .getMessage()
                        .contains("needs a password"));
        for (String onTheLine : List.of(":right", ":pass=right")) {
            String error =
                    assertKeyFails(ErrorKind.INVALID_ARGUMENT, encrypted + onTheLine).getMessage();
            assertTrue(error.contains("no password on the command line"), error);
            assertFalse(error.contains("right"), error);
        }
        assertKeyFails(ErrorKind.NOT_FOUND, directory.resolve("none").toString());
        assertTrue(
                assertKeyFails(ErrorKind.INVALID_ARGUMENT, openssl.publicKey(pem).toString())
                        .getMessage()
                        .contains("no private key in it"));
        // skopeo wants the certificate beside the key, so users name it.
        assertEquals(0, DecryptionKeys.named(openssl.root(pem, "/CN=x").toString()).keys().size());
        assertKeyFails(ErrorKind.NOT_FOUND, encrypted + ":file=" + directory.resolve("none"));
        Path weak = openssl.key("RSA1024");
        assertTrue(
                assertKeyFails(ErrorKind.INVALID_ARGUMENT, weak.toString())
                        .getMessage()
                        .contains("wanted an RSA key of 2048 to 8192 bits, got 1024"));
        assertTrue(
                assertKeyFails(ErrorKind.INVALID_ARGUMENT, openssl.key("ED25519").toString())
                        .getMessage()
                        .contains("wanted an RSA or EC private key"));
    }

    /// Of some hundred wrong passwords several leave the right padding.
    @Test
    void named_anyWrongPassword_isCalledThat() throws Exception {
        Path right = Files.writeString(directory.resolve("password"), "right");
        String pass = "file:" + right;
        String in = pem.toString();
        Path old = directory.resolve("old.pem");
        Files.copy(converted("pkey", "-traditional", "-aes128", "-passout", pass, "-in", in), old);
        Path modern = converted("pkcs8", "-topk8", "-iter", "1", "-passout", pass, "-in", in);
        Path password = directory.resolve("other");
        for (int i = 0; i < 1500; i++) {
            Files.writeString(password, "wrong" + i);
            for (Path key : List.of(old, modern)) {
                String error =
                        assertKeyFails(ErrorKind.INVALID_ARGUMENT, key + ":file=" + password)
                                .getMessage();
                assertTrue(error.contains("the password is wrong"), error);
            }
        }
    }

    @Test
    void directory_mixedFiles_keysAreTakenTheRestIsPassedOver() throws Exception {
        Path real = Files.createDirectory(keys.resolve("..data"));
        Files.copy(openssl.key("RSA2048"), real.resolve("linked.pem"));
        Files.createSymbolicLink(keys.resolve("linked.pem"), Path.of("..data/linked.pem"));
        Files.copy(openssl.publicKey(pem), keys.resolve("public.pem"));
        Files.writeString(keys.resolve("README"), "keys of this host");
        Files.writeString(keys.resolve(".hidden.pem"), Files.readString(pem));
        Files.createDirectory(keys.resolve("folder"));
        Files.writeString(
                keys.resolve("broken.pem"),
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
        Files.write(keys.resolve("large"), new byte[70_000]);
        DecryptionKeys read = directoryKeys();
        assertEquals(2, read.keys().size());
        String text = read.toString();
        assertTrue(
                text.startsWith(
                        "keys were looked for in " + keys + " (2 keys); passed over there: "),
                text);
        assertTrue(text.contains("broken.pem: wanted an RSA or EC private key"), text);
        assertTrue(text.contains("large: too large"), text);
        String base64 =
                Files.readAllLines(pem).stream()
                        .filter(line -> !line.startsWith("-"))
                        .collect(Collectors.joining());
        assertFalse(text.contains(base64.substring(0, 20)), text);
    }

    @Test
    void directory_absent_onlyAnErrorWhenRequired() throws Exception {
        Path absent = directory.resolve("absent");
        assertEquals(
                "keys were looked for in " + absent + " (does not exist)",
                DecryptionKeys.directory(absent, false).toString());
        ImageException e =
                assertThrows(ImageException.class, () -> DecryptionKeys.directory(absent, true));
        assertEquals(ErrorKind.FAILED_PRECONDITION, e.kind());
    }

    @Test
    void recipients_wrongUse_saysWhatIsWanted() throws Exception {
        Path ec = openssl.root(pem, "/CN=ec");
        for (String[] row :
                new String[][] {
                    {"jwe:" + pem, "has no PEM block \"PUBLIC KEY\""},
                    {"pkcs7:" + openssl.publicKey(pem), "has no PEM block \"CERTIFICATE\""},
                    {"pkcs7:" + ec, "wanted the certificate of an RSA key"},
                    {"jwe:" + openssl.publicKey(openssl.key("RSA1024")), "2048 to 8192 bits"},
                    {"jwe:" + openssl.publicKey(openssl.key("ED25519")), "RSA or EC public key"},
                    {"pgp:someone", "wanted jwe:PUBLICKEY or pkcs7:CERTIFICATE"},
                    {pem.toString(), "wanted jwe:PUBLICKEY or pkcs7:CERTIFICATE"}
                }) {
            ImageException e =
                    assertThrows(
                            ImageException.class, () -> LayerRecipients.named(List.of(row[0])));
            assertEquals(ErrorKind.INVALID_ARGUMENT, e.kind());
            assertTrue(e.getMessage().contains(row[1]), e.getMessage());
        }
        assertThrows(ImageException.class, () -> LayerRecipients.named(List.of()));
        String own = "jwe:" + openssl.publicKey(pem);
        assertEquals(32, LayerRecipients.named(Collections.nCopies(32, own)).keys().size());
        ImageException e =
                assertThrows(
                        ImageException.class,
                        () -> LayerRecipients.named(Collections.nCopies(33, own)));
        assertTrue(e.getMessage().contains("at most 32 recipients, got 33"), e.getMessage());
    }
}
