package dev.imgd.trust;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Json;
import dev.imgd.model.JsonNode;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.Base64;
import org.bouncycastle.crypto.engines.XSalsa20Engine;
import org.bouncycastle.crypto.generators.SCrypt;
import org.bouncycastle.crypto.macs.Poly1305;
import org.bouncycastle.crypto.params.KeyParameter;
import org.bouncycastle.crypto.params.ParametersWithIV;
import org.jspecify.annotations.Nullable;

/// A private key under a password, as `cosign generate-key-pair` writes it.
///
/// ```
/// PEM "ENCRYPTED SIGSTORE PRIVATE KEY", older "ENCRYPTED COSIGN PRIVATE KEY", of
/// {"kdf":    {"name": "scrypt", "params": {"N": …, "r": …, "p": …}, "salt": base64},
///  "cipher": {"name": "nacl/secretbox", "nonce": base64 of 24 bytes},
///  "ciphertext": base64 of a Poly1305 tag and PKCS#8 under XSalsa20}
/// ```
///
/// **Source:** cosign's specification, go-securesystemslib `encrypted`, NaCl `crypto_secretbox`,
/// RFC 7914.
final class EncryptedKey {
    /// The memory of scrypt: what cosign's own parameters take, and no file may ask for more.
    private static final long MOST_MEMORY_BYTES = 64 << 20;

    private static final int MOST_PARALLEL = 4;
    private static final int KEY_BYTES = 32;
    private static final int NONCE_BYTES = 24;
    private static final int TAG_BYTES = 16;

    private EncryptedKey() {}

    /// Whether the label of a PEM is that of such a key.
    static boolean isLabel(String label) {
        return label.equals("ENCRYPTED SIGSTORE PRIVATE KEY")
                || label.equals("ENCRYPTED COSIGN PRIVATE KEY");
    }

    /// Opens a key.
    ///
    /// @param what where it came from
    /// @param content of the PEM
    /// @return PKCS#8
    /// @throws ImageException `PERMISSION_DENIED` when the password is wrong, `INVALID_ARGUMENT`
    ///   when it is no such key
    static byte[] open(String what, byte[] content, byte[] password) throws ImageException {
        JsonNode json = Json.parse(what, content);
        JsonNode kdf = json.require("kdf");
        JsonNode cipher = json.require("cipher");
        requireName(what, "kdf", kdf, "scrypt");
        requireName(what, "cipher", cipher, "nacl/secretbox");
        byte[] nonce = bytes(cipher, "nonce");
        byte[] box = bytes(json, "ciphertext");
        if (nonce.length != NONCE_BYTES || box.length < TAG_BYTES) {
            throw ImageException.invalidArgument(
                    what + ": wanted a nonce of 24 bytes and a ciphertext with a tag");
        }
        byte[] key = derive(what, kdf, password);
        try {
            byte[] opened = open(box, nonce, key);
            if (opened == null) {
                throw new ImageException(
                        ErrorKind.PERMISSION_DENIED,
                        what + ": cannot be opened: the password is wrong, or the file damaged");
            }
            return opened;
        } finally {
            Arrays.fill(key, (byte) 0);
        }
    }

    private static byte[] derive(String what, JsonNode kdf, byte[] password) throws ImageException {
        JsonNode parameters = kdf.require("params");
        long n = parameters.integer("N", 2, 1 << 24, 0);
        long r = parameters.integer("r", 1, 64, 0);
        long p = parameters.integer("p", 1, MOST_PARALLEL, 0);
        if (Long.bitCount(n) != 1 || r == 0 || p == 0 || 128 * n * r > MOST_MEMORY_BYTES) {
            throw ImageException.invalidArgument(
                    "%s: scrypt with N=%d, r=%d, p=%d is not done: wanted a power of two and at most 64 MiB of memory (cosign: N=65536, r=8, p=1)"
                            .formatted(what, n, r, p));
        }
        return SCrypt.generate(password, bytes(kdf, "salt"), (int) n, (int) r, (int) p, KEY_BYTES);
    }

    /// @return null when the tag is not right
    private static byte @Nullable [] open(byte[] box, byte[] nonce, byte[] key) {
        XSalsa20Engine stream = new XSalsa20Engine();
        stream.init(false, new ParametersWithIV(new KeyParameter(key), nonce));
        // The first 32 bytes of the stream are the key of the tag.
        byte[] tagKey = new byte[KEY_BYTES];
        stream.processBytes(tagKey, 0, KEY_BYTES, tagKey, 0);
        Poly1305 poly = new Poly1305();
        poly.init(new KeyParameter(tagKey));
        poly.update(box, TAG_BYTES, box.length - TAG_BYTES);
        byte[] tag = new byte[TAG_BYTES];
        poly.doFinal(tag, 0);
        if (!MessageDigest.isEqual(tag, Arrays.copyOf(box, TAG_BYTES))) {
            return null;
        }
        byte[] opened = new byte[box.length - TAG_BYTES];
        stream.processBytes(box, TAG_BYTES, opened.length, opened, 0);
        return opened;
    }

    private static void requireName(String what, String part, JsonNode node, String name)
            throws ImageException {
        if (!node.text("name", "").equals(name)) {
            throw ImageException.invalidArgument(
                    "%s: unknown %s; wanted %s, as cosign writes it".formatted(what, part, name));
        }
    }

    private static byte[] bytes(JsonNode node, String member) throws ImageException {
        try {
            return Base64.getDecoder().decode(node.require(member).text());
        } catch (IllegalArgumentException e) {
            throw node.invalid("\"" + member + "\" is not base64");
        }
    }
}
