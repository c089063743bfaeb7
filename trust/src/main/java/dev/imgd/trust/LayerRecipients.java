package dev.imgd.trust;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Text;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PublicKey;
import java.security.cert.X509Certificate;
import java.security.interfaces.ECPublicKey;
import java.security.interfaces.RSAPublicKey;
import java.security.spec.X509EncodedKeySpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// For whom layers are encrypted.
///
/// @param keys of recipients with a JWE
/// @param certificates of recipients with a PKCS#7 message
public record LayerRecipients(List<PublicKey> keys, List<X509Certificate> certificates) {
    private static final int MAX_FILE_BYTES = 64 << 10;
    private static final Pattern BLOCK =
            Pattern.compile(
                    "-----BEGIN (PUBLIC KEY|CERTIFICATE)-----\\s([A-Za-z0-9+/=\\s]*)-----END \\1-----");

    public LayerRecipients {
        keys = List.copyOf(keys);
        certificates = List.copyOf(certificates);
    }

    /// Reads recipients as users name them: `jwe:FILE` with a public key in PEM, RSA or EC, and
    /// `pkcs7:FILE` with a certificate of an RSA key in PEM.
    ///
    /// @throws ImageException `INVALID_ARGUMENT`, `NOT_FOUND`
    public static LayerRecipients named(List<String> names) throws ImageException {
        List<PublicKey> keys = new ArrayList<>();
        List<X509Certificate> certificates = new ArrayList<>();
        for (String name : names) {
            int colon = name.indexOf(':');
            String scheme = colon < 0 ? "" : name.substring(0, colon);
            Path file = Path.of(name.substring(colon + 1));
            try {
                switch (scheme) {
                    case "jwe" -> keys.add(key(block(file, "PUBLIC KEY")));
                    case "pkcs7" -> {
                        X509Certificate certificate =
                                CertificateChain.parse(block(file, "CERTIFICATE"));
                        if (!(certificate.getPublicKey() instanceof RSAPublicKey rsa)) {
                            throw ImageException.invalidArgument(
                                    "wanted the certificate of an RSA key");
                        }
                        PrivateKeyFile.checkModulus(rsa.getModulus());
                        certificates.add(certificate);
                    }
                    default ->
                            throw ImageException.invalidArgument(
                                    "wanted jwe:PUBLICKEY or pkcs7:CERTIFICATE");
                }
            } catch (ImageException e) {
                throw new ImageException(
                        e.kind() == ErrorKind.NOT_FOUND ? e.kind() : ErrorKind.INVALID_ARGUMENT,
                        "recipient %s: %s".formatted(Text.printable(name, 200), e.getMessage()),
                        e);
            }
        }
        if (keys.isEmpty() && certificates.isEmpty()) {
            throw ImageException.invalidArgument("no recipient is named; wanted at least one");
        }
        int count = keys.size() + certificates.size();
        if (count > JweEnvelope.MAX_RECIPIENTS) {
            throw ImageException.invalidArgument(
                    "wanted at most %d recipients, got %d"
                            .formatted(JweEnvelope.MAX_RECIPIENTS, count));
        }
        return new LayerRecipients(keys, certificates);
    }

    private static byte[] block(Path file, String label) throws ImageException {
        byte[] content;
        try (InputStream in = Files.newInputStream(file)) {
            content = in.readNBytes(MAX_FILE_BYTES);
        } catch (NoSuchFileException e) {
            throw ImageException.notFound("no such file");
        } catch (IOException e) {
            throw new ImageException(
                    ErrorKind.NOT_FOUND,
                    "cannot be read; check that it is a file and its permissions",
                    e);
        }
        Matcher block = BLOCK.matcher(new String(content, StandardCharsets.ISO_8859_1));
        while (block.find()) {
            if (block.group(1).equals(label)) {
                try {
                    return Base64.getMimeDecoder().decode(block.group(2));
                } catch (IllegalArgumentException e) {
                    throw ImageException.invalidArgument("the PEM is not base64");
                }
            }
        }
        throw ImageException.invalidArgument(
                "has no PEM block \"%s\"%s"
                        .formatted(
                                label,
                                label.equals("PUBLIC KEY")
                                        ? "; openssl pkey -pubout makes one of a private key"
                                        : ""));
    }

    private static PublicKey key(byte[] der) throws ImageException {
        for (String family : List.of("RSA", "EC")) {
            try {
                PublicKey key =
                        KeyFactory.getInstance(family).generatePublic(new X509EncodedKeySpec(der));
                if (key instanceof RSAPublicKey rsa) {
                    PrivateKeyFile.checkModulus(rsa.getModulus());
                } else if (key instanceof ECPublicKey ec) {
                    var _ = EcCurve.of(ec.getParams());
                }
                return key;
            } catch (GeneralSecurityException e) {
                // Not of this family.
            }
        }
        throw ImageException.invalidArgument("wanted an RSA or EC public key");
    }
}
