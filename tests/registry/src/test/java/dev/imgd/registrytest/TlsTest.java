package dev.imgd.registrytest;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.hosts.TlsSettings;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryOptions;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TestAuthority;
import dev.imgd.testkit.TestImage;
import dev.imgd.testkit.TlsFault;
import java.io.IOException;
import java.time.Duration;
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
        RegistryOptions options =
                Fixture.QUICK
                        .withHosts(registry.hosts(tls))
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

    private static void assertSays(String message, TlsSettings tls) {
        assertSays(message, tls, 1);
    }

    private static void assertSays(String message, TlsSettings tls, int attempts) {
        ImageException e = Fixture.assertFails(ErrorKind.UNAVAILABLE, () -> resolve(tls, attempts));
        assertTrue(e.getMessage().contains(message), e.getMessage());
    }

    @Test
    void authority_known_pulls() throws Exception {
        resolve(AUTHORITY.tls(null), 1);
    }

    @Test
    void authority_unknown_isNotTrusted() {
        String says =
                "the certificate is not trusted: no trusted authority signed it; name its authority"
                        + " as \"ca\" of this host in hosts.toml";
        assertSays(says, STRANGER.tls(null));
        assertSays(says, TlsSettings.SYSTEM);
    }

    @Test
    void server_expiredOrElsewhere_saysWhich() {
        registry.present(AUTHORITY.expiredServer("localhost"), null);
        assertSays("the server's certificate has expired", AUTHORITY.tls(null));
        registry.present(AUTHORITY.server("elsewhere.test"), null);
        assertSays("the certificate is for another host name", AUTHORITY.tls(null));
    }

    @Test
    void client_certificate_isShownWhenWanted() throws Exception {
        registry.present(SERVER, AUTHORITY);
        resolve(AUTHORITY.tls(AUTHORITY.client("me")), 1);
        assertSays("wants a client certificate and none was sent", AUTHORITY.tls(null), 50);
        assertSays(
                "the server refused this side's certificate",
                AUTHORITY.tls(STRANGER.client("me")),
                50);
    }

    @Test
    void handshake_disturbed_neverFallsBackToPlainHttp() {
        registry.clearAccessLog();
        registry.tlsFault(TlsFault.PLAIN);
        assertSays("does not speak https", AUTHORITY.tls(null));
        registry.tlsFault(TlsFault.ABORT);
        assertSays("no answer from", AUTHORITY.tls(null));
        registry.tlsFault(TlsFault.STALL);
        assertSays("no answer in time", AUTHORITY.tls(null));
        assertEquals(0, registry.accessLog().size());
    }
}
