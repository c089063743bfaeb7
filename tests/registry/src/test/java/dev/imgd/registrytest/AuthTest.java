package dev.imgd.registrytest;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.read.ListAppender;
import dev.imgd.hosts.Capability;
import dev.imgd.hosts.RegistryHost;
import dev.imgd.hosts.TlsSettings;
import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.MediaType;
import dev.imgd.model.Reference;
import dev.imgd.registry.CredentialSource;
import dev.imgd.registry.Credentials;
import dev.imgd.registry.Logins;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryOptions;
import dev.imgd.registry.RegistryWriter;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.RegistryFeature;
import dev.imgd.testkit.TestImage;
import dev.imgd.testkit.TokenServer;
import dev.imgd.testkit.TokenServer.TokenRequest;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.slf4j.LoggerFactory;

@Timeout(60)
class AuthTest extends Fixture {
    private static final String CANARY = "canary-5f2c";

    private TokenServer tokens;

    @BeforeEach
    void startTokens() throws IOException {
        tokens = TokenServer.start();
    }

    @AfterEach
    void stopTokens() {
        tokens.close();
    }

    private void pull(TestImage image) throws IOException {
        client.resolve(reference("app:1"));
        readBlob(image.layers().getFirst(), 0);
    }

    private CredentialSource login() {
        return CredentialSource.of(registry.authority(), new Credentials.Login("user", CANARY));
    }

    private static String basic(String user, String password) {
        String pair = user + ":" + password;
        return "Basic " + Base64.getEncoder().encodeToString(pair.getBytes(StandardCharsets.UTF_8));
    }

    @ParameterizedTest
    @ValueSource(strings = {"token", "access_token"})
    void token_anonymous_isFetchedOnceForTheScope(String field) throws Exception {
        TestImage image = pushImage();
        registry.requireToken(tokens.field(field));

        pull(image);
        pull(image);

        assertEquals(1, tokens.requests().size());
        TokenRequest request = tokens.requests().getFirst();
        assertEquals("GET", request.method());
        assertEquals(Optional.empty(), request.authorization());
        String target = URLDecoder.decode(request.target(), StandardCharsets.UTF_8);
        assertTrue(target.contains("scope=repository:app:pull"), target);
        assertTrue(target.contains("service=" + registry.authority()), target);
        assertEquals(5, registry.accessLog().size(), "only the very first request is asked twice");
    }

    /// What one caller may do, the next one may not for that.
    @Test
    void session_withCredentials_sharesNoToken() throws Exception {
        TestImage image = pushImage();
        tokens.requireAuthorization(basic("user", CANARY));
        registry.requireToken(tokens);
        Reference app = reference("app:1");

        try (RegistryClient session = client.session(login())) {
            session.resolve(app);
            try (RegistryClient child = session.session()) {
                child.smallBlob(app, image.layers().getFirst());
            }
            assertFails(ErrorKind.UNAUTHENTICATED, () -> client.resolve(app));
            try (RegistryClient other = client.session()) {
                assertFails(ErrorKind.UNAUTHENTICATED, () -> other.resolve(app));
            }
        }
        assertFails(ErrorKind.UNAUTHENTICATED, () -> client.resolve(app));
    }

    @Test
    void session_withCredentials_winsOverTheClientsToken() throws Exception {
        pushImage();
        tokens.requireAuthorization(basic("user", CANARY));
        registry.requireToken(tokens);
        use(QUICK.withCredentials(login()));
        Reference app = reference("app:1");
        client.resolve(app);
        CredentialSource wrong =
                CredentialSource.of(registry.authority(), new Credentials.Login("user", "x"));
        CredentialSource nobody =
                CredentialSource.of(registry.authority(), new Credentials.Anonymous());
        CredentialSource elsewhere =
                CredentialSource.of("other.example", new Credentials.Login("user", "x"));

        try (RegistryClient session = client.session(wrong)) {
            assertFails(ErrorKind.UNAUTHENTICATED, () -> session.resolve(app));
        }
        try (RegistryClient session = client.session(nobody)) {
            assertFails(ErrorKind.UNAUTHENTICATED, () -> session.resolve(app));
        }
        try (RegistryClient session = client.session(elsewhere)) {
            session.resolve(app);
        }
        client.resolve(app);
    }

    @Test
    void token_otherRepository_needsItsOwn() throws Exception {
        TestImage image = pushImage();
        registry.push("team/other", "1", image);
        registry.requireToken(tokens);

        client.resolve(reference("app:1"));
        client.resolve(reference("team/other:1"));

        assertEquals(2, tokens.requests().size());
        assertEquals(3, registry.accessLog().size(), "the second repository is not refused first");
    }

    @Test
    void token_manyThreads_fetchItOnce() throws Exception {
        pushImage();
        registry.requireToken(tokens);
        try (var executor = Executors.newVirtualThreadPerTaskExecutor()) {
            List<Future<?>> pulls = new ArrayList<>();
            for (int i = 0; i < 30; i++) {
                pulls.add(executor.submit(() -> client.resolve(reference("app:1"))));
            }
            for (Future<?> pull : pulls) {
                pull.get();
            }
        }
        assertEquals(1, tokens.requests().size());
    }

    /// A clock that a test moves.
    private static final class MovingClock extends Clock {
        final AtomicReference<Instant> now =
                new AtomicReference<>(Instant.parse("2026-11-23T12:00:00Z"));

        @Override
        public Instant instant() {
            return now.get();
        }

        @Override
        public ZoneId getZone() {
            return ZoneOffset.UTC;
        }

        @Override
        public Clock withZone(ZoneId zone) {
            return this;
        }

        void move(Duration by) {
            now.updateAndGet(t -> t.plus(by));
        }
    }

    @Test
    void token_expired_isFetchedAgainBeforeItIsRefused() throws Exception {
        pushImage();
        registry.requireToken(tokens.expiresIn(0));
        MovingClock clock = new MovingClock();
        use(QUICK.withClock(clock));

        client.resolve(reference("app:1"));
        clock.move(Duration.ofSeconds(53));
        client.resolve(reference("app:1"));
        assertEquals(1, tokens.requests().size(), "good for 60 s where the server does not say");
        clock.move(Duration.ofSeconds(2));
        client.resolve(reference("app:1"));
        assertEquals(2, tokens.requests().size());
        assertEquals(4, registry.accessLog().size());
    }

    @Test
    void token_revoked_isReplacedOnce() throws Exception {
        TestImage image = pushImage();
        registry.requireToken(tokens);
        pull(image);
        tokens.revokeAll();
        pull(image);
        assertEquals(2, tokens.requests().size());
    }

    @Test
    void token_neverGood_endsAfterOneTry() {
        pushImage();
        registry.requireNever(
                "Bearer realm=\"" + tokens.realm() + "\",scope=\"repository:app:pull\"");
        ImageException e =
                assertFails(ErrorKind.UNAUTHENTICATED, () -> client.resolve(reference("app:1")));
        assertEquals(2, registry.accessLog().size());
        assertEquals(1, tokens.requests().size());
        assertTrue(e.getMessage().contains("UNAUTHORIZED"), e.getMessage());
    }

    @Test
    void token_scopeOfTheChallenge_isNotFollowed() throws Exception {
        pushImage();
        registry.requireToken(tokens);
        registry.requireNever(
                "Bearer realm=\""
                        + tokens.realm()
                        + "\",scope=\"repository:secret/other:pull,push registry:catalog:*\"");
        assertFails(ErrorKind.UNAUTHENTICATED, () -> client.resolve(reference("app:1")));
        String target =
                URLDecoder.decode(tokens.requests().getFirst().target(), StandardCharsets.UTF_8);
        assertFalse(target.contains("other"), target);
        assertTrue(target.endsWith("scope=repository:app:pull"), target);
    }

    @Test
    void token_login_isSentToTheTokenServerOnly() throws Exception {
        TestImage image = pushImage();
        registry.requireToken(tokens.requireAuthorization(basic("user", CANARY)));
        use(QUICK.withCredentials(login()));

        pull(image);

        assertEquals(1, tokens.requests().size());
        TokenRequest request = tokens.requests().getFirst();
        assertEquals("POST", request.method());
        assertEquals("/token", request.target(), "no secret in a URL");
        String form = URLDecoder.decode(request.form(), StandardCharsets.UTF_8);
        assertTrue(form.contains("grant_type=password"), "the form of a password");
        assertTrue(form.contains("scope=repository:app:pull"), "with its scope");
        for (var access : registry.accessLog()) {
            assertFalse(access.header("authorization").orElse("").startsWith("Basic"));
        }
    }

    /// As the token servers of GCR, Artifactory and Azure among others.
    @ParameterizedTest
    @ValueSource(ints = {400, 401, 404, 405})
    void token_serverWithoutPost_isAskedByGetFromThenOn(int status) throws Exception {
        TestImage image = pushImage();
        registry.push("other", "1", image);
        registry.requireToken(tokens.getOnly(status).requireAuthorization(basic("user", CANARY)));
        use(QUICK.withCredentials(login()));

        pull(image);
        client.resolve(reference("other:1"));

        List<String> methods = tokens.requests().stream().map(TokenRequest::method).toList();
        assertEquals(List.of("POST", "GET", "GET"), methods);
        assertEquals(
                Optional.of(basic("user", CANARY)), tokens.requests().getLast().authorization());
        assertFalse(tokens.requests().getLast().target().contains(CANARY));
    }

    @Test
    void token_wrongLogin_saysWhose() {
        pushImage();
        registry.requireToken(tokens.requireAuthorization(basic("user", "other")));
        use(QUICK.withCredentials(login()));
        ImageException e =
                assertFails(ErrorKind.UNAUTHENTICATED, () -> client.resolve(reference("app:1")));
        assertTrue(
                e.getMessage()
                        .contains("the user name or the password for " + registry.authority()),
                e.getMessage());
        assertEquals(2, tokens.requests().size());
    }

    @Test
    void token_identityTokenRotates_theNewOneIsUsed() throws Exception {
        TestImage image = pushImage();
        registry.push("other", "1", image);
        registry.requireToken(tokens.rotating());
        use(
                QUICK.withCredentials(
                        CredentialSource.of(
                                registry.authority(), new Credentials.IdentityToken(CANARY))));

        pull(image);
        client.resolve(reference("other:1"));

        assertTrue(tokens.requests().getFirst().form().contains("refresh_token=" + CANARY));
        assertTrue(tokens.requests().getLast().form().contains("refresh_token=refresh-1"));
        assertEquals(2, tokens.requests().size());
    }

    @Test
    void token_scoped_isAskedForWhatIsDone() throws Exception {
        TestImage image = pushImage();
        registry.requireScopedToken(tokens);
        pull(image);
        Descriptor layer = image.layers().getFirst();
        var source = RegistryWriter.BlobSource.of(image.blob(layer.digest()));
        client.writer().pushBlob(reference("copy:1"), layer, source, List.of(reference("app:1")));
        String last = URLDecoder.decode(tokens.requests().getLast().target(), UTF_8);
        assertTrue(last.contains("scope=repository:copy:pull,push"), last);
        assertEquals(0, registry.accessLog().stream().filter(a -> a.status() == 403).count());
    }

    @Test
    void token_insufficientScope_isAskedForAgainWithWhatWasMissedFirst() throws Exception {
        pushImage();
        byte[] content = {1, 2, 3};
        Digest digest = Digest.sha256(content);
        registry.content().putBlob("base", digest, content);
        registry.without(RegistryFeature.ANONYMOUS_MOUNT);
        registry.requireScopedToken(tokens.firstScopeOnly());
        Descriptor blob = new Descriptor(MediaType.OCI_LAYER, digest, content.length);

        client.writer()
                .pushBlob(
                        reference("copy:1"),
                        blob,
                        RegistryWriter.BlobSource.of(Bytes.of(content)),
                        List.of(reference("base:1")));

        List<String> scopes =
                tokens.requests().stream()
                        .map(r -> URLDecoder.decode(r.target(), UTF_8))
                        .filter(t -> t.contains("repository:base"))
                        .toList();
        assertEquals(2, scopes.size(), scopes.toString());
        assertTrue(scopes.getFirst().indexOf("copy") < scopes.getFirst().indexOf(":base:"));
        assertTrue(scopes.getLast().indexOf("copy") > scopes.getLast().indexOf(":base:"));
        assertTrue(registry.content().blob("copy", digest).isPresent(), "sent after all");
    }

    @Test
    void token_identityToken_isPostedAsRefreshToken() throws Exception {
        TestImage image = pushImage();
        registry.requireToken(tokens.field("access_token"));
        use(
                QUICK.withCredentials(
                        CredentialSource.of(
                                registry.authority(), new Credentials.IdentityToken(CANARY))));

        pull(image);

        TokenRequest request = tokens.requests().getFirst();
        assertEquals("POST", request.method());
        assertEquals("/token", request.target(), "no secret in a URL");
        String form = URLDecoder.decode(request.form(), StandardCharsets.UTF_8);
        for (String part :
                List.of(
                        "grant_type=refresh_token",
                        "refresh_token=" + CANARY,
                        "scope=repository:app:pull",
                        "service=" + registry.authority())) {
            assertTrue(form.contains(part), part);
        }
    }

    @Test
    void basic_login_isSentWhenAskedFor() throws Exception {
        TestImage image = pushImage();
        registry.requireBasic(basic("user", CANARY));
        use(QUICK.withCredentials(login()));

        pull(image);

        assertEquals(Optional.empty(), registry.accessLog().getFirst().header("authorization"));
        assertEquals(3, registry.accessLog().size());
    }

    @Test
    void basic_wrongLogin_endsAfterOneTry() {
        pushImage();
        registry.requireBasic(basic("user", "other"));
        use(QUICK.withCredentials(login()));
        assertFails(ErrorKind.UNAUTHENTICATED, () -> client.resolve(reference("app:1")));
        assertEquals(2, registry.accessLog().size());
    }

    @Test
    void basic_noLogin_saysSo() {
        pushImage();
        registry.requireBasic(basic("user", "other"));
        ImageException e =
                assertFails(ErrorKind.UNAUTHENTICATED, () -> client.resolve(reference("app:1")));
        assertTrue(e.getMessage().contains("log in"), e.getMessage());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "Negotiate",
                "Digest realm=\"a\",nonce=\"b\"",
                "Bearer",
                "Bearer service=\"a\"",
                "Bearer realm=\"unterminated",
                "Bearer realm=\"http://169.254.169.254/latest/meta-data/\"",
                "Bearer realm=\"http://0.0.0.0/token\"",
                "Bearer realm=\"http://[fe80::1]/token\"",
                "Bearer realm=\"file:///etc/passwd\"",
                "Bearer realm=\"http://user:pass@localhost/token\"",
                "Bearer realm=\"http://localhost/a\",realm=\"http://localhost/b\"",
            })
    void challenge_uselessOrHostile_isUnauthenticated(String challenge) {
        pushImage();
        registry.requireNever(challenge);
        use(QUICK.withCredentials(login()));
        assertFails(ErrorKind.UNAUTHENTICATED, () -> client.resolve(reference("app:1")));
        assertEquals(1, registry.accessLog().size());
    }

    /// Pulls and logs in, both in vain, and with the same reason.
    private void assertRefused(ErrorKind kind, String... says) {
        Credentials login = new Credentials.Login("user", CANARY);
        use(QUICK.withCredentials(CredentialSource.of(registry.authority(), login)));
        List<ImageException> failures =
                List.of(
                        assertFails(kind, () -> client.resolve(reference("app:1"))),
                        assertFails(kind, () -> Logins.check(QUICK, registry.authority(), login)));
        for (ImageException failure : failures) {
            String message = failure.getMessage();
            for (String wanted : says) {
                assertTrue(message.contains(wanted), message);
            }
            assertFalse(message.contains("the password"), message);
            assertFalse(message.contains(CANARY), message);
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                // what the registry says of the token that its token server gave
                "service=\"a\",error=\"insufficient_scope\" | , which allows too little"
                        + " (insufficient_scope); asked as user user",
                "error=\"other\" | gave; asked as user user; its challenge names no service",
                "service=\"a\",error=\"invalid_token\" | it takes no tokens of its token server",
            })
    void token_refusedByTheRegistry_isNotThePassword(String parameters, String says) {
        pushImage();
        registry.requireNever("Bearer realm=\"" + tokens.realm() + "\"," + parameters);
        assertRefused(ErrorKind.UNAUTHENTICATED, says, tokens.authority());
    }

    @Test
    void challenge_unknownSchemes_areNamed() {
        pushImage();
        registry.requireNever("Negotiate, NTLM, X-Own a=\"b\"");
        assertRefused(
                ErrorKind.UNAUTHENTICATED,
                "; it offers only Negotiate, NTLM, x-own to authenticate with, and imgd speaks Basic"
                        + " and Bearer");
    }

    @Test
    void challenge_none_isSaid() {
        pushImage();
        registry.always("/", Fault.status(401, Map.of(), ""));
        assertRefused(ErrorKind.UNAUTHENTICATED, "(no WWW-Authenticate header)");
    }

    @ParameterizedTest
    @CsvSource({
        "404, UNAUTHENTICATED, there is no token server (HTTP 404 from REALM)",
        "405, UNAUTHENTICATED, there is no token server (HTTP 405 from REALM)",
        "501, UNAUTHENTICATED, there is no token server (HTTP 501 from REALM)",
        "422, UNAUTHENTICATED, no token (HTTP 422 from the token server HOST)",
        "403, PERMISSION_DENIED, denied (HTTP 403 from the token server HOST); asked as user user",
        "500, UNAVAILABLE, the token server failed (HTTP 500 from the token server HOST)",
    })
    void tokenServer_wrong_isWhatIsBlamed(int status, ErrorKind kind, String says) {
        pushImage();
        registry.requireToken(tokens, tokens.realm() + "?secret=" + CANARY);
        tokens.answer(exchange -> exchange.respond(status, Map.of(), new byte[0]));
        assertRefused(
                kind, says.replace("REALM", tokens.realm()).replace("HOST", tokens.authority()));
    }

    @Test
    void tokenServer_dead_isNamed() {
        pushImage();
        registry.requireToken(tokens);
        tokens.close();
        assertRefused(
                ErrorKind.UNAVAILABLE,
                "no answer from the token server %s: connection refused"
                        .formatted(tokens.authority()));
    }

    @Test
    void denied_saysAsWhom(@TempDir Path directory) throws Exception {
        pushImage();
        registry.requireBasic(basic("me", CANARY));
        registry.always("/manifests/", Fault.error(403, "DENIED", "not you"));
        Path file = directory.resolve("auth.json");
        Logins.in(file).store(registry.authority(), new Credentials.Login("me", CANARY));
        use(QUICK.withCredentials(CredentialSource.file(file)));
        ImageException e =
                assertFails(ErrorKind.PERMISSION_DENIED, () -> client.resolve(reference("app:1")));
        assertTrue(
                e.getMessage()
                        .endsWith(
                                ": DENIED not you; asked as user me, from %s; check that this account may pull app"
                                        .formatted(file)),
                e.getMessage());
        Logins.in(file).store(registry.authority(), new Credentials.Login("me", "wrong"));
        registry.behave();
        registry.requireBasic(basic("me", CANARY));
        use(
                QUICK.withCredentials(
                        CredentialSource.anonymous().orElse(CredentialSource.file(file))));
        e = assertFails(ErrorKind.UNAUTHENTICATED, () -> client.resolve(reference("app:1")));
        assertTrue(
                e.getMessage()
                        .endsWith(
                                " is wrong (HTTP 401 from %s); asked as user me, from %s; log in again"
                                        .formatted(registry.authority(), file)),
                e.getMessage());
        // A name alone may be a token.
        Credentials alone = new Credentials.Login(CANARY, "");
        use(QUICK.withCredentials(CredentialSource.of(registry.authority(), alone)));
        e = assertFails(ErrorKind.UNAUTHENTICATED, () -> client.resolve(reference("app:1")));
        assertTrue(e.getMessage().contains("asked as a user without a password"), e.getMessage());
        assertFalse(e.getMessage().contains(CANARY), e.getMessage());
    }

    /// Counts how often it is asked, and keeps the credentials in another place each time.
    private static final class Counting implements CredentialSource {
        private int asked;

        @Override
        public Optional<Credentials> find(String authority, String repository) {
            return locate(authority, repository).map(Logins.Found::credentials);
        }

        @Override
        public Optional<Logins.Found> locate(String authority, String repository) {
            asked++;
            return Optional.of(
                    new Logins.Found(new Credentials.Login("user", CANARY), "place " + asked));
        }
    }

    private void assertAskedOnce(ErrorKind kind) {
        Counting source = new Counting();
        use(QUICK.withCredentials(source));
        ImageException e = assertFails(kind, () -> client.resolve(reference("app:1")));
        assertTrue(e.getMessage().contains("asked as user user, from place 1"), e.getMessage());
        assertEquals(1, source.asked);
    }

    /// Credentials may come from a program, which may ask the user or take its time: it is run for
    /// the request, and not again to say whose they were.
    @Test
    void refusal_ofAnyKind_asksForNoCredentialsAgain() {
        pushImage();
        registry.requireBasic(basic("other", CANARY));
        assertAskedOnce(ErrorKind.UNAUTHENTICATED);
        registry.requireBasic(basic("user", CANARY));
        registry.always("/manifests/", Fault.error(403, "DENIED", "not you"));
        assertAskedOnce(ErrorKind.PERMISSION_DENIED);
        registry.behave();
        registry.requireNever(
                "Bearer realm=\"" + tokens.realm() + "\",error=\"insufficient_scope\"");
        assertAskedOnce(ErrorKind.UNAUTHENTICATED);
        registry.requireToken(tokens);
        for (int status : List.of(401, 403, 422)) {
            tokens.answer(exchange -> exchange.respond(status, Map.of(), new byte[0]));
            assertAskedOnce(
                    status == 403 ? ErrorKind.PERMISSION_DENIED : ErrorKind.UNAUTHENTICATED);
        }
    }

    /// The registry is asked as `localhost`, and names itself by its address.
    @Test
    void realm_thisHostByAnotherName_receivesTheCredentials() throws Exception {
        TestImage image = pushImage();
        int port = registry.port();
        registry.requireToken(tokens, "http://127.0.0.1:" + port + "/token");
        registry.always("/token", Fault.redirect(307, tokens.realm()));
        use(QUICK.withCredentials(login()));
        pull(image);
        assertTrue(
                registry.accessLog().stream()
                        .filter(access -> access.path().equals("/token"))
                        .anyMatch(
                                access ->
                                        access.header("authorization")
                                                .equals(Optional.of(basic("user", CANARY)))));
    }

    @Test
    void realm_otherHost_receivesNoCredentials() throws Exception {
        TestImage image = pushImage();
        // Another name for the same server: not the registry's domain.
        String realm = tokens.realm().replace("localhost", "127.0.0.1");
        registry.requireToken(tokens, realm);
        use(QUICK.withCredentials(login()));

        ImageException e =
                assertFails(ErrorKind.UNAUTHENTICATED, () -> client.resolve(reference("app:1")));
        assertTrue(e.getMessage().contains("registry.realm_allow"), e.getMessage());
        assertEquals(List.of(), tokens.requests());

        use(QUICK.withCredentials(login()).withRealmAllow(Set.of("127.0.0.1")));
        pull(image);
        assertTrue(tokens.requests().getFirst().form().contains("password=" + CANARY));

        use(QUICK);
        pull(image);
        assertEquals(Optional.empty(), tokens.requests().getLast().authorization());
        assertFalse(tokens.requests().getLast().form().contains(CANARY));
    }

    @Test
    void realm_redirectsToAnotherHost_losesTheCredentials() throws Exception {
        TestImage image = pushImage();
        try (TokenServer front = TokenServer.start()) {
            String target = tokens.realm().replace("localhost", "127.0.0.1");
            front.answer(
                    exchange -> exchange.respond(307, Map.of("Location", target), new byte[0]));
            registry.requireToken(tokens, front.realm());
            use(QUICK.withCredentials(login()));

            pull(image);

            assertTrue(front.requests().getLast().authorization().isPresent());
            assertEquals(1, tokens.requests().size(), "a POST is not redirected");
            assertEquals(Optional.empty(), tokens.requests().getFirst().authorization());

            front.answer(
                    exchange ->
                            exchange.respond(
                                    307,
                                    Map.of("Location", "http://169.254.169.254/"),
                                    new byte[0]));
            use(QUICK.withCredentials(login()));
            assertFails(ErrorKind.UNAVAILABLE, () -> client.resolve(reference("app:1")));
        }
    }

    @Test
    void realm_redirectsAPost_isNotFollowed() throws Exception {
        pushImage();
        tokens.answer(
                exchange -> exchange.respond(307, Map.of("Location", tokens.realm()), new byte[0]));
        registry.requireToken(tokens);
        use(
                QUICK.withCredentials(
                        CredentialSource.of(
                                registry.authority(), new Credentials.IdentityToken(CANARY))));
        assertFails(ErrorKind.UNAUTHENTICATED, () -> client.resolve(reference("app:1")));
        assertEquals(1, tokens.requests().size());
    }

    @Test
    void tokenServer_endlessAnswer_isCutOff() {
        pushImage();
        registry.requireToken(tokens);
        tokens.answer(
                exchange -> {
                    try (OutputStream out = exchange.respond(200, Map.of(), -1)) {
                        byte[] spaces = " ".repeat(64 << 10).getBytes(StandardCharsets.US_ASCII);
                        while (true) {
                            out.write(spaces);
                        }
                    }
                });
        assertFails(ErrorKind.LIMIT_EXCEEDED, () -> client.resolve(reference("app:1")));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "{}",
                "garbage",
                "{\"token\":\"" + CANARY + "\\r\\nX: y\"}",
                "{\"token\":\"" + CANARY + "\",\"token\":\"b\"}",
            })
    void tokenServer_senselessAnswer_isReportedWithoutIt(String answer) {
        pushImage();
        registry.requireToken(tokens);
        tokens.answer(
                exchange ->
                        exchange.respond(200, Map.of(), answer.getBytes(StandardCharsets.UTF_8)));
        ImageException e =
                assertFails(
                        answer.contains("\\r") || answer.equals("{}")
                                ? ErrorKind.UNAUTHENTICATED
                                : ErrorKind.INVALID_CONTENT,
                        () -> client.resolve(reference("app:1")));
        assertFalse(e.getMessage().contains(CANARY), e.getMessage());
    }

    @Test
    void tokenServer_failsForAWhile_isRetried() throws Exception {
        TestImage image = pushImage();
        registry.requireToken(tokens);
        try (TokenServer broken = TokenServer.start()) {
            broken.answer(
                    exchange -> {
                        boolean still = broken.requests().size() < 3;
                        exchange.respond(
                                still ? 503 : 307, Map.of("Location", tokens.realm()), new byte[0]);
                    });
            registry.requireToken(tokens, broken.realm());
            pull(image);
            assertEquals(3, broken.requests().size());
        }
    }

    @Test
    void headersOfAHost_stayWithTheRegistry() throws Exception {
        TestImage image = pushImage();
        registry.requireToken(tokens);
        RegistryHost host =
                new RegistryHost(
                        RegistryHost.Scheme.HTTP,
                        registry.authority(),
                        "/v2",
                        Set.of(Capability.values()),
                        Map.of("X-Canary", List.of(CANARY)),
                        TlsSettings.SYSTEM);
        use(QUICK.withHosts(_ -> List.of(host)));
        tokens.answer(
                exchange -> {
                    assertEquals(Optional.empty(), exchange.header("X-Canary"));
                    exchange.respond(
                            200, Map.of(), "{\"token\":\"t\"}".getBytes(StandardCharsets.UTF_8));
                });
        assertFails(ErrorKind.UNAUTHENTICATED, () -> client.resolve(reference("app:1")));
        assertEquals(Optional.of(CANARY), registry.accessLog().getFirst().header("x-canary"));
        assertEquals(1, tokens.requests().size());
        assertEquals(1, image.layers().size());
    }

    /// Plants secrets everywhere, makes everything fail and searches what people would see.
    @Test
    void secrets_everyFailure_areNowhere() throws Exception {
        pushImage();
        List<CredentialSource> sources =
                List.of(
                        login(),
                        CredentialSource.of(
                                registry.authority(), new Credentials.IdentityToken(CANARY)),
                        CredentialSource.of(
                                registry.authority(), new Credentials.RegistryToken(CANARY)),
                        CredentialSource.of(
                                registry.authority(),
                                new Credentials.RegistryToken(CANARY + "\r\nX: y")));
        List<Fault> faults =
                List.of(
                        Fault.error(401, "UNAUTHORIZED", "no"),
                        Fault.error(403, "DENIED", "no"),
                        Fault.error(500, "OOPS", "no"),
                        Fault.reset(),
                        Fault.redirect(307, "https://u:" + CANARY + "@h/?sig=" + CANARY),
                        Fault.redirect(307, "http://localhost:1/x?sig=" + CANARY),
                        Fault.redirect(307, "::" + CANARY.length() + "?sig=" + CANARY));
        StringBuilder seen = new StringBuilder();
        Logger root = (Logger) LoggerFactory.getLogger(Logger.ROOT_LOGGER_NAME);
        ListAppender<ILoggingEvent> logged = new ListAppender<>();
        logged.start();
        root.addAppender(logged);
        root.setLevel(Level.TRACE);
        for (CredentialSource source : sources) {
            RegistryOptions options = QUICK.withCredentials(source);
            seen.append(options);
            for (Fault fault : faults) {
                for (boolean atTokens : new boolean[] {true, false}) {
                    registry.behave();
                    registry.always("/manifests/", fault);
                    if (atTokens) {
                        registry.requireToken(tokens);
                        tokens.answer(exchange -> fault.handle(exchange, new byte[0], _ -> {}));
                    } else {
                        registry.requireBasic(basic("user", CANARY));
                    }
                    collect(options, seen);
                }
            }
        }
        root.detachAppender(logged);
        assertFalse(logged.list.isEmpty(), "nothing was logged");
        for (ILoggingEvent event : logged.list) {
            seen.append(event.getFormattedMessage());
        }
        String encoded = basic("user", CANARY).substring(6);
        assertFalse(seen.toString().contains(CANARY), "a secret was shown");
        assertFalse(seen.toString().contains(encoded), "an encoded secret was shown");
        assertTrue(seen.length() > 1000);
    }

    private void collect(RegistryOptions options, StringBuilder seen) throws ImageException {
        Reference reference = reference("app:1");
        try (RegistryClient one = RegistryClient.create(options)) {
            one.resolve(reference);
        } catch (ImageException e) {
            StringWriter trace = new StringWriter();
            e.printStackTrace(new PrintWriter(trace));
            seen.append(trace);
        }
    }
}
