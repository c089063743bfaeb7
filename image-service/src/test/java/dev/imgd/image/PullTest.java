package dev.imgd.image;

import static dev.imgd.image.Host.assertFails;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.content.Ingest;
import dev.imgd.image.ImageService.ImageDetails;
import dev.imgd.image.ImageService.LayerState;
import dev.imgd.image.ImageService.Progress;
import dev.imgd.image.ImageService.ProgressListener;
import dev.imgd.image.ImageService.PullRequest;
import dev.imgd.image.ImageService.PullResult;
import dev.imgd.model.Bytes;
import dev.imgd.model.ChainId;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.MediaType;
import dev.imgd.model.MediaType.Compression;
import dev.imgd.model.Platform;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.LayerSpec;
import dev.imgd.testkit.TarWriter;
import dev.imgd.testkit.TestImage;
import dev.imgd.testkit.ZeroFile;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

@Tag("root")
class PullTest {
    private static final Platform AMD64 = new Platform("linux", "amd64", "");
    private static final Platform ARM64 = new Platform("linux", "arm64", "v8");

    @TempDir Path directory;
    private InMemoryRegistry registry;
    private Host host;

    @BeforeEach
    void start() throws IOException {
        registry = InMemoryRegistry.start();
        host = Host.open(directory);
    }

    @AfterEach
    void stop() throws ImageException {
        host.close();
        registry.close();
    }

    private static byte[] noise(int seed, int size) {
        byte[] bytes = new byte[size];
        new Random(seed).nextBytes(bytes);
        return bytes;
    }

    private static Consumer<TarWriter> file(String name, byte[] content) {
        return tar -> tar.file(name, 0644, content);
    }

    private static TestImage small(Platform platform, String text) {
        return ImageBuilder.oci()
                .platform(platform)
                .layer(tar -> tar.directory("etc", 0755).file("etc/name", text))
                .build();
    }

    /// The file of a mounted image.
    private String read(String reference, String file) throws IOException {
        Path mount = Files.createTempDirectory(directory, "mount");
        host.images.mount(reference, mount, false);
        try {
            return Files.readString(mount.resolve(file));
        } finally {
            host.images.unmount(mount);
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"NONE", "GZIP", "ZSTD"})
    void pull_anyCompression_storesVerifiesAndUnpacks(Compression compression) throws IOException {
        for (ImageBuilder builder : List.of(ImageBuilder.oci(), ImageBuilder.docker())) {
            TestImage image =
                    builder.layer(
                                    compression,
                                    tar -> tar.directory("etc", 0755).file("etc/a", "one\n"))
                            .layer(
                                    compression,
                                    tar -> tar.directory("etc", 0755).file("etc/b", "two\n"))
                            .build();
            String reference = registry.push("library/a", "1", image);

            PullResult result = host.pull(reference);

            assertEquals(image.manifest().digest(), result.digest());
            assertEquals(Optional.of(ChainId.of(image.diffIds()).getLast()), result.chainId());
            assertEquals(
                    image.layers().stream().mapToLong(Descriptor::sizeBytes).sum(),
                    result.fetchedBytes());
            assertEquals(0, result.reusedBytes());
            assertEquals(
                    List.of(
                            new ImageService.SourceUse(
                                    registry.authority(),
                                    result.fetchedBytes(),
                                    0,
                                    Optional.empty())),
                    result.sources());
            for (Map.Entry<Digest, Bytes> blob : image.blobs().entrySet()) {
                assertArrayEquals(
                        blob.getValue().toArray(),
                        host.store.content().read(blob.getKey(), 1 << 20));
            }
            assertEquals("one\n", read(reference, "etc/a"));
            assertEquals("two\n", read(reference, "etc/b"));
            assertEquals(List.of(), host.leases());
            host.assertSound();
            host.images.remove(List.of(reference));
            host.images.gc(false, false);
            host.assertEmpty();
        }
    }

    @Test
    void pull_again_fetchesAndUnpacksNothing() throws IOException {
        String reference = registry.push("a", "1", small(AMD64, "x"));
        host.pull(reference);
        registry.clearAccessLog();
        List<Path> before = host.directories();

        PullResult again = host.pull(reference);

        assertEquals(0, again.fetchedBytes());
        assertTrue(again.reusedBytes() > 0);
        assertEquals(0, registry.gets("/blobs/"));
        assertEquals(before, host.directories());
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 4, 8, 9, 32, 64})
    void bufferBytes_ofAnyNumberOfDownloads_fitIntoTheMemoryForThem(int downloads) {
        int bytes = PullEngine.bufferBytes(downloads);
        long all = (long) downloads * Ingest.LENT_BUFFERS * bytes;
        assertTrue(all <= 16 << 20, downloads + " of " + bytes);
        assertTrue(bytes >= 32 << 10, downloads + " of " + bytes);
        assertEquals(256 << 10, PullEngine.bufferBytes(4), "the default");
    }

    /// What a disk may do to a file.
    private enum Damage {
        CHANGED,
        CUT,
        GONE;

        void to(Path file) throws IOException {
            byte[] bytes = Files.readAllBytes(file);
            Files.delete(file);
            switch (this) {
                case CHANGED -> {
                    bytes[bytes.length / 2] ^= 1;
                    Files.write(file, bytes);
                }
                case CUT -> Files.write(file, Arrays.copyOf(bytes, bytes.length / 2));
                case GONE -> {}
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void pull_blobsThatTheDiskChanged_fetchesThemAgain(Damage damage) throws IOException {
        TestImage image =
                ImageBuilder.oci()
                        .layer(Compression.GZIP, file("a", noise(1, 200_000)))
                        .layer(Compression.GZIP, file("b", noise(2, 200_000)))
                        .build();
        String reference = registry.push("a", "1", image);
        host.images.pull(
                new PullRequest(reference, Optional.empty(), false, false, false),
                ProgressListener.NONE);
        Digest layer = image.layers().getLast().digest();
        damage.to(host.store.content().path(layer));
        Digest config = host.images.inspect(reference, Optional.empty()).configDigest();
        damage.to(host.store.content().path(config));
        damage.to(host.store.content().path(image.manifest().digest()));
        registry.clearAccessLog();

        PullResult again = host.pull(reference);

        assertEquals(image.layers().getLast().sizeBytes(), again.fetchedBytes());
        assertEquals(1, registry.gets(layer.toString()));
        assertEquals(0, registry.gets(image.layers().getFirst().digest().toString()));
        for (Map.Entry<Digest, Bytes> blob : image.blobs().entrySet()) {
            assertArrayEquals(
                    blob.getValue().toArray(), host.store.content().read(blob.getKey(), 1 << 20));
        }
        assertEquals(1, registry.gets(config.toString()));
        host.assertSound();
    }

    @Test
    void pull_layersOfAnotherImage_areNeitherFetchedNorUnpackedAgain() throws IOException {
        TarWriter tar = new TarWriter();
        byte[] shared =
                tar.directory("d", 0755)
                        .file("d/f", 0644, noise(1, 100_000))
                        .file("d/name", "x")
                        .finish();
        LayerSpec gzip = LayerSpec.of(shared, Compression.GZIP);
        String first = registry.push("a", "1", ImageBuilder.oci().layer(gzip).build());
        host.pull(first);
        registry.clearAccessLog();

        String second =
                registry.push(
                        "b",
                        "1",
                        ImageBuilder.oci().layer(gzip).layer(file("x", noise(2, 10))).build());
        host.pull(second);
        assertEquals(0, registry.gets(gzip.blob().sha256().toString()));
        assertEquals(2, host.layers());

        String third =
                registry.push(
                        "c",
                        "1",
                        ImageBuilder.oci().layer(LayerSpec.of(shared, Compression.ZSTD)).build());
        host.pull(third);
        assertEquals(2, host.layers());
        assertEquals(2, host.directories().size());
        host.assertSound();

        host.images.remove(List.of(first, third));
        host.images.gc(false, false);
        assertEquals(2, host.layers());
        assertEquals("x", read(second, "d/name"));
        host.assertSound();
    }

    @Test
    void pull_repeatedLayers_countOnceAndStackRight() throws IOException {
        LayerSpec empty = LayerSpec.of(new TarWriter().finish(), Compression.GZIP);
        TestImage image =
                ImageBuilder.oci()
                        .layer(tar -> tar.file("a", "1"))
                        .layer(empty)
                        .layer(tar -> tar.file("b", "2"))
                        .layer(empty)
                        .layer(empty)
                        .build();
        String reference = registry.push("a", "1", image);

        PullResult result = host.pull(reference);

        assertEquals(5, result.layers());
        assertEquals(1, registry.gets(empty.blob().sha256().toString()));
        assertEquals(3, host.layers());
        assertEquals("1", read(reference, "a"));
        assertEquals("2", read(reference, "b"));
        host.assertSound();
    }

    @Test
    void pull_repeatedLayerWithoutDirectoryEntries_fitsEachPlace() throws IOException {
        LayerSpec bare =
                LayerSpec.of(new TarWriter().file("opt/tool/bin", "x").finish(), Compression.GZIP);
        TestImage image =
                ImageBuilder.oci()
                        .layer(tar -> tar.directory("opt", 0700).directory("opt/tool", 0711))
                        .layer(bare)
                        .layer(tar -> tar.directory("opt", 0750).directory("opt/tool", 0701))
                        .layer(bare)
                        .build();
        String reference = registry.push("a", "1", image);

        host.pull(reference);

        Path mount = Files.createDirectory(directory.resolve("m"));
        host.images.mount(reference, mount, false);
        try {
            assertEquals("rwxr-x---", mode(mount.resolve("opt")));
            assertEquals("rwx-----x", mode(mount.resolve("opt/tool")));
            assertEquals("x", Files.readString(mount.resolve("opt/tool/bin")));
        } finally {
            host.images.unmount(mount);
        }
        host.assertSound();
        host.images.remove(List.of(reference));
        host.images.gc(false, false);
        host.assertEmpty();
    }

    private static String mode(Path file) throws IOException {
        return java.nio.file.attribute.PosixFilePermissions.toString(
                Files.getPosixFilePermissions(file));
    }

    @Test
    void pull_sameLayerInTwoCompressions_isOneLayerOnDisk() throws IOException {
        byte[] tar = new TarWriter().file("a", "1").finish();
        String reference =
                registry.push(
                        "a",
                        "1",
                        ImageBuilder.oci()
                                .layer(LayerSpec.of(tar, Compression.GZIP))
                                .layer(LayerSpec.of(tar, Compression.ZSTD))
                                .build());
        host.pull(reference);
        assertEquals(1, host.layers());
        assertEquals(1, host.directories().size());
        host.assertSound();
    }

    // ---- platforms

    private static TestImage twoPlatforms() {
        Map<Platform, TestImage> images = new LinkedHashMap<>();
        images.put(ARM64, small(ARM64, "arm"));
        images.put(AMD64, small(AMD64, "amd"));
        return TestImage.index(images);
    }

    private static PullRequest request(String reference, Optional<String> platform, boolean all) {
        return new PullRequest(reference, platform, all, true, false);
    }

    @Test
    void pull_index_takesOnlyTheWantedPlatform() throws IOException {
        TestImage index = twoPlatforms();
        String reference = registry.push("a", "1", index);
        host.images.pull(
                request(reference, Optional.of("linux/amd64"), false), ProgressListener.NONE);

        assertEquals(2, registry.gets("/blobs/"));
        assertEquals(4, host.blobs().size()); // index, manifest, configuration, layer
        assertEquals(List.of("linux/amd64"), host.images.list().getFirst().platforms());
        assertEquals("amd", read(reference, "etc/name"));
        ImageException missing =
                assertFails(
                        ErrorKind.NOT_FOUND,
                        () -> host.images.inspect(reference, Optional.of("linux/s390x")));
        assertTrue(missing.getMessage().contains("linux/amd64"), missing.getMessage());
        host.assertSound();
    }

    @Test
    void pull_secondPlatformOfAnIndex_keepsBothThroughCollections() throws IOException {
        String reference = registry.push("a", "1", twoPlatforms());
        for (String platform : List.of("linux/amd64", "linux/arm64")) {
            host.images.pull(
                    request(reference, Optional.of(platform), false), ProgressListener.NONE);
            host.images.gc(false, false);
        }
        assertEquals(7, host.blobs().size());
        assertEquals(2, host.layers());
        assertEquals(2, host.images.list().getFirst().platforms().size());
        for (String platform : List.of("linux/amd64", "linux/arm64")) {
            ImageDetails details = host.images.inspect(reference, Optional.of(platform));
            assertTrue(details.snapshot().isPresent(), platform);
        }
        host.assertSound();
    }

    @Test
    void pull_allPlatforms_storesAllAndUnpacksOne() throws IOException {
        String reference = registry.push("a", "1", twoPlatforms());
        PullResult result =
                host.images.pull(
                        request(reference, Optional.of("linux/amd64"), true),
                        ProgressListener.NONE);
        assertEquals(2, result.layers());
        assertEquals(7, host.blobs().size());
        assertEquals(1, host.layers());
        host.assertSound();
        host.images.gc(false, false);
        assertEquals(7, host.blobs().size());
    }

    @Test
    void pull_nestedIndex_isFollowed() throws IOException {
        TestImage inner = twoPlatforms();
        TestImage outer = TestImage.index(Map.of(AMD64, inner));
        String reference = registry.push("a", "1", outer);
        host.images.pull(
                request(reference, Optional.of("linux/amd64"), false), ProgressListener.NONE);
        assertEquals("amd", read(reference, "etc/name"));
        host.images.gc(false, false);
        assertEquals(5, host.blobs().size());
        host.assertSound();
    }

    @Test
    void pull_indexThatLiesAboutAPlatform_leavesNothingOfTheWrongOne() throws IOException {
        Map<Platform, TestImage> images = new LinkedHashMap<>();
        images.put(AMD64, small(ARM64, "lie"));
        TestImage lie = TestImage.index(images);
        String reference = registry.push("a", "1", lie);
        ImageException e =
                assertFails(
                        ErrorKind.NOT_FOUND,
                        () ->
                                host.images.pull(
                                        request(reference, Optional.of("linux/amd64"), false),
                                        ProgressListener.NONE));
        assertTrue(e.getMessage().contains("arm64"), e.getMessage());
        host.assertNoMess();

        // An entry that turns out to be another platform's does not keep the right one from being
        // found.
        TestImage wrong = small(ARM64, "lie");
        TestImage right = small(AMD64, "truth");
        TestImage index = TestImage.index(Map.of(AMD64, TestImage.index(Map.of(AMD64, wrong))));
        Map<Platform, TestImage> both = new LinkedHashMap<>();
        both.put(AMD64, index);
        both.put(new Platform("linux", "386", ""), right);
        String second = registry.push("b", "1", TestImage.index(both));
        assertFails(
                ErrorKind.NOT_FOUND,
                () ->
                        host.images.pull(
                                request(second, Optional.of("linux/arm/v7"), false),
                                ProgressListener.NONE));
        host.assertNoMess();
    }

    @Test
    void pull_noSuchPlatform_listsThoseOffered() throws IOException {
        String reference = registry.push("a", "1", twoPlatforms());
        ImageException e =
                assertFails(
                        ErrorKind.NOT_FOUND,
                        () ->
                                host.images.pull(
                                        request(reference, Optional.of("linux/s390x"), false),
                                        ProgressListener.NONE));
        assertTrue(e.getMessage().contains("linux/amd64"), e.getMessage());
        assertTrue(e.getMessage().contains("linux/arm64"), e.getMessage());
        host.assertNoMess();
    }

    // ---- artifacts

    private TestImage artifact(
            String configType, Bytes config, List<Descriptor> layers, Map<Digest, Bytes> blobs) {
        StringBuilder json = new StringBuilder();
        json.append("{\"schemaVersion\":2,\"mediaType\":\"").append(MediaType.OCI_MANIFEST);
        json.append("\",\"config\":")
                .append(descriptor(configType, config))
                .append(",\"layers\":[");
        for (int i = 0; i < layers.size(); i++) {
            Descriptor layer = layers.get(i);
            json.append(i == 0 ? "" : ",")
                    .append(
                            "{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%d}"
                                    .formatted(
                                            layer.mediaType(), layer.digest(), layer.sizeBytes()));
        }
        Bytes manifest = Bytes.of(json.append("]}").toString().getBytes(StandardCharsets.UTF_8));
        Descriptor target =
                new Descriptor(MediaType.OCI_MANIFEST, manifest.sha256(), manifest.size());
        Map<Digest, Bytes> all = new LinkedHashMap<>(blobs);
        all.put(config.sha256(), config);
        return new TestImage(target, Map.of(target, manifest), all, layers, List.of());
    }

    private static String descriptor(String type, Bytes content) {
        return "{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%d}"
                .formatted(type, content.sha256(), content.size());
    }

    @Test
    void pull_artifactOfUnknownTypes_isStoredAndNotUnpacked() throws IOException {
        Bytes config = Bytes.of("{}".getBytes(StandardCharsets.UTF_8));
        Bytes data = Bytes.of(noise(4, 50_000));
        Descriptor layer = new Descriptor("application/vnd.acme.model", data.sha256(), data.size());
        String reference =
                registry.push(
                        "model",
                        "1",
                        artifact(
                                "application/vnd.acme.config",
                                config,
                                List.of(layer),
                                Map.of(data.sha256(), data)));
        List<Progress> progress = new ArrayList<>();
        PullResult result = host.images.pull(PullRequest.of(reference), progress::add);
        assertEquals(Optional.empty(), result.chainId());
        assertTrue(host.hasBlob(data.sha256()));
        assertEquals(0, host.layers());
        assertEquals("done", progress.getLast().phase());
        assertEquals(progress.getLast().totalBytes(), progress.getLast().doneBytes());
        assertEquals(1, progress.stream().filter(p -> p.phase().equals("done")).count());
        assertFails(ErrorKind.FAILED_PRECONDITION, () -> read(reference, "x"));
        assertEquals("", host.images.inspect(reference, Optional.empty()).config());
        host.assertSound();
    }

    // ---- progress

    @Test
    void pull_progress_endsWithEverythingDone() throws IOException {
        TestImage image =
                ImageBuilder.oci()
                        .layer(file("a", noise(1, 500_000)))
                        .layer(file("b", noise(2, 300_000)))
                        .build();
        List<Progress> seen = new ArrayList<>();
        host.images.pull(PullRequest.of(registry.push("a", "1", image)), seen::add);
        Progress last = seen.getLast();
        assertEquals("done", last.phase());
        assertEquals(last.totalBytes(), last.doneBytes());
        assertEquals(last.totalBytes(), last.fetchedBytes());
        assertTrue(
                last.layers().stream().allMatch(l -> l.state() == LayerState.DONE),
                last.toString());
        assertTrue(
                last.layers().stream().allMatch(l -> l.unpackedBytes() == l.totalBytes()),
                last.toString());
    }

    // ---- names

    @Test
    void pull_movedTag_replacesTheImageAndLetsTheOldGo() throws IOException {
        TestImage old = small(AMD64, "old");
        String reference = registry.push("a", "1", old);
        host.pull(reference);
        registry.push("a", "1", small(AMD64, "new"));
        host.pull(reference);
        host.images.gc(false, false);
        assertFalse(host.hasBlob(old.manifest().digest()));
        assertEquals(1, host.layers());
        assertEquals("new", read(reference, "etc/name"));
        host.assertSound();
    }

    @Test
    void pull_byDigest_isFoundByDigest() throws IOException {
        TestImage image = small(AMD64, "x");
        registry.push("a", "1", image);
        String name = registry.authority() + "/a";
        String pinned = name + "@" + image.manifest().digest();
        host.pull(pinned);
        assertEquals(List.of(pinned), host.names());
        assertEquals(pinned, host.images.inspect(pinned, Optional.empty()).name());
        assertFails(ErrorKind.NOT_FOUND, () -> host.images.inspect(name + ":1", Optional.empty()));
        host.images.remove(List.of(pinned));
        host.pull(name + ":1");
        assertEquals(name + ":1", host.images.inspect(pinned, Optional.empty()).name());
        assertFails(
                ErrorKind.NOT_FOUND,
                () ->
                        host.images.inspect(
                                registry.authority() + "/b@" + image.manifest().digest(),
                                Optional.empty()));
    }

    // ---- bad input

    private ImageException assertRefused(ErrorKind kind, TestImage image) throws IOException {
        String reference = registry.push("bad", "1", image);
        ImageException e = assertFails(kind, () -> host.pull(reference));
        assertFalse(e.getMessage().contains("\n"), e.getMessage());
        host.assertNoMess();
        Host.await("the workers to rest", () -> Host.busyWorkers().isEmpty());
        return e;
    }

    @Test
    void pull_wrongDiffId_leavesNothing() throws IOException {
        byte[] tar = new TarWriter().file("a", "1").finish();
        LayerSpec wrong =
                new LayerSpec(
                        Bytes.of(LayerSpec.compress(tar, Compression.GZIP)),
                        Digest.sha256(new byte[1]),
                        Compression.GZIP);
        ImageException e =
                assertRefused(
                        ErrorKind.DATA_LOSS,
                        ImageBuilder.oci().layer(file("x", noise(1, 1000))).layer(wrong).build());
        assertTrue(e.getMessage().contains(wrong.diffId().toString()), e.getMessage());
    }

    @Test
    void pull_moreDiffIdsThanLayers_leavesNothing() throws IOException {
        TestImage good =
                ImageBuilder.oci()
                        .layer(file("a", noise(1, 10)))
                        .layer(file("b", noise(2, 10)))
                        .build();
        Bytes config =
                good.blobs().entrySet().stream()
                        .filter(
                                b ->
                                        good.layers().stream()
                                                .noneMatch(l -> l.digest().equals(b.getKey())))
                        .findFirst()
                        .orElseThrow()
                        .getValue();
        TestImage image =
                artifact(
                        MediaType.OCI_CONFIG,
                        config,
                        List.of(good.layers().getFirst()),
                        good.blobs());
        ImageException e = assertRefused(ErrorKind.INVALID_CONTENT, image);
        assertTrue(e.getMessage().contains("diff"), e.getMessage());
    }

    @Test
    void pull_hostileArchives_leavesNothing() throws IOException {
        assertRefused(
                ErrorKind.INVALID_CONTENT,
                ImageBuilder.oci()
                        .layer(
                                tar ->
                                        tar.file("target", "x")
                                                .hardLink("link", "../../../etc/passwd"))
                        .build());
        byte[] garbage = noise(3, 4096);
        assertRefused(
                ErrorKind.INVALID_CONTENT,
                ImageBuilder.oci()
                        .layer(file("fine", noise(1, 100_000)))
                        .layer(
                                new LayerSpec(
                                        Bytes.of(garbage),
                                        Digest.sha256(garbage),
                                        Compression.GZIP))
                        .build());
    }

    @Test
    void pull_gzipBomb_leavesNothing() throws IOException {
        host.close();
        host =
                Host.open(
                        directory,
                        Limits.defaults().with(Limits.Key.LAYER_UNCOMPRESSED_BYTES, 1 << 20));
        ImageException e =
                assertRefused(
                        ErrorKind.LIMIT_EXCEEDED,
                        ImageBuilder.oci().layer(file("zeros", new byte[8 << 20])).build());
        assertTrue(e.getMessage().contains("limit"), e.getMessage());
    }

    @Test
    void pull_imageThatUnpacksToTooMuch_leavesNothing() throws IOException {
        host.close();
        host =
                Host.open(
                        directory,
                        Limits.defaults().with(Limits.Key.IMAGE_UNCOMPRESSED_BYTES, 3 << 20));
        assertRefused(
                ErrorKind.LIMIT_EXCEEDED,
                ImageBuilder.oci()
                        .layer(file("a", new byte[2 << 20]))
                        .layer(file("b", noise(1, 2 << 20)))
                        .build());
    }

    /// As `dd if=/dev/zero` in a Dockerfile makes them; containerd and docker accept them.
    @ParameterizedTest
    @EnumSource(
            value = Compression.class,
            names = {"GZIP", "ZSTD"})
    void pull_fileOfOneGibibyteOfZeros_isAccepted(Compression compression) throws IOException {
        TestImage image = ImageBuilder.oci().layer(ZeroFile.layer(1L << 30, compression)).build();
        assertTrue(image.layers().getFirst().sizeBytes() < 2 << 20);
        host.pull(registry.push("zeros", "1", image));
        Path mount = Files.createDirectory(directory.resolve("mount"));
        host.images.mount(registry.authority() + "/zeros:1", mount, false);
        try {
            assertEquals(1L << 30, Files.size(mount.resolve("zeros")));
        } finally {
            host.images.unmount(mount);
        }
    }

    @ParameterizedTest
    @EnumSource(
            value = Compression.class,
            names = {"GZIP", "ZSTD"})
    void pull_bomb_endsAtTheSizeOfALayer(Compression compression) throws IOException {
        host.close();
        host =
                Host.open(
                        directory,
                        Limits.defaults().with(Limits.Key.LAYER_UNCOMPRESSED_BYTES, 256 << 20));
        ImageException e =
                assertRefused(
                        ErrorKind.LIMIT_EXCEEDED,
                        ImageBuilder.oci().layer(ZeroFile.bomb(4L << 30, compression)).build());
        assertTrue(e.getMessage().contains("limits.layer_uncompressed_bytes"), e.getMessage());
    }

    /// Each layer is within the limits, and none is whole when the sum is too large.
    @Test
    void pull_bombInManyLayers_endsWhileTheyAreUnpacked() throws IOException {
        host.close();
        host =
                Host.open(
                        directory,
                        Limits.defaults().with(Limits.Key.IMAGE_UNCOMPRESSED_BYTES, 256 << 20));
        ImageBuilder image = ImageBuilder.oci();
        for (int i = 1; i <= 8; i++) {
            image.layer(ZeroFile.bomb((64L + i) << 26, Compression.GZIP));
        }
        ImageException e = assertRefused(ErrorKind.LIMIT_EXCEEDED, image.build());
        assertTrue(e.getMessage().contains("limits.image_uncompressed_bytes"), e.getMessage());
    }

    @Test
    void pull_wrongBytes_leavesNothingAndSucceedsWhenTheRegistryIsRight() throws IOException {
        for (Fault fault :
                List.of(
                        Fault.wrongByteAt(50_000),
                        Fault.shorter(40_000),
                        Fault.longer(10),
                        Fault.endless(),
                        Fault.content(noise(9, 100)))) {
            TestImage image =
                    ImageBuilder.oci()
                            .layer(file("a", noise(1, 100_000)))
                            .layer(file("b", noise(2, 1000)))
                            .build();
            String reference = registry.push("a", "1", image);
            Digest bad = image.layers().getFirst().digest();
            registry.always(bad.toString(), fault);
            ImageException e = assertFails(ErrorKind.DATA_LOSS, () -> host.pull(reference));
            assertFalse(e.getMessage().contains("\n"), e.getMessage());
            assertFalse(host.hasBlob(bad));
            host.assertNoMess();
            Host.await("the workers to rest", () -> Host.busyWorkers().isEmpty());
            registry.behave();
            host.pull(reference);
            host.assertSound();
            host.images.remove(List.of(reference));
            host.images.gc(false, false);
            host.assertEmpty();
        }
    }

    @Test
    void pull_missingOrForbidden_saysSo() throws IOException {
        assertFails(ErrorKind.NOT_FOUND, () -> host.pull(registry.authority() + "/none:1"));
        TestImage image = small(AMD64, "x");
        String reference = registry.push("a", "1", image);
        registry.always(
                image.layers().getFirst().digest().toString(),
                Fault.error(404, "BLOB_UNKNOWN", "x"));
        assertFails(ErrorKind.NOT_FOUND, () -> host.pull(reference));
        registry.behave();
        registry.always(
                image.layers().getFirst().digest().toString(), Fault.error(403, "DENIED", "x"));
        assertFails(ErrorKind.PERMISSION_DENIED, () -> host.pull(reference));
        host.assertNoMess();
        assertFails(ErrorKind.INVALID_ARGUMENT, () -> host.pull("Not A Reference"));
        assertNotEquals(0, registry.accessLog().size());
    }
}
