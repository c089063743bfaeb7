package dev.imgd.trust;

import dev.imgd.model.Bytes;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.Json;
import dev.imgd.model.JsonNode;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;

/// A sigstore bundle v0.3 that was made with a key. **Source:** sigstore protobuf-specs,
/// sigstore_bundle.proto; secure-systems-lab DSSE v1; in-toto Statement v1.
///
/// ```
/// {"mediaType": …, "verificationMaterial": {"publicKey": {"hint": …}, …},
///  "messageSignature": {"messageDigest": {"algorithm", "digest"}, "signature"}
///  or "dsseEnvelope": {"payload", "payloadType", "signatures": [{"sig", "keyid"}]}}
/// ```
sealed interface SigstoreBundle {
    /// What a signature of an image states; a provenance or another attestation is none.
    String SIGN_PREDICATE = "https://sigstore.dev/cosign/sign/v1";

    private static List<String> members() {
        return List.of("mediaType", "verificationMaterial", "messageSignature", "dsseEnvelope");
    }

    /// The manifest of the image was signed itself.
    record OfMessage(Bytes signature, Optional<Digest> stated) implements SigstoreBundle {}

    /// A statement about the image was signed.
    record OfStatement(Bytes payload, Bytes signed, Bytes signature) implements SigstoreBundle {}

    static SigstoreBundle parse(Bytes document) throws ImageException {
        JsonNode root = Json.parse("bundle", document.toArray());
        Strict.only(root, members());
        JsonNode mediaType = root.require("mediaType");
        if (!mediaType.text().equals(Examination.BUNDLE)) {
            throw mediaType.invalid("wanted " + Examination.BUNDLE);
        }
        JsonNode material = root.require("verificationMaterial");
        Strict.only(
                material,
                List.of(
                        "publicKey",
                        "certificate",
                        "x509CertificateChain",
                        "tlogEntries",
                        "timestampVerificationData"));
        if (material.find("publicKey").isEmpty()) {
            throw material.invalid(
                    "made with a certificate, not with a key; imgd verifies keys only");
        }
        if (material.find("certificate").isPresent()
                || material.find("x509CertificateChain").isPresent()) {
            throw material.invalid("has a key and a certificate");
        }
        if (material.items("tlogEntries").size() > 32) {
            throw material.invalid("more than 32 entries of transparency logs");
        }
        Optional<JsonNode> message = root.find("messageSignature");
        Optional<JsonNode> envelope = root.find("dsseEnvelope");
        if (message.isPresent() == envelope.isPresent()) {
            throw root.invalid("wanted a messageSignature or a dsseEnvelope");
        }
        return message.isPresent() ? message(message.get()) : statement(envelope.get());
    }

    private static SigstoreBundle message(JsonNode node) throws ImageException {
        Strict.only(node, List.of("messageDigest", "signature"));
        Optional<Digest> stated = Optional.empty();
        Optional<JsonNode> digest = node.find("messageDigest");
        if (digest.isPresent()) {
            JsonNode of = Strict.only(digest.get(), List.of("algorithm", "digest"));
            JsonNode algorithm = of.require("algorithm");
            if (!algorithm.text().equals("SHA2_256")) {
                throw algorithm.invalid("wanted SHA2_256");
            }
            byte[] hash = base64(of.require("digest"));
            if (hash.length != Digest.Algorithm.SHA256.bytes()) {
                throw of.invalid("not a SHA-256");
            }
            stated = Optional.of(Digest.of(Digest.Algorithm.SHA256, hash));
        }
        return new OfMessage(Bytes.of(base64(node.require("signature"))), stated);
    }

    private static SigstoreBundle statement(JsonNode node) throws ImageException {
        Strict.only(node, List.of("payload", "payloadType", "signatures"));
        JsonNode type = node.require("payloadType");
        if (!type.text().equals("application/vnd.in-toto+json")) {
            throw type.invalid("wanted application/vnd.in-toto+json");
        }
        byte[] payload = base64(node.require("payload"));
        List<JsonNode> signatures = node.items("signatures");
        if (signatures.size() != 1) {
            throw node.invalid("wanted one signature, got " + signatures.size());
        }
        Strict.only(signatures.getFirst(), List.of("sig", "keyid"));
        return new OfStatement(
                Bytes.of(payload),
                Bytes.of(preAuthenticationEncoding(type.text(), payload)),
                Bytes.of(base64(signatures.getFirst().require("sig"))));
    }

    private static byte[] base64(JsonNode node) throws ImageException {
        return Strict.base64(node.where(), node.text());
    }

    /// What a DSSE signature is made over.
    private static byte[] preAuthenticationEncoding(String type, byte[] payload) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        byte[] typeBytes = type.getBytes(StandardCharsets.UTF_8);
        out.writeBytes(
                "DSSEv1 %d %s %d "
                        .formatted(typeBytes.length, type, payload.length)
                        .getBytes(StandardCharsets.UTF_8));
        out.writeBytes(payload);
        return out.toByteArray();
    }

    /// Checks that a statement, whose signature was verified before, signs an image.
    ///
    /// @throws ImageException `INVALID_CONTENT` when it is about something else
    static void checkStatement(byte[] payload, Digest image) throws ImageException {
        JsonNode root = Json.parse("statement", payload);
        Strict.only(root, List.of("_type", "subject", "predicateType", "predicate"));
        JsonNode type = root.require("_type");
        if (!type.text().equals("https://in-toto.io/Statement/v1")
                && !type.text().equals("https://in-toto.io/Statement/v0.1")) {
            throw type.invalid("wanted an in-toto statement");
        }
        JsonNode predicate = root.require("predicateType");
        if (!predicate.text().equals(SIGN_PREDICATE)) {
            throw predicate.invalid("an attestation is no signature; wanted " + SIGN_PREDICATE);
        }
        List<JsonNode> subjects = root.items("subject");
        for (JsonNode subject : subjects) {
            Optional<JsonNode> hash = subject.require("digest").find(image.algorithm().label());
            if (hash.isPresent() && hash.get().text().equals(image.hex())) {
                return;
            }
        }
        throw root.invalid("made for another image: no subject is " + image);
    }
}
