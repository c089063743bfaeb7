package dev.imgd.testkit;

import dev.imgd.model.JsonWriter;
import dev.imgd.registry.LoopbackServer;
import dev.imgd.registry.LoopbackServer.Exchange;
import dev.imgd.registry.LoopbackServer.Handler;
import java.io.IOException;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.Signature;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/// A token server for tests: `GET` and `POST /token`, one new token per request.
public final class TokenServer implements AutoCloseable {
    /// A request that came.
    ///
    /// @param form the body of a POST
    public record TokenRequest(
            String method, String target, Optional<String> authorization, String form) {
        /// The credentials, which must not get into test reports by accident.
        @Override
        public String toString() {
            return method + " " + target;
        }
    }

    private final LoopbackServer server;
    private final AtomicInteger counter = new AtomicInteger();
    private final Map<String, List<String>> valid = new ConcurrentHashMap<>();
    private final List<TokenRequest> requests = new CopyOnWriteArrayList<>();
    private volatile Handler answer = this::issue;
    private volatile String field = "token";
    private volatile long expiresIn = 300;
    private volatile String wantedAuthorization = "";
    private volatile int refusedPosts;
    private volatile boolean firstScopeOnly;
    private volatile boolean rotating;
    private volatile @Nullable Signer signer;
    private volatile long signedSeconds = 300;

    private record Signer(TestAuthority.Identity identity, String issuer) {}

    private TokenServer() throws IOException {
        server = LoopbackServer.start(this::handle);
    }

    public static TokenServer start() throws IOException {
        return new TokenServer();
    }

    /// `http://localhost:<port>/token`.
    public String realm() {
        return "http://" + server.authority() + "/token";
    }

    public String authority() {
        return server.authority();
    }

    /// The member of the answer that holds the token.
    public TokenServer field(String name) {
        field = name;
        return this;
    }

    /// The `expires_in` of the tokens, in seconds; 0 leaves it out.
    public TokenServer expiresIn(long seconds) {
        expiresIn = seconds;
        return this;
    }

    /// Knows no POST, as the token servers of many registries.
    ///
    /// @param status what it says then; some say that the request or the password is wrong
    public TokenServer getOnly(int status) {
        refusedPosts = status;
        return this;
    }

    /// Grants only the scope that comes first in a request.
    public TokenServer firstScopeOnly() {
        firstScopeOnly = true;
        return this;
    }

    /// Gives a new refresh token with every answer, which voids the one before.
    public TokenServer rotating() {
        rotating = true;
        return this;
    }

    /// Issues tokens that docker-registry can verify.
    ///
    /// @param identity signs them; its authority is the `rootcertbundle`
    public TokenServer signedBy(TestAuthority.Identity identity, String issuer) {
        signer = new Signer(identity, issuer);
        return this;
    }

    /// How long signed tokens say that they last, whatever the answer says; below zero they have
    /// expired. docker-registry adds a minute.
    public TokenServer signedFor(long seconds) {
        signedSeconds = seconds;
        return this;
    }

    /// Refuses requests without exactly this `Authorization` header, or the same user name and
    /// password in a form.
    public TokenServer requireAuthorization(String header) {
        wantedAuthorization = header;
        return this;
    }

    /// Answers with something else than tokens.
    public TokenServer answer(Handler handler) {
        answer = handler;
        return this;
    }

    /// What came, in order.
    public List<TokenRequest> requests() {
        return List.copyOf(requests);
    }

    /// Makes all tokens invalid that were issued so far.
    public void revokeAll() {
        valid.clear();
    }

    boolean accepts(Optional<String> authorization) {
        return scopes(authorization) != null;
    }

    /// What a token allows, or null when it is none of ours.
    @Nullable List<String> scopes(Optional<String> authorization) {
        return authorization.isPresent() && authorization.get().startsWith("Bearer ")
                ? valid.get(authorization.get().substring(7))
                : null;
    }

    private void handle(Exchange exchange) throws IOException {
        String form = new String(exchange.body().readAllBytes(), StandardCharsets.UTF_8);
        requests.add(
                new TokenRequest(
                        exchange.method(),
                        exchange.target(),
                        exchange.header("Authorization"),
                        form));
        answer.handle(exchange);
    }

    private void issue(Exchange exchange) throws IOException {
        String form = requests.getLast().form();
        boolean post = exchange.method().equals("POST");
        if (post && refusedPosts != 0) {
            exchange.respond(refusedPosts, Map.of("Content-Type", "text/plain"), new byte[0]);
            return;
        }
        List<String> parameters = List.of((post ? form : query(exchange)).split("&", -1));
        if (!isWelcome(exchange, parameters)) {
            exchange.respond(401, Map.of("Content-Type", "application/json"), new byte[0]);
            return;
        }
        List<String> scopes = new ArrayList<>();
        for (String scope : values(parameters, "scope")) {
            scopes.addAll(List.of(scope.split(" ", -1)));
        }
        if (firstScopeOnly && scopes.size() > 1) {
            scopes = scopes.subList(0, 1);
        }
        int number = counter.incrementAndGet();
        Signer by = signer;
        String token =
                by == null
                        ? "issued-" + number
                        : jwt(by, String.join("", values(parameters, "service")), scopes, number);
        valid.put(token, List.copyOf(scopes));
        JsonWriter json = JsonWriter.compact().beginObject().member(field, token);
        if (expiresIn > 0) {
            json.member("expires_in", expiresIn);
        }
        if (rotating) {
            json.member("refresh_token", "refresh-" + number);
        }
        exchange.respond(
                200, Map.of("Content-Type", "application/json"), json.endObject().toBytes());
    }

    private boolean isWelcome(Exchange exchange, List<String> parameters) {
        String refresh = String.join("", values(parameters, "refresh_token"));
        if (rotating && counter.get() > 0 && !refresh.equals("refresh-" + counter.get())) {
            return false;
        }
        if (wantedAuthorization.isEmpty()) {
            return true;
        }
        String pair =
                String.join("", values(parameters, "username"))
                        + ':'
                        + String.join("", values(parameters, "password"));
        String basic =
                "Basic "
                        + Base64.getEncoder().encodeToString(pair.getBytes(StandardCharsets.UTF_8));
        return exchange.header("Authorization").orElse(basic).equals(wantedAuthorization);
    }

    private static String query(Exchange exchange) {
        int query = exchange.target().indexOf('?');
        return query < 0 ? "" : exchange.target().substring(query + 1);
    }

    private static List<String> values(List<String> parameters, String name) {
        List<String> values = new ArrayList<>();
        for (String parameter : parameters) {
            if (parameter.startsWith(name + '=')) {
                values.add(
                        URLDecoder.decode(
                                parameter.substring(name.length() + 1), StandardCharsets.UTF_8));
            }
        }
        return values;
    }

    /// A signed token. **Source:** distribution docs/spec/auth/jwt.md, RFC 7515.
    private String jwt(Signer by, String service, List<String> scopes, int number) {
        try {
            String certificate =
                    Base64.getEncoder().encodeToString(by.identity.certificate().getEncoded());
            JsonWriter header =
                    JsonWriter.compact()
                            .beginObject()
                            .member("typ", "JWT")
                            .member("alg", "ES256")
                            .member("x5c", List.of(certificate))
                            .endObject();
            long now = Instant.now().getEpochSecond();
            JsonWriter claims =
                    JsonWriter.compact()
                            .beginObject()
                            .member("iss", by.issuer)
                            .member("sub", "tester")
                            .member("aud", service)
                            .member("exp", now + signedSeconds)
                            .member("nbf", now - 120)
                            .member("iat", now)
                            .member("jti", "id-" + number)
                            .beginArray("access");
            for (String scope : scopes) {
                int name = scope.indexOf(':');
                int actions = scope.lastIndexOf(':');
                claims.beginObject()
                        .member("type", scope.substring(0, name))
                        .member("name", scope.substring(name + 1, actions))
                        .member("actions", List.of(scope.substring(actions + 1).split(",", -1)))
                        .endObject();
            }
            claims.endArray().endObject();
            Base64.Encoder base64 = Base64.getUrlEncoder().withoutPadding();
            String signed =
                    base64.encodeToString(header.toBytes())
                            + '.'
                            + base64.encodeToString(claims.toBytes());
            Signature signature = Signature.getInstance("SHA256withECDSAinP1363Format");
            signature.initSign(by.identity.key());
            signature.update(signed.getBytes(StandardCharsets.US_ASCII));
            return signed + '.' + base64.encodeToString(signature.sign());
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("a token cannot be signed here", e);
        }
    }

    @Override
    public void close() {
        server.close();
    }
}
