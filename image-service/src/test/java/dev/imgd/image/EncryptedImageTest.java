package dev.imgd.image;

import static dev.imgd.image.Host.assertFails;
import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.image.ImageService.CopyPlatforms;
import dev.imgd.image.ImageService.CopyRequest;
import dev.imgd.image.ImageService.CopyResult;
import dev.imgd.image.ImageService.ImageDetails;
import dev.imgd.image.ImageService.ProgressListener;
import dev.imgd.image.ImageService.PullRequest;
import dev.imgd.image.ImageService.PullResult;
import dev.imgd.model.Bytes;
import dev.imgd.model.ChainId;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.DigestMismatchException;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.Manifest;
import dev.imgd.model.MediaType;
import dev.imgd.model.MediaType.Compression;
import dev.imgd.model.Platform;
import dev.imgd.model.Reference;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.LayerSpec;
import dev.imgd.testkit.TarWriter;
import dev.imgd.testkit.TestImage;
import dev.imgd.trust.DecryptionKeys;
import dev.imgd.trust.LayerEncryption;
import dev.imgd.trust.LayerRecipients;
import dev.imgd.trust.LayerSecret;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.Key;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/// Encrypted images: who gets what, and in which order things are believed.
@Tag("root")
class EncryptedImageTest {
    private static final String CANARY = "canary-plaintext-Zz9y";

    @TempDir Path directory;
    private InMemoryRegistry registry;
    private Host host;
    private DecryptionKeys own = DecryptionKeys.NONE;
    private LayerRecipients recipients = new LayerRecipients(List.of(), List.of());

    @BeforeEach
    void start() throws Exception {
        registry = InMemoryRegistry.start();
        host = Host.open(directory.resolve("host"));
        KeyPair pair = KeyPairGenerator.getInstance("EC").generateKeyPair();
        Path key = pem("PRIVATE KEY", pair.getPrivate());
        own = DecryptionKeys.named(key.toString());
        recipients = LayerRecipients.named(List.of("jwe:" + pem("PUBLIC KEY", pair.getPublic())));
        host.keys = own;
    }

    @AfterEach
    void stop() throws IOException {
        host.close();
        registry.close();
    }

    private Path pem(String label, Key key) throws IOException {
        return Files.writeString(
                Files.createTempFile(directory, "key", ".pem"),
                "-----BEGIN %s-----\n%s\n-----END %s-----\n"
                        .formatted(
                                label,
                                Base64.getMimeEncoder().encodeToString(key.getEncoded()),
                                label));
    }

    private static TestImage image(Compression compression) {
        byte[] noise = new byte[700_000];
        new Random(5).nextBytes(noise);
        return ImageBuilder.oci()
                .layer(
                        compression,
                        tar -> tar.directory("etc", 0755).file("etc/noise", 0644, noise))
                .layer(compression, tar -> tar.file("etc/secret", CANARY))
                .build();
    }

    private CopyResult copy(
            String source,
            String destination,
            CopyPlatforms platforms,
            @Nullable LayerRewriting rewriting)
            throws ImageException {
        return host.images.copy(
                new CopyRequest(
                        ImageLocation.parse(source),
                        ImageLocation.parse(destination),
                        platforms,
                        Optional.empty(),
                        false,
                        false,
                        false,
                        false),
                ProgressListener.NONE,
                rewriting);
    }

    private String name(String rest) {
        return registry.authority() + "/" + rest;
    }

    /// Pushes an image encrypted as `enc:1`.
    private String encrypted(TestImage image, Integer... layers) throws ImageException {
        String plain = registry.push("plain", "1", image);
        CopyResult result =
                copy(
                        "docker://" + plain,
                        "docker://" + name("enc:1"),
                        CopyPlatforms.ALL,
                        LayerRewriting.encrypt(recipients, List.of(layers)));
        assertNotEquals(image.manifest().digest(), result.digest());
        return name("enc:1");
    }

    private Manifest manifest(String repository, String reference) throws ImageException {
        return Manifest.parse("test", content(repository, reference), Optional.empty());
    }

    private Bytes content(String repository, String reference) {
        return registry.content().manifest(repository, reference).orElseThrow().content();
    }

    private byte[] blob(Digest digest) throws IOException {
        try (InputStream in = registry.content().blob("enc", digest).orElseThrow().open(0)) {
            return in.readAllBytes();
        }
    }

    private String read(String reference, String file) throws IOException {
        Path mount = Files.createTempDirectory(directory, "mount");
        host.images.mount(reference, Optional.empty(), mount, false);
        try {
            return Files.readString(mount.resolve(file));
        } finally {
            host.images.unmount(mount);
        }
    }

    /// Files below the store that contain a text.
    private List<Path> containing(Path root, String text) throws IOException {
        List<Path> found = new ArrayList<>();
        try (Stream<Path> files = Files.walk(root)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                if (new String(Files.readAllBytes(file), ISO_8859_1).contains(text)) {
                    found.add(file);
                }
            }
        }
        return found;
    }

    @ParameterizedTest
    @EnumSource(names = {"NONE", "GZIP", "ZSTD"})
    void pull_withTheKey_theTreeOfThePlainImage(Compression compression) throws Exception {
        TestImage image = image(compression);
        String reference = encrypted(image);
        PullResult result = host.pull(reference);
        assertEquals(Optional.of(ChainId.of(image.diffIds()).getLast()), result.chainId());
        assertEquals(CANARY, read(reference, "etc/secret"));
        for (Descriptor layer : manifest("enc", "1").layers()) {
            assertTrue(layer.mediaType().endsWith("+encrypted"), layer.mediaType());
            assertTrue(host.hasBlob(layer.digest()));
        }
        for (Descriptor layer : image.layers()) {
            assertFalse(host.hasBlob(layer.digest()), "a plain layer is in the store");
        }
        assertEquals(List.of(), containing(host.root.resolve("store"), CANARY));
        ImageDetails details = host.images.inspect(reference, Optional.empty());
        assertEquals(Optional.of(image.diffIds().getLast()), details.layers().getLast().diffId());
        assertTrue(details.snapshot().isPresent());
        assertNotEquals(
                Optional.of(ChainId.of(image.diffIds()).getLast().toString()),
                details.snapshot(),
                "the name of a plain image's snapshot");
        host.assertSound();
        host.images.remove(List.of(reference));
        host.images.gc(false, false);
        host.assertEmpty();
    }

    @Test
    void pull_withoutTheKey_deniedBeforeALayerIsFetched() throws Exception {
        String reference = encrypted(image(Compression.GZIP));
        for (DecryptionKeys keys : List.of(DecryptionKeys.NONE, others())) {
            host.keys = keys;
            registry.clearAccessLog();
            ImageException e = assertFails(ErrorKind.PERMISSION_DENIED, () -> host.pull(reference));
            Descriptor layer = manifest("enc", "1").layers().getFirst();
            assertTrue(e.getMessage().contains(layer.digest().toString()), e.getMessage());
            assertTrue(e.getMessage().contains("jwe for ECDH-ES+A256KW"), e.getMessage());
            assertEquals(0, registry.gets(layer.digest().toString()));
            host.assertNoMess();
        }
        // To store it needs no key.
        host.images.pull(
                new PullRequest(reference, Optional.empty(), false, false, false),
                ProgressListener.NONE);
        assertFails(ErrorKind.PERMISSION_DENIED, () -> read(reference, "etc/secret"));
        assertEquals(Optional.empty(), host.images.inspect(reference, Optional.empty()).snapshot());
        host.keys = own;
        assertEquals(CANARY, read(reference, "etc/secret"));
    }

    private DecryptionKeys others() throws Exception {
        KeyPair pair = KeyPairGenerator.getInstance("EC").generateKeyPair();
        return DecryptionKeys.named(pem("PRIVATE KEY", pair.getPrivate()).toString());
    }

    /// What somebody else had decrypted is of no use to who has no key.
    @Test
    void use_unpackedButTheKeyIsGone_denied() throws Exception {
        String reference = encrypted(image(Compression.GZIP));
        host.pull(reference);
        int layers = host.layers();
        for (DecryptionKeys keys : List.of(DecryptionKeys.NONE, others())) {
            host.keys = keys;
            assertFails(ErrorKind.PERMISSION_DENIED, () -> read(reference, "etc/secret"));
            assertFails(ErrorKind.PERMISSION_DENIED, () -> host.pull(reference));
            assertFails(
                    ErrorKind.PERMISSION_DENIED,
                    () ->
                            host.images.bundle(
                                    reference,
                                    Optional.empty(),
                                    directory.resolve("bundle"),
                                    List.of()));
            assertEquals(
                    Optional.empty(), host.images.inspect(reference, Optional.empty()).snapshot());
        }
        host.keys = own;
        registry.clearAccessLog();
        assertEquals(CANARY, read(reference, "etc/secret"));
        assertEquals(0, registry.gets("/blobs/"));
        assertEquals(layers, host.layers());
    }

    @Test
    void pull_plainImageOfTheSameLayers_hasTreesOfItsOwn() throws Exception {
        TestImage image = image(Compression.GZIP);
        String enc = encrypted(image);
        host.pull(enc);
        assertEquals(2, host.layers());
        host.keys = DecryptionKeys.NONE;
        PullResult plain = host.pull(name("plain:1"));
        assertTrue(plain.fetchedBytes() > 0, "served from a decrypted tree");
        assertEquals(4, host.layers());
        assertEquals(CANARY, read(name("plain:1"), "etc/secret"));
        // And the other way around: the plain tree does not open the encrypted image.
        assertFails(ErrorKind.PERMISSION_DENIED, () -> host.pull(enc));
    }

    @Test
    void pull_onlyTheTopLayerEncrypted_theOthersAreShared() throws Exception {
        TestImage image = image(Compression.GZIP);
        String enc = encrypted(image, -1);
        assertEquals(image.layers().getFirst(), manifest("enc", "1").layers().getFirst());
        host.pull(name("plain:1"));
        PullResult result = host.pull(enc);
        assertEquals(3, host.layers());
        assertEquals(image.layers().getLast().sizeBytes(), result.fetchedBytes());
        assertEquals(CANARY, read(enc, "etc/secret"));
    }

    /// Pushes `enc:1` as `enc:forged`, each layer in an envelope of somebody else, who knows the
    /// public keys but not the key of the layer. What decrypts with another key is random.
    ///
    /// @param plain the digest that the envelope states, for each layer
    private String forged(List<Digest> plain) throws Exception {
        String text = new String(content("enc", "1").toArray(), UTF_8);
        for (int i = 0; i < plain.size(); i++) {
            Descriptor layer = manifest("enc", "1").layers().get(i);
            LayerSecret forged = LayerSecret.create(plain.get(i));
            byte[] mac = forged.mac().doFinal(blob(layer.digest()));
            for (Map.Entry<String, String> annotation :
                    LayerEncryption.seal(forged, mac, recipients).entrySet()) {
                text =
                        text.replace(
                                layer.annotations().get(annotation.getKey()),
                                annotation.getValue());
            }
        }
        registry.content()
                .putManifest(
                        "enc", MediaType.OCI_MANIFEST, Bytes.of(text.getBytes(UTF_8)), "forged");
        return name("enc:forged");
    }

    /// An attacker who can push knows the digests of the image and the node's public key.
    @Test
    void pull_ownEnvelopeAroundTheBlobOfOthers_neverTheirTree() throws Exception {
        TestImage image = image(Compression.GZIP);
        host.pull(encrypted(image));
        String forged = forged(image.layers().stream().map(Descriptor::digest).toList());
        // The HMAC is theirs, so it is right; but what is decrypted with their key is nothing.
        assertFails(ErrorKind.DATA_LOSS, () -> host.pull(forged));
        assertEquals(2, host.layers());
        assertEquals(List.of(name("enc:1")), host.names());
    }

    /// Layers that end before the header of a tar is read, and such that do not: what is said first
    /// of random bytes depends on their number, and what they happen to be.
    @ParameterizedTest
    @ValueSource(ints = {1, 400, 512, 100_000})
    void pull_notWhatTheEnvelopeStates_isTheSameWhateverTheBytes(int noiseBytes) throws Exception {
        byte[] noise = new byte[noiseBytes];
        new Random(7).nextBytes(noise);
        for (Compression compression : List.of(Compression.NONE, Compression.GZIP)) {
            LayerSpec layer = LayerSpec.of(noise, compression);
            TestImage image = ImageBuilder.oci().layer(layer).build();
            encrypted(image);
            // The digest of the blob, or of the tar as tools state it that compress by themselves.
            for (Digest stated : List.of(image.layers().getFirst().digest(), layer.diffId())) {
                String forged = forged(List.of(stated));
                ImageException e =
                        assertThrows(DigestMismatchException.class, () -> host.pull(forged));
                assertTrue(e.getMessage().contains(", decrypted: wanted " + stated), e.toString());
                assertEquals(List.of(), host.names());
                assertEquals(0, host.layers());
            }
        }
    }

    /// The bytes are those that were encrypted, and no tar.
    @ParameterizedTest
    @EnumSource(names = {"NONE", "GZIP"})
    void pull_whatTheEnvelopeStatesIsNoLayer_isInvalid(Compression compression) throws Exception {
        byte[] noise = new byte[100_000];
        new Random(7).nextBytes(noise);
        TestImage image = ImageBuilder.oci().layer(LayerSpec.of(noise, compression)).build();
        String reference = encrypted(image);
        ImageException e = assertFails(ErrorKind.INVALID_CONTENT, () -> host.pull(reference));
        assertFalse(e.getMessage().contains("decrypted: wanted"), e.toString());
        assertEquals(0, host.layers());
    }

    /// The name of a tree is no secret to everybody: who may use the image can print it.
    @Test
    void pull_plainImageWithTheNameOfADecryptedTreeAsDiffId_neverGetsIt() throws Exception {
        TestImage image = ImageBuilder.oci().layer(tar -> tar.file("secret", CANARY)).build();
        String enc = encrypted(image);
        host.pull(enc);
        Digest tree =
                Digest.parse(host.images.inspect(enc, Optional.empty()).snapshot().orElseThrow());
        assertTrue(host.snapshots.hasLayer(tree, Optional.empty()));
        LayerSpec other = LayerSpec.of(new TarWriter().file("a", "b").finish(), Compression.GZIP);
        for (Digest stated : List.of(tree, Digest.sha256(tree.toString().getBytes(UTF_8)))) {
            registry.push(
                    "forged",
                    "1",
                    ImageBuilder.oci()
                            .layer(new LayerSpec(other.blob(), stated, Compression.GZIP))
                            .build());
            ImageException e =
                    assertThrows(ImageException.class, () -> host.pull(name("forged:1")));
            assertEquals(5, e.kind().exitCode(), e.toString());
            assertEquals(List.of(enc), host.names());
            assertEquals(1, host.layers());
        }
    }

    private String changed(String what, String by) {
        String text = new String(content("enc", "1").toArray(), UTF_8);
        assertTrue(text.contains(what), what);
        registry.content()
                .putManifest(
                        "enc",
                        MediaType.OCI_MANIFEST,
                        Bytes.of(text.replace(what, by).getBytes(UTF_8)),
                        "changed");
        return name("enc:changed");
    }

    private static String annotation(Descriptor layer, String name) {
        return layer.annotations().get("org.opencontainers.image.enc." + name);
    }

    @Test
    void pull_hmacOrCiphertextChanged_nothingIsUnpacked() throws Exception {
        encrypted(image(Compression.NONE));
        Descriptor layer = manifest("enc", "1").layers().getFirst();
        String options =
                new String(Base64.getDecoder().decode(annotation(layer, "pubopts")), UTF_8);
        String hmac = options.replaceAll(".*\"hmac\":\"([^\"]*)\".*", "$1");
        byte[] other = Base64.getDecoder().decode(hmac);
        other[7] ^= 1;
        String changedOptions =
                Base64.getEncoder()
                        .encodeToString(
                                options.replace(hmac, Base64.getEncoder().encodeToString(other))
                                        .getBytes(UTF_8));
        byte[] bytes = blob(layer.digest());
        bytes[bytes.length - 1] ^= 1;
        Digest swapped = Digest.sha256(bytes);
        registry.content().putBlob("enc", swapped, bytes);
        for (String reference :
                List.of(
                        changed(annotation(layer, "pubopts"), changedOptions),
                        changed(layer.digest().toString(), swapped.toString()))) {
            ImageException e = assertFails(ErrorKind.INVALID_CONTENT, () -> host.pull(reference));
            assertTrue(
                    e.getMessage().contains("its HMAC is wrong: the encrypted bytes or the HMAC"),
                    e.getMessage());
            host.assertNoMess();
        }
    }

    /// Makes `enc:other` out of `enc:1`, its lowest layer encrypted with a statement of our own.
    private String stating(TestImage image, Digest plainDigest) throws Exception {
        encrypted(image);
        Descriptor layer = manifest("enc", "1").layers().getFirst();
        byte[] plain = image.blob(image.layers().getFirst().digest()).toArray();
        LayerSecret secret = LayerSecret.create(plainDigest);
        byte[] bytes = secret.cipher(0).update(plain);
        Digest digest = Digest.sha256(bytes);
        registry.content().putBlob("enc", digest, bytes);
        Map<String, String> annotations =
                LayerEncryption.seal(secret, secret.mac().doFinal(bytes), recipients);
        String text = new String(content("enc", "1").toArray(), UTF_8);
        for (Map.Entry<String, String> annotation : annotations.entrySet()) {
            text =
                    text.replace(
                            layer.annotations().get(annotation.getKey()), annotation.getValue());
        }
        text = text.replace(layer.digest().toString(), digest.toString());
        registry.content()
                .putManifest(
                        "enc", MediaType.OCI_MANIFEST, Bytes.of(text.getBytes(UTF_8)), "other");
        return name("enc:other");
    }

    @Test
    void pull_envelopeStatesAnotherDigest_refused() throws Exception {
        for (Compression compression : List.of(Compression.NONE, Compression.GZIP)) {
            String other = stating(image(compression), Digest.sha256(new byte[] {1}));
            ImageException e = assertFails(ErrorKind.DATA_LOSS, () -> host.pull(other));
            assertTrue(e.getMessage().contains("decrypted"), e.getMessage());
            host.assertNoMess();
            ImageException copied =
                    assertFails(
                            ErrorKind.DATA_LOSS,
                            () ->
                                    copy(
                                            "docker://" + other,
                                            "docker://" + name("dec:1"),
                                            CopyPlatforms.ALL,
                                            LayerRewriting.decrypt(() -> own)));
            assertTrue(copied.getMessage().contains("decrypted"), copied.getMessage());
            assertEquals(Optional.empty(), registry.content().manifest("dec", "1"));
        }
    }

    /// No more of a layer is decompressed to say what is wrong with it than to unpack it: what its
    /// unpacker says counts then.
    @Test
    void pull_envelopeStatesAnotherDigest_limitsHold() throws Exception {
        byte[] noise = new byte[4 << 20];
        new Random(7).nextBytes(noise);
        byte[] tar = new TarWriter().file("a", "b".repeat(4 << 20)).finish();
        Limits limits = Limits.defaults().with(Limits.Key.LAYER_UNCOMPRESSED_BYTES, 2 << 20);
        try (Host small = Host.open(directory.resolve("small"), limits)) {
            small.keys = own;
            for (byte[] content : List.of(noise, tar)) {
                TestImage image =
                        ImageBuilder.oci().layer(LayerSpec.of(content, Compression.GZIP)).build();
                String other = stating(image, Digest.sha256(new byte[] {1}));
                ErrorKind kind =
                        content == tar ? ErrorKind.LIMIT_EXCEEDED : ErrorKind.INVALID_CONTENT;
                ImageException e = assertFails(kind, () -> small.pull(other));
                assertFalse(e.getMessage().contains("decrypted: wanted"), e.toString());
                small.assertNoMess();
            }
        }
    }

    /// As Podman and Buildah push from their stores of uncompressed layers.
    @Test
    void pull_compressedAndEncryptedInOneGo_theDiffIdIsWhatTheEnvelopeStates() throws Exception {
        for (Compression compression : List.of(Compression.GZIP, Compression.ZSTD)) {
            TestImage image = image(compression);
            String other = stating(image, image.diffIds().getFirst());
            host.pull(other);
            assertEquals(CANARY, read(other, "etc/secret"));
            CopyResult copied =
                    copy(
                            "docker://" + other,
                            "docker://" + name("dec:1"),
                            CopyPlatforms.ALL,
                            LayerRewriting.decrypt(() -> own));
            assertEquals(image.manifest().digest(), copied.digest());
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            Descriptor layer = manifest("enc", "other").layers().getFirst();
            LayerDecoder.decode(
                    layer,
                    () -> own,
                    new ByteArrayInputStream(blob(layer.digest())),
                    out,
                    directory);
            assertEquals(
                    image.blob(image.layers().getFirst().digest()), Bytes.of(out.toByteArray()));
            host.images.remove(List.of(other));
        }
    }

    @Test
    void provide_encrypted_decryptedTreeUnderTheChainOfTheImage() throws Exception {
        TestImage image = image(Compression.GZIP);
        Reference reference = Reference.parse(encrypted(image));
        List<Digest> chain = ChainId.of(image.diffIds());
        try (LayerProvider provider = provider()) {
            host.keys = DecryptionKeys.NONE;
            // Not a refusal, after which containerd could not use its own stream processor.
            ImageException e =
                    assertFails(
                            ErrorKind.FAILED_PRECONDITION,
                            () -> provider.provide(reference, Optional.empty(), chain.getLast()));
            assertTrue(e.getMessage().contains("no key opens it"), e.getMessage());
            host.keys = own;
            LayerProvider.Layer layer =
                    provider.provide(reference, Optional.empty(), chain.getLast());
            assertEquals(image.diffIds().getLast(), layer.diffId());
            assertEquals(Optional.of(chain.getFirst()), layer.parentChain());
            assertNotEquals(layer.diffId(), layer.tree());
            assertTrue(host.snapshots.hasLayer(layer.tree(), layer.parentTree()));
            assertFalse(host.snapshots.hasLayer(layer.diffId(), layer.parentChain()));
            // Still within the grace, but the key is gone.
            host.keys = DecryptionKeys.NONE;
            assertFails(
                    ErrorKind.FAILED_PRECONDITION,
                    () -> provider.provide(reference, Optional.empty(), chain.getLast()));
        }
    }

    private LayerProvider provider() {
        return new LayerProvider(
                host.images,
                host.store,
                host.registries,
                host.limits,
                Duration.ofHours(1),
                () -> {});
    }

    // ---- copies

    @Test
    void decrypt_allPlatformsEncrypted_theOriginalByteForByte() throws Exception {
        Map<Platform, TestImage> images = new LinkedHashMap<>();
        for (String platform : List.of("linux/amd64", "linux/arm64")) {
            images.put(
                    Platform.parse(platform),
                    ImageBuilder.oci()
                            .platform(Platform.parse(platform))
                            .layer(tar -> tar.file("shared", "shared"))
                            .layer(Compression.ZSTD, tar -> tar.file("p", platform))
                            .build());
        }
        TestImage index = TestImage.index(images);
        String enc = encrypted(index);
        CopyResult result =
                copy(
                        "docker://" + enc,
                        "docker://" + name("dec:1"),
                        CopyPlatforms.ALL,
                        LayerRewriting.decrypt(() -> own));
        assertEquals(index.manifest().digest(), result.digest());
        assertEquals(index.content(), content("dec", "1"));
        // The layer that both platforms have is one blob again.
        assertEquals(5, result.blobs());
    }

    @Test
    void encrypt_dockerImage_becomesOneOfTheOci() throws Exception {
        TestImage image =
                ImageBuilder.docker()
                        .layer(tar -> tar.file("a", CANARY))
                        .layer(Compression.NONE, tar -> tar.file("b", "b"))
                        .build();
        String enc = encrypted(image);
        Manifest manifest = manifest("enc", "1");
        assertEquals(MediaType.OCI_MANIFEST, manifest.mediaType());
        assertEquals(MediaType.OCI_CONFIG, manifest.config().mediaType());
        assertEquals(
                List.of(
                        MediaType.OCI_LAYER_GZIP + "+encrypted",
                        MediaType.OCI_LAYER + "+encrypted"),
                manifest.layers().stream().map(Descriptor::mediaType).toList());
        host.pull(enc);
        assertEquals(CANARY, read(enc, "a"));
    }

    @Test
    void encrypt_descriptorWithEmbeddedDataAndUrls_dropsThem() throws Exception {
        TestImage image = image(Compression.NONE);
        Descriptor layer = image.layers().getLast();
        String embedded = Base64.getEncoder().encodeToString(image.blob(layer.digest()).toArray());
        String text =
                new String(image.content().toArray(), UTF_8)
                        .replace(
                                "\"digest\":\"" + layer.digest() + "\"",
                                "\"urls\":[\"http://127.0.0.1/x\"],\"data\":\"%s\",\"more\":{\"a\":1},\"annotations\":{\"z\":\"1\",\"a\":\"2\"},\"digest\":\"%s\""
                                        .formatted(embedded, layer.digest()));
        registry.push("plain", "1", image);
        registry.content()
                .putManifest(
                        "plain", MediaType.OCI_MANIFEST, Bytes.of(text.getBytes(UTF_8)), "data");
        copy(
                "docker://" + name("plain:data"),
                "docker://" + name("enc:1"),
                CopyPlatforms.ALL,
                LayerRewriting.encrypt(recipients, List.of()));
        String written = new String(content("enc", "1").toArray(), UTF_8);
        assertFalse(written.contains("\"data\""), written);
        assertFalse(written.contains("\"urls\""), written);
        assertTrue(
                written.contains(
                        "\"more\":{\"a\":1},\"annotations\":{\"z\":\"1\",\"a\":\"2\",\"org.opencontainers.image.enc.keys.jwe\""),
                written);
        copy(
                "docker://" + name("enc:1"),
                "docker://" + name("dec:1"),
                CopyPlatforms.ALL,
                LayerRewriting.decrypt(() -> own));
        assertTrue(
                new String(content("dec", "1").toArray(), UTF_8)
                        .contains("\"annotations\":{\"z\":\"1\",\"a\":\"2\"}"));
    }

    @Test
    void rewriting_wrongUse_refusedWithoutAnything() throws Exception {
        TestImage image = image(Compression.GZIP);
        String enc = "docker://" + encrypted(image);
        String plain = "docker://" + name("plain:1");
        String target = "docker://" + name("target:1");
        LayerRewriting decrypt = LayerRewriting.decrypt(() -> own);
        assertFails(
                ErrorKind.FAILED_PRECONDITION,
                () -> copy(plain, target, CopyPlatforms.ALL, decrypt));
        assertFails(
                ErrorKind.FAILED_PRECONDITION,
                () ->
                        copy(
                                enc,
                                target,
                                CopyPlatforms.ALL,
                                LayerRewriting.encrypt(recipients, List.of())));
        for (int layer : List.of(2, -3)) {
            ImageException e =
                    assertFails(
                            ErrorKind.INVALID_ARGUMENT,
                            () ->
                                    copy(
                                            plain,
                                            target,
                                            CopyPlatforms.ALL,
                                            LayerRewriting.encrypt(recipients, List.of(layer))));
            assertTrue(e.getMessage().contains("wanted -2 to 1"), e.getMessage());
        }
        ImageException e =
                assertFails(
                        ErrorKind.INVALID_ARGUMENT,
                        () -> copy(enc, "store:dec:1", CopyPlatforms.ALL, decrypt));
        assertTrue(e.getMessage().contains("not kept in the store"), e.getMessage());
        String archive = "docker-archive:" + directory.resolve("d.tar") + ":a:1";
        registry.clearAccessLog();
        ImageException docker =
                assertFails(
                        ErrorKind.FAILED_PRECONDITION,
                        () ->
                                copy(
                                        plain,
                                        archive,
                                        CopyPlatforms.ALL,
                                        LayerRewriting.encrypt(recipients, List.of())));
        assertTrue(docker.getMessage().contains("docker archive"), docker.getMessage());
        assertEquals(List.of(), registry.accessLog());
        List<Digest> layers =
                manifest("enc", "1").layers().stream().map(Descriptor::digest).toList();
        assertFails(
                ErrorKind.FAILED_PRECONDITION, () -> copy(enc, archive, CopyPlatforms.ALL, null));
        for (Digest layer : layers) {
            assertEquals(0, registry.gets(layer.toString()));
        }
        assertFalse(Files.exists(directory.resolve("d.tar")));
        assertFails(
                ErrorKind.PERMISSION_DENIED,
                () ->
                        copy(
                                enc,
                                target,
                                CopyPlatforms.ALL,
                                LayerRewriting.decrypt(() -> DecryptionKeys.NONE)));
        assertEquals(Optional.empty(), registry.content().manifest("target", "1"));
        assertEquals(List.of(), host.names());
    }

    @Test
    void decrypt_ciphertextChanged_nothingIsNamedOrWritten() throws Exception {
        encrypted(image(Compression.NONE));
        Descriptor layer = manifest("enc", "1").layers().getFirst();
        byte[] bytes = blob(layer.digest());
        bytes[0] ^= 1;
        Digest swapped = Digest.sha256(bytes);
        registry.content().putBlob("enc", swapped, bytes);
        String changed = changed(layer.digest().toString(), swapped.toString());
        Path out = directory.resolve("out");
        ImageException e =
                assertFails(
                        ErrorKind.INVALID_CONTENT,
                        () ->
                                copy(
                                        "docker://" + changed,
                                        "oci:" + out + ":1",
                                        CopyPlatforms.ALL,
                                        LayerRewriting.decrypt(() -> own)));
        assertTrue(e.getMessage().contains("HMAC is wrong"), e.getMessage());
        assertFalse(Files.exists(out.resolve("index.json")));
        assertEquals(List.of(), Files.exists(out) ? containing(out, CANARY) : List.of());
    }

    @Test
    void storeAndLayout_encryptedOnTheWay_samePlainBytes() throws Exception {
        TestImage image = image(Compression.GZIP);
        host.images.pull(
                new PullRequest(
                        registry.push("plain", "1", image), Optional.empty(), false, false, false),
                ProgressListener.NONE);
        String layout = "oci:" + directory.resolve("layout");
        copy(
                "store:" + name("plain:1"),
                layout + ":enc",
                CopyPlatforms.ALL,
                LayerRewriting.encrypt(recipients, List.of()));
        CopyResult back =
                copy(
                        layout + ":enc",
                        layout + ":dec",
                        CopyPlatforms.ALL,
                        LayerRewriting.decrypt(() -> own));
        assertEquals(image.manifest().digest(), back.digest());
        copy(
                "store:" + name("plain:1"),
                "store:" + name("again:1"),
                CopyPlatforms.ALL,
                LayerRewriting.encrypt(recipients, List.of()));
        assertEquals(CANARY, read(name("again:1"), "etc/secret"));
        host.assertSound();
    }

    @Test
    void decode_layerOfOthers_plainBytesOrNone() throws Exception {
        TestImage image = image(Compression.GZIP);
        encrypted(image);
        Path spool = Files.createDirectory(directory.resolve("spool"));
        for (int i = 0; i < 2; i++) {
            Descriptor layer = manifest("enc", "1").layers().get(i);
            byte[] bytes = blob(layer.digest());
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            LayerDecoder.decode(layer, () -> own, new ByteArrayInputStream(bytes), out, spool);
            assertEquals(image.blob(image.layers().get(i).digest()), Bytes.of(out.toByteArray()));

            ByteArrayOutputStream none = new ByteArrayOutputStream();
            byte[] cut = Arrays.copyOf(bytes, bytes.length - 1);
            byte[] changed = bytes.clone();
            changed[bytes.length / 2] ^= 1;
            for (byte[] wrong : List.of(cut, changed, new byte[0])) {
                assertFails(
                        ErrorKind.DATA_LOSS,
                        () ->
                                LayerDecoder.decode(
                                        layer,
                                        () -> own,
                                        new ByteArrayInputStream(wrong),
                                        none,
                                        spool));
            }
            DecryptionKeys others = others();
            assertFails(
                    ErrorKind.PERMISSION_DENIED,
                    () ->
                            LayerDecoder.decode(
                                    layer,
                                    () -> others,
                                    new ByteArrayInputStream(bytes),
                                    none,
                                    spool));
            assertEquals(0, none.size());
        }
        try (Stream<Path> left = Files.list(spool)) {
            assertEquals(List.of(), left.toList());
        }
    }

    /// What ends the reading is no property of the layer.
    private Descriptor sealed(String mediaType, LayerSecret secret, byte[] bytes)
            throws ImageException {
        return new Descriptor(
                mediaType + "+encrypted",
                Digest.sha256(bytes),
                bytes.length,
                LayerEncryption.seal(secret, secret.mac().doFinal(bytes), recipients),
                List.of(),
                Optional.empty(),
                Optional.empty(),
                Optional.empty());
    }

    @ParameterizedTest
    @EnumSource(names = {"CANCELLED", "UNAVAILABLE", "LIMIT_EXCEEDED"})
    void plainLayer_readingEnds_isNotBlamedOnTheContent(ErrorKind why) throws Exception {
        byte[] tar = new TarWriter().file("a", "b").finish();
        byte[] plain = LayerSpec.compress(tar, Compression.GZIP);
        LayerSecret secret = LayerSecret.create(Digest.sha256(tar));
        byte[] bytes = secret.cipher(0).update(plain);
        Descriptor layer = sealed(MediaType.OCI_LAYER_GZIP, secret, bytes);
        LayerSecret opened = LayerEncryption.open("test", layer, own);
        Path file = Files.write(directory.resolve("blob"), bytes);
        int[] opens = {0};
        ImageException end = new ImageException(why, "it ended");
        ImageException e =
                assertThrows(
                        ImageException.class,
                        () ->
                                PlainLayer.verify(
                                        "test",
                                        layer,
                                        opened,
                                        offset -> {
                                            // The second time it is decompressed.
                                            if (++opens[0] == 2) {
                                                throw end;
                                            }
                                            return LocalBlob.of(
                                                    FileChannel.open(file).position(offset),
                                                    "test");
                                        },
                                        Limits.defaults(),
                                        () -> {}));
        assertEquals(end, e);
    }

    @Test
    void decryptedBlob_readInSmallPieces_sameBytes() throws Exception {
        byte[] content = new byte[100_000];
        new Random(3).nextBytes(content);
        LayerSecret secret = LayerSecret.create(Digest.sha256(content));
        byte[] bytes = secret.cipher(0).update(content);
        Descriptor layer = sealed(MediaType.OCI_LAYER, secret, bytes);
        LayerSecret opened = LayerEncryption.open("test", layer, own);
        Path file = Files.write(directory.resolve("blob"), bytes);
        for (int piece : List.of(1, 7, 4096, 1 << 20)) {
            ByteBuffer into = ByteBuffer.allocateDirect(piece);
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            try (DecryptedBlob blob =
                    new DecryptedBlob(
                            "test", FileChannel.open(file), opened, layer.digest(), () -> {})) {
                while (blob.read(into.clear()) >= 0) {
                    byte[] read = new byte[into.flip().remaining()];
                    into.get(read);
                    out.writeBytes(read);
                }
                assertEquals(-1, blob.read(into.clear()));
            }
            assertArrayEquals(content, out.toByteArray());
        }
    }
}
