package dev.imgd.testkit;

import dev.imgd.model.JsonWriter;
import dev.imgd.registry.LoopbackServer;
import dev.imgd.registry.LoopbackServer.Exchange;
import dev.imgd.registry.LoopbackServer.Handler;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;

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
    private final Set<String> valid = ConcurrentHashMap.newKeySet();
    private final List<TokenRequest> requests = new CopyOnWriteArrayList<>();
    private volatile Handler answer = this::issue;
    private volatile String field = "token";
    private volatile long expiresIn = 300;
    private volatile String wantedAuthorization = "";

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

    /// Refuses requests without exactly this `Authorization` header.
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
        return authorization.isPresent()
                && authorization.get().startsWith("Bearer ")
                && valid.contains(authorization.get().substring(7));
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
        if (!wantedAuthorization.isEmpty()
                && !exchange.header("Authorization").orElse("").equals(wantedAuthorization)) {
            exchange.respond(401, Map.of("Content-Type", "application/json"), new byte[0]);
            return;
        }
        String token = "issued-" + counter.incrementAndGet();
        valid.add(token);
        JsonWriter json = JsonWriter.compact().beginObject().member(field, token);
        if (expiresIn > 0) {
            json.member("expires_in", expiresIn);
        }
        exchange.respond(
                200, Map.of("Content-Type", "application/json"), json.endObject().toBytes());
    }

    @Override
    public void close() {
        server.close();
    }
}
