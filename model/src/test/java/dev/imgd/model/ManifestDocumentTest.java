package dev.imgd.model;

import static dev.imgd.model.Errors.assertFails;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ManifestDocumentTest {
    private static final String EMPTY =
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    private static final String DIGEST = "sha256:" + "ab".repeat(32);
    private static final String CONFIG = descriptor(MediaType.OCI_CONFIG);

    private static String descriptor(String mediaType) {
        return "{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":7}".formatted(mediaType, DIGEST);
    }

    private static ManifestDocument parse(String json) throws ImageException {
        return ManifestDocument.parse("doc", Samples.bytes(json), Optional.empty());
    }

    private static ManifestDocument parse(String json, String declared) throws ImageException {
        return ManifestDocument.parse("doc", Samples.bytes(json), Optional.of(declared));
    }

    private static Descriptor readDescriptor(String json) throws ImageException {
        return Descriptor.read(Json.parse("doc", Samples.bytes(json).toArray()));
    }

    @Test
    void parse_noMediaType_decidesByContent() throws Exception {
        assertInstanceOf(Index.class, parse("{\"schemaVersion\":2,\"manifests\":[]}"));
        assertInstanceOf(Manifest.class, parse("{\"schemaVersion\":2,\"config\":" + CONFIG + "}"));
        assertEquals(
                MediaType.DOCKER_INDEX,
                parse("{\"manifests\":[]}", MediaType.DOCKER_INDEX).mediaType());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "application/json",
                "application/octet-stream",
                "text/plain; charset=utf-8",
                "application/vnd.docker.distribution.manifest.v2+json; charset=utf-8",
                "",
            })
    void parse_generalOrEqualDeclaration_isAccepted(String declared) throws Exception {
        assertEquals(
                MediaType.DOCKER_MANIFEST,
                ManifestDocument.parse("doc", Samples.DOCKER_MANIFEST, Optional.of(declared))
                        .mediaType());
    }

    @Test
    void parse_manifestsAndLayers_isAmbiguous() {
        for (String both :
                List.of(
                        "{\"manifests\":[],\"layers\":[]}",
                        "{\"manifests\":[],\"config\":" + CONFIG + "}",
                        "{\"mediaType\":\"" + MediaType.OCI_INDEX + "\",\"layers\":[]}",
                        "{\"mediaType\":\""
                                + MediaType.OCI_INDEX
                                + "\",\"manifests\":[],\"config\":{}}",
                        "{\"mediaType\":\"" + MediaType.OCI_MANIFEST + "\",\"manifests\":[]}",
                        "{\"config\":" + CONFIG + ",\"Manifests\":[]}",
                        "{\"manifests\":[],\"LAYERS\":[]}",
                        "{\"manifests\":[],\"MediaType\":\"x\"}")) {
            assertFails(
                    ErrorKind.INVALID_CONTENT,
                    "doc: ambiguous manifest refused",
                    () -> parse(both));
        }
        assertFails(
                ErrorKind.INVALID_CONTENT,
                "ambiguous",
                () -> parse("{\"manifests\":[]}", MediaType.OCI_MANIFEST));
    }

    @Test
    void parse_declaredTypeDiffers_isAmbiguous() {
        assertFails(
                ErrorKind.INVALID_CONTENT,
                "it says it is \"application/vnd.docker.distribution.manifest.v2+json\", but"
                        + " was declared as \"application/vnd.oci.image.manifest.v1+json\"",
                () ->
                        ManifestDocument.parse(
                                "doc",
                                Samples.DOCKER_MANIFEST,
                                Optional.of(MediaType.OCI_MANIFEST)));
    }

    @Test
    void parse_schema1_saysWhatToDo() {
        String advice = "schema 1 manifest, which is not supported";
        for (String json :
                List.of(
                        "{\"schemaVersion\":1,\"fsLayers\":[{\"blobSum\":\"" + DIGEST + "\"}]}",
                        "{\"schemaVersion\":1}",
                        "{\"schemaVersion\":2,\"fsLayers\":[],\"manifests\":[]}",
                        "{\"mediaType\":\"" + MediaType.DOCKER_SCHEMA1_SIGNED + "\"}")) {
            assertFails(ErrorKind.INVALID_CONTENT, advice, () -> parse(json));
        }
        assertFails(
                ErrorKind.INVALID_CONTENT,
                advice,
                () -> parse("{}", MediaType.DOCKER_SCHEMA1_SIGNED));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '\'',
            value = {
                "[] | doc: wanted an object, got an array",
                "null | doc: wanted an object, got null",
                "{} | got no",
                "{\"schemaVersion\":3,\"manifests\":[]} | schemaVersion: wanted 2, got 3",
                "{\"schemaVersion\":\"2\",\"manifests\":[]} | schemaVersion: wanted a number",
                "{\"mediaType\":\"text/html\"} | got the media type \"text/html\"",
                "{\"mediaType\":7,\"manifests\":[]} | mediaType: wanted a string",
                "{\"manifests\":{}} | manifests: wanted an array, got an object",
                "{\"manifests\":[7]} | manifests[0]: wanted an object, got a number",
                "{\"layers\":[]} | \"config\" is missing",
                "{\"layers\":[],\"config\":\"x\"} | config: wanted an object",
                "{\"manifests\":[],\"annotations\":{\"a\":1}} | annotations.a: wanted a string",
                "{\"manifests\":[],\"subject\":{}} | subject: \"mediaType\" is missing",
            })
    void parse_wrongShape_saysWhere(String json, String message) {
        assertFails(ErrorKind.INVALID_CONTENT, message, () -> parse(json));
    }

    @Test
    void parse_nullLists_areEmpty() throws Exception {
        Manifest manifest =
                (Manifest)
                        parse("{\"layers\":null,\"annotations\":null,\"config\":" + CONFIG + "}");
        assertEquals(List.of(), manifest.layers());
        assertTrue(manifest.isImage());
        Index index = (Index) parse("{\"manifests\":null}", MediaType.OCI_INDEX);
        assertEquals(List.of(), index.manifests());
    }

    @Test
    void parse_artifact_isKeptButNoImage() throws Exception {
        Manifest artifact =
                (Manifest)
                        parse(
                                """
                                {"schemaVersion":2,"artifactType":"application/vnd.example",
                                 "config":{"mediaType":"application/vnd.oci.empty.v1+json","size":2,
                                  "digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
                                  "data":"e30="},
                                 "layers":[%s],"subject":%s,"annotations":{"k":"v"}}"""
                                        .formatted(descriptor("text/plain"), CONFIG));
        assertFalse(artifact.isImage());
        assertEquals(1, artifact.layers().size());
        assertEquals(List.of(), artifact.imageLayers());
        assertEquals(Optional.of("application/vnd.example"), artifact.artifactType());
        assertEquals(Map.of("k", "v"), artifact.annotations());
        assertEquals(DIGEST, artifact.subject().orElseThrow().digest().toString());
        assertEquals(Optional.of(Samples.bytes("{}")), artifact.config().verifiedData("config"));
    }

    @Test
    void isImage_signatureWithImageConfig_isNot() throws Exception {
        String layer = descriptor("application/vnd.dev.cosign.simplesigning.v1+json");
        Manifest signature =
                (Manifest) parse("{\"config\":" + CONFIG + ",\"layers\":[" + layer + "]}");
        assertFalse(signature.isImage());
    }

    @Test
    void isImage_legacyDockerConfig_is() throws Exception {
        String json =
                "{\"config\":%s,\"layers\":[%s]}"
                        .formatted(
                                descriptor("application/octet-stream"),
                                descriptor(MediaType.DOCKER_LAYER_GZIP));
        assertTrue(((Manifest) parse(json, MediaType.DOCKER_MANIFEST)).isImage());
        assertFalse(((Manifest) parse(json, MediaType.OCI_MANIFEST)).isImage());
    }

    @Test
    void parse_tooManyLayersOrDescriptors_namesTheKey() throws Exception {
        String layer = descriptor(MediaType.OCI_LAYER_GZIP);
        String layers =
                "{\"config\":" + CONFIG + ",\"layers\":[" + layer + ",%s".repeat(500) + "]}";
        String tooMany = layers.replace("%s", layer);
        assertFails(
                ErrorKind.LIMIT_EXCEEDED,
                "doc: 501 layers: exceeds the limit of 500; raise limits.layers",
                () -> parse(tooMany));
        Limits raised = Limits.defaults().with("limits.layers", 501);
        ManifestDocument.parse("doc", Samples.bytes(tooMany), Optional.empty(), raised);
        Limits few = Limits.defaults().with("limits.descriptors", 1);
        assertFails(
                ErrorKind.LIMIT_EXCEEDED,
                "limits.descriptors",
                () -> ManifestDocument.parse("doc", Samples.OCI_INDEX, Optional.empty(), few));
    }

    @Test
    void typedParse_otherKind_saysWhatItIs() {
        assertFails(
                ErrorKind.INVALID_CONTENT,
                "got an index",
                () -> Manifest.parse("doc", Samples.OCI_INDEX, Optional.empty()));
        assertFails(
                ErrorKind.INVALID_CONTENT,
                "got the manifest of one image",
                () -> Index.parse("doc", Samples.OCI_MANIFEST, Optional.empty()));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '\'',
            value = {
                "-1 | size: wanted an integer from 0 to 1099511627776, got -1",
                "1099511627777 | size: wanted an integer",
                "9223372036854775808 | size: wanted an integer",
                "1.5 | size: wanted an integer",
                "1e3 | size: wanted an integer",
                "\"7\" | size: wanted a number, got a string",
                "null | \"size\" is missing",
                "0 | size: 0 bytes cannot have the digest",
            })
    void descriptor_badSize_fails(String size, String message) {
        String json = "{\"mediaType\":\"a\",\"digest\":\"" + DIGEST + "\",\"size\":" + size + "}";
        assertFails(ErrorKind.INVALID_CONTENT, message, () -> readDescriptor(json));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "sha256:AB",
                "md5:d41d8cd98f00b204e9800998ecf8427e",
                "sha256:../../etc",
                "",
                "sha256:",
            })
    void descriptor_badDigest_fails(String digest) {
        String json = "{\"mediaType\":\"a\",\"size\":1,\"digest\":\"" + digest + "\"}";
        assertFails(
                ErrorKind.INVALID_CONTENT, "doc: digest: digest \"", () -> readDescriptor(json));
    }

    @Test
    void descriptor_badMembers_fail() {
        String rest = ",\"size\":1,\"digest\":\"" + DIGEST + "\"}";
        assertFails(
                ErrorKind.INVALID_CONTENT,
                "mediaType: the media type is empty",
                () -> readDescriptor("{\"mediaType\":\"\"" + rest));
        assertFails(
                ErrorKind.INVALID_CONTENT,
                "data: not base64",
                () -> readDescriptor("{\"mediaType\":\"a\",\"data\":\"?\"" + rest));
        assertFails(
                ErrorKind.INVALID_CONTENT,
                "platform.os.features: wanted an array",
                () ->
                        readDescriptor(
                                "{\"mediaType\":\"a\",\"platform\":{\"os.features\":\"x\"}"
                                        + rest));
    }

    @Test
    void descriptor_zeroSize_needsTheDigestOfNothing() throws Exception {
        assertEquals(
                0,
                readDescriptor("{\"mediaType\":\"a\",\"size\":0,\"digest\":\"" + EMPTY + "\"}")
                        .sizeBytes());
    }

    @Test
    void descriptor_everyMember_roundTrips() throws Exception {
        Descriptor descriptor =
                new Descriptor(
                        "text/plain",
                        Digest.sha256(new byte[] {'h', 'i'}),
                        2,
                        Map.of("b", "2", "a", "1"),
                        List.of("https://a.b/x"),
                        Optional.of(
                                new Platform(
                                        "windows", "amd64", "v2", "10.0.1", List.of("win32k"))),
                        Optional.of("application/vnd.example"),
                        Optional.of(Samples.bytes("hi")));
        JsonWriter json = JsonWriter.compact();
        descriptor.write(json);
        assertEquals(descriptor, readDescriptor(json.toString()));
        assertEquals(
                "{\"mediaType\":\"text/plain\",\"digest\":\"%s\",\"size\":2,\"urls\":[\"https://a.b/x\"],"
                                .formatted(descriptor.digest())
                        + "\"annotations\":{\"a\":\"1\",\"b\":\"2\"},\"data\":\"aGk=\",\"platform\":{"
                        + "\"architecture\":\"amd64\",\"os\":\"windows\",\"os.version\":\"10.0.1\","
                        + "\"os.features\":[\"win32k\"],\"variant\":\"v2\"},"
                        + "\"artifactType\":\"application/vnd.example\"}",
                json.toString());
    }

    @Test
    void verifiedData_otherBytes_fails() throws Exception {
        Digest digest = Digest.sha256(new byte[] {'h', 'i'});
        for (String data : List.of("hello", "ho")) {
            Descriptor descriptor =
                    new Descriptor(
                            "text/plain",
                            digest,
                            2,
                            Map.of(),
                            List.of(),
                            Optional.empty(),
                            Optional.empty(),
                            Optional.of(Samples.bytes(data)));
            assertFails(
                    ErrorKind.DATA_LOSS, "embedded data", () -> descriptor.verifiedData("blob"));
        }
        assertEquals(
                Optional.empty(), new Descriptor("text/plain", digest, 2).verifiedData("blob"));
    }
}
