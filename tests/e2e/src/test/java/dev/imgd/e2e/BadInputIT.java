package dev.imgd.e2e;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
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
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/// What goes wrong, as a user sees it: one line, the right exit code, nothing half-visible, nothing
/// outside the store touched.
@Tag("root")
class BadInputIT {
    private static final int NOT_FOUND = 3;
    private static final int DENIED = 4;
    private static final int BAD_CONTENT = 5;
    private static final int UNAVAILABLE = 6;
    private static final int RATE_LIMITED = 7;
    private static final int NO_SPACE = 9;
    private static final int USAGE = 2;
    private static final int LOCKED = 8;

    @RegisterExtension final Workspace workspace = new Workspace();

    /// @param name of the row
    /// @param exit the exit code wanted
    /// @param says a part of the message wanted
    /// @param image what is bad, where it is the image and not the registry
    /// @param prepare fills the registry and returns the reference to pull
    private record Row(
            String name, int exit, String says, Optional<TestImage> image, Preparation prepare) {
        Row(String name, int exit, String says, Preparation prepare) {
            this(name, exit, says, Optional.empty(), prepare);
        }

        Row(String name, String says, TestImage image) {
            this(
                    name,
                    BAD_CONTENT,
                    says,
                    Optional.of(image),
                    registry -> registry.push("bad", "1", image));
        }

        @Override
        public String toString() {
            return name;
        }
    }

    @FunctionalInterface
    private interface Preparation {
        String in(InMemoryRegistry registry) throws IOException;
    }

    /// A blob large enough for its transfer to take several reads.
    private static TestImage image() {
        return image("hello");
    }

    /// One of its own, of which nothing is in any store yet.
    private static TestImage image(String name) {
        byte[] noise = new byte[300_000];
        new Random(name.hashCode()).nextBytes(noise);
        return ImageBuilder.oci()
                .layer(tar -> tar.directory("etc", 0755).file("etc/motd", name))
                .layer(tar -> tar.file("noise", 0644, noise))
                .build();
    }

    private static Row blobFault(String name, int exit, String says, Fault fault) {
        return new Row(
                name,
                exit,
                says,
                registry -> {
                    TestImage image = image(name);
                    String path = "/blobs/" + image.layers().get(1).digest();
                    registry.always(path, fault);
                    return registry.push("bad", "1", image);
                });
    }

    private static Row layer(String name, String says, LayerSpec layer) {
        return new Row(
                name,
                says,
                ImageBuilder.oci().layer(tar -> tar.file("good", "good")).layer(layer).build());
    }

    private static Row tar(String name, String says, Consumer<TarWriter> entries) {
        TarWriter tar = new TarWriter();
        entries.accept(tar);
        return layer(name, says, LayerSpec.of(tar.finish(), Compression.GZIP));
    }

    /// An entry with a header that has something in it no writer puts there.
    private static Row header(String name, String says, Consumer<byte[]> edit) {
        return tar(
                name,
                says,
                tar -> {
                    byte[] entry = {'e', 'n', 't', 'r', 'y'};
                    byte[] header = tar.header('0', entry, new byte[0], 0644, 0, 0, 0);
                    edit.accept(header);
                    tar.raw(TarWriter.withChecksum(header));
                });
    }

    /// Sets a numeric field to the lowest bytes of a number, in base 256.
    private static void base256(byte[] header, int at, int length, int fill, long value) {
        for (int i = 0; i < length; i++) {
            int shift = 8 * (length - 1 - i);
            header[at + i] = (byte) (shift > 56 ? fill : value >> shift);
        }
        header[at] |= (byte) 0x80;
    }

    private static TestImage manifest(byte[] json, Map<Digest, Bytes> blobs) {
        return document(MediaType.OCI_MANIFEST, json, blobs);
    }

    private static TestImage document(String type, byte[] json, Map<Digest, Bytes> blobs) {
        Bytes content = Bytes.of(json);
        Descriptor descriptor = new Descriptor(type, content.sha256(), content.size());
        return new TestImage(descriptor, Map.of(descriptor, content), blobs, List.of(), List.of());
    }

    private static Row manifest(String name, String says, String json) {
        return new Row(name, says, manifest(json.getBytes(StandardCharsets.UTF_8), Map.of()));
    }

    private static Row editedManifest(String name, String says, UnaryOperator<String> edit) {
        TestImage image = image();
        String text = new String(image.content().toArray(), StandardCharsets.UTF_8);
        String edited = edit.apply(text);
        assertNotEquals(text, edited, name);
        return new Row(
                name, says, manifest(edited.getBytes(StandardCharsets.UTF_8), image.blobs()));
    }

    private static Row editedManifest(String name, String says, String from, String to) {
        return editedManifest(name, says, text -> text.replace(from, to));
    }

    /// An image with layers that are all the same and a configuration of our own.
    ///
    /// @param members of the `config` object
    /// @param rest members of the document
    private static TestImage configured(int layers, String members, String rest) {
        LayerSpec layer = LayerSpec.of(new TarWriter().file("a", "a").finish(), Compression.GZIP);
        String diffIds =
                String.join(",", Collections.nCopies(layers, "\"" + layer.diffId() + "\""));
        Bytes config =
                bytes(
                        "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{%s},"
                                        .formatted(members)
                                + "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[%s]}%s}"
                                        .formatted(diffIds, rest));
        String json =
                "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":%s,\"layers\":[%s]}"
                        .formatted(
                                MediaType.OCI_MANIFEST,
                                descriptor(MediaType.OCI_CONFIG, config),
                                String.join(
                                        ",",
                                        Collections.nCopies(
                                                layers,
                                                descriptor(
                                                        MediaType.OCI_LAYER_GZIP, layer.blob()))));
        return manifest(
                json.getBytes(StandardCharsets.UTF_8),
                Map.of(config.sha256(), config, layer.blob().sha256(), layer.blob()));
    }

    private static String descriptor(String type, Bytes content) {
        return "{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%d}"
                .formatted(type, content.sha256(), content.size());
    }

    private static String repeated(String format, int count) {
        StringBuilder out = new StringBuilder();
        for (int i = 0; i < count; i++) {
            out.append(i == 0 ? "" : ",").append(format.replace("#", Integer.toString(i)));
        }
        return out.toString();
    }

    private static TestImage nested(int indexes) {
        TestImage image = image();
        for (int i = 0; i < indexes; i++) {
            image = TestImage.index(Map.of(new Platform("linux", "amd64", ""), image));
        }
        return image;
    }

    /// An index of indexes, each of images for another platform than that of any host here.
    private static TestImage indexesOfOthers(int indexes, int images) {
        Map<Descriptor, Bytes> documents = new LinkedHashMap<>();
        List<String> listed = new ArrayList<>();
        for (int i = 0; i < indexes; i++) {
            String other =
                    descriptor(MediaType.OCI_MANIFEST, bytes("manifest " + i))
                            .replaceFirst(
                                    "}$",
                                    ",\"platform\":{\"architecture\":\"mips\",\"os\":\"plan9\"}}");
            Bytes content = bytes(index(repeated(other, images)));
            documents.put(
                    new Descriptor(MediaType.OCI_INDEX, content.sha256(), content.size()), content);
            listed.add(descriptor(MediaType.OCI_INDEX, content));
        }
        Bytes content = bytes(index(String.join(",", listed)));
        Descriptor all = new Descriptor(MediaType.OCI_INDEX, content.sha256(), content.size());
        documents.put(all, content);
        return new TestImage(all, documents, Map.of(), List.of(), List.of());
    }

    private static String index(String manifests) {
        return "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"manifests\":[%s]}"
                .formatted(MediaType.OCI_INDEX, manifests);
    }

    private static byte[] repeated(byte[] piece, int count) {
        byte[] all = new byte[piece.length * count];
        for (int i = 0; i < count; i++) {
            System.arraycopy(piece, 0, all, i * piece.length, piece.length);
        }
        return all;
    }

    private static byte[] joined(byte[] a, byte[] b) {
        byte[] all = Arrays.copyOf(a, a.length + b.length);
        System.arraycopy(b, 0, all, a.length, b.length);
        return all;
    }

    private static Bytes bytes(String text) {
        return Bytes.of(text.getBytes(StandardCharsets.UTF_8));
    }

    static Stream<Row> rows() {
        byte[] small =
                LayerSpec.of(new TarWriter().file("a", "a").finish(), Compression.GZIP)
                        .blob()
                        .toArray();
        Digest other = Digest.sha256("other".getBytes(StandardCharsets.UTF_8));
        byte[] cut = Arrays.copyOf(small, small.length - 6);
        byte[] wrongCrc = small.clone();
        wrongCrc[wrongCrc.length - 8] ^= 1;
        return Stream.of(
                blobFault("wrong byte", BAD_CONTENT, "sha256:", Fault.wrongByteAt(1000)),
                blobFault("short body", BAD_CONTENT, "", Fault.shorter(1000)),
                blobFault("long body", BAD_CONTENT, "", Fault.longer(1000)),
                blobFault("endless body", BAD_CONTENT, "", Fault.endless()),
                blobFault("blob missing", NOT_FOUND, "", Fault.error(404, "BLOB_UNKNOWN", "no")),
                blobFault("blob denied", DENIED, "", Fault.error(403, "DENIED", "no")),
                layer(
                        "wrong diffID",
                        other.toString(),
                        new LayerSpec(Bytes.of(small), other, Compression.GZIP)),
                layer("gzip cut off", "", spec(cut, Compression.GZIP)),
                layer("gzip with a wrong CRC", "", spec(wrongCrc, Compression.GZIP)),
                layer(
                        "gzip with something behind it",
                        "",
                        spec(joined(small, new byte[] {7}), Compression.GZIP)),
                layer(
                        "gzip with 100,001 empty members",
                        "empty members",
                        spec(
                                repeated(
                                        LayerSpec.compress(new byte[0], Compression.GZIP), 100_001),
                                Compression.GZIP)),
                layer(
                        "zstd window of 2 GiB",
                        "limits.zstd_window_log",
                        spec(zstd(0, (31 - 10) << 3, 1, 0, 0), Compression.ZSTD)),
                layer(
                        "zstd with a dictionary",
                        "dictionary",
                        spec(zstd(0x21, 7, 0, 1, 0, 0), Compression.ZSTD)),
                layer(
                        "zstd with 100,001 skippable frames",
                        "empty frames",
                        spec(
                                repeated(new byte[] {0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0}, 100_001),
                                Compression.ZSTD)),
                layer(
                        "xz",
                        "xz",
                        spec(
                                new byte[] {(byte) 0xfd, '7', 'z', 'X', 'Z', 0, 0, 4},
                                Compression.GZIP)),
                layer("garbage", "", spec(new byte[] {1, 2, 3, 4, 5, 6, 7, 8}, Compression.GZIP)),
                tar(
                        "no checksum",
                        "",
                        tar -> tar.raw(new byte[512 - 4]).raw(new byte[] {1, 2, 3, 4})),
                tar("whiteout of nothing", ".wh.", tar -> tar.file(".wh.", "")),
                tar("whiteout of the parent", ".wh.", tar -> tar.file("a/.wh...", "")),
                tar("name with a zero byte", "", tar -> tar.pax("path", "a\0b").file("x", "x")),
                tar(
                        "PAX size that is no number",
                        "",
                        tar -> tar.pax("size", "many").file("x", "x")),
                header("base-256 size below zero", "size", h -> base256(h, 124, 12, 0xff, -1)),
                header(
                        "base-256 size of 2^62",
                        "ends inside",
                        h -> base256(h, 124, 12, 0, 1L << 62)),
                header("base-256 size beyond 64 bits", "size", h -> base256(h, 124, 12, 0x3f, -1)),
                header(
                        "base-256 owner below zero",
                        "owners",
                        h -> base256(h, 108, 8, 0, -1L >>> 1)),
                header(
                        "base-256 device number",
                        "device",
                        h -> {
                            h[156] = '3';
                            base256(h, 329, 8, 0, 1L << 32);
                        }),
                tar(
                        "PAX size that differs",
                        "ambiguous size",
                        tar -> tar.pax("size", "5").file("x", "other file")),
                tar(
                        "PAX header of 2 MiB",
                        "limits.pax_bytes",
                        tar -> tar.pax("comment", "c".repeat(2 << 20)).file("x", "x")),
                tar(
                        "PAX header that claims 3 GiB",
                        "limits.pax_bytes",
                        tar ->
                                tar.raw(
                                        tar.header(
                                                'x',
                                                new byte[] {'x'},
                                                new byte[0],
                                                0644,
                                                3L << 30,
                                                0,
                                                0))),
                tar(
                        "PAX record that lies about its length",
                        "",
                        tar ->
                                tar.entry('x', "PaxHeaders/x", "", 0644, ascii("99 path=a\n"), 0, 0)
                                        .file("x", "x")),
                tar(
                        "global PAX header that renames",
                        "global header",
                        tar ->
                                tar.entry('g', "PaxHeaders/g", "", 0644, ascii("10 path=a\n"), 0, 0)
                                        .file("x", "x")),
                tar(
                        "path of 1,100 components",
                        "limits.path_depth",
                        tar -> tar.pax("path", "a/".repeat(1_100) + "b").file("x", "x")),
                tar(
                        "name of 5,000 bytes",
                        "limits.name_bytes",
                        tar -> tar.file("n".repeat(5_000), "x")),
                tar(
                        "link of 5,000 bytes",
                        "limits.link_bytes",
                        tar -> tar.symlink("l", "n".repeat(5_000))),
                tar("65 extended attributes", "limits.xattrs", BadInputIT::manyAttributes),
                tar("root that is a link", "", tar -> tar.symlink(".", "/etc")),
                tar("hard link to nothing", "", tar -> tar.hardLink("h", "nothing")),
                tar(
                        "type that nobody knows",
                        "type",
                        tar -> tar.entry('Z', "z", "", 0644, new byte[0], 0, 0)),
                manifest("not JSON", "", "{\"schemaVersion\": 2,"),
                manifest("nested without end", "", "[".repeat(100_000)),
                manifest("empty", "", ""),
                new Row(
                        "index of 10,001 manifests",
                        "limits.descriptors",
                        document(
                                MediaType.OCI_INDEX,
                                ascii(
                                        index(
                                                repeated(
                                                        descriptor(
                                                                MediaType.OCI_MANIFEST,
                                                                bytes("manifest")),
                                                        10_001))),
                                Map.of())),
                editedManifest(
                        "nested 70 deep",
                        "limits.json_depth",
                        "\"schemaVersion\":2",
                        "\"schemaVersion\":2,\"x\":" + "[".repeat(70) + "]".repeat(70)),
                new Row(
                        "two indexes of 6,000 manifests in one",
                        "limits.descriptors",
                        indexesOfOthers(2, 6_000)),
                editedManifest(
                        "string of more than 1 MiB",
                        "limits.json_string_chars",
                        "\"schemaVersion\":2",
                        "\"schemaVersion\":2,\"x\":\"" + "a".repeat((1 << 20) + 1) + '"'),
                editedManifest(
                        "more than 500,000 tokens",
                        "limits.json_tokens",
                        "\"schemaVersion\":2",
                        "\"schemaVersion\":2,\"x\":[" + repeated("0", 500_001) + ']'),
                editedManifest("more behind the manifest", "more data", text -> text + "{}"),
                editedManifest("byte order mark", "", text -> "\ufeff" + text),
                editedManifest("larger than 4 MiB", "4", text -> text + " ".repeat(4 << 20)),
                editedManifest(
                        "schema 1",
                        "schema 1",
                        "\"schemaVersion\":2",
                        "\"schemaVersion\":1,\"name\":\"a\",\"fsLayers\":[]"),
                editedManifest(
                        "names that differ in case",
                        "differs from",
                        "\"layers\":",
                        "\"Layers\":[],\"layers\":"),
                editedManifest(
                        "duplicate key",
                        "",
                        "\"schemaVersion\":2",
                        "\"schemaVersion\":2,\"schemaVersion\":2"),
                editedManifest(
                        "huge number", "", "\"schemaVersion\":2", "\"schemaVersion\":1e999999"),
                editedManifest(
                        "number of 40 digits",
                        "",
                        "\"schemaVersion\":2",
                        "\"schemaVersion\":2,\"x\":" + "9".repeat(40)),
                editedManifest(
                        "both manifests and layers",
                        "",
                        "\"layers\":",
                        "\"manifests\":[],\"layers\":"),
                editedManifest("negative size", "", "\"size\":", "\"size\":-"),
                editedManifest("size beyond 1 TiB", "", "\"size\":", "\"size\":99999999999999"),
                editedManifest("malformed digest", "", "sha256:", "sha256:zz"),
                editedManifest("digest with a path", "", "\"sha256:", "\"sha256:../../../"),
                editedManifest(
                        "digest of an algorithm that is broken",
                        "",
                        text ->
                                text.replaceAll(
                                        "sha256:[0-9a-f]{64}",
                                        "md5:d41d8cd98f00b204e9800998ecf8427e")),
                new Row("six indexes in each other", "limits.index_depth", nested(6)),
                new Row("501 layers", "limits.layers", configured(501, "", "")),
                new Row(
                        "5,000 environment variables",
                        "limits.config_env",
                        configured(1, "\"Env\":[" + repeated("\"A#=b\"", 5_000) + "]", "")),
                new Row(
                        "1,100 labels",
                        "limits.config_labels",
                        configured(1, "\"Labels\":{" + repeated("\"a#\":\"b\"", 1_100) + "}", "")),
                new Row(
                        "label of 70 KiB",
                        "limits.config_label_bytes",
                        configured(1, "\"Labels\":{\"a\":\"" + "b".repeat(70 << 10) + "\"}", "")),
                new Row(
                        "2,001 steps of history",
                        "limits.config_history",
                        configured(1, "", ",\"history\":[" + repeated("{}", 2_001) + "]")),
                new Row(
                        "configuration nested 70 deep",
                        "",
                        configured(1, "", ",\"x\":" + "[".repeat(70) + "]".repeat(70))),
                new Row(
                        "configuration larger than 4 MiB",
                        "4",
                        configured(
                                1,
                                "",
                                ",\"x\":["
                                        + repeated("\"" + "x".repeat(1000) + "\"", 4_200)
                                        + "]")),
                new Row(
                        "configuration with a duplicate key",
                        "",
                        configured(1, "", ",\"os\":\"linux\"")),
                new Row("configuration that is no object", "", configured(1, "\"Env\":17", "")),
                new Row(
                        "manifest cut off",
                        UNAVAILABLE,
                        "",
                        r -> {
                            r.always("/manifests/", Fault.endedAt(100));
                            return r.push("bad", "1", image());
                        }),
                new Row(
                        "manifest short",
                        BAD_CONTENT,
                        "",
                        r -> {
                            r.always("/manifests/", Fault.shorter(100));
                            return r.push("bad", "1", image());
                        }),
                new Row(
                        "manifest without end",
                        BAD_CONTENT,
                        "limits.manifest_bytes",
                        r -> {
                            r.always("/manifests/", Fault.endless());
                            return r.push("bad", "1", image());
                        }),
                new Row(
                        "content digest that is another's",
                        BAD_CONTENT,
                        "",
                        r -> {
                            r.always(
                                    "/manifests/",
                                    Fault.header("Docker-Content-Digest", other.toString()));
                            return r.push("bad", "1", image());
                        }),
                new Row("fewer diffIDs than layers", BAD_CONTENT, "1", BadInputIT::fewerDiffIds),
                new Row("no such tag", NOT_FOUND, "nosuch", r -> r.authority() + "/bad:nosuch"),
                new Row(
                        "other platforms only",
                        NOT_FOUND,
                        "windows/amd64",
                        r ->
                                r.push(
                                        "bad",
                                        "1",
                                        TestImage.index(
                                                Map.of(
                                                        new Platform("windows", "amd64", ""),
                                                        image())))),
                new Row(
                        "unauthorised",
                        DENIED,
                        "",
                        r -> {
                            r.requireBasic("Basic bm9ib2R5Om5vdGhpbmc=");
                            return r.authority() + "/bad:1";
                        }),
                new Row(
                        "rate limited for ever",
                        RATE_LIMITED,
                        "",
                        r -> {
                            r.always("/manifests/", Fault.rateLimited("0"));
                            return r.authority() + "/bad:1";
                        }),
                new Row(
                        "server errors for ever",
                        UNAVAILABLE,
                        "",
                        r -> {
                            r.always("/manifests/", Fault.status(503, Map.of(), "busy"));
                            return r.authority() + "/bad:1";
                        }),
                new Row(
                        "nobody listens",
                        UNAVAILABLE,
                        "",
                        r -> "localhost:" + freePort() + "/bad:1"));
    }

    /// One command after the other, on the same store.
    @Test
    void pull_badInput_oneLineAndNothingVisible() throws Exception {
        Imgctl imgctl = Imgctl.embedded(workspace.path("store"));
        each(rows(), row -> pull(imgctl, row));
        assertNothingVisible(imgctl);
    }

    /// The same by a daemon, which stays well, keeps nothing of them, and calls none of them its
    /// own fault.
    @Test
    void daemon_badInput_oneLineAndNothingVisible() throws Exception {
        Imgd imgd = workspace.keep(daemon());
        Imgctl imgctl = imgd.imgctl();
        inPairs(rows(), row -> pull(imgctl, row));
        inPairs(badImages(1), row -> importLayout(imgctl, row));
        assertNothingVisible(imgd);
    }

    /// Every second row with a bad image, beginning with the first or the second.
    private static Stream<Row> badImages(int first) {
        List<Row> images = rows().filter(row -> row.image().isPresent()).toList();
        return IntStream.range(0, images.size()).filter(i -> i % 2 == first).mapToObj(images::get);
    }

    private Imgd daemon() throws IOException {
        return Imgd.start(
                workspace.path("d"),
                Imgd.Mode.ACCELERATE,
                Map.of(),
                "[registry]\nmaximum_backoff = \"100ms\"\n");
    }

    private void assertNothingVisible(Imgd imgd) {
        Imgctl imgctl = imgd.imgctl();
        assertNothingVisible(imgctl, imgd.place().root());
        assertEquals(Set.of(), new StoreFiles(imgd.place().root()).blobs());
        for (String sign : List.of("Exception", "ERROR", "\tat ")) {
            assertFalse(imgd.log().contains(sign), imgd.log());
        }
        imgctl.ok("pull", "-q", "--plain-http", workspace.reference());
        assertEquals(0, imgd.terminate(), imgd.log());
    }

    private static void pull(Imgctl imgctl, Row row) throws IOException {
        try (InMemoryRegistry registry = InMemoryRegistry.start()) {
            String line = fails(imgctl, row.exit(), row.prepare().in(registry));
            assertTrue(line.contains(row.says()), line);
        }
    }

    private interface Check {
        void of(Row row) throws IOException;
    }

    /// Checks all rows and reports every one that is not as it should be.
    private static void each(Stream<Row> rows, Check check) {
        assertAll(rows.map(row -> () -> named(row, check)));
    }

    /// As [#each], two at a time.
    private static void inPairs(Stream<Row> rows, Check check) throws Exception {
        List<Future<?>> all = new ArrayList<>();
        try (ExecutorService two = Executors.newFixedThreadPool(2)) {
            rows.forEach(row -> all.add(two.submit(() -> checked(row, check))));
        }
        assertAll(all.stream().map(future -> future::get));
    }

    private static @Nullable Void checked(Row row, Check check) throws IOException {
        named(row, check);
        return null;
    }

    private static void named(Row row, Check check) throws IOException {
        try {
            check.of(row);
        } catch (AssertionError | RuntimeException e) {
            throw new AssertionError(row + ": " + e.getMessage(), e);
        }
    }

    /// Everything that is wrong with an image is wrong with it in an archive too; the other half is
    /// imported by the daemon.
    @Test
    void import_badInput_oneLineAndNothingVisible() throws Exception {
        Imgctl imgctl = Imgctl.embedded(workspace.path("store"));
        each(badImages(0), row -> importLayout(imgctl, row));
        assertNothingVisible(imgctl);
    }

    private void importLayout(Imgctl imgctl, Row row) throws IOException {
        String line = imgctl.fails(row.exit(), "--progress", "none", "import", layout(row));
        assertTrue(line.contains(row.says()) || line.contains("larger than"), line);
    }

    /// The image of a row as an OCI layout.
    private Path layout(Row row) throws IOException {
        TestImage image = row.image().orElseThrow();
        Path layout = Files.createTempDirectory(workspace.directory(), "layout");
        Files.writeString(layout.resolve("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}");
        String index =
                "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%d,"
                        .formatted(
                                image.manifest().mediaType(),
                                image.manifest().digest(),
                                image.manifest().sizeBytes());
        Files.writeString(
                layout.resolve("index.json"),
                index
                        + "\"annotations\":{\"org.opencontainers.image.ref.name\":\"localhost/bad:1\"}}]}");
        Map<Digest, Bytes> blobs = new HashMap<>(image.blobs());
        image.manifests().forEach((descriptor, bytes) -> blobs.put(descriptor.digest(), bytes));
        Path directory = Files.createDirectories(layout.resolve("blobs/sha256"));
        for (Map.Entry<Digest, Bytes> blob : blobs.entrySet()) {
            Files.write(directory.resolve(blob.getKey().hex()), blob.getValue().toArray());
        }
        return layout;
    }

    @ParameterizedTest
    @EnumSource(
            value = Compression.class,
            names = {"GZIP", "ZSTD"})
    void pull_bomb_endsAtTheConfiguredSize(Compression compression) throws Exception {
        Path config = workspace.path("config.toml");
        Files.writeString(config, "[limits]\nlayer_uncompressed_bytes = \"256MiB\"\n");
        Imgctl imgctl = Imgctl.embedded(workspace.path("store"));
        try (InMemoryRegistry registry = InMemoryRegistry.start()) {
            LayerSpec bomb = ZeroFile.bomb(8L << 30, compression);
            String reference = registry.push("bad", "1", ImageBuilder.oci().layer(bomb).build());
            String line =
                    imgctl.fails(
                            BAD_CONTENT,
                            "--config",
                            config,
                            "--progress",
                            "none",
                            "pull",
                            reference);
            assertTrue(line.contains("limits.layer_uncompressed_bytes"), line);
        }
        assertNothingVisible(imgctl);
    }

    /// With nothing configured, a bomb that is smaller than any limit ends before the disk is full.
    @Test
    void pull_bomb_leavesRoomOnTheDisk() throws Exception {
        Path store = workspace.newDirectory("store");
        Program.of("mount", "-t", "tmpfs", "-o", "size=1g,mode=0700", "tmpfs", store).ok();
        try {
            Imgctl imgctl = Imgctl.embedded(store);
            try (InMemoryRegistry registry = InMemoryRegistry.start()) {
                LayerSpec bomb = ZeroFile.bomb(4L << 30, Compression.ZSTD);
                String reference =
                        registry.push("bad", "1", ImageBuilder.oci().layer(bomb).build());
                String line = fails(imgctl, NO_SPACE, reference);
                assertTrue(line.contains("limits.disk_reserve_bytes"), line);
            }
            assertNothingVisible(imgctl);
        } finally {
            Program.of("umount", "-l", store).ok();
        }
    }

    @Test
    void pull_storeOfADaemon_namesIt() throws Exception {
        Imgd imgd = workspace.keep(Imgd.start(workspace.path("d"), Imgd.Mode.PASSIVE));
        String line =
                Imgctl.embedded(imgd.place().root())
                        .fails(
                                LOCKED,
                                "--address",
                                workspace.path("nobody.sock"),
                                "--progress",
                                "none",
                                "pull",
                                workspace.reference());
        assertTrue(line.contains(Long.toString(imgd.pid())), line);
    }

    static Stream<List<Object>> commandsWithABadReference() {
        String bad = "localhost/UPPER/case:1";
        return Stream.of(
                List.of("inspect", bad),
                List.of("tag", bad, "localhost/a:1"),
                List.of("rm", bad),
                List.of("mount", bad, "/mnt"),
                List.of("bundle", bad, "/nowhere/bundle"),
                List.of("export", "/nowhere/archive", bad),
                List.of("import", "--name", bad, "/nowhere/archive"));
    }

    @ParameterizedTest
    @MethodSource("commandsWithABadReference")
    void command_malformedReference_usageError(List<Object> words) {
        Imgctl imgctl = Imgctl.embedded(workspace.path("store"));
        Program.Finished finished = imgctl.command(words.toArray()).run();
        int wanted = words.getFirst().equals("import") ? NOT_FOUND : USAGE;
        assertEquals(wanted, finished.exit(), finished.toString());
        assertEquals("", finished.out());
        assertEquals(1, finished.err().strip().lines().count(), finished.toString());
        if (wanted == USAGE) {
            assertTrue(Files.notExists(workspace.path("store")), "a store was made for it");
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "localhost/UPPER/case:1",
                "a b",
                "debian@sha256:123",
                "debian@md5:d41d8cd98f00b204e9800998ecf8427e",
                "debian:tag with space",
                "http://localhost/debian",
                "localhost:99999/debian:12",
                "-debian",
                "",
            })
    void pull_malformedReference_usageError(String reference) {
        Imgctl imgctl = Imgctl.embedded(workspace.path("store"));
        Program.Finished finished =
                imgctl.command("--progress", "none", "pull", "--", reference).run();
        assertEquals(USAGE, finished.exit(), finished.toString());
        assertEquals("", finished.out());
    }

    /// A layer that reaches for a directory outside.
    @FunctionalInterface
    private interface Breakout {
        void reach(TarWriter tar, String canary);
    }

    static Stream<Breakout> breakouts() {
        return Stream.of(
                (tar, canary) -> tar.file("../../../../../.." + canary + "/file", "changed"),
                (tar, canary) -> tar.file(canary + "/file", "changed"),
                (tar, canary) -> tar.symlink("s", canary).file("s/file", "changed"),
                (tar, canary) ->
                        tar.symlink("s", "../../../../../.." + canary).file("s/new", "changed"),
                (tar, canary) -> tar.symlink("s", canary + "/file").file("s", "changed"),
                (tar, canary) -> tar.hardLink("h", canary + "/file").file("h", "changed"),
                (tar, canary) ->
                        tar.hardLink("h", "../../../../../.." + canary + "/file")
                                .file("h", "changed"),
                (tar, canary) ->
                        tar.symlink("s", canary).hardLink("h", "s/file").file("h", "changed"),
                (tar, canary) -> tar.symlink("s", canary).whiteout("s/file"),
                (tar, canary) -> tar.symlink("s", canary).opaque("s"),
                (tar, canary) -> tar.symlink("s", canary).directory("s", 0700),
                (tar, canary) -> tar.symlink("s", canary).directory("s/made", 0755),
                (tar, canary) -> tar.symlink("s", canary).device('3', "s/null", 0666, 1, 3),
                (tar, canary) ->
                        tar.symlink("a", canary).symlink("b", "a").file("b/file", "changed"));
    }

    @ParameterizedTest
    @MethodSource("breakouts")
    void pull_breakout_touchesNothingOutside(Breakout breakout) throws Exception {
        Path canary = workspace.newDirectory("canary");
        Files.writeString(canary.resolve("file"), "as it was");
        Tree before = Tree.of(canary);
        Imgctl imgctl = Imgctl.embedded(workspace.path("store"));
        TarWriter tar = new TarWriter();
        breakout.reach(tar, canary.toString());
        try (InMemoryRegistry registry = InMemoryRegistry.start()) {
            LayerSpec layer = LayerSpec.of(tar.finish(), Compression.GZIP);
            for (int position = 0; position < 2; position++) {
                ImageBuilder builder = ImageBuilder.oci();
                if (position == 1) {
                    builder.layer(below -> below.directory("etc", 0755).file("etc/x", "x"));
                }
                String reference =
                        registry.push("bad", "" + position, builder.layer(layer).build());
                Program.Finished finished =
                        imgctl.command("--progress", "none", "pull", reference).run();
                assertTrue(
                        finished.exit() == 0 || finished.exit() == BAD_CONTENT,
                        finished.toString());
            }
        }

        assertEquals(List.of(), before.differencesTo(Tree.of(canary)));
        assertEquals("", imgctl.ok("fsck"));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"24m", "110m"}) // not for the blobs; for the blobs, but not for the files
    void pull_noSpaceLeft_saysSoAndNothingIsVisible(String size) throws Exception {
        Path store = workspace.newDirectory("store");
        String options = "size=" + size + ",mode=0700";
        Program.of("mount", "-t", "tmpfs", "-o", options, "tmpfs", store).ok();
        try {
            Imgctl imgctl = Imgctl.embedded(store);
            String line = fails(imgctl, NO_SPACE, workspace.reference());
            assertTrue(line.contains("free") || line.contains("space"), line);
            assertEquals("[]", imgctl.json("ls").toString());
            assertEquals("", imgctl.ok("fsck", "--rehash"));
        } finally {
            Program.of("umount", "-l", store).ok();
        }
    }

    @Test
    void pull_storeNotWritable_namesTheStore() throws Exception {
        Path store = workspace.newDirectory("store");
        Program.of("mount", "-t", "tmpfs", "-o", "size=24m,mode=0700,ro", "tmpfs", store).ok();
        try {
            Program.Finished finished =
                    Imgctl.embedded(store)
                            .command("--progress", "none", "pull", workspace.reference())
                            .run();
            assertEquals(DENIED, finished.exit(), finished.toString());
            assertEquals(1, finished.err().lines().count(), finished.toString());
            assertTrue(finished.err().contains(store.toString()), finished.err());
        } finally {
            Program.of("umount", "-l", store).ok();
        }
    }

    private static String fails(Imgctl imgctl, int exit, String reference) {
        return imgctl.fails(exit, "--progress", "none", "pull", reference);
    }

    private void assertNothingVisible(Imgctl imgctl) {
        assertNothingVisible(imgctl, workspace.path("store"));
    }

    private static void assertNothingVisible(Imgctl imgctl, Path root) {
        assertEquals("[]", imgctl.json("ls").toString());
        assertEquals("", imgctl.ok("fsck", "--rehash"));
        imgctl.ok("gc");
        StoreFiles files = new StoreFiles(root);
        Await.until(
                "no snapshot directory and no trash is left",
                Duration.ofSeconds(60),
                () -> files.snapshotDirectories().isEmpty() && files.trash().isEmpty());
    }

    private static byte[] ascii(String text) {
        return text.getBytes(StandardCharsets.US_ASCII);
    }

    /// A zstd frame that begins with this header, and has nothing behind it.
    private static byte[] zstd(int... header) {
        byte[] frame = new byte[4 + header.length];
        System.arraycopy(new byte[] {0x28, (byte) 0xb5, 0x2f, (byte) 0xfd}, 0, frame, 0, 4);
        for (int i = 0; i < header.length; i++) {
            frame[4 + i] = (byte) header[i];
        }
        return frame;
    }

    private static void manyAttributes(TarWriter tar) {
        for (int i = 0; i < 65; i++) {
            tar.xattr("user.a" + i, new byte[] {1});
        }
        tar.file("x", "x");
    }

    private static LayerSpec spec(byte[] blob, Compression compression) {
        return new LayerSpec(Bytes.of(blob), Digest.sha256(blob), compression);
    }

    private static String fewerDiffIds(InMemoryRegistry registry) {
        TestImage one = ImageBuilder.oci().layer(tar -> tar.file("a", "a")).build();
        TestImage two = image();
        registry.push("bad", "one", one);
        registry.push("bad", "two", two);
        String text = new String(two.content().toArray(), StandardCharsets.UTF_8);
        String oneText = new String(one.content().toArray(), StandardCharsets.UTF_8);
        String mixed = text.replace(config(text), config(oneText));
        registry.content().putManifest("bad", MediaType.OCI_MANIFEST, bytes(mixed), "1");
        return registry.authority() + "/bad:1";
    }

    /// The `config` descriptor of a manifest, as text.
    private static String config(String manifest) {
        int start = manifest.indexOf("\"config\":");
        return manifest.substring(start, manifest.indexOf('}', start));
    }

    private static int freePort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return socket.getLocalPort();
        }
    }
}
