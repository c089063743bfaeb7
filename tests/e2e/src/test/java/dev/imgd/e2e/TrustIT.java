package dev.imgd.e2e;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.MediaType;
import dev.imgd.testkit.CosignDocuments;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.NotationDraft;
import dev.imgd.testkit.OpenSsl;
import dev.imgd.testkit.TestImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Base64;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;

/// A policy with keys and certificates of `openssl`: it accepts what we sign, we accept what it
/// signs, in each form and from each kind of registry, and not what was tampered with.
@Tag("root")
class TrustIT {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final int DENIED = 4;
    private static final int UNAVAILABLE = 6;

    @RegisterExtension final Workspace workspace = new Workspace();

    private Imgctl imgctl = Imgctl.embedded(Path.of(""));
    private Path config = Path.of("");
    private Path key = Path.of("");

    @BeforeEach
    void setUp() throws IOException {
        imgctl = Imgctl.embedded(workspace.path("store"));
        key = key("key.pem");
        config =
                Files.writeString(
                        workspace.path("config.toml"),
                        "[trust]\npolicy = \"%s\"\n".formatted(policy(publicKey(key))));
    }

    private Path key(String name) {
        Path made = workspace.path(name);
        Program.of(
                        "openssl",
                        "genpkey",
                        "-algorithm",
                        "EC",
                        "-pkeyopt",
                        "ec_paramgen_curve:P-256",
                        "-out",
                        made)
                .ok();
        return made;
    }

    private static Path publicKey(Path privateKey) {
        Path made = Path.of(privateKey + ".pub");
        Program.of("openssl", "pkey", "-in", privateKey, "-pubout", "-out", made).ok();
        return made;
    }

    /// Whatever comes from a registry has to be signed for its repository.
    private Path policy(Path publicKey) throws IOException {
        return Files.writeString(
                Path.of(publicKey + ".json"),
                """
                {"default": [{"type": "reject"}],
                 "transports": {"docker": {"": [
                   {"type": "sigstoreSigned", "keyPath": "%s",
                    "signedIdentity": {"type": "matchRepository"}}]}}}
                """
                        .formatted(publicKey));
    }

    /// An image of its own, so that no signature is there before.
    private String unsigned(String repository) {
        String reference = workspace.registry().reference(repository + ":1");
        imgctl.ok("copy", "docker://" + workspace.reference(), "docker://" + reference);
        return reference;
    }

    /// What we attach is a tag like any other for skopeo, and a signature like any other for
    /// openssl.
    @Test
    void sign_ours_skopeoFetchesAndOpensslAndOurPolicyAccept() throws Exception {
        String image = unsigned("trust/ours");
        Program.Finished refused =
                imgctl.command("--config", config, "verify", image).run().expectExit(DENIED);
        assertTrue(refused.out().contains("no signature"), refused.toString());

        imgctl.ok("sign", "--key", key, image);

        imgctl.ok("--config", config, "verify", image);
        imgctl.ok("--config", config, "pull", "-q", "--no-unpack", image);
        Path fetched = workspace.path("fetched");
        Skopeo.copy("docker://" + repository(image) + ":" + signatureTag(), "dir:" + fetched);
        JsonNode layer =
                JSON.readTree(Files.readString(fetched.resolve("manifest.json")))
                        .get("layers")
                        .get(0);
        String annotation =
                layer.get("annotations").get("dev.cosignproject.cosign/signature").asString();
        Path signature =
                Files.write(workspace.path("signature"), Base64.getDecoder().decode(annotation));
        Path payload = fetched.resolve(layer.get("digest").asString().replace("sha256:", ""));
        for (Path known : List.of(publicKey(key), publicKey(key("other.pem")))) {
            Program.of(
                            "openssl",
                            "dgst",
                            "-sha256",
                            "-verify",
                            known,
                            "-signature",
                            signature,
                            payload)
                    .run()
                    .expectExit(known.equals(publicKey(key)) ? 0 : 1);
        }
        JsonNode critical = JSON.readTree(Files.readString(payload)).get("critical");
        assertEquals(
                workspace.image().manifestDigest(),
                critical.get("image").get("docker-manifest-digest").asString());
    }

    private static String repository(String image) {
        return image.substring(0, image.lastIndexOf(':'));
    }

    private String signatureTag() {
        return workspace.image().manifestDigest().replace(':', '-') + ".sig";
    }

    /// Attaches a payload and a signature under cosign's tag, with nothing of our signing code.
    private void attach(String image, byte[] payload, byte[] signature) throws IOException {
        String repository = repository(image);
        String layer =
                imgctl.ok(
                        "blob", "put", repository, Files.write(workspace.path("payload"), payload));
        String empty =
                imgctl.ok("blob", "put", repository, Files.writeString(workspace.path("{}"), "{}"));
        Path manifest =
                Files.writeString(
                        workspace.path("manifest"),
                        """
                        {"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
                        "config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":2},
                        "layers":[{"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json",
                        "digest":"%s","size":%d,
                        "annotations":{"dev.cosignproject.cosign/signature":"%s"}}]}
                        """
                                .formatted(
                                        empty,
                                        layer,
                                        payload.length,
                                        Base64.getEncoder().encodeToString(signature)));
        imgctl.ok("manifest", "put", repository + ":" + signatureTag(), manifest);
    }

    private byte[] payload(String identity, String digest) {
        return """
        {"critical":{"type":"cosign container image signature",\
        "image":{"docker-manifest-digest":"%s"},\
        "identity":{"docker-reference":"%s"}},"optional":null}"""
                .formatted(digest, identity)
                .getBytes(UTF_8);
    }

    private byte[] openssl(Path with, byte[] payload) throws IOException {
        Path text = Files.write(workspace.path("signed"), payload);
        Path signature = workspace.path("signature");
        Program.of("openssl", "dgst", "-sha256", "-sign", with, "-out", signature, text).ok();
        return Files.readAllBytes(signature);
    }

    /// The daemon decides as the command does, and fetches no layer of what it refuses.
    @Test
    void daemon_signatureOfOpenssl_pullsAndTamperedOnesDoNot() throws Exception {
        String image = unsigned("trust/theirs");
        String repository = repository(image);
        String digest = workspace.image().manifestDigest();
        byte[] good = payload(repository, digest);
        Imgd imgd =
                workspace.keep(
                        Imgd.start(
                                workspace.path("d"),
                                Imgd.Mode.PASSIVE,
                                Map.of(),
                                Files.readString(config)));
        int mark = workspace.registry().mark();
        refused(imgd, image, "no signature");
        attach(image, good, openssl(key("strangers.pem"), good));
        refused(imgd, image, "key");
        byte[] elsewhere = payload("localhost/another", digest);
        attach(image, elsewhere, openssl(key, elsewhere));
        refused(imgd, image, "localhost/another");
        byte[] another = payload(repository, "sha256:" + "0".repeat(64));
        attach(image, another, openssl(key, another));
        refused(imgd, image, "it was made for the image sha256:00");
        byte[] signature = openssl(key, good);
        attach(image, new String(good, UTF_8).replace("null", "{}").getBytes(UTF_8), signature);
        refused(imgd, image, "key");
        for (Image.Layer layer : workspace.image().layers()) {
            assertTrue(
                    workspace.registry().accesses(mark).stream()
                            .noneMatch(access -> access.fetched(layer.digest())));
        }
        assertEquals("[]", imgd.imgctl().json("ls").toString());

        attach(image, good, signature);

        assertEquals(digest, imgd.imgctl().ok("pull", "-q", "--no-unpack", image));
        StoreFiles files = new StoreFiles(imgd.place().root());
        assertEquals(Set.of(), files.ingests().keySet());
    }

    private static void refused(Imgd imgd, String image, String reason) {
        String line = imgd.imgctl().fails(DENIED, "--progress", "none", "pull", image);
        assertTrue(line.contains(reason), line);
    }

    /// What names an image as its subject, one of each form.
    private enum Form {
        NOTATION_JWS,
        NOTATION_COSE,
        BUNDLE_OF_MANIFEST,
        BUNDLE_OF_STATEMENT,
        SIMPLE_SIGNING;

        boolean isNotation() {
            return this == NOTATION_JWS || this == NOTATION_COSE;
        }
    }

    /// A manifest's only layer, which holds the signature.
    private record Attachment(
            String artifactType, String layerType, byte[] layer, Map<String, String> annotations) {}

    static Stream<Arguments> formsAndRegistries() {
        return Stream.of(Form.values())
                .flatMap(form -> Stream.of(arguments(form, true), arguments(form, false)));
    }

    /// Whatever the form, and whether the registry has an endpoint for referrers or a tag instead.
    @ParameterizedTest
    @MethodSource("formsAndRegistries")
    void referrer_goodOne_isAcceptedAndATamperedOneIsNot(Form form, boolean endpoint)
            throws Exception {
        TestImage made = ImageBuilder.oci().layer(tar -> tar.file("a", "a")).build();
        InMemoryRegistry memory = workspace.keep(InMemoryRegistry.start());
        String image = memory.push("trust/app", "1", made);
        if (!endpoint) {
            String copy =
                    workspace
                            .registry()
                            .reference("trust/" + form.name().toLowerCase(Locale.ROOT) + ":1");
            imgctl.ok("copy", "docker://" + image, "docker://" + copy);
            image = copy;
            memory.clearAccessLog();
        }
        Signer signer = new Signer(made, repository(image));
        String settings = signer.settings(form);
        config = Files.writeString(workspace.path("referrers.toml"), settings);
        Imgd imgd =
                workspace.keep(
                        Imgd.start(workspace.path("d"), Imgd.Mode.PASSIVE, Map.of(), settings));
        int mark = workspace.registry().mark();

        refusedEverywhere(imgd, image, "no signature");
        attach(image, made, signer.tampered(form));
        refusedEverywhere(imgd, image, signer.reason(form));
        String layer = made.layers().getFirst().digest().toString();
        assertEquals(0, memory.gets("/blobs/" + layer));
        assertTrue(
                workspace.registry().accesses(mark).stream()
                        .noneMatch(access -> access.fetched(layer)));

        attach(image, made, signer.good(form));

        String digest = made.manifest().digest().toString();
        imgctl.ok("--config", config, "verify", image);
        assertEquals(digest, imgctl.ok("--config", config, "pull", "-q", "--no-unpack", image));
        assertEquals(digest, imgd.imgctl().ok("pull", "-q", "--no-unpack", image));
        if (endpoint) {
            assertTrue(memory.gets("/referrers/" + digest) > 0);
        } else {
            String tag = "/manifests/" + digest.replace(':', '-');
            assertTrue(
                    workspace.registry().accesses(mark).stream()
                            .anyMatch(a -> a.path().endsWith(tag) && a.status() == 200));
        }
    }

    /// An image whose signatures nobody could look at in time is not used.
    @Test
    void pull_registrySlowWithSignatures_endsInTimeAndNamesTheKey() throws Exception {
        InMemoryRegistry slow = workspace.keep(InMemoryRegistry.start());
        TestImage made = ImageBuilder.oci().layer(tar -> tar.file("a", "a")).build();
        String image = slow.push("trust/app", "1", made);
        slow.always("/referrers/", Fault.stall());
        Files.writeString(config, "timeout = \"700ms\"\n", StandardOpenOption.APPEND);

        for (String command : List.of("verify", "pull")) {
            String line =
                    imgctl.fails(
                            UNAVAILABLE, "--config", config, "--progress", "none", command, image);
            assertTrue(line.contains("700 ms"), line);
            assertTrue(line.contains("raise trust.timeout"), line);
        }
        assertEquals(0, slow.gets("/blobs/" + made.layers().getFirst().digest()));
    }

    private void refusedEverywhere(Imgd imgd, String image, String reason) {
        Program.Finished verified =
                imgctl.command("--config", config, "verify", image).run().expectExit(DENIED);
        assertTrue(verified.out().contains(reason), verified.toString());
        String line = imgctl.fails(DENIED, "--config", config, "--progress", "none", "pull", image);
        assertTrue(line.contains(reason), line);
        refused(imgd, image, reason);
    }

    /// Pushes a manifest with the image as its subject, with nothing of our signing code.
    private void attach(String image, TestImage subject, Attachment attachment) throws IOException {
        String repository = repository(image);
        imgctl.ok("blob", "put", repository, Files.writeString(workspace.path("{}"), "{}"));
        imgctl.ok(
                "blob",
                "put",
                repository,
                Files.write(workspace.path("envelope"), attachment.layer()));
        JsonWriter json =
                JsonWriter.compact()
                        .beginObject()
                        .member("schemaVersion", 2)
                        .member("mediaType", MediaType.OCI_MANIFEST)
                        .member("artifactType", attachment.artifactType());
        new Descriptor(MediaType.OCI_EMPTY, Digest.sha256("{}".getBytes(UTF_8)), 2)
                .write(json.name("config"));
        json.beginArray("layers");
        new Descriptor(
                        attachment.layerType(),
                        Digest.sha256(attachment.layer()),
                        attachment.layer().length,
                        attachment.annotations(),
                        List.of(),
                        Optional.empty(),
                        Optional.empty(),
                        Optional.empty())
                .write(json);
        json.endArray();
        subject.manifest().write(json.name("subject"));
        Path manifest = workspace.path("manifest");
        Files.write(manifest, json.endObject().toBytes());
        imgctl.ok("manifest", "put", repository, manifest);
    }

    /// Signs one image in every form, with keys and certificates of `openssl`.
    private final class Signer {
        private final TestImage image;
        private final String repository;
        private final OpenSsl openssl;
        private final Path rootKey;
        private final Path root;

        Signer(TestImage image, String repository) throws Exception {
            this.image = image;
            this.repository = repository;
            openssl = new OpenSsl(workspace.newDirectory("openssl"));
            rootKey = openssl.key("P-256");
            root =
                    openssl.root(
                            rootKey,
                            "/C=US/ST=WA/O=acme/CN=root",
                            "basicConstraints=critical,CA:TRUE",
                            "keyUsage=critical,keyCertSign,cRLSign");
        }

        /// The configuration under which these signatures count, and no others.
        String settings(Form form) throws Exception {
            Path notation = workspace.newDirectory("notation");
            Path store = Files.createDirectories(notation.resolve("truststore/x509/ca/acme"));
            Files.copy(root, store.resolve("root.pem"));
            Files.writeString(
                    notation.resolve("trustpolicy.json"),
                    """
                    {"version":"1.0","trustPolicies":[{"name":"acme","registryScopes":["*"],
                     "signatureVerification":{"level":"strict"},"trustStores":["ca:acme"],
                     "trustedIdentities":["x509.subject: C=US, ST=WA, O=acme, CN=signer"]}]}
                    """);
            String requirement =
                    form.isNotation()
                            ? "{\"type\": \"notation\"}"
                            : "{\"type\": \"sigstoreSigned\", \"keyPath\": \"%s\"}"
                                    .formatted(publicKey(key));
            Path policy =
                    Files.writeString(
                            workspace.path("referrers.json"),
                            """
                            {"default": [{"type": "reject"}],
                             "transports": {"docker": {"": [%s]}}}
                            """
                                    .formatted(requirement));
            return "[trust]\npolicy = \"%s\"\nnotation = \"%s\"\n".formatted(policy, notation);
        }

        Attachment good(Form form) throws Exception {
            return switch (form) {
                case NOTATION_JWS -> envelope(draft());
                case NOTATION_COSE -> {
                    NotationDraft draft = draft();
                    draft.cose = true;
                    yield envelope(draft);
                }
                case BUNDLE_OF_MANIFEST -> bundle(ofManifest(key));
                case BUNDLE_OF_STATEMENT -> bundle(ofStatement(CosignDocuments.SIGN));
                case SIMPLE_SIGNING -> {
                    byte[] payload = CosignDocuments.payload(image.manifest().digest(), repository);
                    yield simpleSigning(payload, openssl.sign(key, payload));
                }
            };
        }

        Attachment tampered(Form form) throws Exception {
            return switch (form) {
                case NOTATION_JWS -> {
                    String document = new String(draft().build(), UTF_8);
                    String changed = document.replace("\"payload\":\"ey", "\"payload\":\"fy");
                    assertNotEquals(document, changed);
                    yield new Attachment(
                            NotationDraft.TYPE,
                            "application/jose+json",
                            changed.getBytes(UTF_8),
                            Map.of());
                }
                case NOTATION_COSE -> {
                    NotationDraft draft = draft();
                    draft.cose = true;
                    draft.payload = NotationDraft.target(image.layers().getFirst());
                    yield envelope(draft);
                }
                case BUNDLE_OF_MANIFEST -> bundle(ofManifest(openssl.key("P-256")));
                case BUNDLE_OF_STATEMENT -> bundle(ofStatement("https://slsa.dev/provenance/v1"));
                case SIMPLE_SIGNING -> {
                    byte[] payload = CosignDocuments.payload(image.manifest().digest(), repository);
                    byte[] signature = openssl.sign(key, payload);
                    payload[payload.length - 2] = ' ';
                    yield simpleSigning(payload, signature);
                }
            };
        }

        /// Why the tampered one does not count.
        String reason(Form form) {
            return switch (form) {
                case NOTATION_JWS -> "its certificate's key did not make it";
                case NOTATION_COSE -> "it was made for " + image.layers().getFirst().digest();
                case BUNDLE_OF_MANIFEST -> "no key of the policy made it for this image";
                case BUNDLE_OF_STATEMENT -> "an attestation is no signature";
                case SIMPLE_SIGNING -> "no key of the policy made it";
            };
        }

        private NotationDraft draft() throws Exception {
            Path own = openssl.key("P-256");
            Path leaf =
                    openssl.certificate(
                            own,
                            "/C=US/ST=WA/O=acme/CN=signer",
                            root,
                            rootKey,
                            "-sha256",
                            "keyUsage=critical,digitalSignature");
            return new NotationDraft(
                    openssl,
                    "P-256",
                    own,
                    List.of(leaf, root),
                    NotationDraft.target(image.manifest()));
        }

        private Attachment envelope(NotationDraft draft) throws Exception {
            return new Attachment(NotationDraft.TYPE, draft.mediaType(), draft.build(), Map.of());
        }

        private String ofManifest(Path by) throws Exception {
            return CosignDocuments.messageBundle(openssl, by, image.content().toArray());
        }

        private String ofStatement(String predicate) throws Exception {
            return CosignDocuments.statementBundle(
                    openssl,
                    key,
                    CosignDocuments.statement(image.manifest().digest().hex(), predicate));
        }

        private Attachment bundle(String json) {
            return new Attachment(
                    CosignDocuments.BUNDLE, CosignDocuments.BUNDLE, json.getBytes(UTF_8), Map.of());
        }

        private Attachment simpleSigning(byte[] payload, byte[] signature) {
            return new Attachment(
                    CosignDocuments.SIGNATURE,
                    CosignDocuments.SIMPLE_SIGNING,
                    payload,
                    Map.of(
                            CosignDocuments.SIGNATURE_ANNOTATION,
                            Base64.getEncoder().encodeToString(signature)));
        }
    }
}
