package dev.imgd.registrytest;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.hosts.Capability;
import dev.imgd.hosts.RegistryHost;
import dev.imgd.hosts.TlsSettings;
import dev.imgd.model.Descriptor;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.registry.CredentialSource;
import dev.imgd.registry.Credentials;
import dev.imgd.registry.TransferOptions;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.InMemoryRegistry;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
class RedirectTest extends Fixture {
    private static final int SIZE = 300_000;
    private final byte[] content = random(SIZE, 7);
    private InMemoryRegistry store;

    @BeforeEach
    void startStore() throws IOException {
        store = InMemoryRegistry.start();
    }

    @AfterEach
    void stopStore() {
        store.close();
    }

    private void useHeadersAndLogin() {
        RegistryHost host =
                new RegistryHost(
                        RegistryHost.Scheme.HTTP,
                        registry.authority(),
                        "/v2",
                        Set.of(Capability.values()),
                        Map.of("X-Canary", List.of("canary"), "Cookie", List.of("canary")),
                        TlsSettings.SYSTEM);
        use(
                QUICK.withHosts(_ -> List.of(host))
                        .withCredentials(
                                CredentialSource.of(
                                        registry.authority(),
                                        new Credentials.Login("user", "canary"))));
        registry.requireBasic("Basic dXNlcjpjYW5hcnk=");
    }

    private String stored(Descriptor blob) {
        return "http://" + store.authority() + "/v2/x/blobs/" + blob.digest() + "?sig=canary";
    }

    @ParameterizedTest
    @ValueSource(ints = {301, 302, 303, 307, 308})
    void get_redirectToAnotherHost_leavesSecretsBehind(int status) throws Exception {
        useHeadersAndLogin();
        Descriptor blob = pushBlob(content);
        store.content().putBlob(content);
        registry.always("/blobs/", Fault.redirect(status, stored(blob)));

        assertArrayEquals(Arrays.copyOfRange(content, 1000, SIZE), readBlob(blob, 1000));

        var home = registry.accessLog().getLast();
        assertEquals(Optional.of("canary"), home.header("x-canary"));
        assertTrue(home.header("authorization").isPresent());
        var away = store.accessLog().getFirst();
        assertEquals(Optional.empty(), away.header("authorization"));
        assertEquals(Optional.empty(), away.header("x-canary"));
        assertEquals(Optional.empty(), away.header("cookie"));
        assertEquals(Optional.of("bytes=1000-"), away.header("range"));
        assertEquals(Optional.of("identity"), away.header("accept-encoding"));
    }

    @Test
    void get_redirectOnTheSameHost_keepsThem() throws Exception {
        useHeadersAndLogin();
        Descriptor blob = pushBlob(content);
        registry.script("/v2/app/blobs/", Fault.redirect(307, "/v2/moved/blobs/" + blob.digest()));

        assertArrayEquals(content, readBlob(blob, 0));

        assertEquals("/v2/moved/blobs/" + blob.digest(), registry.accessLog().getLast().path());
        assertTrue(registry.accessLog().getLast().header("authorization").isPresent());
    }

    @Test
    void get_redirectThereAndBack_doesNotGetThemBack() throws Exception {
        useHeadersAndLogin();
        Descriptor blob = pushBlob(content);
        registry.always(
                "/v2/app/blobs/", Fault.redirect(307, "http://" + store.authority() + "/hop"));
        store.always(
                "/hop",
                Fault.redirect(
                        307,
                        "http://" + registry.authority() + "/v2/other/blobs/" + blob.digest()));

        ImageException e = assertFails(ErrorKind.UNAUTHENTICATED, () -> readBlob(blob, 0));

        var last = registry.accessLog().getLast();
        assertEquals("/v2/other/blobs/" + blob.digest(), last.path());
        assertEquals(Optional.empty(), last.header("authorization"));
        assertEquals(Optional.empty(), last.header("x-canary"));
        assertFalse(e.getMessage().contains("canary"), e.getMessage());
    }

    @Test
    void get_redirectsWithoutEnd_stopsAfterFive() {
        Descriptor blob = pushBlob(content);
        registry.always("/blobs/", Fault.redirect(307, "/v2/app/blobs/" + blob.digest()));
        assertFails(ErrorKind.LIMIT_EXCEEDED, () -> readBlob(blob, 0));
        assertEquals(6, registry.accessLog().size());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "http://169.254.169.254/latest/meta-data/iam?canary",
                "http://0.0.0.0:1/",
                "http://[fe80::1]/",
                "http://user:canary@localhost/",
                "ftp://localhost/canary",
                "file:///etc/passwd",
                "http://",
                "http://[::1/",
            })
    void get_redirectToABadPlace_isNotFollowed(String location) {
        Descriptor blob = pushBlob(content);
        registry.always("/blobs/", Fault.redirect(307, location));
        ImageException e = assertFails(ErrorKind.UNAVAILABLE, () -> readBlob(blob, 0));
        assertEquals(1, registry.accessLog().size());
        assertTrue(e.getMessage().contains("redirects"), e.getMessage());
        assertFalse(e.getMessage().contains("canary@"), e.getMessage());
        assertFalse(e.getMessage().contains("?canary"), e.getMessage());
    }

    @Test
    void get_redirectWithoutLocation_isReported() {
        Descriptor blob = pushBlob(content);
        registry.always("/blobs/", Fault.status(307, Map.of(), ""));
        assertFails(ErrorKind.UNAVAILABLE, () -> readBlob(blob, 0));
    }

    @Test
    void get_linkExpiredMidway_isAskedForAgain() throws Exception {
        Descriptor blob = pushBlob(content);
        store.content().putBlob(content);
        registry.always("/blobs/", Fault.redirect(307, stored(blob)));
        store.script(
                "/blobs/",
                Fault.truncatedAt(100_000),
                Fault.status(403, Map.of(), "<Error>Request has expired</Error>"));

        assertArrayEquals(content, readBlob(blob, 0));

        assertEquals(3, registry.gets("/blobs/"));
        assertEquals(Optional.of("bytes=100000-"), store.accessLog().getLast().header("range"));
    }

    /// A blob that is asked for in three parts.
    private Descriptor inParts(byte[] large) throws IOException {
        use(
                QUICK.withTransfer(TransferOptions.defaults().withRanges(4, 1 << 20))
                        .withCredentials(
                                CredentialSource.of(
                                        registry.authority(),
                                        new Credentials.Login("user", "canary"))));
        registry.requireBasic("Basic dXNlcjpjYW5hcnk=");
        Descriptor blob = pushBlob(large);
        store.content().putBlob(large);
        registry.always("/blobs/", Fault.redirect(307, stored(blob)));
        return blob;
    }

    @Test
    void get_rangesOfOneBlob_theRegistryIsAskedOnce() throws Exception {
        byte[] large = random(40 << 20, 8);
        Descriptor blob = inParts(large);

        assertArrayEquals(large, readBlob(blob, 0));

        assertEquals(1, authorizedGets());
        assertTrue(store.accessLog().size() >= 3, store.accessLog().toString());
        for (InMemoryRegistry.Access access : store.accessLog()) {
            assertEquals(Optional.empty(), access.header("authorization"));
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {401, 403, 404, 410, 500, 503})
    void get_placeNoLongerAnswers_theRegistryIsAskedAgain(int status) throws Exception {
        byte[] large = random(40 << 20, 8);
        Descriptor blob = inParts(large);
        store.script("/blobs/", Fault.none(), Fault.status(status, Map.of(), "gone"));

        assertArrayEquals(large, readBlob(blob, 0));

        assertAskedAgain();
        assertEquals(0, client.sources().getFirst().retries(), "no failure, just another way");
    }

    @Test
    void get_placeRedirectsOn_theRegistryIsAskedAgain() throws Exception {
        byte[] large = random(40 << 20, 8);
        Descriptor blob = inParts(large);
        store.script("/blobs/", Fault.none(), Fault.redirect(307, "http://169.254.169.254/"));

        assertArrayEquals(large, readBlob(blob, 0));

        assertAskedAgain();
    }

    /// Connections that are open at the moment may each ask, and no request after that.
    private void assertAskedAgain() {
        long asked = authorizedGets();
        assertTrue(asked >= 2 && asked <= 1 + 4, "asked " + asked + " times");
    }

    private long authorizedGets() {
        return registry.accessLog().stream()
                .filter(access -> access.path().contains("/blobs/"))
                .filter(access -> access.header("authorization").isPresent())
                .count();
    }

    @Test
    void get_otherHostWantsCredentials_getsNone() {
        useHeadersAndLogin();
        Descriptor blob = pushBlob(content);
        store.content().putBlob(content);
        registry.always("/blobs/", Fault.redirect(307, stored(blob)));
        store.requireNever("Basic realm=\"give me\"");
        ImageException e = assertFails(ErrorKind.UNAUTHENTICATED, () -> readBlob(blob, 0));
        assertEquals(1, store.accessLog().size());
        assertTrue(e.getMessage().contains(store.authority()), e.getMessage());
    }
}
