package dev.imgd.testkit;

import dev.imgd.hosts.Capability;
import dev.imgd.hosts.RegistryHost;
import dev.imgd.hosts.RegistryHosts;
import dev.imgd.hosts.TlsSettings;
import dev.imgd.model.Digest;
import dev.imgd.registry.EmbeddedRegistry;
import dev.imgd.registry.LoopbackServer;
import dev.imgd.registry.LoopbackServer.Exchange;
import dev.imgd.registry.RegistryContent;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Function;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/// A registry in memory that can be pushed to and pulled from by real clients, keeps an access log
/// and misbehaves as a test tells it to. Safe for use by many threads. **Source:**
/// distribution-spec v1.1.
public final class InMemoryRegistry implements AutoCloseable {
    /// A request that came, and the status it was answered with; 0 when it was not, or not yet.
    ///
    /// @param path decoded, without the query
    /// @param target as it was sent, with the query
    /// @param headers those that matter to tests, by their lower-case names
    public record Access(
            String method, String path, String target, Map<String, String> headers, int status) {
        /// A header by its lower-case name.
        public Optional<String> header(String name) {
            return Optional.ofNullable(headers.get(name));
        }

        /// Without headers, which may hold credentials.
        @Override
        public String toString() {
            return method + " " + path + " " + status;
        }
    }

    private static final List<String> KEPT_HEADERS =
            List.of(
                    "accept",
                    "accept-encoding",
                    "authorization",
                    "content-length",
                    "content-range",
                    "content-type",
                    "cookie",
                    "host",
                    "if-match",
                    "if-none-match",
                    "proxy-authorization",
                    "range",
                    "user-agent",
                    "x-canary");

    private record Rule(Predicate<Exchange> match, Queue<Fault> once, @Nullable Fault always) {}

    private final LoopbackServer server;
    private final @Nullable TlsListener tls;
    private final RepositoryContent content = new RepositoryContent();
    private final Set<RegistryFeature> features = ConcurrentHashMap.newKeySet();
    private final Uploads uploads = new Uploads(content, features);
    private final Distribution distribution = new Distribution(content, features, uploads);
    private final List<Exchange> log = Collections.synchronizedList(new ArrayList<>());
    private final List<Rule> rules = new CopyOnWriteArrayList<>();
    private volatile Predicate<Exchange> authorized = _ -> true;
    private volatile Function<Exchange, String> challenge = _ -> "";

    private InMemoryRegistry(@Nullable TlsListener tls) throws IOException {
        this.tls = tls;
        features.addAll(EnumSet.complementOf(EnumSet.of(RegistryFeature.SPARSE)));
        server =
                tls == null
                        ? LoopbackServer.start(this::handle)
                        : LoopbackServer.start(tls, this::handle);
    }

    /// A registry over plain http.
    public static InMemoryRegistry start() throws IOException {
        return new InMemoryRegistry(null);
    }

    /// A registry over TLS.
    ///
    /// @param identity usually for `localhost`
    /// @param clients who signs the certificates that clients must show, or null to want none
    public static InMemoryRegistry startTls(
            TestAuthority.Identity identity, @Nullable TestAuthority clients) throws IOException {
        return new InMemoryRegistry(new TlsListener(identity, clients));
    }

    /// Shows another certificate, and wants others, on connections from now on.
    public void present(TestAuthority.Identity identity, @Nullable TestAuthority clients) {
        listener().present(identity, clients);
    }

    /// Misbehaves on connections from now on, before there is any request.
    public void tlsFault(TlsFault fault) {
        listener().fault(fault);
    }

    private TlsListener listener() {
        if (tls == null) {
            throw new IllegalStateException("this registry was started without TLS");
        }
        return tls;
    }

    /// The hosts of a client that reaches this registry over TLS.
    public RegistryHosts hosts(TlsSettings settings) {
        RegistryHost host =
                new RegistryHost(
                        RegistryHost.Scheme.HTTPS,
                        authority(),
                        "/v2",
                        Set.of(Capability.values()),
                        Map.of(),
                        settings);
        return _ -> List.of(host);
    }

    /// `localhost:<port>`.
    public String authority() {
        return server.authority();
    }

    public int port() {
        return server.port();
    }

    /// What is stored; tests may put anything there.
    public RepositoryContent content() {
        return content;
    }

    /// Stores an image under a tag, without HTTP.
    ///
    /// @return the reference to pull it with
    public String push(String repository, String tag, TestImage image) {
        image.blobs().forEach((digest, blob) -> content.putBlob(digest, blob.toArray()));
        image.manifests()
                .forEach(
                        (descriptor, bytes) -> {
                            boolean named = descriptor.equals(image.manifest());
                            content.putManifest(
                                    repository,
                                    descriptor.mediaType(),
                                    bytes,
                                    named ? new String[] {tag} : new String[0]);
                        });
        return authority() + "/" + repository + ":" + tag;
    }

    /// The requests so far, in the order in which they came.
    public List<Access> accessLog() {
        synchronized (log) {
            return log.stream().map(InMemoryRegistry::access).toList();
        }
    }

    public void clearAccessLog() {
        log.clear();
    }

    /// How many GET requests had this in their path.
    public long gets(String pathPart) {
        return accessLog().stream()
                .filter(a -> a.method().equals("GET") && a.path().contains(pathPart))
                .count();
    }

    /// Answers the next requests whose path has this part with these faults, one each in order;
    /// then right again. Scripts are tried in the order in which they were made.
    public void script(String pathPart, Fault... faults) {
        Queue<Fault> queue = new ArrayDeque<>(List.of(faults));
        rules.add(new Rule(exchange -> exchange.path().contains(pathPart), queue, null));
    }

    /// Answers all requests whose path has this part with a fault.
    public void always(String pathPart, Fault fault) {
        always(exchange -> exchange.path().contains(pathPart), fault);
    }

    /// Answers all requests that match with a fault.
    public void always(Predicate<Exchange> match, Fault fault) {
        rules.add(new Rule(match, new ArrayDeque<>(), fault));
    }

    /// Takes parts of the specification away, for what comes from now on.
    public InMemoryRegistry without(RegistryFeature... missing) {
        List.of(missing).forEach(features::remove);
        return this;
    }

    /// Gives parts of the specification back.
    public InMemoryRegistry with(RegistryFeature... present) {
        features.addAll(List.of(present));
        return this;
    }

    /// Wants chunks of uploads to have this many bytes, all but the last of each upload.
    public InMemoryRegistry minimumChunk(int bytes) {
        uploads.minimumChunk(bytes);
        return this;
    }

    /// Sends lists of tags, repositories and referrers in pages of this many entries.
    public InMemoryRegistry pageLimit(int entries) {
        distribution.pageLimit(entries);
        return this;
    }

    /// What stands before the path in the `Location` of uploads, for example `https://elsewhere`;
    /// empty by default.
    public InMemoryRegistry uploadLocations(String prefix) {
        uploads.locationPrefix(prefix);
        return this;
    }

    /// Resets the connections of the next bodies of uploads after so many bytes, one each; those
    /// bytes are kept. An empty body does not count.
    public void breakUploads(int... bytes) {
        uploads.breakAfter(bytes);
    }

    /// Forgets all uploads in progress, as a registry that was restarted.
    public void forgetUploads() {
        uploads.forget();
    }

    /// How many uploads were begun and neither ended nor cancelled.
    public int openUploads() {
        return uploads.count();
    }

    /// Forgets all scripts.
    public void behave() {
        rules.clear();
    }

    /// Wants a token of this server from now on.
    public void requireToken(TokenServer tokens) {
        requireToken(tokens, tokens.realm());
    }

    /// Wants a token of this server and sends clients to another realm for it, which may be the
    /// path `/token` here.
    public void requireToken(TokenServer tokens, String realm) {
        String wanted = bearer(realm);
        challenge = _ -> wanted;
        authorized =
                exchange ->
                        exchange.path().equals("/token")
                                || tokens.accepts(exchange.header("Authorization"));
    }

    /// Wants a token of this server that allows what is asked for; others are answered with
    /// `insufficient_scope`.
    public void requireScopedToken(TokenServer tokens) {
        String wanted = bearer(tokens.realm());
        challenge =
                exchange -> {
                    List<String> granted = tokens.scopes(exchange.header("Authorization"));
                    if (granted == null) {
                        return wanted;
                    }
                    List<String> missing =
                            needs(exchange).stream()
                                    .filter(need -> !allows(granted, need))
                                    .toList();
                    return "%s,scope=\"%s\",error=\"insufficient_scope\""
                            .formatted(wanted, String.join(" ", missing));
                };
        authorized =
                exchange -> {
                    List<String> granted = tokens.scopes(exchange.header("Authorization"));
                    return granted != null
                            && needs(exchange).stream().allMatch(need -> allows(granted, need));
                };
    }

    private String bearer(String realm) {
        return "Bearer realm=\"" + realm + "\",service=\"" + authority() + '"';
    }

    /// The scopes that a request needs, each with one action.
    private static List<String> needs(Exchange exchange) {
        String path = exchange.path();
        if (path.equals("/v2/") || path.equals("/v2")) {
            return List.of();
        }
        if (path.equals("/v2/_catalog")) {
            return List.of("registry:catalog:*");
        }
        String name = Distribution.repository(path);
        String action =
                switch (exchange.method()) {
                    case "GET", "HEAD" -> "pull";
                    case "DELETE" -> path.contains("/blobs/uploads/") ? "push" : "delete";
                    default -> "push";
                };
        List<String> needs = new ArrayList<>(List.of("repository:" + name + ':' + action));
        exchange.query("from").ifPresent(from -> needs.add("repository:" + from + ":pull"));
        return needs;
    }

    private static boolean allows(List<String> granted, String need) {
        int action = need.lastIndexOf(':') + 1;
        for (String scope : granted) {
            if (scope.startsWith(need.substring(0, action))
                    && List.of(scope.substring(action).split(",", -1))
                            .contains(need.substring(action))) {
                return true;
            }
        }
        return false;
    }

    /// Wants a user name and a password from now on.
    public void requireBasic(String authorization) {
        challenge = _ -> "Basic realm=\"test\"";
        authorized = exchange -> authorization.equals(exchange.header("Authorization").orElse(""));
    }

    /// Answers every request with 401 and this `WWW-Authenticate` header.
    public void requireNever(String header) {
        challenge = _ -> header;
        authorized = _ -> false;
    }

    @Override
    public void close() {
        server.close();
    }

    private void handle(Exchange exchange) throws IOException {
        log.add(exchange);
        answer(exchange);
    }

    private static Access access(Exchange exchange) {
        Map<String, String> headers = new HashMap<>();
        for (String name : KEPT_HEADERS) {
            exchange.header(name).ifPresent(value -> headers.put(name, value));
        }
        return new Access(
                exchange.method(),
                exchange.path(),
                exchange.target(),
                Map.copyOf(headers),
                exchange.status());
    }

    private void answer(Exchange exchange) throws IOException {
        if (!authorized.test(exchange)) {
            exchange.respond(
                    401,
                    Map.of(
                            "WWW-Authenticate",
                            challenge.apply(exchange),
                            "Content-Type",
                            "application/json"),
                    EmbeddedRegistry.errorBody("UNAUTHORIZED", "authentication required"));
            return;
        }
        Fault fault = fault(exchange);
        if (fault != null) {
            fault.handle(exchange, body(exchange), distribution);
        } else {
            distribution.handle(exchange);
        }
    }

    private @Nullable Fault fault(Exchange exchange) {
        for (Rule rule : rules) {
            if (rule.match.test(exchange)) {
                if (rule.always != null) {
                    return rule.always;
                }
                synchronized (rule) {
                    Fault next = rule.once.poll();
                    if (next != null) {
                        return next;
                    }
                }
            }
        }
        return null;
    }

    private byte[] body(Exchange exchange) throws IOException {
        String path = exchange.path();
        int blobs = path.lastIndexOf("/blobs/sha");
        if (blobs > 0) {
            Optional<RegistryContent.StoredBlob> blob =
                    content.blob(path.substring(4, blobs), Digest.parse(path.substring(blobs + 7)));
            if (blob.isPresent()) {
                try (InputStream in = blob.get().open(0)) {
                    return in.readAllBytes();
                }
            }
        }
        int manifests = path.lastIndexOf("/manifests/");
        if (manifests > 3) {
            return content.manifest(path.substring(4, manifests), path.substring(manifests + 11))
                    .map(manifest -> manifest.content().toArray())
                    .orElse(new byte[0]);
        }
        return new byte[0];
    }
}
