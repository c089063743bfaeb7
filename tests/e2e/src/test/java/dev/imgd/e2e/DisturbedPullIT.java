package dev.imgd.e2e;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.Digest;
import dev.imgd.model.MediaType;
import dev.imgd.testkit.TarWriter;
import dev.imgd.testkit.TcpProxy;
import dev.imgd.testkit.TestAuthority;
import dev.imgd.testkit.TokenServer;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;

/// Something happens in the middle of a pull of a large image from Debian's docker-registry, over
/// slow connections: what is fetched a second time is counted on the wire.
@Tag("root")
class DisturbedPullIT {
    private static final int FILE_BYTES = 512 << 20;

    /// The layers of an image in which what is under way counts for more.
    private static final List<Integer> SMALLER = List.of(60 << 20, 30 << 20, 10 << 20);

    private static final long SMALLER_BYTES_PER_SECOND = 6 << 20;
    private static final long CONNECTION_BYTES_PER_SECOND = 40 << 20;
    private static final Duration LIMIT = Duration.ofSeconds(60);
    private static final String NAME = "large:1";
    private static final String SMALLER_NAME = "smaller:1";

    @TempDir static Path shared;
    private static final Map<String, String> MANIFESTS = new HashMap<>();

    @RegisterExtension final Workspace workspace = new Workspace();

    private DockerRegistry registry;
    private TcpProxy way;

    /// The image in a directory of docker-registry.
    @BeforeAll
    static void push() throws Exception {
        push(NAME, layout(shared.resolve("large"), List.of(FILE_BYTES)));
        push(SMALLER_NAME, layout(shared.resolve("smaller"), SMALLER));
    }

    private static void push(String name, Path layout) throws Exception {
        try (DockerRegistry open = DockerRegistry.open(shared)) {
            String digest =
                    Imgctl.embedded(shared.resolve("none"))
                            .ok(
                                    "copy",
                                    "-q",
                                    "oci:" + layout + ":1",
                                    "docker://" + open.reference(name));
            MANIFESTS.put(name, digest);
        }
    }

    @BeforeEach
    void start() throws IOException {
        registry = DockerRegistry.open(shared);
        way = slowWay(registry);
    }

    @AfterEach
    void stop() throws IOException {
        way.close();
        registry.close();
    }

    private static TcpProxy slowWay(DockerRegistry registry) throws IOException {
        TcpProxy way = TcpProxy.to(registry.port());
        way.limitEachConnection(CONNECTION_BYTES_PER_SECOND);
        return way;
    }

    /// Layers that are not compressed, since it is the transfer that counts.
    private static Path layout(Path directory, List<Integer> sizes) throws Exception {
        Path blobs = Files.createDirectories(directory.resolve("blobs/sha256"));
        List<String> diffIds = new ArrayList<>();
        List<String> layers = new ArrayList<>();
        for (int i = 0; i < sizes.size(); i++) {
            String hex = layer(blobs, i, sizes.get(i));
            diffIds.add("\"sha256:" + hex + "\"");
            layers.add(descriptor(blobs, MediaType.OCI_LAYER, hex));
        }
        String config =
                blob(
                        blobs,
                        "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\","
                                + "\"diff_ids\":[%s]}}".formatted(String.join(",", diffIds)));
        String manifest =
                blob(
                        blobs,
                        "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":%s,\"layers\":[%s]}"
                                .formatted(
                                        MediaType.OCI_MANIFEST,
                                        descriptor(blobs, MediaType.OCI_CONFIG, config),
                                        String.join(",", layers)));
        String named =
                descriptor(blobs, MediaType.OCI_MANIFEST, manifest)
                        .replace(
                                "}",
                                ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"1\"}}");
        Files.writeString(
                directory.resolve("index.json"),
                "{\"schemaVersion\":2,\"manifests\":[%s]}".formatted(named));
        Files.writeString(directory.resolve("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}");
        return directory;
    }

    private static String layer(Path blobs, int number, int size) throws Exception {
        Path written = blobs.resolveSibling("layer");
        MessageDigest sha256 = MessageDigest.getInstance("SHA-256");
        byte[] piece = new byte[1 << 20];
        new Random(number).nextBytes(piece);
        byte[] name = ("file-" + number).getBytes(UTF_8);
        byte[] header = new TarWriter().header('0', name, new byte[0], 0644, size, 0, 0);
        try (OutputStream out = Files.newOutputStream(written)) {
            write(out, sha256, header);
            for (int i = 0; i < size / piece.length; i++) {
                piece[0] = (byte) i;
                piece[1] = (byte) (i >> 8);
                write(out, sha256, piece);
            }
            write(out, sha256, new byte[1024]);
        }
        String hex = HexFormat.of().formatHex(sha256.digest());
        Files.move(written, blobs.resolve(hex));
        return hex;
    }

    private static void write(OutputStream out, MessageDigest sha256, byte[] bytes)
            throws IOException {
        out.write(bytes);
        sha256.update(bytes);
    }

    private static String blob(Path blobs, String json) throws IOException {
        String hex = Digest.sha256(json.getBytes(UTF_8)).hex();
        Files.writeString(blobs.resolve(hex), json);
        return hex;
    }

    private static String descriptor(Path blobs, String type, String hex) throws IOException {
        return "{\"mediaType\":\"%s\",\"digest\":\"sha256:%s\",\"size\":%d}"
                .formatted(type, hex, Files.size(blobs.resolve(hex)));
    }

    private Program.Running pull(Imgctl imgctl) {
        return pull(imgctl, NAME);
    }

    private Program.Running pull(Imgctl imgctl, String name) {
        return imgctl.command(
                        "--progress",
                        "none",
                        "pull",
                        "--quiet",
                        "--no-unpack",
                        way.authority() + "/" + name)
                .start();
    }

    private void awaitHalf(Program.Running pull) {
        await(FILE_BYTES / 2, pull);
    }

    private void await(long bytes, Program.Running pull) {
        Await.until(bytes + " bytes of the image", LIMIT, () -> way.bytes() > bytes);
        assertTrue(pull.process().isAlive(), "too fast to be disturbed");
    }

    private Duration assertRightAndNearlyOnce(Program.Running pull, Path root) {
        return assertRightAndNearlyOnce(pull, root, NAME, FILE_BYTES);
    }

    private Duration assertRightAndNearlyOnce(
            Program.Running pull, Path root, String name, long size) {
        Program.Finished finished = pull.end().expectExit(0);
        assertEquals(MANIFESTS.get(name), finished.out().strip());
        assertTrue(
                way.bytes() <= 1.05 * size,
                "%.1f %% of the image was sent".formatted(100.0 * way.bytes() / size));
        StoreFiles files = new StoreFiles(root);
        assertEquals(List.of(), files.damagedBlobs());
        assertEquals(Set.of(), files.ingests().keySet());
        return finished.took();
    }

    @Test
    void imgctl_killed_theNextGoesOn() throws Exception {
        Path root = workspace.path("store");
        Imgctl imgctl = Imgctl.embedded(root);
        Program.Running first = pull(imgctl);
        awaitHalf(first);
        first.kill();

        assertRightAndNearlyOnce(pull(imgctl), root);
    }

    /// Each connection is slow, so several are used for each layer, and several layers are fetched
    /// at once.
    @Test
    void imgctl_killedTwice_smallerLayers_theNextGoesOn() throws Exception {
        way.limitEachConnection(SMALLER_BYTES_PER_SECOND);
        Path root = workspace.path("store");
        Imgctl imgctl = Imgctl.embedded(root);
        long size = SMALLER.stream().mapToLong(Integer::longValue).sum();
        for (int part = 1; part <= 2; part++) {
            Program.Running pull = pull(imgctl, SMALLER_NAME);
            await(part * size / 3, pull);
            pull.kill();
        }

        assertRightAndNearlyOnce(pull(imgctl, SMALLER_NAME), root, SMALLER_NAME, size);
    }

    @Test
    void imgd_killed_theNextGoesOn() throws Exception {
        Imgd imgd = workspace.keep(Imgd.start(workspace.path("d"), Imgd.Mode.PASSIVE));
        Program.Running first = pull(imgd.imgctl());
        awaitHalf(first);
        imgd.kill();
        assertWentAway(first, imgd);

        Imgd next = workspace.keep(imgd.again());
        assertRightAndNearlyOnce(pull(next.imgctl()), next.place().root());
    }

    private static void assertWentAway(Program.Running pull, Imgd imgd) {
        Program.Finished finished = pull.end().expectExit(6);
        assertEquals(
                ("imgctl: the daemon at %s went away during the pull; what was fetched is kept; see"
                                + " systemctl status imgd, start it unless it starts again by"
                                + " itself, and run the command again\n")
                        .formatted(imgd.place().address()),
                finished.err());
    }

    @Test
    void imgd_stopped_theNextGoesOn() throws Exception {
        Imgd imgd = workspace.keep(Imgd.start(workspace.path("d"), Imgd.Mode.PASSIVE));
        Program.Running first = pull(imgd.imgctl());
        awaitHalf(first);
        // So slowly that it does not end while calls may still go on.
        way.limitEachConnection(1 << 20);
        assertEquals(0, imgd.terminate(), imgd.log());
        assertWentAway(first, imgd);

        way.limitEachConnection(CONNECTION_BYTES_PER_SECOND);
        Imgd next = workspace.keep(imgd.again());
        assertRightAndNearlyOnce(pull(next.imgctl()), next.place().root());
    }

    @Test
    void registry_restarts_theSamePullGoesOn() throws Exception {
        Path root = workspace.path("store");
        Program.Running pull = pull(Imgctl.embedded(root));
        awaitHalf(pull);
        registry.kill();
        registry = DockerRegistry.again(shared, registry.port());

        assertRightAndNearlyOnce(pull, root);
    }

    /// The registry accepts each token for one to two seconds, and the client is not told.
    @Test
    void token_expires_theSamePullGoesOn() throws Exception {
        TestAuthority authority = TestAuthority.create("the authority");
        Path roots = Files.writeString(workspace.path("ca.pem"), authority.certificatePem());
        try (TokenServer tokens = TokenServer.start()) {
            tokens.signedBy(authority.server("tokens.test"), "the issuer").signedFor(-58);
            stop();
            registry = DockerRegistry.withTokens(shared, tokens.realm(), "the issuer", roots);
            way = slowWay(registry);
            Path root = workspace.path("store");

            Duration took = assertRightAndNearlyOnce(pull(Imgctl.embedded(root)), root);

            int requests = tokens.requests().size();
            assertTrue(requests >= 2, "the token never expired");
            assertTrue(requests <= 2 + took.toSeconds(), requests + " tokens in " + took);
        }
    }
}
