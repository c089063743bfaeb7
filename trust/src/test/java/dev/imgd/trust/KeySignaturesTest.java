package dev.imgd.trust;

import static dev.imgd.testkit.CosignDocuments.BUNDLE;
import static dev.imgd.testkit.CosignDocuments.SIGN;
import static dev.imgd.testkit.CosignDocuments.SIGNATURE;
import static dev.imgd.testkit.CosignDocuments.payload;
import static dev.imgd.testkit.CosignDocuments.statement;
import static dev.imgd.trust.Policies.assertAccepted;
import static dev.imgd.trust.Policies.assertRefused;
import static dev.imgd.trust.Policies.decide;
import static dev.imgd.trust.Policies.signedBy;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.Descriptor;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.Reference;
import dev.imgd.testkit.CosignDocuments;
import dev.imgd.testkit.OpenSsl;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// Signatures by keys: cosign's and sigstore bundles, good ones and every way to tamper with them.
class KeySignaturesTest {
    private static final String NAME = "registry.example.com/team/app";

    @TempDir Path directory;
    private OpenSsl openssl;
    private Policies policies;
    private final MemorySignatures signatures = new MemorySignatures();
    private final Descriptor image = signatures.image("the image");
    private Path key;
    private ImagePolicy policy;

    @BeforeEach
    void makeKey() throws Exception {
        openssl = new OpenSsl(directory);
        policies = new Policies(directory);
        key = openssl.key("P-256");
        policy = policies.everywhere(signedBy(openssl.publicKey(key)));
    }

    private Verdict verdict() throws ImageException {
        return decide(policy, NAME + ":1", image, signatures);
    }

    private void sign(byte[] payload) throws Exception {
        signatures.tag(image, signatures.simpleSigning(payload, openssl.sign(key, payload)));
    }

    @ParameterizedTest
    @ValueSource(strings = {"P-256", "P-384", "RSA2048", "RSA4096", "ED25519"})
    void simpleSigning_everyKindOfKey_accepted(String algorithm) throws Exception {
        Path own = openssl.key(algorithm);
        byte[] payload = payload(image.digest(), NAME);
        signatures.tag(image, signatures.simpleSigning(payload, openssl.sign(own, payload)));
        assertAccepted(
                decide(
                        policies.everywhere(signedBy(openssl.publicKey(own))),
                        NAME + ":1",
                        image,
                        signatures));
    }

    @ParameterizedTest
    @ValueSource(strings = {"P-521", "RSA1024", "ED448"})
    void policy_keyOfAnotherKind_refusesTheFile(String algorithm) throws Exception {
        Path own = openssl.publicKey(openssl.key(algorithm));
        ImageException e =
                assertThrows(ImageException.class, () -> policies.everywhere(signedBy(own)));
        assertEquals(ErrorKind.INVALID_ARGUMENT, e.kind());
        assertTrue(e.getMessage().contains("wanted"), e.getMessage());
    }

    @Test
    void simpleSigning_byReferrer_accepted() throws Exception {
        byte[] payload = payload(image.digest(), NAME);
        signatures.refer(
                image, SIGNATURE, signatures.simpleSigning(payload, openssl.sign(key, payload)));
        assertAccepted(verdict());
    }

    @Test
    void simpleSigning_goodOneAfterBadOnes_accepted() throws Exception {
        byte[] other = payload(signatures.image("another").digest(), NAME);
        byte[] payload = payload(image.digest(), NAME);
        signatures.tag(
                image,
                signatures.simpleSigning(other, openssl.sign(key, other)),
                signatures.simpleSigning(payload, "!"),
                signatures.simpleSigning(payload, openssl.sign(key, payload)));
        Verdict verdict = verdict();
        assertAccepted(verdict);
        assertEquals(3, verdict.checks().getFirst().signatures().size());
    }

    @Test
    void image_withoutSignatures_refusedAndSaysSo() throws Exception {
        Verdict verdict = verdict();
        assertFalse(verdict.accepted());
        ImageException e =
                assertThrows(ImageException.class, () -> verdict.require(Reference.parse(NAME)));
        assertEquals(ErrorKind.PERMISSION_DENIED, e.kind());
        assertTrue(e.getMessage().contains("no signature"), e.getMessage());
        assertTrue(e.getMessage().contains(image.digest().toString()), e.getMessage());
    }

    @Test
    void simpleSigning_anotherKey_refused() throws Exception {
        byte[] payload = payload(image.digest(), NAME);
        signatures.tag(
                image,
                signatures.simpleSigning(payload, openssl.sign(openssl.key("P-256"), payload)));
        assertRefused(verdict(), "no key of the policy");
    }

    @Test
    void simpleSigning_payloadChanged_refused() throws Exception {
        byte[] payload = payload(image.digest(), NAME);
        byte[] signature = openssl.sign(key, payload);
        payload[payload.length - 2] = ' ';
        signatures.tag(image, signatures.simpleSigning(payload, signature));
        assertRefused(verdict(), "no key of the policy");
    }

    @Test
    void simpleSigning_ofAnotherImage_refused() throws Exception {
        sign(payload(signatures.image("another").digest(), NAME));
        assertRefused(verdict(), "made for the image sha256:");
    }

    @Test
    void simpleSigning_ofAnotherRepository_refused() throws Exception {
        sign(payload(image.digest(), NAME + "/other"));
        assertRefused(verdict(), "made for " + NAME + "/other");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "{X}|is missing",
                "{\"critical\":C,\"optional\":null,\"extra\":1}|exactly",
                "{\"critical\":C}|exactly",
                "{\"critical\":C,\"optional\":null,\"optional\":null}|twice",
                "{\"critical\":C,\"optional\":null} {}|more data",
                "{\"Critical\":C,\"optional\":null}|exactly",
                "{\"critical\":C,\"optional\":[]}|an object",
            })
    void simpleSigning_malformedPayload_refused(String json, String reason) throws Exception {
        String whole = new String(payload(image.digest(), NAME), StandardCharsets.UTF_8);
        String critical =
                whole.substring("{\"critical\":".length(), whole.indexOf(",\"optional\""));
        String text =
                json.equals("{X}")
                        ? whole.replace("\"identity\":{\"docker-reference\":\"" + NAME + "\"},", "")
                        : json.replace("C,", critical + ",").replace("C}", critical + "}");
        sign(text.getBytes(StandardCharsets.UTF_8));
        assertRefused(verdict(), reason);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "cosign container image signature|atomic container signature|wanted \"cosign",
                "\"image\":|\"Image\":{\"x\":\"y\"},\"image\":|unknown field",
                "docker-manifest-digest\":\"sha256:|docker-manifest-digest\":\"md5:|digest",
            })
    void simpleSigning_criticalChanged_refused(String from, String to, String reason)
            throws Exception {
        String whole = new String(payload(image.digest(), NAME), StandardCharsets.UTF_8);
        String changed = whole.replace(from, to);
        assertFalse(whole.equals(changed));
        sign(changed.getBytes(StandardCharsets.UTF_8));
        assertRefused(verdict(), reason);
    }

    @Test
    void simpleSigning_base64WithRubbish_refused() throws Exception {
        byte[] payload = payload(image.digest(), NAME);
        String text = Base64.getEncoder().encodeToString(openssl.sign(key, payload));
        signatures.tag(image, signatures.simpleSigning(payload, text + "\n"));
        assertRefused(verdict(), "base64");
    }

    @Test
    void simpleSigning_largePayload_notRead() throws Exception {
        byte[] payload = new byte[(64 << 10) + 1];
        signatures.tag(image, signatures.simpleSigning(payload, new byte[] {1}));
        assertRefused(verdict(), "wanted at most 65536 bytes, got 65537");
    }

    @Test
    void signatures_thousands_onlySomeAreTried() throws Exception {
        byte[] payload = payload(image.digest(), NAME);
        Descriptor[] layers = new Descriptor[200];
        Arrays.fill(layers, signatures.simpleSigning(payload, new byte[] {1}));
        layers[150] = signatures.simpleSigning(payload, openssl.sign(key, payload));
        signatures.tag(image, layers);
        Verdict verdict = verdict();
        assertFalse(verdict.accepted());
        assertTrue(
                verdict.checks()
                        .getFirst()
                        .signatures()
                        .getLast()
                        .reason()
                        .contains("more than 64"));
        assertEquals(65, verdict.checks().getFirst().signatures().size());
    }

    @Test
    void signatures_asManyAsConfigured_areTried() throws Exception {
        byte[] payload = payload(image.digest(), NAME);
        signatures.tag(
                image,
                signatures.simpleSigning(payload, new byte[] {1}),
                signatures.simpleSigning(payload, openssl.sign(key, payload)));
        Reference name = Reference.parse(NAME + ":1");
        for (int most = 1; most <= 2; most++) {
            Limits limits = Limits.defaults().with(Limits.Key.SIGNATURES, most);
            Effort effort = new Effort(limits, Effort.defaults().time());
            Verdict verdict = policy.decide(name, image, signatures, effort, Instant.now());
            assertEquals(most == 2, verdict.accepted());
            assertEquals(
                    most == 1,
                    verdict.checks()
                            .getFirst()
                            .signatures()
                            .getLast()
                            .reason()
                            .contains("more than 1 signatures; see limits.signatures"));
        }
    }

    @Test
    void referrer_ofAnotherSubject_refused() throws Exception {
        byte[] payload = payload(image.digest(), NAME);
        signatures.refer(
                signatures.image("another"),
                SIGNATURE,
                signatures.simpleSigning(payload, openssl.sign(key, payload)));
        assertRefused(verdict(), "its subject is");
    }

    @Test
    void referrer_withoutSubject_refused() throws Exception {
        byte[] payload = payload(image.digest(), NAME);
        signatures.refer(
                SIGNATURE,
                MemorySignatures.manifest(
                        SIGNATURE,
                        Optional.empty(),
                        signatures.simpleSigning(payload, openssl.sign(key, payload))));
        assertRefused(verdict(), "no subject");
    }

    // Signed names and what the policy asks for.

    @ParameterizedTest
    @CsvSource({
        "'', app, 1, true", // a signature of cosign
        "'', app:1, 1, true",
        "'', app:2, 1, false",
        "matchExact, app:1, 1, true",
        "matchExact, app, 1, false",
        "matchExact, app:2, 1, false",
        "matchRepoDigestOrExact, app, 1, false",
        "matchRepoDigestOrExact, app:2, @, true",
        "matchRepository, app:2, 1, true",
        "matchRepository, other:1, 1, false",
    })
    void identity_asThePolicySays(String type, String signed, String tag, boolean accepted)
            throws Exception {
        sign(payload(image.digest(), "registry.example.com/team/" + signed));
        ImagePolicy own =
                type.isEmpty()
                        ? policy
                        : policies.everywhere(
                                signedBy(openssl.publicKey(key), "{\"type\":\"" + type + "\"}"));
        String reference = tag.equals("@") ? NAME + "@" + image.digest() : NAME + ":" + tag;
        Verdict verdict = decide(own, reference, image, signatures);
        if (accepted) {
            assertAccepted(verdict);
        } else {
            assertRefused(verdict, "it was made for registry.example.com/team/" + signed);
        }
    }

    @Test
    void identity_exactAndRemapped() throws Exception {
        sign(payload(image.digest(), "vendor.example.com/app:1"));
        Path own = openssl.publicKey(key);
        assertRefused(verdict(), "made for vendor");
        for (String identity :
                List.of(
                        "{\"type\":\"exactReference\",\"dockerReference\":\"vendor.example.com/app:1\"}",
                        "{\"type\":\"exactRepository\",\"dockerRepository\":\"vendor.example.com/app\"}",
                        "{\"type\":\"remapIdentity\",\"prefix\":\"registry.example.com/team\",\"signedPrefix\":\"vendor.example.com\"}")) {
            assertAccepted(
                    decide(
                            policies.everywhere(signedBy(own, identity)),
                            NAME + ":1",
                            image,
                            signatures));
        }
        String elsewhere =
                "{\"type\":\"remapIdentity\",\"prefix\":\"registry.example.com/tea\",\"signedPrefix\":\"vendor.example.com\"}";
        assertRefused(
                decide(
                        policies.everywhere(signedBy(own, elsewhere)),
                        NAME + ":1",
                        image,
                        signatures),
                "made for vendor");
    }

    // Bundles.

    private void bundle(String json) {
        signatures.refer(image, BUNDLE, BUNDLE, json.getBytes(StandardCharsets.UTF_8));
    }

    private static String base64(byte[] bytes) {
        return Base64.getEncoder().encodeToString(bytes);
    }

    private String messageBundle(Descriptor of, Path by) throws Exception {
        return CosignDocuments.messageBundle(openssl, by, signatures.manifest(of).toArray());
    }

    private String statementBundle(String statement, Path by) throws Exception {
        return CosignDocuments.statementBundle(openssl, by, statement);
    }

    @Test
    void bundle_ofMessage_accepted() throws Exception {
        bundle(messageBundle(image, key));
        assertAccepted(verdict());
    }

    @Test
    void bundle_ofStatement_accepted() throws Exception {
        bundle(statementBundle(statement(image.digest().hex(), SIGN), key));
        assertAccepted(verdict());
    }

    @Test
    void bundle_ofAnotherImage_refused() throws Exception {
        bundle(messageBundle(signatures.image("another"), key));
        assertRefused(verdict(), "no key of the policy made it for this image");
        signatures.referrers.clear();
        bundle(statementBundle(statement("0".repeat(64), SIGN), key));
        assertRefused(verdict(), "made for another image");
    }

    @Test
    void bundle_ofAnotherKey_refused() throws Exception {
        Path other = openssl.key("P-256");
        bundle(messageBundle(image, other));
        assertRefused(verdict(), "no key of the policy");
        signatures.referrers.clear();
        bundle(statementBundle(statement(image.digest().hex(), SIGN), other));
        assertRefused(verdict(), "no key of the policy");
    }

    @Test
    void bundle_attestation_isNoSignature() throws Exception {
        bundle(
                statementBundle(
                        statement(image.digest().hex(), "https://slsa.dev/provenance/v1"), key));
        assertRefused(verdict(), "an attestation is no signature");
    }

    @Test
    void bundle_statementChanged_refused() throws Exception {
        String good = statement(image.digest().hex(), SIGN);
        String bundle = statementBundle(good, key);
        String changed = good.replace("\"predicate\":{}", "\"predicate\":{\"a\":1}");
        bundle(
                bundle.replace(
                        base64(good.getBytes(StandardCharsets.UTF_8)),
                        base64(changed.getBytes(StandardCharsets.UTF_8))));
        assertRefused(verdict(), "no key of the policy");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "\"publicKey\":|\"certificate\":|made with a certificate",
                "bundle.v0.3|bundle.v0.2|wanted application/vnd.dev.sigstore.bundle.v0.3",
                "\"messageSignature\":|\"MessageSignature\":|unknown field",
                "SHA2_256|SHA2_512|wanted SHA2_256",
            })
    void bundle_changed_refused(String from, String to, String reason) throws Exception {
        String good = messageBundle(image, key);
        bundle(good.replace(from, to));
        assertRefused(verdict(), reason);
    }

    @Test
    void bundle_underARuleThatNeedsAName_refused() throws Exception {
        bundle(messageBundle(image, key));
        ImagePolicy strict =
                policies.everywhere(
                        signedBy(openssl.publicKey(key), "{\"type\":\"matchRepository\"}"));
        assertRefused(decide(strict, NAME + ":1", image, signatures), "states no name");
    }

    @Test
    void keys_severalAndData_anyOfThemCounts() throws Exception {
        byte[] payload = payload(image.digest(), NAME);
        signatures.tag(image, signatures.simpleSigning(payload, openssl.sign(key, payload)));
        Path first = openssl.publicKey(openssl.key("ED25519"));
        Path second = openssl.publicKey(key);
        assertAccepted(
                decide(
                        policies.everywhere(
                                "{\"type\":\"sigstoreSigned\",\"keyPaths\":[\"%s\",\"%s\"]}"
                                        .formatted(first, second)),
                        NAME + ":1",
                        image,
                        signatures));
        assertAccepted(
                decide(
                        policies.everywhere(
                                "{\"type\":\"sigstoreSigned\",\"keyData\":\"%s\"}"
                                        .formatted(base64(Files.readAllBytes(second)))),
                        NAME + ":1",
                        image,
                        signatures));
    }
}
