package dev.imgd.registrytest;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.hosts.Capability;
import dev.imgd.hosts.RegistryHost;
import dev.imgd.hosts.TlsSettings;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import dev.imgd.model.RegistryException;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TestImage;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
class RetryTest extends Fixture {
    private TestImage image;

    private void resolve() throws ImageException {
        assertEquals(image.manifest(), client.resolve(reference("app:1")).descriptor());
    }

    @Test
    void resolve_failuresForAWhile_succeedsInTheEnd() throws Exception {
        image = pushImage();
        registry.script(
                "/manifests/",
                Fault.error(500, "OOPS", "x"),
                Fault.rateLimited("0"),
                Fault.reset(),
                Fault.error(503, "OOPS", "x"));
        resolve();
        assertEquals(5, registry.gets("/manifests/"));
    }

    @Test
    void resolve_retryAfterOneSecond_waitsThatLong() throws Exception {
        image = pushImage();
        registry.script("/manifests/", Fault.rateLimited("1"));
        use(QUICK.withRetries(5, Duration.ofMillis(1), Duration.ofSeconds(60)));
        long started = System.nanoTime();
        resolve();
        assertTrue(System.nanoTime() - started >= 1_000_000_000L);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "Sun, 06 Nov 1994 08:49:38 GMT",
                "Sunday, 06-Nov-94 08:49:38 GMT",
                "Sun Nov  6 08:49:38 1994",
            })
    void resolve_retryAfterADate_waitsUntilThen(String date) throws Exception {
        image = pushImage();
        registry.script("/manifests/", Fault.rateLimited(date));
        Instant now = Instant.parse("1994-11-06T08:49:37Z");
        use(
                QUICK.withRetries(5, Duration.ofMillis(1), Duration.ofSeconds(60))
                        .withClock(Clock.fixed(now, ZoneOffset.UTC)));
        long started = System.nanoTime();
        resolve();
        assertTrue(System.nanoTime() - started >= 1_000_000_000L);
    }

    @Test
    void resolve_retryAfterALongTime_waitsNoLongerThanTheMaximum() throws Exception {
        image = pushImage();
        registry.script("/manifests/", Fault.rateLimited("Fri, 06 Nov 2893 08:49:38 GMT"));
        resolve();
        assertEquals(2, registry.gets("/manifests/"));
    }

    @ParameterizedTest
    @CsvSource({
        "400, UNKNOWN, 1",
        "401, UNAUTHENTICATED, 1",
        "403, PERMISSION_DENIED, 1",
        "404, NOT_FOUND, 1",
        "405, UNKNOWN, 1",
        "429, RATE_LIMITED, 5",
        "500, UNAVAILABLE, 5",
        "501, UNKNOWN, 1",
        "502, UNAVAILABLE, 5",
        "503, UNAVAILABLE, 5",
        "504, UNAVAILABLE, 5",
        "204, UNKNOWN, 1",
    })
    void resolve_lastingStatus_isReportedAfterItsAttempts(
            int status, ErrorKind kind, int attempts) {
        image = pushImage();
        registry.always("/manifests/", Fault.status(status, Map.of(), ""));
        ImageException e = assertFails(kind, this::resolve);
        assertEquals(status, assertInstanceOf(RegistryException.class, e).status());
        assertTrue(e.getMessage().contains("HTTP " + status), e.getMessage());
        assertEquals(attempts, registry.accessLog().size());
    }

    @Test
    void resolve_requestTimeout_isRetried() {
        image = pushImage();
        registry.always("/manifests/", Fault.status(408, Map.of(), ""));
        assertFails(ErrorKind.UNAVAILABLE, this::resolve);
        assertEquals(10, registry.accessLog().size(), "OkHttp itself repeats each once");
    }

    @Test
    void resolve_errorBody_isShownEscaped() {
        image = pushImage();
        registry.always(
                "/manifests/",
                Fault.error(403, "DENIED", "no\u001b[31m\r\nX-Evil: 1\u202e" + "a".repeat(5000)));
        ImageException e = assertFails(ErrorKind.PERMISSION_DENIED, this::resolve);
        var detail = assertInstanceOf(RegistryException.class, e).details().getFirst();
        assertEquals("DENIED", detail.code());
        assertTrue(detail.message().length() <= 1100, "" + detail.message().length());
        assertTrue(e.getMessage().length() < 1024 + 200, "" + e.getMessage().length());
        assertFalse(e.getMessage().chars().anyMatch(Character::isISOControl), e.getMessage());
        assertFalse(e.getMessage().contains("\u202e"), e.getMessage());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "<html>captive portal</html>",
                "{\"errors\":17}",
                "{\"errors\":[17]}",
                "{\"errors\":[{\"code\":[]}]}",
                "[[[[[[[[",
            })
    void resolve_senselessErrorBody_stillSaysTheStatus(String body) {
        image = pushImage();
        registry.always("/manifests/", Fault.status(403, Map.of(), body));
        ImageException e = assertFails(ErrorKind.PERMISSION_DENIED, this::resolve);
        assertEquals(List.of(), assertInstanceOf(RegistryException.class, e).details());
    }

    @Test
    void resolve_hugeErrorBody_isNotReadWhole() {
        image = pushImage();
        String body = "{\"errors\":[{\"code\":\"A\",\"message\":\"" + "a".repeat(1 << 20) + "\"}]}";
        registry.always("/manifests/", Fault.status(403, Map.of(), body));
        ImageException e = assertFails(ErrorKind.PERMISSION_DENIED, this::resolve);
        assertEquals(List.of(), assertInstanceOf(RegistryException.class, e).details());
    }

    @Test
    void resolve_nobodyListens_saysSoSoon() throws Exception {
        int port;
        try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            port = socket.getLocalPort();
        }
        Reference reference = Reference.parse("localhost:" + port + "/app:1");
        ImageException e = assertFails(ErrorKind.UNAVAILABLE, () -> client.resolve(reference));
        assertTrue(e.getMessage().contains("connection refused"), e.getMessage());
        assertTrue(e.getMessage().contains("localhost:" + port), e.getMessage());
    }

    @Test
    void resolve_unknownName_saysSo() throws Exception {
        Reference reference = Reference.parse("registry.invalid/app:1");
        ImageException e = assertFails(ErrorKind.UNAVAILABLE, () -> client.resolve(reference));
        assertTrue(e.getMessage().contains("no address found"), e.getMessage());
    }

    @Test
    void resolve_interrupted_isCancelled() throws Exception {
        image = pushImage();
        Thread.currentThread().interrupt();
        try {
            assertFails(ErrorKind.CANCELLED, this::resolve);
            assertTrue(Thread.currentThread().isInterrupted());
        } finally {
            Thread.interrupted();
        }
    }

    private static RegistryHost host(String authority, Capability... capabilities) {
        return new RegistryHost(
                RegistryHost.Scheme.HTTP,
                authority,
                "/v2",
                Set.of(capabilities),
                Map.of(),
                TlsSettings.SYSTEM);
    }

    @Test
    void hosts_firstFails_nextIsAsked() throws Exception {
        try (InMemoryRegistry mirror = InMemoryRegistry.start()) {
            image = pushImage();
            mirror.always("/", Fault.error(404, "NAME_UNKNOWN", "x"));
            use(
                    QUICK.withHosts(
                            _ ->
                                    List.of(
                                            host("localhost:1", Capability.values()),
                                            host(mirror.authority(), Capability.values()),
                                            host(registry.authority(), Capability.values()))));
            resolve();
            assertEquals(1, mirror.accessLog().size());
            assertEquals(registry.authority(), client.resolve(reference("app:1")).from());
        }
    }

    @Test
    void hosts_mirrorMayNotResolve_isOnlyAskedForDigests() throws Exception {
        try (InMemoryRegistry mirror = InMemoryRegistry.start()) {
            image = pushImage();
            mirror.push("app", "1", image);
            use(
                    QUICK.withHosts(
                            _ ->
                                    List.of(
                                            host(mirror.authority(), Capability.PULL),
                                            host(registry.authority(), Capability.values()))));
            resolve();
            assertEquals(List.of(), mirror.accessLog());
            readBlob(image.layers().getFirst(), 0);
            assertEquals(1, mirror.gets("/blobs/"));
            assertEquals(0, registry.gets("/blobs/"));
        }
    }

    @Test
    void hosts_noneMayResolve_saysSo() {
        use(QUICK.withHosts(_ -> List.of(host(registry.authority(), Capability.PULL))));
        assertFails(ErrorKind.FAILED_PRECONDITION, () -> client.resolve(reference("app:1")));
        assertEquals(List.of(), registry.accessLog());
    }

    @Test
    void hosts_allFail_registrysOwnFailureIsReported() throws IOException {
        try (InMemoryRegistry mirror = InMemoryRegistry.start()) {
            mirror.always("/", Fault.error(403, "DENIED", "mirror"));
            use(
                    QUICK.withHosts(
                            _ ->
                                    List.of(
                                            host(mirror.authority(), Capability.values()),
                                            host(registry.authority(), Capability.values()))));
            ImageException e =
                    assertFails(ErrorKind.NOT_FOUND, () -> client.resolve(reference("app:1")));
            assertEquals(1, e.getSuppressed().length);
            assertTrue(e.getSuppressed()[0].getMessage().contains("mirror"));
        }
    }
}
