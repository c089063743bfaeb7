package dev.imgd.image;

import static dev.imgd.image.Host.assertFails;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.github.luben.zstd.Zstd;
import dev.imgd.content.Ingest;
import dev.imgd.content.IngestStatus;
import dev.imgd.image.ImageService.ExportFormat;
import dev.imgd.image.ImageService.ImageSummary;
import dev.imgd.image.ImageService.ProgressListener;
import dev.imgd.image.ImageService.PullRequest;
import dev.imgd.linux.Fs;
import dev.imgd.model.Bytes;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.MediaType.Compression;
import dev.imgd.model.Platform;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.LayerSpec;
import dev.imgd.testkit.TarWriter;
import dev.imgd.testkit.TestImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

@Tag("root")
class ArchiveTest {
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

    private static TestImage image(String text) {
        byte[] noise = new byte[50_000];
        new Random(5).nextBytes(noise);
        return ImageBuilder.oci()
                .layer(tar -> tar.directory("d", 0755).file("d/noise", 0644, noise))
                .layer(Compression.ZSTD, tar -> tar.file("text", text))
                .command("/text")
                .build();
    }

    /// A host that has nothing but what it imports.
    private Host other(String name) throws ImageException {
        return Host.open(directory.resolve(name));
    }

    private static void assertShows(Host host, String reference, String text) throws IOException {
        Path mount = host.root.resolve("mounted");
        host.images.mount(reference, mount, false);
        try {
            assertEquals(text, Files.readString(mount.resolve("text")));
        } finally {
            host.images.unmount(mount);
        }
    }

    // ---- there and back

    @ParameterizedTest
    @EnumSource
    void export_thenImport_givesTheSameDigests(ExportFormat format) throws IOException {
        TestImage first = image("one");
        TestImage second = image("two");
        String a = registry.push("a", "1", first);
        String b = registry.push("b", "2", second);
        host.pull(a);
        host.pull(b);
        host.images.tag(b, "docker.io/library/c:3");
        Path target = directory.resolve("archive");
        host.images.export(List.of(a, b, "c:3"), target, format);

        try (Host other = other("other")) {
            List<ImageSummary> imported = other.images.importImages(target, Optional.empty(), true);
            Map<String, Digest> names = new TreeMap<>();
            imported.forEach(image -> names.put(image.name(), image.digest()));
            assertEquals(
                    Map.of(
                            a,
                            first.manifest().digest(),
                            b,
                            second.manifest().digest(),
                            "docker.io/library/c:3",
                            second.manifest().digest()),
                    names);
            assertShows(other, a, "one");
            assertShows(other, "c:3", "two");
            assertEquals(List.of(), other.leases());
            other.assertSound();
            other.images.gc(false, false);
            assertEquals(3, other.layers());
            other.images.remove(List.of(a, b, "c:3"));
            other.images.gc(false, false);
            other.assertEmpty();
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"gzip", "two gzip members", "zstd"})
    void import_compressedTar_isExpanded(String how) throws IOException {
        String a = registry.push("a", "1", image("one"));
        host.pull(a);
        Path target = directory.resolve("archive.tar");
        host.images.export(List.of(a), target, ExportFormat.OCI_ARCHIVE);
        byte[] tar = Files.readAllBytes(target);
        byte[] compressed =
                switch (how) {
                    case "gzip" -> gzip(tar);
                    case "zstd" -> Zstd.compress(tar);
                    default -> {
                        ByteArrayOutputStream both = new ByteArrayOutputStream();
                        both.write(gzip(Arrays.copyOf(tar, 1000)));
                        both.write(gzip(Arrays.copyOfRange(tar, 1000, tar.length)));
                        yield both.toByteArray();
                    }
                };
        Path archive = write("archive", compressed);
        try (Host other = other("other")) {
            other.images.importImages(archive, Optional.empty(), true);
            assertShows(other, a, "one");
            other.assertSound();
        }
        Path cut = write("cut", Arrays.copyOf(compressed, compressed.length - 20));
        try (Host other = other("another")) {
            assertFails(
                    ErrorKind.INVALID_CONTENT,
                    () -> other.images.importImages(cut, Optional.empty(), true));
            other.assertNoMess();
        }
    }

    private static byte[] gzip(byte[] content) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (GZIPOutputStream gzip = new GZIPOutputStream(out)) {
            gzip.write(content);
        }
        return out.toByteArray();
    }

    @Test
    void export_twice_givesTheSameBytes() throws IOException {
        String a = registry.push("a", "1", image("one"));
        host.pull(a);
        Path one = directory.resolve("one.tar");
        Path two = directory.resolve("two.tar");
        host.images.export(List.of(a), one, ExportFormat.DOCKER_ARCHIVE);
        host.images.export(List.of(a), two, ExportFormat.DOCKER_ARCHIVE);
        assertArrayEquals(Files.readAllBytes(one), Files.readAllBytes(two));
    }

    @ParameterizedTest
    @EnumSource
    void export_blobThatTheDiskChanged_isRefusedUntilItIsPulledAgain(ExportFormat format)
            throws IOException {
        TestImage image = image("one");
        String a = registry.push("a", "1", image);
        host.pull(a);
        Digest layer = image.layers().getFirst().digest();
        Path file = host.store.content().path(layer);
        byte[] bytes = Files.readAllBytes(file);
        bytes[bytes.length / 2] ^= 1;
        Files.delete(file);
        Files.write(file, bytes);
        Path target = directory.resolve("out");

        assertFails(ErrorKind.DATA_LOSS, () -> host.images.export(List.of(a), target, format));

        assertFalse(Files.exists(target));
        host.pull(a);
        host.images.export(List.of(a), target, format);
        try (Host other = other("other")) {
            other.images.importImages(target, Optional.empty(), true);
            assertShows(other, a, "one");
            other.assertSound();
        }
    }

    @Test
    void export_multiPlatform_bringsWhatIsThere() throws IOException {
        Map<Platform, TestImage> platforms = new LinkedHashMap<>();
        platforms.put(AMD64, ImageBuilder.oci().layer(t -> t.file("text", "amd")).build());
        platforms.put(
                ARM64,
                ImageBuilder.oci().platform(ARM64).layer(t -> t.file("text", "arm")).build());
        TestImage index = TestImage.index(platforms);
        String a = registry.push("a", "1", index);
        for (boolean all : List.of(false, true)) {
            host.images.pull(
                    new PullRequest(a, Optional.of("linux/amd64"), all, true, false),
                    ProgressListener.NONE);
            Path target = directory.resolve("multi-" + all);
            host.images.export(List.of(a), target, ExportFormat.OCI_DIRECTORY);
            try (Host other = other("other-" + all)) {
                ImageSummary summary =
                        other.images.importImages(target, Optional.empty(), true).getFirst();
                assertEquals(index.manifest().digest(), summary.digest());
                assertEquals(all ? 2 : 1, summary.platforms().size());
                other.images.gc(false, false);
                assertEquals(all ? 7 : 4, other.blobs().size());
                other.assertSound();
            }
        }
    }

    @Test
    void export_placesThatCannotBeWritten_areRefusedAndNothingIsLeft() throws IOException {
        String a = registry.push("a", "1", image("one"));
        host.pull(a);
        assertFails(
                ErrorKind.NOT_FOUND,
                () ->
                        host.images.export(
                                List.of(a),
                                directory.resolve("no/where"),
                                ExportFormat.OCI_ARCHIVE));
        Path full = Files.createDirectory(directory.resolve("full"));
        Files.writeString(full.resolve("precious"), "x");
        for (ExportFormat format : ExportFormat.values()) {
            assertFails(
                    ErrorKind.ALREADY_EXISTS, () -> host.images.export(List.of(a), full, format));
        }
        assertEquals("x", Files.readString(full.resolve("precious")));
        assertFails(
                ErrorKind.NOT_FOUND,
                () ->
                        host.images.export(
                                List.of(a, "nothing"),
                                directory.resolve("t"),
                                ExportFormat.OCI_ARCHIVE));
        try (Stream<Path> files = Files.list(directory)) {
            assertTrue(files.noneMatch(file -> file.toString().endsWith(".partial")));
        }
    }

    @ParameterizedTest
    @EnumSource
    void export_targetExists_isNeverReplaced(ExportFormat format) throws IOException {
        String a = registry.push("a", "1", image("one"));
        host.pull(a);
        Path file = Files.writeString(directory.resolve("file"), "precious");
        Path link = Files.createSymbolicLink(directory.resolve("link"), Path.of("nowhere"));
        for (Path target : List.of(file, link)) {
            assertFails(
                    ErrorKind.ALREADY_EXISTS, () -> host.images.export(List.of(a), target, format));
        }
        assertEquals("precious", Files.readString(file));
        assertFalse(Files.exists(directory.resolve("nowhere")));
    }

    @ParameterizedTest
    @EnumSource
    void export_severalToOneTarget_oneWinsAndIsWhole(ExportFormat format) throws Exception {
        String a = registry.push("a", "1", image("one"));
        host.pull(a);
        Path target = directory.resolve("t");
        int won = 0;
        try (ExecutorService threads = Executors.newFixedThreadPool(4)) {
            List<Future<?>> exports = new ArrayList<>();
            for (int i = 0; i < 4; i++) {
                exports.add(
                        threads.submit(
                                () -> {
                                    host.images.export(List.of(a), target, format);
                                    return null;
                                }));
            }
            for (Future<?> export : exports) {
                try {
                    export.get();
                    won++;
                } catch (ExecutionException e) {
                    ImageException refused = (ImageException) e.getCause();
                    assertEquals(ErrorKind.ALREADY_EXISTS, refused.kind(), refused.toString());
                }
            }
        }
        assertEquals(1, won);
        try (Host other = other("other")) {
            other.images.importImages(target, Optional.of("b:1"), true);
            assertShows(other, "b:1", "one");
        }
        assertEquals(List.of(), partials());
    }

    @Test
    void export_othersComeAndGoBesideIt_isNotDisturbed() throws Exception {
        String a = registry.push("a", "1", image("one"));
        host.pull(a);
        AtomicBoolean done = new AtomicBoolean();
        try (ExecutorService threads = Executors.newSingleThreadExecutor()) {
            Future<?> other =
                    threads.submit(
                            () -> {
                                for (int i = 0; !done.get(); i++) {
                                    Path partial =
                                            directory.resolve(".t.%08x.partial".formatted(i % 64));
                                    Files.deleteIfExists(partial);
                                    Files.createFile(partial);
                                }
                                return null;
                            });
            try {
                for (int i = 0; i < 50; i++) {
                    Path target = directory.resolve("t");
                    host.images.export(List.of(a), target, ExportFormat.OCI_ARCHIVE);
                    Files.delete(target);
                }
            } finally {
                done.set(true);
            }
            other.get();
        }
    }

    @Test
    void export_abandonedOnes_areRemovedByTheNext() throws IOException {
        String a = registry.push("a", "1", image("one"));
        host.pull(a);
        Path old = Files.createDirectories(directory.resolve(".t.01234567.partial/blobs"));
        Path young = Files.writeString(directory.resolve(".t.76543210.partial"), "x");
        Path others = Files.writeString(directory.resolve(".tt.01234567.partial"), "x");
        FileTime yesterday = FileTime.from(Instant.now().minus(Duration.ofHours(25)));
        Files.setLastModifiedTime(old.getParent(), yesterday);
        Files.setLastModifiedTime(others, yesterday);
        host.images.export(List.of(a), directory.resolve("t"), ExportFormat.OCI_ARCHIVE);
        assertEquals(List.of(young, others), partials());
    }

    private List<Path> partials() throws IOException {
        try (Stream<Path> files = Files.list(directory)) {
            return files.filter(file -> file.toString().endsWith(".partial")).sorted().toList();
        }
    }

    @Test
    void open_importAndUnpackThatWereKilled_leaveNothing() throws IOException {
        store(host, "import/1", "import/1/0");
        store(host, "unpack/2", "layer-x");
        store(host, "pull/localhost/a:1#3", "layer-y");
        host.close();
        host = Host.open(directory);
        assertEquals(List.of("pull/localhost/a:1#3"), host.leases());
        assertEquals(
                Set.of("layer-x", "layer-y"),
                host.store.content().ingests(Host.NAMESPACE).stream()
                        .map(IngestStatus::ref)
                        .collect(Collectors.toSet()));
    }

    /// What a process that is killed in the middle of a call leaves.
    private static void store(Host host, String lease, String ingest) throws IOException {
        host.store.leases().create(Host.NAMESPACE, lease, Duration.ofHours(24), Map.of());
        try (Ingest bytes = host.store.content().ingest(Host.NAMESPACE, ingest, Optional.empty())) {
            bytes.write(ByteBuffer.wrap(new byte[1000]));
        }
    }

    // ---- docker archives

    /// As old versions of docker save wrote them: a directory for each layer, and links for
    /// repeated ones.
    private Path dockerSave(String repoTags, byte[] config, List<byte[]> layers)
            throws IOException {
        TarWriter archive = new TarWriter();
        StringBuilder names = new StringBuilder();
        for (int i = 0; i < layers.size(); i++) {
            archive.directory("l" + i, 0755).file("l" + i + "/VERSION", "1.0");
            int same = i;
            for (int j = 0; j < i; j++) {
                if (Arrays.equals(layers.get(i), layers.get(j))) {
                    same = j;
                    break;
                }
            }
            if (same < i) {
                archive.symlink("l" + i + "/layer.tar", "../l" + same + "/layer.tar");
            } else {
                archive.file("l" + i + "/layer.tar", 0644, layers.get(i));
            }
            names.append(i == 0 ? "" : ",").append("\"l").append(i).append("/layer.tar\"");
        }
        archive.file("c.json", 0644, config);
        archive.file(
                "manifest.json",
                "[{\"Config\":\"c.json\",\"RepoTags\":%s,\"Layers\":[%s]}]"
                        .formatted(repoTags, names));
        return write("save.tar", archive.finish());
    }

    private Path write(String name, byte[] content) throws IOException {
        return Files.write(directory.resolve(name), content);
    }

    private static byte[] config(List<byte[]> layers) {
        ImageBuilder builder = ImageBuilder.docker();
        layers.forEach(layer -> builder.layer(LayerSpec.of(layer, Compression.NONE)));
        TestImage image = builder.build();
        return image.blobs().entrySet().stream()
                .filter(e -> image.layers().stream().noneMatch(l -> l.digest().equals(e.getKey())))
                .findFirst()
                .orElseThrow()
                .getValue()
                .toArray();
    }

    private static List<byte[]> layers() {
        byte[] same = new TarWriter().file("same", "s").finish();
        return List.of(same, new TarWriter().file("text", "saved").finish(), same);
    }

    @Test
    void import_dockerSave_makesAManifestAndKeepsTheNames() throws IOException {
        List<byte[]> layers = layers();
        Path archive = dockerSave("[\"a:1\",\"b.example/c:2\"]", config(layers), layers);
        List<ImageSummary> imported = host.images.importImages(archive, Optional.empty(), true);
        assertEquals(
                List.of("docker.io/library/a:1", "b.example/c:2"),
                imported.stream().map(ImageSummary::name).toList());
        assertShows(host, "a:1", "saved");
        assertEquals(2, host.layers());
        assertEquals(List.of(), host.leases());
        host.assertSound();
        host.images.gc(false, false);
        assertShows(host, "b.example/c:2", "saved");
    }

    @ParameterizedTest
    @ValueSource(strings = {"null", "[]"})
    void import_dockerSaveWithoutAName_wantsOne(String tags) throws IOException {
        List<byte[]> layers = layers();
        Path archive = dockerSave(tags, config(layers), layers);
        ImageException e =
                assertFails(
                        ErrorKind.INVALID_ARGUMENT,
                        () -> host.images.importImages(archive, Optional.empty(), true));
        assertTrue(e.getMessage().contains("--name"), e.getMessage());
        host.assertNoMess();
        assertEquals(
                "docker.io/library/x:7",
                host.images.importImages(archive, Optional.of("x:7"), false).getFirst().name());
        assertShows(host, "x:7", "saved");
    }

    @Test
    void import_layerOfAnotherDiffId_leavesNothing() throws IOException {
        List<byte[]> layers = layers();
        List<byte[]> wrong =
                List.of(
                        layers.get(0),
                        new TarWriter().file("text", "other").finish(),
                        layers.get(2));
        Path archive = dockerSave("[\"a:1\"]", config(layers), wrong);
        assertFails(
                ErrorKind.DATA_LOSS,
                () -> host.images.importImages(archive, Optional.empty(), false));
        host.assertNoMess();
        Path fewer = dockerSave("[\"a:1\"]", config(layers), layers.subList(0, 2));
        assertFails(
                ErrorKind.INVALID_CONTENT,
                () -> host.images.importImages(fewer, Optional.empty(), true));
        host.assertNoMess();
    }

    @Test
    void import_hostileNamesInADockerDirectory_readNothingOutside() throws IOException {
        List<byte[]> layers = layers();
        Path secret = write("secret", layers.get(1));
        Path archive = Files.createDirectory(directory.resolve("unpacked"));
        Files.write(archive.resolve("c.json"), config(layers.subList(1, 2)));
        Files.createSymbolicLink(archive.resolve("link"), secret);
        Files.createSymbolicLink(archive.resolve("up"), Path.of(".."));
        Fs.mknodat(Fs.AT_FDCWD, archive.resolve("fifo").toString(), 0010000 | 0644, 0, 0);
        for (String name :
                List.of("../secret", secret.toString(), "link", "up/secret", "fifo", "")) {
            Files.writeString(
                    archive.resolve("manifest.json"),
                    "[{\"Config\":\"c.json\",\"RepoTags\":[\"a:1\"],\"Layers\":[\"%s\"]}]"
                            .formatted(name));
            ImageException e =
                    assertFails(
                            ErrorKind.INVALID_CONTENT,
                            () -> host.images.importImages(archive, Optional.empty(), true));
            assertTrue(e.getMessage().contains("missing"), e.getMessage());
            host.assertNoMess();
        }
        Files.write(archive.resolve("inside"), layers.get(1));
        Files.writeString(
                archive.resolve("manifest.json"),
                "[{\"Config\":\"c.json\",\"RepoTags\":[\"a:1\"],\"Layers\":[\"inside\"]}]");
        host.images.importImages(archive, Optional.empty(), true);
        assertShows(host, "a:1", "saved");
    }

    // ---- wrong layouts

    /// An exported layout, to be damaged.
    private Path layout(TestImage image) throws IOException {
        Path target = directory.resolve("layout");
        try (Host source = other("source")) {
            String reference = registry.push("a", "1", image);
            source.pull(reference);
            source.images.export(List.of(reference), target, ExportFormat.OCI_DIRECTORY);
        }
        return target;
    }

    private static Path blob(Path layout, Digest digest) {
        return layout.resolve("blobs/sha256").resolve(digest.hex());
    }

    private ImageException assertRefused(ErrorKind kind, Path archive) throws IOException {
        ImageException e =
                assertFails(kind, () -> host.images.importImages(archive, Optional.empty(), true));
        assertFalse(e.getMessage().contains("\n"), e.getMessage());
        host.assertNoMess();
        assertEquals(List.of(), host.store.content().ingests(Host.NAMESPACE));
        return e;
    }

    @Test
    void import_missingOrWrongBlobs_leavesNothing() throws IOException {
        TestImage image = image("one");
        Path layout = layout(image);
        for (Digest digest :
                List.of(
                        image.layers().getLast().digest(),
                        image.manifest().digest(),
                        image.blobs().keySet().stream()
                                .filter(
                                        d ->
                                                image.layers().stream()
                                                        .noneMatch(l -> l.digest().equals(d)))
                                .findFirst()
                                .orElseThrow())) {
            Path file = blob(layout, digest);
            byte[] right = Files.readAllBytes(file);
            byte[] wrong = right.clone();
            wrong[right.length / 2] ^= 1;
            Files.write(file, wrong);
            assertRefused(ErrorKind.DATA_LOSS, layout);
            Files.write(file, Arrays.copyOf(right, right.length - 1));
            assertRefused(ErrorKind.DATA_LOSS, layout);
            Files.delete(file);
            ImageException e = assertRefused(ErrorKind.INVALID_CONTENT, layout);
            assertTrue(e.getMessage().contains("missing"), e.getMessage());
            Files.write(file, right);
        }
        host.images.importImages(layout, Optional.empty(), true);
        host.assertSound();
    }

    @Test
    void import_wrongDiffIdFoundWhileUnpacking_leavesNoName() throws IOException {
        byte[] tar = new TarWriter().file("text", "x").finish();
        TestImage image =
                ImageBuilder.oci()
                        .layer(tar1 -> tar1.file("fine", "1"))
                        .layer(
                                new LayerSpec(
                                        Bytes.of(LayerSpec.compress(tar, Compression.GZIP)),
                                        Digest.sha256(new byte[3]),
                                        Compression.GZIP))
                        .build();
        String reference = registry.push("a", "1", image);
        Path target = directory.resolve("layout");
        try (Host source = other("source")) {
            source.images.pull(
                    new PullRequest(reference, Optional.empty(), false, false, false),
                    ProgressListener.NONE);
            source.images.export(List.of(reference), target, ExportFormat.OCI_DIRECTORY);
        }
        assertRefused(ErrorKind.DATA_LOSS, target);
    }

    @Test
    void import_namelessLayout_takesTheNameGiven() throws IOException {
        Path layout = layout(image("one"));
        String index = Files.readString(layout.resolve("index.json"));
        Files.writeString(
                layout.resolve("index.json"),
                index.replaceAll("\"io.containerd.image.name\":\"[^\"]*\",", ""));
        ImageException e = assertRefused(ErrorKind.INVALID_ARGUMENT, layout);
        assertTrue(e.getMessage().contains("--name"), e.getMessage());
        host.images.importImages(layout, Optional.of("named:1"), true);
        assertShows(host, "named:1", "one");
    }

    @Test
    void import_nameForSeveralImages_isRefused() throws IOException {
        String a = registry.push("a", "1", image("one"));
        String b = registry.push("b", "1", image("two"));
        Path target = directory.resolve("two.tar");
        try (Host source = other("source")) {
            source.pull(a);
            source.pull(b);
            source.images.export(List.of(a, b), target, ExportFormat.OCI_ARCHIVE);
        }
        assertFails(
                ErrorKind.INVALID_ARGUMENT,
                () -> host.images.importImages(target, Optional.of("x:1"), true));
        host.assertNoMess();
    }

    @Test
    void import_garbage_isRefused() throws IOException {
        assertFails(
                ErrorKind.NOT_FOUND,
                () ->
                        host.images.importImages(
                                directory.resolve("nowhere"), Optional.empty(), true));
        byte[] noise = new byte[5000];
        new Random(1).nextBytes(noise);
        assertRefused(ErrorKind.INVALID_CONTENT, write("noise.tar", noise));
        assertRefused(ErrorKind.INVALID_CONTENT, write("empty.tar", new byte[0]));
        assertRefused(
                ErrorKind.INVALID_CONTENT,
                write("nothing.tar", new TarWriter().file("readme", "x").finish()));
        assertRefused(
                ErrorKind.INVALID_CONTENT,
                write(
                        "huge.tar",
                        new TarWriter().file("index.json", 0644, new byte[9 << 20]).finish()));
        assertRefused(
                ErrorKind.INVALID_CONTENT,
                write("bad.tar", new TarWriter().file("index.json", "{\"a\":1,\"a\":2}").finish()));
        assertRefused(
                ErrorKind.INVALID_CONTENT,
                write(
                        "loop.tar",
                        new TarWriter()
                                .symlink("manifest.json", "index.json")
                                .symlink("index.json", "manifest.json")
                                .finish()));
        assertRefused(
                ErrorKind.INVALID_CONTENT,
                write("object.tar", new TarWriter().file("manifest.json", "{}").finish()));
        for (String name : List.of("../../secret", "/etc/passwd", "c\\u0000d")) {
            assertRefused(
                    ErrorKind.INVALID_CONTENT,
                    write(
                            "names.tar",
                            new TarWriter()
                                    .file(
                                            "manifest.json",
                                            "[{\"Config\":\"%s\",\"Layers\":[]}]".formatted(name))
                                    .finish()));
        }
    }

    @Test
    void import_moreEntriesThanTheLimit_isRefused() throws IOException {
        host.close();
        host = Host.open(directory, Limits.defaults().with(Limits.Key.ARCHIVE_ENTRIES, 10));
        TarWriter tar = new TarWriter();
        for (int i = 0; i < 11; i++) {
            tar.directory("d" + i, 0755);
        }
        ImageException e =
                assertFails(
                        ErrorKind.LIMIT_EXCEEDED,
                        () ->
                                host.images.importImages(
                                        write("many.tar", tar.finish()), Optional.empty(), true));
        assertTrue(e.getMessage().contains("limits.archive_entries"), e.getMessage());
        host.assertNoMess();
    }

    @Test
    void import_truncatedTar_leavesNothing() throws IOException {
        String a = registry.push("a", "1", image("one"));
        Path whole = directory.resolve("whole.tar");
        try (Host source = other("source")) {
            source.pull(a);
            source.images.export(List.of(a), whole, ExportFormat.OCI_ARCHIVE);
        }
        byte[] bytes = Files.readAllBytes(whole);
        Random random = new Random(3);
        for (int i = 0; i < 12; i++) {
            int length = 1 + random.nextInt(52_000);
            Path cut = write("cut.tar", Arrays.copyOf(bytes, length));
            ImageException e =
                    assertThrows(
                            ImageException.class,
                            () -> host.images.importImages(cut, Optional.empty(), true));
            assertTrue(
                    e.kind() == ErrorKind.INVALID_CONTENT || e.kind() == ErrorKind.DATA_LOSS,
                    e.toString());
            host.assertNoMess();
        }
        host.images.importImages(whole, Optional.empty(), true);
        assertShows(host, a, "one");
    }
}
