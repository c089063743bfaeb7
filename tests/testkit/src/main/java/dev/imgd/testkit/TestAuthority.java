package dev.imgd.testkit;

import dev.imgd.hosts.TlsSettings;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.SecureRandom;
import java.security.Signature;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.ECGenParameterSpec;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Locale;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;
import org.bouncycastle.asn1.ASN1Encodable;
import org.bouncycastle.asn1.ASN1EncodableVector;
import org.bouncycastle.asn1.ASN1Integer;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.DERBitString;
import org.bouncycastle.asn1.DERSequence;
import org.bouncycastle.asn1.DERUTCTime;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.asn1.x509.BasicConstraints;
import org.bouncycastle.asn1.x509.ExtendedKeyUsage;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.ExtensionsGenerator;
import org.bouncycastle.asn1.x509.GeneralName;
import org.bouncycastle.asn1.x509.GeneralNames;
import org.bouncycastle.asn1.x509.KeyPurposeId;
import org.bouncycastle.asn1.x509.KeyUsage;
import org.bouncycastle.asn1.x509.SubjectPublicKeyInfo;
import org.bouncycastle.asn1.x509.TBSCertificate;
import org.bouncycastle.asn1.x509.Time;
import org.bouncycastle.asn1.x509.V3TBSCertificateGenerator;
import org.bouncycastle.asn1.x9.X9ObjectIdentifiers;
import org.jspecify.annotations.Nullable;

/// A certificate authority for tests, made anew each time. Keys are on the curve P-256. Immutable.
/// **Source:** RFC 5280.
public final class TestAuthority {
    private static final char[] NO_PASSWORD = {};
    private static final Duration DAY = Duration.ofDays(1);
    private static final DateTimeFormatter UTC_TIME =
            DateTimeFormatter.ofPattern("yyMMddHHmmss'Z'", Locale.ROOT).withZone(ZoneOffset.UTC);

    /// A certificate with its key.
    ///
    /// @param issuer the certificate of the authority
    public record Identity(X509Certificate certificate, PrivateKey key, X509Certificate issuer) {
        /// The certificate and its issuer's, as PEM.
        public String chainPem() {
            return pem("CERTIFICATE", encoded(certificate)) + pem("CERTIFICATE", encoded(issuer));
        }

        /// The key as PEM, PKCS #8 without a password.
        public String keyPem() {
            return pem("PRIVATE KEY", key.getEncoded());
        }

        KeyManager[] keyManagers() throws GeneralSecurityException {
            KeyStore store = emptyStore();
            store.setKeyEntry("key", key, NO_PASSWORD, new Certificate[] {certificate, issuer});
            var factory = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
            factory.init(store, NO_PASSWORD);
            return factory.getKeyManagers();
        }

        @Override
        public String toString() {
            return certificate.getSubjectX500Principal().getName();
        }
    }

    private final KeyPair keys;
    private final X500Name name;
    private final X509Certificate root;

    /// @param signer who signs its certificate; null for itself
    private TestAuthority(String commonName, Instant end, @Nullable TestAuthority signer)
            throws GeneralSecurityException {
        keys = keyPair();
        name = new X500Name("CN=" + commonName);
        ExtensionsGenerator extensions = new ExtensionsGenerator();
        add(extensions, Extension.basicConstraints, new BasicConstraints(true));
        add(extensions, Extension.keyUsage, new KeyUsage(KeyUsage.keyCertSign | KeyUsage.cRLSign));
        TestAuthority issuer = signer == null ? this : signer;
        root = issuer.issue(name, keys, end, extensions);
    }

    /// A new authority with a new key.
    public static TestAuthority create(String commonName) {
        return create(commonName, Instant.now().plus(DAY), null);
    }

    /// An authority whose certificate ended an hour ago.
    public static TestAuthority createExpired(String commonName) {
        return create(commonName, anHourAgo(), null);
    }

    /// An authority whose certificate this one signed, and which ended an hour ago.
    public TestAuthority expiredIntermediate(String commonName) {
        return create(commonName, anHourAgo(), this);
    }

    private static Instant anHourAgo() {
        return Instant.now().minus(Duration.ofHours(1));
    }

    private static TestAuthority create(
            String commonName, Instant end, @Nullable TestAuthority signer) {
        try {
            return new TestAuthority(commonName, end, signer);
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("certificates cannot be made here", e);
        }
    }

    /// A server's certificate, good for a day.
    ///
    /// @param hosts names or IPv4 addresses that it is for
    public Identity server(String... hosts) {
        return server(Instant.now().plus(DAY), hosts);
    }

    /// A server's certificate that ended an hour ago.
    public Identity expiredServer(String... hosts) {
        return server(anHourAgo(), hosts);
    }

    /// A server's certificate that begins in a day.
    public Identity futureServer(String... hosts) {
        return server(Instant.now().plus(DAY.multipliedBy(3)), hosts);
    }

    private Identity server(Instant end, String... hosts) {
        GeneralName[] names =
                Arrays.stream(hosts)
                        .map(
                                host ->
                                        new GeneralName(
                                                Character.isDigit(host.charAt(0))
                                                        ? GeneralName.iPAddress
                                                        : GeneralName.dNSName,
                                                host))
                        .toArray(GeneralName[]::new);
        ExtensionsGenerator extensions = new ExtensionsGenerator();
        add(extensions, Extension.subjectAlternativeName, new GeneralNames(names));
        return identity(hosts[0], end, KeyPurposeId.id_kp_serverAuth, extensions);
    }

    /// A client's certificate, good for a day.
    public Identity client(String commonName) {
        return client(commonName, Instant.now().plus(DAY));
    }

    /// A client's certificate that ended an hour ago.
    public Identity expiredClient(String commonName) {
        return client(commonName, anHourAgo());
    }

    /// A client's certificate that begins in a day.
    public Identity futureClient(String commonName) {
        return client(commonName, Instant.now().plus(DAY.multipliedBy(3)));
    }

    private Identity client(String commonName, Instant end) {
        return identity(commonName, end, KeyPurposeId.id_kp_clientAuth, new ExtensionsGenerator());
    }

    private Identity identity(
            String commonName, Instant end, KeyPurposeId use, ExtensionsGenerator extensions) {
        add(extensions, Extension.extendedKeyUsage, new ExtendedKeyUsage(use));
        add(extensions, Extension.keyUsage, new KeyUsage(KeyUsage.digitalSignature));
        try {
            KeyPair pair = keyPair();
            X500Name subject = new X500Name("CN=" + commonName);
            return new Identity(issue(subject, pair, end, extensions), pair.getPrivate(), root);
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("certificates cannot be made here", e);
        }
    }

    public X509Certificate certificate() {
        return root;
    }

    /// The certificate of the authority as PEM, what clients are told to trust.
    public String certificatePem() {
        return pem("CERTIFICATE", encoded(root));
    }

    /// Settings of a client that trusts this authority and no other.
    ///
    /// @param client what it shows when it is asked, or null
    public TlsSettings tls(@Nullable Identity client) {
        return new TlsSettings() {
            @Override
            public X509TrustManager trustManager() {
                try {
                    return (X509TrustManager) trustManagers()[0];
                } catch (GeneralSecurityException e) {
                    throw new IllegalStateException("no trust manager", e);
                }
            }

            @Override
            public boolean verifies() {
                return true;
            }

            @Override
            public List<KeyManager> keyManagers() {
                try {
                    return client == null ? List.of() : List.of(client.keyManagers());
                } catch (GeneralSecurityException e) {
                    throw new IllegalStateException("no key manager", e);
                }
            }
        };
    }

    /// The TLS of a server.
    ///
    /// @param clients who signs the certificates of clients, or null
    static SSLContext serverContext(Identity server, @Nullable TestAuthority clients) {
        try {
            SSLContext context = SSLContext.getInstance("TLS");
            TrustManager[] trust = clients == null ? null : clients.trustManagers();
            context.init(server.keyManagers(), trust, null);
            return context;
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("TLS cannot be set up here", e);
        }
    }

    private TrustManager[] trustManagers() throws GeneralSecurityException {
        KeyStore store = emptyStore();
        store.setCertificateEntry("authority", root);
        var factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        return factory.getTrustManagers();
    }

    private X509Certificate issue(
            X500Name subject, KeyPair pair, Instant end, ExtensionsGenerator extensions)
            throws GeneralSecurityException {
        var algorithm = new AlgorithmIdentifier(X9ObjectIdentifiers.ecdsa_with_SHA256);
        V3TBSCertificateGenerator generator = new V3TBSCertificateGenerator();
        generator.setSerialNumber(new ASN1Integer(new BigInteger(127, new SecureRandom())));
        generator.setSignature(algorithm);
        generator.setIssuer(name);
        generator.setSubject(subject);
        generator.setStartDate(time(end.minus(DAY.multipliedBy(2))));
        generator.setEndDate(time(end));
        generator.setSubjectPublicKeyInfo(
                SubjectPublicKeyInfo.getInstance(pair.getPublic().getEncoded()));
        generator.setExtensions(extensions.generate());
        TBSCertificate body = generator.generateTBSCertificate();
        try {
            Signature signature = Signature.getInstance("SHA256withECDSA");
            signature.initSign(keys.getPrivate());
            signature.update(body.getEncoded("DER"));
            ASN1EncodableVector parts = new ASN1EncodableVector();
            parts.add(body);
            parts.add(algorithm);
            parts.add(new DERBitString(signature.sign()));
            byte[] encoded = new DERSequence(parts).getEncoded("DER");
            return (X509Certificate)
                    CertificateFactory.getInstance("X.509")
                            .generateCertificate(new ByteArrayInputStream(encoded));
        } catch (IOException e) {
            throw new GeneralSecurityException("a certificate cannot be encoded", e);
        }
    }

    private static Time time(Instant instant) {
        return new Time(new DERUTCTime(UTC_TIME.format(instant)));
    }

    private static void add(
            ExtensionsGenerator extensions, ASN1ObjectIdentifier oid, ASN1Encodable value) {
        try {
            extensions.addExtension(oid, oid.equals(Extension.basicConstraints), value);
        } catch (IOException e) {
            throw new IllegalStateException("an extension cannot be encoded", e);
        }
    }

    private static KeyPair keyPair() throws GeneralSecurityException {
        KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
        generator.initialize(new ECGenParameterSpec("secp256r1"));
        return generator.generateKeyPair();
    }

    private static KeyStore emptyStore() throws GeneralSecurityException {
        try {
            KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
            store.load(null, null);
            return store;
        } catch (IOException e) {
            throw new GeneralSecurityException("no key store", e);
        }
    }

    private static byte[] encoded(X509Certificate certificate) {
        try {
            return certificate.getEncoded();
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("a certificate cannot be encoded", e);
        }
    }

    private static String pem(String type, byte[] content) {
        byte[] newline = "\n".getBytes(StandardCharsets.US_ASCII);
        String text = Base64.getMimeEncoder(64, newline).encodeToString(content);
        return "-----BEGIN " + type + "-----\n" + text + "\n-----END " + type + "-----\n";
    }
}
