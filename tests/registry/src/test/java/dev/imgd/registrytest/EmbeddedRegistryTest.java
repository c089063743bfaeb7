package dev.imgd.registrytest;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.imgd.model.Bytes;
import dev.imgd.model.Digest;
import dev.imgd.model.Reference;
import dev.imgd.registry.EmbeddedRegistry;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryContent;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.TestImage;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EmbeddedRegistryTest {
    @TempDir Path directory;
    private final TestImage image =
            ImageBuilder.oci().layer(tar -> tar.file("etc/motd", "hello\n")).build();
    private EmbeddedRegistry registry;
    private final HttpClient http = HttpClient.newHttpClient();

    @BeforeEach
    void start() throws IOException {
        Path blobs = Files.createDirectories(directory.resolve("blobs/sha256"));
        for (Map.Entry<Digest, Bytes> blob : image.blobs().entrySet()) {
            Files.write(blobs.resolve(blob.getKey().hex()), blob.getValue().toArray());
        }
        Files.write(blobs.resolve(image.manifest().digest().hex()), image.content().toArray());
        Files.writeString(
                directory.resolve("index.json"),
                """
                {"schemaVersion": 2, "manifests": [{"mediaType": "%s", "digest": "%s", "size": %d,
                  "annotations": {"org.opencontainers.image.ref.name": "latest"}}]}
                """
                        .formatted(
                                image.manifest().mediaType(),
                                image.manifest().digest(),
                                image.manifest().sizeBytes()));
        registry = EmbeddedRegistry.start(RegistryContent.layout(directory));
    }

    @AfterEach
    void stop() {
        registry.close();
        http.close();
    }

    private HttpResponse<byte[]> send(String method, String path, String... headers)
            throws Exception {
        HttpRequest.Builder request =
                HttpRequest.newBuilder(URI.create("http://" + registry.authority() + path))
                        .method(method, HttpRequest.BodyPublishers.noBody());
        if (headers.length > 0) {
            request.headers(headers);
        }
        return http.send(request.build(), HttpResponse.BodyHandlers.ofByteArray());
    }

    @Test
    void layout_isPulledByTheClient() throws Exception {
        try (RegistryClient client = RegistryClient.create(Fixture.QUICK)) {
            Reference reference = Reference.parse(registry.authority() + "/any/name");
            var manifest = client.resolve(reference.withDefaultTag());
            assertEquals(image.manifest(), manifest.descriptor());
            var layer = image.layers().getFirst();
            assertEquals(image.blob(layer.digest()), client.smallBlob(reference, layer));
        }
    }

    @Test
    void get_base_saysItIsARegistry() throws Exception {
        var answer = send("GET", "/v2/");
        assertEquals(200, answer.statusCode());
        assertEquals(
                "registry/2.0",
                answer.headers().firstValue("Docker-Distribution-Api-Version").orElse(""));
    }

    @Test
    void head_manifest_hasHeadersOnly() throws Exception {
        var answer = send("HEAD", "/v2/a/manifests/latest");
        assertEquals(200, answer.statusCode());
        assertEquals(
                image.manifest().digest().toString(),
                answer.headers().firstValue("Docker-Content-Digest").orElse(""));
        assertEquals(
                image.manifest().sizeBytes(),
                answer.headers().firstValueAsLong("Content-Length").orElse(-1));
        assertEquals(0, answer.body().length);
    }

    @Test
    void get_ranges_areServed() throws Exception {
        var layer = image.layers().getFirst();
        byte[] bytes = image.blob(layer.digest()).toArray();
        String path = "/v2/a/blobs/" + layer.digest();
        for (String range : new String[] {"5-9", "5-", "0-0", "5-99999999"}) {
            int from = Integer.parseInt(range.substring(0, range.indexOf('-')));
            String end = range.substring(range.indexOf('-') + 1);
            int to =
                    end.isEmpty()
                            ? bytes.length
                            : (int) Math.min(Long.parseLong(end) + 1, bytes.length);
            var answer = send("GET", path, "Range", "bytes=" + range);
            assertEquals(206, answer.statusCode(), range);
            assertArrayEquals(Arrays.copyOfRange(bytes, from, to), answer.body(), range);
            assertEquals(
                    "bytes " + from + "-" + (to - 1) + "/" + bytes.length,
                    answer.headers().firstValue("Content-Range").orElse(""));
        }
        assertEquals(416, send("GET", path, "Range", "bytes=9999999-").statusCode());
        for (String whole : new String[] {"bytes=-5", "bytes=9-5", "items=0-1", "bytes=a-b"}) {
            var answer = send("GET", path, "Range", whole);
            assertEquals(200, answer.statusCode(), whole);
            assertArrayEquals(bytes, answer.body(), whole);
        }
    }

    @Test
    void get_tags_areListed() throws Exception {
        assertEquals(
                "{\"name\":\"a/b\",\"tags\":[\"latest\"]}",
                new String(send("GET", "/v2/a/b/tags/list").body(), StandardCharsets.UTF_8));
    }

    @Test
    void get_whatIsNotThere_isNotFound() throws Exception {
        String none = "sha256:" + "0".repeat(64);
        assertEquals(404, send("GET", "/v2/a/manifests/none").statusCode());
        assertEquals(404, send("GET", "/v2/a/manifests/" + none).statusCode());
        assertEquals(404, send("GET", "/v2/a/blobs/" + none).statusCode());
        assertEquals(404, send("GET", "/etc/passwd").statusCode());
        assertEquals(400, send("GET", "/v2/a/blobs/sha256:..%2f..%2findex.json").statusCode());
    }

    @Test
    void write_isRefused() throws Exception {
        for (String method : new String[] {"PUT", "POST", "DELETE", "PATCH"}) {
            assertEquals(405, send(method, "/v2/a/blobs/uploads/").statusCode(), method);
        }
    }
}
