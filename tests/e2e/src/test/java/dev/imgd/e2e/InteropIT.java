package dev.imgd.e2e;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.MediaType;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TestImage;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;

/// Images that are less usual, handed back and forth with containerd, skopeo and the plain API of
/// docker-registry.
@Tag("root")
class InteropIT {
    private static final ObjectMapper JSON = new ObjectMapper();

    @RegisterExtension final Workspace workspace = new Workspace();

    private Imgctl imgctl = Imgctl.embedded(Path.of(""));

    @BeforeEach
    void setUp() {
        imgctl = Imgctl.embedded(workspace.path("store"));
    }

    private String name(String rest) {
        return workspace.registry().reference(rest);
    }

    /// Brings an image into docker-registry with our means.
    private void copyOurs(TestImage image, String target) throws IOException {
        try (InMemoryRegistry memory = InMemoryRegistry.start()) {
            String source = memory.push("source", "1", image);
            assertEquals(
                    image.manifest().digest().toString(),
                    imgctl.ok(
                            "copy",
                            "-q",
                            "--all-platforms",
                            "docker://" + source,
                            "docker://" + target));
        }
    }

    /// Of the OCI with gzip, zstd and plain layers; of Docker's schema 2.
    @ParameterizedTest
    @ValueSource(strings = {"oci", "docker"})
    void containerd_multiPlatform_pullsOursAndWePullItsOwn(String kind) throws Exception {
        TestImage image = PushIT.multiPlatform(kind.equals("docker"));
        String wanted = image.manifest().digest().toString();
        String ours = name(kind + "/for-containerd:1");
        copyOurs(image, ours);
        Containerd containerd =
                workspace.keep(
                        Containerd.start(
                                workspace.path("c"), "overlayfs", workspace.path("none.sock")));
        // Unpacks them too, which checks every diffID.
        containerd.ctr("images", "pull", "--plain-http", "--all-platforms", ours).ok();
        String listed = containerd.ctr("images", "ls").ok();
        assertTrue(listed.contains(wanted), listed);

        String theirs = name(kind + "/from-containerd:1");
        containerd.ctr("images", "push", "--plain-http", theirs, ours).ok();
        JsonNode pulled = imgctl.json("pull", "--all-platforms", theirs);
        assertEquals(wanted, pulled.get("digest").asString());
        JsonNode stored = imgctl.json("ls").get(0);
        assertEquals(3, stored.get("platforms").size(), stored.toString());
        assertEquals("", imgctl.ok("fsck", "--rehash"));
    }

    private HttpResponse<byte[]> ask(
            HttpClient client, String method, URI uri, String type, byte[] body) throws Exception {
        HttpRequest.Builder request =
                HttpRequest.newBuilder(uri).method(method, BodyPublishers.ofByteArray(body));
        request.header(method.equals("GET") ? "Accept" : "Content-Type", type);
        return client.send(request.build(), BodyHandlers.ofByteArray());
    }

    private URI api(String path) {
        return URI.create("http://" + name("").replaceFirst("/$", "") + "/v2/" + path);
    }

    @ParameterizedTest
    @ValueSource(strings = {"oci", "docker"})
    void registryApi_everyDocumentAndBlob_readAndWritten(String kind) throws Exception {
        TestImage image = PushIT.multiPlatform(kind.equals("docker"));
        String repository = kind + "/api";
        copyOurs(image, name(repository + ":1"));
        try (HttpClient client = HttpClient.newHttpClient()) {
            String index = image.manifest().mediaType();
            HttpResponse<byte[]> named =
                    ask(client, "GET", api(repository + "/manifests/1"), index, new byte[0]);
            assertEquals(image.content(), Bytes.of(named.body()));
            assertEquals(
                    image.manifest().digest().toString(),
                    named.headers().firstValue("Docker-Content-Digest").orElseThrow());
            assertEquals(index, named.headers().firstValue("Content-Type").orElseThrow());
            for (Map.Entry<Descriptor, Bytes> manifest : image.manifests().entrySet()) {
                URI uri = api(repository + "/manifests/" + manifest.getKey().digest());
                String type = manifest.getKey().mediaType();
                assertEquals(
                        manifest.getValue(),
                        Bytes.of(ask(client, "GET", uri, type, new byte[0]).body()));
            }
            for (Map.Entry<Digest, Bytes> blob : image.blobs().entrySet()) {
                URI uri = api(repository + "/blobs/" + blob.getKey());
                assertEquals(
                        blob.getValue(),
                        Bytes.of(ask(client, "GET", uri, "*/*", new byte[0]).body()));
            }
            HttpResponse<byte[]> tags =
                    ask(client, "GET", api(repository + "/tags/list"), "*/*", new byte[0]);
            assertEquals("1", JSON.readTree(tags.body()).get("tags").get(0).asString());

            write(client, image, kind + "/written");
        }
        JsonNode pulled = imgctl.json("pull", "--all-platforms", name(kind + "/written:1"));
        assertEquals(image.manifest().digest().toString(), pulled.get("digest").asString());
    }

    private void write(HttpClient client, TestImage image, String repository) throws Exception {
        for (Map.Entry<Digest, Bytes> blob : image.blobs().entrySet()) {
            HttpResponse<byte[]> begun =
                    ask(
                            client,
                            "POST",
                            api(repository + "/blobs/uploads/"),
                            "text/plain",
                            new byte[0]);
            URI place =
                    URI.create(
                            begun.headers().firstValue("Location").orElseThrow()
                                    + "&digest="
                                    + blob.getKey());
            byte[] content = blob.getValue().toArray();
            String type = "application/octet-stream";
            assertEquals(201, ask(client, "PUT", place, type, content).statusCode());
        }
        // What an index lists has to be there before it.
        for (Map.Entry<Descriptor, Bytes> manifest : image.manifests().entrySet()) {
            if (!manifest.getKey().equals(image.manifest())) {
                put(client, repository, manifest.getKey().digest().toString(), manifest);
            }
        }
        put(client, repository, "1", Map.entry(image.manifest(), image.content()));
    }

    private void put(
            HttpClient client, String repository, String as, Map.Entry<Descriptor, Bytes> manifest)
            throws Exception {
        HttpResponse<byte[]> answer =
                ask(
                        client,
                        "PUT",
                        api(repository + "/manifests/" + as),
                        manifest.getKey().mediaType(),
                        manifest.getValue().toArray());
        assertEquals(201, answer.statusCode(), new String(answer.body(), UTF_8));
    }

    /// A layer that is not to be distributed stays where it is, for us as for skopeo.
    @Test
    void foreignLayer_docker_staysAtItsPlace() throws Exception {
        TestImage whole =
                ImageBuilder.docker()
                        .layer(tar -> tar.file("theirs", "theirs"))
                        .layer(tar -> tar.file("ours", "ours"))
                        .build();
        Descriptor layer = whole.layers().getFirst();
        String text = new String(whole.content().toArray(), UTF_8);
        String own = MediaType.DOCKER_LAYER_GZIP + "\",\"digest\":\"" + layer.digest() + "\"";
        assertTrue(text.contains(own), text);
        Bytes foreign =
                Bytes.of(
                        text.replace(
                                        own,
                                        own.replace(
                                                        MediaType.DOCKER_LAYER_GZIP,
                                                        MediaType.DOCKER_FOREIGN_LAYER_GZIP)
                                                + ",\"urls\":[\"https://example.com/layer\"]")
                                .getBytes(UTF_8));
        DockerRegistry permissive =
                workspace.keep(
                        DockerRegistry.open(
                                workspace.path("r"),
                                Map.of(
                                        "REGISTRY_VALIDATION_MANIFESTS_URLS_ALLOW",
                                        "['^https://example\\.com/']")));
        try (InMemoryRegistry memory = InMemoryRegistry.start()) {
            memory.push("a", "whole", whole);
            memory.content().putManifest("a", MediaType.DOCKER_MANIFEST, foreign, "1");
            JsonNode copied =
                    imgctl.json(
                            "copy",
                            "docker://" + memory.authority() + "/a:1",
                            "docker://" + permissive.reference("ours:1"));
            assertEquals(1, copied.get("skippedBlobs").asInt(), copied.toString());
        }
        assertEquals(foreign.sha256().toString(), Skopeo.digest(permissive.reference("ours:1")));
        imgctl.fails(3, "blob", "get", permissive.reference("ours@" + layer.digest()));
        String off =
                imgctl.fails(
                        4,
                        "copy",
                        "-q",
                        "--foreign-layers",
                        "docker://" + permissive.reference("ours:1"),
                        "oci:" + workspace.path("x"));
        assertTrue(off.contains("set registry.foreign_layers = true"), off);
        Skopeo.copy(
                "docker://" + permissive.reference("ours:1"),
                "docker://" + permissive.reference("skopeos:1"));
        assertEquals(
                foreign.sha256().toString(),
                imgctl.ok("manifest", "digest", permissive.reference("skopeos:1")));
    }

    @Test
    void tags_tenThousandInDockerRegistry_sameAsSkopeo() throws Exception {
        Path directory = workspace.path("r");
        DockerRegistry many = workspace.keep(DockerRegistry.open(directory));
        imgctl.ok(
                "copy", "docker://" + workspace.reference(), "docker://" + many.reference("m:v0"));
        Path tags = directory.resolve("data/docker/registry/v2/repositories/m/_manifests/tags");
        for (int i = 1; i < 10_000; i++) {
            Files.createDirectory(tags.resolve("v" + i));
        }
        Path last = Files.createDirectory(tags.resolve("v9999/current"));
        Files.copy(tags.resolve("v0/current/link"), last.resolve("link"));
        List<String> listed = imgctl.ok("registry", "tags", many.reference("m")).lines().toList();
        assertEquals(10_000, listed.size());
        Set<String> skopeos = new HashSet<>();
        JSON.readTree(
                        Program.of(
                                        "skopeo",
                                        "list-tags",
                                        "--tls-verify=false",
                                        "docker://" + many.reference("m"))
                                .ok())
                .get("Tags")
                .forEach(tag -> skopeos.add(tag.asString()));
        assertEquals(skopeos, new HashSet<>(listed));
        assertEquals(
                workspace.image().manifestDigest(),
                imgctl.ok("manifest", "digest", many.reference("m:v9999")));
    }

    @Test
    void delete_registryThatDeletes_goneForSkopeoToo() throws Exception {
        DockerRegistry deleting =
                workspace.keep(
                        DockerRegistry.open(
                                workspace.path("r"),
                                Map.of("REGISTRY_STORAGE_DELETE_ENABLED", "true")));
        String digest = workspace.image().manifestDigest();
        String image = deleting.reference("d:1");
        imgctl.ok("copy", "docker://" + workspace.reference(), "docker://" + image);
        assertEquals(digest, Skopeo.digest(image));
        imgctl.ok("registry", "delete", deleting.reference("d@" + digest));
        imgctl.fails(3, "manifest", "digest", image);
        Program.Finished gone =
                Program.of("skopeo", "inspect", "--tls-verify=false", "docker://" + image).run();
        assertTrue(gone.exit() != 0 && gone.err().contains("manifest unknown"), gone.toString());
    }
}
