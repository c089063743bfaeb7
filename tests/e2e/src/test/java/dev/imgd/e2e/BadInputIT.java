package dev.imgd.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.Bytes;
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
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/// What goes wrong, as a user sees it: one line, the right exit code, nothing half-visible, nothing outside
/// the store touched.
@Tag("root")
class BadInputIT {
    private static final int NOT_FOUND = 3;
    private static final int DENIED = 4;
    private static final int BAD_CONTENT = 5;
    private static final int UNAVAILABLE = 6;
    private static final int RATE_LIMITED = 7;
    private static final int NO_SPACE = 9;
    private static final int USAGE = 2;

    @RegisterExtension final Workspace workspace = new Workspace();

    /// @param name of the row
    /// @param exit the exit code wanted
    /// @param says a part of the message wanted
    /// @param prepare fills the registry and returns the reference to pull
    private record Row(String name, int exit, String says, Preparation prepare) {
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
        byte[] noise = new byte[300_000];
        new Random(7).nextBytes(noise);
        return ImageBuilder.oci()
                .layer(tar -> tar.directory("etc", 0755).file("etc/motd", "hello\n"))
                .layer(tar -> tar.file("noise", 0644, noise))
                .build();
    }

    private static Row blobFault(String name, int exit, String says, Fault fault) {
        return new Row(
                name,
                exit,
                says,
                registry -> {
                    TestImage image = image();
                    String path = "/blobs/" + image.layers().get(1).digest();
                    registry.always(path, fault);
                    return registry.push("bad", "1", image);
                });
    }

    private static Row layer(String name, String says, LayerSpec layer) {
        return new Row(
                name,
                BAD_CONTENT,
                says,
                registry ->
                        registry.push(
                                "bad",
                                "1",
                                ImageBuilder.oci()
                                        .layer(tar -> tar.file("good", "good"))
                                        .layer(layer)
                                        .build()));
    }

    private static Row tar(String name, String says, Consumer<TarWriter> entries) {
        TarWriter tar = new TarWriter();
        entries.accept(tar);
        return layer(name, says, LayerSpec.of(tar.finish(), Compression.GZIP));
    }

    private static Row manifest(String name, int exit, String says, String json) {
        return new Row(
                name,
                exit,
                says,
                registry -> {
                    registry.content()
                            .putManifest("bad", MediaType.OCI_MANIFEST, bytes(json), "1");
                    return registry.authority() + "/bad:1";
                });
    }

    private static Row editedManifest(String name, String says, String from, String to) {
        return new Row(
                name,
                BAD_CONTENT,
                says,
                registry -> {
                    TestImage image = image();
                    registry.push("bad", "good", image);
                    String text = new String(image.content().toArray(), StandardCharsets.UTF_8);
                    if (!text.contains(from)) {
                        throw new AssertionError(from + " is not in " + text);
                    }
                    registry.content()
                            .putManifest(
                                    "bad",
                                    MediaType.OCI_MANIFEST,
                                    bytes(text.replace(from, to)),
                                    "1");
                    return registry.authority() + "/bad:1";
                });
    }

    private static Bytes bytes(String text) {
        return Bytes.of(text.getBytes(StandardCharsets.UTF_8));
    }

    static Stream<Row> rows() {
        byte[] small = LayerSpec.of(new TarWriter().file("a", "a").finish(), Compression.GZIP).blob().toArray();
        Digest other = Digest.sha256("other".getBytes(StandardCharsets.UTF_8));
        byte[] cut = java.util.Arrays.copyOf(small, small.length - 6);
        byte[] wrongCrc = small.clone();
        wrongCrc[wrongCrc.length - 8] ^= 1;
        return Stream.of(
                blobFault("wrong byte", BAD_CONTENT, "sha256:", Fault.wrongByteAt(1000)),
                blobFault("short body", BAD_CONTENT, "", Fault.shorter(1000)),
                blobFault("long body", BAD_CONTENT, "", Fault.longer(1000)),
                blobFault("endless body", BAD_CONTENT, "", Fault.endless()),
                blobFault("blob missing", NOT_FOUND, "", Fault.error(404, "BLOB_UNKNOWN", "no")),
                blobFault("blob denied", DENIED, "", Fault.error(403, "DENIED", "no")),
                layer("wrong diffID", other.toString(), new LayerSpec(Bytes.of(small), other, Compression.GZIP)),
                layer("gzip cut off", "", spec(cut, Compression.GZIP)),
                layer("gzip with a wrong CRC", "", spec(wrongCrc, Compression.GZIP)),
                layer("garbage", "", spec(new byte[] {1, 2, 3, 4, 5, 6, 7, 8}, Compression.GZIP)),
                tar("no checksum", "", tar -> tar.raw(new byte[512 - 4]).raw(new byte[] {1, 2, 3, 4})),
                tar("whiteout of nothing", ".wh.", tar -> tar.file(".wh.", "")),
                tar("whiteout of the parent", ".wh.", tar -> tar.file("a/.wh...", "")),
                tar("name with a zero byte", "", tar -> tar.pax("path", "a\0b").file("x", "x")),
                tar("PAX size that is no number", "", tar -> tar.pax("size", "many").file("x", "x")),
                manifest("not JSON", BAD_CONTENT, "", "{\"schemaVersion\": 2,"),
                manifest("nested deeply", BAD_CONTENT, "", "[".repeat(100_000)),
                manifest("empty", BAD_CONTENT, "", ""),
                editedManifest(
                        "duplicate key", "", "\"schemaVersion\":2", "\"schemaVersion\":2,\"schemaVersion\":2"),
                editedManifest("huge number", "", "\"schemaVersion\":2", "\"schemaVersion\":1e999999"),
                editedManifest(
                        "both manifests and layers", "", "\"layers\":", "\"manifests\":[],\"layers\":"),
                editedManifest("negative size", "", "\"size\":", "\"size\":-"),
                editedManifest("malformed digest", "", "sha256:", "sha256:zz"),
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
                                                Map.of(new Platform("windows", "amd64", ""), image())))),
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
                new Row("nobody listens", UNAVAILABLE, "", r -> "localhost:" + freePort() + "/bad:1"));
    }

    @ParameterizedTest
    @MethodSource("rows")
    void pull_badInput_oneLineAndNothingVisible(Row row) throws Exception {
        Imgctl imgctl = Imgctl.embedded(workspace.path("store"));
        try (InMemoryRegistry registry = InMemoryRegistry.start()) {
            String reference = row.prepare().in(registry);
            String line = fails(imgctl, row.exit(), reference);
            assertTrue(line.contains(row.says()), line);
        }
        assertNothingVisible(imgctl);
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
                        tar.hardLink("h", "../../../../../.." + canary + "/file").file("h", "changed"),
                (tar, canary) -> tar.symlink("s", canary).hardLink("h", "s/file").file("h", "changed"),
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
                assertTrue(finished.exit() == 0 || finished.exit() == BAD_CONTENT, finished.toString());
            }
        }

        assertEquals(List.of(), before.differencesTo(Tree.of(canary)));
        assertEquals("", imgctl.ok("fsck"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"24m", "110m"}) // not for the blobs; for the blobs, but not for the files
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
        assertEquals("[]", imgctl.json("ls").toString());
        assertEquals("", imgctl.ok("fsck", "--rehash"));
        imgctl.ok("gc");
        StoreFiles files = new StoreFiles(workspace.path("store"));
        assertEquals(Set.of(), files.snapshotDirectories());
        assertEquals(Set.of(), files.trash());
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
