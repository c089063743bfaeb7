package dev.imgd.registrytest;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.hosts.Capability;
import dev.imgd.hosts.RegistryHost;
import dev.imgd.hosts.TlsSettings;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import dev.imgd.registry.CredentialSource;
import dev.imgd.registry.Credentials;
import dev.imgd.registry.Proxies;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryOptions;
import dev.imgd.registry.RegistryProbe;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.HttpProxy;
import dev.imgd.testkit.HttpProxy.Asked;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TestAuthority;
import dev.imgd.testkit.TestImage;
import dev.imgd.testkit.TokenServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/// Registries whose names only a proxy can resolve.
@Timeout(60)
class ProxyTest {
    private static final String REGISTRY = "registry.test";
    private static final String PASSWORD = "canary-of-the-proxy";
    private static final String AUTHORIZATION =
            "Basic "
                    + Base64.getEncoder()
                            .encodeToString(
                                    ("user:" + PASSWORD).getBytes(StandardCharsets.US_ASCII));
    private static final TestAuthority AUTHORITY = TestAuthority.create("the authority");
    private static final TestImage IMAGE =
            ImageBuilder.oci().layer(tar -> tar.file("etc/motd", "hello\n")).build();

    private HttpProxy proxy;
    private InMemoryRegistry registry;

    @BeforeEach
    void start() throws IOException {
        proxy = HttpProxy.start();
    }

    @AfterEach
    void stop() throws IOException {
        proxy.close();
        if (registry != null) {
            registry.close();
        }
    }

    private void startRegistry(boolean https) throws IOException {
        registry =
                https
                        ? InMemoryRegistry.startTls(AUTHORITY.server(REGISTRY), AUTHORITY)
                        : InMemoryRegistry.start();
        registry.push("app", "1", IMAGE);
        proxy.lead(REGISTRY + (https ? ":443" : ":80"), registry.port());
    }

    private static RegistryOptions options(boolean https, Proxies proxies) {
        TlsSettings tls = AUTHORITY.tls(AUTHORITY.client("me"));
        RegistryHost host =
                new RegistryHost(
                        https ? RegistryHost.Scheme.HTTPS : RegistryHost.Scheme.HTTP,
                        REGISTRY,
                        "/v2",
                        Set.of(Capability.values()),
                        Map.of(),
                        tls);
        return Fixture.QUICK.withHosts(_ -> List.of(host)).withProxies(proxies);
    }

    private Proxies proxies(String user) {
        String url = "http://" + user + proxy.authority();
        return Proxies.environment(Map.of("HTTPS_PROXY", url, "HTTP_PROXY", url));
    }

    private static Reference reference() throws ImageException {
        return Reference.parse(REGISTRY + "/app:1");
    }

    private static void pull(RegistryOptions options) throws IOException {
        try (RegistryClient client = RegistryClient.create(options)) {
            assertEquals(IMAGE.manifest(), client.resolve(reference()).descriptor());
            ByteBuffer buffer = ByteBuffer.allocateDirect(1 << 16);
            var layer = IMAGE.layers().getFirst();
            try (RegistryClient.BlobStream stream = client.blob(reference(), layer, 0)) {
                while (stream.read(buffer) >= 0) {
                    // to the end
                }
            }
            byte[] bytes = new byte[buffer.flip().remaining()];
            buffer.get(bytes);
            assertArrayEquals(IMAGE.blobs().get(layer.digest()).toArray(), bytes);
        }
    }

    /// With the certificate of the client, which the registry wants.
    @Test
    void pull_https_goesThroughATunnel() throws Exception {
        startRegistry(true);
        pull(options(true, proxies("")));
        assertFalse(proxy.asked().isEmpty());
        for (Asked asked : proxy.asked()) {
            assertEquals(new Asked("CONNECT", REGISTRY + ":443", ""), asked);
        }
    }

    @Test
    void pull_http_isForwarded() throws Exception {
        startRegistry(false);
        pull(options(false, proxies("")));
        List<String> targets = proxy.asked().stream().map(Asked::target).toList();
        assertTrue(targets.contains("http://" + REGISTRY + "/v2/app/manifests/1"), "" + targets);
        assertEquals(Optional.of(REGISTRY), registry.accessLog().getFirst().header("host"));
    }

    /// The proxy speaks TLS, and inside of that another TLS is spoken with the registry.
    @Test
    void pull_proxyThatSpeaksTls_isTrustedByItsAuthority() throws Exception {
        for (boolean https : new boolean[] {true, false}) {
            startRegistry(https);
            try (HttpProxy secured = HttpProxy.startTls(AUTHORITY.server("localhost"))) {
                secured.lead(REGISTRY + (https ? ":443" : ":80"), registry.port());
                secured.require(AUTHORIZATION);
                String url = "https://user:%s@%s".formatted(PASSWORD, secured.authority());
                Proxies trusted =
                        Proxies.none()
                                .withHttps("HTTPS_PROXY", url)
                                .withHttp("HTTP_PROXY", url)
                                .withTls(AUTHORITY.tls(null));
                pull(options(https, trusted));
                assertFalse(secured.asked().isEmpty());
                assertSays(
                        ErrorKind.UNAVAILABLE,
                        "TLS with the proxy %s of %s failed: the certificate is not trusted: no trusted authority signed it"
                                .formatted(
                                        secured.authority(), https ? "HTTPS_PROXY" : "HTTP_PROXY"),
                        options(https, trusted.withTls(TlsSettings.SYSTEM)));
            }
            registry.close();
        }
    }

    @Test
    void pull_namedInNoProxy_goesThere() throws Exception {
        startRegistry(false);
        Proxies except = proxies("").withExcept("NO_PROXY", Set.of(".test"));
        assertSays(ErrorKind.UNAVAILABLE, "no address found for this name", options(false, except));
        assertEquals(List.of(), proxy.asked());
    }

    @Test
    void pull_loopback_goesThere() throws Exception {
        startRegistry(false);
        Reference local = Reference.parse(registry.authority() + "/app:1");
        try (RegistryClient client =
                RegistryClient.create(Fixture.QUICK.withProxies(proxies("")))) {
            assertEquals(IMAGE.manifest(), client.resolve(local).descriptor());
        }
        assertEquals(List.of(), proxy.asked());
    }

    private static void assertSays(ErrorKind kind, String wanted, RegistryOptions options) {
        ImageException e = Fixture.assertFails(kind, () -> pull(options));
        assertTrue(e.getMessage().contains(wanted), e.getMessage());
        assertFalse(everything(e).contains(PASSWORD), "the password of the proxy was shown");
        assertFalse(everything(e).contains(AUTHORIZATION.substring(6)), "the password was shown");
    }

    private static String everything(Throwable e) {
        StringBuilder out = new StringBuilder();
        for (Throwable t = e; t != null; t = t.getCause()) {
            out.append(t).append('\n');
        }
        return out.toString();
    }

    @Test
    void pull_proxyWantsAPassword_saysSo() throws Exception {
        for (boolean https : new boolean[] {true, false}) {
            startRegistry(https);
            proxy.require(AUTHORIZATION);
            String variable = https ? "HTTPS_PROXY" : "HTTP_PROXY";
            assertSays(
                    ErrorKind.UNAUTHENTICATED,
                    "the proxy %1$s wants a user name and a password; write them into %2$s as http://USER:PASSWORD@%1$s"
                            .formatted(proxy.authority(), variable),
                    options(https, proxies("")));
            assertSays(
                    ErrorKind.UNAUTHENTICATED,
                    "the proxy %s of %s refuses the user name or the password"
                            .formatted(proxy.authority(), variable),
                    options(https, proxies("user:" + PASSWORD + "x@")));
            assertEquals(List.of(), registry.accessLog());
            pull(options(https, proxies("user:" + PASSWORD + "@")));
            assertFalse(registry.accessLog().isEmpty());
            registry.close();
        }
    }

    /// OkHttp would answer a 407 out of the tunnel with the password of the proxy.
    @Test
    void registry_asksForThePasswordOfTheProxy_doesNotGetIt() throws Exception {
        startRegistry(true);
        proxy.require(AUTHORIZATION);
        registry.always(
                "manifests/",
                Fault.status(407, Map.of("Proxy-Authenticate", "Basic realm=\"proxy\""), ""));
        RegistryOptions options = options(true, proxies("user:" + PASSWORD + "@"));
        assertThrows(ImageException.class, () -> pull(options));
        assertFalse(registry.accessLog().isEmpty());
        for (InMemoryRegistry.Access access : registry.accessLog()) {
            assertEquals(Optional.empty(), access.header("proxy-authorization"));
        }
    }

    @Test
    void pull_proxyThatFails_isNamed() throws Exception {
        startRegistry(true);
        RegistryOptions other = options(true, proxies(""));
        HttpProxy empty = HttpProxy.start();
        String place = empty.authority();
        RegistryOptions toEmpty =
                other.withProxies(Proxies.none().withHttps("HTTPS_PROXY", "http://" + place));
        assertSays(
                ErrorKind.UNAVAILABLE,
                "the proxy %s of HTTPS_PROXY does not lead there (HTTP 502)".formatted(place),
                toEmpty);
        empty.close();
        assertSays(
                ErrorKind.UNAVAILABLE,
                "the proxy %s of HTTPS_PROXY takes no connections".formatted(place),
                toEmpty);
        assertSays(
                ErrorKind.UNAVAILABLE,
                "no address found for the proxy proxy.invalid:80 of HTTPS_PROXY",
                other.withProxies(Proxies.none().withHttps("HTTPS_PROXY", "proxy.invalid")));
        assertSays(
                ErrorKind.INVALID_ARGUMENT,
                "HTTPS_PROXY: wanted the URL of a proxy",
                other.withProxies(
                        Proxies.none().withHttps("HTTPS_PROXY", "socks5://u:" + PASSWORD + "@p")));
        registry.present(AUTHORITY.server("elsewhere.test"), null);
        assertSays(
                ErrorKind.UNTRUSTED,
                "wanted registry.test, it is for elsewhere.test; ask for the registry by a name that"
                        + " is in its certificate, or have one made for registry.test (through the"
                        + " proxy "
                        + proxy.authority()
                        + " of HTTPS_PROXY)",
                other);
    }

    /// What is behind a proxy counts as far away, so it names no token server on this host, even
    /// where the address of the proxy is one of this host.
    @Test
    void realm_ofARegistryBehindAProxy_isNotNear() throws Exception {
        startRegistry(false);
        try (TokenServer tokens = TokenServer.start()) {
            registry.requireToken(tokens);
            assertSays(
                    ErrorKind.UNAUTHENTICATED,
                    "the registry is farther away",
                    options(false, proxies("")));
            assertEquals(0, tokens.requests().size());
        }
    }

    /// A token server whose name only the proxy knows.
    @Test
    void realm_behindTheProxyToo_isAskedThroughIt() throws Exception {
        startRegistry(false);
        try (TokenServer tokens = TokenServer.start()) {
            Credentials.Login user = new Credentials.Login("user", "secret");
            tokens.requireAuthorization(
                    "Basic "
                            + Base64.getEncoder()
                                    .encodeToString(
                                            "user:secret".getBytes(StandardCharsets.US_ASCII)));
            proxy.lead("auth.registry.test:80", URI.create(tokens.realm()).getPort());
            registry.requireToken(
                    tokens, tokens.realm().replaceAll("//[^/]*", "//auth.registry.test"));
            CredentialSource login = (_, _) -> Optional.of(user);
            pull(options(false, proxies("")).withCredentials(login));
            assertTrue(
                    proxy.asked().stream()
                            .anyMatch(a -> a.target().startsWith("http://auth.registry.test/")));
        }
    }

    @Test
    void probe_throughAProxy_everyStepSaysWhereItLooked() throws Exception {
        startRegistry(true);
        proxy.require(AUTHORIZATION);
        RegistryOptions options = options(true, proxies("user:" + PASSWORD + "@"));
        RegistryProbe.Report report = new RegistryProbe(options).test(reference()).getFirst();
        assertEquals(Optional.empty(), report.failure());
        List<RegistryProbe.Check> checks = report.checks();
        String first = checks.getFirst().detail();
        assertTrue(first.startsWith("the proxy " + proxy.authority() + ": 127.0.0.1"), first);
        assertTrue(checks.get(2).detail().contains("CN=" + REGISTRY), checks.toString());
        for (RegistryProbe.Check check : checks) {
            assertEquals(RegistryProbe.Outcome.OK, check.outcome(), check.toString());
        }
        // A port that nobody listens at, and nobody else gets meanwhile.
        try (Socket taken = new Socket()) {
            taken.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
            Proxies away =
                    Proxies.none().withHttps("HTTPS_PROXY", "127.0.0.1:" + taken.getLocalPort());
            report = new RegistryProbe(options.withProxies(away)).test(reference()).getFirst();
        }
        assertEquals(RegistryProbe.Outcome.OK, report.checks().get(0).outcome());
        assertEquals(RegistryProbe.Outcome.FAILED, report.checks().get(1).outcome());
    }
}
