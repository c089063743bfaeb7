package dev.imgd.registry;

import dev.imgd.hosts.RegistryHost;
import dev.imgd.hosts.TlsSettings;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.RegistryException;
import dev.imgd.model.Text;
import java.io.IOException;
import java.time.Duration;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.ReentrantLock;
import okhttp3.Call;
import okhttp3.FormBody;
import okhttp3.HttpUrl;
import okhttp3.Request;
import okhttp3.Response;
import okio.Buffer;
import okio.BufferedSource;
import org.jspecify.annotations.Nullable;

/// Answers the challenges of one host: remembers how it wants to be asked, and one token per scope.
///
/// Tokens are fetched once for all threads that want the same one. The scope is what we need and
/// never what the registry asks for. Secrets are in no message. Safe for use by many threads.
final class Authorizer {
    private static final int MAX_SCOPES = 1_000;

    /// For the whole answer of a token server, where requests may not take longer than that anyway.
    private static final Duration TOKEN_DEADLINE = Duration.ofSeconds(10);

    /// How the host wants to be asked.
    private sealed interface Scheme {
        record Basic() implements Scheme {}

        record Bearer(HttpUrl realm, String service) implements Scheme {}
    }

    /// A refresh token that the token server gave for another one, which may be void since.
    private record Rotation(String from, String to) {}

    /// Whose credentials were used, to say so when they are refused: to find them again could mean
    /// to run a program, and to find others.
    private record Asker(String who, boolean withRegistryToken) {
        static final Asker NOBODY = new Asker("", false);

        boolean isNobody() {
            return who.isEmpty();
        }

        static Asker of(Logins.Found found) {
            return new Asker(found.who(), found.credentials() instanceof Credentials.RegistryToken);
        }
    }

    /// The token of one scope; the lock is held while it is fetched.
    private static final class Slot {
        final ReentrantLock lock = new ReentrantLock();
        volatile @Nullable Token token;

        /// What the registry missed last; some token servers honour only the scope they read first.
        volatile String missed = "";
    }

    private final RegistryHost host;
    private final RegistryOptions options;
    private final Connections connections;
    private final RetryPolicy retries;
    private final Realm realms;
    private final ConcurrentHashMap<String, Slot> slots = new ConcurrentHashMap<>();

    /// As whom was asked for what is in a repository.
    private final Recent<String, Asker> askers = new Recent<>(MAX_SCOPES);

    private volatile @Nullable Scheme scheme;
    private volatile @Nullable Rotation rotation;

    /// Set when the token server does not know the POST form for user names and passwords.
    private volatile boolean passwordsByGet;

    private volatile @Nullable GuardedDns dns;

    Authorizer(
            RegistryHost host,
            HttpUrl url,
            RegistryOptions options,
            Connections connections,
            RetryPolicy retries) {
        this.host = host;
        this.options = options;
        this.connections = connections;
        this.retries = retries;
        this.realms = new Realm(url, options.realmAllow());
    }

    /// The `Authorization` header for what the scope says, or null when the host has not asked for
    /// any.
    @Nullable String header(Scope scope, Operation operation) throws ImageException {
        Scheme known = scheme;
        // Asked before the switch, which costs milliseconds when it is first used.
        if (known == null) {
            return null;
        }
        return switch (known) {
            case Scheme.Basic() -> basic(scope.repository());
            case Scheme.Bearer bearer -> bearer(bearer, scope, operation);
        };
    }

    /// Takes note of a 401, so that the next [#header] answers it.
    ///
    /// @param challenges the `WWW-Authenticate` headers
    /// @param used the header that was not good enough, or null
    /// @return whether there is an answer
    boolean challenged(List<String> challenges, Scope scope, @Nullable String used)
            throws ImageException {
        List<Challenge> parsed = Challenge.parse(challenges, host.authority(), options.limits());
        Scheme wanted = choose(parsed);
        if (wanted == null) {
            return false;
        }
        scheme = wanted;
        if (used != null && wanted instanceof Scheme.Bearer) {
            noteMissed(parsed, scope);
        }
        return switch (wanted) {
            case Scheme.Basic() -> used == null;
            case Scheme.Bearer _ -> {
                forget(scope, used);
                yield true;
            }
        };
    }

    private @Nullable Scheme choose(List<Challenge> challenges) throws ImageException {
        for (Challenge challenge : challenges) {
            if (challenge.scheme().equals("bearer")) {
                String realm = challenge.parameters().get("realm");
                if (realm == null) {
                    throw new ImageException(
                            ErrorKind.UNAUTHENTICATED,
                            host.authority() + ": cannot authenticate: the challenge has no realm");
                }
                return new Scheme.Bearer(
                        realms.check(realm, near()),
                        challenge.parameters().getOrDefault("service", ""));
            }
        }
        for (Challenge challenge : challenges) {
            if (challenge.scheme().equals("basic")) {
                return new Scheme.Basic();
            }
        }
        return null;
    }

    private Duration tokenDeadline() {
        Duration headers = options.headerTimeout();
        return headers.compareTo(TOKEN_DEADLINE) < 0 ? headers : TOKEN_DEADLINE;
    }

    /// How far away the registry is; unknown counts as far.
    private AddressRange near() {
        return connections.reached(realms.registry());
    }

    /// What the registry wants more counts only for the order: what is asked for is what we need.
    private void noteMissed(List<Challenge> challenges, Scope scope) {
        Slot slot = slots.get(scope.key());
        for (Challenge challenge : challenges) {
            String error = challenge.parameters().getOrDefault("error", "");
            if (slot != null
                    && challenge.scheme().equals("bearer")
                    && error.equals("insufficient_scope")) {
                slot.missed = challenge.parameters().getOrDefault("scope", "");
            }
        }
    }

    private void forget(Scope scope, @Nullable String used) {
        Slot slot = slots.get(scope.key());
        if (slot == null || used == null) {
            return;
        }
        Token token = slot.token;
        // Another thread may have replaced it since this one was sent.
        if (token != null && used.equals("Bearer " + token.value())) {
            slot.token = null;
        }
    }

    private @Nullable String basic(String repository) throws ImageException {
        return switch (credentials(repository)) {
            case Credentials.Login login -> login.basicHeader();
            case Credentials.RegistryToken(String token) -> "Bearer " + checked(token);
            case Credentials.IdentityToken _, Credentials.Anonymous _ -> null;
            case null -> null;
        };
    }

    private String bearer(Scheme.Bearer bearer, Scope scope, Operation operation)
            throws ImageException {
        if (slots.size() > MAX_SCOPES) {
            slots.values().removeIf(slot -> !slot.lock.isLocked() && !usable(slot.token));
        }
        Slot slot = slots.computeIfAbsent(scope.key(), _ -> new Slot());
        Token token = slot.token;
        if (token != null && usable(token)) {
            return "Bearer " + token.value();
        }
        String what = what(scope);
        try {
            slot.lock.lockInterruptibly();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new ImageException(ErrorKind.CANCELLED, what + ": cancelled", e);
        }
        try {
            token = slot.token;
            if (token == null || !usable(token)) {
                token = fetch(bearer, scope, scope.values(slot.missed), what, operation);
                slot.token = token;
            }
            return "Bearer " + token.value();
        } finally {
            slot.lock.unlock();
        }
    }

    private boolean usable(@Nullable Token token) {
        return token != null && options.clock().instant().isBefore(token.expires());
    }

    private @Nullable Credentials credentials(String repository) throws ImageException {
        Optional<Logins.Found> found =
                options.credentials()
                        .locate(credentialKey(), repository)
                        .filter(f -> !(f.credentials() instanceof Credentials.Anonymous));
        askers.replace(repository, found.map(Asker::of).orElse(Asker.NOBODY));
        return found.map(Logins.Found::credentials).orElse(null);
    }

    private String credentialKey() {
        return host.authority().equals("registry-1.docker.io") ? "docker.io" : host.authority();
    }

    /// As whom was asked last for what the scope says.
    private Asker asker(Scope scope) {
        Asker known = askers.get(scope.repository());
        return known == null ? Asker.NOBODY : known;
    }

    private String what(Scope scope) {
        return "token of " + host.authority() + " to " + scope.purpose();
    }

    private String checked(String token) throws ImageException {
        Token.check("registry token for " + host.authority(), token, options.limits());
        return token;
    }

    /// @param scopes of the request, the most important first
    private Token fetch(
            Scheme.Bearer bearer,
            Scope scope,
            List<String> scopes,
            String what,
            Operation operation)
            throws ImageException {
        Credentials credentials = credentials(scope.repository());
        if (credentials instanceof Credentials.RegistryToken(String token)) {
            return new Token(checked(token), options.clock().instant(), "");
        }
        if (credentials != null && !realms.mayReceiveCredentials(bearer.realm())) {
            throw realms.foreign(bearer.realm());
        }
        for (int failures = 0; ; ) {
            long delay;
            try {
                return fetchOnce(bearer, scope, scopes, what, credentials, operation);
            } catch (RetryLater e) {
                if (++failures >= retries.attempts()) {
                    throw e.failure;
                }
                delay = retries.delayMillis(failures, e.retryAfter);
            } catch (ImageException e) {
                throw e;
            } catch (IOException e) {
                operation.check(what, e);
                TransportFailure failure =
                        isOwn(bearer.realm())
                                ? TransportFailure.of(e)
                                : TransportFailure.elsewhere(e);
                if (++failures >= Math.min(retries.attempts(), failure.attempts())) {
                    String server = "the token server " + Urls.authority(bearer.realm());
                    throw failure.exception(what, server, e);
                }
                delay = retries.delayMillis(failures, null);
            }
            operation.pause(delay, what);
        }
    }

    private Token fetchOnce(
            Scheme.Bearer bearer,
            Scope scope,
            List<String> scopes,
            String what,
            @Nullable Credentials credentials,
            Operation operation)
            throws IOException {
        if (credentials instanceof Credentials.IdentityToken(String original)) {
            return refresh(bearer, scope, scopes, what, original, operation);
        }
        if (credentials instanceof Credentials.Login login && !passwordsByGet) {
            FormBody.Builder form =
                    form(bearer, scopes, "password")
                            .add("username", login.username())
                            .add("password", login.password());
            Request request = request(bearer.realm()).post(form.build()).build();
            try {
                return send(what, scope, request, operation);
            } catch (NoSuchForm e) {
                // Or the password is wrong, which a GET tells.
            }
            Token token = send(what, scope, get(bearer, scopes, credentials), operation);
            passwordsByGet = true;
            return token;
        }
        return send(what, scope, get(bearer, scopes, credentials), operation);
    }

    private Token refresh(
            Scheme.Bearer bearer,
            Scope scope,
            List<String> scopes,
            String what,
            String original,
            Operation operation)
            throws IOException {
        Rotation known = rotation;
        String current = known != null && known.from.equals(original) ? known.to : original;
        FormBody.Builder form = form(bearer, scopes, "refresh_token").add("refresh_token", current);
        Request request = request(bearer.realm()).post(form.build()).build();
        Token token = send(what, scope, request, operation);
        if (!token.refreshToken().isEmpty()) {
            rotation = new Rotation(original, token.refreshToken());
        }
        return token;
    }

    private static FormBody.Builder form(
            Scheme.Bearer bearer, List<String> scopes, String grantType) {
        FormBody.Builder form =
                new FormBody.Builder().add("grant_type", grantType).add("client_id", "imgd");
        if (!scopes.isEmpty()) {
            form.add("scope", String.join(" ", scopes));
        }
        if (!bearer.service().isEmpty()) {
            form.add("service", bearer.service());
        }
        return form;
    }

    private Request get(
            Scheme.Bearer bearer, List<String> scopes, @Nullable Credentials credentials) {
        HttpUrl.Builder url = bearer.realm().newBuilder();
        if (!bearer.service().isEmpty()) {
            url.addQueryParameter("service", bearer.service());
        }
        scopes.forEach(value -> url.addQueryParameter("scope", value));
        Request.Builder request = request(url.build());
        if (credentials instanceof Credentials.Login login) {
            request.header("Authorization", login.basicHeader());
        }
        return request.build();
    }

    private Request.Builder request(HttpUrl url) {
        Request.Builder request =
                new Request.Builder().url(url).header("User-Agent", options.userAgent());
        if (Urls.sameOrigin(url, realms.registry())) {
            Endpoint.addHeaders(request, host);
        }
        return request.header("Accept", "application/json").header("Accept-Encoding", "identity");
    }

    /// Sends the request, following redirects of a GET within the rules for realms. The registry's
    /// own extra headers are for the registry: only a token server at its own address gets them.
    private Token send(String what, Scope scope, Request first, Operation operation)
            throws IOException {
        Request request = first;
        for (int hops = 0; ; hops++) {
            Call call =
                    client(what, request.url())
                            .newCall(RequestLog.noted(request, host.authority(), what, operation));
            operation.watch(call);
            try (Deadline deadline = Deadline.start(call, tokenDeadline())) {
                try (Response response = call.execute()) {
                    String from = Urls.authority(request.url());
                    Endpoint.checkHeaders(what, from, call, response, options.limits());
                    if (Urls.isRedirect(response.code()) && request.method().equals("GET")) {
                        if (hops == options.limits().redirects()) {
                            throw Urls.tooManyRedirects(what, request.url(), options.limits());
                        }
                        request = redirected(what, first, request, response);
                        continue;
                    }
                    return token(what, scope, request, response);
                } catch (ImageException | RetryLater | NoSuchForm e) {
                    throw e;
                } catch (IOException e) {
                    HttpUrl url = request.url();
                    throw deadline.explain(
                            request.isHttps()
                                    ? OwnCertificateException.explain(
                                            e,
                                            connections.shown(tls(url), url),
                                            options.clock().instant())
                                    : e);
                }
            }
        }
    }

    private okhttp3.OkHttpClient client(String what, HttpUrl url) throws ImageException {
        AddressRange near = near();
        GuardedDns guarded = dns;
        if (guarded == null || guarded.near() != near) {
            guarded = realms.dns(near);
            dns = guarded;
        }
        return connections.client(what, url.isHttps(), tls(url)).newBuilder().dns(guarded).build();
    }

    private TlsSettings tls(HttpUrl url) {
        return isOwn(url) ? host.tls() : TlsSettings.SYSTEM;
    }

    /// Whether a token server is where the registry is, so that its settings are for both.
    private boolean isOwn(HttpUrl url) {
        return url.host().equals(realms.registry().host()) || realms.sameServer(url);
    }

    private Request redirected(String what, Request first, Request current, Response response)
            throws ImageException {
        HttpUrl next = Urls.redirectTarget(what, first.url(), current.url(), response);
        realms.check(next, near());
        Request.Builder request = current.newBuilder().url(next);
        if (!Urls.sameOrigin(next, current.url())) {
            host.headers().keySet().forEach(request::removeHeader);
            request.removeHeader("Authorization");
            request.header("User-Agent", options.userAgent());
        }
        return request.build();
    }

    private Token token(String what, Scope scope, Request request, Response response)
            throws IOException {
        String from = Urls.authority(request.url());
        if (!response.isSuccessful()) {
            if (isPasswordForm(request) && NoSuchForm.isLikely(response.code())) {
                throw new NoSuchForm();
            }
            throw noToken(what, scope, request, response);
        }
        BufferedSource source = response.body().source();
        if (source.request(options.limits().tokenAnswerBytes() + 1L)) {
            throw options.limits()
                    .exceeded(
                            Limits.Key.TOKEN_ANSWER_BYTES,
                            "%s: answer of %s".formatted(what, from));
        }
        Buffer body = source.getBuffer();
        return Token.parse(
                what + ": answer of " + from,
                body.readByteArray(),
                options.clock().instant(),
                options.limits());
    }

    /// What an answer of a token server means that holds no token.
    private IOException noToken(String what, Scope scope, Request request, Response response) {
        int status = response.code();
        String from = "the token server " + Urls.authority(request.url());
        ErrorBody.Wording wording;
        if (RetryPolicy.isTransient(status)) {
            String meaning = status == 429 ? null : "the token server failed";
            wording = new ErrorBody.Wording(meaning, null, status == 429 ? null : "");
            return new RetryLater(
                    ErrorBody.exception(what, from, response, options, false, wording),
                    response.header("Retry-After"));
        }
        if (status == 401 && request.header("Authorization") != null) {
            return refusedLogin(what, scope, from, 401);
        }
        if (isRefresh(request) && (status == 400 || status == 401 || status == 403)) {
            wording =
                    new ErrorBody.Wording(
                            "the identity token is no longer good, or never was",
                            ErrorKind.UNAUTHENTICATED,
                            asked(scope, "") + again(scope));
        } else if (status == 401 || status == 403) {
            wording = denied(scope, !asker(scope).isNobody());
        } else if (status == 404 || status == 405 || status == 410 || status / 100 != 4) {
            from = Urls.printable(request.url());
            wording =
                    new ErrorBody.Wording(
                            "there is no token server",
                            ErrorKind.UNAUTHENTICATED,
                            "; the registry %s names it as its realm, which is for who runs the registry to mend"
                                    .formatted(host.authority()));
        } else {
            wording =
                    new ErrorBody.Wording("no token", ErrorKind.UNAUTHENTICATED, asked(scope, ""));
        }
        return ErrorBody.exception(what, from, response, options, false, wording);
    }

    /// What is known of a 401 that nothing answers: why the token is refused that was issued a
    /// moment ago, or why there is none. **Source:** RFC 6750 § 3.1.
    ///
    /// @param headers the `WWW-Authenticate` headers
    /// @param authorized whether the request had an `Authorization` header
    ErrorBody.Wording refused(Scope scope, List<String> headers, boolean authorized)
            throws ImageException {
        if (headers.isEmpty()) {
            return ErrorBody.Wording.advice(
                    "; it does not say how to authenticate (no WWW-Authenticate header)%s: check its address, and what stands before it"
                            .formatted(authorized ? "" : ", so no credentials were sent"));
        }
        List<Challenge> challenges = Challenge.parse(headers, host.authority(), options.limits());
        if (choose(challenges) == null) {
            return ErrorBody.Wording.advice(
                    "; it offers %s to authenticate with, and imgd speaks Basic and Bearer: enable one of these in the registry, or before it"
                            .formatted(schemes(challenges)));
        }
        return authorized && scheme instanceof Scheme.Bearer bearer
                ? refusedToken(bearer, scope, challenges)
                : ErrorBody.Wording.USUAL;
    }

    private static String schemes(List<Challenge> challenges) {
        Set<String> names = new LinkedHashSet<>();
        for (Challenge challenge : challenges) {
            names.add(
                    switch (challenge.scheme()) {
                        case "negotiate" -> "Negotiate";
                        case "ntlm" -> "NTLM";
                        case "digest" -> "Digest";
                        default -> Text.printable(challenge.scheme(), 40);
                    });
        }
        return names.isEmpty() ? "nothing" : "only " + String.join(", ", names);
    }

    private ErrorBody.Wording refusedToken(
            Scheme.Bearer bearer, Scope scope, List<Challenge> challenges) {
        Set<String> errors = new LinkedHashSet<>();
        for (Challenge challenge : challenges) {
            String error = challenge.parameters().get("error");
            if (error != null) {
                errors.add(error);
            }
        }
        Asker asker = asker(scope);
        if (asker.withRegistryToken) {
            return ErrorBody.Wording.advice(
                    "; the token for %s is no longer good, or never was%s%s"
                            .formatted(host.authority(), asked(scope, ""), again(scope)));
        }
        String server = Urls.authority(bearer.realm());
        if (errors.contains("invalid_token")) {
            return ErrorBody.Wording.advice(
                    "; it takes no tokens of its token server %s (invalid_token): it does not trust who signs them, or the clocks differ; that is for who runs the registry to mend"
                            .formatted(server));
        }
        StringBuilder advice = new StringBuilder("; it refuses the token that its token server ");
        advice.append(server).append(" gave");
        if (errors.contains("insufficient_scope")) {
            advice.append(", which allows too little (insufficient_scope)");
        }
        advice.append(asked(scope, ""));
        if (bearer.service().isEmpty()) {
            advice.append("; its challenge names no service, which a token must be for with many")
                    .append(" token servers: that is for who runs the registry to mend");
        } else if (asker.isNobody()) {
            advice.append("; log in, or check that the repository exists");
        } else if (!scope.isLogin()) {
            advice.append("; check that this account may ").append(scope.purpose());
            advice.append(", and that it exists");
        }
        return ErrorBody.Wording.advice(advice.toString());
    }

    /// What is known of a 403.
    ///
    /// @param authorized whether credentials were used
    ErrorBody.Wording denied(Scope scope, boolean authorized) {
        String advice = asked(scope, "without credentials");
        return ErrorBody.Wording.advice(
                authorized
                        ? advice + "; check that this account may " + scope.purpose()
                        : advice + "; log in with an account that may " + scope.purpose());
    }

    /// As whom the host was asked.
    ///
    /// @param nobody what to say where there are no credentials; empty for nothing
    private String asked(Scope scope, String nobody) {
        Asker asker = asker(scope);
        String who = asker.isNobody() ? nobody : asker.who;
        return who.isEmpty() ? "" : "; asked " + who;
    }

    /// Why there is nothing to answer a wish for a password with.
    String noPassword(String repository) {
        Asker asker = asker(Scope.login(repository));
        return asker.isNobody()
                ? "there are none for it"
                : "it was to be asked " + asker.who + ", which is none";
    }

    /// @param from who refused the user name and the password
    RegistryException refusedLogin(String what, Scope scope, String from, int status) {
        return new RegistryException(
                ErrorKind.UNAUTHENTICATED,
                "%s: the user name or the password for %s is wrong (HTTP %d from %s)%s%s"
                        .formatted(
                                what,
                                host.authority(),
                                status,
                                from,
                                asked(scope, ""),
                                again(scope)),
                status,
                List.of(),
                null);
    }

    /// Advice that who is logging in needs not.
    private static String again(Scope scope) {
        return scope.isLogin() ? "" : "; log in again";
    }

    private static boolean isRefresh(Request request) {
        return request.body() instanceof FormBody form && form.value(0).equals("refresh_token");
    }

    private static boolean isPasswordForm(Request request) {
        return request.body() instanceof FormBody form && form.value(0).equals("password");
    }

    /// The token server did not take the POST with a user name and a password. Many know only GET
    /// and refuse it in one way or another.
    private static final class NoSuchForm extends IOException {
        static boolean isLikely(int status) {
            return Urls.isRedirect(status)
                    || status == 501
                    || (status >= 400 && status < 500 && !RetryPolicy.isTransient(status));
        }
    }

    /// A failure that may go away.
    private static final class RetryLater extends IOException {
        final transient ImageException failure;
        final @Nullable String retryAfter;

        RetryLater(ImageException failure, @Nullable String retryAfter) {
            super(failure);
            this.failure = failure;
            this.retryAfter = retryAfter;
        }
    }
}
