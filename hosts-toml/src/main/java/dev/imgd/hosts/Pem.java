package dev.imgd.hosts;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Text;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.InvalidKeySpecException;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import org.bouncycastle.asn1.ASN1Encodable;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.DERNull;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.pkcs.PrivateKeyInfo;
import org.bouncycastle.asn1.pkcs.RSAPrivateKey;
import org.bouncycastle.asn1.sec.ECPrivateKey;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.asn1.x9.X9ObjectIdentifiers;
import org.jspecify.annotations.Nullable;

/// Certificates and private keys in PEM files. **Source:** RFC 7468; RFC 5208 (PKCS #8), RFC 8017
/// (PKCS #1), RFC 5915 (SEC 1).
final class Pem {
    private static final int MAX_FILE_BYTES = 4 << 20;
    private static final String BEGIN = "-----BEGIN ";
    private static final String END = "-----END ";
    private static final String DASHES = "-----";

    private final Path file;
    private final List<Block> blocks;

    private Pem(Path file, List<Block> blocks) {
        this.file = file;
        this.blocks = blocks;
    }

    private static final class Block {
        final String label;

        /// Empty when the block is encrypted the old way.
        final byte[] der;

        final boolean encrypted;

        Block(String label, byte[] der, boolean encrypted) {
            this.label = label;
            this.der = der;
            this.encrypted = encrypted;
        }
    }

    /// Reads a file whole.
    ///
    /// @throws ImageException when it cannot be read or a block in it is broken
    static Pem read(Path file) throws ImageException {
        byte[] bytes;
        try (InputStream in = Files.newInputStream(file)) {
            bytes = in.readNBytes(MAX_FILE_BYTES + 1);
        } catch (NoSuchFileException e) {
            throw new ImageException(
                    ErrorKind.INVALID_ARGUMENT, "%s: no such file".formatted(file), e);
        } catch (AccessDeniedException e) {
            throw new ImageException(
                    ErrorKind.PERMISSION_DENIED,
                    "%s: permission denied; let the user of this process read it".formatted(file),
                    e);
        } catch (IOException e) {
            throw Files.isDirectory(file)
                    ? wrong(file, "it is a directory; name a file in it")
                    : new ImageException(
                            ErrorKind.INVALID_ARGUMENT,
                            "%s: cannot be read: %s".formatted(file, reason(e)),
                            e);
        }
        if (bytes.length > MAX_FILE_BYTES) {
            throw wrong(file, "larger than 4 MiB");
        }
        return new Pem(file, blocks(file, new String(bytes, StandardCharsets.ISO_8859_1)));
    }

    private static String reason(IOException failure) {
        String reason = failure instanceof FileSystemException f ? f.getReason() : null;
        return Text.printable(reason == null ? String.valueOf(failure.getMessage()) : reason, 160);
    }

    private static List<Block> blocks(Path file, String text) throws ImageException {
        List<Block> blocks = new ArrayList<>();
        String label = null;
        boolean encrypted = false;
        StringBuilder body = new StringBuilder();
        for (String raw : text.lines().toList()) {
            String line = raw.strip();
            if (label == null) {
                if (line.startsWith(BEGIN) && line.endsWith(DASHES)) {
                    label = line.substring(BEGIN.length(), line.length() - DASHES.length());
                    encrypted = false;
                    body.setLength(0);
                }
            } else if (line.equals(END + label + DASHES)) {
                blocks.add(block(file, label, body, encrypted));
                label = null;
            } else if (line.indexOf(':') >= 0) {
                encrypted |= line.startsWith("Proc-Type:") && line.endsWith("ENCRYPTED");
            } else {
                body.append(line);
            }
        }
        if (label != null) {
            throw wrong(file, "the PEM block has a beginning and no end");
        }
        return blocks;
    }

    private static Block block(Path file, String label, CharSequence body, boolean encrypted)
            throws ImageException {
        try {
            byte[] der = encrypted ? new byte[0] : Base64.getDecoder().decode(body.toString());
            return new Block(label, der, encrypted);
        } catch (IllegalArgumentException e) {
            throw wrong(file, "a PEM block is not base64");
        }
    }

    /// The certificates in the file, in its order, at least one.
    List<X509Certificate> certificates() throws ImageException {
        List<X509Certificate> certificates = new ArrayList<>();
        try {
            CertificateFactory factory = CertificateFactory.getInstance("X.509");
            for (Block block : blocks) {
                if (block.label.equals("CERTIFICATE") || block.label.equals("X509 CERTIFICATE")) {
                    var in = new ByteArrayInputStream(block.der);
                    certificates.add((X509Certificate) factory.generateCertificate(in));
                }
            }
        } catch (CertificateException e) {
            throw new ImageException(
                    ErrorKind.INVALID_ARGUMENT,
                    "%s: a certificate in it cannot be read".formatted(file),
                    e);
        }
        if (certificates.isEmpty()) {
            throw wrong(file, "there is no certificate in PEM form in it");
        }
        return certificates;
    }

    /// The first private key in the file. Its bytes are in no message.
    PrivateKey privateKey() throws ImageException {
        for (Block block : blocks) {
            if (block.encrypted || block.label.equals("ENCRYPTED PRIVATE KEY")) {
                throw wrong(
                        file,
                        "the private key has a passphrase, which nobody could type here; store it"
                                + " without one");
            }
            byte[] pkcs8 = pkcs8(block);
            if (pkcs8 != null) {
                return privateKey(pkcs8);
            }
        }
        throw wrong(file, "there is no private key in PEM form in it");
    }

    private byte @Nullable [] pkcs8(Block block) throws ImageException {
        try {
            return switch (block.label) {
                case "PRIVATE KEY" -> block.der;
                case "RSA PRIVATE KEY" ->
                        new PrivateKeyInfo(
                                        new AlgorithmIdentifier(
                                                PKCSObjectIdentifiers.rsaEncryption,
                                                DERNull.INSTANCE),
                                        RSAPrivateKey.getInstance(block.der))
                                .getEncoded();
                case "EC PRIVATE KEY" -> {
                    ECPrivateKey key = ECPrivateKey.getInstance(block.der);
                    yield new PrivateKeyInfo(
                                    new AlgorithmIdentifier(
                                            X9ObjectIdentifiers.id_ecPublicKey, curve(key)),
                                    key)
                            .getEncoded();
                }
                default -> null;
            };
        } catch (IOException | IllegalArgumentException e) {
            throw new ImageException(
                    ErrorKind.INVALID_ARGUMENT,
                    "%s: the private key in it cannot be read".formatted(file),
                    e);
        }
    }

    /// Of the key itself, or of the `EC PARAMETERS` that openssl writes before it.
    private ASN1Encodable curve(ECPrivateKey key) throws ImageException {
        ASN1Encodable own = key.getParametersObject();
        if (own != null) {
            return own;
        }
        for (Block block : blocks) {
            if (block.label.equals("EC PARAMETERS")) {
                return ASN1ObjectIdentifier.getInstance(block.der);
            }
        }
        throw wrong(file, "the private key does not say its curve");
    }

    private PrivateKey privateKey(byte[] pkcs8) throws ImageException {
        for (String algorithm : List.of("RSA", "EC", "EdDSA", "RSASSA-PSS")) {
            try {
                return KeyFactory.getInstance(algorithm)
                        .generatePrivate(new PKCS8EncodedKeySpec(pkcs8));
            } catch (InvalidKeySpecException e) {
                // A key of another algorithm.
            } catch (GeneralSecurityException e) {
                throw new ImageException(
                        ErrorKind.INTERNAL, "TLS: the Java runtime lacks " + algorithm, e);
            }
        }
        throw wrong(file, "the private key is neither RSA nor EC nor Ed25519");
    }

    private static ImageException wrong(Path file, String message) {
        return ImageException.invalidArgument(file + ": " + message);
    }
}
