package dev.imgd.trust;

import dev.imgd.model.Descriptor;
import dev.imgd.model.ImageException;
import dev.imgd.model.Json;
import dev.imgd.model.JsonNode;
import dev.imgd.trust.NotationPolicy.Action;
import dev.imgd.trust.NotationPolicy.Statement;
import dev.imgd.trust.NotationPolicy.Validation;
import dev.imgd.trust.Verdict.Tried;
import java.security.cert.X509Certificate;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/// Looks for one signature of the Notary Project that the trust policy accepts. For one thread.
final class NotationSignatures {
    private static final String TYPE = "notation";

    private final NotationPolicy policy;
    private final Examination examination;
    private final List<Tried> tried = new ArrayList<>();

    NotationSignatures(NotationPolicy policy, Examination examination) {
        this.policy = policy;
        this.examination = examination;
    }

    Verdict.Check check() throws ImageException {
        Optional<Statement> found = policy.statement(examination.reference);
        if (found.isEmpty()) {
            return examination.unmet(
                    TYPE,
                    "trustpolicy.json has no policy for %s"
                            .formatted(examination.reference.name()));
        }
        Statement statement = found.get();
        if (statement.skip()) {
            return examination.met(
                    TYPE, "trust policy \"%s\" verifies nothing".formatted(statement.name()));
        }
        for (Examination.Signing signing : examination.referring(tried)) {
            if (!signing.type().equals(Examination.NOTATION_SIGNATURE)) {
                continue;
            }
            if (!examination.take()) {
                tried.add(examination.skipped(TYPE, signing.descriptor()));
                break;
            }
            Tried one;
            try {
                one = new Signature(statement, signing).verify();
            } catch (ImageException e) {
                one = examination.failed(TYPE, signing.descriptor().digest(), e);
            }
            tried.add(one);
            if (one.good()) {
                return new Verdict.Check(
                        TYPE, true, "signed by " + one.key().orElse("somebody"), tried);
            }
        }
        return new Verdict.Check(
                TYPE,
                false,
                tried.isEmpty()
                        ? "the registry has no signature for it; sign it, or change the policy"
                        : "none of its signatures counts",
                tried);
    }

    /// One signature under one statement.
    private final class Signature {
        private final Statement statement;
        private final Examination.Signing signing;
        private final List<String> notes = new ArrayList<>();

        Signature(Statement statement, Examination.Signing signing) {
            this.statement = statement;
            this.signing = signing;
        }

        Tried verify() throws ImageException {
            List<Descriptor> layers = signing.manifest().layers();
            if (layers.size() != 1) {
                throw ImageException.invalidContent(
                        "wanted one envelope, got %d".formatted(layers.size()));
            }
            Descriptor layer = layers.getFirst();
            byte[] document = examination.blob(layer, Examination.MAX_SIGNATURE_BYTES).toArray();
            Envelope envelope = Envelope.parse(layer.mediaType(), document);
            CertificateChain.check(envelope.chain());
            X509Certificate leaf = envelope.chain().getFirst();
            if (!CertificateChain.algorithm(leaf).equals(envelope.algorithm())) {
                throw ImageException.invalidContent(
                        "its header says %s, its certificate's key wants %s"
                                .formatted(envelope.algorithm(), CertificateChain.algorithm(leaf)));
            }
            if (!CertificateChain.verifies(
                    leaf, envelope.signed().toArray(), envelope.signature().toArray())) {
                throw ImageException.invalidContent("its certificate's key did not make it");
            }
            checkPayload(envelope.payload().toArray());
            String signer = CertificateChain.name(leaf);
            try {
                validate(Validation.AUTHENTICITY, () -> checkAuthenticity(envelope));
                validate(Validation.AUTHENTIC_TIMESTAMP, () -> checkTimes(envelope));
                validate(Validation.EXPIRY, () -> checkExpiry(envelope));
                validate(
                        Validation.REVOCATION,
                        () ->
                                Revocation.check(
                                        envelope.chain(),
                                        policy.revocationLists(),
                                        examination.now));
            } catch (ImageException e) {
                return new Tried(
                        TYPE,
                        signing.descriptor().digest(),
                        false,
                        Optional.of(signer),
                        e.getMessage());
            }
            String reason = "accepted by trust policy \"%s\"".formatted(statement.name());
            return new Tried(
                    TYPE,
                    signing.descriptor().digest(),
                    true,
                    Optional.of(signer),
                    notes.isEmpty() ? reason : reason + "; " + String.join("; ", notes));
        }

        private void validate(Validation validation, Check check) throws ImageException {
            Action action = statement.action(validation);
            if (action == Action.SKIP) {
                return;
            }
            try {
                check.run();
            } catch (ImageException e) {
                if (action == Action.ENFORCE) {
                    throw e;
                }
                notes.add("not enforced: %s: %s".formatted(validation, e.getMessage()));
            }
        }

        private void checkPayload(byte[] payload) throws ImageException {
            JsonNode root = Json.parse("payload", payload);
            Strict.only(root, List.of("targetArtifact"));
            Descriptor signed = Descriptor.read(root.require("targetArtifact"));
            Descriptor image = examination.image;
            if (!signed.digest().equals(image.digest())
                    || signed.sizeBytes() != image.sizeBytes()
                    || !signed.mediaType().equals(image.mediaType())) {
                throw ImageException.invalidContent(
                        "it was made for %s, %d bytes of type %s"
                                .formatted(
                                        signed.digest(), signed.sizeBytes(), signed.mediaType()));
            }
        }

        private void checkAuthenticity(Envelope envelope) throws ImageException {
            String type =
                    envelope.scheme().equals(Envelope.SCHEME_X509) ? "ca" : "signingAuthority";
            List<X509Certificate> roots = statement.trusted().getOrDefault(type, List.of());
            X509Certificate root = envelope.chain().getLast();
            if (!roots.contains(root)) {
                throw ImageException.invalidContent(
                        "its root %s is in no trust store of type %s of trust policy \"%s\""
                                .formatted(CertificateChain.name(root), type, statement.name()));
            }
            if (!statement.identities().isEmpty()) {
                DistinguishedName subject = DistinguishedName.of(envelope.chain().getFirst());
                if (statement.identities().stream().noneMatch(i -> i.matches(subject))) {
                    throw ImageException.invalidContent(
                            "its signer %s is none of the trusted identities of trust policy \"%s\""
                                    .formatted(
                                            CertificateChain.name(envelope.chain().getFirst()),
                                            statement.name()));
                }
            }
        }

        private void checkTimes(Envelope envelope) throws ImageException {
            Optional<Instant> signed = envelope.authenticSigningTime();
            if (signed.isPresent()) {
                CertificateChain.checkTimes(envelope.chain(), signed.get());
            } else {
                examination.endsAt(CertificateChain.checkTimes(envelope.chain(), examination.now));
            }
        }

        private void checkExpiry(Envelope envelope) throws ImageException {
            if (envelope.expiry().isPresent()) {
                Instant expiry = envelope.expiry().get();
                if (!examination.now.isBefore(expiry)) {
                    throw ImageException.invalidContent("it expired at " + expiry);
                }
                examination.endsAt(expiry);
            }
        }
    }

    /// One validation.
    @FunctionalInterface
    private interface Check {
        void run() throws ImageException;
    }
}
