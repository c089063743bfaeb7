package dev.imgd.registrytest;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.hosts.HostsMode;
import dev.imgd.hosts.RegistryHosts;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import dev.imgd.registry.CredentialSource;
import dev.imgd.registry.Credentials;
import dev.imgd.registry.LoopbackServer;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryClient.FetchedManifest;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.InMemoryRegistry.Access;
import dev.imgd.testkit.TestAuthority;
import dev.imgd.testkit.TestImage;
import dev.imgd.testkit.TokenServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// `hosts.toml` files on real sockets: [Fixture#registry] is the registry, `mirror` stands in for
/// it.
class MirrorTest extends Fixture {
    @TempDir Path certs;
    private InMemoryRegistry mirror;

    @BeforeEach
    void startMirror() throws IOException {
        mirror = InMemoryRegistry.start();
    }

    @AfterEach
    void stopMirror() {
        mirror.close();
    }

    /// Configures a registry. `MIRROR` and `ORIGIN` become URLs.
    private RegistryHosts configure(String registryName, String toml) throws IOException {
        Path directory = Files.createDirectories(certs.resolve(registryName));
        Files.writeString(
                directory.resolve("hosts.toml"),
                toml.replace("MIRROR", "http://" + mirror.authority())
                        .replace("ORIGIN", "http://" + registry.authority()));
        return RegistryHosts.directory(List.of(certs), HostsMode.STRICT, Set.of());
    }

    private void useFor(String registryName, String toml) throws IOException {
        use(QUICK.withHosts(configure(registryName, toml)));
    }

    private static TestImage image() {
        return ImageBuilder.oci().layer(tar -> tar.file("etc/motd", "hello\n")).build();
    }

    private byte[] pull(Reference reference, TestImage image) throws IOException {
        FetchedManifest manifest = client.resolve(reference);
        assertEquals(image.content(), manifest.content());
        return client.smallBlob(reference, image.layers().getFirst()).toArray();
    }

    @Test
    void pull_mirrorHasIt_registryIsNotAsked() throws Exception {
        TestImage image = image();
        mirror.push("app", "1", image);
        useFor("r.example", "server = \"ORIGIN\"\n[host.\"MIRROR\"]\n");
        pull(Reference.parse("r.example/app:1"), image);
        assertEquals(2, mirror.accessLog().size());
        for (Access access : mirror.accessLog()) {
            assertTrue(access.target().endsWith("?ns=r.example"), access.target());
        }
        assertEquals(List.of(), registry.accessLog());
    }

    @Test
    void pull_mirrorLacksIt_registryIsAskedWithoutNamespaceWhenItIsItself() throws Exception {
        TestImage image = image();
        Reference reference = Reference.parse(registry.push("app", "1", image));
        useFor(registry.authority(), "[host.\"MIRROR\"]\n");
        pull(reference, image);
        assertEquals(2, mirror.accessLog().size());
        for (Access access : registry.accessLog()) {
            assertEquals(-1, access.target().indexOf('?'), access.target());
        }
        assertTrue(mirror.accessLog().getFirst().target().contains("ns=localhost"));
    }

    @Test
    void resolve_mirrorMayOnlyPull_tagComesFromTheRegistryAndBlobsFromTheMirror() throws Exception {
        TestImage image = image();
        Reference reference = Reference.parse(registry.push("app", "1", image));
        mirror.push("app", "1", image);
        useFor(registry.authority(), "[host.\"MIRROR\"]\ncapabilities = [\"pull\"]\n");
        pull(reference, image);
        assertEquals(1, registry.accessLog().size());
        assertEquals(1, registry.gets("/manifests/1"));
        assertEquals(1, mirror.accessLog().size());
        assertEquals(1, mirror.gets("/blobs/"));
    }

    @Test
    void pull_rewrite_changesTheMirrorsNamesAndNotTheRegistrys() throws Exception {
        TestImage image = image();
        mirror.push("all/team/app", "1", image);
        useFor(
                "r.example",
                "server = \"ORIGIN\"\n[host.\"MIRROR\"]\n"
                        + "[host.\"MIRROR\".rewrite]\n\"^team/(.*)\" = \"all/team/$1\"\n");
        pull(Reference.parse("r.example/team/app:1"), image);
        assertEquals(List.of(), registry.accessLog());
        TestImage other = ImageBuilder.oci().layer(tar -> tar.file("etc/motd", "other\n")).build();
        registry.push("team/other", "1", other);
        pull(Reference.parse("r.example/team/other:1"), other);
        assertTrue(mirror.gets("/v2/all/team/other/manifests/1") > 0);
        assertEquals(1, registry.gets("/v2/team/other/manifests/1"));
    }

    @Test
    void pull_rewrite_tokenIsForTheRewrittenName() throws Exception {
        TestImage image = image();
        mirror.push("all/app", "1", image);
        try (TokenServer tokens = TokenServer.start()) {
            mirror.requireToken(tokens);
            useFor("r.example", "[host.\"MIRROR\"]\n[host.\"MIRROR\".rewrite]\n\"^\" = \"all/\"\n");
            pull(Reference.parse("r.example/app:1"), image);
            String target = tokens.requests().getFirst().target();
            assertTrue(target.contains("all%2Fapp") || target.contains("all/app"), target);
        }
    }

    @Test
    void credentials_areLookedUpForTheContactedHost() throws Exception {
        TestImage image = image();
        mirror.push("app", "1", image);
        List<String> asked = new CopyOnWriteArrayList<>();
        CredentialSource source =
                (authority, _) -> {
                    asked.add(authority);
                    return authority.equals("r.example")
                            ? Optional.of(new Credentials.Login("user", "secret"))
                            : Optional.empty();
                };
        try (TokenServer tokens = TokenServer.start()) {
            mirror.requireToken(tokens);
            use(
                    QUICK.withHosts(configure("r.example", "[host.\"MIRROR\"]\n"))
                            .withCredentials(source));
            pull(Reference.parse("r.example/app:1"), image);
            assertEquals(Set.of(mirror.authority()), Set.copyOf(asked));
            assertEquals(Optional.empty(), tokens.requests().getFirst().authorization());
        }
    }

    /// A mirror whose answers say for which registry they are.
    @ParameterizedTest
    @CsvSource({
        "r.example, r.example, true",
        "r.example, R.EXAMPLE, true",
        "docker.io, registry-1.docker.io, true",
        "r.example, other.example, false",
    })
    void namespaceOfTheAnswer_another_isNotBelieved(String wanted, String stated, boolean fine)
            throws Exception {
        TestImage image = image();
        try (LoopbackServer proxy =
                LoopbackServer.start(
                        exchange ->
                                exchange.respond(
                                        200,
                                        Map.of(
                                                "OCI-Namespace",
                                                stated,
                                                "Content-Type",
                                                image.manifest().mediaType()),
                                        image.content().toArray()))) {
            useFor(
                    wanted,
                    "server = \"ORIGIN\"\n[host.\"http://%s\"]\n".formatted(proxy.authority()));
            Reference reference = Reference.parse(wanted + "/a/app:1");
            if (fine) {
                assertEquals(image.content(), client.resolve(reference).content());
                return;
            }
            ImageException e = assertFails(ErrorKind.NOT_FOUND, () -> client.resolve(reference));
            String first = e.getSuppressed()[0].getMessage();
            assertTrue(first.contains("answered for the registry \"" + stated + "\""), first);
        }
    }

    /// containerd's TestResolverWithHostsDir: the server and a mirror have headers of their own,
    /// which go to that host alone, token requests included. containerd sends them to whatever
    /// token server the host names; we send them to one at the host's own address only.
    @ParameterizedTest
    @CsvSource({"true, true", "true, false", "false, true"})
    @SuppressWarnings("try") // hosts are closed early
    void headers_ofMirrorAndServer_goToThatHostAndItsOwnTokenServer(
            boolean mirrorRuns, boolean serverRuns) throws Exception {
        TestImage image = image();
        List<String> wrong = new CopyOnWriteArrayList<>();
        List<String> asked = new CopyOnWriteArrayList<>();
        try (TokenServer elsewhere = TokenServer.start();
                LoopbackServer first = host("mirror", image, "", wrong, asked);
                LoopbackServer second = host("server", image, elsewhere.realm(), wrong, asked)) {
            elsewhere.answer(
                    exchange -> {
                        if (exchange.header("x-who").isPresent()) {
                            wrong.add("the header of the server reached another token server");
                        }
                        respondToken(exchange);
                    });
            useFor(
                    "r.example",
                    """
                    server = "http://%s"
                    [header]
                    User-Agent = "server"
                    x-who = "server"
                    [host."http://%s".header]
                    User-Agent = "mirror"
                    x-who = "mirror"
                    """
                            .formatted(second.authority(), first.authority()));
            if (!mirrorRuns) {
                first.close();
            }
            if (!serverRuns) {
                second.close();
            }
            Reference reference = Reference.parse("r.example/app:1");
            assertEquals(image.content(), client.resolve(reference).content());
        }
        assertEquals(List.of(), wrong);
        assertEquals(
                mirrorRuns
                        ? List.of("mirror manifest", "mirror token", "mirror manifest")
                        : List.of("server manifest", "server manifest"),
                asked);
    }

    /// A host that wants a token, from its own address unless another realm is given.
    private static LoopbackServer host(
            String name, TestImage image, String realm, List<String> wrong, List<String> asked)
            throws IOException {
        return LoopbackServer.start(
                exchange -> {
                    boolean token = exchange.path().equals("/token");
                    asked.add(name + (token ? " token" : " manifest"));
                    if (!exchange.header("x-who").equals(Optional.of(name))
                            || !exchange.header("user-agent").equals(Optional.of(name))) {
                        wrong.add(exchange + " at " + name);
                    }
                    if (token) {
                        respondToken(exchange);
                    } else if (exchange.header("authorization").isEmpty()) {
                        String host = exchange.header("host").orElseThrow();
                        String where = realm.isEmpty() ? "http://" + host + "/token" : realm;
                        exchange.respond(
                                401,
                                Map.of("WWW-Authenticate", "Bearer realm=\"" + where + "\""),
                                new byte[0]);
                    } else {
                        exchange.respond(
                                200,
                                Map.of("Content-Type", image.manifest().mediaType()),
                                image.content().toArray());
                    }
                });
    }

    private static void respondToken(LoopbackServer.Exchange exchange) throws IOException {
        exchange.respond(200, Map.of(), "{\"token\":\"t\"}".getBytes(StandardCharsets.UTF_8));
    }

    @Test
    void tls_privateAuthorityAndClientCertificate_pullWorksAndRenewalCountsAtOnce()
            throws Exception {
        TestAuthority authority = TestAuthority.create("private");
        TestAuthority.Identity identity = authority.client("node");
        TestImage image = image();
        try (InMemoryRegistry secure =
                InMemoryRegistry.startTls(authority.server("localhost"), authority)) {
            Reference reference = Reference.parse(secure.push("app", "1", image));
            Path directory = certs.resolve("localhost_" + secure.port() + "_");
            Files.createDirectories(directory);
            RegistryHosts hosts =
                    RegistryHosts.directory(List.of(certs), HostsMode.STRICT, Set.of());
            use(QUICK.withHosts(hosts));
            Files.writeString(directory.resolve("ca.crt"), authority.certificatePem());
            // Why, may be lost with the connection.
            assertThrows(ImageException.class, () -> client.resolve(reference));
            Files.writeString(directory.resolve("node.cert"), identity.chainPem());
            Files.writeString(directory.resolve("node.key"), identity.keyPem());
            pull(reference, image);

            TestAuthority renewed = TestAuthority.create("renewed");
            secure.present(renewed.server("localhost"), authority);
            Files.writeString(directory.resolve("ca.crt"), renewed.certificatePem());
            pull(reference, image);
        }
    }

    @Test
    void tls_skipVerify_takesAnyCertificateForAnyName() throws Exception {
        TestAuthority authority = TestAuthority.create("private");
        TestImage image = image();
        try (InMemoryRegistry secure =
                InMemoryRegistry.startTls(authority.server("elsewhere.example"), null)) {
            secure.push("app", "1", image);
            String host = "[host.\"https://" + secure.authority() + "\"]\n";
            useFor("r.example", host);
            Reference reference = Reference.parse("r.example/app:1");
            ImageException e = assertFails(ErrorKind.UNAVAILABLE, () -> client.resolve(reference));
            String first = e.getSuppressed()[0].getMessage();
            assertTrue(first.contains("TLS"), first);
            useFor("r.example", host + "skip_verify = true\n");
            pull(reference, image);
        }
    }

    @Test
    void configuration_changesWhileTheClientLives_countAtOnce() throws Exception {
        TestImage image = image();
        mirror.push("app", "1", image);
        registry.push("app", "1", image);
        useFor("r.example", "server = \"ORIGIN\"\n");
        Reference reference = Reference.parse("r.example/app:1");
        client.resolve(reference);
        assertEquals(1, registry.accessLog().size());
        configure("r.example", "server = \"ORIGIN\"\n[host.\"MIRROR\"]\n");
        client.resolve(reference);
        assertEquals(1, registry.accessLog().size());
        assertEquals(1, mirror.accessLog().size());
    }

    @Test
    void configuration_wrong_failsThePullWithItsPlace() throws Exception {
        useFor("r.example", "server = \"ORIGIN\"\nmirror = \"MIRROR\"\n");
        RegistryClient asked = client;
        ImageException e =
                assertFails(
                        ErrorKind.INVALID_ARGUMENT,
                        () -> asked.resolve(Reference.parse("r.example/app:1")));
        assertTrue(e.getMessage().contains("hosts.toml: line 2, column 1: mirror"), e.getMessage());
        assertEquals(List.of(), registry.accessLog());
    }

    /// A mirror that takes no more connections and does not say so: its queue is full, and the
    /// kernel drops what comes.
    @Test
    void dialTimeout_mirrorDoesNotAnswer_registryIsAskedSoon() throws Exception {
        TestImage image = image();
        registry.push("app", "1", image);
        List<Socket> waiting = new ArrayList<>();
        try (ServerSocket full = new ServerSocket(0, 1, InetAddress.getByName("127.0.0.1"))) {
            while (fits(full, waiting)) {
                assertTrue(waiting.size() < 100, "the queue is never full");
            }
            useFor(
                    "r.example",
                    "server = \"ORIGIN\"\n[host.\"http://127.0.0.1:%d\"]\ndial_timeout = \"200ms\"\n"
                            .formatted(full.getLocalPort()));
            long started = System.nanoTime();
            Reference reference = Reference.parse("r.example/app:1");
            assertEquals(image.content(), client.resolve(reference).content());
            double seconds = (System.nanoTime() - started) / 1e9;
            assertTrue(seconds >= 0.4, seconds + " s for two attempts");
            assertTrue(seconds < 5, seconds + " s, not the 20 s of two usual attempts");
        } finally {
            for (Socket socket : waiting) {
                socket.close();
            }
        }
    }

    /// @return whether there was room for another connection
    private static boolean fits(ServerSocket server, List<Socket> waiting) throws IOException {
        Socket socket = new Socket();
        waiting.add(socket);
        try {
            socket.connect(server.getLocalSocketAddress(), 300);
            return true;
        } catch (SocketTimeoutException e) {
            return false;
        }
    }
}
