package dev.imgd.registrytest;

import static dev.imgd.registrytest.Fixture.QUICK;
import static dev.imgd.registrytest.Fixture.assertFails;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.MediaType;
import dev.imgd.model.Platform;
import dev.imgd.model.Reference;
import dev.imgd.registry.EmbeddedRegistry;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryContent;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.Required;
import dev.imgd.testkit.TestImage;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// The client and the test registry against programs that others wrote: Debian's `docker-registry`
/// and `skopeo`.
class DockerRegistryIT {
    @TempDir static Path directory;
    private static Process server;
    private static String authority;
    private static TestImage image;

    @BeforeAll
    static void start() throws Exception {
        Required.tool("docker-registry", "skopeo");
        int port = freePort();
        authority = "localhost:" + port;
        ProcessBuilder builder =
                new ProcessBuilder("docker-registry", "serve", config(port).toString());
        builder.redirectErrorStream(true);
        builder.redirectOutput(directory.resolve("registry.log").toFile());
        server = builder.start();
        awaitListening(port);
        byte[] big = new byte[3_000_000];
        new Random(3).nextBytes(big);
        image =
                ImageBuilder.docker()
                        .layer(tar -> tar.file("big", 0644, big))
                        .layer(MediaType.Compression.NONE, tar -> tar.file("small", "x"))
                        .label("note", "straße")
                        .build();
        try (InMemoryRegistry memory = InMemoryRegistry.start()) {
            String reference = memory.push("app", "1", image);
            copy("docker://" + reference, "docker://" + authority + "/team/app:1");
        }
    }

    @AfterAll
    static void stop() throws Exception {
        if (server != null) {
            server.destroy();
            if (!server.waitFor(10, TimeUnit.SECONDS)) {
                server.destroyForcibly().waitFor();
            }
        }
    }

    private static int freePort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return socket.getLocalPort();
        }
    }

    private static Path config(int port) throws IOException {
        return Files.writeString(
                directory.resolve("config.yml"),
                """
                version: 0.1
                storage:
                  filesystem:
                    rootdirectory: %s
                http:
                  addr: 127.0.0.1:%d
                """
                        .formatted(directory.resolve("data"), port));
    }

    private static void awaitListening(int port) {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
        while (true) {
            try (Socket _ = new Socket(InetAddress.getLoopbackAddress(), port)) {
                return;
            } catch (IOException e) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("docker-registry does not listen", e);
                }
                LockSupport.parkNanos(20_000_000);
            }
        }
    }

    private static void copy(String from, String to) throws Exception {
        Path log = Files.createTempFile(directory, "skopeo", ".log");
        Process skopeo =
                new ProcessBuilder(
                                "skopeo",
                                "copy",
                                "--all",
                                "--insecure-policy",
                                "--src-tls-verify=false",
                                "--dest-tls-verify=false",
                                "--preserve-digests",
                                from,
                                to)
                        .redirectErrorStream(true)
                        .redirectOutput(log.toFile())
                        .start();
        assertTrue(skopeo.waitFor(60, TimeUnit.SECONDS), "skopeo does not end");
        assertEquals(0, skopeo.exitValue(), Files.readString(log));
    }

    private static byte[] read(RegistryClient client, Reference reference, Descriptor blob, long at)
            throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteBuffer buffer = ByteBuffer.allocateDirect(64 << 10);
        try (RegistryClient.BlobStream stream = client.blob(reference, blob, at)) {
            while (stream.read(buffer.clear()) >= 0) {
                byte[] bytes = new byte[buffer.flip().remaining()];
                buffer.get(bytes);
                out.writeBytes(bytes);
            }
        }
        return out.toByteArray();
    }

    @Test
    void client_pullsFromDockerRegistry() throws Exception {
        try (RegistryClient client = RegistryClient.create(QUICK)) {
            Reference reference = Reference.parse(authority + "/team/app:1");
            var manifest = client.resolve(reference);
            assertEquals(image.manifest(), manifest.descriptor());
            assertEquals(
                    manifest, client.resolve(reference.withDigest(manifest.descriptor().digest())));
            for (Descriptor layer : image.layers()) {
                byte[] wanted = image.blob(layer.digest()).toArray();
                assertArrayEquals(wanted, read(client, reference, layer, 0));
                int half = wanted.length / 2;
                assertArrayEquals(
                        Arrays.copyOfRange(wanted, half, wanted.length),
                        read(client, reference, layer, half));
            }
            assertFails(ErrorKind.NOT_FOUND, () -> client.resolve(reference.withTag("none")));
            Descriptor none = new Descriptor(MediaType.OCI_LAYER, Digest.sha256(new byte[] {1}), 1);
            assertFails(ErrorKind.NOT_FOUND, () -> client.smallBlob(reference, none));
        }
    }

    @Test
    void skopeo_pushesAnIndexIntoTheTestRegistry() throws Exception {
        Map<Platform, TestImage> images = new LinkedHashMap<>();
        for (String architecture : new String[] {"amd64", "arm64"}) {
            Platform platform = new Platform("linux", architecture, "");
            images.put(
                    platform,
                    ImageBuilder.oci()
                            .platform(platform)
                            .layer(tar -> tar.file("arch", architecture))
                            .build());
        }
        TestImage index = TestImage.index(images);
        try (InMemoryRegistry from = InMemoryRegistry.start();
                InMemoryRegistry to = InMemoryRegistry.start();
                RegistryClient client = RegistryClient.create(QUICK)) {
            String reference = from.push("app", "1", index);
            copy("docker://" + reference, "docker://" + to.authority() + "/copy:2");
            var got = client.resolve(Reference.parse(to.authority() + "/copy:2"));
            assertEquals(index.manifest(), got.descriptor());
            for (TestImage one : images.values()) {
                for (Map.Entry<Digest, Bytes> blob : one.blobs().entrySet()) {
                    var stored = to.content().blob("copy", blob.getKey()).orElseThrow();
                    assertEquals(blob.getValue().size(), stored.sizeBytes());
                }
            }
        }
    }

    @Test
    void skopeo_pullsALayoutFromTheEmbeddedRegistry() throws Exception {
        Path layout = directory.resolve("layout");
        copy("docker://" + authority + "/team/app:1", "dir:" + directory.resolve("dir"));
        try (InMemoryRegistry memory = InMemoryRegistry.start()) {
            TestImage oci =
                    ImageBuilder.oci().layer(tar -> tar.file("a", "a".repeat(9999))).build();
            String reference = memory.push("app", "1", oci);
            copy("docker://" + reference, "oci:" + layout + ":latest");
            try (EmbeddedRegistry embedded =
                    EmbeddedRegistry.start(RegistryContent.layout(layout))) {
                copy(
                        "docker://" + embedded.authority() + "/x/y:latest",
                        "dir:" + directory.resolve("out"));
            }
            File manifest = directory.resolve("out/manifest.json").toFile();
            assertEquals(
                    new String(oci.content().toArray(), StandardCharsets.UTF_8),
                    Files.readString(manifest.toPath()));
        }
    }
}
