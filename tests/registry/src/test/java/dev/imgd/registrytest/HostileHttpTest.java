package dev.imgd.registrytest;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.hosts.Capability;
import dev.imgd.hosts.RegistryHost;
import dev.imgd.hosts.TlsSettings;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.MediaType;
import dev.imgd.model.Reference;
import dev.imgd.registry.CredentialSource;
import dev.imgd.registry.Credentials;
import dev.imgd.registry.RegistryOptions;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TestImage;
import dev.imgd.testkit.TokenServer;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/// Registries and token servers that want to keep us busy, to fill our memory or to lead us
/// somewhere else. Every answer comes over a real socket.
@Timeout(60)
class HostileHttpTest extends Fixture {
    private static final String CANARY = "canary-8d1e";

    /// Waits that a test can wait for.
    private static final RegistryOptions HASTY =
            QUICK.withTimeouts(Duration.ofSeconds(2), Duration.ofMillis(500), Duration.ofSeconds(2))
                    .withRetries(2, Duration.ofMillis(2), Duration.ofMillis(20));

    /// Far more than any of the limits in use, far less than what a hostile server could take.
    private static final Duration SOON = Duration.ofSeconds(20);

    private ImageException failsSoon(ErrorKind kind, Executable action) {
        return assertTimeoutPreemptively(SOON, () -> assertFails(kind, action));
    }

    private CredentialSource login() {
        return CredentialSource.of(registry.authority(), new Credentials.Login("user", CANARY));
    }

    /// Writes something again and again until the client has had enough.
    private static Fault forEver(String first, String again, Duration pause) {
        return (exchange, _, _) -> {
            OutputStream out = exchange.raw();
            out.write(first.getBytes(StandardCharsets.ISO_8859_1));
            while (true) {
                out.write(again.getBytes(StandardCharsets.ISO_8859_1));
                out.flush();
                LockSupport.parkNanos(pause.toNanos());
            }
        };
    }

    // ---- headers and bodies

    static Stream<Fault> endlessHeaders() {
        Duration none = Duration.ZERO;
        Duration drip = Duration.ofMillis(20);
        return Stream.of(
                forEver("", "H", drip),
                forEver("HTTP/1.1 200 -\r\n", "X: y\r\n", none),
                forEver("HTTP/1.1 200 -\r\n", "X: y\r\n", drip),
                forEver("HTTP/1.1 200 -\r\nX: ", "y".repeat(1000), none),
                forEver("HTTP/1.1 200 -\r\nX: ", "y", drip),
                forEver("", "HTTP/1.1 103 -\r\n\r\n", none),
                forEver("", "HTTP/1.1 103 -\r\n\r\n", drip));
    }

    @ParameterizedTest
    @MethodSource("endlessHeaders")
    void resolve_headersWithoutEnd_areCutOff(Fault fault) {
        use(HASTY);
        registry.always("/manifests/", fault);
        ImageException e =
                failsSoon(ErrorKind.UNAVAILABLE, () -> client.resolve(reference("app:1")));
        assertFalse(e.getMessage().contains("content="), e.getMessage());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "HTTP/1.1 200 -\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n{}",
                "HTTP/1.1 200 -\r\nContent-Length: -1\r\n\r\n",
                "HTTP/1.1 200 -\r\nContent-Length: 99999999999999999999\r\n\r\n",
                "HTTP/1.1 200 -\r\nContent-Length: 100000\r\n\r\n{\"schemaVersion\":2",
                "HTTP/1.1 200 -\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                "HTTP/1.1 200 -\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
                "HTTP/1.1 200 -\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
                "HTTP/1.1 999999 -\r\n\r\n",
                "HTTP/9.9 200 -\r\n\r\n",
                "\0\0\0\0\0\0\0\0",
            })
    void resolve_brokenFraming_isAFailureOnOneLine(String answer) {
        use(HASTY);
        registry.always(
                "/manifests/",
                (exchange, _, _) -> {
                    exchange.raw().write(answer.getBytes(StandardCharsets.ISO_8859_1));
                    exchange.raw().flush();
                });
        ImageException e =
                assertTimeoutPreemptively(
                        SOON,
                        () ->
                                assertThrows(
                                        ImageException.class,
                                        () -> client.resolve(reference("app:1"))));
        assertTrue(
                e.kind() == ErrorKind.UNAVAILABLE || e.kind() == ErrorKind.INVALID_CONTENT,
                e.toString());
        assertEquals(1, e.getMessage().lines().count(), e.getMessage());
    }

    @Test
    void resolve_manifestShorterThanAnnounced_isRetriedThenReported() {
        TestImage image = pushImage();
        use(HASTY);
        registry.always("/manifests/", Fault.truncatedAt(image.content().size() / 2));
        failsSoon(ErrorKind.UNAVAILABLE, () -> client.resolve(reference("app:1")));
        registry.behave();
        registry.always("/manifests/", Fault.endedAt(image.content().size() / 2));
        failsSoon(ErrorKind.UNAVAILABLE, () -> client.resolve(reference("app:1")));
        registry.behave();
        registry.always("/manifests/", Fault.shorter(image.content().size() / 2));
        failsSoon(ErrorKind.INVALID_CONTENT, () -> client.resolve(reference("app:1")));
    }

    @Test
    void resolve_errorBodyInDrops_isNotWaitedFor() {
        registry.always(
                "/manifests/",
                forEver(
                        "HTTP/1.1 404 -\r\nContent-Length: 60000\r\n\r\n",
                        "x",
                        Duration.ofMillis(20)));
        failsSoon(ErrorKind.NOT_FOUND, () -> client.resolve(reference("app:1")));
    }

    @Test
    void resolve_cookies_areNeitherKeptNorSent() throws Exception {
        TestImage image = pushImage();
        registry.always(
                "/manifests/",
                (exchange, body, _) ->
                        exchange.respond(
                                200,
                                Map.of(
                                        "Content-Type",
                                        MediaType.OCI_MANIFEST,
                                        "Set-Cookie",
                                        "session=" + CANARY),
                                body));
        for (int i = 0; i < 2; i++) {
            assertEquals(image.content(), client.resolve(reference("app:1")).content());
        }
        for (InMemoryRegistry.Access access : registry.accessLog()) {
            assertEquals(Optional.empty(), access.header("cookie"));
            assertEquals(Optional.of("identity"), access.header("accept-encoding"));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"gzip", "deflate", "br", "zstd", "gzip, gzip", "x-unheard-of"})
    void read_blobWithContentEncoding_isRefused(String encoding) {
        Descriptor blob = pushBlob(random(1000, 1));
        registry.always("/blobs/", Fault.header("Content-Encoding", encoding));
        ImageException e = failsSoon(ErrorKind.INVALID_CONTENT, () -> readBlob(blob, 0));
        assertTrue(e.getMessage().contains("Content-Encoding"), e.getMessage());
    }

    // ---- challenges

    static Stream<String> uselessChallenges() {
        String realm = "realm=\"http://localhost/token\"";
        return Stream.of(
                "Bearer " + realm + ",service=\"a\u0001b\"",
                "Bearer " + realm + ",service=\"a\"b",
                "Bearer " + realm + ",service=a,SERVICE=b",
                "Negotiate, ".repeat(17) + "Basic realm=\"a\"",
                "Bearer realm=\"http://localhost:1/\u0001\",service=",
                "Bearer realm=\"//localhost/token\"",
                "Bearer realm=\"javascript:alert(1)\"",
                "Bearer realm=\"unix:///run/docker.sock\"",
                "Bearer realm=\"http://\"",
                "Bearer realm=\"http://localhost:99999/token\"",
                "Bearer realm=\"http://[::ffff:169.254.169.254]/token\"",
                "Bearer realm=\"http://2852039166/latest/meta-data\"",
                "Bearer realm=\"http://0xa9.0xfe.0xa9.0xfe/latest/meta-data\"",
                "\"Bearer " + realm,
                "Bearer Basic " + realm);
    }

    @ParameterizedTest
    @MethodSource("uselessChallenges")
    void challenge_notUnderstoodInOneWay_isUnauthenticated(String challenge) {
        pushImage();
        registry.requireNever(challenge);
        use(HASTY.withCredentials(login()));
        ImageException e =
                failsSoon(ErrorKind.UNAUTHENTICATED, () -> client.resolve(reference("app:1")));
        assertEquals(1, registry.accessLog().size(), "asked once, without credentials");
        assertEquals(Optional.empty(), registry.accessLog().getFirst().header("authorization"));
        assertTrue(e.getMessage().length() < 1000, e.getMessage());
    }

    // ---- token servers

    static Stream<Fault> uselessTokens() {
        byte[] gzipped = gzip("{\"token\":\"" + CANARY + "\"}");
        return Stream.of(
                answer("{\"token\":\"" + "a".repeat((64 << 10) + 1) + "\"}"),
                answer("{\"token\":" + "[".repeat(100) + "]".repeat(100) + "}"),
                answer("{\"token\":\"" + CANARY + "\"} trailing"),
                answer("{\"token\":\"" + CANARY + "\\u0000\"}"),
                answer("{\"token\":\"" + CANARY + " b\"}"),
                answer("{\"token\":{\"a\":\"" + CANARY + "\"}}"),
                answer("{\"Token\":\"" + CANARY + "\"}"),
                answer("[\"" + CANARY + "\"]"),
                answer("\ufeff{\"token\":\"" + CANARY + "\"}"),
                (exchange, _, _) ->
                        exchange.respond(200, Map.of("Content-Encoding", "gzip"), gzipped),
                (exchange, _, _) -> exchange.respond(204, Map.of(), new byte[0]),
                Fault.status(400, Map.of(), "{\"details\":\"" + CANARY + "\"}"),
                Fault.status(401, Map.of("WWW-Authenticate", "Basic realm=\"b\""), ""),
                Fault.redirect(307, "http://169.254.169.254/latest?sig=" + CANARY),
                Fault.redirect(307, "ftp://u:" + CANARY + "@localhost/?sig=" + CANARY),
                Fault.redirect(302, "http://u:" + CANARY + "@localhost/token"));
    }

    private static Fault answer(String json) {
        return Fault.status(200, Map.of("Content-Type", "application/json"), json);
    }

    private static byte[] gzip(String text) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (GZIPOutputStream gzip = new GZIPOutputStream(out)) {
            gzip.write(text.getBytes(StandardCharsets.UTF_8));
        } catch (IOException e) {
            throw new AssertionError("memory does not fail", e);
        }
        return out.toByteArray();
    }

    @ParameterizedTest
    @MethodSource("uselessTokens")
    void tokenServer_uselessAnswer_isReportedWithoutItsContent(Fault fault) throws Exception {
        pushImage();
        try (TokenServer tokens = TokenServer.start()) {
            registry.requireToken(tokens);
            tokens.answer(exchange -> fault.handle(exchange, new byte[0], _ -> {}));
            use(HASTY);
            ImageException e =
                    assertTimeoutPreemptively(
                            SOON,
                            () ->
                                    assertThrows(
                                            ImageException.class,
                                            () -> client.resolve(reference("app:1"))));
            assertNotEquals(ErrorKind.INTERNAL, e.kind(), e.toString());
            assertFalse(e.getMessage().contains(CANARY), e.getMessage());
            assertEquals(1, e.getMessage().lines().count(), e.getMessage());
            assertEquals(1, registry.accessLog().size(), "the registry is not asked again");
        }
    }

    @Test
    void tokenServer_answerInDrops_isCutOff() throws Exception {
        pushImage();
        try (TokenServer tokens = TokenServer.start()) {
            registry.requireToken(tokens);
            Fault drops =
                    forEver(
                            "HTTP/1.1 200 -\r\nContent-Length: 60000\r\n\r\n",
                            " ",
                            Duration.ofMillis(20));
            tokens.answer(exchange -> drops.handle(exchange, new byte[0], _ -> {}));
            use(HASTY);
            failsSoon(ErrorKind.UNAVAILABLE, () -> client.resolve(reference("app:1")));
        }
    }

    // ---- where requests go

    /// A server that stops in the middle of the TLS handshake must not be asked in plain text, nor
    /// waited for as long as for an answer.
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void https_handshakeNeverEnds_endsInTimeAndIsNotTriedInPlainText(boolean trickles)
            throws Exception {
        List<Integer> firstBytes = new CopyOnWriteArrayList<>();
        try (ServerSocket server = new ServerSocket(0, 50, InetAddress.getLoopbackAddress())) {
            Thread.ofVirtual()
                    .start(
                            () -> {
                                while (true) {
                                    try (Socket connection = server.accept()) {
                                        firstBytes.add(connection.getInputStream().read());
                                        if (trickles) {
                                            trickleRecord(connection);
                                        }
                                        connection.getInputStream().readAllBytes();
                                    } catch (IOException e) {
                                        if (server.isClosed()) {
                                            return;
                                        }
                                    }
                                }
                            });
            RegistryHost host =
                    new RegistryHost(
                            RegistryHost.Scheme.HTTPS,
                            "localhost:" + server.getLocalPort(),
                            "/v2",
                            Set.of(Capability.values()),
                            Map.of(),
                            TlsSettings.SYSTEM);
            Duration forAnswers = Duration.ofSeconds(30);
            use(
                    HASTY.withTimeouts(Duration.ofMillis(500), forAnswers, forAnswers)
                            .withHosts(_ -> List.of(host))
                            .withCredentials(login()));
            ImageException e =
                    failsSoon(
                            ErrorKind.UNAVAILABLE,
                            () -> client.resolve(Reference.parse(host.authority() + "/app:1")));
            assertTrue(e.getMessage().contains("no answer in time"), e.getMessage());
        }
        assertFalse(firstBytes.isEmpty());
        for (int first : firstBytes) {
            assertEquals(0x16, first, "a TLS handshake and nothing else");
        }
    }

    /// A record of a handshake, byte by byte.
    private static void trickleRecord(Socket connection) throws IOException {
        OutputStream out = connection.getOutputStream();
        out.write(new byte[] {0x16, 3, 3, 0x3f, 0, 2});
        while (true) {
            out.write(0);
            LockSupport.parkNanos(100_000_000);
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "http://example.com/layer",
                "https://localhost/layer",
                "https://127.0.0.1/layer",
                "https://[::1]/layer",
                "https://10.0.0.1/layer",
                "https://169.254.169.254/latest/meta-data",
                "https://[::ffff:10.0.0.1]/layer",
                "https://user:" + CANARY + "@example.com/layer",
                "ftp://user:" + CANARY + "@example.com/layer?sig=" + CANARY,
                "file:///etc/passwd",
                "//example.com/layer",
                "",
            })
    void blob_foreignLayerAtABadPlace_isNotFetched(String url) {
        byte[] content = random(100, 3);
        Descriptor layer =
                new Descriptor(
                        MediaType.DOCKER_FOREIGN_LAYER_GZIP,
                        Digest.sha256(content),
                        content.length,
                        Map.of(),
                        List.of(url),
                        Optional.empty(),
                        Optional.empty(),
                        Optional.empty());
        use(HASTY.withForeignLayers(true).withCredentials(login()));
        ImageException e = failsSoon(ErrorKind.PERMISSION_DENIED, () -> readBlob(layer, 0));
        assertTrue(e.getMessage().contains("not fetched"), e.getMessage());
        assertTrue(e.getMessage().contains("imgctl blob put " + registry.authority()));
        assertFalse(e.getMessage().contains(CANARY), e.getMessage());
        assertEquals(1, registry.accessLog().size(), "only the registry itself was asked");
    }
}
