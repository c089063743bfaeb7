package dev.imgd.trust;

import static dev.imgd.testkit.NotationDraft.TYPE;
import static dev.imgd.testkit.NotationDraft.target;
import static dev.imgd.trust.Policies.assertAccepted;
import static dev.imgd.trust.Policies.assertRefused;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import dev.imgd.testkit.NotationDraft;
import dev.imgd.testkit.OpenSsl;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Optional;
import java.util.random.RandomGenerator;
import java.util.random.RandomGeneratorFactory;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// Signatures of the Notary Project, made with `openssl` from certificates of `openssl`: good ones,
/// and each rule of the specification broken alone.
class NotationTest {
    private static final String NAME = "registry.example.com/team/app";
    private static final String CA = "basicConstraints=critical,CA:TRUE";
    private static final String CA_USAGE = "keyUsage=critical,keyCertSign,cRLSign";
    private static final String LEAF_USAGE = "keyUsage=critical,digitalSignature";
    private static final String SUBJECT = "/C=US/ST=WA/O=acme/CN=signer";

    @TempDir Path directory;
    private OpenSsl openssl;
    private Policies policies;
    private final MemorySignatures signatures = new MemorySignatures();
    private final Descriptor image = signatures.image("the image");
    private Path rootKey;
    private Path root;
    private Path store;
    // A little later, so that certificates that are made by a test are valid.
    private Instant now = Instant.now().plus(Duration.ofMinutes(5));

    @BeforeEach
    void makeAuthority() throws Exception {
        openssl = new OpenSsl(directory);
        policies = new Policies(directory);
        rootKey = openssl.key("P-256");
        root = openssl.root(rootKey, "/C=US/ST=WA/O=acme/CN=root", CA, CA_USAGE);
        store = Files.createDirectories(directory.resolve("notation/truststore/x509/ca/acme"));
        Files.copy(root, store.resolve("root.pem"));
        trustPolicy("strict", "", "*");
    }

    @Test
    void envelope_garbage_isSaidInPlainWords() throws Exception {
        for (byte[] garbage : List.of(new byte[] {0, 1, 2}, new byte[] {0x30, 3, 2, 1, 1})) {
            signatures.referrers.clear();
            signatures.refer(image, TYPE, Envelope.JWS, garbage);
            Verdict verdict = verdict();
            assertRefused(verdict, "JWS: not valid JSON: ");
            assertTrue(!verdict.toString().contains("CTRL-CHAR"), verdict.toString());
        }
    }

    @Test
    void envelope_tooLarge_saysHowMuchIsRead() throws Exception {
        byte[] large = new byte[Math.toIntExact(Examination.MAX_SIGNATURE_BYTES) + 1];
        signatures.refer(image, TYPE, Envelope.JWS, large);
        assertRefused(
                verdict(),
                "wanted at most %d bytes, got %d".formatted(large.length - 1, large.length));
    }

    @Test
    void trustStore_notBase64_isSaidInPlainWords() throws Exception {
        new Draft("P-256").attach();
        Files.writeString(
                store.resolve("root.pem"),
                "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n");
        ImageException e = assertThrows(ImageException.class, this::verdict);
        assertTrue(
                e.getMessage().endsWith("a certificate in PEM that is not base64"), e.toString());
    }

    private void trustPolicy(String level, String override, String identity) throws Exception {
        Files.writeString(
                directory.resolve("notation/trustpolicy.json"),
                """
                {"version":"1.0","trustPolicies":[{"name":"acme",
                 "registryScopes":["registry.example.com/team/app"],
                 "signatureVerification":{"level":"%s"%s},
                 "trustStores":["ca:acme"],"trustedIdentities":["%s"]}]}
                """
                        .formatted(level, override, identity));
    }

    /// One of a leaf that the root made, for the image.
    private final class Draft extends NotationDraft {
        Draft(String keyType, String... extensions) throws Exception {
            Path own = openssl.key(keyType);
            Path leaf =
                    openssl.certificate(
                            own,
                            SUBJECT,
                            root,
                            rootKey,
                            "-sha256",
                            extensions.length == 0 ? new String[] {LEAF_USAGE} : extensions);
            super(openssl, keyType, own, List.of(leaf, root), target(image));
        }

        Draft expiry(Instant at) {
            expiry = Optional.of(at.truncatedTo(ChronoUnit.SECONDS));
            critical.add("io.cncf.notary.expiry");
            return this;
        }

        Draft cose() {
            cose = true;
            return this;
        }

        void attach() throws Exception {
            signatures.referrers.clear();
            signatures.refer(image, TYPE, mediaType(), build());
        }
    }

    private static String url(byte[] bytes) {
        return Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
    }

    private Verdict verdict(String reference) throws Exception {
        return policies.everywhere("{\"type\":\"notation\"}")
                .decide(Reference.parse(reference), image, signatures, Effort.defaults(), now);
    }

    private Verdict verdict() throws Exception {
        return verdict(NAME + ":1");
    }

    @ParameterizedTest
    @CsvSource({
        "P-256, false", "P-384, false", "P-521, false", "RSA2048, false", "RSA3072, false",
        "RSA4096, false", "P-256, true", "P-384, true", "P-521, true", "RSA2048, true",
        "RSA3072, true", "RSA4096, true",
    })
    void envelope_everyKindOfKey_accepted(String keyType, boolean cose) throws Exception {
        Draft envelope = new Draft(keyType);
        envelope.cose = cose;
        envelope.expiry(now.plus(Duration.ofDays(1))).attach();
        assertAccepted(verdict());
    }

    @Test
    void leaf_thatIsItsOwnIssuer_acceptedWhenInTheStore() throws Exception {
        Draft envelope = new Draft("P-256");
        Path alone = openssl.root(envelope.key, SUBJECT, LEAF_USAGE);
        envelope.chain = List.of(alone);
        envelope.attach();
        assertRefused(verdict(), "in no trust store");
        Files.copy(alone, store.resolve("alone.pem"));
        assertAccepted(verdict());
    }

    @Test
    void chain_withIntermediate_pathLengthHolds() throws Exception {
        Path middleKey = openssl.key("RSA2048");
        Path middle =
                openssl.certificate(
                        middleKey,
                        "/C=US/ST=WA/O=acme/CN=middle",
                        root,
                        rootKey,
                        "-sha256",
                        "basicConstraints=critical,CA:TRUE,pathlen:0",
                        CA_USAGE);
        Draft envelope = new Draft("P-256");
        Path leaf =
                openssl.certificate(
                        envelope.key, SUBJECT, middle, middleKey, "-sha256", LEAF_USAGE);
        envelope.chain = List.of(leaf, middle, root);
        envelope.attach();
        assertAccepted(verdict());

        Path lowerKey = openssl.key("P-256");
        Path lower =
                openssl.certificate(
                        lowerKey,
                        "/C=US/ST=WA/O=acme/CN=lower",
                        middle,
                        middleKey,
                        "-sha256",
                        CA,
                        CA_USAGE);
        Path deepLeaf =
                openssl.certificate(envelope.key, SUBJECT, lower, lowerKey, "-sha256", LEAF_USAGE);
        envelope.chain = List.of(deepLeaf, lower, middle, root);
        envelope.attach();
        assertRefused(verdict(), "path length 0 is less than 1");
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void payload_ofAnotherImage_refused(boolean cose) throws Exception {
        Draft envelope = new Draft("P-256");
        envelope.cose = cose;
        envelope.payload = target(signatures.image("another"));
        envelope.attach();
        assertRefused(verdict(), "it was made for sha256:");
    }

    @Test
    void payload_withOtherSizeOrType_refused() throws Exception {
        Draft envelope = new Draft("P-256");
        envelope.payload =
                target(new Descriptor(image.mediaType(), image.digest(), image.sizeBytes() + 1));
        envelope.attach();
        assertRefused(verdict(), "it was made for");
        envelope.payload =
                target(
                        new Descriptor(
                                "application/vnd.oci.image.index.v1+json",
                                image.digest(),
                                image.sizeBytes()));
        envelope.attach();
        assertRefused(verdict(), "it was made for");
        envelope.payload = target(image).replace("}}", "},\"more\":1}");
        envelope.attach();
        assertRefused(verdict(), "unknown field");
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void envelope_changedAfterSigning_refused(boolean cose) throws Exception {
        Draft envelope = new Draft("P-256");
        envelope.cose = cose;
        byte[] document = envelope.build();
        byte[] from =
                cose
                        ? "\"size\":9".getBytes(StandardCharsets.UTF_8)
                        : "\"payload\":\"ey".getBytes(StandardCharsets.UTF_8);
        byte[] to =
                cose
                        ? "\"size\":8".getBytes(StandardCharsets.UTF_8)
                        : "\"payload\":\"fy".getBytes(StandardCharsets.UTF_8);
        int at = indexOf(document, from);
        System.arraycopy(to, 0, document, at, to.length);
        signatures.refer(
                image, TYPE, cose ? "application/cose" : "application/jose+json", document);
        assertRefused(verdict(), "did not make it");
    }

    private static int indexOf(byte[] in, byte[] what) {
        return new String(in, StandardCharsets.ISO_8859_1)
                .indexOf(new String(what, StandardCharsets.ISO_8859_1));
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void algorithm_notThatOfTheKey_refused(boolean cose) throws Exception {
        Draft envelope = new Draft("RSA3072");
        envelope.cose = cose;
        envelope.algorithm = "PS256"; // and made with it
        envelope.attach();
        assertRefused(verdict(), "its certificate's key wants PS384");
    }

    @Test
    void algorithm_none_refused() throws Exception {
        Draft envelope = new Draft("P-256");
        String document = new String(envelope.build(), StandardCharsets.UTF_8);
        String header = document.replaceAll(".*\"protected\":\"([^\"]*)\".*", "$1");
        String none =
                url(
                        new String(Base64.getUrlDecoder().decode(header), StandardCharsets.UTF_8)
                                .replace("ES256", "none")
                                .getBytes(StandardCharsets.UTF_8));
        signatures.refer(
                image,
                TYPE,
                "application/jose+json",
                document.replace(header, none)
                        .replaceAll("\"signature\":\"[^\"]*\"", "\"signature\":\"\"")
                        .getBytes(StandardCharsets.UTF_8));
        assertRefused(verdict(), "its header says none");
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void critical_unknownOrMissing_refused(boolean cose) throws Exception {
        Draft envelope = new Draft("P-256");
        envelope.cose = cose;
        envelope.critical.add("com.example.unknown");
        envelope.attach();
        assertRefused(verdict(), "com.example.unknown");
        envelope.critical = List.of("io.cncf.notary.verificationPlugin");
        envelope.attach();
        assertRefused(verdict(), "verification plugin");
        envelope.critical = List.of("io.cncf.notary.signingScheme");
        envelope.expiry = Optional.of(now.plus(Duration.ofDays(1)));
        envelope.attach();
        assertRefused(verdict(), "\"io.cncf.notary.expiry\" is not critical");
        envelope.critical = List.of("io.cncf.notary.expiry");
        envelope.attach();
        assertRefused(verdict(), "\"io.cncf.notary.signingScheme\" is not critical");
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void contentTypeOrScheme_unknown_refused(boolean cose) throws Exception {
        Draft envelope = new Draft("P-256");
        envelope.cose = cose;
        envelope.contentType = "application/json";
        envelope.attach();
        assertRefused(verdict(), "content type");
        envelope = new Draft("P-256");
        envelope.cose = cose;
        envelope.scheme = "notary.x510";
        envelope.attach();
        assertRefused(verdict(), "unknown signing scheme");
    }

    @Test
    void scheme_ofAuthority_needsItsOwnStore() throws Exception {
        Draft envelope = new Draft("P-256");
        envelope.scheme = "notary.x509.signingAuthority";
        envelope.timeName = "io.cncf.notary.authenticSigningTime";
        envelope.critical.add("io.cncf.notary.authenticSigningTime");
        envelope.attach();
        assertRefused(verdict(), "in no trust store of type signingAuthority");
    }

    @Test
    void expiry_passed_refusedUnlessOnlyLogged() throws Exception {
        new Draft("P-256").expiry(now.minusSeconds(5)).attach();
        assertRefused(verdict(), "it expired at");
        new Draft("P-256").cose().expiry(now.minusSeconds(5)).attach();
        assertRefused(verdict(), "it expired at");
        trustPolicy("permissive", "", "*");
        Verdict logged = verdict();
        assertAccepted(logged);
        assertTrue(logged.checks().getFirst().signatures().getFirst().reason().contains("expired"));
    }

    @Test
    void expiry_boundsTheVerdict() throws Exception {
        Instant expiry = now.plusSeconds(60).truncatedTo(ChronoUnit.SECONDS);
        new Draft("P-256").expiry(expiry).attach();
        assertEquals(expiry, verdict().until());
    }

    @Test
    void certificate_expired_refused() throws Exception {
        new Draft("P-256").attach();
        now = now.plus(Duration.ofDays(25));
        assertRefused(verdict(), "valid from");
        now = now.minus(Duration.ofDays(50));
        assertRefused(verdict(), "valid from");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "keyUsage=digitalSignature|critical key usage",
                "basicConstraints=CA:FALSE|critical key usage",
                "keyUsage=critical,digitalSignature,keyEncipherment|more than signatures",
                "keyUsage=critical,digitalSignature,keyCertSign|more than signatures",
                "keyUsage=critical,nonRepudiation|critical key usage",
                "basicConstraints=critical,CA:TRUE|authority's certificate",
                "extendedKeyUsage=serverAuth|extended key usage",
                "extendedKeyUsage=anyExtendedKeyUsage|extended key usage",
                "extendedKeyUsage=timeStamping|extended key usage",
                "extendedKeyUsage=codeSigning|",
            })
    void leaf_withWrongUsage_refused(String extension, String reason) throws Exception {
        Draft envelope =
                extension.startsWith("keyUsage") || extension.equals("basicConstraints=CA:FALSE")
                        ? new Draft("P-256", extension)
                        : new Draft("P-256", LEAF_USAGE, extension);
        envelope.attach();
        if (reason == null) {
            assertAccepted(verdict());
        } else {
            assertRefused(verdict(), reason);
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "basicConstraints=CA:TRUE|keyUsage=critical,keyCertSign|no authority",
                "basicConstraints=critical,CA:FALSE|keyUsage=critical,keyCertSign|no authority",
                "basicConstraints=critical,CA:TRUE|keyUsage=keyCertSign|keyCertSign",
                "basicConstraints=critical,CA:TRUE|keyUsage=critical,cRLSign|keyCertSign",
            })
    void authority_withWrongExtensions_refused(String constraints, String usage, String reason)
            throws Exception {
        Path middleKey = openssl.key("P-256");
        Path middle =
                openssl.certificate(
                        middleKey,
                        "/C=US/ST=WA/O=acme/CN=middle",
                        root,
                        rootKey,
                        "-sha256",
                        constraints,
                        usage);
        Draft envelope = new Draft("P-256");
        envelope.chain =
                List.of(
                        openssl.certificate(
                                envelope.key, SUBJECT, middle, middleKey, "-sha256", LEAF_USAGE),
                        middle,
                        root);
        envelope.attach();
        assertRefused(verdict(), reason);
    }

    @Test
    void chain_brokenInOtherWays_refused() throws Exception {
        Draft envelope = new Draft("P-256");
        Path leaf = envelope.chain.getFirst();
        envelope.chain = List.of(leaf);
        envelope.attach();
        assertRefused(verdict(), "does not end in a root");
        envelope.chain = List.of(leaf, root, root);
        envelope.attach();
        assertRefused(verdict(), "a root in the middle");
        envelope.chain = List.of(root, leaf);
        envelope.attach();
        assertRefused(verdict(), "a root in the middle");
        Path otherKey = openssl.key("P-256");
        Path namesake = openssl.root(otherKey, "/C=US/ST=WA/O=acme/CN=root", CA, CA_USAGE);
        envelope.chain = List.of(leaf, namesake);
        envelope.attach();
        assertRefused(verdict(), "not issued by the next one");
        envelope.chain = List.of();
        envelope.attach();
        assertRefused(verdict(), "");
    }

    @Test
    void certificate_withSha1OrSmallKey_refused() throws Exception {
        Draft envelope = new Draft("P-256");
        envelope.chain =
                List.of(
                        openssl.certificate(
                                envelope.key, SUBJECT, root, rootKey, "-sha1", LEAF_USAGE),
                        root);
        envelope.attach();
        assertRefused(verdict(), "SHA1withECDSA, which is not accepted");
        Path weak = openssl.key("RSA1024");
        Path middle =
                openssl.certificate(
                        weak, "/C=US/ST=WA/O=acme/CN=weak", root, rootKey, "-sha256", CA, CA_USAGE);
        envelope.chain =
                List.of(
                        openssl.certificate(
                                envelope.key, SUBJECT, middle, weak, "-sha256", LEAF_USAGE),
                        middle,
                        root);
        envelope.attach();
        assertRefused(verdict(), "wanted an RSA key of 2048 bits");
    }

    @Test
    void root_notInTheStore_refused() throws Exception {
        Path otherKey = openssl.key("P-256");
        Path other = openssl.root(otherKey, "/C=US/ST=WA/O=acme/CN=root", CA, CA_USAGE);
        Draft envelope = new Draft("P-256");
        envelope.chain =
                List.of(
                        openssl.certificate(
                                envelope.key, SUBJECT, other, otherKey, "-sha256", LEAF_USAGE),
                        other);
        envelope.attach();
        assertRefused(verdict(), "in no trust store");
        trustPolicy("audit", "", "*");
        assertAccepted(verdict());
    }

    @Test
    void identity_asTheTrustPolicySays() throws Exception {
        new Draft("P-256").attach();
        trustPolicy("strict", "", "x509.subject: C=US, S=WA, O=acme");
        assertAccepted(verdict());
        trustPolicy("strict", "", "x509.subject: C=US, ST=WA, O=acme, CN=somebody");
        assertRefused(verdict(), "none of the trusted identities");
        trustPolicy("strict", "", "x509.subject: C=US, ST=WA, O=other");
        assertRefused(verdict(), "none of the trusted identities");
    }

    @Test
    void revocation_byListsOnThisHost() throws Exception {
        Path crl = Files.createDirectories(directory.resolve("notation/crl"));
        Draft envelope =
                new Draft(
                        "P-256", LEAF_USAGE, "crlDistributionPoints=URI:http://127.0.0.1:1/x.crl");
        envelope.attach();
        assertRefused(verdict(), "no current revocation list");
        trustPolicy("strict", ",\"override\":{\"revocation\":\"skip\"}", "*");
        assertAccepted(verdict());
        trustPolicy("strict", "", "*");
        Path list = crl.resolve("root.crl");
        Files.copy(openssl.revocationList(root, rootKey), list);
        assertAccepted(verdict());
        Instant before = now;
        now = now.plus(Duration.ofDays(11));
        assertRefused(verdict(), "no current revocation list");
        now = before;
        Files.delete(list);
        Files.copy(openssl.revocationList(root, rootKey, envelope.chain.getFirst()), list);
        assertRefused(verdict(), "revoked");
    }

    @Test
    void manifest_withTwoEnvelopes_refused() throws Exception {
        Draft envelope = new Draft("P-256");
        Descriptor layer = signatures.simpleSigning(envelope.build(), "");
        signatures.refer(image, TYPE, layer, layer);
        assertRefused(verdict(), "wanted one envelope, got 2");
    }

    @Test
    void scope_withoutPolicy_refused() throws Exception {
        new Draft("P-256").attach();
        Verdict verdict = verdict("registry.example.com/team:1");
        assertEquals(false, verdict.accepted());
        assertTrue(verdict.checks().getFirst().reason().contains("has no policy for"));
    }

    @Test
    void scope_star_isForWhatHasNoPolicyOfItsOwn() throws Exception {
        new Draft("P-256").attach();
        Path others = Files.createDirectories(store.resolveSibling("others"));
        Path otherKey = openssl.key("P-256");
        Files.copy(
                openssl.root(otherKey, "/C=US/ST=WA/O=others/CN=root", CA, CA_USAGE),
                others.resolve("root.pem"));
        String both =
                """
                {"version":"1.0","trustPolicies":[
                 {"name":"one","registryScopes":["registry.example.com/team/app"],
                  "signatureVerification":{"level":"strict"},
                  "trustStores":["ca:%s"],"trustedIdentities":["*"]},
                 {"name":"rest","registryScopes":["*"],
                  "signatureVerification":{"level":"strict"},
                  "trustStores":["ca:%s"],"trustedIdentities":["*"]}]}
                """;
        Path file = directory.resolve("notation/trustpolicy.json");
        Files.writeString(file, both.formatted("others", "acme"));
        assertRefused(verdict(), "in no trust store");
        assertAccepted(verdict("registry.example.com/team/other:1"));
        Files.writeString(file, both.formatted("acme", "others"));
        assertAccepted(verdict());
        assertRefused(verdict("registry.example.com/team/other:1"), "in no trust store");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "[\"registry.example.com/team/app\"]|[\"*\",\"registry.example.com/team/app\"]|stands alone",
                "registry.example.com/team/app|*.example.com/team/app|is not a registry",
                "registry.example.com/team/app|registry.example.com/team/app:1|without tag or wildcards",
                "\"1.0\"|\"2.0\"|wanted \"1.0\"",
                "strict|sloppy|wanted strict",
                "registry.example.com/team/app|registry.example.com/team/*|has the character",
                "ca:acme|ca:..|wanted \"ca:NAME\"",
                "ca:acme|ca:absent|has no certificates",
                "\"*\"|\"x509.subject: C=US, ST=WA\"|attribute O is missing",
                "\"*\"|\"x509.subject: C=US, ST=WA, O=a\",\"x509.subject: C=US, ST=WA, O=a, CN=b\"|overlaps",
                "\"*\"|\"x509.subject: C=US, ST=WA, O=#0c01\"|hexadecimal",
                "\"name\"|\"title\"|unknown field",
                "{\"level\"|{\"override\":{\"integrity\":\"log\"},\"level\"|wanted authenticity",
                "{\"level\"|{\"override\":{\"expiry\":\"skip\"},\"level\"|only revocation",
            })
    void trustPolicy_wrong_refusesThePolicy(String from, String to, String reason)
            throws Exception {
        Path file = directory.resolve("notation/trustpolicy.json");
        String text = Files.readString(file);
        String changed = text.replace(from, to);
        assertTrue(!changed.equals(text));
        Files.writeString(file, changed);
        ImageException e = assertThrows(ImageException.class, this::verdict);
        assertEquals(ErrorKind.INVALID_ARGUMENT, e.kind(), e.getMessage());
        assertTrue(e.getMessage().contains(reason), e.getMessage());
    }

    @Test
    void store_withSymbolicLink_refusesThePolicy() throws Exception {
        Files.createSymbolicLink(store.resolve("link.pem"), root);
        ImageException e = assertThrows(ImageException.class, this::verdict);
        assertEquals(ErrorKind.INVALID_ARGUMENT, e.kind());
        assertTrue(e.getMessage().contains("symbolic link"), e.getMessage());
    }

    /// However a message is damaged, it is refused, unless what its signatures cover is unchanged.
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void envelope_anyBytesChanged_refusedUnlessNothingSignedChanged(boolean cose) throws Exception {
        Draft envelope = new Draft("P-256");
        envelope.cose = cose;
        byte[] document = envelope.build();
        String type = cose ? "application/cose" : "application/jose+json";
        RandomGenerator random = RandomGeneratorFactory.of("L64X128MixRandom").create(7);
        ImagePolicy policy = policies.everywhere("{\"type\":\"notation\"}");
        Envelope good = Envelope.parse(type, document);
        int accepted = 0;
        for (int i = 0; i < 3000; i++) {
            byte[] damaged = document.clone();
            int at = random.nextInt(document.length);
            if (i % 3 == 0) {
                damaged = Arrays.copyOf(damaged, at);
            } else {
                damaged[at] ^= (byte) (1 << random.nextInt(8));
            }
            signatures.referrers.clear();
            signatures.refer(image, TYPE, type, damaged);
            Verdict verdict =
                    policy.decide(
                            Reference.parse(NAME + ":1"),
                            image,
                            signatures,
                            Effort.defaults(),
                            now);
            if (verdict.accepted()) {
                // The agent's name, or the encoding of a certificate around what is signed of it.
                accepted++;
                Envelope read = Envelope.parse(type, damaged);
                assertEquals(good.signed(), read.signed(), "changed at " + at);
                assertEquals(
                        Bytes.of(good.chain().getFirst().getTBSCertificate()),
                        Bytes.of(read.chain().getFirst().getTBSCertificate()),
                        "changed at " + at);
            }
        }
        assertTrue(accepted < 300, accepted + " of 3000 accepted");
    }
}
