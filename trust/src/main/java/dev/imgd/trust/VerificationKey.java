package dev.imgd.trust;

import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PublicKey;
import java.security.Signature;
import java.security.interfaces.ECPublicKey;
import java.security.interfaces.EdECPublicKey;
import java.security.interfaces.RSAPublicKey;
import java.security.spec.X509EncodedKeySpec;
import java.util.Base64;
import java.util.List;

/// A public key of a policy: ECDSA P-256 or P-384, RSA of 2048 to 8192 bits, or Ed25519.
///
/// The algorithm of a signature follows from the key alone, never from what a signature says.
/// Immutable.
final class VerificationKey {
    private static final String BEGIN = "-----BEGIN PUBLIC KEY-----";
    private static final String END = "-----END PUBLIC KEY-----";

    private final PublicKey key;
    private final String label;
    private final List<String> algorithms;

    private VerificationKey(PublicKey key, String label, List<String> algorithms) {
        this.key = key;
        this.label = label;
        this.algorithms = algorithms;
    }

    /// Reads one key in PEM.
    ///
    /// @param what where it came from, which also names it in verdicts
    /// @throws ImageException `INVALID_CONTENT` when it is no such key
    static VerificationKey parse(String what, byte[] pem) throws ImageException {
        byte[] der = der(what, pem);
        for (String family : List.of("EC", "RSA", "Ed25519")) {
            try {
                PublicKey key =
                        KeyFactory.getInstance(family).generatePublic(new X509EncodedKeySpec(der));
                return new VerificationKey(
                        key, what + " (" + Digest.sha256(der) + ")", algorithms(what, key));
            } catch (GeneralSecurityException e) {
                // Not of this family.
            }
        }
        throw ImageException.invalidContent(what + ": wanted an ECDSA, RSA or Ed25519 public key");
    }

    private static byte[] der(String what, byte[] pem) throws ImageException {
        String text = new String(pem, StandardCharsets.ISO_8859_1).strip();
        int begin = text.indexOf(BEGIN);
        int end = text.indexOf(END);
        if (begin != 0 || end < 0 || end + END.length() != text.length()) {
            throw ImageException.invalidContent(
                    "%s: wanted one public key in PEM, between \"%s\" and \"%s\""
                            .formatted(what, BEGIN, END));
        }
        StringBuilder base64 = new StringBuilder();
        text.substring(BEGIN.length(), end).lines().forEach(line -> base64.append(line.strip()));
        try {
            return Base64.getDecoder().decode(base64.toString());
        } catch (IllegalArgumentException e) {
            throw ImageException.invalidContent(what + ": the PEM is not base64");
        }
    }

    private static List<String> algorithms(String what, PublicKey key) throws ImageException {
        return switch (key) {
            case ECPublicKey ec ->
                    // The JDK has only one curve of each size.
                    switch (ec.getParams().getOrder().bitLength()) {
                        case 256 -> List.of("SHA256withECDSA");
                        case 384 -> List.of("SHA256withECDSA", "SHA384withECDSA");
                        default ->
                                throw ImageException.invalidContent(
                                        what + ": wanted the curve P-256 or P-384");
                    };
            case RSAPublicKey rsa -> {
                int bits = rsa.getModulus().bitLength();
                if (bits < 2048 || bits > 8192) {
                    throw ImageException.invalidContent(
                            "%s: wanted an RSA key of 2048 to 8192 bits, got %d"
                                    .formatted(what, bits));
                }
                yield List.of("SHA256withRSA");
            }
            case EdECPublicKey _ -> List.of("Ed25519");
            default ->
                    throw ImageException.invalidContent(
                            what + ": wanted an ECDSA, RSA or Ed25519 public key");
        };
    }

    /// Whether this key made the signature of the message.
    boolean verifies(byte[] message, byte[] signature) {
        for (String algorithm : algorithms) {
            try {
                Signature verifier = Signature.getInstance(algorithm);
                verifier.initVerify(key);
                verifier.update(message);
                if (verifier.verify(signature)) {
                    return true;
                }
            } catch (GeneralSecurityException e) {
                // Malformed for this algorithm, so not made with it.
            }
        }
        return false;
    }

    /// Where the key came from, and its SHA-256.
    @Override
    public String toString() {
        return label;
    }
}
