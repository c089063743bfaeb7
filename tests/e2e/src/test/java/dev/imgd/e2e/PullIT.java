package dev.imgd.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import tools.jackson.databind.JsonNode;

/// The command line on a real image from a real registry, with the store opened in-process.
@Tag("root")
class PullIT {
    private static final Duration LIMIT = Duration.ofSeconds(60);

    @RegisterExtension final Workspace workspace = new Workspace();

    private Path root = Path.of("");
    private Imgctl imgctl = Imgctl.embedded(root);
    private StoreFiles files = new StoreFiles(root);

    @BeforeEach
    void setUp() {
        root = workspace.path("store");
        imgctl = Imgctl.embedded(root);
        files = new StoreFiles(root);
    }

    @Test
    void pull_realImage_everythingAsInTheRegistry() {
        int mark = workspace.registry().mark();
        JsonNode result = imgctl.json("pull", "--plain-http", workspace.reference());
        Image image = workspace.image();

        assertEquals(workspace.reference(), result.get("name").asString());
        assertEquals(image.manifestDigest(), result.get("digest").asString());
        for (Image.Layer layer : image.layers()) {
            List<DockerRegistry.Access> fetches = fetches(mark, layer.digest());
            long bytes = fetches.stream().mapToLong(DockerRegistry.Access::bytes).sum();
            assertEquals(layer.size(), bytes, layer.digest() + " " + fetches);
            fetches.forEach(f -> assertTrue(f.userAgent().startsWith("imgd/"), f.userAgent()));
        }
        assertEquals(workspace.reference(), imgctl.json("ls").get(0).get("name").asString());
        JsonNode details = imgctl.json("inspect", workspace.reference());
        assertEquals(image.configDigest(), details.get("configDigest").asString());
        assertEquals(image.layers().size(), details.get("layers").size());
        for (int i = 0; i < image.layers().size(); i++) {
            JsonNode layer = details.get("layers").get(i);
            assertEquals(image.layers().get(i).digest(), layer.get("digest").asString());
            assertTrue(layer.get("present").asBoolean());
            assertTrue(layer.get("diffId").asString().startsWith("sha256:"));
            assertTrue(layer.get("chainId").asString().startsWith("sha256:"));
            assertTrue(layer.has("snapshot"));
        }
        assertEquals(List.of(), files.damagedBlobs());
        assertEquals(Set.of(), files.ingests().keySet());
        assertEquals("", imgctl.ok("fsck", "--rehash"));
    }

    @Test
    void mount_realImage_treeEqualsUmociAndTar() throws Exception {
        imgctl.ok("pull", "--plain-http", workspace.reference());
        Path mounted = workspace.newDirectory("m");
        imgctl.ok("mount", workspace.reference(), mounted);
        Tree tree = Tree.of(mounted);
        Program.Finished write = Program.of("touch", mounted.resolve("x")).run();
        imgctl.ok("unmount", mounted);

        Tree reference = Tree.of(workspace.image().unpack(workspace.path("u")));
        assertEquals(List.of(), reference.differencesTo(tree));
        assertTrue(tree.size() > 5000, "only " + tree.size());
        assertTrue(write.err().contains("Read-only"), write.toString());
        assertEquals(List.of(), Workspace.mountsBelow(workspace.directory()));
    }

    @Test
    void mount_writable_changesGoWithUnmount() throws Exception {
        imgctl.ok("pull", "--plain-http", workspace.reference());
        Path mounted = workspace.newDirectory("m");
        imgctl.ok("mount", "--rw", workspace.reference(), mounted);
        Files.writeString(mounted.resolve("etc/hostname"), "changed\n");
        Files.delete(mounted.resolve("etc/passwd"));
        imgctl.ok("unmount", mounted);
        imgctl.ok("mount", workspace.reference(), mounted);
        String hostname = Files.readString(mounted.resolve("etc/hostname"));
        boolean passwd = Files.exists(mounted.resolve("etc/passwd"));
        imgctl.ok("unmount", mounted);

        assertFalse(hostname.equals("changed\n"));
        assertTrue(passwd);
        assertEquals("", imgctl.ok("fsck"));
    }

    @Test
    void pull_again_fetchesNothing() {
        imgctl.ok("pull", "--plain-http", workspace.reference());
        int mark = workspace.registry().mark();
        JsonNode again = imgctl.json("pull", "--plain-http", workspace.reference());

        assertEquals(0, again.get("fetchedBytes").asLong());
        assertTrue(
                workspace.registry().accesses(mark).stream()
                        .noneMatch(access -> access.path().contains("/blobs/")));
    }

    @Test
    void pull_quietAndNoUnpack_printsOnlyTheDigest() {
        Program.Finished finished =
                imgctl.command("pull", "-q", "--no-unpack", "--plain-http", workspace.reference())
                        .run()
                        .expectExit(0);

        assertEquals(workspace.image().manifestDigest() + "\n", finished.out());
        assertEquals("", finished.err());
        assertEquals(Set.of(), files.snapshotDirectories());
        imgctl.ok("pull", "--plain-http", workspace.reference()); // unpacks what is stored
        assertFalse(files.snapshotDirectories().isEmpty());
    }

    @Test
    void remove_thenGc_leavesNothing() {
        imgctl.ok("pull", "--plain-http", workspace.reference());
        String second = workspace.registry().reference("other:1");
        imgctl.ok("tag", workspace.reference(), second);
        imgctl.ok("rm", workspace.reference());
        assertEquals(
                List.of(), deleted(imgctl.json("gc", "--dry-run")), "the second name keeps all");
        imgctl.ok("rm", second);
        assertFalse(deleted(imgctl.json("gc", "--dry-run")).isEmpty());
        assertFalse(files.blobs().isEmpty(), "a dry run deletes nothing");
        imgctl.ok("gc");

        assertEquals(Set.of(), files.blobs());
        assertEquals(Set.of(), files.snapshotDirectories());
        assertEquals(Set.of(), files.trash());
        assertEquals("", imgctl.ok("fsck", "--rehash"));
    }

    @Test
    void export_thenImport_sameImageForEveryTool() throws Exception {
        imgctl.ok("pull", "--plain-http", workspace.reference());
        Path layout = workspace.path("layout");
        Path archive = workspace.path("docker.tar");
        imgctl.ok("export", layout, workspace.reference());
        imgctl.ok("export", "--format", "docker-archive", archive, workspace.reference());
        Path fromDocker = workspace.path("from-docker");
        Program.of("skopeo", "copy", "-q", "docker-archive:" + archive, "oci:" + fromDocker + ":12")
                .ok();
        assertTrue(
                Files.readString(layout.resolve("index.json"))
                        .contains(workspace.image().manifestDigest()));

        for (Path source : List.of(layout, archive)) {
            Imgctl other = Imgctl.embedded(workspace.path("store-" + source.getFileName()));
            other.ok("import", "--name", "example.com/imported:1", source);
            JsonNode details = other.json("inspect", "example.com/imported:1");
            assertEquals(workspace.image().configDigest(), details.get("configDigest").asString());
            Path mounted = workspace.newDirectory("m-" + source.getFileName());
            other.ok("mount", "example.com/imported:1", mounted);
            Tree tree = Tree.of(mounted);
            other.ok("unmount", mounted);
            Tree reference =
                    Tree.of(workspace.image().unpack(workspace.path("u-" + source.getFileName())));
            assertEquals(List.of(), reference.differencesTo(tree), source.toString());
        }
        Tree docker = unpack(fromDocker, "u-skopeo");
        assertEquals(
                List.of(),
                Tree.of(workspace.image().unpack(workspace.path("u"))).differencesTo(docker));
    }

    @Test
    void pull_interrupted_resumesWithoutAMess() throws Exception {
        // Slow enough not to be over before it is interrupted, however busy the machine is.
        Path slow =
                Files.writeString(
                        workspace.path("slow.toml"), "[pull]\nbandwidth_limit = \"1MiB\"\n");
        Program.Running pull =
                imgctl.command("--config", slow, "pull", "--plain-http", workspace.reference())
                        .start();
        Await.until(
                "something is being received",
                LIMIT,
                () -> files.ingests().values().stream().anyMatch(size -> size > 0));
        pull.signal("INT");
        Program.Finished interrupted = pull.end().expectExit(130);
        Set<String> kept = files.blobs();
        int mark = workspace.registry().mark();

        assertTrue(interrupted.out().isEmpty(), interrupted.toString());
        assertEquals("[]", imgctl.json("ls").toString());
        imgctl.ok("pull", "--plain-http", workspace.reference());
        for (String digest : kept) {
            assertEquals(List.of(), fetches(mark, digest), "fetched though it was there");
        }
        assertEquals(Set.of(), files.ingests().keySet());
        assertEquals("", imgctl.ok("fsck", "--rehash"));
    }

    @Test
    void pull_withPassword_onlyWithCredentials() throws Exception {
        DockerRegistry guarded =
                workspace.keep(DockerRegistry.withPassword(workspace.path("guarded")));
        String reference =
                guarded.push(
                        workspace.image().layout(),
                        "debian:12",
                        "--dest-creds",
                        DockerRegistry.CREDENTIALS);
        Path docker = guarded.dockerConfig(workspace.newDirectory("docker"));

        String refused = imgctl.fails(4, "pull", "--progress", "none", "--plain-http", reference);
        assertTrue(refused.contains("localhost:" + guarded.port()), refused);
        Program.Finished pulled =
                imgctl.command("pull", "--no-unpack", "--plain-http", reference)
                        .env("DOCKER_CONFIG", docker.toString())
                        .run()
                        .expectExit(0);
        assertFalse(pulled.toString().contains("correct horse"), "a password was printed");
    }

    @Test
    void store_openedTwice_namesTheOwner() throws Exception {
        Imgd imgd = workspace.keep(Imgd.start(workspace.path("d"), Imgd.Mode.PASSIVE));
        String refused = Imgctl.embedded(imgd.place().root()).fails(8, "ls");
        assertTrue(refused.contains(Long.toString(imgd.pid())), refused);
    }

    private List<DockerRegistry.Access> fetches(int mark, String digest) {
        return workspace.registry().accesses(mark).stream()
                .filter(access -> access.fetched(digest))
                .toList();
    }

    private static List<String> deleted(JsonNode report) {
        return report.get("deleted").valueStream().map(item -> item.get("id").asString()).toList();
    }

    private Tree unpack(Path layout, String name) {
        Path directory = workspace.path(name);
        Program.of("umoci", "unpack", "--image", layout + ":12", directory).ok();
        return Tree.of(directory.resolve("rootfs"));
    }
}
