package dev.imgd.trust;

import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Json;
import dev.imgd.model.JsonNode;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.Text;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// The annotations of an encrypted layer: its secret in envelopes, and how it is encrypted.
///
/// ```text
/// org.opencontainers.image.enc.keys.jwe      base64(JWE), …
/// org.opencontainers.image.enc.keys.pkcs7    base64(CMS), …
///     both around {"symkey": …, "digest": of the layer in plain, "cipheroptions": {"nonce": …}}
/// org.opencontainers.image.enc.pubopts       base64({"cipher": …, "hmac": …, "cipheroptions": {}})
/// ```
///
/// **Source:** containers/ocicrypt, `spec`, `blockcipher`, `keywrap`.
public final class LayerEncryption {
    /// What the media type of an encrypted layer ends with.
    public static final String SUFFIX = "+encrypted";

    private static final String PREFIX = "org.opencontainers.image.enc.";
    private static final String KEYS = PREFIX + "keys.";
    private static final String PUBLIC = PREFIX + "pubopts";
    private static final String CIPHER = "AES_256_CTR_HMAC_SHA256";
    private static final int MAX_ENVELOPES = 32;
    private static final int MAX_RECIPIENTS = 32;
    private static final int MAX_ENVELOPE_BYTES = 256 << 10;
    private static final int MAX_PUBLIC_CHARS = 4096;
    private static final String MALFORMED =
            "not a JSON object with each name once, as it was decrypted";

    private LayerEncryption() {}

    /// Opens an envelope of a layer.
    ///
    /// @param what the image, for messages
    /// @param layer with the annotations of its manifest
    /// @throws ImageException `PERMISSION_DENIED` when no key opens an envelope; `INVALID_CONTENT`
    ///   when the annotations are malformed, forbidden or were changed
    public static LayerSecret open(String what, Descriptor layer, DecryptionKeys keys)
            throws ImageException {
        String name = "%s: encrypted layer %s".formatted(what, layer.digest());
        try {
            byte[] mac = publicOptions(layer.annotations());
            List<LayerEnvelope> envelopes = new ArrayList<>();
            envelopes(layer.annotations(), "jwe", envelopes);
            envelopes(layer.annotations(), "pkcs7", envelopes);
            // Each costs an operation with each private key.
            if (envelopes.stream().mapToInt(LayerEnvelope::size).sum() > MAX_RECIPIENTS) {
                throw ImageException.invalidContent(
                        "it has more than %d recipients".formatted(MAX_RECIPIENTS));
            }
            for (LayerEnvelope envelope : envelopes) {
                Optional<byte[]> content = envelope.open(keys.keys());
                if (content.isPresent()) {
                    try {
                        return secret(content.get(), mac);
                    } finally {
                        Arrays.fill(content.get(), (byte) 0);
                    }
                }
            }
            throw new ImageException(
                    ErrorKind.PERMISSION_DENIED,
                    "no key opens it; it is encrypted as %s; %s"
                            .formatted(schemes(layer.annotations(), envelopes), keys));
        } catch (ImageException e) {
            throw new ImageException(e.kind(), name + ": " + e.getMessage(), e);
        }
    }

    /// @return the HMAC
    private static byte[] publicOptions(Map<String, String> annotations) throws ImageException {
        String text = annotations.get(PUBLIC);
        if (text == null || text.isEmpty()) {
            throw ImageException.invalidContent(
                    "the annotation %s with its HMAC is missing".formatted(PUBLIC));
        }
        if (text.length() > MAX_PUBLIC_CHARS) {
            throw ImageException.invalidContent(
                    "the annotation %s is longer than %d characters"
                            .formatted(PUBLIC, MAX_PUBLIC_CHARS));
        }
        JsonNode options = Json.parse("public options", Strict.base64("public options", text));
        only(options, List.of("cipher", "hmac", "cipheroptions"));
        String cipher = options.text("cipher", "");
        if (!cipher.equals(CIPHER)) {
            throw options.invalid(
                    "wanted the cipher %s, got \"%s\""
                            .formatted(CIPHER, Text.printable(cipher, 60)));
        }
        List<String> more = options.names("cipheroptions");
        if (more.contains("nonce")) {
            // Others would take it instead of the one that nobody but the sender could write.
            throw options.invalid("a public nonce is refused: anybody could have changed it");
        }
        if (!more.isEmpty()) {
            throw options.invalid(
                    "the public option \"%s\" is unknown"
                            .formatted(Text.printable(more.getFirst(), 40)));
        }
        return bytes(options, "hmac", LayerSecret.MAC_BYTES);
    }

    private static LayerSecret secret(byte[] content, byte[] mac) throws ImageException {
        JsonNode options = privateOptions(content);
        only(options, List.of("symkey", "digest", "cipheroptions"));
        byte[] key = bytes(options, "symkey", LayerSecret.KEY_BYTES);
        try {
            JsonNode more = Strict.only(options.require("cipheroptions"), List.of("nonce"));
            return new LayerSecret(
                    key,
                    bytes(more, "nonce", LayerSecret.NONCE_BYTES),
                    digest(options.require("digest")),
                    mac);
        } finally {
            Arrays.fill(key, (byte) 0);
        }
    }

    /// The cause is left out: it could quote what is secret.
    private static JsonNode privateOptions(byte[] content) throws ImageException {
        try {
            return Json.parse("private options", content);
        } catch (ImageException e) {
            throw ImageException.invalidContent("private options: " + MALFORMED);
        }
    }

    private static Digest digest(JsonNode value) throws ImageException {
        try {
            return Digest.parse(value.text());
        } catch (ImageException e) {
            throw value.invalid(e.getMessage());
        }
    }

    /// As [Strict#only], but ocicrypt writes `null` for an empty map.
    private static void only(JsonNode object, List<String> allowed) throws ImageException {
        for (String name : object.members().keySet()) {
            if (!allowed.contains(name)) {
                throw object.invalid("unknown field \"%s\"".formatted(Text.printable(name, 40)));
            }
        }
    }

    /// The values are not shown: some are secret.
    private static byte[] bytes(JsonNode object, String name, int size) throws ImageException {
        JsonNode value = object.require(name);
        byte[] bytes = Strict.base64(value.where(), value.text());
        if (bytes.length != size) {
            throw value.invalid("wanted %d bytes, got %d".formatted(size, bytes.length));
        }
        return bytes;
    }

    private static void envelopes(
            Map<String, String> annotations, String scheme, List<LayerEnvelope> envelopes)
            throws ImageException {
        String text = annotations.get(KEYS + scheme);
        if (text == null || text.isEmpty()) {
            return;
        }
        String[] items = text.split(",", -1);
        if (items.length > MAX_ENVELOPES) {
            throw ImageException.invalidContent(
                    "more than %d envelopes of the kind %s".formatted(MAX_ENVELOPES, scheme));
        }
        for (String item : items) {
            if (item.length() > MAX_ENVELOPE_BYTES * 4L / 3) {
                throw ImageException.invalidContent(
                        "an envelope of the kind %s is larger than %d KiB"
                                .formatted(scheme, MAX_ENVELOPE_BYTES >> 10));
            }
            byte[] content = Strict.base64("envelope of the kind " + scheme, item);
            envelopes.add(
                    scheme.equals("jwe") ? JweEnvelope.parse(content) : CmsEnvelope.parse(content));
        }
    }

    private static String schemes(Map<String, String> annotations, List<LayerEnvelope> envelopes) {
        List<String> schemes = new ArrayList<>();
        envelopes.forEach(envelope -> schemes.add(envelope.recipients()));
        for (String annotation : annotations.keySet()) {
            String scheme = annotation.startsWith(KEYS) ? annotation.substring(KEYS.length()) : "";
            if (!scheme.isEmpty() && !scheme.equals("jwe") && !scheme.equals("pkcs7")) {
                schemes.add(Text.printable(scheme, 40) + " (not supported)");
            }
        }
        schemes.sort(null);
        return schemes.isEmpty() ? "nothing: no envelope is there" : String.join("; ", schemes);
    }

    /// The annotations of a layer that was encrypted, in addition to what it had.
    ///
    /// @param mac of the encrypted layer
    public static Map<String, String> seal(
            LayerSecret secret, byte[] mac, LayerRecipients recipients) {
        Base64.Encoder base64 = Base64.getEncoder();
        byte[] content =
                JsonWriter.compact()
                        .beginObject()
                        .member("symkey", base64.encodeToString(secret.key()))
                        .member("digest", secret.plain().toString())
                        .beginObject("cipheroptions")
                        .member("nonce", base64.encodeToString(secret.nonce()))
                        .endObject()
                        .endObject()
                        .toBytes();
        Map<String, String> annotations = new LinkedHashMap<>();
        if (!recipients.keys().isEmpty()) {
            annotations.put(
                    KEYS + "jwe",
                    base64.encodeToString(JweEnvelope.seal(content, recipients.keys())));
        }
        if (!recipients.certificates().isEmpty()) {
            annotations.put(
                    KEYS + "pkcs7",
                    base64.encodeToString(CmsEnvelope.seal(content, recipients.certificates())));
        }
        Arrays.fill(content, (byte) 0);
        annotations.put(
                PUBLIC,
                base64.encodeToString(
                        JsonWriter.compact()
                                .beginObject()
                                .member("cipher", CIPHER)
                                .member("hmac", base64.encodeToString(mac))
                                .beginObject("cipheroptions")
                                .endObject()
                                .endObject()
                                .toBytes()));
        return annotations;
    }

    /// Whether an annotation is about encryption, and goes when the layer is decrypted.
    public static boolean isAnnotation(String name) {
        return name.startsWith(PREFIX);
    }
}
