package dev.imgd.registrytest;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.MediaType;
import dev.imgd.model.Platform;
import dev.imgd.model.Reference;
import dev.imgd.model.RegistryException;
import dev.imgd.registry.RegistryClient.FetchedManifest;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry.Access;
import dev.imgd.testkit.TestImage;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ResolveTest extends Fixture {
    private FetchedManifest resolve() throws ImageException {
        return client.resolve(reference("app:1"));
    }

    private void putManifest(String contentType, String json) {
        Bytes content = Bytes.of(json.getBytes(StandardCharsets.UTF_8));
        registry.content().putManifest("app", contentType, content, "1");
    }

    @Test
    void resolve_tag_isOnePlainGet() throws Exception {
        TestImage image = pushImage();

        FetchedManifest fetched = resolve();

        assertEquals(image.manifest(), fetched.descriptor());
        assertEquals(image.content(), fetched.content());
        assertEquals(registry.authority(), fetched.from());
        List<Access> log = registry.accessLog();
        assertEquals(1, log.size(), log.toString());
        assertEquals("GET", log.getFirst().method());
        assertEquals(Optional.of("identity"), log.getFirst().header("accept-encoding"));
        assertEquals(Optional.of("imgd"), log.getFirst().header("user-agent"));
        String accept = log.getFirst().header("accept").orElseThrow();
        for (String type :
                List.of(
                        MediaType.OCI_INDEX,
                        MediaType.OCI_MANIFEST,
                        MediaType.DOCKER_INDEX,
                        MediaType.DOCKER_MANIFEST)) {
            assertTrue(accept.contains(type), accept);
        }
    }

    @Test
    void resolve_dockerIndex_givesItAndItsManifests() throws Exception {
        TestImage amd64 = ImageBuilder.docker().layer(tar -> tar.file("a", "a")).build();
        TestImage arm64 = ImageBuilder.docker().layer(tar -> tar.file("b", "b")).build();
        TestImage index =
                TestImage.index(
                        true,
                        Map.of(
                                new Platform("linux", "amd64", ""), amd64,
                                new Platform("linux", "arm64", "v8"), arm64));
        registry.push("app", "1", index);

        assertEquals(index.manifest(), resolve().descriptor());
        FetchedManifest manifest = client.manifest(reference("app:1"), arm64.manifest());
        assertEquals(arm64.content(), manifest.content());
        assertEquals(MediaType.DOCKER_MANIFEST, manifest.descriptor().mediaType());
    }

    @Test
    void resolve_digest_ignoresTheTag() throws Exception {
        TestImage image = pushImage();
        Reference reference = reference("app:other@" + image.manifest().digest());

        assertEquals(image.manifest(), client.resolve(reference).descriptor());
    }

    @Test
    void resolve_sha512_isVerifiedAsSha512() throws Exception {
        TestImage image = pushImage();
        Digest sha512 = Digest.parse("sha512:" + "0".repeat(128));
        Digest right = image.content().digestLike(sha512);
        String type = image.manifest().mediaType();
        registry.content().putManifest("app", type, right, image.content());
        registry.content().putManifest("app", type, sha512, image.content());

        FetchedManifest fetched = client.resolve(reference("app@" + right));
        assertEquals(right, fetched.descriptor().digest());
        assertFails(ErrorKind.DATA_LOSS, () -> client.resolve(reference("app@" + sha512)));
    }

    @Test
    void resolve_unknown_namesRegistryRepositoryAndTag() {
        pushImage();
        ImageException e =
                assertFails(ErrorKind.NOT_FOUND, () -> client.resolve(reference("app:none")));
        assertTrue(e.getMessage().contains(registry.authority() + "/app:none"), e.getMessage());
        assertTrue(e.getMessage().contains("MANIFEST_UNKNOWN"), e.getMessage());
        assertEquals(404, ((RegistryException) e).status());
        assertEquals("MANIFEST_UNKNOWN", ((RegistryException) e).details().getFirst().code());
        assertEquals(1, registry.gets("/manifests/"), "a lasting failure is not retried");
    }

    @Test
    void resolve_otherBytesThanTheDigest_isDataLoss() {
        TestImage image = pushImage();
        registry.always("/manifests/", Fault.wrongByteAt(20));
        assertFails(
                ErrorKind.DATA_LOSS,
                () -> client.resolve(reference("app@" + image.manifest().digest())));
    }

    @Test
    void resolve_contentDigestHeaderIsWrong_isDataLoss() {
        pushImage();
        String other = "sha256:" + "0".repeat(64);
        registry.always("/manifests/", Fault.header("Docker-Content-Digest", other));
        ImageException e = assertFails(ErrorKind.DATA_LOSS, this::resolve);
        assertTrue(e.getMessage().contains(other), e.getMessage());
    }

    @ParameterizedTest
    @ValueSource(strings = {"latest", "sha256:../../etc/passwd", "md5:00", "sha256:ABC"})
    void resolve_contentDigestHeaderIsNone_isRefused(String header) {
        pushImage();
        registry.always("/manifests/", Fault.header("Docker-Content-Digest", header));
        assertFails(ErrorKind.INVALID_CONTENT, this::resolve);
    }

    @Test
    void resolve_endlessManifest_isCutOffAtTheLimit() {
        pushImage();
        registry.always("/manifests/", Fault.endless());
        ImageException e = assertFails(ErrorKind.LIMIT_EXCEEDED, this::resolve);
        assertTrue(e.getMessage().contains("limits.manifest_bytes"), e.getMessage());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "garbage",
                "{}",
                "[]",
                "null",
                "{\"schemaVersion\":2",
                "{\"schemaVersion\":2,\"config\":{},\"layers\":[]}",
                "{\"schemaVersion\":2,\"schemaVersion\":2,\"manifests\":[]}",
                "{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}",
                "{\"schemaVersion\":2,\"manifests\":[]} trailing",
                "{\"schemaVersion\":1e999999999,\"manifests\":[]}",
                "{\"schemaVersion\":1,\"fsLayers\":[]}",
                "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"a/b\",\"digest\":\"x\","
                        + "\"size\":1}]}",
                "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"a/b\",\"size\":-1,"
                        + "\"digest\":\"sha256:0000000000000000000000000000000000000000000000000000"
                        + "000000000000\"}]}",
            })
    void resolve_malformedManifest_isRefused(String json) {
        putManifest("application/json", json);
        ImageException e = assertFails(ErrorKind.INVALID_CONTENT, this::resolve);
        assertTrue(e.getMessage().contains("app:1"), e.getMessage());
    }

    @Test
    void resolve_deepNesting_isRefused() {
        putManifest(MediaType.OCI_INDEX, "[".repeat(100_000) + "]".repeat(100_000));
        assertFails(ErrorKind.LIMIT_EXCEEDED, this::resolve);
    }

    @Test
    void resolve_schema1_saysWhatToDo() {
        for (String type : List.of(MediaType.DOCKER_SCHEMA1, MediaType.DOCKER_SCHEMA1_SIGNED)) {
            putManifest(type, "{\"schemaVersion\":1,\"name\":\"app\",\"fsLayers\":[]}");
            ImageException e = assertFails(ErrorKind.INVALID_CONTENT, this::resolve);
            assertTrue(e.getMessage().contains("schema 1"), e.getMessage());
        }
    }

    @ParameterizedTest
    @CsvSource({
        "application/vnd.oci.image.index.v1+json, false",
        "application/vnd.docker.distribution.manifest.v2+json, false",
        "text/html, false",
        "application/vnd.oci.image.manifest.v1+json; charset=utf-8, true",
        "application/json, true",
        "application/octet-stream, true",
        "text/plain, true",
    })
    void resolve_contentType_mustAgreeWithTheDocument(String type, boolean accepted)
            throws Exception {
        TestImage image = pushImage();
        registry.content().putManifest("app", type, image.content(), "1");
        if (accepted) {
            assertEquals(MediaType.OCI_MANIFEST, resolve().descriptor().mediaType());
        } else {
            assertFails(ErrorKind.INVALID_CONTENT, this::resolve);
        }
    }

    @Test
    void manifest_registrySaysOtherTypeThanTheIndex_isRefused() {
        TestImage image = pushImage();
        Bytes untyped =
                Bytes.of(
                        new String(image.content().toArray(), StandardCharsets.UTF_8)
                                .replace("\"mediaType\":\"" + MediaType.OCI_MANIFEST + "\",", "")
                                .getBytes(StandardCharsets.UTF_8));
        registry.content().putManifest("app", MediaType.DOCKER_MANIFEST, untyped);
        Descriptor listed =
                new Descriptor(MediaType.OCI_MANIFEST, untyped.sha256(), untyped.size());
        assertFails(ErrorKind.INVALID_CONTENT, () -> client.manifest(reference("app:1"), listed));
    }

    @ParameterizedTest
    @ValueSource(ints = {-1, 1})
    void manifest_otherSizeThanListed_isDataLoss(int difference) {
        TestImage image = pushImage();
        Descriptor right = image.manifest();
        Descriptor wrong =
                new Descriptor(right.mediaType(), right.digest(), right.sizeBytes() + difference);
        assertFails(ErrorKind.DATA_LOSS, () -> client.manifest(reference("app:1"), wrong));
    }

    @Test
    void manifest_largerThanTheLimit_isNotEvenAskedFor() {
        Descriptor huge =
                new Descriptor(MediaType.OCI_MANIFEST, Digest.sha256(new byte[0]), (4 << 20) + 1);
        assertFails(ErrorKind.LIMIT_EXCEEDED, () -> client.manifest(reference("app:1"), huge));
        assertEquals(List.of(), registry.accessLog());
    }

    private static Descriptor with(Descriptor descriptor, Bytes data) {
        return new Descriptor(
                descriptor.mediaType(),
                descriptor.digest(),
                descriptor.sizeBytes(),
                Map.of(),
                List.of(),
                Optional.empty(),
                Optional.empty(),
                Optional.of(data));
    }

    @Test
    void manifest_embeddedInTheDescriptor_needsNoRequest() throws Exception {
        TestImage image = pushImage();
        Descriptor embedded = with(image.manifest(), image.content());

        assertEquals(image.content(), client.manifest(reference("app:1"), embedded).content());
        assertArrayEquals(image.content().toArray(), readBlob(embedded, 0));
        assertEquals(image.content(), client.smallBlob(reference("app:1"), embedded));
        assertEquals(List.of(), registry.accessLog());
    }

    @Test
    void manifest_embeddedDataIsWrong_isFetched() throws Exception {
        TestImage image = pushImage();
        Bytes wrong = Bytes.of(new byte[(int) image.manifest().sizeBytes()]);

        FetchedManifest fetched =
                client.manifest(reference("app:1"), with(image.manifest(), wrong));

        assertEquals(image.content(), fetched.content());
        assertEquals(1, registry.gets("/manifests/"));
    }

    @Test
    void resolve_contentEncoding_isRefused() {
        pushImage();
        for (String encoding : List.of("gzip", "zstd", "br", "gzip, identity")) {
            registry.behave();
            registry.always("/manifests/", Fault.header("Content-Encoding", encoding));
            ImageException e = assertFails(ErrorKind.INVALID_CONTENT, this::resolve);
            assertTrue(e.getMessage().contains("Content-Encoding"), e.getMessage());
        }
    }

    @Test
    void resolve_partialContent_isRefused() {
        pushImage();
        registry.always("/manifests/", Fault.contentRange("bytes 0-9/100"));
        assertFails(ErrorKind.INVALID_CONTENT, this::resolve);
    }
}
