package dev.imgd.testkit;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.Index;
import dev.imgd.model.Json;
import dev.imgd.model.MediaType;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import javax.net.ssl.KeyManager;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLException;
import javax.net.ssl.TrustManager;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// What the published suite of the specification does not try, with the JDK's HTTP client.
@Timeout(60)
class InMemoryRegistryTest {
    private static final byte[] BLOB = new byte[10_000];

    static {
        new Random(1).nextBytes(BLOB);
    }

    private final HttpClient http = HttpClient.newHttpClient();
    private InMemoryRegistry registry;

    @BeforeEach
    void start() throws IOException {
        registry = InMemoryRegistry.start();
    }

    @AfterEach
    void stop() {
        registry.close();
        http.close();
    }

    private HttpResponse<byte[]> send(String method, String path, byte[] body, String... headers)
            throws Exception {
        BodyPublisher publisher =
                body.length == 0 ? BodyPublishers.noBody() : BodyPublishers.ofByteArray(body);
        HttpRequest.Builder request =
                HttpRequest.newBuilder(URI.create("http://" + registry.authority() + path))
                        .method(method, publisher);
        if (headers.length > 0) {
            request.headers(headers);
        }
        return http.send(request.build(), BodyHandlers.ofByteArray());
    }

    private static String header(HttpResponse<?> response, String name) {
        return response.headers().firstValue(name).orElse("");
    }

    private static String code(HttpResponse<byte[]> response) throws Exception {
        return Json.parse("errors", response.body()).items("errors").getFirst().text("code", "");
    }

    private String begin(String repository) throws Exception {
        HttpResponse<byte[]> begun =
                send("POST", "/v2/" + repository + "/blobs/uploads/", new byte[0]);
        assertEquals(202, begun.statusCode());
        return header(begun, "Location");
    }

    private static byte[] part(int from, int to) {
        return Arrays.copyOfRange(BLOB, from, to);
    }

    @Test
    void upload_connectionBreaks_goesOnWhereTheStatusSays() throws Exception {
        String location = begin("app");
        registry.breakUploads(4000);
        assertThrows(IOException.class, () -> send("PATCH", location, BLOB));
        HttpResponse<byte[]> status = send("GET", location, new byte[0]);
        assertEquals(204, status.statusCode());
        assertEquals("0-3999", header(status, "Range"));

        HttpResponse<byte[]> again = send("PATCH", location, BLOB, "Content-Range", "0-9999");
        assertEquals(416, again.statusCode());
        assertEquals("0-3999", header(again, "Range"));
        HttpResponse<byte[]> rest =
                send(
                        "PATCH",
                        header(again, "Location"),
                        part(4000, BLOB.length),
                        "Content-Range",
                        "4000-9999");
        assertEquals(202, rest.statusCode());
        Digest digest = Digest.sha256(BLOB);
        HttpResponse<byte[]> done =
                send("PUT", header(rest, "Location") + "&digest=" + digest, new byte[0]);
        assertEquals(201, done.statusCode());
        assertArrayEquals(BLOB, send("GET", header(done, "Location"), new byte[0]).body());
        assertEquals(0, registry.openUploads());
    }

    @Test
    void upload_shortChunkBeforeTheLast_isRefused() throws Exception {
        registry.minimumChunk(4096);
        HttpResponse<byte[]> begun = send("POST", "/v2/app/blobs/uploads/", new byte[0]);
        assertEquals("4096", header(begun, "OCI-Chunk-Min-Length"));
        String location = header(begun, "Location");
        assertEquals(202, send("PATCH", location, part(0, 100)).statusCode());
        HttpResponse<byte[]> refused = send("PATCH", location, part(100, 5000));
        assertEquals(400, refused.statusCode());
        assertEquals("BLOB_UPLOAD_INVALID", code(refused));
    }

    @Test
    void upload_queryLeftOutOrForgotten_isRefused() throws Exception {
        String location = begin("app");
        String bare = location.substring(0, location.indexOf('?'));
        assertEquals(400, send("PATCH", bare, BLOB).statusCode());
        registry.forgetUploads();
        HttpResponse<byte[]> forgotten = send("PATCH", location, BLOB);
        assertEquals(404, forgotten.statusCode());
        assertEquals("BLOB_UPLOAD_UNKNOWN", code(forgotten));
    }

    @ParameterizedTest
    @CsvSource({
        // mount from, missing feature, status
        "other, , 201",
        "none, , 202",
        "'', , 201",
        "other, MOUNT, 202",
        "'', ANONYMOUS_MOUNT, 202",
    })
    void mount_whatIsThere_isMounted(String from, RegistryFeature missing, int status)
            throws Exception {
        if (missing != null) {
            registry.without(missing);
        }
        Digest digest = Digest.sha256(BLOB);
        registry.content().putBlob("other", digest, BLOB);
        String query = "?mount=" + digest + (from.isEmpty() ? "" : "&from=" + from);
        HttpResponse<byte[]> mounted = send("POST", "/v2/app/blobs/uploads/" + query, new byte[0]);
        assertEquals(status, mounted.statusCode());
        int found = send("HEAD", "/v2/app/blobs/" + digest, new byte[0]).statusCode();
        assertEquals(status == 201 ? 200 : 404, found, "a blob belongs to its repository");
    }

    private HttpResponse<byte[]> putManifest(String reference, String json, String... headers)
            throws Exception {
        List<String> all = new ArrayList<>(List.of(headers));
        all.addAll(List.of("Content-Type", MediaType.OCI_MANIFEST));
        return send(
                "PUT",
                "/v2/app/manifests/" + reference,
                json.getBytes(StandardCharsets.UTF_8),
                all.toArray(new String[0]));
    }

    private static String manifest(String more) {
        return "{\"schemaVersion\":2" + more + '}';
    }

    @Test
    void manifest_missingBlob_isRefusedUnlessSparse() throws Exception {
        String json =
                manifest(
                        ",\"layers\":[{\"mediaType\":\"%s\",\"size\":1,\"digest\":\"%s\"}]"
                                .formatted(MediaType.OCI_LAYER, Digest.sha256(BLOB)));
        HttpResponse<byte[]> refused = putManifest("1", json);
        assertEquals(400, refused.statusCode());
        assertEquals("MANIFEST_BLOB_UNKNOWN", code(refused));
        registry.with(RegistryFeature.SPARSE);
        assertEquals(201, putManifest("1", json).statusCode());
    }

    @Test
    void manifest_condition_guardsTheTag() throws Exception {
        HttpResponse<byte[]> first = putManifest("1", manifest(""), "If-None-Match", "*");
        assertEquals(201, first.statusCode());
        String other = manifest(",\"annotations\":{\"a\":\"b\"}");
        assertEquals(412, putManifest("1", other, "If-None-Match", "*").statusCode());
        assertEquals(412, putManifest("1", other, "If-Match", "\"sha256:0\"").statusCode());
        String etag = header(first, "ETag");
        assertEquals(201, putManifest("1", other, "If-Match", etag).statusCode());
        assertEquals(412, putManifest("1", other, "If-Match", etag).statusCode());
        registry.without(RegistryFeature.ETAGS);
        assertEquals(201, putManifest("1", other, "If-Match", etag).statusCode());
    }

    @Test
    void manifest_hostile_isRefused() throws Exception {
        assertEquals(400, putManifest("1", "{").statusCode());
        assertEquals(400, putManifest("1", manifest(",\"mediaType\":\"x/y\"")).statusCode());
        assertEquals(400, putManifest("-1", manifest("")).statusCode());
        String other = Digest.sha256(BLOB).toString();
        assertEquals("DIGEST_INVALID", code(putManifest(other, manifest(""))));
        assertEquals(413, putManifest("1", " ".repeat((4 << 20) + 1)).statusCode());
        assertEquals(List.of(), registry.content().repositories());
    }

    @ParameterizedTest
    @CsvSource({"3, '', 3", "0, 3, 3", "0, '', 10", "3, 2, 2"})
    void tags_pages_areWholeAndLinked(int limit, String n, int size) throws Exception {
        for (int i = 0; i < 10; i++) {
            String tag = "v" + i;
            byte[] content = manifest("").getBytes(StandardCharsets.UTF_8);
            registry.content().putManifest("app", MediaType.OCI_MANIFEST, Bytes.of(content), tag);
        }
        if (limit > 0) {
            registry.pageLimit(limit);
        }
        List<String> tags = new ArrayList<>();
        String next = "/v2/app/tags/list" + (n.isEmpty() ? "" : "?n=" + n);
        int pages = 0;
        while (!next.isEmpty()) {
            HttpResponse<byte[]> page = send("GET", next, new byte[0]);
            assertEquals(200, page.statusCode());
            tags.addAll(Json.parse("tags", page.body()).texts("tags"));
            String link = header(page, "Link");
            next = link.isEmpty() ? "" : link.substring(1, link.indexOf('>'));
            pages++;
        }
        assertEquals((10 + size - 1) / size, pages);
        assertEquals(10, tags.size());
        assertEquals(tags.stream().sorted().distinct().toList(), tags);
    }

    @Test
    void referrers_filterAndPages_areHonest() throws Exception {
        String subject = Digest.sha256(BLOB).toString();
        for (int i = 0; i < 4; i++) {
            String json =
                    manifest(
                            ",\"artifactType\":\"a/%d\",\"annotations\":{\"n\":\"%d\"}"
                                            .formatted(i % 2, i)
                                    + ",\"subject\":{\"digest\":\""
                                    + subject
                                    + "\"}");
            HttpResponse<byte[]> put =
                    putManifest(
                            Digest.sha256(json.getBytes(StandardCharsets.UTF_8)).toString(), json);
            assertEquals(201, put.statusCode());
            assertEquals(subject, header(put, "OCI-Subject"));
        }
        String path = "/v2/app/referrers/" + subject;
        assertEquals(4, referrers(path, "").size());
        assertEquals(2, referrers(path + "?artifactType=a%2F1", "artifactType").size());
        registry.pageLimit(1);
        assertEquals(2, referrers(path + "?artifactType=a%2F1", "artifactType").size());
        assertEquals(4, referrers(path, "").size());
        registry.without(RegistryFeature.REFERRERS_FILTER);
        assertEquals(4, referrers(path + "?artifactType=a%2F1", "").size());
        registry.without(RegistryFeature.REFERRERS);
        assertEquals(404, send("GET", path, new byte[0]).statusCode());
    }

    private List<Descriptor> referrers(String path, String filters) throws Exception {
        List<Descriptor> all = new ArrayList<>();
        String next = path;
        while (!next.isEmpty()) {
            HttpResponse<byte[]> page = send("GET", next, new byte[0]);
            assertEquals(filters, header(page, "OCI-Filters-Applied"));
            assertEquals(MediaType.OCI_INDEX, header(page, "Content-Type"));
            all.addAll(
                    Index.parse(
                                    "referrers",
                                    Bytes.of(page.body()),
                                    Optional.of(MediaType.OCI_INDEX))
                            .manifests());
            String link = header(page, "Link");
            next = link.isEmpty() ? "" : link.substring(1, link.indexOf('>'));
        }
        return all;
    }

    @Test
    void delete_taggedManifest_takesItsTags() throws Exception {
        assertEquals(201, putManifest("1", manifest("")).statusCode());
        assertEquals(201, putManifest("2", manifest("")).statusCode());
        assertEquals(202, send("DELETE", "/v2/app/manifests/1", new byte[0]).statusCode());
        assertEquals(List.of("2"), registry.content().tags("app"));
        String digest = Digest.sha256(manifest("").getBytes(StandardCharsets.UTF_8)).toString();
        String path = "/v2/app/manifests/" + digest;
        assertEquals(202, send("DELETE", path, new byte[0]).statusCode());
        assertEquals(404, send("DELETE", path, new byte[0]).statusCode());
        assertEquals(List.of(), registry.content().tags("app"));
        registry.without(RegistryFeature.DELETE);
        assertEquals(405, send("DELETE", path, new byte[0]).statusCode());
    }

    private static int getTls(
            InMemoryRegistry secure, TestAuthority trusted, TestAuthority.Identity client)
            throws Exception {
        SSLContext context = SSLContext.getInstance("TLS");
        var tls = trusted.tls(client);
        context.init(
                tls.keyManagers().toArray(new KeyManager[0]),
                new TrustManager[] {tls.trustManager()},
                null);
        try (HttpClient one = HttpClient.newBuilder().sslContext(context).build()) {
            URI uri = URI.create("https://" + secure.authority() + "/v2/");
            return one.send(HttpRequest.newBuilder(uri).build(), BodyHandlers.discarding())
                    .statusCode();
        }
    }

    @Test
    void tls_certificates_areCheckedOnBothSides() throws Exception {
        TestAuthority authority = TestAuthority.create("test authority");
        TestAuthority stranger = TestAuthority.create("a stranger");
        try (InMemoryRegistry secure =
                InMemoryRegistry.startTls(authority.server("localhost"), null)) {
            assertEquals(200, getTls(secure, authority, null));
            assertThrows(SSLException.class, () -> getTls(secure, stranger, null));
            secure.present(authority.expiredServer("localhost"), null);
            assertThrows(SSLException.class, () -> getTls(secure, authority, null));
            secure.present(authority.server("elsewhere.test"), null);
            assertThrows(SSLException.class, () -> getTls(secure, authority, null));

            secure.present(authority.server("localhost"), authority);
            assertEquals(200, getTls(secure, authority, authority.client("me")));
            assertThrows(IOException.class, () -> getTls(secure, authority, null));
            assertThrows(IOException.class, () -> getTls(secure, authority, stranger.client("me")));
            secure.tlsFault(TlsFault.ABORT);
            assertThrows(
                    IOException.class, () -> getTls(secure, authority, authority.client("me")));
            secure.tlsFault(TlsFault.PLAIN);
            assertThrows(
                    SSLException.class, () -> getTls(secure, authority, authority.client("me")));
            secure.tlsFault(TlsFault.NONE);
            assertEquals(200, getTls(secure, authority, authority.client("me")));
        }
    }

    @Test
    void accessLog_target_keepsTheQuery() throws Exception {
        assertEquals(404, send("GET", "/v2/app/tags/list?n=5", new byte[0]).statusCode());
        InMemoryRegistry.Access access = registry.accessLog().getFirst();
        assertEquals("/v2/app/tags/list", access.path());
        assertTrue(access.target().endsWith("?n=5"), access.target());
    }
}
