package dev.imgd.testkit;

import dev.imgd.model.Bytes;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.registry.EmbeddedRegistry;
import dev.imgd.registry.LoopbackServer;
import dev.imgd.registry.LoopbackServer.Exchange;
import dev.imgd.registry.LoopbackServer.Handler;
import dev.imgd.registry.MemoryContent;
import dev.imgd.registry.RegistryContent;

import org.jspecify.annotations.Nullable;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Queue;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Predicate;

/// A registry in memory that can be pushed to and pulled from by real clients, keeps an access log
/// and misbehaves as a test tells it to. Safe for use by many threads. **Source:**
/// distribution-spec v1.1.
public final class InMemoryRegistry implements AutoCloseable {
    /// A request that came, and the status it was answered with; 0 when it was not, or not yet.
    public record Access(String method, String path, Map<String, String> headers, int status) {
        /// A header by its lower-case name; only those that matter to tests are kept.
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
                    "cookie",
                    "host",
                    "range",
                    "user-agent",
                    "x-canary");

    private record Rule(Predicate<Exchange> match, Queue<Fault> once, @Nullable Fault always) {}

    private final LoopbackServer server;
    private final MemoryContent content = new MemoryContent();
    private final Handler pulls = EmbeddedRegistry.handler(content);
    private final List<Exchange> log = Collections.synchronizedList(new ArrayList<>());
    private final List<Rule> rules = new CopyOnWriteArrayList<>();
    private final Map<String, ByteArrayOutputStream> uploads = new ConcurrentHashMap<>();
    private volatile Predicate<Exchange> authorized = _ -> true;
    private volatile String challenge = "";

    private InMemoryRegistry() throws IOException {
        server = LoopbackServer.start(this::handle);
    }

    public static InMemoryRegistry start() throws IOException {
        return new InMemoryRegistry();
    }

    /// `localhost:<port>`.
    public String authority() {
        return server.authority();
    }

    public int port() {
        return server.port();
    }

    /// What is stored; tests may put anything there.
    public MemoryContent content() {
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

    /// Forgets all scripts.
    public void behave() {
        rules.clear();
    }

    /// Wants a token of this server from now on.
    public void requireToken(TokenServer tokens) {
        requireToken(tokens, tokens.realm());
    }

    /// Wants a token of this server and sends clients to another realm for it.
    public void requireToken(TokenServer tokens, String realm) {
        challenge = "Bearer realm=\"" + realm + "\",service=\"" + authority() + '"';
        authorized = exchange -> tokens.accepts(exchange.header("Authorization"));
    }

    /// Wants a user name and a password from now on.
    public void requireBasic(String authorization) {
        challenge = "Basic realm=\"test\"";
        authorized = exchange -> authorization.equals(exchange.header("Authorization").orElse(""));
    }

    /// Answers every request with 401 and this `WWW-Authenticate` header.
    public void requireNever(String header) {
        challenge = header;
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
                exchange.method(), exchange.path(), Map.copyOf(headers), exchange.status());
    }

    private void answer(Exchange exchange) throws IOException {
        if (!authorized.test(exchange)) {
            exchange.respond(
                    401,
                    Map.of("WWW-Authenticate", challenge, "Content-Type", "application/json"),
                    EmbeddedRegistry.errorBody("UNAUTHORIZED", "authentication required"));
            return;
        }
        Fault fault = fault(exchange);
        if (fault != null) {
            fault.handle(exchange, body(exchange), this::right);
        } else {
            right(exchange);
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
                    content.blob("", Digest.parse(path.substring(blobs + 7)));
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

    private void right(Exchange exchange) throws IOException {
        String path = exchange.path();
        int uploadsAt = path.indexOf("/blobs/uploads/");
        int manifestsAt = path.lastIndexOf("/manifests/");
        if (uploadsAt > 3) {
            upload(exchange, path.substring(4, uploadsAt), path.substring(uploadsAt + 15));
        } else if (exchange.method().equals("PUT") && manifestsAt > 3) {
            putManifest(exchange, path.substring(4, manifestsAt), path.substring(manifestsAt + 11));
        } else {
            pulls.handle(exchange);
        }
    }

    private void upload(Exchange exchange, String repository, String id) throws IOException {
        switch (exchange.method()) {
            case "POST" -> startUpload(exchange, repository);
            case "PATCH" -> {
                ByteArrayOutputStream upload = uploads.get(id);
                if (upload == null) {
                    unknownUpload(exchange);
                    return;
                }
                exchange.body().transferTo(upload);
                accepted(exchange, repository, id, upload.size());
            }
            case "PUT" -> finishUpload(exchange, repository, id);
            case "GET" -> {
                ByteArrayOutputStream upload = uploads.get(id);
                if (upload == null) {
                    unknownUpload(exchange);
                    return;
                }
                exchange.respond(204, uploadHeaders(repository, id, upload.size()), new byte[0]);
            }
            case "DELETE" -> {
                uploads.remove(id);
                exchange.respond(204, Map.of(), new byte[0]);
            }
            default -> EmbeddedRegistry.refuse(exchange, 405, "UNSUPPORTED", "unsupported");
        }
    }

    private void startUpload(Exchange exchange, String repository) throws IOException {
        Optional<String> mount = exchange.query("mount");
        if (mount.isPresent() && content.blob("", Digest.parse(mount.get())).isPresent()) {
            created(exchange, "/v2/" + repository + "/blobs/" + mount.get(), mount.get());
            return;
        }
        String id = UUID.randomUUID().toString();
        uploads.put(id, new ByteArrayOutputStream());
        if (exchange.query("digest").isPresent()) {
            finishUpload(exchange, repository, id);
        } else {
            accepted(exchange, repository, id, 0);
        }
    }

    private void finishUpload(Exchange exchange, String repository, String id) throws IOException {
        ByteArrayOutputStream upload = uploads.remove(id);
        if (upload == null) {
            unknownUpload(exchange);
            return;
        }
        exchange.body().transferTo(upload);
        byte[] bytes = upload.toByteArray();
        Digest digest = parse(exchange.query("digest").orElse(""));
        if (digest == null || !digest.ofSameAlgorithm(bytes).equals(digest)) {
            EmbeddedRegistry.refuse(exchange, 400, "DIGEST_INVALID", "digest does not match");
            return;
        }
        content.putBlob(digest, bytes);
        created(exchange, "/v2/" + repository + "/blobs/" + digest, digest.toString());
    }

    private void putManifest(Exchange exchange, String repository, String reference)
            throws IOException {
        Bytes bytes = Bytes.of(exchange.body().readAllBytes());
        String type = exchange.header("Content-Type").orElse("application/octet-stream");
        if (reference.indexOf(':') < 0) {
            content.putManifest(repository, type, bytes, reference);
            created(
                    exchange,
                    "/v2/" + repository + "/manifests/" + reference,
                    bytes.sha256().toString());
            return;
        }
        Digest digest = parse(reference);
        if (digest == null || !bytes.digestLike(digest).equals(digest)) {
            EmbeddedRegistry.refuse(exchange, 400, "DIGEST_INVALID", "digest does not match");
            return;
        }
        content.putManifest(repository, type, digest, bytes);
        created(exchange, "/v2/" + repository + "/manifests/" + digest, digest.toString());
    }

    private static @Nullable Digest parse(String text) {
        try {
            return Digest.parse(text);
        } catch (ImageException e) {
            return null;
        }
    }

    private static void unknownUpload(Exchange exchange) throws IOException {
        EmbeddedRegistry.refuse(exchange, 404, "BLOB_UPLOAD_UNKNOWN", "no such upload");
    }

    private static void created(Exchange exchange, String location, String digest)
            throws IOException {
        exchange.respond(
                201, Map.of("Location", location, "Docker-Content-Digest", digest), new byte[0]);
    }

    private static void accepted(Exchange exchange, String repository, String id, int size)
            throws IOException {
        exchange.respond(202, uploadHeaders(repository, id, size), new byte[0]);
    }

    private static Map<String, String> uploadHeaders(String repository, String id, int size) {
        return Map.of(
                "Location",
                "/v2/" + repository + "/blobs/uploads/" + id,
                "Docker-Upload-UUID",
                id,
                "Range",
                "0-" + Math.max(0, size - 1));
    }
}
