package dev.imgd.registry;

import dev.imgd.hosts.Capability;
import dev.imgd.hosts.RegistryHost;
import dev.imgd.hosts.RegistryHosts;
import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.DigestMismatchException;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.ManifestDocument;
import dev.imgd.model.MediaType;
import dev.imgd.model.Reference;
import dev.imgd.model.RegistryException;
import dev.imgd.model.SizeMismatchException;
import dev.imgd.model.Text;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ThreadLocalRandom;
import okhttp3.HttpUrl;
import okio.BufferedSource;
import org.jspecify.annotations.Nullable;

/// The client over HTTP. Asks the hosts of a registry in their order until one answers.
final class HttpRegistryClient implements RegistryClient {
    private static final String MANIFEST_TYPES =
            String.join(
                    ", ",
                    MediaType.OCI_INDEX,
                    MediaType.OCI_MANIFEST,
                    MediaType.DOCKER_INDEX,
                    MediaType.DOCKER_MANIFEST,
                    "*/*;q=0.1");

    /// How often a host is asked while there is another one to turn to.
    private static final int ATTEMPTS_WITH_OTHERS = 2;

    /// Hosts whose tokens and load are remembered.
    private static final int MOST_ENDPOINTS = 512;

    private final RegistryOptions options;
    private final ForeignPlaces foreignPlaces;
    private final Connections connections;
    private final RetryPolicy retries;
    private final Recent<RegistryHost, Endpoint> endpoints;
    private final Set<Operation> active = ConcurrentHashMap.newKeySet();
    private final Set<HttpRegistryClient> sessions = ConcurrentHashMap.newKeySet();
    private final @Nullable HttpRegistryClient parent;

    /// Whose endpoints these are made from; null where they are the first.
    private final @Nullable HttpRegistryClient origin;

    private final UnitPool memory;
    private final Pace bandwidth;
    private final Map<String, Tally> tallies = new LinkedHashMap<>();
    private final Heard heard = new Heard();
    private volatile boolean closed;

    HttpRegistryClient(RegistryOptions options) {
        this(options, ForeignPlaces.internet());
    }

    /// @param foreignPlaces how layers are reached that live elsewhere
    HttpRegistryClient(RegistryOptions options, ForeignPlaces foreignPlaces) {
        this.foreignPlaces = foreignPlaces;
        this.parent = null;
        this.origin = null;
        this.endpoints = new Recent<>(MOST_ENDPOINTS);
        this.options = options;
        this.connections = new Connections(options);
        this.memory = new UnitPool(options.transfer().windowBytes());
        this.bandwidth = new Pace(options.transfer().bytesPerSecond());
        this.retries =
                new RetryPolicy(
                        options.attempts(),
                        options.firstBackoff(),
                        options.maximumBackoff(),
                        options.clock(),
                        () -> ThreadLocalRandom.current().nextLong());
    }

    private HttpRegistryClient(
            HttpRegistryClient parent,
            RegistryOptions options,
            @Nullable HttpRegistryClient origin,
            Recent<RegistryHost, Endpoint> endpoints) {
        this.foreignPlaces = parent.foreignPlaces;
        this.parent = parent;
        this.origin = origin;
        this.endpoints = endpoints;
        this.options = options;
        this.memory = parent.memory;
        this.bandwidth = parent.bandwidth;
        this.connections = parent.connections;
        this.retries = parent.retries;
    }

    @Override
    public RegistryClient session() {
        return session(options.hosts());
    }

    @Override
    public RegistryClient session(RegistryHosts hosts) {
        return begun(new HttpRegistryClient(this, options.withHosts(hosts), origin, endpoints));
    }

    @Override
    public RegistryClient session(CredentialSource credentials) {
        RegistryOptions own = options.withCredentials(credentials.orElse(options.credentials()));
        // Tokens are with the endpoints, so these must not be those of others.
        return begun(new HttpRegistryClient(this, own, this, new Recent<>(MOST_ENDPOINTS)));
    }

    private RegistryClient begun(HttpRegistryClient session) {
        sessions.add(session);
        if (closed) {
            session.close();
        }
        return session;
    }

    @Override
    public List<String> notices() {
        return heard.texts();
    }

    @Override
    public RegistryWriter writer() {
        return new HttpRegistryWriter(this);
    }

    @Override
    public RegistryListing listing() {
        return new HttpRegistryListing(this);
    }

    RegistryOptions options() {
        return options;
    }

    RetryPolicy retries() {
        return retries;
    }

    @Override
    public RegistryClient beside() {
        return new BesideClient(this);
    }

    @Override
    public FetchedManifest resolve(Reference reference) throws ImageException {
        return resolve(reference, Part.IMAGE);
    }

    FetchedManifest resolve(Reference reference, Part part) throws ImageException {
        String what = "manifest of " + reference;
        Optional<Digest> digest = reference.digest();
        Capability capability = digest.isPresent() ? Capability.PULL : Capability.RESOLVE;
        String name =
                digest.isPresent()
                        ? digest.get().toString()
                        : reference.tag().orElse(Reference.DEFAULT_TAG);
        return tryHosts(
                reference,
                what,
                capability,
                part,
                (endpoint, attempt) -> {
                    HttpUrl url = endpoint.url(reference.repository(), "manifests", name);
                    Ask ask = new Ask(what, url, reference.repository(), MANIFEST_TYPES, null);
                    return fetchManifest(endpoint, ask, digest, null, attempt);
                });
    }

    @Override
    public FetchedManifest manifest(Reference repository, Descriptor descriptor)
            throws ImageException {
        return manifest(repository, descriptor, Part.IMAGE);
    }

    FetchedManifest manifest(Reference repository, Descriptor descriptor, Part part)
            throws ImageException {
        String what = "manifest " + descriptor.digest() + " of " + repository.name();
        byte[] embedded = embedded(descriptor);
        if (embedded != null) {
            return verified(what, "the descriptor", embedded, descriptor);
        }
        options.limits().check(Limits.Key.MANIFEST_BYTES, what, descriptor.sizeBytes());
        return tryHosts(
                repository,
                what,
                Capability.PULL,
                part,
                (endpoint, attempt) -> {
                    HttpUrl url =
                            endpoint.url(
                                    repository.repository(),
                                    "manifests",
                                    descriptor.digest().toString());
                    Ask ask = new Ask(what, url, repository.repository(), MANIFEST_TYPES, null);
                    Optional<Digest> digest = Optional.of(descriptor.digest());
                    return fetchManifest(endpoint, ask, digest, descriptor, attempt);
                });
    }

    @Override
    public Bytes smallBlob(Reference repository, Descriptor descriptor) throws ImageException {
        return smallBlob(repository, descriptor, Part.IMAGE);
    }

    Bytes smallBlob(Reference repository, Descriptor descriptor, Part part) throws ImageException {
        String what = "blob " + descriptor.digest() + " of " + repository.name();
        options.limits().check(Limits.Key.MANIFEST_BYTES, what, descriptor.sizeBytes());
        byte[] content = new byte[(int) descriptor.sizeBytes()];
        while (true) {
            List<Span> spans = readWhole(what, repository, descriptor, part, content);
            Digest got = descriptor.digest().ofSameAlgorithm(content);
            if (got.equals(descriptor.digest())) {
                return Bytes.of(content);
            }
            // Small enough to come from one host, or at least to end at the one that is to blame.
            String from = spans.isEmpty() ? repository.registry() : spans.getLast().host();
            if (!distrust(repository, from, "sent wrong bytes of " + descriptor.digest())) {
                throw new DigestMismatchException(
                        what + " from " + from, descriptor.digest(), got, content.length);
            }
        }
    }

    private List<Span> readWhole(
            String what, Reference repository, Descriptor descriptor, Part part, byte[] content)
            throws ImageException {
        ByteBuffer into = ByteBuffer.wrap(content);
        try (BlobStream stream =
                stream(repository, descriptor, BlobWish.ofOneHost(), part, false)) {
            while (into.hasRemaining()) {
                if (stream.read(into) < 0) {
                    throw new IllegalStateException("a blob stream ended early without saying so");
                }
            }
            if (stream.read(ByteBuffer.allocate(1)) >= 0) {
                throw new IllegalStateException("a blob stream is longer than it promised");
            }
            return stream.spans();
        } catch (ImageException e) {
            throw e;
        } catch (IOException e) {
            throw ImageException.unavailable(what + ": " + e.getMessage(), e);
        }
    }

    @Override
    public BlobStream blob(Reference repository, Descriptor descriptor, BlobWish wish)
            throws ImageException {
        return blob(repository, descriptor, wish, Part.IMAGE);
    }

    BlobStream blob(Reference repository, Descriptor descriptor, BlobWish wish, Part part)
            throws ImageException {
        return stream(repository, descriptor, wish, part, true);
    }

    private BlobStream stream(
            Reference repository, Descriptor descriptor, BlobWish wish, Part part, boolean counted)
            throws ImageException {
        long offset = wish.offset();
        if (offset < 0 || offset > descriptor.sizeBytes()) {
            throw new IllegalArgumentException(
                    "offset " + offset + " of a blob of " + descriptor.sizeBytes() + " bytes");
        }
        byte[] embedded = embedded(descriptor);
        if (embedded != null) {
            return new MemoryBlobStream(embedded, (int) offset, "the descriptor");
        }
        if (offset == descriptor.sizeBytes()) {
            return new MemoryBlobStream(new byte[0], 0, repository.registry());
        }
        String what = "blob " + descriptor.digest() + " of " + repository.name();
        boolean foreign =
                descriptor.type() instanceof MediaType.LayerType layer
                        && layer.foreign()
                        && !descriptor.urls().isEmpty();
        try {
            List<BlobSource> sources = new ArrayList<>();
            List<RegistryHost> able = hosts(repository, what, Capability.PULL);
            HostFailures unusable = new HostFailures(what, able);
            for (RegistryHost host : able) {
                try {
                    Endpoint endpoint = endpoint(host);
                    String digest = descriptor.digest().toString();
                    HttpUrl url = endpoint.url(repository.repository(), "blobs", digest);
                    Ask ask =
                            new Ask(what, url, repository.repository(), null, null)
                                    .withWhereabouts(new Whereabouts());
                    boolean own = host.equals(unusable.own());
                    sources.add(new BlobSource(endpoint, ask, tally(host), part, counted, own));
                } catch (ImageException e) {
                    unusable.add(host, e);
                }
            }
            unusable.forEach((host, _, reason) -> tally(host).drop(reason));
            if (sources.isEmpty()) {
                throw unusable.report();
            }
            BlobStream opened = openBeside(unusable, sources, descriptor.sizeBytes(), wish);
            unusable.forEach((host, _, _) -> tally(host).tell());
            return opened;
        } catch (ImageException e) {
            if (foreign && e.kind() == ErrorKind.NOT_FOUND) {
                return foreignBlob(repository, what, descriptor, wish);
            }
            throw besideWrongBytes(repository, what, e);
        }
    }

    /// Asks one host.
    @FunctionalInterface
    private interface Action<T> {
        T apply(Endpoint endpoint, Try attempt) throws ImageException;
    }

    /// How a host is asked: a mirror less patiently while there is another one to turn to.
    private record Try(Operation operation, int attempts, Tally tally) {
        Answer get(Endpoint endpoint, Ask ask) throws ImageException {
            return endpoint.get(ask, operation, attempts, tally);
        }
    }

    /// The failure that is reported is that of the registry itself, with what the others said.
    private <T> T tryHosts(
            Reference reference, String what, Capability capability, Part part, Action<T> action)
            throws ImageException {
        List<RegistryHost> hosts = hosts(reference, what, capability);
        List<RegistryHost> order = inOrder(hosts);
        HostFailures failures = new HostFailures(what, hosts);
        for (int i = 0; i < order.size(); i++) {
            RegistryHost host = order.get(i);
            Operation operation = begin();
            Tally tally = tally(host);
            try {
                boolean hurried = i < order.size() - 1 && !host.equals(failures.own());
                int attempts = hurried ? ATTEMPTS_WITH_OTHERS : retries.attempts();
                T answer =
                        action.apply(
                                endpoint(host),
                                new Try(operation, Math.min(attempts, retries.attempts()), tally));
                failures.forEach((other, _, _) -> tally(other).tell());
                return answer;
            } catch (ImageException e) {
                failures.add(host, e);
                if (hosts.size() > 1) {
                    judge(tally, part, e, HostFailures.reason(what, e));
                }
            } finally {
                active.remove(operation);
            }
        }
        throw besideWrongBytes(reference, what, failures.report());
    }

    /// The order in which hosts are asked: those that fail, or want to be left alone, last.
    List<RegistryHost> inOrder(List<RegistryHost> hosts) {
        List<RegistryHost> order = new ArrayList<>(hosts);
        order.sort(Comparator.comparing(this::isLastResort));
        return order;
    }

    private boolean isLastResort(RegistryHost host) {
        Endpoint known = endpoints.get(host);
        return tally(host).isDropped() || (known != null && known.load().wantsRest());
    }

    /// That a host sent wrong bytes explains more than that there was no other one to ask.
    private ImageException besideWrongBytes(
            Reference reference, String what, ImageException failure) throws ImageException {
        if (failure.kind() == ErrorKind.CANCELLED) {
            return failure;
        }
        for (RegistryHost host : options.hosts().asked(reference.registry())) {
            Tally tally = tally(host);
            if (tally.isDistrusted()) {
                return new ImageException(
                        ErrorKind.DATA_LOSS,
                        "%s: %s %s; no other host had it: %s"
                                .formatted(
                                        what,
                                        tally.host(),
                                        tally.use().dropped().orElse("sent wrong bytes"),
                                        failure.getMessage()),
                        failure);
            }
        }
        return failure;
    }

    private static void judge(Tally tally, Part part, ImageException failure, String reason) {
        if (failure.kind() == ErrorKind.DATA_LOSS) {
            tally.distrust(reason);
        } else if (part.isFault(failure)) {
            tally.drop(reason);
        }
    }

    /// Notes that hosts failed to list something that another one listed.
    void passedOver(HostFailures failures) {
        failures.forEach(
                (host, failure, reason) -> {
                    if (!Part.IMAGE.isFault(failure)) {
                        return;
                    }
                    // Who answers may only know no such lists; that says nothing of its blobs.
                    if (!(failure instanceof RegistryException r && r.status() != 0)) {
                        tally(host).drop(reason);
                    }
                    tally(host).passedOver(reason);
                });
    }

    /// The hosts that may be asked, in their order; never empty.
    private List<RegistryHost> hosts(Reference reference, String what, Capability capability)
            throws ImageException {
        List<RegistryHost> able = new ArrayList<>();
        List<RegistryHost> trusted = new ArrayList<>();
        for (RegistryHost host : options.hosts().asked(reference.registry())) {
            if (host.can(capability)) {
                able.add(host);
                if (!tally(host).isDistrusted()) {
                    trusted.add(host);
                }
            }
        }
        if (able.isEmpty()) {
            throw ImageException.failedPrecondition(
                    "%s: no host of %s may be asked to %s; check its hosts.toml"
                            .formatted(
                                    what,
                                    reference.registry(),
                                    capability == Capability.RESOLVE ? "resolve tags" : "pull"));
        }
        if (trusted.isEmpty()) {
            throw new ImageException(
                    ErrorKind.DATA_LOSS,
                    "%s: all hosts of %s sent wrong bytes".formatted(what, reference.registry()));
        }
        return trusted;
    }

    private Tally tally(RegistryHost host) {
        return tally(HostFailures.label(host));
    }

    private Tally tally(String label) {
        synchronized (tallies) {
            return tallies.computeIfAbsent(label, host -> new Tally(host, heard));
        }
    }

    @Override
    public List<SourceUse> sources() {
        List<SourceUse> uses = new ArrayList<>();
        synchronized (tallies) {
            for (Tally tally : tallies.values()) {
                SourceUse use = tally.use();
                if (use.blobBytes() > 0 || use.retries() > 0 || use.dropped().isPresent()) {
                    uses.add(use);
                }
            }
        }
        return uses;
    }

    @Override
    public boolean distrust(Reference repository, String host, String reason)
            throws ImageException {
        tally(host).distrust(reason);
        for (RegistryHost other : options.hosts().asked(repository.registry())) {
            if (other.can(Capability.PULL) && !tally(other).isDistrusted()) {
                tally(host).tell();
                return true;
            }
        }
        return false;
    }

    /// Makes an operation one that [#close()] ends; [#end(Operation)] follows.
    Operation begin() {
        Operation operation = new Operation(heard);
        active.add(operation);
        if (closed) {
            operation.cancel();
        }
        return operation;
    }

    void end(Operation operation) {
        active.remove(operation);
    }

    Endpoint endpoint(RegistryHost host) throws ImageException {
        Endpoint known = endpoints.get(host);
        if (known != null) {
            return known;
        }
        return endpoints.keep(
                host,
                origin == null
                        ? Endpoint.registry(host, options, connections, retries)
                        : origin.endpoint(host).as(options));
    }

    private FetchedManifest fetchManifest(
            Endpoint endpoint,
            Ask ask,
            Optional<Digest> digest,
            @Nullable Descriptor descriptor,
            Try attempt)
            throws ImageException {
        Answer answer = attempt.get(endpoint, ask);
        byte[] content;
        try {
            if (answer.status() != 200) {
                throw ImageException.invalidContent(
                        "%s: %s sent a part of it that nobody asked for"
                                .formatted(ask.what(), answer.from()));
            }
            content = readAll(ask.what(), answer, descriptor);
        } catch (ImageException e) {
            answer.abort();
            throw e;
        } catch (IOException e) {
            answer.abort();
            attempt.operation.check(ask.what(), e);
            throw TransportFailure.of(e).exception(ask.what(), answer.from(), e);
        }
        answer.close();
        String type = answer.response().header("Content-Type", "");
        if (descriptor != null) {
            requireType(ask.what(), answer.from(), descriptor, type == null ? "" : type);
            return verified(ask.what(), answer.from(), content, descriptor);
        }
        Digest got = requestedOrStated(ask.what(), answer, digest, content);
        Bytes bytes = Bytes.of(content);
        ManifestDocument document =
                ManifestDocument.parse(
                        ask.what() + " from " + answer.from(),
                        bytes,
                        type == null || type.isEmpty() ? Optional.empty() : Optional.of(type),
                        options.limits());
        return new FetchedManifest(
                new Descriptor(document.mediaType(), got, content.length), bytes, answer.from());
    }

    /// Reads a manifest whole: at most as much as the descriptor, or else the limit, allows.
    private byte[] readAll(String what, Answer answer, @Nullable Descriptor descriptor)
            throws IOException {
        long limit = descriptor == null ? options.limits().manifestBytes() : descriptor.sizeBytes();
        try (Deadline deadline = Deadline.start(answer.call(), options.headerTimeout())) {
            BufferedSource source = answer.response().body().source();
            boolean longer;
            try {
                longer = source.request(limit + 1);
            } catch (IOException e) {
                throw deadline.explain(e);
            }
            long size = source.getBuffer().size();
            if (descriptor != null && (longer || size != limit)) {
                throw new SizeMismatchException(what + " from " + answer.from(), limit, size);
            }
            if (longer) {
                throw options.limits()
                        .exceeded(Limits.Key.MANIFEST_BYTES, what + " from " + answer.from());
            }
            return source.getBuffer().readByteArray();
        }
    }

    /// The digest of what was received, after comparing it with what was asked for and with what
    /// the registry says it is.
    static Digest requestedOrStated(
            String what, Answer answer, Optional<Digest> requested, byte[] content)
            throws ImageException {
        String header = answer.response().header("Docker-Content-Digest");
        Digest stated =
                header == null || header.isEmpty() ? null : statedDigest(what, answer, header);
        Digest wanted = requested.orElse(stated);
        Digest got = wanted == null ? Digest.sha256(content) : wanted.ofSameAlgorithm(content);
        if (wanted != null && !got.equals(wanted)) {
            throw new DigestMismatchException(
                    what + " from " + answer.from(), wanted, got, content.length);
        }
        if (stated != null && !stated.equals(stated.ofSameAlgorithm(content))) {
            throw new DigestMismatchException(
                    what + ", Docker-Content-Digest of " + answer.from(),
                    stated,
                    stated.ofSameAlgorithm(content),
                    content.length);
        }
        return got;
    }

    private static Digest statedDigest(String what, Answer answer, String header)
            throws ImageException {
        try {
            return Digest.parse(header);
        } catch (ImageException e) {
            throw new ImageException(
                    ErrorKind.INVALID_CONTENT,
                    "%s: Docker-Content-Digest of %s: %s"
                            .formatted(what, answer.from(), e.getMessage()),
                    e);
        }
    }

    private static void requireType(
            String what, String from, Descriptor descriptor, String contentType)
            throws ImageException {
        boolean agrees =
                switch (MediaType.of(contentType)) {
                    case MediaType.IndexType _, MediaType.ManifestType _, MediaType.Schema1Type _ ->
                            contentType.startsWith(descriptor.mediaType());
                    case MediaType.ConfigType _, MediaType.LayerType _, MediaType.OpaqueType _ ->
                            true;
                };
        if (!agrees) {
            throw ImageException.invalidContent(
                    "%s: ambiguous manifest refused: the index says it is \"%s\" and %s says \"%s\""
                            .formatted(
                                    what,
                                    Text.printable(descriptor.mediaType(), 120),
                                    from,
                                    Text.printable(contentType, 120)));
        }
    }

    private FetchedManifest verified(
            String what, String from, byte[] content, Descriptor descriptor) throws ImageException {
        Digest got = descriptor.digest().ofSameAlgorithm(content);
        if (!got.equals(descriptor.digest())) {
            throw new DigestMismatchException(
                    what + " from " + from, descriptor.digest(), got, content.length);
        }
        Bytes bytes = Bytes.of(content);
        ManifestDocument document =
                ManifestDocument.parse(
                        what + " from " + from,
                        bytes,
                        Optional.of(descriptor.mediaType()),
                        options.limits());
        return new FetchedManifest(
                new Descriptor(document.mediaType(), got, content.length), bytes, from);
    }

    /// The content that a descriptor carries, if it is what the descriptor says.
    private static byte @Nullable [] embedded(Descriptor descriptor) {
        if (descriptor.data().isEmpty()
                || descriptor.data().get().size() != descriptor.sizeBytes()) {
            return null;
        }
        byte[] content = descriptor.data().get().toArray();
        return descriptor.digest().ofSameAlgorithm(content).equals(descriptor.digest())
                ? content
                : null;
    }

    /// As [#open]; when the registry itself cannot even be asked, that is its failure.
    private BlobStream openBeside(
            HostFailures unusable, List<BlobSource> sources, long size, BlobWish wish)
            throws ImageException {
        try {
            return open(sources, size, wish);
        } catch (ImageException e) {
            throw unusable.hasOwn() && e.kind() != ErrorKind.CANCELLED
                    ? unusable.reportBeside(sources.getLast().host(), e)
                    : e;
        }
    }

    private BlobStream open(List<BlobSource> sources, long size, BlobWish wish)
            throws ImageException {
        Operation operation = begin();
        HttpBlobStream stream =
                new HttpBlobStream(
                        sources,
                        wish,
                        size,
                        options,
                        retries,
                        memory,
                        bandwidth,
                        operation,
                        () -> active.remove(operation));
        try {
            stream.open();
            return stream;
        } catch (ImageException | RuntimeException e) {
            stream.close();
            throw e;
        }
    }

    private BlobStream foreignBlob(
            Reference repository, String what, Descriptor descriptor, BlobWish wish)
            throws ImageException {
        if (!options.foreignLayers()) {
            throw new ImageException(
                    ErrorKind.PERMISSION_DENIED,
                    "%s: not in the registry; the image names \"%s\" for this layer, and fetching from such places is off; set registry.foreign_layers = true in the configuration of the program that fetches, to allow it for every image"
                            .formatted(what, Urls.printable(descriptor.urls().getFirst())));
        }
        ImageException refused = null;
        List<BlobSource> sources = new ArrayList<>();
        for (String text : descriptor.urls()) {
            HttpUrl url = HttpUrl.parse(text);
            if (url == null
                    || !url.isHttps()
                    || !url.encodedUsername().isEmpty()
                    || Urls.range(url.host()) != AddressRange.PUBLIC) {
                refused =
                        new ImageException(
                                ErrorKind.PERMISSION_DENIED,
                                "%s: not in the registry, and the URL \"%s\" is not fetched: wanted https, a public address and no user name; push the layer yourself: imgctl blob put %s FILE"
                                        .formatted(what, Urls.printable(text), repository.name()));
                continue;
            }
            Tally tally = tally(Urls.authority(url));
            if (tally.isDistrusted()) {
                refused =
                        new ImageException(
                                ErrorKind.DATA_LOSS,
                                "%s: not in the registry, and %s sent wrong bytes"
                                        .formatted(what, tally.host()));
                continue;
            }
            Endpoint endpoint = Endpoint.foreign(url, foreignPlaces, options, connections, retries);
            Ask ask = new Ask(what, url, "", null, null);
            sources.add(new BlobSource(endpoint, ask, tally, Part.IMAGE, true, false));
        }
        if (!sources.isEmpty()) {
            return open(sources, descriptor.sizeBytes(), wish);
        }
        if (refused == null) {
            throw new IllegalStateException("a foreign layer without URLs");
        }
        throw refused;
    }

    @Override
    public void close() {
        closed = true;
        active.forEach(Operation::cancel);
        sessions.forEach(HttpRegistryClient::close);
        if (parent != null) {
            parent.sessions.remove(this);
        } else {
            connections.close();
        }
    }
}
