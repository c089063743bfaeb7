package dev.imgd.trust;

import dev.imgd.model.Bytes;
import dev.imgd.model.ImageException;
import java.io.ByteArrayOutputStream;
import java.security.GeneralSecurityException;
import java.security.PrivateKey;
import java.security.SecureRandom;
import java.security.cert.X509Certificate;
import java.security.interfaces.RSAPrivateKey;
import java.security.spec.AlgorithmParameterSpec;
import java.security.spec.MGF1ParameterSpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import javax.crypto.Cipher;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.OAEPParameterSpec;
import javax.crypto.spec.PSource;
import javax.crypto.spec.SecretKeySpec;

/// `EnvelopedData` of CMS, once called PKCS#7, for RSA keys; the content with AES in CBC or, as
/// ocicrypt writes it, in GCM with the tag behind the ciphertext.
///
/// What the content is worth is not decided here: CBC authenticates nothing, but the secret in it
/// has to fit the HMAC of the layer. **Source:** RFC 5652, RFC 3560, RFC 3565, RFC 5084.
final class CmsEnvelope implements LayerEnvelope {
    private static final String WHAT = "PKCS7";
    private static final int MAX_RECIPIENTS = JweEnvelope.MAX_RECIPIENTS;
    private static final String ENVELOPED_DATA = "2a864886f70d010703";
    private static final String DATA = "2a864886f70d010701";
    private static final String RSA_OAEP = "2a864886f70d010107";
    private static final String AES = "6086480165030401";
    private static final String SHA1 = "2b0e03021a";
    private static final String SHA256 = "608648016503040201";
    private static final String MGF1 = "2a864886f70d010108";
    private static final int CONTENT = 0x80;
    private static final int CBC_256 = 42;
    private static final int GO_SEQUENCE = 0x10;

    /// @param oaep the parameters of OAEP; empty for PKCS#1 v1.5
    private record Recipient(Optional<OAEPParameterSpec> oaep, Bytes encryptedKey) {}

    /// @param keyBytes of AES
    private record ContentCipher(String name, int keyBytes, AlgorithmParameterSpec parameters) {}

    private final List<Recipient> recipients;
    private final int others;
    private final ContentCipher cipher;
    private final byte[] ciphertext;

    private CmsEnvelope(
            List<Recipient> recipients, int others, ContentCipher cipher, byte[] ciphertext) {
        this.recipients = recipients;
        this.others = others;
        this.cipher = cipher;
        this.ciphertext = ciphertext;
    }

    /// @throws ImageException `INVALID_CONTENT` for what is malformed or forbidden
    static CmsEnvelope parse(byte[] document) throws ImageException {
        List<Der> outer = Der.parse(WHAT, document).items(WHAT, Der.SEQUENCE);
        if (outer.size() != 2 || !outer.getFirst().isOid(ENVELOPED_DATA)) {
            throw ImageException.invalidContent(WHAT + ": wanted enveloped data");
        }
        Der enveloped = Der.parse(WHAT, outer.get(1).bytes(WHAT, Der.CONTEXT_0));
        List<Der> parts = enveloped.items(WHAT, Der.SEQUENCE);
        int at = 1; // behind the version
        if (at < parts.size() && parts.get(at).tag() == Der.CONTEXT_0) {
            at++; // certificates of the sender
        }
        if (parts.size() < at + 2) {
            throw ImageException.invalidContent(WHAT + ": recipients or content are missing");
        }
        List<Recipient> recipients = new ArrayList<>();
        List<Der> all = parts.get(at).items(WHAT, Der.SET);
        if (all.size() > MAX_RECIPIENTS) {
            throw ImageException.invalidContent(
                    "%s: more than %d recipients".formatted(WHAT, MAX_RECIPIENTS));
        }
        for (Der recipient : all) {
            // Others agree on a key, share one or have a password.
            if (recipient.tag() == Der.SEQUENCE) {
                recipients.add(recipient(recipient.items(WHAT, Der.SEQUENCE)));
            }
        }
        List<Der> content = parts.get(at + 1).items(WHAT, Der.SEQUENCE);
        if (content.size() != 3 || !content.getFirst().isOid(DATA)) {
            throw ImageException.invalidContent(WHAT + ": wanted encrypted data inside");
        }
        return new CmsEnvelope(
                recipients,
                all.size() - recipients.size(),
                contentCipher(content.get(1).items(WHAT, Der.SEQUENCE)),
                ciphertext(content.get(2)));
    }

    /// In one piece, or in several.
    private static byte[] ciphertext(Der content) throws ImageException {
        if (content.tag() == CONTENT) {
            return content.content();
        }
        ByteArrayOutputStream pieces = new ByteArrayOutputStream();
        for (Der piece : content.items(WHAT, Der.CONTEXT_0)) {
            pieces.writeBytes(piece.bytes(WHAT, Der.OCTETS));
        }
        return pieces.toByteArray();
    }

    private static Recipient recipient(List<Der> parts) throws ImageException {
        if (parts.size() != 4) {
            throw ImageException.invalidContent(WHAT + ": a recipient without its four parts");
        }
        List<Der> algorithm = parts.get(2).items(WHAT, Der.SEQUENCE);
        Bytes encryptedKey = Bytes.of(parts.get(3).bytes(WHAT, Der.OCTETS));
        if (algorithm.isEmpty()) {
            throw ImageException.invalidContent(WHAT + ": a recipient without an algorithm");
        }
        if (algorithm.getFirst().isOid(PrivateKeyFile.RSA)) {
            return new Recipient(Optional.empty(), encryptedKey);
        }
        if (algorithm.getFirst().isOid(RSA_OAEP)) {
            return new Recipient(
                    Optional.of(
                            oaep(
                                    algorithm.size() == 1
                                            ? List.of()
                                            : algorithm.get(1).items(WHAT, Der.SEQUENCE))),
                    encryptedKey);
        }
        throw ImageException.invalidContent(
                WHAT + ": the algorithm of a recipient is refused; wanted RSA or RSA-OAEP");
    }

    private static OAEPParameterSpec oaep(List<Der> parameters) throws ImageException {
        String hash = "SHA-1";
        String mask = "SHA-1";
        for (Der parameter : parameters) {
            Der value = Der.parse(WHAT, parameter.content());
            switch (parameter.tag()) {
                case Der.CONTEXT_0 -> hash = hash(value);
                case Der.CONTEXT_0 + 1 -> {
                    List<Der> mgf = value.items(WHAT, Der.SEQUENCE);
                    if (mgf.size() != 2 || !mgf.getFirst().isOid(MGF1)) {
                        throw ImageException.invalidContent(WHAT + ": wanted MGF1");
                    }
                    mask = hash(mgf.get(1));
                }
                default ->
                        throw ImageException.invalidContent(
                                WHAT + ": RSA-OAEP with a label is refused");
            }
        }
        return new OAEPParameterSpec(
                hash, "MGF1", new MGF1ParameterSpec(mask), PSource.PSpecified.DEFAULT);
    }

    private static String hash(Der algorithm) throws ImageException {
        List<Der> parts = algorithm.items(WHAT, Der.SEQUENCE);
        if (!parts.isEmpty() && parts.getFirst().isOid(SHA1)) {
            return "SHA-1";
        }
        if (!parts.isEmpty() && parts.getFirst().isOid(SHA256)) {
            return "SHA-256";
        }
        throw ImageException.invalidContent(WHAT + ": RSA-OAEP wants SHA-1 or SHA-256");
    }

    private static ContentCipher contentCipher(List<Der> algorithm) throws ImageException {
        String oid =
                algorithm.size() == 2
                        ? HexFormat.of().formatHex(algorithm.getFirst().bytes(WHAT, Der.OID))
                        : "";
        // 2.16.840.1.101.3.4.1.N: 2, 22 and 42 are CBC, 6, 26 and 46 are GCM.
        int number =
                oid.startsWith(AES) && oid.length() == AES.length() + 2
                        ? Integer.parseInt(oid, AES.length(), oid.length(), 16)
                        : 0;
        int keyBytes = number < 20 ? 16 : number < 40 ? 24 : 32;
        return switch (number) {
            case 2, 22, CBC_256 -> cbc(keyBytes, algorithm.get(1));
            case 6, 26, 46 -> gcm(keyBytes, algorithm.get(1));
            default ->
                    throw ImageException.invalidContent(
                            WHAT + ": the content encryption is refused; wanted AES in CBC or GCM");
        };
    }

    private static ContentCipher cbc(int keyBytes, Der parameters) throws ImageException {
        byte[] iv = parameters.bytes(WHAT, Der.OCTETS);
        if (iv.length != 16) {
            throw ImageException.invalidContent(
                    WHAT + ": wanted an initialization vector of 16 bytes");
        }
        return new ContentCipher("AES/CBC/PKCS5Padding", keyBytes, new IvParameterSpec(iv));
    }

    private static ContentCipher gcm(int keyBytes, Der parameters) throws ImageException {
        // Go's library wraps the sequence once more, without the bit that says so, and gives the
        // nonce in it a tag of its own.
        Der sequence =
                parameters.tag() == GO_SEQUENCE
                        ? Der.parse(WHAT, parameters.content())
                        : parameters;
        List<Der> parts = sequence.items(WHAT, Der.SEQUENCE);
        if (parts.size() != 2
                || (parts.getFirst().tag() & 0x7f) != Der.OCTETS
                || parts.getFirst().content().length != 12
                || !Arrays.equals(parts.get(1).bytes(WHAT, Der.INTEGER), new byte[] {16})) {
            throw ImageException.invalidContent(
                    WHAT + ": wanted GCM with a nonce of 12 bytes and a tag of 16");
        }
        return new ContentCipher(
                "AES/GCM/NoPadding",
                keyBytes,
                new GCMParameterSpec(128, parts.getFirst().content()));
    }

    @Override
    public int size() {
        return recipients.size();
    }

    @Override
    public String recipients() {
        List<String> algorithms = new ArrayList<>();
        recipients.forEach(r -> algorithms.add(r.oaep.isPresent() ? "RSA-OAEP" : "RSA"));
        for (int i = 0; i < others; i++) {
            algorithms.add("another kind of key");
        }
        return "pkcs7 for " + (algorithms.isEmpty() ? "nobody" : LayerEnvelope.list(algorithms));
    }

    @Override
    public Optional<byte[]> open(List<PrivateKey> keys) {
        for (Recipient recipient : recipients) {
            for (PrivateKey key : keys) {
                if (key instanceof RSAPrivateKey rsa) {
                    Optional<byte[]> content = open(recipient, rsa);
                    if (content.isPresent()) {
                        return content;
                    }
                }
            }
        }
        return Optional.empty();
    }

    private Optional<byte[]> open(Recipient recipient, RSAPrivateKey key) {
        byte[] contentKey = new byte[0];
        try {
            contentKey =
                    recipient.oaep.isPresent()
                            ? oaep(recipient.oaep.get(), key, recipient.encryptedKey.toArray())
                            : pkcs1(key, recipient.encryptedKey.toArray());
            Cipher content = Cipher.getInstance(cipher.name);
            content.init(
                    Cipher.DECRYPT_MODE, new SecretKeySpec(contentKey, "AES"), cipher.parameters);
            byte[] opened = content.doFinal(ciphertext);
            return isObject(opened) ? Optional.of(opened) : Optional.empty();
        } catch (GeneralSecurityException e) {
            return Optional.empty();
        } finally {
            Arrays.fill(contentKey, (byte) 0);
        }
    }

    /// The padding of CBC alone lets one wrong key in 256 pass.
    private static boolean isObject(byte[] content) {
        return content.length > 1 && content[0] == '{' && content[content.length - 1] == '}';
    }

    private static byte[] oaep(OAEPParameterSpec parameters, RSAPrivateKey key, byte[] data)
            throws GeneralSecurityException {
        Cipher cipher = Cipher.getInstance("RSA/ECB/OAEPPadding");
        cipher.init(Cipher.DECRYPT_MODE, key, parameters);
        return cipher.doFinal(data);
    }

    /// Whether the padding of PKCS#1 v1.5 was right must not show: who may ask often could decrypt
    /// with that answer. A random key fails later, as a wrong one does. **Source:** RFC 3218.
    private byte[] pkcs1(RSAPrivateKey key, byte[] data) throws GeneralSecurityException {
        byte[] contentKey = new byte[cipher.keyBytes];
        new SecureRandom().nextBytes(contentKey);
        Cipher rsa = Cipher.getInstance("RSA/ECB/NoPadding");
        rsa.init(Cipher.DECRYPT_MODE, key);
        byte[] padded = rsa.doFinal(data);
        // 00 02 | at least 8 bytes, none 0 | 00 | the key
        int start = padded.length - contentKey.length;
        int wrong = padded[0] | (padded[1] ^ 2) | padded[start - 1];
        for (int i = 2; i < start - 1; i++) {
            wrong |= ((padded[i] & 0xff) - 1) >> 8;
        }
        int keep = wrong == 0 ? 0xff : 0;
        for (int i = 0; i < contentKey.length; i++) {
            contentKey[i] = (byte) ((padded[start + i] & keep) | (contentKey[i] & ~keep));
        }
        Arrays.fill(padded, (byte) 0);
        return contentKey;
    }

    /// Encrypts with AES-256 in CBC and, for each certificate, PKCS#1 v1.5: what all readers of
    /// such images understand.
    static byte[] seal(byte[] content, List<X509Certificate> certificates) {
        SecureRandom random = new SecureRandom();
        byte[] key = new byte[32];
        byte[] iv = new byte[16];
        random.nextBytes(key);
        random.nextBytes(iv);
        try {
            Cipher aes = Cipher.getInstance("AES/CBC/PKCS5Padding");
            aes.init(Cipher.ENCRYPT_MODE, new SecretKeySpec(key, "AES"), new IvParameterSpec(iv));
            Der[] recipients = new Der[certificates.size()];
            for (int i = 0; i < recipients.length; i++) {
                recipients[i] = recipient(key, certificates.get(i));
            }
            // DER sorts the members of a set.
            Arrays.sort(recipients, (a, b) -> Arrays.compareUnsigned(a.encoded(), b.encoded()));
            Der encrypted =
                    Der.of(
                            Der.SEQUENCE,
                            Der.oid(DATA),
                            Der.of(
                                    Der.SEQUENCE,
                                    Der.oid(AES + HexFormat.of().toHexDigits((byte) CBC_256)),
                                    new Der(Der.OCTETS, iv)),
                            new Der(CONTENT, aes.doFinal(content)));
            Der enveloped =
                    Der.of(Der.SEQUENCE, Der.integer(0), Der.of(Der.SET, recipients), encrypted);
            return Der.of(Der.SEQUENCE, Der.oid(ENVELOPED_DATA), Der.of(Der.CONTEXT_0, enveloped))
                    .encoded();
        } catch (GeneralSecurityException e) {
            throw new AssertionError("keys that were checked", e);
        } finally {
            Arrays.fill(key, (byte) 0);
        }
    }

    private static Der recipient(byte[] key, X509Certificate certificate)
            throws GeneralSecurityException {
        Cipher rsa = Cipher.getInstance("RSA/ECB/PKCS1Padding");
        // Not the certificate, whose extensions would be asked what it may be used for.
        rsa.init(Cipher.ENCRYPT_MODE, certificate.getPublicKey());
        byte[] issuer = certificate.getIssuerX500Principal().getEncoded();
        Der serial = new Der(Der.INTEGER, certificate.getSerialNumber().toByteArray());
        ByteArrayOutputStream id = new ByteArrayOutputStream();
        id.writeBytes(issuer);
        id.writeBytes(serial.encoded());
        return Der.of(
                Der.SEQUENCE,
                Der.integer(0),
                new Der(Der.SEQUENCE, id.toByteArray()),
                Der.of(Der.SEQUENCE, Der.oid(PrivateKeyFile.RSA), new Der(Der.NULL, new byte[0])),
                new Der(Der.OCTETS, rsa.doFinal(key)));
    }
}
