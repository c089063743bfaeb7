package dev.imgd.image;

import static dev.imgd.image.Host.assertFails;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.hosts.RegistryHost;
import dev.imgd.image.ImageService.CopyRequest;
import dev.imgd.image.ImageService.ProgressListener;
import dev.imgd.model.Bytes;
import dev.imgd.model.ChainId;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.MediaType;
import dev.imgd.model.Platform;
import dev.imgd.model.Reference;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.RegistryFeature;
import dev.imgd.testkit.TestImage;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.Signature;
import java.time.Duration;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// The policy decides before anything of an image is fetched that could run.
class PolicyTest {
    private static final Duration GRACE = Duration.ofHours(1);

    @TempDir Path directory;
    private InMemoryRegistry registry;
    private Host host;
    private KeyPair keys;

    @BeforeEach
    void start() throws Exception {
        registry = InMemoryRegistry.start();
        host = Host.open(directory);
        KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
        generator.initialize(256);
        keys = generator.generateKeyPair();
        Files.writeString(
                directory.resolve("key.pub"),
                "-----BEGIN PUBLIC KEY-----\n"
                        + Base64.getMimeEncoder().encodeToString(keys.getPublic().getEncoded())
                        + "\n-----END PUBLIC KEY-----\n");
    }

    @AfterEach
    void stop() throws ImageException {
        host.close();
        registry.close();
    }

    private void policy(String requirement) throws IOException {
        Files.writeString(directory.resolve("policy.json"), "{\"default\":[" + requirement + "]}");
    }

    private void signaturesWanted() throws IOException {
        policy("{\"type\":\"sigstoreSigned\",\"keyPath\":\"key.pub\"}");
    }

    private static TestImage image(String text) {
        return ImageBuilder.oci()
                .platform(Platform.host())
                .layer(tar -> tar.directory("a", 0755).file("a/1", text))
                .layer(tar -> tar.file("2", text + "2"))
                .build();
    }

    /// Signs as cosign does, under a tag.
    private void sign(String repository, Digest image) throws Exception {
        Bytes manifest = signature(repository, image, json -> {});
        registry.content()
                .putManifest(
                        repository,
                        MediaType.OCI_MANIFEST,
                        manifest,
                        "sha256-" + image.hex() + ".sig");
    }

    /// Signs as cosign does, as a referrer.
    private Bytes signAsReferrer(String repository, Descriptor image) throws Exception {
        Bytes manifest =
                signature(
                        repository,
                        image.digest(),
                        json -> {
                            json.member(
                                    "artifactType",
                                    "application/vnd.dev.cosign.artifact.sig.v1+json");
                            image.write(json.name("subject"));
                        });
        registry.content().putManifest(repository, MediaType.OCI_MANIFEST, manifest);
        return manifest;
    }

    private Bytes signature(String repository, Digest image, Consumer<JsonWriter> more)
            throws Exception {
        Bytes payload =
                Bytes.of(
                        ("{\"critical\":{\"identity\":{\"docker-reference\":\"%s/%s\"},\"image\":"
                                        + "{\"docker-manifest-digest\":\"%s\"},\"type\":"
                                        + "\"cosign container image signature\"},\"optional\":null}")
                                .formatted(registry.authority(), repository, image)
                                .getBytes(StandardCharsets.UTF_8));
        Signature signer = Signature.getInstance("SHA256withECDSA");
        signer.initSign(keys.getPrivate());
        signer.update(payload.toArray());
        String signature = Base64.getEncoder().encodeToString(signer.sign());
        registry.content().putBlob(payload.sha256(), payload.toArray());
        Bytes empty = Bytes.of("{}".getBytes(StandardCharsets.UTF_8));
        registry.content().putBlob(empty.sha256(), empty.toArray());
        JsonWriter json =
                JsonWriter.compact()
                        .beginObject()
                        .member("schemaVersion", 2)
                        .member("mediaType", MediaType.OCI_MANIFEST);
        more.accept(json);
        new Descriptor(MediaType.OCI_CONFIG, empty.sha256(), empty.size())
                .write(json.name("config"));
        json.beginArray("layers");
        new Descriptor(
                        "application/vnd.dev.cosign.simplesigning.v1+json",
                        payload.sha256(),
                        payload.size(),
                        Map.of("dev.cosignproject.cosign/signature", signature),
                        List.of(),
                        Optional.empty(),
                        Optional.empty(),
                        Optional.empty())
                .write(json);
        return Bytes.of(json.endArray().endObject().toBytes());
    }

    private void assertNoLayerFetched(TestImage image) {
        for (Descriptor layer : image.layers()) {
            assertEquals(0, registry.gets("/blobs/" + layer.digest()));
        }
    }

    @Test
    void pull_rejected_asksTheRegistryNothing() throws Exception {
        String reference = registry.push("a", "1", image("1"));
        policy("{\"type\":\"reject\"}");
        assertFails(ErrorKind.PERMISSION_DENIED, () -> host.pull(reference));
        assertEquals(List.of(), registry.accessLog());
        host.assertNoMess();
    }

    @Test
    void pull_unsigned_fetchesNoLayerAndLeavesNothing() throws Exception {
        TestImage image = image("1");
        String reference = registry.push("a", "1", image);
        signaturesWanted();
        ImageException e = assertFails(ErrorKind.PERMISSION_DENIED, () -> host.pull(reference));
        assertTrue(e.getMessage().contains("no signature"), e.getMessage());
        assertNoLayerFetched(image);
        host.assertNoMess();
    }

    @Test
    void pull_signed_works_andNotWithTheSignatureOfAnother() throws Exception {
        TestImage image = image("1");
        String reference = registry.push("a", "1", image);
        signaturesWanted();
        sign("a", image.manifest().digest());
        host.pull(reference);
        assertEquals(List.of(reference), host.names());

        TestImage other = image("2");
        String second = registry.push("b", "1", other);
        sign("a", other.manifest().digest()); // for the name a
        assertFails(ErrorKind.PERMISSION_DENIED, () -> host.pull(second));
        assertNoLayerFetched(other);
    }

    /// What a mirror has of the signatures of its registry.
    enum MirrorKind {
        WITHOUT_LISTS,
        WITH_EMPTY_LISTS
    }

    /// How an image is signed.
    enum Signed {
        BY_TAG,
        BY_REFERRER,
        BY_REFERRER_UNDER_THE_TAG
    }

    @ParameterizedTest
    @CsvSource({
        "WITHOUT_LISTS, BY_TAG", "WITH_EMPTY_LISTS, BY_TAG",
        "WITHOUT_LISTS, BY_REFERRER", "WITH_EMPTY_LISTS, BY_REFERRER",
        "WITHOUT_LISTS, BY_REFERRER_UNDER_THE_TAG", "WITH_EMPTY_LISTS, BY_REFERRER_UNDER_THE_TAG",
    })
    void pull_mirrorKnowsNoSignatures_thoseOfTheRegistryCount(MirrorKind kind, Signed signed)
            throws Exception {
        TestImage image = image("1");
        String reference = registry.push("a", "1", image);
        signaturesWanted();
        try (InMemoryRegistry mirror = InMemoryRegistry.start()) {
            mirror.push("a", "1", image);
            if (kind == MirrorKind.WITHOUT_LISTS) {
                mirror.without(RegistryFeature.REFERRERS);
            }
            List<RegistryHost> hosts =
                    List.of(
                            RegistryHost.of(RegistryHost.Scheme.HTTP, mirror.authority()),
                            RegistryHost.of(RegistryHost.Scheme.HTTP, registry.authority()));
            host.close();
            host = Host.open(directory, UnaryOperator.identity(), _ -> hosts);
            assertFails(ErrorKind.PERMISSION_DENIED, () -> host.pull(reference));
            switch (signed) {
                case BY_TAG -> sign("a", image.manifest().digest());
                case BY_REFERRER -> {
                    var _ = signAsReferrer("a", image.manifest());
                }
                case BY_REFERRER_UNDER_THE_TAG -> {
                    registry.without(RegistryFeature.REFERRERS);
                    listUnderTag("a", image.manifest(), signAsReferrer("a", image.manifest()));
                }
            }
            host.pull(reference);
            assertEquals(List.of(reference), host.names());
            assertNoLayerFetched(image);
        }
    }

    /// Lists a referrer as clients do where the registry does not.
    private void listUnderTag(String repository, Descriptor image, Bytes referrer) {
        JsonWriter json =
                JsonWriter.compact()
                        .beginObject()
                        .member("schemaVersion", 2)
                        .member("mediaType", MediaType.OCI_INDEX)
                        .beginArray("manifests");
        new Descriptor(
                        MediaType.OCI_MANIFEST,
                        referrer.sha256(),
                        referrer.size(),
                        Map.of(),
                        List.of(),
                        Optional.empty(),
                        Optional.of("application/vnd.dev.cosign.artifact.sig.v1+json"),
                        Optional.empty())
                .write(json);
        registry.content()
                .putManifest(
                        repository,
                        MediaType.OCI_INDEX,
                        Bytes.of(json.endArray().endObject().toBytes()),
                        "sha256-" + image.digest().hex());
    }

    @Test
    void pull_ofWhatIsHere_isDecidedAnewWhenThePolicyChanged() throws Exception {
        String reference = registry.push("a", "1", image("1"));
        host.pull(reference);
        signaturesWanted();
        assertFails(ErrorKind.PERMISSION_DENIED, () -> host.pull(reference));
        assertEquals(List.of(reference), host.names());
    }

    @Test
    void pull_policyThatIsWrong_refuses() throws Exception {
        String reference = registry.push("a", "1", image("1"));
        policy("{\"type\":\"accept\"}");
        assertFails(ErrorKind.INVALID_ARGUMENT, () -> host.pull(reference));
        host.assertNoMess();
    }

    @Test
    void index_signedItselfOrTheManifestInIt_works() throws Exception {
        TestImage image = image("1");
        TestImage index = TestImage.index(Map.of(Platform.host(), image));
        String reference = registry.push("a", "1", index);
        signaturesWanted();
        assertFails(ErrorKind.PERMISSION_DENIED, () -> host.pull(reference));
        sign("a", image.manifest().digest());
        host.pull(reference);

        TestImage second = TestImage.index(Map.of(Platform.host(), image("2")));
        String whole = registry.push("b", "1", second);
        sign("b", second.manifest().digest());
        host.pull(whole);
    }

    @Test
    void copyIntoTheStore_isDecidedAsAPull() throws Exception {
        TestImage image = image("1");
        String reference = registry.push("a", "1", image);
        CopyRequest request = CopyRequest.of("docker://" + reference, "store:b:1");
        signaturesWanted();
        assertFails(
                ErrorKind.PERMISSION_DENIED,
                () -> host.images.copy(request, ProgressListener.NONE));
        assertNoLayerFetched(image);
        sign("a", image.manifest().digest());
        var _ = host.images.copy(request, ProgressListener.NONE);
        assertEquals(List.of("docker.io/library/b:1"), host.names());
    }

    @Test
    void provider_asksForEachImage_alsoWhenItsLayersAreHere() throws Exception {
        TestImage image = image("1");
        TestImage index = TestImage.index(Map.of(Platform.host(), image));
        Reference reference = Reference.parse(registry.push("a", "1", index));
        Optional<Digest> manifest = Optional.of(image.manifest().digest());
        Digest top = ChainId.of(image.diffIds()).getLast();
        try (LayerProvider provider =
                new LayerProvider(
                        host.images, host.store, host.registries, host.limits, GRACE, () -> {})) {
            signaturesWanted();
            assertFails(ErrorKind.PERMISSION_DENIED, () -> provider.admit(reference, manifest));
            assertFails(
                    ErrorKind.PERMISSION_DENIED, () -> provider.provide(reference, manifest, top));
            assertNoLayerFetched(image);

            sign("a", index.manifest().digest());
            provider.admit(reference, manifest);
            var _ = provider.provide(reference, manifest, top);

            policy("{\"type\":\"reject\"}");
            assertFails(ErrorKind.PERMISSION_DENIED, () -> provider.admit(reference, manifest));
        }
    }
}
