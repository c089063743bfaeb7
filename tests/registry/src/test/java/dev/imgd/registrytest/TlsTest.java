package dev.imgd.registrytest;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.hosts.TlsSettings;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryOptions;
import dev.imgd.registry.RegistryProbe;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TestAuthority;
import dev.imgd.testkit.TestImage;
import dev.imgd.testkit.TlsFault;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateException;
import java.security.cert.X509Certificate;
import java.time.Clock;
import java.time.Duration;
import java.time.LocalDate;
import java.time.ZoneOffset;
import java.util.List;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.X509ExtendedTrustManager;
import javax.net.ssl.X509TrustManager;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/// What TLS does when it is right, and what it says when it is wrong.
@Timeout(60)
class TlsTest {
    private static final TestAuthority AUTHORITY = TestAuthority.create("the authority");
    private static final TestAuthority STRANGER = TestAuthority.create("a stranger");
    private static final TestAuthority.Identity SERVER = AUTHORITY.server("localhost");
    private static InMemoryRegistry registry;
    private static TestImage image;

    @BeforeAll
    static void start() throws IOException {
        registry = InMemoryRegistry.startTls(SERVER, null);
        image = ImageBuilder.oci().layer(tar -> tar.file("a", "b")).build();
        registry.push("app", "1", image);
    }

    @AfterAll
    static void stop() {
        registry.close();
    }

    @BeforeEach
    void behave() {
        registry.present(SERVER, null);
        registry.tlsFault(TlsFault.NONE);
    }

    /// @param attempts many where the server refuses the client: its alert is lost when it closes
    ///   the connection with the request unread, and seen when it does not
    private static void resolve(TlsSettings tls, int attempts) throws ImageException {
        resolve(tls, attempts, Clock.systemUTC());
    }

    private static void resolve(TlsSettings tls, int attempts, Clock clock) throws ImageException {
        RegistryOptions options =
                Fixture.QUICK
                        .withHosts(registry.hosts(tls))
                        .withClock(clock)
                        .withRetries(attempts, Duration.ofMillis(2), Duration.ofMillis(20))
                        .withTimeouts(
                                Duration.ofSeconds(3),
                                Duration.ofSeconds(5),
                                Duration.ofSeconds(5));
        try (RegistryClient client = RegistryClient.create(options)) {
            Reference reference = Reference.parse(registry.authority() + "/app:1");
            assertEquals(image.manifest(), client.resolve(reference).descriptor());
        }
    }

    private static void assertSays(ErrorKind kind, TlsSettings tls, String... says) {
        assertSays(kind, tls, 1, says);
    }

    private static void assertSays(ErrorKind kind, TlsSettings tls, int attempts, String... says) {
        assertSaysAt(Clock.systemUTC(), kind, tls, attempts, says);
    }

    private static void assertSaysAt(
            Clock clock, ErrorKind kind, TlsSettings tls, int attempts, String... says) {
        ImageException e = Fixture.assertFails(kind, () -> resolve(tls, attempts, clock));
        for (String wanted : says) {
            assertTrue(e.getMessage().contains(wanted), e.getMessage());
        }
    }

    @Test
    void authority_known_pulls() throws Exception {
        resolve(AUTHORITY.tls(null), 1);
    }

    @Test
    void authority_unknown_isNamed() {
        String says =
                "the certificate is not trusted: no trusted authority signed it (certificate of"
                        + " CN=localhost, issued by CN=the authority); name its authority as \"ca\" of"
                        + " this host in hosts.toml";
        assertSays(ErrorKind.UNTRUSTED, STRANGER.tls(null), says);
        assertSays(ErrorKind.UNTRUSTED, TlsSettings.SYSTEM, says);
        assertFalse(ErrorKind.UNTRUSTED.retryable());
    }

    @Test
    void server_outOfDate_saysSoWithTheDatesWhoeverSignedIt() {
        TestAuthority.Identity expired = AUTHORITY.expiredServer("localhost");
        registry.present(expired, null);
        for (TlsSettings tls : List.of(AUTHORITY.tls(null), STRANGER.tls(null))) {
            assertSays(
                    ErrorKind.UNTRUSTED,
                    tls,
                    "the server's certificate has expired: that of CN=localhost, issued by CN=the"
                            + " authority, is good from ",
                    " UTC until "
                            + LocalDate.ofInstant(
                                    expired.certificate().getNotAfter().toInstant(), ZoneOffset.UTC)
                            + ' ',
                    " UTC; renew it");
        }
        registry.present(AUTHORITY.futureServer("localhost"), null);
        assertSays(
                ErrorKind.UNTRUSTED,
                AUTHORITY.tls(null),
                "the server's certificate is not valid yet: that of CN=localhost, ",
                "check the clock of this host");
    }

    /// Whose certificates are out of date is what the client's clock says.
    @Test
    void server_outOfDateForTheClient_isToldByItsClock() {
        Clock nextMonth = Clock.offset(Clock.systemUTC(), Duration.ofDays(30));
        assertSaysAt(
                nextMonth,
                ErrorKind.UNTRUSTED,
                STRANGER.tls(null),
                1,
                "the server's certificate has expired: ");
        registry.present(SERVER, AUTHORITY);
        assertSaysAt(
                nextMonth,
                ErrorKind.UNAUTHENTICATED,
                AUTHORITY.tls(STRANGER.client("me")),
                50,
                "this side's certificate, which has expired: that of CN=me, ");
    }

    /// Servers send more than is needed, for clients that know older authorities.
    @Test
    void server_sendsAnOutdatedOneThatIsNotNeeded_isNotBlamedForIt() {
        TestAuthority old = TestAuthority.createExpired("a stranger");
        TestAuthority.Identity server = STRANGER.server("localhost");
        registry.present(
                new TestAuthority.Identity(server.certificate(), server.key(), old.certificate()),
                null);
        assertSays(
                ErrorKind.UNTRUSTED,
                AUTHORITY.tls(null),
                "no trusted authority signed it (certificate of CN=localhost, issued by CN=a"
                        + " stranger); name its authority as \"ca\"");
    }

    @Test
    void server_sendsAnOutdatedOneThatIsNeeded_saysWhich() {
        registry.present(AUTHORITY.expiredIntermediate("between").server("localhost"), null);
        assertSays(
                ErrorKind.UNTRUSTED,
                AUTHORITY.tls(null),
                "a certificate that the server sent has expired: that of CN=between, issued by"
                        + " CN=the authority, is good from ");
    }

    /// Trusts whom another one trusts, but no connection.
    private static final class StrictTrust extends X509ExtendedTrustManager {
        private final X509TrustManager trust;

        StrictTrust(X509TrustManager trust) {
            this.trust = trust;
        }

        @Override
        public void checkServerTrusted(X509Certificate[] chain, String type, Socket socket)
                throws CertificateException {
            throw new CertificateException("its algorithm is forbidden");
        }

        @Override
        public void checkServerTrusted(X509Certificate[] chain, String type, SSLEngine engine)
                throws CertificateException {
            throw new CertificateException("its algorithm is forbidden");
        }

        @Override
        public void checkServerTrusted(X509Certificate[] chain, String type)
                throws CertificateException {
            trust.checkServerTrusted(chain, type);
        }

        @Override
        public void checkClientTrusted(X509Certificate[] chain, String type, Socket socket) {
            throw new UnsupportedOperationException("a client asks no client");
        }

        @Override
        public void checkClientTrusted(X509Certificate[] chain, String type, SSLEngine engine) {
            throw new UnsupportedOperationException("a client asks no client");
        }

        @Override
        public void checkClientTrusted(X509Certificate[] chain, String type) {
            throw new UnsupportedOperationException("a client asks no client");
        }

        @Override
        public X509Certificate[] getAcceptedIssuers() {
            return trust.getAcceptedIssuers();
        }
    }

    /// Settings of a client.
    private record Settings(X509TrustManager trustManager, List<KeyManager> keyManagers)
            implements TlsSettings {
        @Override
        public boolean verifies() {
            return true;
        }
    }

    /// That a certificate is refused for this connection says nothing of its names.
    @Test
    void server_ofTheRightNameRefused_isNotOfAnotherName() throws Exception {
        TlsSettings strict =
                new Settings(new StrictTrust(AUTHORITY.tls(null).trustManager()), List.of());
        ImageException e = Fixture.assertFails(ErrorKind.UNTRUSTED, () -> resolve(strict, 1));
        assertTrue(
                e.getMessage()
                        .endsWith(
                                "the certificate is not trusted: its algorithm is forbidden (certificate of CN=localhost, issued by CN=the authority)"),
                e.getMessage());
        registry.present(AUTHORITY.server("elsewhere.test"), null);
        assertSays(ErrorKind.UNTRUSTED, strict, "wanted localhost, it is for elsewhere.test; ");
    }

    @Test
    void server_ofAnotherName_namesBoth() {
        registry.present(AUTHORITY.server("elsewhere.test", "10.1.2.3"), null);
        assertSays(
                ErrorKind.UNTRUSTED,
                AUTHORITY.tls(null),
                "the certificate is for another host name: wanted localhost, it is for"
                        + " 10.1.2.3, elsewhere.test; ask for the registry by a name that is in its"
                        + " certificate, or have one made for localhost");
    }

    /// Another way to the same words: the steps of the probe do not use the client's connections.
    @Test
    void probe_wrongCertificates_saysTheSame() throws Exception {
        registry.present(AUTHORITY.server("elsewhere.test", "10.1.2.3"), null);
        assertTrue(
                probe(AUTHORITY.tls(null))
                        .contains("wanted localhost, it is for elsewhere.test, 10.1.2.3; "));
        registry.present(AUTHORITY.expiredServer("localhost"), null);
        assertTrue(probe(AUTHORITY.tls(null)).contains("certificate has expired: that of CN=loc"));
        registry.present(SERVER, null);
        assertTrue(probe(STRANGER.tls(null)).contains("issued by CN=the authority)"));
    }

    private static String probe(TlsSettings tls) throws ImageException {
        RegistryOptions options = Fixture.QUICK.withHosts(registry.hosts(tls));
        RegistryProbe.Report report =
                new RegistryProbe(options)
                        .test(Reference.parse(registry.authority() + "/app:1"))
                        .getFirst();
        assertEquals(ErrorKind.UNTRUSTED, report.failure().orElseThrow().kind());
        assertEquals(RegistryProbe.Outcome.FAILED, report.checks().get(2).outcome());
        return report.checks().get(2).detail();
    }

    @Test
    void client_certificate_isShownWhenWanted() throws Exception {
        registry.present(SERVER, AUTHORITY);
        resolve(AUTHORITY.tls(AUTHORITY.client("me")), 1);
        assertSays(
                ErrorKind.UNAUTHENTICATED,
                AUTHORITY.tls(null),
                50,
                "wants a client certificate and none was sent");
        assertSays(
                ErrorKind.UNAUTHENTICATED,
                AUTHORITY.tls(STRANGER.client("me")),
                50,
                "the server refused this side's certificate (");
    }

    @Test
    void client_certificateExpired_saysSoWithItsDates() {
        registry.present(SERVER, AUTHORITY);
        assertSays(
                ErrorKind.UNAUTHENTICATED,
                AUTHORITY.tls(AUTHORITY.expiredClient("me")),
                50,
                "the server refused this side's certificate, which has expired: that of CN=me, issued"
                        + " by CN=the authority, is good from ",
                "then name the new one as \"client\" of this host in hosts.toml");
    }

    @Test
    void client_certificateOfTheFuture_isNotToBeReplaced() {
        registry.present(SERVER, AUTHORITY);
        ImageException e =
                Fixture.assertFails(
                        ErrorKind.UNAUTHENTICATED,
                        () -> resolve(AUTHORITY.tls(AUTHORITY.futureClient("me")), 50));
        assertTrue(
                e.getMessage()
                        .contains(
                                "the server refused this side's certificate, which is not valid yet: that of CN=me, "),
                e.getMessage());
        assertTrue(
                e.getMessage().endsWith("; check the clock of this host and the server's"),
                e.getMessage());
    }

    /// The one that was shown is to blame, not the first that is out of date.
    @Test
    void client_severalCertificates_theOneThatWasShownIsNamed() throws Exception {
        registry.present(SERVER, AUTHORITY);
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        char[] password = {};
        for (TestAuthority.Identity identity :
                List.of(STRANGER.expiredClient("other"), AUTHORITY.futureClient("offered"))) {
            store.setKeyEntry(
                    identity.toString(),
                    identity.key(),
                    password,
                    new Certificate[] {identity.certificate(), identity.issuer()});
        }
        KeyManagerFactory keys =
                KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keys.init(store, password);
        assertSays(
                ErrorKind.UNAUTHENTICATED,
                new Settings(AUTHORITY.tls(null).trustManager(), List.of(keys.getKeyManagers())),
                50,
                "this side's certificate, which is not valid yet: that of CN=offered, ");
    }

    @Test
    void handshake_disturbed_neverFallsBackToPlainHttp() {
        registry.clearAccessLog();
        registry.tlsFault(TlsFault.PLAIN);
        assertSays(
                ErrorKind.INVALID_ARGUMENT,
                AUTHORITY.tls(null),
                "does not speak https here",
                "use --plain-http, or name it with http:// in hosts.toml");
        registry.tlsFault(TlsFault.ABORT);
        assertSays(ErrorKind.UNAVAILABLE, AUTHORITY.tls(null), "no answer from");
        registry.tlsFault(TlsFault.STALL);
        assertSays(ErrorKind.UNAVAILABLE, AUTHORITY.tls(null), "no answer in time");
        assertEquals(0, registry.accessLog().size());
    }

    /// What servers of TLS say to who speaks none: Java's an alert, others a page.
    @Test
    void plainHttp_toAnHttpsPort_saysSo() throws Exception {
        String alert = "\u0015\u0003\u0003\0\u0002\u0002\n";
        String page =
                "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
        for (String answer : List.of(alert, alert.strip() + "F", page)) {
            try (ServerSocket server = new ServerSocket(0, 5, InetAddress.getLoopbackAddress())) {
                Thread serving = Thread.ofVirtual().start(() -> answer(server, answer));
                String authority = "localhost:" + server.getLocalPort();
                try (RegistryClient client = RegistryClient.create(Fixture.QUICK)) {
                    ImageException e =
                            Fixture.assertFails(
                                    ErrorKind.INVALID_ARGUMENT,
                                    () -> client.resolve(Reference.parse(authority + "/app:1")));
                    assertTrue(
                            e.getMessage().contains("speaks https and was asked with plain http"),
                            e.getMessage());
                }
                serving.join();
            }
        }
    }

    /// Answers one request, whatever it is.
    private static void answer(ServerSocket server, String answer) {
        try (Socket socket = server.accept()) {
            InputStream in = socket.getInputStream();
            int newlines = 0;
            for (int c = in.read(); c >= 0 && newlines < 2; c = newlines < 2 ? in.read() : c) {
                newlines = c == '\n' ? newlines + 1 : c == '\r' ? newlines : 0;
            }
            socket.getOutputStream().write(answer.getBytes(StandardCharsets.ISO_8859_1));
            socket.shutdownOutput();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
