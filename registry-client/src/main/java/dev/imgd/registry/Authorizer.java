package dev.imgd.registry;

import dev.imgd.hosts.RegistryHost;
import dev.imgd.hosts.TlsSettings;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;

import okhttp3.Call;
import okhttp3.FormBody;
import okhttp3.HttpUrl;
import okhttp3.Request;
import okhttp3.Response;

import okio.Buffer;
import okio.BufferedSource;

import org.jspecify.annotations.Nullable;

import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.ReentrantLock;

/// Answers the challenges of one host: remembers how it wants to be asked, and one token per scope.
///
/// Tokens are fetched once for all threads that want the same one. The scope is what we need and
/// never what the registry asks for. Secrets are in no message. Safe for use by many threads.
final class Authorizer {
    private static final long MAX_ANSWER_BYTES = 1 << 20;
    private static final int MAX_SCOPES = 1_000;

    /// For the whole answer of a token server, where requests may not take longer than that anyway.
    private static final Duration TOKEN_DEADLINE = Duration.ofSeconds(10);

    /// How the host wants to be asked.
    private sealed interface Scheme {
        record Basic() implements Scheme {}

        record Bearer(HttpUrl realm, String service) implements Scheme {}
    }

    /// The token of one scope; the lock is held while it is fetched.
    private static final class Slot {
        final ReentrantLock lock = new ReentrantLock();
        volatile @Nullable Token token;
    }

    private final RegistryHost host;
    private final RegistryOptions options;
    private final Connections connections;
    private final RetryPolicy retries;
    private final Realm realms;
    private final ConcurrentHashMap<String, Slot> slots = new ConcurrentHashMap<>();
    private volatile @Nullable Scheme scheme;
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
    @Nullable String header(Scope scope, Cancellation cancellation) throws ImageException {
        Scheme known = scheme;
        // Asked before the switch, which costs milliseconds when it is first used.
        if (known == null) {
            return null;
        }
        return switch (known) {
            case Scheme.Basic() -> basic(scope.repository());
            case Scheme.Bearer bearer -> bearer(bearer, scope, cancellation);
        };
    }

    /// Takes note of a 401, so that the next [#header] answers it.
    ///
    /// @param challenges the `WWW-Authenticate` headers
    /// @param used the header that was not good enough, or null
    /// @return whether there is an answer
    boolean challenged(List<String> challenges, Scope scope, @Nullable String used)
            throws ImageException {
        Scheme wanted = choose(Challenge.parse(challenges, host.authority()));
        if (wanted == null) {
            return false;
        }
        scheme = wanted;
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
                        realms.check(realm, near()), challenge.parameters().getOrDefault("service", ""));
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
            case Credentials.IdentityToken _ -> null;
            case null -> null;
        };
    }

    private String bearer(Scheme.Bearer bearer, Scope scope, Cancellation cancellation)
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
                token = fetch(bearer, scope, what, cancellation);
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
        String key =
                host.authority().equals("registry-1.docker.io") ? "docker.io" : host.authority();
        Optional<Credentials> found = options.credentials().find(key, repository);
        return found.orElse(null);
    }

    private String what(Scope scope) {
        return "token of " + host.authority() + " to " + scope.purpose();
    }

    private String checked(String token) throws ImageException {
        Token.check("registry token for " + host.authority(), token);
        return token;
    }

    private Token fetch(
            Scheme.Bearer bearer, Scope scope, String what, Cancellation cancellation)
            throws ImageException {
        Credentials credentials = credentials(scope.repository());
        if (credentials instanceof Credentials.RegistryToken(String token)) {
            return new Token(checked(token), options.clock().instant());
        }
        if (credentials != null && !realms.mayReceiveCredentials(bearer.realm())) {
            throw realms.foreign(bearer.realm());
        }
        for (int failures = 0; ; ) {
            long delay;
            try {
                Request request =
                        credentials instanceof Credentials.IdentityToken(String refresh)
                                ? post(bearer, scope, refresh)
                                : get(bearer, scope, credentials);
                return send(what, request, cancellation);
            } catch (RetryLater e) {
                if (++failures >= retries.attempts()) {
                    throw e.failure;
                }
                delay = retries.delayMillis(failures, e.retryAfter);
            } catch (ImageException e) {
                throw e;
            } catch (IOException e) {
                cancellation.check(what, e);
                TransportFailure failure = TransportFailure.of(e);
                if (++failures >= Math.min(retries.attempts(), failure.attempts())) {
                    throw failure.exception(what, Urls.authority(bearer.realm()), e);
                }
                delay = retries.delayMillis(failures, null);
            }
            cancellation.pause(delay, what);
        }
    }

    private Request get(Scheme.Bearer bearer, Scope scope, @Nullable Credentials credentials) {
        HttpUrl.Builder url = bearer.realm().newBuilder();
        if (!bearer.service().isEmpty()) {
            url.addQueryParameter("service", bearer.service());
        }
        scope.values().forEach(value -> url.addQueryParameter("scope", value));
        Request.Builder request = request(url.build());
        if (credentials instanceof Credentials.Login login) {
            request.header("Authorization", login.basicHeader());
        }
        return request.build();
    }

    private Request post(Scheme.Bearer bearer, Scope scope, String refreshToken) {
        FormBody.Builder form =
                new FormBody.Builder()
                        .add("grant_type", "refresh_token")
                        .add("client_id", "imgd")
                        .add("scope", String.join(" ", scope.values()))
                        .add("refresh_token", refreshToken);
        if (!bearer.service().isEmpty()) {
            form.add("service", bearer.service());
        }
        return request(bearer.realm()).post(form.build()).build();
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
    private Token send(String what, Request first, Cancellation cancellation) throws IOException {
        Request request = first;
        for (int hops = 0; ; hops++) {
            Call call = client(request.url()).newCall(request);
            cancellation.watch(call);
            try (Deadline deadline = Deadline.start(call, tokenDeadline())) {
                try (Response response = call.execute()) {
                    if (Urls.isRedirect(response.code()) && request.method().equals("GET")) {
                        if (hops == Urls.MAX_REDIRECTS) {
                            throw Urls.tooManyRedirects(what, request.url());
                        }
                        request = redirected(what, first, request, response);
                        continue;
                    }
                    return token(what, request.url(), response);
                } catch (ImageException | RetryLater e) {
                    throw e;
                } catch (IOException e) {
                    throw deadline.explain(e);
                }
            }
        }
    }

    private okhttp3.OkHttpClient client(HttpUrl url) throws ImageException {
        AddressRange near = near();
        GuardedDns guarded = dns;
        if (guarded == null || guarded.near() != near) {
            guarded = realms.dns(near);
            dns = guarded;
        }
        boolean own = url.host().equals(realms.registry().host());
        TlsSettings tls = own ? host.tls() : TlsSettings.SYSTEM;
        return connections.client(url.isHttps(), tls, guarded);
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

    private Token token(String what, HttpUrl url, Response response) throws IOException {
        String from = Urls.authority(url);
        if (!response.isSuccessful()) {
            ImageException failure = ErrorBody.exception(what, from, response);
            if (RetryPolicy.isTransient(response.code())) {
                throw new RetryLater(failure, response.header("Retry-After"));
            }
            throw failure;
        }
        BufferedSource source = response.body().source();
        if (source.request(MAX_ANSWER_BYTES + 1)) {
            throw new ImageException(
                    ErrorKind.LIMIT_EXCEEDED,
                    "%s: the answer of %s is longer than 1 MiB".formatted(what, from));
        }
        Buffer body = source.getBuffer();
        return Token.parse(
                what + ": answer of " + from, body.readByteArray(), options.clock().instant());
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
