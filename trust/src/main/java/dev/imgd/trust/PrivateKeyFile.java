package dev.imgd.trust;

import dev.imgd.model.ImageException;
import dev.imgd.model.Text;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.security.AlgorithmParameters;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.interfaces.ECPrivateKey;
import java.security.interfaces.RSAPrivateKey;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.crypto.Cipher;
import javax.crypto.EncryptedPrivateKeyInfo;
import javax.crypto.SecretKey;
import javax.crypto.SecretKeyFactory;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.PBEKeySpec;
import javax.crypto.spec.SecretKeySpec;

/// What a file has of private keys in PEM. **Source:** RFC 7468, RFC 5958 (PKCS#8), RFC 8017 A.1.2
/// (PKCS#1), RFC 5915 (EC), RFC 1421 4.6 (the old encryption, with OpenSSL's derivation of keys).
///
/// @param problems what is wrong with private keys that are there and cannot be used
/// @param certificate whether there is a certificate
record PrivateKeyFile(List<PrivateKey> keys, List<String> problems, boolean certificate) {
    /// `rsaEncryption`.
    static final String RSA = "2a864886f70d010101";

    private static final String EC = "2a8648ce3d0201";
    private static final Pattern BLOCK =
            Pattern.compile(
                    "-----BEGIN ([A-Z0-9 ]+)-----\\s(.*?)-----END \\1-----", Pattern.DOTALL);
    private static final Pattern ENCRYPTION =
            Pattern.compile("DEK-Info: ([A-Z0-9-]+),([0-9A-Fa-f]+)");

    static PrivateKeyFile unusable(String problem) {
        return new PrivateKeyFile(List.of(), List.of(problem), false);
    }

    /// @param file for messages
    /// @param password of encrypted keys; empty for none
    static PrivateKeyFile parse(String file, byte[] content, byte[] password) {
        List<PrivateKey> keys = new ArrayList<>();
        List<String> problems = new ArrayList<>();
        boolean certificate = false;
        Matcher block = BLOCK.matcher(new String(content, StandardCharsets.ISO_8859_1));
        while (block.find()) {
            String label = block.group(1);
            certificate |= label.equals("CERTIFICATE");
            if (!label.endsWith("PRIVATE KEY")) {
                continue;
            }
            try {
                keys.add(key(label, block.group(2), password));
            } catch (ImageException e) {
                problems.add(file + ": " + e.getMessage());
            }
        }
        return new PrivateKeyFile(keys, problems, certificate);
    }

    private static PrivateKey key(String label, String body, byte[] password)
            throws ImageException {
        int end = body.startsWith("Proc-Type:") ? body.replace("\r", "").indexOf("\n\n") : -1;
        String headers = end < 0 ? "" : body.substring(0, end);
        byte[] der = base64(end < 0 ? body : body.replace("\r", "").substring(end));
        byte[] plain = headers.contains("ENCRYPTED") ? decryptOld(headers, der, password) : der;
        try {
            return usable(
                    switch (label) {
                        case "PRIVATE KEY" -> plain;
                        case "RSA PRIVATE KEY" -> fromPkcs1(plain);
                        case "EC PRIVATE KEY" -> fromSec1(plain);
                        case "ENCRYPTED PRIVATE KEY" -> decrypt(plain, password);
                        default ->
                                throw ImageException.invalidContent(
                                        "a key of the kind \"%s\" cannot be used"
                                                .formatted(Text.printable(label, 40)));
                    });
        } finally {
            Arrays.fill(plain, (byte) 0);
            Arrays.fill(der, (byte) 0);
        }
    }

    private static byte[] base64(String text) throws ImageException {
        try {
            return Base64.getMimeDecoder().decode(text);
        } catch (IllegalArgumentException e) {
            throw ImageException.invalidContent("the PEM is not base64");
        }
    }

    private static byte[] fromPkcs1(byte[] der) {
        return Der.of(
                        Der.SEQUENCE,
                        Der.integer(0),
                        Der.of(Der.SEQUENCE, Der.oid(RSA), new Der(Der.NULL, new byte[0])),
                        new Der(Der.OCTETS, der))
                .encoded();
    }

    /// The curve stands in the key itself there.
    private static byte[] fromSec1(byte[] der) throws ImageException {
        for (Der item : Der.parse("EC key", der).items("EC key", Der.SEQUENCE)) {
            if (item.tag() == Der.CONTEXT_0) {
                return Der.of(
                                Der.SEQUENCE,
                                Der.integer(0),
                                Der.of(
                                        Der.SEQUENCE,
                                        Der.oid(EC),
                                        Der.parse("curve", item.content())),
                                new Der(Der.OCTETS, der))
                        .encoded();
            }
        }
        throw ImageException.invalidContent("an EC key without its curve");
    }

    private static PrivateKey usable(byte[] pkcs8) throws ImageException {
        for (String family : List.of("RSA", "EC")) {
            try {
                PrivateKey key =
                        KeyFactory.getInstance(family)
                                .generatePrivate(new PKCS8EncodedKeySpec(pkcs8));
                check(key);
                return key;
            } catch (GeneralSecurityException e) {
                // Not of this family.
            }
        }
        throw ImageException.invalidContent("wanted an RSA or EC private key");
    }

    private static void check(PrivateKey key) throws ImageException {
        if (key instanceof RSAPrivateKey rsa) {
            checkModulus(rsa.getModulus());
        } else if (key instanceof ECPrivateKey ec) {
            var _ = EcCurve.of(ec.getParams());
        }
    }

    static void checkModulus(BigInteger modulus) throws ImageException {
        int bits = modulus.bitLength();
        if (bits < 2048 || bits > 8192) {
            throw ImageException.invalidContent(
                    "wanted an RSA key of 2048 to 8192 bits, got %d".formatted(bits));
        }
    }

    private static byte[] decrypt(byte[] der, byte[] password) throws ImageException {
        requirePassword(password);
        char[] characters = new String(password, StandardCharsets.UTF_8).toCharArray();
        try {
            EncryptedPrivateKeyInfo info = new EncryptedPrivateKeyInfo(der);
            AlgorithmParameters parameters = info.getAlgParameters();
            // Of PBES2 only the parameters know which derivation and cipher it is.
            String algorithm =
                    parameters != null && parameters.toString().startsWith("PBE")
                            ? parameters.toString()
                            : info.getAlgName();
            SecretKey key =
                    SecretKeyFactory.getInstance(algorithm)
                            .generateSecret(new PBEKeySpec(characters));
            Cipher cipher = Cipher.getInstance(algorithm);
            cipher.init(Cipher.DECRYPT_MODE, key, parameters);
            return decrypted(cipher.doFinal(info.getEncryptedData()));
        } catch (IOException | GeneralSecurityException e) {
            throw wrongPassword();
        } finally {
            Arrays.fill(characters, '\0');
        }
    }

    private static byte[] decryptOld(String headers, byte[] der, byte[] password)
            throws ImageException {
        requirePassword(password);
        Matcher found = ENCRYPTION.matcher(headers);
        if (!found.find() || found.group(2).length() % 2 != 0) {
            throw ImageException.invalidContent("encrypted in an unknown way");
        }
        byte[] iv = HexFormat.of().parseHex(found.group(2));
        String algorithm = found.group(1);
        int keyBytes =
                switch (algorithm) {
                    case "AES-128-CBC" -> 16;
                    case "AES-192-CBC", "DES-EDE3-CBC" -> 24;
                    case "AES-256-CBC" -> 32;
                    default ->
                            throw ImageException.invalidContent(
                                    "encrypted with %s, which is not supported; openssl pkcs8 -topk8 converts it"
                                            .formatted(algorithm));
                };
        String family = algorithm.startsWith("AES") ? "AES" : "DESede";
        byte[] key = derive(password, iv, keyBytes);
        try {
            Cipher cipher = Cipher.getInstance(family + "/CBC/PKCS5Padding");
            cipher.init(
                    Cipher.DECRYPT_MODE, new SecretKeySpec(key, family), new IvParameterSpec(iv));
            return decrypted(cipher.doFinal(der));
        } catch (GeneralSecurityException e) {
            throw wrongPassword();
        } finally {
            Arrays.fill(key, (byte) 0);
        }
    }

    /// OpenSSL's `EVP_BytesToKey` with MD5 and one round.
    private static byte[] derive(byte[] password, byte[] iv, int size) throws ImageException {
        if (iv.length < 8) {
            throw ImageException.invalidContent("encrypted in an unknown way");
        }
        try {
            MessageDigest md5 = MessageDigest.getInstance("MD5");
            byte[] key = new byte[size];
            byte[] last = new byte[0];
            for (int at = 0; at < size; at += last.length) {
                md5.update(last);
                md5.update(password);
                md5.update(iv, 0, 8);
                last = md5.digest();
                System.arraycopy(last, 0, key, at, Math.min(last.length, size - at));
            }
            return key;
        } catch (GeneralSecurityException e) {
            throw new AssertionError("every JDK has MD5", e);
        }
    }

    private static void requirePassword(byte[] password) throws ImageException {
        if (password.length == 0) {
            throw ImageException.invalidContent("the key needs a password");
        }
    }

    /// What a wrong password gives has the right padding once in 256 times, but is no key.
    private static byte[] decrypted(byte[] key) throws ImageException {
        boolean sequence;
        try {
            sequence = Der.parse("key", key).tag() == Der.SEQUENCE;
        } catch (ImageException e) {
            sequence = false;
        }
        if (!sequence) {
            throw wrongPassword();
        }
        return key;
    }

    private static ImageException wrongPassword() {
        return ImageException.invalidContent(
                "the password is wrong, or the key is encrypted in an unknown way");
    }

    @Override
    public String toString() {
        return keys.size() + " private keys";
    }
}
