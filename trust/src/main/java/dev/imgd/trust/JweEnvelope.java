package dev.imgd.trust;

import dev.imgd.model.Bytes;
import dev.imgd.model.ImageException;
import dev.imgd.model.Json;
import dev.imgd.model.JsonNode;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.Text;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.Key;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.SecureRandom;
import java.security.interfaces.ECPrivateKey;
import java.security.interfaces.ECPublicKey;
import java.security.interfaces.RSAPrivateKey;
import java.security.spec.MGF1ParameterSpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import javax.crypto.Cipher;
import javax.crypto.KeyAgreement;
import javax.crypto.Mac;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.OAEPParameterSpec;
import javax.crypto.spec.PSource;
import javax.crypto.spec.SecretKeySpec;
import org.jspecify.annotations.Nullable;

/// JSON Web Encryption as ocicrypt uses it: RSA-OAEP with SHA-1 or SHA-256, ECDH-ES with AES key
/// wrap; AES in GCM, or in CBC with an HMAC. Read in the compact and in both JSON forms; what would
/// have to be expanded, derived from a password or understood specially is refused. **Source:** RFC
/// 7516, RFC 7518.
final class JweEnvelope implements LayerEnvelope {
    static final int MAX_RECIPIENTS = 32;

    private static final int MAX_PARTY_BYTES = 1024;
    private static final String WHAT = "JWE";
    private static final Base64.Encoder BASE64 = Base64.getUrlEncoder().withoutPadding();

    /// One who can open it.
    ///
    /// @param header all of its parameters, protected or not
    private record Recipient(Map<String, JsonNode> header, Bytes encryptedKey) {
        String text(String name) throws ImageException {
            JsonNode value = header.get(name);
            return value == null ? "" : value.text();
        }
    }

    private final List<Recipient> recipients;
    private final String encryption;
    private final byte[] authenticated;
    private final byte[] iv;
    private final byte[] ciphertext;
    private final byte[] tag;

    private JweEnvelope(
            List<Recipient> recipients,
            String encryption,
            byte[] authenticated,
            byte[] iv,
            byte[] ciphertext,
            byte[] tag) {
        this.recipients = recipients;
        this.encryption = encryption;
        this.authenticated = authenticated;
        this.iv = iv;
        this.ciphertext = ciphertext;
        this.tag = tag;
    }

    /// @throws ImageException `INVALID_CONTENT` for what is malformed or forbidden
    static JweEnvelope parse(byte[] document) throws ImageException {
        String text = new String(document, StandardCharsets.UTF_8).strip();
        return text.startsWith("{") ? json(document) : compact(text);
    }

    private static JweEnvelope compact(String text) throws ImageException {
        String[] parts = text.split("\\.", -1);
        if (parts.length != 5) {
            throw ImageException.invalidContent(
                    "%s: wanted JSON or five parts, got %d".formatted(WHAT, parts.length));
        }
        Map<String, JsonNode> header = protectedHeader(parts[0]);
        return of(
                List.of(new Recipient(header, Bytes.of(base64("encrypted key", parts[1])))),
                parts[0],
                base64("initialization vector", parts[2]),
                base64("ciphertext", parts[3]),
                base64("tag", parts[4]));
    }

    private static JweEnvelope json(byte[] document) throws ImageException {
        JsonNode root = Json.parse(WHAT, document);
        Strict.only(
                root,
                List.of(
                        "protected",
                        "unprotected",
                        "header",
                        "encrypted_key",
                        "recipients",
                        "iv",
                        "ciphertext",
                        "tag",
                        "aad"));
        String protectedText = root.text("protected", "");
        Map<String, JsonNode> shared = new LinkedHashMap<>();
        if (!protectedText.isEmpty()) {
            shared.putAll(protectedHeader(protectedText));
        }
        add(shared, root.find("unprotected"));
        List<Recipient> recipients = new ArrayList<>();
        if (root.find("recipients").isPresent()) {
            refuseAnother(root);
            for (JsonNode item : root.items("recipients")) {
                Strict.only(item, List.of("header", "encrypted_key"));
                recipients.add(recipient(shared, item));
                if (recipients.size() > MAX_RECIPIENTS) {
                    throw ImageException.invalidContent(
                            "%s: more than %d recipients".formatted(WHAT, MAX_RECIPIENTS));
                }
            }
        } else {
            recipients.add(recipient(shared, root));
        }
        String aad = root.text("aad", "");
        if (!aad.isEmpty()) {
            var _ = base64("additional data", aad);
        }
        return of(
                recipients,
                aad.isEmpty() ? protectedText : protectedText + "." + aad,
                base64("initialization vector", root.text("iv", "")),
                base64("ciphertext", root.text("ciphertext", "")),
                base64("tag", root.text("tag", "")));
    }

    /// go-jose before version 3 writes the first key of several once more, as that of a single
    /// recipient.
    private static void refuseAnother(JsonNode root) throws ImageException {
        List<JsonNode> listed = root.items("recipients");
        String single = root.text("encrypted_key", "");
        boolean repeated =
                single.isEmpty()
                        || (!listed.isEmpty()
                                && single.equals(listed.getFirst().text("encrypted_key", "")));
        if (root.find("header").isPresent() || !repeated) {
            throw root.invalid("it has \"recipients\", and another one beside them");
        }
    }

    private static Recipient recipient(Map<String, JsonNode> shared, JsonNode node)
            throws ImageException {
        Map<String, JsonNode> header = new LinkedHashMap<>(shared);
        add(header, node.find("header"));
        return new Recipient(
                header, Bytes.of(base64("encrypted key", node.text("encrypted_key", ""))));
    }

    private static void add(Map<String, JsonNode> header, Optional<JsonNode> more)
            throws ImageException {
        if (more.isEmpty()) {
            return;
        }
        for (Map.Entry<String, JsonNode> parameter : more.get().members().entrySet()) {
            if (header.put(parameter.getKey(), parameter.getValue()) != null) {
                throw more.get()
                        .invalid(
                                "\"%s\" stands in two headers"
                                        .formatted(Text.printable(parameter.getKey(), 40)));
            }
        }
    }

    private static Map<String, JsonNode> protectedHeader(String text) throws ImageException {
        return Json.parse(WHAT + " protected header", base64("protected header", text)).members();
    }

    private static byte[] base64(String part, String text) throws ImageException {
        return Strict.base64Url(WHAT + " " + part, text);
    }

    private static JweEnvelope of(
            List<Recipient> recipients,
            String authenticated,
            byte[] iv,
            byte[] ciphertext,
            byte[] tag)
            throws ImageException {
        if (recipients.isEmpty()) {
            throw ImageException.invalidContent(WHAT + ": no recipients");
        }
        String encryption = recipients.getFirst().text("enc");
        for (Recipient recipient : recipients) {
            if (recipient.header.containsKey("zip")) {
                throw ImageException.invalidContent(
                        WHAT + ": \"zip\" is refused: it is compressed");
            }
            if (recipient.header.containsKey("crit")) {
                throw ImageException.invalidContent(
                        WHAT + ": \"crit\" is refused: it wants something unknown understood");
            }
            String algorithm = recipient.text("alg");
            if (algorithm.startsWith("PBES2")) {
                throw ImageException.invalidContent(
                        "%s: the algorithm %s is refused: its cost is the sender's choice"
                                .formatted(WHAT, Text.printable(algorithm, 40)));
            }
            if (algorithm.isEmpty() || !recipient.text("enc").equals(encryption)) {
                throw ImageException.invalidContent(
                        WHAT + ": a recipient without \"alg\", or with an \"enc\" of its own");
            }
        }
        int keyBytes = keyBytes(encryption);
        int ivBytes = encryption.endsWith("GCM") ? 12 : 16;
        int tagBytes = encryption.endsWith("GCM") ? 16 : keyBytes / 2;
        if (iv.length != ivBytes || tag.length != tagBytes) {
            throw ImageException.invalidContent(
                    "%s: wanted an initialization vector of %d bytes and a tag of %d, got %d and %d"
                            .formatted(WHAT, ivBytes, tagBytes, iv.length, tag.length));
        }
        return new JweEnvelope(
                recipients,
                encryption,
                authenticated.getBytes(StandardCharsets.US_ASCII),
                iv,
                ciphertext,
                tag);
    }

    private static int keyBytes(String encryption) throws ImageException {
        return switch (encryption) {
            case "A128GCM" -> 16;
            case "A192GCM" -> 24;
            case "A256GCM", "A128CBC-HS256" -> 32;
            case "A192CBC-HS384" -> 48;
            case "A256CBC-HS512" -> 64;
            default ->
                    throw ImageException.invalidContent(
                            "%s: the content encryption \"%s\" is refused; wanted AES in GCM, or in CBC with an HMAC"
                                    .formatted(WHAT, Text.printable(encryption, 40)));
        };
    }

    @Override
    public int size() {
        return recipients.size();
    }

    @Override
    public String recipients() {
        List<String> algorithms = new ArrayList<>();
        for (Recipient recipient : recipients) {
            JsonNode algorithm = recipient.header.get("alg");
            try {
                algorithms.add(algorithm == null ? "" : Text.printable(algorithm.text(), 40));
            } catch (ImageException e) {
                throw new AssertionError("read before", e);
            }
        }
        return "jwe for " + LayerEnvelope.list(algorithms);
    }

    @Override
    public Optional<byte[]> open(List<PrivateKey> keys) throws ImageException {
        for (Recipient recipient : recipients) {
            for (PrivateKey key : keys) {
                Optional<byte[]> contentKey = contentKey(recipient, key);
                if (contentKey.isPresent()) {
                    try {
                        return Optional.of(decrypt(contentKey.get()));
                    } finally {
                        Arrays.fill(contentKey.get(), (byte) 0);
                    }
                }
            }
        }
        return Optional.empty();
    }

    /// The key of the content, if it was encrypted for this one.
    private Optional<byte[]> contentKey(Recipient recipient, PrivateKey key) throws ImageException {
        String algorithm = recipient.text("alg");
        byte @Nullable [] unwrapped;
        try {
            unwrapped =
                    switch (key) {
                        case RSAPrivateKey rsa when algorithm.startsWith("RSA-OAEP") ->
                                oaep(
                                        algorithm,
                                        Cipher.DECRYPT_MODE,
                                        rsa,
                                        recipient.encryptedKey.toArray());
                        case ECPrivateKey ec when algorithm.startsWith("ECDH-ES+") ->
                                agreed(algorithm, recipient, ec);
                        default -> null;
                    };
        } catch (GeneralSecurityException e) {
            return Optional.empty(); // for another key
        }
        // A key of another length is of no use, whoever made it.
        int wanted = keyBytes(encryption);
        return Optional.ofNullable(unwrapped).filter(k -> k.length == wanted);
    }

    private static byte[] oaep(String algorithm, int mode, Key key, byte[] data)
            throws GeneralSecurityException, ImageException {
        OAEPParameterSpec parameters =
                switch (algorithm) {
                    case "RSA-OAEP" ->
                            new OAEPParameterSpec(
                                    "SHA-1",
                                    "MGF1",
                                    MGF1ParameterSpec.SHA1,
                                    PSource.PSpecified.DEFAULT);
                    case "RSA-OAEP-256" ->
                            new OAEPParameterSpec(
                                    "SHA-256",
                                    "MGF1",
                                    MGF1ParameterSpec.SHA256,
                                    PSource.PSpecified.DEFAULT);
                    default -> throw new GeneralSecurityException("another algorithm");
                };
        Cipher cipher = Cipher.getInstance("RSA/ECB/OAEPPadding");
        cipher.init(mode, key, parameters);
        return cipher.doFinal(data);
    }

    private static int wrapBytes(String algorithm) throws GeneralSecurityException {
        return switch (algorithm) {
            case "ECDH-ES+A128KW" -> 16;
            case "ECDH-ES+A192KW" -> 24;
            case "ECDH-ES+A256KW" -> 32;
            default -> throw new GeneralSecurityException("another algorithm");
        };
    }

    private static byte[] agreed(String algorithm, Recipient recipient, ECPrivateKey key)
            throws GeneralSecurityException, ImageException {
        int wrapBytes = wrapBytes(algorithm);
        JsonNode epk = recipient.header.get("epk");
        if (epk == null || !epk.text("kty", "").equals("EC")) {
            throw ImageException.invalidContent(
                    WHAT + ": ECDH-ES without the sender's public key \"epk\"");
        }
        EcCurve curve = EcCurve.named(epk.require("crv").text());
        ECPublicKey sender =
                curve.point(
                        WHAT + " \"epk\"",
                        base64("\"epk\"", epk.require("x").text()),
                        base64("\"epk\"", epk.require("y").text()));
        if (!curve.name().equals(EcCurve.of(key.getParams()).name())) {
            throw new GeneralSecurityException("another curve");
        }
        byte[] wrapKey =
                derive(
                        algorithm,
                        key,
                        sender,
                        party(recipient, "apu"),
                        party(recipient, "apv"),
                        wrapBytes);
        Cipher unwrap = Cipher.getInstance("AESWrap");
        unwrap.init(Cipher.UNWRAP_MODE, new SecretKeySpec(wrapKey, "AES"));
        return unwrap.unwrap(recipient.encryptedKey.toArray(), "AES", Cipher.SECRET_KEY)
                .getEncoded();
    }

    private static byte[] party(Recipient recipient, String name) throws ImageException {
        byte[] info = base64("\"" + name + "\"", recipient.text(name));
        if (info.length > MAX_PARTY_BYTES) {
            throw ImageException.invalidContent(
                    "%s: \"%s\" is longer than %d bytes".formatted(WHAT, name, MAX_PARTY_BYTES));
        }
        return info;
    }

    /// The one-step derivation of NIST SP 800-56A with SHA-256; one round gives all that is wanted.
    static byte[] derive(
            String algorithm,
            PrivateKey own,
            PublicKey other,
            byte[] sender,
            byte[] receiver,
            int size)
            throws GeneralSecurityException {
        KeyAgreement agreement = KeyAgreement.getInstance("ECDH");
        agreement.init(own);
        agreement.doPhase(other, true);
        byte[] name = algorithm.getBytes(StandardCharsets.US_ASCII);
        ByteBuffer info =
                ByteBuffer.allocate(16 + name.length + sender.length + receiver.length)
                        .putInt(name.length)
                        .put(name)
                        .putInt(sender.length)
                        .put(sender)
                        .putInt(receiver.length)
                        .put(receiver)
                        .putInt(size * 8);
        MessageDigest sha = MessageDigest.getInstance("SHA-256");
        sha.update(new byte[] {0, 0, 0, 1});
        sha.update(agreement.generateSecret());
        sha.update(info.array());
        return Arrays.copyOf(sha.digest(), size);
    }

    private byte[] decrypt(byte[] key) throws ImageException {
        try {
            return encryption.endsWith("GCM") ? gcm(key) : cbc(key);
        } catch (GeneralSecurityException e) {
            throw ImageException.invalidContent(
                    WHAT + ": it was opened with a key, but its content or header was changed");
        }
    }

    private byte[] gcm(byte[] key) throws GeneralSecurityException {
        Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding");
        cipher.init(
                Cipher.DECRYPT_MODE,
                new SecretKeySpec(key, "AES"),
                new GCMParameterSpec(8 * tag.length, iv));
        cipher.updateAAD(authenticated);
        cipher.update(ciphertext);
        return cipher.doFinal(tag);
    }

    private byte[] cbc(byte[] key) throws GeneralSecurityException {
        int half = key.length / 2;
        String hash = "HmacSHA" + 16 * half;
        Mac mac = Mac.getInstance(hash);
        mac.init(new SecretKeySpec(key, 0, half, hash));
        mac.update(authenticated);
        mac.update(iv);
        mac.update(ciphertext);
        byte[] computed =
                mac.doFinal(ByteBuffer.allocate(8).putLong(8L * authenticated.length).array());
        if (!MessageDigest.isEqual(Arrays.copyOf(computed, half), tag)) {
            throw new GeneralSecurityException("another tag");
        }
        Cipher cipher = Cipher.getInstance("AES/CBC/PKCS5Padding");
        cipher.init(
                Cipher.DECRYPT_MODE,
                new SecretKeySpec(key, half, half, "AES"),
                new IvParameterSpec(iv));
        return cipher.doFinal(ciphertext);
    }

    /// Encrypts for RSA keys with RSA-OAEP and for EC keys with ECDH-ES+A256KW, and the content
    /// with A256GCM, as ocicrypt does.
    static byte[] seal(byte[] content, List<PublicKey> recipients) {
        SecureRandom random = new SecureRandom();
        byte[] key = new byte[32];
        byte[] iv = new byte[12];
        random.nextBytes(key);
        random.nextBytes(iv);
        try {
            return seal(content, recipients, key, iv);
        } catch (GeneralSecurityException | ImageException e) {
            throw new AssertionError("keys that were checked", e);
        } finally {
            Arrays.fill(key, (byte) 0);
        }
    }

    private static byte[] seal(byte[] content, List<PublicKey> recipients, byte[] key, byte[] iv)
            throws GeneralSecurityException, ImageException {
        JsonWriter header = JsonWriter.compact().beginObject();
        boolean single = recipients.size() == 1;
        JsonWriter others = JsonWriter.compact().beginArray();
        String encryptedKey = "";
        for (PublicKey recipient : recipients) {
            JsonWriter own = single ? header : others.beginObject().beginObject("header");
            encryptedKey = BASE64.encodeToString(wrap(own, key, recipient));
            if (!single) {
                others.endObject().member("encrypted_key", encryptedKey).endObject();
            }
        }
        header.member("enc", "A256GCM").endObject();
        String protectedHeader = BASE64.encodeToString(header.toBytes());
        Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding");
        cipher.init(
                Cipher.ENCRYPT_MODE, new SecretKeySpec(key, "AES"), new GCMParameterSpec(128, iv));
        cipher.updateAAD(protectedHeader.getBytes(StandardCharsets.US_ASCII));
        byte[] encrypted = cipher.doFinal(content);
        int end = encrypted.length - 16;
        JsonWriter json = JsonWriter.compact().beginObject().member("protected", protectedHeader);
        if (single) {
            json.member("encrypted_key", encryptedKey);
        } else {
            json.name("recipients").value(Json.parse("recipients", others.endArray().toBytes()));
        }
        return json.member("iv", BASE64.encodeToString(iv))
                .member("ciphertext", BASE64.encodeToString(Arrays.copyOf(encrypted, end)))
                .member(
                        "tag",
                        BASE64.encodeToString(Arrays.copyOfRange(encrypted, end, encrypted.length)))
                .endObject()
                .toBytes();
    }

    /// @param header gets what the recipient has to know
    private static byte[] wrap(JsonWriter header, byte[] key, PublicKey recipient)
            throws GeneralSecurityException, ImageException {
        if (!(recipient instanceof ECPublicKey ec)) {
            header.member("alg", "RSA-OAEP");
            return oaep("RSA-OAEP", Cipher.ENCRYPT_MODE, recipient, key);
        }
        String algorithm = "ECDH-ES+A256KW";
        EcCurve curve = EcCurve.of(ec.getParams());
        KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
        generator.initialize(curve.parameters());
        KeyPair pair = generator.generateKeyPair();
        ECPublicKey sender = (ECPublicKey) pair.getPublic();
        header.member("alg", algorithm)
                .beginObject("epk")
                .member("kty", "EC")
                .member("crv", curve.name())
                .member("x", BASE64.encodeToString(curve.coordinate(sender.getW().getAffineX())))
                .member("y", BASE64.encodeToString(curve.coordinate(sender.getW().getAffineY())))
                .endObject();
        byte[] wrapKey = derive(algorithm, pair.getPrivate(), ec, new byte[0], new byte[0], 32);
        Cipher cipher = Cipher.getInstance("AESWrap");
        cipher.init(Cipher.WRAP_MODE, new SecretKeySpec(wrapKey, "AES"));
        return cipher.wrap(new SecretKeySpec(key, "AES"));
    }
}
