package dev.imgd.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.MediaType;
import dev.imgd.model.Platform;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TestImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import tools.jackson.databind.JsonNode;

/// Images that we write are read by programs of others, and the reverse, with the same digests.
@Tag("root")
class PushIT {
    @RegisterExtension final Workspace workspace = new Workspace();

    private Path root = Path.of("");
    private Imgctl imgctl = Imgctl.embedded(root);

    @BeforeEach
    void setUp() {
        root = workspace.path("store");
        imgctl = Imgctl.embedded(root);
    }

    private String name(String rest) {
        return workspace.registry().reference(rest);
    }

    /// Three images: of the OCI with gzip, with zstd, and none of either.
    static TestImage multiPlatform(boolean docker) throws IOException {
        Map<Platform, TestImage> images = new LinkedHashMap<>();
        for (String platform : List.of("linux/amd64", "linux/arm64", "linux/s390x")) {
            ImageBuilder builder = docker ? ImageBuilder.docker() : ImageBuilder.oci();
            builder.platform(Platform.parse(platform))
                    .layer(tar -> tar.file("platform", platform))
                    .layer(MediaType.Compression.NONE, tar -> tar.file("plain", platform));
            if (!docker) {
                builder.layer(MediaType.Compression.ZSTD, tar -> tar.file("zstd", platform));
            }
            images.put(Platform.parse(platform), builder.build());
        }
        return TestImage.index(docker, images);
    }

    @Test
    void push_realImage_skopeoAndContainerdGetTheSame() throws Exception {
        imgctl.ok("pull", "--no-unpack", "--plain-http", workspace.reference());
        JsonNode result = imgctl.json("push", workspace.reference(), name("pushed/debian:1"));
        assertEquals(workspace.image().manifestDigest(), result.get("digest").asString());
        // The registry has them in another repository: nothing is sent again.
        assertEquals(result.get("blobs").asInt(), result.get("mountedBlobs").asInt());
        assertEquals(workspace.image().manifestDigest(), Skopeo.digest(name("pushed/debian:1")));
        Skopeo.copy("docker://" + name("pushed/debian:1"), "dir:" + workspace.path("dir"));

        DockerRegistry other = workspace.keep(DockerRegistry.open(workspace.path("other")));
        JsonNode sent = imgctl.json("push", workspace.reference(), other.reference("debian:1"));
        assertTrue(sent.get("copiedBytes").asLong() >= workspace.image().size());
        assertEquals(
                workspace.image().manifestDigest(), Skopeo.digest(other.reference("debian:1")));
        JsonNode again = imgctl.json("push", workspace.reference(), other.reference("debian:1"));
        assertEquals(0, again.get("copiedBytes").asLong());

        Containerd containerd =
                workspace.keep(
                        Containerd.start(
                                workspace.path("c"), "overlayfs", workspace.path("none.sock")));
        containerd.ctr("content", "fetch", "--plain-http", other.reference("debian:1")).ok();
        String listed = containerd.ctr("images", "ls").ok();
        assertTrue(listed.contains(workspace.image().manifestDigest()), listed);
        containerd
                .ctr(
                        "images",
                        "push",
                        "--plain-http",
                        other.reference("from-ctr:1"),
                        other.reference("debian:1"))
                .ok();
        String copied =
                imgctl.ok(
                        "copy",
                        "-q",
                        "docker://" + other.reference("from-ctr:1"),
                        "oci:" + workspace.path("oci") + ":1");
        assertEquals(workspace.image().manifestDigest(), copied);
    }

    @Test
    void copy_multiPlatform_backAndForthWithSkopeo() throws Exception {
        try (InMemoryRegistry memory = InMemoryRegistry.start()) {
            for (boolean docker : List.of(false, true)) {
                TestImage image = multiPlatform(docker);
                String wanted = image.manifest().digest().toString();
                String kind = docker ? "docker" : "oci";
                String source = memory.push(kind, "1", image);
                String ours = name(kind + "/ours:1");
                assertEquals(
                        wanted,
                        imgctl.ok(
                                "copy",
                                "-q",
                                "--all-platforms",
                                "docker://" + source,
                                "docker://" + ours));
                assertEquals(wanted, Skopeo.digest(ours));
                Path theirs = workspace.path(kind + "-dir");
                Skopeo.copy("docker://" + ours, "dir:" + theirs);
                assertEquals(
                        wanted,
                        imgctl.ok(
                                "copy",
                                "-q",
                                "--all-platforms",
                                "dir:" + theirs,
                                "docker://" + name(kind + "/back:1")));
                Path written = workspace.path(kind + "-written");
                imgctl.ok("copy", "--all-platforms", "docker://" + ours, "dir:" + written);
                Skopeo.copy("dir:" + written, "docker://" + name(kind + "/again:1"));
                assertEquals(wanted, imgctl.ok("manifest", "digest", name(kind + "/again:1")));
            }
        }
    }

    @Test
    void copy_archives_exchangedWithSkopeo() throws Exception {
        String source = "docker://" + workspace.reference();
        String wanted = workspace.image().manifestDigest();
        Path place = workspace.newDirectory("a");
        for (String target :
                List.of("oci:" + place + "/oci:1", "oci-archive:" + place + "/oci.tar:1")) {
            assertEquals(wanted, imgctl.ok("copy", "-q", source, target));
            Skopeo.copy(target, "docker://" + name("archives:1"));
            assertEquals(wanted, imgctl.ok("manifest", "digest", name("archives:1")));
        }
        imgctl.ok("copy", source, "docker-archive:" + place + "/d.tar:debian:12");
        Skopeo.copy("docker-archive:" + place + "/d.tar", "dir:" + place + "/d");
        // skopeo's archive has neither manifest nor compressed layers: the configuration stays.
        Program.of(
                        "skopeo",
                        "copy",
                        "--quiet",
                        "--src-tls-verify=false",
                        source,
                        "docker-archive:" + place + "/theirs.tar:debian:12")
                .ok();
        imgctl.ok(
                "copy",
                "docker-archive:" + place + "/theirs.tar:debian:12",
                "docker://" + name("theirs:1"));
        assertTrue(
                imgctl.ok("manifest", "get", name("theirs:1"))
                        .contains(workspace.image().configDigest()));
    }

    @Test
    void referrers_registryWithoutApi_listedCopiedAndDeleted() throws Exception {
        String image = name("signed:1");
        imgctl.ok("copy", "docker://" + workspace.reference(), "docker://" + image);
        Path payload = workspace.path("payload");
        Files.writeString(payload, "signature");
        String layer = imgctl.ok("blob", "put", name("signed"), payload);
        Path empty = workspace.path("empty");
        Files.writeString(empty, "{}");
        String config = imgctl.ok("blob", "put", name("signed"), empty);
        JsonNode subject = imgctl.json("manifest", "digest", image);
        Path manifest = workspace.path("manifest");
        Files.writeString(
                manifest,
                """
                {"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
                "artifactType":"application/vnd.test.sig",
                "config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"%s","size":2},
                "layers":[{"mediaType":"text/plain","digest":"%s","size":9}],
                "subject":{"mediaType":"%s","digest":"%s","size":%d}}
                """
                        .formatted(
                                config,
                                layer,
                                subject.get("mediaType").asString(),
                                subject.get("digest").asString(),
                                subject.get("size").asLong()));
        String artifact = imgctl.ok("manifest", "put", name("signed"), manifest);

        JsonNode listed = imgctl.json("registry", "referrers", image);
        assertEquals(artifact, listed.get("referrers").get(0).get("digest").asString());
        assertTrue(listed.get("byTag").asBoolean());
        String tag = subject.get("digest").asString().replace(':', '-');
        assertTrue(Skopeo.raw(name("signed:" + tag)).contains(artifact));
        imgctl.ok("copy", "--referrers", "docker://" + image, "docker://" + name("copied:1"));
        JsonNode copied = imgctl.json("registry", "referrers", name("copied:1"));
        assertEquals(artifact, copied.get("referrers").get(0).get("digest").asString());
        assertEquals("signature", imgctl.ok("blob", "get", name("copied") + "@" + layer));
        // This registry deletes nothing, and says so.
        String refused = imgctl.fails(8, "registry", "delete", name("signed") + "@" + artifact);
        assertTrue(refused.contains("405"), refused);
    }

    @Test
    void tags_tenThousand_allOfThem() throws Exception {
        try (InMemoryRegistry memory = InMemoryRegistry.start()) {
            TestImage image = ImageBuilder.oci().layer(tar -> tar.file("a", "b")).build();
            String[] tags = new String[10_000];
            for (int i = 0; i < tags.length; i++) {
                tags[i] = "v" + i;
            }
            memory.content()
                    .putManifest("many", image.manifest().mediaType(), image.content(), tags);
            List<String> listed =
                    imgctl.ok("registry", "tags", memory.authority() + "/many").lines().toList();
            assertEquals(10_000, listed.size());
            JsonNode some =
                    imgctl.json("registry", "tags", "--limit", "2", memory.authority() + "/many");
            assertEquals(2, some.get("tags").size());
        }
    }

    @Test
    void commandsThatNeedNoStore_openNone() {
        imgctl.ok("registry", "tags", name("debian"));
        imgctl.ok("registry", "catalog", name("x").replace("/x", ""));
        imgctl.ok("copy", "docker://" + workspace.reference(), "docker://" + name("nostore:1"));
        imgctl.fails(3, "manifest", "get", name("nothing:1"));
        imgctl.fails(3, "registry", "tags", name("nothing"));
        imgctl.fails(2, "copy", "debian:12", "docker://" + name("x:1"));
        assertFalse(Files.exists(root));
    }

    @Test
    void push_throughTheDaemon_itsStoreIsRead() throws Exception {
        Imgd imgd = workspace.keep(Imgd.start(workspace.path("i"), Imgd.Mode.PASSIVE));
        imgd.imgctl().ok("pull", "--no-unpack", "--plain-http", workspace.reference());
        assertEquals(
                workspace.image().manifestDigest(),
                imgd.imgctl().ok("push", "-q", workspace.reference(), name("daemon:1")));
        assertEquals(workspace.image().manifestDigest(), Skopeo.digest(name("daemon:1")));
        String layout = "oci:" + workspace.path("out") + ":1";
        imgd.imgctl().ok("copy", "store:" + workspace.reference(), layout);
        assertEquals(
                workspace.image().manifestDigest(),
                imgd.imgctl().ok("copy", "-q", layout, "docker://" + name("daemon:2")));
    }
}
