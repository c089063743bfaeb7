package dev.imgd.trust;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.Descriptor;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.MediaType;
import dev.imgd.model.Reference;
import dev.imgd.testkit.CosignDocuments;
import dev.imgd.testkit.OpenSsl;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ImagePolicyTest {
    private static final String ACCEPT = "[{\"type\":\"insecureAcceptAnything\"}]";
    private static final String REJECT = "[{\"type\":\"reject\"}]";

    @TempDir Path directory;
    private Policies policies;
    private final MemorySignatures signatures = new MemorySignatures();
    private final Descriptor image = signatures.image("the image");

    @BeforeEach
    void start() {
        policies = new Policies(directory);
    }

    @ParameterizedTest
    @CsvSource({
        "quay.io/team/app:1, docker: quay.io/team/app:1",
        "quay.io/team/app:2, docker: quay.io/team/app",
        "quay.io/team/other:1, docker: quay.io/team",
        "quay.io/teammate/app:1, docker: quay.io",
        "a.b.example.com/app:1, docker: *.example.com",
        "example.com/app:1, docker",
        "redis:7, docker: docker.io/library",
        "me/redis:7, docker",
    })
    void rule_longestScopeMatches(String reference, String rule) throws Exception {
        ImagePolicy policy =
                policies.read(
                        """
                        {"default":[{"type":"reject"}],"transports":{
                         "docker-daemon":{"":[{"type":"insecureAcceptAnything"}]},
                         "docker":{"":@A,"quay.io":@A,"quay.io/team":@A,"quay.io/team/app":@A,
                          "quay.io/team/app:1":@A,"*.example.com":@A,"docker.io/library":@A}}}
                        """
                                .replace("@A", ACCEPT));
        Verdict verdict = Policies.decide(policy, reference, image, signatures);
        assertTrue(verdict.accepted());
        assertEquals(rule, verdict.rule());
    }

    @Test
    void rule_digestInsteadOfTag_hasItsOwnScope() throws Exception {
        ImagePolicy policy =
                policies.read(
                        "{\"default\":%s,\"transports\":{\"docker\":{\"quay.io/a:1\":%s,\"quay.io/a@%s\":%s}}}"
                                .formatted(REJECT, ACCEPT, image.digest(), ACCEPT));
        assertTrue(Policies.decide(policy, "quay.io/a:1", image, signatures).accepted());
        String pinned = "quay.io/a:2@" + image.digest();
        assertTrue(Policies.decide(policy, pinned, image, signatures).accepted());
        assertEquals("default", Policies.decide(policy, "quay.io/a:2", image, signatures).rule());
    }

    @Test
    void requirements_allMustBeMet() throws Exception {
        ImagePolicy policy =
                policies.read(
                        "{\"default\":[{\"type\":\"insecureAcceptAnything\"},{\"type\":\"reject\"}]}");
        assertEquals(false, Policies.decide(policy, "quay.io/a:1", image, signatures).accepted());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "{\"type\":\"signedBy\",\"keyType\":\"GPGKeys\",\"keyPath\":\"/x\"}",
                "{\"type\":\"sigstoreSigned\",\"fulcio\":{\"caPath\":\"/x\"},\"rekorPublicKeyPath\":\"/y\"}",
                "{\"type\":\"sigstoreSigned\",\"keyPath\":\"/x\",\"rekorPublicKeyPath\":\"/y\"}",
            })
    void requirement_thatCannotBeVerified_isMetByNothing(String requirement) throws Exception {
        Verdict verdict =
                Policies.decide(policies.everywhere(requirement), "quay.io/a:1", image, signatures);
        assertEquals(false, verdict.accepted());
        assertTrue(
                verdict.checks().getFirst().reason().contains("not verify")
                        || verdict.checks().getFirst().reason().contains("not those by"));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "{}|\"default\" is missing",
                "{\"default\":[]}|at least one requirement",
                "{\"default\":R,\"defaults\":R}|unknown field",
                "{\"default\":R,\"default\":R}|twice",
                "{\"Default\":R}|unknown field",
                "{\"default\":R} x|JSON",
                "{\"default\":null}|is null",
                "{\"default\":[{\"type\":\"accept\"}]}|unknown requirement",
                "{\"default\":[{\"type\":\"reject\",\"why\":1}]}|unknown field",
                "{\"default\":[{\"type\":\"sigstoreSigned\"}]}|exactly one of",
                "{\"default\":[{\"type\":\"sigstoreSigned\",\"keyPath\":\"a\",\"keyData\":\"b\"}]}|exactly one of",
                "{\"default\":[{\"type\":\"sigstoreSigned\",\"keyPath\":\"absent.pub\"}]}|no such file",
                "{\"default\":[{\"type\":\"sigstoreSigned\",\"keyData\":\"eA==\"}]}|public key in PEM",
                "{\"default\":[{\"type\":\"notation\"}]}|no such file",
                "{\"default\":R,\"transports\":{\"docker\":{\"nginx\":R}}}|no image has this scope",
                "{\"default\":R,\"transports\":{\"docker\":{\"Quay.io/A\":R}}}|upper-case",
                "{\"default\":R,\"transports\":{\"docker\":{\"*.a/b\":R}}}|only a domain",
                "{\"default\":R,\"transports\":{\"dir\":{\"/x\":[]}}}|at least one requirement",
            })
    void file_wrong_isRefusedWithThePlace(String json, String reason) {
        ImageException e =
                assertThrows(ImageException.class, () -> policies.read(json.replace("R", REJECT)));
        assertEquals(ErrorKind.INVALID_ARGUMENT, e.kind());
        assertTrue(e.getMessage().contains(reason), e.getMessage());
        assertTrue(e.getMessage().startsWith("trust policy: "), e.getMessage());
    }

    // The gate.

    private static final class Hands extends Clock {
        Instant now = Instant.parse("2026-11-01T00:00:00Z");

        @Override
        public Instant instant() {
            return now;
        }

        @Override
        public ZoneId getZone() {
            return ZoneOffset.UTC;
        }

        @Override
        public Clock withZone(ZoneId zone) {
            return this;
        }
    }

    private final Hands clock = new Hands();
    private final Reference name = reference("quay.io/team/app:1");

    private static Reference reference(String text) {
        try {
            return Reference.parse(text);
        } catch (ImageException e) {
            throw new AssertionError(e);
        }
    }

    private PolicyGate gate(Path file, boolean required) {
        return PolicyGate.of(
                file, required, directory.resolve("notation"), Effort.defaults(), clock);
    }

    @Test
    void gate_withoutFile_acceptsUnlessItIsRequired() throws Exception {
        Path absent = directory.resolve("absent.json");
        assertTrue(gate(absent, false).decide(name, image, signatures).accepted());
        ImageException e =
                assertThrows(
                        ImageException.class,
                        () -> gate(absent, true).decide(name, image, signatures));
        assertEquals(ErrorKind.INVALID_ARGUMENT, e.kind());
        assertThrows(ImageException.class, () -> gate(absent, true).check());
    }

    @Test
    void gate_danglingLink_isNoAbsence() throws Exception {
        Path link = Files.createSymbolicLink(directory.resolve("link"), Path.of("nowhere"));
        assertThrows(ImageException.class, () -> gate(link, false).decide(name, image, signatures));
    }

    @Test
    void gate_acceptance_isRememberedUntilPolicyOrTimeChange() throws Exception {
        OpenSsl openssl = new OpenSsl(directory);
        Path key = openssl.key("P-256");
        byte[] payload = CosignDocuments.payload(image.digest(), name.name());
        signatures.tag(image, signatures.simpleSigning(payload, openssl.sign(key, payload)));
        Path publicKey = openssl.publicKey(key);
        Path file = policies.write("{\"default\":[" + Policies.signedBy(publicKey) + "]}");
        PolicyGate gate = gate(file, true);
        assertTrue(gate.decide(name, image, signatures).accepted());
        int asked = signatures.questions;
        assertTrue(asked > 0);
        assertTrue(gate.decide(name, image, signatures).accepted());
        assertEquals(asked, signatures.questions);

        clock.now = clock.now.plus(Duration.ofMinutes(11));
        assertTrue(gate.decide(name, image, signatures).accepted());
        assertNotEquals(asked, signatures.questions);

        // Another key under the same name is another policy.
        Files.copy(
                openssl.publicKey(openssl.key("P-256")),
                publicKey,
                StandardCopyOption.REPLACE_EXISTING);
        assertEquals(false, gate.decide(name, image, signatures).accepted());
    }

    @Test
    void gate_refusal_isNotRemembered() throws Exception {
        OpenSsl openssl = new OpenSsl(directory);
        Path key = openssl.key("P-256");
        Path file =
                policies.write("{\"default\":[" + Policies.signedBy(openssl.publicKey(key)) + "]}");
        PolicyGate gate = gate(file, true);
        assertEquals(false, gate.decide(name, image, signatures).accepted());
        byte[] payload = CosignDocuments.payload(image.digest(), name.name());
        signatures.tag(image, signatures.simpleSigning(payload, openssl.sign(key, payload)));
        assertTrue(gate.decide(name, image, signatures).accepted());
    }

    @Test
    void gate_index_isAdmittedByItselfOrByEachManifestUsed() throws Exception {
        OpenSsl openssl = new OpenSsl(directory);
        Path key = openssl.key("P-256");
        Path file =
                policies.write("{\"default\":[" + Policies.signedBy(openssl.publicKey(key)) + "]}");
        Descriptor plain = signatures.image("an index");
        Descriptor index = new Descriptor(MediaType.OCI_INDEX, plain.digest(), plain.sizeBytes());
        Descriptor other = signatures.image("another platform");
        PolicyGate gate = gate(file, true);
        List<Descriptor> both = List.of(image, other);
        byte[] payload = CosignDocuments.payload(image.digest(), name.name());
        signatures.tag(image, signatures.simpleSigning(payload, openssl.sign(key, payload)));

        gate.admit(name, index, List.of(image), signatures);
        ImageException e =
                assertThrows(ImageException.class, () -> gate.admit(name, index, both, signatures));
        assertEquals(ErrorKind.PERMISSION_DENIED, e.kind());
        // A manifest is never excused by another one.
        assertThrows(
                ImageException.class, () -> gate.admit(name, other, List.of(image), signatures));

        byte[] whole = CosignDocuments.payload(index.digest(), name.name());
        signatures.tag(index, signatures.simpleSigning(whole, openssl.sign(key, whole)));
        gate.admit(name, index, both, signatures);
    }
}
