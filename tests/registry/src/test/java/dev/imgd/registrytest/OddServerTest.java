package dev.imgd.registrytest;

import static com.github.tomakehurst.wiremock.client.WireMock.aResponse;
import static com.github.tomakehurst.wiremock.client.WireMock.any;
import static com.github.tomakehurst.wiremock.client.WireMock.anyUrl;
import static com.github.tomakehurst.wiremock.client.WireMock.get;
import static com.github.tomakehurst.wiremock.client.WireMock.getRequestedFor;
import static com.github.tomakehurst.wiremock.client.WireMock.urlPathMatching;
import static com.github.tomakehurst.wiremock.core.WireMockConfiguration.options;
import static dev.imgd.registrytest.Fixture.QUICK;
import static dev.imgd.registrytest.Fixture.assertFails;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.github.tomakehurst.wiremock.WireMockServer;
import com.github.tomakehurst.wiremock.client.ResponseDefinitionBuilder;
import com.github.tomakehurst.wiremock.http.Fault;
import dev.imgd.hosts.Capability;
import dev.imgd.hosts.RegistryHost;
import dev.imgd.hosts.TlsSettings;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.MediaType;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.TestImage;
import java.nio.file.Path;
import java.security.KeyStore;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import javax.net.ssl.KeyManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// Servers that break the rules of HTTP, and TLS.
@Timeout(60)
class OddServerTest {
    private static final String PASSWORD = "password";

    @TempDir private static Path directory;
    private static Path keystore;

    private final TestImage image =
            ImageBuilder.oci().layer(tar -> tar.file("etc/motd", "hello\n")).build();
    private static WireMockServer server;
    private RegistryClient client;

    /// The certificate is for `localhost`, and nobody trusts it.
    @BeforeAll
    static void startServer() throws Exception {
        keystore = directory.resolve("keystore.p12");
        Process keytool =
                new ProcessBuilder(
                                System.getProperty("java.home") + "/bin/keytool",
                                "-genkeypair",
                                "-alias",
                                "server",
                                "-keyalg",
                                "EC",
                                "-dname",
                                "CN=localhost",
                                "-ext",
                                "san=dns:localhost",
                                "-storetype",
                                "PKCS12",
                                "-keystore",
                                keystore.toString(),
                                "-storepass",
                                PASSWORD)
                        .redirectErrorStream(true)
                        .redirectOutput(directory.resolve("keytool.log").toFile())
                        .start();
        assertEquals(0, keytool.waitFor());
        server =
                new WireMockServer(
                        options()
                                .dynamicPort()
                                .dynamicHttpsPort()
                                .keystorePath(keystore.toString())
                                .keystorePassword(PASSWORD)
                                .keyManagerPassword(PASSWORD)
                                .keystoreType("PKCS12"));
        server.start();
    }

    @BeforeEach
    void start() {
        server.resetAll();
        client = RegistryClient.create(QUICK);
    }

    @AfterEach
    void stop() {
        client.close();
    }

    @AfterAll
    static void stopServer() {
        server.stop();
    }

    private Reference reference() throws ImageException {
        return Reference.parse("localhost:" + server.port() + "/app:1");
    }

    private ResponseDefinitionBuilder right() {
        return aResponse()
                .withHeader("Content-Type", MediaType.OCI_MANIFEST)
                .withBody(image.content().toArray());
    }

    @ParameterizedTest
    @EnumSource(Fault.class)
    void resolve_brokenAnswers_areRetriedThenReported(Fault fault) throws Exception {
        server.stubFor(any(anyUrl()).willReturn(aResponse().withFault(fault)));
        assertFails(ErrorKind.UNAVAILABLE, () -> client.resolve(reference()));
        assertTrue(server.getServeEvents().getRequests().size() <= 10);
    }

    @Test
    void resolve_answerInDrops_isFineWhileItIsQuickEnough() throws Exception {
        server.stubFor(any(anyUrl()).willReturn(right().withChunkedDribbleDelay(20, 300)));
        assertEquals(image.content(), client.resolve(reference()).content());
    }

    @Test
    void resolve_answerInDropsForTooLong_isGivenUp() throws Exception {
        server.stubFor(any(anyUrl()).willReturn(right().withChunkedDribbleDelay(20, 20_000)));
        try (RegistryClient hasty =
                RegistryClient.create(
                        QUICK.withTimeouts(
                                Duration.ofSeconds(5),
                                Duration.ofMillis(500),
                                Duration.ofSeconds(30)))) {
            assertFails(ErrorKind.UNAVAILABLE, () -> hasty.resolve(reference()));
        }
    }

    @Test
    void resolve_severalChallengeHeaders_basicIsFound() throws Exception {
        server.stubFor(
                any(anyUrl())
                        .willReturn(
                                aResponse()
                                        .withStatus(401)
                                        .withHeader(
                                                "WWW-Authenticate",
                                                "Negotiate",
                                                "Basic realm=\"a\", Digest nonce=\"b\"")));
        ImageException e =
                assertFails(ErrorKind.UNAUTHENTICATED, () -> client.resolve(reference()));
        assertTrue(e.getMessage().contains("user name"), e.getMessage());
    }

    @Test
    void resolve_plainHttpToATlsPort_isReported() throws Exception {
        Reference tls = Reference.parse("localhost:" + server.httpsPort() + "/app:1");
        ImageException e = assertFails(ErrorKind.INVALID_ARGUMENT, () -> client.resolve(tls));
        assertTrue(e.getMessage().contains("localhost:" + server.httpsPort()), e.getMessage());
    }

    private RegistryClient https(int port, TlsSettings tls) {
        return https("localhost", port, tls);
    }

    private static RegistryClient https(String name, int port, TlsSettings tls) {
        RegistryHost host =
                new RegistryHost(
                        RegistryHost.Scheme.HTTPS,
                        name + ":" + port,
                        "/v2",
                        Set.of(Capability.values()),
                        Map.of(),
                        tls);
        return RegistryClient.create(QUICK.withHosts(_ -> List.of(host)));
    }

    @Test
    void https_untrustedCertificate_isRefusedAtOnce() throws Exception {
        server.stubFor(any(anyUrl()).willReturn(right()));
        try (RegistryClient strict = https(server.httpsPort(), TlsSettings.SYSTEM)) {
            ImageException e = assertFails(ErrorKind.UNTRUSTED, () -> strict.resolve(reference()));
            assertTrue(e.getMessage().contains("not trusted"), e.getMessage());
        }
        assertEquals(0, server.getServeEvents().getRequests().size());
    }

    @Test
    void https_serverSpeaksHttp_saysSo() throws Exception {
        server.stubFor(any(anyUrl()).willReturn(right()));
        try (RegistryClient strict = https(server.port(), TlsSettings.SYSTEM)) {
            ImageException e =
                    assertFails(ErrorKind.INVALID_ARGUMENT, () -> strict.resolve(reference()));
            assertTrue(e.getMessage().contains("plain http"), e.getMessage());
        }
        assertEquals(0, server.getServeEvents().getRequests().size());
    }

    @Test
    void https_trustedByTheSettings_isUsed() throws Exception {
        server.stubFor(any(anyUrl()).willReturn(right()));
        try (RegistryClient trusting = https(server.httpsPort(), ownAuthority())) {
            assertEquals(image.content(), trusting.resolve(reference()).content());
        }
        server.verify(1, getRequestedFor(urlPathMatching("/v2/app/manifests/1")));
    }

    @Test
    void https_redirectToHttp_isRefused() throws Exception {
        String plain = "http://localhost:" + server.port() + "/v2/app/manifests/2";
        server.stubFor(
                get("/v2/app/manifests/1")
                        .willReturn(aResponse().withStatus(307).withHeader("Location", plain)));
        server.stubFor(get("/v2/app/manifests/2").willReturn(right()));
        try (RegistryClient trusting = https(server.httpsPort(), ownAuthority())) {
            ImageException e =
                    assertFails(ErrorKind.UNAVAILABLE, () -> trusting.resolve(reference()));
            assertTrue(e.getMessage().contains("from https to http"), e.getMessage());
        }
        assertEquals(1, server.getServeEvents().getRequests().size());
    }

    @Test
    void https_certificateForAnotherName_isRefused() throws Exception {
        server.stubFor(any(anyUrl()).willReturn(right()));
        try (RegistryClient trusting = https("127.0.0.1", server.httpsPort(), ownAuthority())) {
            ImageException e =
                    assertFails(ErrorKind.UNTRUSTED, () -> trusting.resolve(reference()));
            assertTrue(e.getMessage().contains("another host name"), e.getMessage());
        }
        assertEquals(0, server.getServeEvents().getRequests().size());
    }

    /// Trusts the certificate of the server and no other.
    private static TlsSettings ownAuthority() throws Exception {
        KeyStore store = KeyStore.getInstance(keystore.toFile(), PASSWORD.toCharArray());
        KeyStore trusted = KeyStore.getInstance("PKCS12");
        trusted.load(null, null);
        trusted.setCertificateEntry("server", store.getCertificate("server"));
        TrustManagerFactory factory =
                TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(trusted);
        X509TrustManager manager = (X509TrustManager) factory.getTrustManagers()[0];
        return new TlsSettings() {
            @Override
            public X509TrustManager trustManager() {
                return manager;
            }

            @Override
            public List<KeyManager> keyManagers() {
                return List.of();
            }

            @Override
            public boolean verifies() {
                return true;
            }
        };
    }
}
