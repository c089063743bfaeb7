package dev.imgd.e2e;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;

/// A policy with a key of `openssl`: it accepts what we sign, we accept what it signs, and not what
/// was tampered with.
@Tag("root")
class TrustIT {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final int DENIED = 4;

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
}
