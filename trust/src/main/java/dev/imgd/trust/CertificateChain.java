package dev.imgd.trust;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Text;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.security.AlgorithmParameters;
import java.security.GeneralSecurityException;
import java.security.PublicKey;
import java.security.Signature;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.interfaces.ECPublicKey;
import java.security.interfaces.RSAPublicKey;
import java.security.spec.MGF1ParameterSpec;
import java.security.spec.PSSParameterSpec;
import java.time.Instant;
import java.util.List;
import java.util.Set;

/// The rules for the certificates of a signature of the Notary Project, from the leaf to a root
/// that is its own issuer. **Source:** notaryproject specs v1.0, signature-specification.md §
/// Certificate Requirements.
///
/// Only basic constraints, key usage and extended key usage are honoured, as the specification
/// says.
final class CertificateChain {
    private static final int MAX_CERTIFICATES = 10;
    private static final int MAX_CERTIFICATE_BYTES = 64 << 10;
    private static final String BASIC_CONSTRAINTS = "2.5.29.19";
    private static final String KEY_USAGE = "2.5.29.15";
    private static final int DIGITAL_SIGNATURE = 0;
    private static final int KEY_CERT_SIGN = 5;

    private static final Set<String> SIGNATURE_ALGORITHMS =
            Set.of(
                    "SHA256withRSA",
                    "SHA384withRSA",
                    "SHA512withRSA",
                    "SHA256withECDSA",
                    "SHA384withECDSA",
                    "SHA512withECDSA");

    private static final Set<String> HASHES = Set.of("SHA-256", "SHA-384", "SHA-512");

    private static final Set<String> FORBIDDEN_USAGES =
            Set.of(
                    "2.5.29.37.0", // any
                    "1.3.6.1.5.5.7.3.1", // server authentication
                    "1.3.6.1.5.5.7.3.2", // client authentication
                    "1.3.6.1.5.5.7.3.4", // e-mail
                    "1.3.6.1.5.5.7.3.8", // time stamping
                    "1.3.6.1.5.5.7.3.9"); // OCSP

    private CertificateChain() {}

    /// Reads one certificate in DER.
    static X509Certificate parse(byte[] der) throws ImageException {
        if (der.length == 0 || der[0] != 0x30 || der.length > MAX_CERTIFICATE_BYTES) {
            throw ImageException.invalidContent(
                    "a certificate that is not DER, or larger than 64 KiB");
        }
        try {
            X509Certificate certificate =
                    (X509Certificate)
                            CertificateFactory.getInstance("X.509")
                                    .generateCertificate(new ByteArrayInputStream(der));
            if (certificate.getEncoded().length != der.length) {
                throw ImageException.invalidContent("a certificate with more data after it");
            }
            return certificate;
        } catch (CertificateException e) {
            throw new ImageException(ErrorKind.INVALID_CONTENT, "a malformed certificate", e);
        }
    }

    /// Checks a chain but for its times and whether its root is trusted.
    ///
    /// @throws ImageException `INVALID_CONTENT` with the rule that is broken
    static void check(List<X509Certificate> chain) throws ImageException {
        if (chain.isEmpty()) {
            throw ImageException.invalidContent("it has no certificates");
        }
        if (chain.size() > MAX_CERTIFICATES) {
            throw ImageException.invalidContent(
                    "its chain has more than %d certificates".formatted(MAX_CERTIFICATES));
        }
        int last = chain.size() - 1;
        for (int i = 0; i <= last; i++) {
            X509Certificate certificate = chain.get(i);
            X509Certificate issuer = chain.get(Math.min(i + 1, last));
            checkAlgorithm(certificate);
            checkKey(certificate);
            if (i < last && issuedBy(certificate, certificate)) {
                throw broken(certificate, "a root in the middle of the chain");
            }
            if (!issuedBy(certificate, issuer)) {
                throw broken(
                        certificate,
                        i == last
                                ? "the chain does not end in a root"
                                : "not issued by the next one, %s".formatted(name(issuer)));
            }
            if (i > 0) {
                checkAuthority(certificate, i - 1);
            }
        }
        checkLeaf(chain.getFirst());
    }

    /// Checks that every certificate is valid at a time.
    ///
    /// @return when the first of them ends
    static Instant checkTimes(List<X509Certificate> chain, Instant at) throws ImageException {
        Instant end = Instant.MAX;
        for (X509Certificate certificate : chain) {
            Instant from = certificate.getNotBefore().toInstant();
            Instant to = certificate.getNotAfter().toInstant();
            if (at.isBefore(from) || at.isAfter(to)) {
                throw broken(certificate, "valid from %s to %s, not at %s".formatted(from, to, at));
            }
            end = to.isBefore(end) ? to : end;
        }
        return end;
    }

    private static void checkAlgorithm(X509Certificate certificate) throws ImageException {
        String algorithm = certificate.getSigAlgName();
        if (algorithm.equals("RSASSA-PSS")) {
            try {
                AlgorithmParameters parameters = AlgorithmParameters.getInstance("RSASSA-PSS");
                parameters.init(certificate.getSigAlgParams());
                PSSParameterSpec pss = parameters.getParameterSpec(PSSParameterSpec.class);
                if (HASHES.contains(pss.getDigestAlgorithm())) {
                    return;
                }
            } catch (GeneralSecurityException | IOException | RuntimeException e) {
                // Without parameters the hash is SHA-1.
            }
        } else if (SIGNATURE_ALGORITHMS.contains(algorithm)) {
            return;
        }
        throw broken(certificate, "signed with %s, which is not accepted".formatted(algorithm));
    }

    private static void checkKey(X509Certificate certificate) throws ImageException {
        boolean strong =
                switch (certificate.getPublicKey()) {
                    case RSAPublicKey rsa -> rsa.getModulus().bitLength() >= 2048;
                    case ECPublicKey ec -> ec.getParams().getOrder().bitLength() >= 256;
                    default -> false;
                };
        if (!strong) {
            throw broken(certificate, "wanted an RSA key of 2048 bits or an EC key of 256");
        }
    }

    private static boolean issuedBy(X509Certificate certificate, X509Certificate issuer) {
        if (!certificate.getIssuerX500Principal().equals(issuer.getSubjectX500Principal())) {
            return false;
        }
        try {
            certificate.verify(issuer.getPublicKey());
            return true;
        } catch (GeneralSecurityException e) {
            return false;
        }
    }

    private static void checkAuthority(X509Certificate certificate, int below)
            throws ImageException {
        int pathLength = certificate.getBasicConstraints();
        if (pathLength < 0 || !critical(certificate, BASIC_CONSTRAINTS)) {
            throw broken(certificate, "no authority: wanted critical basic constraints with CA");
        }
        if (pathLength < below) {
            throw broken(
                    certificate, "its path length %d is less than %d".formatted(pathLength, below));
        }
        boolean[] usage = certificate.getKeyUsage();
        if (usage == null || !critical(certificate, KEY_USAGE) || !usage[KEY_CERT_SIGN]) {
            throw broken(certificate, "wanted a critical key usage with keyCertSign");
        }
    }

    private static void checkLeaf(X509Certificate leaf) throws ImageException {
        if (leaf.getBasicConstraints() >= 0) {
            throw broken(leaf, "an authority's certificate cannot sign images");
        }
        boolean[] usage = leaf.getKeyUsage();
        if (usage == null || !critical(leaf, KEY_USAGE) || !usage[DIGITAL_SIGNATURE]) {
            throw broken(leaf, "wanted a critical key usage with digitalSignature");
        }
        // Bit 1 is nonRepudiation, which says the same of a person.
        for (int i = 2; i < usage.length; i++) {
            if (usage[i]) {
                throw broken(leaf, "its key usage allows more than signatures");
            }
        }
        List<String> extended;
        try {
            extended = leaf.getExtendedKeyUsage();
        } catch (CertificateException e) {
            throw broken(leaf, "its extended key usage is malformed");
        }
        if (extended != null) {
            for (String usageId : extended) {
                if (FORBIDDEN_USAGES.contains(usageId)) {
                    throw broken(leaf, "its extended key usage has " + usageId);
                }
            }
        }
    }

    private static boolean critical(X509Certificate certificate, String oid) {
        Set<String> critical = certificate.getCriticalExtensionOIDs();
        return critical != null && critical.contains(oid);
    }

    /// The algorithm that a key of this size has to sign with, as JOSE names it.
    static String algorithm(X509Certificate leaf) throws ImageException {
        PublicKey key = leaf.getPublicKey();
        int bits =
                switch (key) {
                    case RSAPublicKey rsa -> rsa.getModulus().bitLength();
                    case ECPublicKey ec -> ec.getParams().getOrder().bitLength();
                    default -> 0;
                };
        String family = key instanceof RSAPublicKey ? "RSA" : "EC";
        return switch (family + bits) {
            case "RSA2048" -> "PS256";
            case "RSA3072" -> "PS384";
            case "RSA4096" -> "PS512";
            case "EC256" -> "ES256";
            case "EC384" -> "ES384";
            case "EC521" -> "ES512";
            default ->
                    throw broken(
                            leaf, "wanted a key of RSA 2048, 3072, 4096 or EC P-256, P-384, P-521");
        };
    }

    /// Whether the leaf's key made a signature with the algorithm that belongs to it.
    static boolean verifies(X509Certificate leaf, byte[] signed, byte[] signature)
            throws ImageException {
        String algorithm = algorithm(leaf);
        String bits = algorithm.substring(2);
        try {
            Signature verifier;
            if (algorithm.startsWith("PS")) {
                verifier = Signature.getInstance("RSASSA-PSS");
                verifier.setParameter(
                        new PSSParameterSpec(
                                "SHA-" + bits,
                                "MGF1",
                                new MGF1ParameterSpec("SHA-" + bits),
                                Integer.parseInt(bits) / 8,
                                PSSParameterSpec.TRAILER_FIELD_BC));
            } else {
                verifier = Signature.getInstance("SHA" + bits + "withECDSAinP1363Format");
            }
            verifier.initVerify(leaf.getPublicKey());
            verifier.update(signed);
            return verifier.verify(signature);
        } catch (GeneralSecurityException e) {
            return false; // malformed for this algorithm, so not made with it
        }
    }

    static String name(X509Certificate certificate) {
        return Text.printable(certificate.getSubjectX500Principal().getName(), 200);
    }

    private static ImageException broken(X509Certificate certificate, String problem) {
        return ImageException.invalidContent(
                "certificate %s: %s".formatted(name(certificate), problem));
    }
}
