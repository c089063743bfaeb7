package dev.imgd.registrytest;

import static dev.imgd.registrytest.Fixture.QUICK;
import static dev.imgd.registrytest.Fixture.random;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.hosts.Capability;
import dev.imgd.hosts.RegistryHost;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.MediaType;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryClient.BlobStream;
import dev.imgd.registry.RegistryOptions;
import dev.imgd.registry.TransferOptions;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.Required;
import dev.imgd.testkit.TestAuthority;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// Blobs from nginx over HTTP/2. What went over which connection is what nginx says.
@Timeout(120)
class Http2RangesIT {
    private static final TestAuthority AUTHORITY = TestAuthority.create("the authority");
    private static final int SIZE = 40 << 20;
    private static final byte[] CONTENT = random(SIZE, 9);
    private static final Descriptor BLOB =
            new Descriptor(MediaType.OCI_LAYER_GZIP, Digest.sha256(CONTENT), SIZE);
    private static final RegistryOptions RANGES =
            QUICK.withTransfer(TransferOptions.defaults().withRanges(4, 1 << 20));

    @TempDir Path directory;

    @BeforeEach
    void needTools() {
        Required.tool("nginx");
    }

    /// One request that nginx has answered.
    private record Served(String protocol, String connection, String range) {}

    /// An nginx that offers HTTP/2 by ALPN.
    private final class Nginx implements AutoCloseable {
        final int port;
        private final Path home;
        private final Daemon daemon;

        /// @param location what stands in its only `location`
        Nginx(String location) throws IOException {
            port = Daemon.freePort();
            home = Files.createDirectory(directory.resolve("nginx-" + port));
            TestAuthority.Identity identity = AUTHORITY.server("localhost");
            Files.writeString(home.resolve("crt"), identity.chainPem());
            Files.writeString(home.resolve("key"), identity.keyPem());
            Path config =
                    Files.writeString(
                            home.resolve("conf"),
                            """
                            %1$sdaemon off;
                            pid %2$s/pid;
                            error_log %2$s/error.log;
                            events {}
                            http {
                              log_format served '$server_protocol|$connection|$http_range';
                              access_log %2$s/access.log served;
                              client_body_temp_path %2$s/body;
                              proxy_temp_path %2$s/proxy;
                              fastcgi_temp_path %2$s/fastcgi;
                              uwsgi_temp_path %2$s/uwsgi;
                              scgi_temp_path %2$s/scgi;
                              server {
                                listen 127.0.0.1:%3$d ssl http2;
                                ssl_certificate %2$s/crt;
                                ssl_certificate_key %2$s/key;
                                location / {
                                  %4$s
                                }
                              }
                            }
                            """
                                    .formatted(
                                            System.getProperty("user.name").equals("root")
                                                    ? "user root;\n"
                                                    : "",
                                            home,
                                            port,
                                            location));
            daemon =
                    Daemon.start(
                            home.resolve("log"),
                            port,
                            "nginx",
                            "-p",
                            home.toString(),
                            "-c",
                            config.toString());
        }

        RegistryHost host() {
            return new RegistryHost(
                    RegistryHost.Scheme.HTTPS,
                    "localhost:" + port,
                    "/v2",
                    Set.of(Capability.values()),
                    Map.of(),
                    AUTHORITY.tls(null));
        }

        /// All it has served. Ends it, since a request is written down when it is over.
        List<Served> served() throws IOException {
            close();
            List<Served> all = new ArrayList<>();
            for (String line : Files.readAllLines(home.resolve("access.log"))) {
                String[] fields = line.split("\\|", -1);
                all.add(new Served(fields[0], fields[1], fields[2]));
            }
            return all;
        }

        @Override
        public void close() {
            daemon.close();
        }
    }

    private Path files(byte[]... contents) throws IOException {
        Path root = directory.resolve("files");
        Path blobs = Files.createDirectories(root.resolve("v2/app/blobs"));
        for (byte[] content : contents) {
            Files.write(blobs.resolve(Digest.sha256(content).toString()), content);
        }
        return root;
    }

    private static RegistryClient client(RegistryOptions options, Nginx... servers) {
        List<RegistryHost> hosts = new ArrayList<>();
        for (Nginx server : servers) {
            hosts.add(server.host());
        }
        return RegistryClient.create(options.withHosts(_ -> hosts));
    }

    private static void assertReads(RegistryClient client) throws IOException {
        ByteBuffer all = ByteBuffer.allocateDirect(SIZE + 1);
        try (BlobStream stream = client.blob(Reference.parse("registry.test/app:1"), BLOB, 0)) {
            while (stream.read(all) >= 0) {
                assertTrue(all.hasRemaining(), "longer than it should be");
            }
        }
        byte[] got = new byte[all.flip().remaining()];
        all.get(got);
        assertEquals(BLOB.digest(), Digest.sha256(got));
    }

    private static Set<String> connections(List<Served> served, String protocol) {
        return served.stream()
                .filter(one -> one.protocol().equals(protocol))
                .map(Served::connection)
                .collect(Collectors.toSet());
    }

    @Test
    void read_slowStreams_rangesAreFetchedOverConnectionsOfTheirOwn() throws Exception {
        Path root = files(CONTENT);
        try (Nginx nginx = new Nginx("root " + root + "; limit_rate 6m;");
                RegistryClient client = client(RANGES, nginx)) {
            assertReads(client);
            List<Served> served = nginx.served();
            assertEquals(1, connections(served, "HTTP/2.0").size(), served.toString());
            int ranges = connections(served, "HTTP/1.1").size();
            assertTrue(ranges >= 2 && ranges <= 4, served.toString());
            for (Served one : served) {
                assertTrue(one.range().startsWith("bytes="), served.toString());
            }
        }
    }

    @Test
    void read_streamIsReset_nextHostGoesOnInTheMiddle() throws Exception {
        Path root = files(CONTENT);
        try (InMemoryRegistry broken = InMemoryRegistry.start();
                Nginx mirror =
                        new Nginx(
                                "proxy_buffering off; proxy_pass http://127.0.0.1:%d;"
                                        .formatted(broken.port()));
                Nginx origin = new Nginx("root " + root + ";")) {
            broken.content().putBlob(CONTENT);
            broken.always("/blobs/", Fault.truncatedAt(3_000_000));
            try (RegistryClient client = client(RANGES, mirror, origin)) {
                assertReads(client);
                Set<String> senders = new HashSet<>();
                for (RegistryClient.SourceUse use : client.sources()) {
                    if (use.blobBytes() > 0) {
                        senders.add(use.host());
                    }
                }
                assertEquals(Set.of(mirror.host().authority(), origin.host().authority()), senders);
            }
            assertTrue(connections(mirror.served(), "HTTP/2.0").size() >= 1);
            assertTrue(connections(origin.served(), "HTTP/2.0").size() >= 1);
        }
    }

    /// What HTTP/2 is for: many small things at once need one connection.
    @Test
    void smallBlobs_manyAtOnce_shareOneConnection() throws Exception {
        byte[][] contents = new byte[64][];
        for (int i = 0; i < contents.length; i++) {
            contents[i] = random(20_000, i);
        }
        Path root = files(contents);
        try (Nginx nginx = new Nginx("root " + root + ";");
                RegistryClient client = client(RANGES, nginx);
                ExecutorService threads = Executors.newFixedThreadPool(16)) {
            Reference reference = Reference.parse("registry.test/app:1");
            List<Future<Boolean>> reads = new ArrayList<>();
            for (byte[] content : contents) {
                Descriptor blob =
                        new Descriptor(
                                MediaType.OCI_CONFIG, Digest.sha256(content), content.length);
                if (reads.isEmpty()) {
                    client.smallBlob(reference, blob); // until it is there, each opens one
                }
                reads.add(
                        threads.submit(
                                () ->
                                        Arrays.equals(
                                                content,
                                                client.smallBlob(reference, blob).toArray())));
            }
            for (Future<Boolean> read : reads) {
                assertTrue(read.get());
            }
            List<Served> served = nginx.served();
            assertEquals(contents.length + 1, served.size());
            assertEquals(1, connections(served, "HTTP/2.0").size(), served.toString());
            assertEquals(Set.of(), connections(served, "HTTP/1.1"));
        }
    }
}
