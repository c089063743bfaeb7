package dev.imgd.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.Descriptor;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TestImage;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;

/// A registry that exists only in a `hosts.toml`: its first mirror is dead, its second is Debian's
/// docker-registry.
@Tag("root")
class HostsIT {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String REGISTRY = "registry.e2e.example";
    private static final String IMAGE = REGISTRY + "/debian:12";

    @RegisterExtension final Workspace workspace = new Workspace();

    private Imgctl imgctl = Imgctl.embedded(Path.of(""));
    private Path config = Path.of("");
    private Path hosts = Path.of("");

    @BeforeEach
    void setUp() throws IOException {
        imgctl = Imgctl.embedded(workspace.path("store"));
        Path certs = workspace.newDirectory("certs.d");
        hosts = workspace.newDirectory("certs.d/" + REGISTRY).resolve("hosts.toml");
        config =
                Files.writeString(
                        workspace.path("config.toml"),
                        "[registry]\nhosts_dir = [\"%s\"]\n".formatted(certs));
        Files.writeString(
                hosts,
                """
                server = "http://localhost:%d"

                [host."http://localhost:%d"]
                  dial_timeout = "500ms"

                [host."http://127.0.0.1:%d"]
                  capabilities = ["pull", "resolve"]
                """
                        .formatted(closedPort(), closedPort(), workspace.registry().port()));
    }

    private static int closedPort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return socket.getLocalPort();
        }
    }

    @Test
    void pull_throughAMirror_imageHasTheNameOfItsRegistry() {
        int mark = workspace.registry().mark();
        JsonNode result = imgctl.json("--config", config, "pull", IMAGE);
        assertEquals(IMAGE, result.get("name").asString());
        assertEquals(workspace.image().manifestDigest(), result.get("digest").asString());
        List<DockerRegistry.Access> accesses = workspace.registry().accesses(mark);
        assertTrue(!accesses.isEmpty());
        for (DockerRegistry.Access access : accesses) {
            assertTrue(access.path().endsWith("?ns=" + REGISTRY), access.path());
        }
    }

    /// Dead, corrupt, right: once embedded, once by a daemon.
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void pull_firstDeadSecondCorrupt_succeedsAndSaysWhoSentWhat(boolean daemon) throws Exception {
        try (InMemoryRegistry corrupt = InMemoryRegistry.start();
                InMemoryRegistry origin = InMemoryRegistry.start()) {
            TestImage image = twoLayers();
            corrupt.push("team/app", "1", image);
            origin.push("team/app", "1", image);
            image.layers()
                    .forEach(
                            layer ->
                                    corrupt.always(
                                            layer.digest().toString(), Fault.wrongByteAt(100)));
            String dead = "127.0.0.1:" + closedPort();
            Files.writeString(
                    hosts,
                    """
                    server = "http://%s"
                    [host."http://%s"]
                    [host."http://%s"]
                    """
                            .formatted(origin.authority(), dead, corrupt.authority()));
            Path root = workspace.path("store");
            @Nullable Imgd imgd = null;
            if (daemon) {
                imgd =
                        workspace.keep(
                                Imgd.start(
                                        workspace.path("d"),
                                        Imgd.Mode.PASSIVE,
                                        Map.of(),
                                        Files.readString(config)));
                imgctl = imgd.imgctl();
                root = imgd.place().root();
            } else {
                imgctl = Imgctl.embedded(root);
            }
            List<Object> words = new ArrayList<>(daemon ? List.of() : List.of("--config", config));
            words.addAll(List.of("-o", "json", "pull", REGISTRY + "/team/app:1"));

            Program.Finished finished = imgctl.command(words.toArray()).run().expectExit(0);
            JsonNode result = JSON.readTree(finished.out());
            for (String host : List.of(dead, corrupt.authority())) {
                String warning = "registry host " + host + " is passed over: ";
                assertEquals(1, linesWith(warning, finished.err()), finished.err());
                assertEquals(
                        1, linesWith(warning, result.get("warnings").toPrettyString()), "result");
                if (imgd != null) {
                    assertEquals(1, linesWith(warning, imgd.log()), imgd.log());
                }
            }

            assertEquals(image.manifest().digest().toString(), result.get("digest").asString());
            Map<String, JsonNode> sources = new HashMap<>();
            result.get("sources").forEach(use -> sources.put(use.get("host").asString(), use));
            assertEquals(Set.of(dead, corrupt.authority(), origin.authority()), sources.keySet());
            JsonNode refused = sources.get(dead);
            assertEquals(0, refused.get("bytes").asLong());
            assertTrue(refused.get("dropped").asString().contains("refused"), refused.toString());
            JsonNode wrong = sources.get(corrupt.authority());
            assertTrue(
                    wrong.get("bytes").asLong() > image.layers().getFirst().sizeBytes(),
                    wrong.toString());
            assertTrue(
                    wrong.get("dropped").asString().contains("wrong bytes of sha256:"),
                    wrong.toString());
            JsonNode right = sources.get(origin.authority());
            assertFalse(right.has("dropped"), right.toString());
            long size = image.layers().stream().mapToLong(Descriptor::sizeBytes).sum();
            assertTrue(right.get("bytes").asLong() >= size, right + " for " + size);
            long all = sources.values().stream().mapToLong(use -> use.get("bytes").asLong()).sum();
            assertEquals(result.get("fetchedBytes").asLong(), all);
            assertEquals(List.of(), new StoreFiles(root).damagedBlobs());
            assertEquals("", imgctl.ok("fsck", "--rehash"));
        }
    }

    private static long linesWith(String part, String text) {
        return text.lines().filter(line -> line.contains(part)).count();
    }

    /// A layer that is two redirects away.
    @Test
    void pull_redirects_asManyAsTheConfigurationAllows() throws Exception {
        try (InMemoryRegistry first = InMemoryRegistry.start();
                InMemoryRegistry second = InMemoryRegistry.start();
                InMemoryRegistry third = InMemoryRegistry.start()) {
            TestImage image = twoLayers();
            String reference = first.push("team/app", "1", image);
            third.push("team/app", "1", image);
            for (Descriptor layer : image.layers()) {
                String path = "/v2/team/app/blobs/" + layer.digest();
                String digest = layer.digest().toString();
                first.always(digest, Fault.redirect(307, "http://" + second.authority() + path));
                second.always(digest, Fault.redirect(307, "http://" + third.authority() + path));
            }
            Path limited =
                    Files.writeString(workspace.path("limited.toml"), "[limits]\nredirects = 1\n");
            String failure = imgctl.fails(5, "--config", limited, "pull", "-q", reference);
            assertTrue(failure.contains("limits.redirects"), failure);
            Files.writeString(limited, "[limits]\nredirects = 2\n");
            assertEquals(
                    image.manifest().digest().toString(),
                    imgctl.ok("--config", limited, "pull", "-q", reference));
        }
    }

    private static TestImage twoLayers() {
        ImageBuilder builder = ImageBuilder.oci();
        for (int i = 0; i < 2; i++) {
            byte[] content = new byte[400_000];
            new Random(i).nextBytes(content);
            String name = "file" + i;
            builder.layer(tar -> tar.file(name, 0644, content));
        }
        return builder.build();
    }

    @Test
    void pull_wrongFile_saysWhereAndNothingIsAsked() throws Exception {
        Files.writeString(hosts, "[host.\"http://localhost:1\"]\n  skip_verfy = true\n");
        assertEquals(
                "imgctl: %s: line 2, column 3: host.\"http://localhost:1\".skip_verfy: unknown key; did you mean \"skip_verify\"?"
                        .formatted(hosts),
                imgctl.fails(2, "--config", config, "pull", "-q", IMAGE));
        assertEquals(
                "http://localhost:1/v2",
                imgctl.json("--config", lenient(), "registry", "hosts", IMAGE)
                        .get("hosts")
                        .get(0)
                        .get("url")
                        .asString());
    }

    /// A file that was good when the daemon started to use it does not stop it; the log counts.
    @Test
    void daemon_fileBecomesWrong_lastGoodStateAndCountInTheLog() throws Exception {
        Imgd imgd =
                workspace.keep(
                        Imgd.start(
                                workspace.path("d"),
                                Imgd.Mode.PASSIVE,
                                Map.of(),
                                Files.readString(config)));
        String good = Files.readString(hosts);
        for (int bad = 1; bad <= 2; bad++) {
            imgd.imgctl().ok("pull", "-q", "--no-unpack", IMAGE);
            Files.writeString(hosts, good + "[host.\"http://localhost:%d\"".formatted(bad));
            imgd.imgctl().ok("pull", "-q", "--no-unpack", IMAGE);
            String wanted =
                    "the file's last good state stays in use (bad hosts.toml number %d)"
                            .formatted(bad);
            List<String> lines = imgd.log().lines().filter(l -> l.contains(wanted)).toList();
            assertEquals(1, lines.size(), imgd.log());
            assertTrue(lines.getFirst().contains(hosts + ": line "), lines.getFirst());
            Files.writeString(hosts, good);
        }
    }

    /// As with containerd the mirrors are gone then, but not silently.
    @Test
    void pull_wrongFileInContainerdMode_warnsAndCounts() throws Exception {
        Files.writeString(hosts, Files.readString(hosts) + "[host");
        Program.Finished finished =
                imgctl.command("--config", lenient(), "pull", "-q", IMAGE).run().expectExit(6);
        assertTrue(finished.err().contains(hosts + ": line "), finished.err());
        assertTrue(finished.err().contains("(bad hosts.toml number 1)"), finished.err());
        JsonNode listing = imgctl.json("--config", lenient(), "registry", "hosts", IMAGE);
        String warning = listing.get("warnings").get(0).asString();
        assertTrue(warning.contains("neither are its mirrors"), warning);
    }

    private Path lenient() throws IOException {
        return Files.writeString(
                workspace.path("lenient.toml"),
                Files.readString(config) + "hosts_mode = \"containerd\"\n");
    }

    @Test
    void registryHosts_listsThemInOrderWithTheirLines() {
        JsonNode listing = imgctl.json("--config", config, "registry", "hosts", IMAGE);
        List<String> from = new ArrayList<>();
        listing.get("hosts").forEach(host -> from.add(host.get("from").asString()));
        assertEquals(List.of(hosts + ":3", hosts + ":6", hosts + ":1"), from);
        String table = imgctl.ok("--config", config, "registry", "hosts", IMAGE);
        assertTrue(table.lines().toList().get(2).contains("pull,resolve"), table);
        assertTrue(table.contains("dial timeout: 500ms; ns=" + REGISTRY), table);
    }

    @Test
    void registryResolve_showsWhatEachHostAnswered() {
        JsonNode answers =
                imgctl.json("--config", config, "registry", "resolve", IMAGE).get("hosts");
        assertEquals("UNAVAILABLE", answers.get(0).get("code").asString());
        assertEquals(workspace.image().manifestDigest(), answers.get(1).get("digest").asString());
        assertEquals("UNAVAILABLE", answers.get(2).get("code").asString());
    }

    @Test
    void registryTest_namesTheDeadHosts_exitCodeSaysSome() {
        Program.Finished finished =
                imgctl.command("--config", config, "registry", "test", IMAGE).run().expectExit(10);
        List<String> lines = finished.out().lines().toList();
        assertEquals(1 + 3 * 6, lines.size(), finished.out());
        assertTrue(lines.get(2).contains("failed"), finished.out());
        assertTrue(lines.get(2).contains("connection refused"), finished.out());
        for (int i = 7; i < 13; i++) {
            assertTrue(
                    lines.get(i).contains(" ok ") || lines.get(i).contains("plain http"),
                    lines.get(i));
        }
    }
}
