package dev.imgd.image;

import static dev.imgd.image.Host.assertFails;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.image.ImageService.CopyPlatforms;
import dev.imgd.image.ImageService.CopyRequest;
import dev.imgd.image.ImageService.CopyResult;
import dev.imgd.image.ImageService.Progress;
import dev.imgd.image.ImageService.ProgressListener;
import dev.imgd.image.ImageService.PullRequest;
import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.MediaType;
import dev.imgd.model.Platform;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryOptions;
import dev.imgd.registry.RegistryWriter.BlobSource;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.RegistryFeature;
import dev.imgd.testkit.TestImage;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// Images on their way between registries, files and the store.
@Tag("root")
class CopyTest {
    @TempDir Path directory;
    private InMemoryRegistry from;
    private InMemoryRegistry to;
    private Host host;

    @BeforeEach
    void start() throws IOException {
        from = InMemoryRegistry.start();
        to = InMemoryRegistry.start();
        host = Host.open(directory.resolve("host"));
    }

    @AfterEach
    void stop() throws IOException {
        host.close();
        to.close();
        from.close();
    }

    private static TestImage image(String platform, String text) throws ImageException {
        byte[] noise = new byte[300_000];
        new Random(text.hashCode()).nextBytes(noise);
        return ImageBuilder.oci()
                .platform(Platform.parse(platform))
                .layer(tar -> tar.file("noise", 0644, noise))
                .layer(MediaType.Compression.ZSTD, tar -> tar.file("text", text))
                .build();
    }

    private static TestImage multi() throws ImageException {
        Map<Platform, TestImage> images = new LinkedHashMap<>();
        for (String platform : List.of("linux/amd64", "linux/arm64", "linux/arm/v7")) {
            images.put(Platform.parse(platform), image(platform, platform));
        }
        return TestImage.index(images);
    }

    private CopyResult copy(String source, String destination, CopyPlatforms platforms)
            throws ImageException {
        return copy(source, destination, platforms, false);
    }

    private CopyResult copy(
            String source, String destination, CopyPlatforms platforms, boolean referrers)
            throws ImageException {
        return host.images.copy(
                new CopyRequest(
                        ImageLocation.parse(source),
                        ImageLocation.parse(destination),
                        platforms,
                        Optional.empty(),
                        referrers,
                        false,
                        false,
                        false),
                ProgressListener.NONE);
    }

    private String toName(String rest) {
        return "docker://" + to.authority() + "/" + rest;
    }

    private Bytes at(InMemoryRegistry registry, String repository, String reference) {
        return registry.content().manifest(repository, reference).orElseThrow().content();
    }

    /// Everything of an image is in a repository, byte for byte.
    private void assertComplete(String repository, TestImage image) throws IOException {
        for (Map.Entry<Descriptor, Bytes> manifest : image.manifests().entrySet()) {
            assertEquals(
                    manifest.getValue(), at(to, repository, manifest.getKey().digest().toString()));
        }
        for (Map.Entry<Digest, Bytes> blob : image.blobs().entrySet()) {
            try (var in = to.content().blob(repository, blob.getKey()).orElseThrow().open(0)) {
                assertEquals(blob.getValue(), Bytes.of(in.readAllBytes()));
            }
        }
    }

    @Test
    void registryToRegistry_allPlatforms_everythingByteForByte() throws Exception {
        TestImage image = multi();
        String source = "docker://" + from.push("a/b", "1", image);
        CopyResult result = copy(source, toName("c:2"), CopyPlatforms.ALL);
        assertEquals(image.manifest().digest(), result.digest());
        assertEquals(4, result.manifests());
        assertEquals(image.blobs().size(), result.blobs());
        assertEquals(0, result.existingBlobs());
        assertEquals(image.content(), at(to, "c", "2"));
        assertComplete("c", image);
    }

    @Test
    void registryToRegistry_onePlatform_thatManifestAlone() throws Exception {
        TestImage image = multi();
        String source = "docker://" + from.push("a", "1", image);
        CopyResult result =
                host.images.copy(
                        new CopyRequest(
                                ImageLocation.parse(source),
                                ImageLocation.parse(toName("c:1")),
                                CopyPlatforms.ONE,
                                Optional.of("linux/arm64"),
                                false,
                                false,
                                false,
                                false),
                        ProgressListener.NONE);
        TestImage wanted = image("linux/arm64", "linux/arm64");
        assertEquals(wanted.manifest().digest(), result.digest());
        assertEquals(wanted.content(), at(to, "c", "1"));
        assertEquals(1, to.content().manifests("c").size());
    }

    @ParameterizedTest
    @CsvSource({
        "docker://TO/c:1, --all-platforms copies all",
        "oci:DIR/x, --all-platforms copies all",
        "docker-archive:DIR/x.tar:c, --platform chooses another"
    })
    void ofAnIndex_noPlatformAskedFor_saysThatItIsNotAll(String place, String advice)
            throws Exception {
        String source = "docker://" + from.push("a", "1", multi());
        CopyResult result =
                copy(
                        source,
                        place.replace("TO", to.authority()).replace("DIR", directory.toString()),
                        CopyPlatforms.ONE);
        assertEquals(
                List.of(
                        "copied 1 of 3 platforms (%s); %s"
                                .formatted(Platform.host().format(), advice)),
                result.warnings());
    }

    @Test
    void ofAnIndex_thePlatformAskedFor_saysNothing() throws Exception {
        String source = "docker://" + from.push("a", "1", multi());
        assertEquals(List.of(), copyOf(source, toName("c:1"), "linux/arm64").warnings());
        assertEquals(List.of(), copy(source, toName("d:1"), CopyPlatforms.ALL).warnings());
    }

    private CopyResult copyOf(String source, String destination, String platform)
            throws ImageException {
        return host.images.copy(
                new CopyRequest(
                        ImageLocation.parse(source),
                        ImageLocation.parse(destination),
                        CopyPlatforms.ONE,
                        Optional.of(platform),
                        false,
                        false,
                        false,
                        false),
                ProgressListener.NONE);
    }

    @ParameterizedTest
    @ValueSource(strings = {"docker://TO/c:1", "store:example.org/c:1", "oci:DIR/x:c", "dir:DIR/y"})
    void ontoItself_allPlatforms_changesNothingAndSaysSo(String place) throws Exception {
        TestImage image = multi();
        String there = place.replace("TO", to.authority()).replace("DIR", directory.toString());
        copy("docker://" + from.push("a", "1", image), there, CopyPlatforms.ALL);
        to.clearAccessLog();
        CopyResult result = copy(there, there, CopyPlatforms.ALL, place.startsWith("docker"));
        assertEquals(image.manifest().digest(), result.digest());
        assertEquals(0, result.manifests());
        assertEquals(0, result.blobs());
        assertEquals(
                List.of("%s and %1$s are the same place: nothing was copied".formatted(there)),
                result.warnings());
        assertTrue(
                to.accessLog().stream().allMatch(r -> r.method().matches("GET|HEAD")),
                () -> to.accessLog().toString());
        assertEquals(
                image.manifest().digest(), copy(there, toName("d:1"), CopyPlatforms.ALL).digest());
    }

    @ParameterizedTest
    @ValueSource(strings = {"docker://TO/c:1", "store:example.org/c:1", "oci:DIR/x:c", "dir:DIR/y"})
    void ontoItself_onePlatformOfSeveral_isRefusedAndKeepsAll(String place) throws Exception {
        TestImage image = multi();
        String there = place.replace("TO", to.authority()).replace("DIR", directory.toString());
        copy("docker://" + from.push("a", "1", image), there, CopyPlatforms.ALL);
        ImageException e =
                assertFails(
                        ErrorKind.FAILED_PRECONDITION, () -> copy(there, there, CopyPlatforms.ONE));
        assertTrue(String.valueOf(e.getMessage()).contains("say --all-platforms"), e.toString());
        assertTrue(
                String.valueOf(e.getMessage()).contains("would lose all platforms but one, got"),
                e.toString());
        assertFails(ErrorKind.FAILED_PRECONDITION, () -> copyOf(there, there, "linux/arm64"));
        assertEquals(
                image.manifest().digest(), copy(there, toName("d:1"), CopyPlatforms.ALL).digest());
    }

    @Test
    void ontoItself_theOnlyPlatformOfAnIndex_isRefusedForTheIndex() throws Exception {
        Map<Platform, TestImage> only =
                Map.of(Platform.parse("linux/amd64"), image("linux/amd64", "one"));
        to.push("c", "1", TestImage.index(only));
        ImageException e =
                assertFails(
                        ErrorKind.FAILED_PRECONDITION,
                        () -> copyOf(toName("c:1"), toName("c:1"), "linux/amd64"));
        String message = String.valueOf(e.getMessage());
        assertTrue(message.contains("the name would lose its index"), message);
        assertTrue(message.contains("say --all-platforms"), message);
    }

    /// There is nothing that the name could lose.
    @Test
    void ontoItself_anImageOfOnePlatform_changesNothing() throws Exception {
        TestImage image = image("linux/amd64", "one");
        to.push("c", "1", image);
        CopyResult result = copy(toName("c:1"), toName("c:1"), CopyPlatforms.ONE);
        assertEquals(image.manifest().digest(), result.digest());
        assertEquals(1, result.warnings().size());
    }

    @ParameterizedTest
    @CsvSource({
        "docker://docker.io/library/a:1, docker://index.docker.io/library/a:1, true",
        "docker://a:1, docker://registry-1.docker.io/library/a:1, true",
        "docker://Example.org/a:1, docker://example.org:443/a:1, true",
        "docker://example.org/a, docker://example.org/a:latest, true",
        "docker://example.org/a:1, docker://example.org/a:2, false",
        "docker://example.org/a:1, docker://example.org/b:1, false",
        "docker://example.org:5000/a:1, docker://example.org/a:1, false",
        "docker://example.org/a:1, store:example.org/a:1, false",
        "oci:/x/../y:a, oci:/y:a, true",
        "oci:/y:a, oci:/y:b, false"
    })
    void location_sameAs_anotherSpelling(String one, String other, boolean same) throws Exception {
        assertEquals(same, ImageLocation.parse(one).sameAs(ImageLocation.parse(other)));
        assertEquals(same, ImageLocation.parse(other).sameAs(ImageLocation.parse(one)));
    }

    @Test
    void registryToRegistry_again_nothingIsSent() throws Exception {
        String source = "docker://" + from.push("a", "1", multi());
        copy(source, toName("c:1"), CopyPlatforms.ALL);
        from.clearAccessLog();
        CopyResult again = copy(source, toName("c:1"), CopyPlatforms.ALL);
        assertEquals(again.blobs(), again.existingBlobs());
        assertEquals(0, again.copiedBytes());
        assertEquals(0, from.gets("/blobs/"));
    }

    @Test
    void withinARegistry_blobsAreMounted() throws Exception {
        TestImage image = multi();
        copy("docker://" + from.push("a", "1", image), toName("a:1"), CopyPlatforms.ALL);
        to.clearAccessLog();
        CopyResult result = copy(toName("a:1"), toName("c:1"), CopyPlatforms.ALL);
        assertEquals(image.blobs().size(), result.mountedBlobs());
        assertEquals(0, to.gets("/blobs/"));
        assertComplete("c", image);
    }

    @Test
    void nestedIndexes_copiedWhole() throws Exception {
        TestImage inner = multi();
        JsonWriter json =
                JsonWriter.compact()
                        .beginObject()
                        .member("schemaVersion", 2)
                        .member("mediaType", MediaType.OCI_INDEX)
                        .beginArray("manifests");
        inner.manifest().write(json);
        image("linux/s390x", "s").manifest().write(json);
        Bytes outer = Bytes.of(json.endArray().endObject().toBytes());
        from.push("a", "inner", inner);
        from.push("a", "s", image("linux/s390x", "s"));
        from.content().putManifest("a", MediaType.OCI_INDEX, outer, "1");
        CopyResult result =
                copy("docker://" + from.authority() + "/a:1", toName("c:1"), CopyPlatforms.ALL);
        assertEquals(6, result.manifests());
        assertEquals(outer, at(to, "c", "1"));
        assertComplete("c", inner);
    }

    @ParameterizedTest
    @CsvSource({
        "oci:DIR/x:name",
        "oci:DIR/x",
        "oci-archive:DIR/x.tar:name",
        "dir:DIR/x",
        "store:example.org/x:1"
    })
    void throughEachPlace_allPlatformsComeBackWithTheSameDigest(String place) throws Exception {
        TestImage image = multi();
        String source = "docker://" + from.push("a", "1", image);
        String between = place.replace("DIR", directory.toString());
        assertEquals(image.manifest().digest(), copy(source, between, CopyPlatforms.ALL).digest());
        CopyResult back = copy(between, toName("c:1"), CopyPlatforms.ALL);
        assertEquals(image.manifest().digest(), back.digest());
        assertComplete("c", image);
        host.assertSound();
        assertEquals(List.of(), host.leases());
    }

    @ParameterizedTest
    @ValueSource(strings = {"docker", "oci"})
    void throughADockerArchive_comesBackWithTheSameDigest(String kind) throws Exception {
        ImageBuilder builder = kind.equals("docker") ? ImageBuilder.docker() : ImageBuilder.oci();
        TestImage image = builder.layer(tar -> tar.file("text", "hello")).build();
        String source = "docker://" + from.push("a", "1", image);
        String archive = "docker-archive:" + directory.resolve("x.tar") + ":example.org/a:1";
        copy(source, archive, CopyPlatforms.ONE);
        assertEquals(
                image.manifest().digest(),
                copy(archive, toName("c:1"), CopyPlatforms.ONE).digest());
    }

    @Test
    void intoALayoutThatHasImages_theOthersStay() throws Exception {
        TestImage one = image("linux/amd64", "one");
        TestImage two = image("linux/amd64", "two");
        String layout = "oci:" + directory.resolve("x");
        copy("docker://" + from.push("a", "1", one), layout + ":a", CopyPlatforms.ONE);
        copy("docker://" + from.push("a", "2", two), layout + ":b", CopyPlatforms.ONE);
        copy("docker://" + from.authority() + "/a:2", layout + ":c", CopyPlatforms.ONE);
        copy("docker://" + from.authority() + "/a:1", layout + ":c", CopyPlatforms.ONE);
        for (String name : List.of("a", "c")) {
            assertEquals(
                    one.manifest().digest(),
                    copy(layout + ":" + name, toName(name + ":1"), CopyPlatforms.ONE).digest());
        }
        assertEquals(
                two.manifest().digest(),
                copy(layout + ":b", toName("b:1"), CopyPlatforms.ONE).digest());
        ImageException e =
                assertFails(
                        ErrorKind.INVALID_ARGUMENT,
                        () -> copy(layout, toName("d:1"), CopyPlatforms.ONE));
        assertTrue(e.getMessage().contains("a, b, c"), e.getMessage());
        assertFails(
                ErrorKind.NOT_FOUND, () -> copy(layout + ":d", toName("d:1"), CopyPlatforms.ONE));
    }

    @Test
    void intoALayoutWithHalfABlob_itIsWrittenAgain() throws Exception {
        TestImage image = image("linux/amd64", "one");
        Path layout = directory.resolve("x");
        String source = "docker://" + from.push("a", "1", image);
        copy(source, "oci:" + layout, CopyPlatforms.ONE);
        Path layer =
                layout.resolve("blobs/sha256").resolve(image.layers().getFirst().digest().hex());
        byte[] wrong = Files.readAllBytes(layer);
        wrong[1000] ^= 1;
        Files.write(layer, wrong);
        CopyResult again = copy(source, "oci:" + layout, CopyPlatforms.ONE);
        assertEquals(again.blobs() - 1, again.existingBlobs());
        copy("oci:" + layout, toName("c:1"), CopyPlatforms.ONE);
        assertComplete("c", image);
    }

    @Test
    void intoADirectoryOfSomebodyElse_refused() throws Exception {
        Files.writeString(Files.createDirectory(directory.resolve("x")).resolve("mine"), "m");
        String source = "docker://" + from.push("a", "1", image("linux/amd64", "one"));
        for (String kind : List.of("oci:", "dir:")) {
            assertFails(
                    ErrorKind.ALREADY_EXISTS,
                    () -> copy(source, kind + directory.resolve("x"), CopyPlatforms.ONE));
        }
        assertEquals("m", Files.readString(directory.resolve("x/mine")));
    }

    @ParameterizedTest
    @ValueSource(strings = {"oci:", "oci-archive:", "dir:", "docker-archive:"})
    void wrongBytes_nothingIsNamedAndNothingIsLeft(String kind) throws Exception {
        TestImage image = image("linux/amd64", "one");
        String source = "docker://" + from.push("a", "1", image);
        from.always(image.layers().getFirst().digest().hex(), Fault.wrongByteAt(100_000));
        Path target = directory.resolve("x");
        assertFails(ErrorKind.DATA_LOSS, () -> copy(source, kind + target, CopyPlatforms.ONE));
        assertFalse(Files.exists(target.resolve("index.json")));
        assertFalse(Files.exists(target.resolve("manifest.json")));
        assertFalse(Files.isRegularFile(target));
        try (Stream<Path> left = Files.walk(directory)) {
            assertEquals(
                    List.of(),
                    left.filter(p -> p.getFileName().toString().contains(".partial")).toList());
        }
    }

    @Test
    void wrongBytes_toARegistry_neverSentWhole() throws Exception {
        TestImage image = image("linux/amd64", "one");
        String source = "docker://" + from.push("a", "1", image);
        Digest layer = image.layers().getFirst().digest();
        from.always(layer.hex(), Fault.wrongByteAt(100_000));
        ImageException e =
                assertFails(
                        ErrorKind.DATA_LOSS, () -> copy(source, toName("c:1"), CopyPlatforms.ONE));
        assertTrue(e.getMessage().contains(layer.toString()), e.getMessage());
        assertTrue(to.content().blob("c", layer).isEmpty());
        assertEquals(List.of(), to.content().tags("c"));
    }

    @Test
    void wrongBytes_toTheStore_nothingIsLeft() throws Exception {
        TestImage image = image("linux/amd64", "one");
        String source = "docker://" + from.push("a", "1", image);
        from.always(image.layers().getFirst().digest().hex(), Fault.wrongByteAt(100_000));
        assertFails(
                ErrorKind.DATA_LOSS,
                () -> copy(source, "store:example.org/x:1", CopyPlatforms.ONE));
        host.assertNoMess();
    }

    @Test
    void foreignLayers_leftOutUnlessAskedFor() throws Exception {
        TestImage base = image("windows/amd64", "w");
        Descriptor layer = base.layers().getFirst();
        JsonWriter json =
                JsonWriter.compact()
                        .beginObject()
                        .member("schemaVersion", 2)
                        .member("mediaType", MediaType.OCI_MANIFEST);
        Digest config = base.blobs().keySet().stream().reduce((a, b) -> b).orElseThrow();
        new Descriptor(MediaType.OCI_CONFIG, config, base.blob(config).size())
                .write(json.name("config"));
        json.beginArray("layers");
        new Descriptor(
                        MediaType.OCI_FOREIGN_LAYER + "+gzip",
                        layer.digest(),
                        layer.sizeBytes(),
                        Map.of(),
                        List.of("https://example.org/layer"),
                        Optional.empty(),
                        Optional.empty(),
                        Optional.empty())
                .write(json);
        base.layers().get(1).write(json);
        Bytes manifest = Bytes.of(json.endArray().endObject().toBytes());
        from.push("a", "base", base);
        from.content().putManifest("a", MediaType.OCI_MANIFEST, manifest, "1");
        to.with(RegistryFeature.SPARSE);
        CopyResult result =
                copy("docker://" + from.authority() + "/a:1", toName("c:1"), CopyPlatforms.ALL);
        assertEquals(1, result.skippedBlobs());
        assertTrue(to.content().blob("c", layer.digest()).isEmpty());
        assertEquals(manifest, at(to, "c", "1"));
        CopyResult asked =
                host.images.copy(
                        new CopyRequest(
                                ImageLocation.parse("docker://" + from.authority() + "/a:1"),
                                ImageLocation.parse(toName("d:1")),
                                CopyPlatforms.ALL,
                                Optional.empty(),
                                false,
                                true,
                                false,
                                false),
                        ProgressListener.NONE);
        assertEquals(0, asked.skippedBlobs());
        assertTrue(to.content().blob("d", layer.digest()).isPresent());
    }

    private Descriptor artifact(Descriptor subject, String note) throws ImageException {
        Bytes empty = Bytes.of("{}".getBytes(StandardCharsets.US_ASCII));
        Bytes payload = Bytes.of(note.getBytes(StandardCharsets.UTF_8));
        Reference repository = Reference.parse(from.authority() + "/a");
        JsonWriter json =
                JsonWriter.compact()
                        .beginObject()
                        .member("schemaVersion", 2)
                        .member("mediaType", MediaType.OCI_MANIFEST)
                        .member("artifactType", "application/vnd.test.sig");
        Descriptor config = new Descriptor(MediaType.OCI_EMPTY, empty.sha256(), empty.size());
        Descriptor layer = new Descriptor("text/plain", payload.sha256(), payload.size());
        config.write(json.name("config"));
        json.beginArray("layers");
        layer.write(json);
        json.endArray();
        subject.write(json.name("subject"));
        Bytes manifest = Bytes.of(json.endObject().toBytes());
        Descriptor descriptor =
                new Descriptor(MediaType.OCI_MANIFEST, manifest.sha256(), manifest.size());
        try (RegistryClient client = RegistryClient.create(RegistryOptions.defaults())) {
            var writer = client.writer();
            var _ = writer.pushBlob(repository, config, BlobSource.of(empty), List.of());
            var _ = writer.pushBlob(repository, layer, BlobSource.of(payload), List.of());
            writer.pushManifest(repository, descriptor, manifest, List.of());
        }
        return descriptor;
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void referrers_andReferrersOfReferrers_copiedThroughALayout(boolean api) throws Exception {
        if (!api) {
            from.without(RegistryFeature.REFERRERS);
            to.without(RegistryFeature.REFERRERS);
        }
        TestImage image = multi();
        String source = "docker://" + from.push("a", "1", image);
        Descriptor signature = artifact(image.manifest(), "signature");
        Descriptor counter = artifact(signature, "counter-signature");
        Descriptor platforms =
                artifact(image("linux/arm64", "linux/arm64").manifest(), "of one platform");
        String layout = "oci:" + directory.resolve("x") + ":1";
        assertEquals(3, copy(source, layout, CopyPlatforms.ALL, true).referrers());
        assertEquals(3, copy(layout, toName("c:1"), CopyPlatforms.ALL, true).referrers());
        Reference repository = Reference.parse(to.authority() + "/c");
        try (RegistryClient client = RegistryClient.create(RegistryOptions.defaults())) {
            for (var pair :
                    Map.of(
                                    image.manifest().digest(), signature,
                                    signature.digest(), counter,
                                    image("linux/arm64", "linux/arm64").manifest().digest(),
                                            platforms)
                            .entrySet()) {
                var listed =
                        client.listing().referrers(repository, pair.getKey(), Optional.empty());
                assertEquals(
                        List.of(pair.getValue().digest()),
                        listed.manifests().stream().map(Descriptor::digest).toList());
                assertEquals(!api, listed.byTag());
            }
        }
    }

    @Test
    void referrers_namedByTagOnly_copiedThroughALayoutWithTheirTags() throws Exception {
        TestImage image = multi();
        String source = "docker://" + from.push("a", "1", image);
        Digest platform = image("linux/arm64", "linux/arm64").manifest().digest();
        String signed = "sha256-" + image.manifest().digest().hex() + ".sig";
        String attested = "sha256-" + platform.hex() + ".att";
        for (String tag : List.of(signed, attested)) {
            from.push("a", tag, image("linux/amd64", tag));
        }
        String layout = "oci:" + directory.resolve("x");
        String archive = "oci-archive:" + directory.resolve("x.tar");
        assertEquals(2, copy(source, layout + ":1", CopyPlatforms.ALL, true).referrers());
        // Again: nothing is listed twice. And the one that is no attachment is meant without name.
        assertEquals(2, copy(source, layout + ":1", CopyPlatforms.ALL, true).referrers());
        assertEquals(2, copy(layout, archive + ":1", CopyPlatforms.ALL, true).referrers());
        assertEquals(2, copy(archive, toName("c:1"), CopyPlatforms.ALL, true).referrers());
        assertEquals(image.content(), at(to, "c", "1"));
        for (String tag : List.of(signed, attested)) {
            assertEquals(at(from, "a", tag), at(to, "c", tag));
        }
        assertEquals(0, copy(source, toName("d:1"), CopyPlatforms.ALL).referrers());
        assertEquals(List.of("1"), to.content().tags("d"));
    }

    @Test
    void push_storeHasAllPlatforms_wholeIndex() throws Exception {
        TestImage image = multi();
        String name = from.push("a", "1", image);
        host.images.pull(
                new PullRequest(name, Optional.empty(), true, false, false), ProgressListener.NONE);
        CopyResult result = copy("store:" + name, toName("c:1"), CopyPlatforms.AVAILABLE);
        assertEquals(image.manifest().digest(), result.digest());
        assertEquals(List.of(), result.warnings());
        assertComplete("c", image);
    }

    @Test
    void push_storeHasOnePlatform_thatOneAndAWarning() throws Exception {
        TestImage image = multi();
        String name = from.push("a", "1", image);
        host.pull(name);
        CopyResult result = copy("store:" + name, toName("c:1"), CopyPlatforms.AVAILABLE);
        assertEquals(image("linux/amd64", "linux/amd64").manifest().digest(), result.digest());
        assertEquals(1, result.warnings().size());
        assertFails(
                ErrorKind.NOT_FOUND, () -> copy("store:" + name, toName("d:1"), CopyPlatforms.ALL));
    }

    @Test
    void toTheStore_canBeMountedAfterwards() throws Exception {
        TestImage image = image("linux/amd64", "hello");
        copy("docker://" + from.push("a", "1", image), "store:example.org/x:1", CopyPlatforms.ONE);
        Path mount = directory.resolve("mounted");
        host.images.mount("example.org/x:1", mount, false);
        try {
            assertEquals("hello", Files.readString(mount.resolve("text")));
        } finally {
            host.images.unmount(mount);
        }
        host.assertSound();
    }

    @Test
    void destinationWithAnotherDigest_refusedBeforeAnythingIsSent() throws Exception {
        String source = "docker://" + from.push("a", "1", image("linux/amd64", "one"));
        Digest other = Digest.sha256(new byte[] {1});
        assertFails(
                ErrorKind.INVALID_ARGUMENT,
                () -> copy(source, toName("c@" + other), CopyPlatforms.ONE));
        assertEquals(List.of(), to.accessLog());
    }

    @Test
    void interrupted_endsAndNamesNothing() throws Exception {
        TestImage image = image("linux/amd64", "one");
        String source = "docker://" + from.push("a", "1", image);
        from.always(image.layers().getFirst().digest().hex(), Fault.stalledAt(10_000));
        CountDownLatch moving = new CountDownLatch(1);
        AtomicReference<ImageException> failure = new AtomicReference<>();
        Thread copying =
                Thread.ofPlatform()
                        .start(
                                () -> {
                                    try {
                                        host.images.copy(
                                                CopyRequest.of(source, toName("c:1")),
                                                state -> {
                                                    if (state.fetchedBytes() >= 10_000) {
                                                        moving.countDown();
                                                    }
                                                });
                                    } catch (ImageException e) {
                                        failure.set(e);
                                    }
                                });
        assertTrue(moving.await(60, TimeUnit.SECONDS), "bytes are reported as they come");
        copying.interrupt();
        copying.join(20_000);
        assertFalse(copying.isAlive());
        assertEquals(ErrorKind.CANCELLED, failure.get().kind(), failure.get().getMessage());
        assertEquals(List.of(), to.content().tags("c"));
    }

    @Test
    void progress_endsWithEverythingDone() throws Exception {
        String source = "docker://" + from.push("a", "1", multi());
        List<Progress> seen = new ArrayList<>();
        host.images.copy(
                new CopyRequest(
                        ImageLocation.parse(source),
                        ImageLocation.parse(toName("c:1")),
                        CopyPlatforms.ALL,
                        Optional.empty(),
                        false,
                        false,
                        false,
                        false),
                seen::add);
        assertEquals("resolving", seen.getFirst().phase());
        Progress last = seen.getLast();
        assertEquals("done", last.phase());
        assertEquals(last.totalBytes(), last.doneBytes());
        assertTrue(last.totalBytes() > 900_000, "total " + last.totalBytes());
    }

    @ParameterizedTest
    @ValueSource(strings = {"debian:12", "docker:debian", "oci:", "dir:", "docker://A", "x://y"})
    void location_thatIsNone_saysWhatIsWanted(String text) {
        assertFails(ErrorKind.INVALID_ARGUMENT, () -> ImageLocation.parse(text));
    }

    @Test
    void location_readAsItIsPrinted() throws Exception {
        for (String text :
                List.of(
                        "docker://localhost:5000/a/b:1",
                        "store:docker.io/library/debian:12",
                        "oci:/a/b:c/d:e",
                        "oci:/a/b",
                        "oci-archive:x.tar:1",
                        "docker-archive:x.tar:debian:12",
                        "dir:/a:b")) {
            assertEquals(text, ImageLocation.parse(text).toString());
        }
    }
}
