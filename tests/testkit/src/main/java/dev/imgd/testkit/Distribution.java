package dev.imgd.testkit;

import static dev.imgd.registry.EmbeddedRegistry.refuse;

import dev.imgd.model.Bytes;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.Json;
import dev.imgd.model.JsonNode;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.MediaType;
import dev.imgd.registry.LoopbackServer.Exchange;
import dev.imgd.registry.LoopbackServer.Handler;
import dev.imgd.registry.RegistryContent.StoredBlob;
import dev.imgd.registry.RegistryContent.StoredManifest;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/// The endpoints of a registry, right in every case. **Source:** distribution-spec v1.1.
final class Distribution implements Handler {
    private static final int MAX_MANIFEST_BYTES = 4 << 20;
    private static final Pattern NAME =
            Pattern.compile(
                    "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*"
                            + "(?:/[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*)*");
    private static final Pattern TAG = Pattern.compile("[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}");
    private static final Pattern RANGE = Pattern.compile("bytes=([0-9]*)-([0-9]*)");

    private final RepositoryContent content;
    private final Set<RegistryFeature> features;
    private final Uploads uploads;
    private final Object names = new Object();
    private volatile int pageLimit = Integer.MAX_VALUE;

    Distribution(RepositoryContent content, Set<RegistryFeature> features, Uploads uploads) {
        this.content = content;
        this.features = features;
        this.uploads = uploads;
    }

    void pageLimit(int entries) {
        pageLimit = entries;
    }

    private enum Kind {
        TAGS,
        UPLOADS,
        BLOBS,
        MANIFESTS,
        REFERRERS
    }

    /// @param name of the repository
    /// @param rest what follows the kind
    private record Route(Kind kind, String name, String rest) {
        static @Nullable Route of(String path) {
            if (path.endsWith("/tags/list")) {
                return of(Kind.TAGS, path, path.length() - 10, path.length());
            }
            int uploads = path.lastIndexOf("/blobs/uploads");
            if (uploads >= 0 && path.length() == uploads + 14) {
                return of(Kind.UPLOADS, path, uploads, path.length());
            }
            int last = path.lastIndexOf('/');
            if (uploads >= 0 && last == uploads + 14) {
                return of(Kind.UPLOADS, path, uploads, last + 1);
            }
            for (Kind kind : List.of(Kind.BLOBS, Kind.MANIFESTS, Kind.REFERRERS)) {
                String middle = '/' + kind.name().toLowerCase(Locale.ROOT) + '/';
                int at = last + 1 - middle.length();
                if (at > 0 && path.startsWith(middle, at)) {
                    return of(kind, path, at, last + 1);
                }
            }
            return null;
        }

        private static @Nullable Route of(Kind kind, String path, int nameEnd, int rest) {
            return nameEnd <= 4
                    ? null
                    : new Route(kind, path.substring(4, nameEnd), path.substring(rest));
        }
    }

    /// The repository that a path is about, or nothing.
    static String repository(String path) {
        Route route = path.startsWith("/v2/") ? Route.of(path) : null;
        return route == null ? "" : route.name;
    }

    @Override
    public void handle(Exchange exchange) throws IOException {
        String path = exchange.path();
        if (path.equals("/v2/") || path.equals("/v2")) {
            exchange.respond(200, headers("application/json"), new byte[] {'{', '}'});
        } else if (path.equals("/v2/_catalog")) {
            catalog(exchange);
        } else {
            Route route = path.startsWith("/v2/") ? Route.of(path) : null;
            if (route == null) {
                refuse(exchange, 404, "UNSUPPORTED", "no such endpoint");
            } else if (!NAME.matcher(route.name).matches()) {
                refuse(exchange, 400, "NAME_INVALID", "not the name of a repository");
            } else {
                handle(exchange, route);
            }
        }
    }

    private void handle(Exchange exchange, Route route) throws IOException {
        switch (route.kind) {
            case UPLOADS -> uploads.handle(exchange, route.name, route.rest);
            case TAGS -> {
                if (requireRead(exchange)) {
                    tags(exchange, route.name);
                }
            }
            case REFERRERS -> {
                if (requireRead(exchange)) {
                    referrers(exchange, route.name, route.rest);
                }
            }
            case BLOBS -> {
                Digest digest = Uploads.parse(route.rest);
                if (digest == null) {
                    refuse(exchange, 400, "DIGEST_INVALID", "not a digest");
                } else if (exchange.method().equals("DELETE")) {
                    delete(exchange, "BLOB_UNKNOWN", () -> content.deleteBlob(route.name, digest));
                } else if (requireRead(exchange)) {
                    blob(exchange, route.name, digest);
                }
            }
            case MANIFESTS -> {
                switch (exchange.method()) {
                    case "PUT" -> putManifest(exchange, route.name, route.rest);
                    case "DELETE" -> deleteManifest(exchange, route.name, route.rest);
                    default -> {
                        if (requireRead(exchange)) {
                            manifest(exchange, route.name, route.rest);
                        }
                    }
                }
            }
        }
    }

    private static boolean requireRead(Exchange exchange) throws IOException {
        if (exchange.method().equals("GET") || exchange.method().equals("HEAD")) {
            return true;
        }
        refuse(exchange, 405, "UNSUPPORTED", "not a method of this endpoint");
        return false;
    }

    private void blob(Exchange exchange, String name, Digest digest) throws IOException {
        Optional<StoredBlob> found = content.blob(name, digest);
        if (found.isEmpty()) {
            refuse(exchange, 404, "BLOB_UNKNOWN", "blob unknown to registry");
            return;
        }
        StoredBlob blob = found.get();
        long size = blob.sizeBytes();
        Map<String, String> headers = headers("application/octet-stream");
        addDigest(headers, digest);
        long first = 0;
        long last = size - 1;
        boolean partial = false;
        if (features.contains(RegistryFeature.RANGES)) {
            headers.put("Accept-Ranges", "bytes");
            var range = RANGE.matcher(exchange.header("Range").orElse(""));
            if (range.matches() && !(range.group(1).isEmpty() && range.group(2).isEmpty())) {
                partial = true;
                if (range.group(1).isEmpty()) {
                    first = Math.max(0, size - Long.parseLong(range.group(2)));
                } else {
                    first = Long.parseLong(range.group(1));
                    if (!range.group(2).isEmpty()) {
                        last = Math.min(last, Long.parseLong(range.group(2)));
                    }
                }
                if (first > last) {
                    headers.put("Content-Range", "bytes */" + size);
                    exchange.respond(416, headers, new byte[0]);
                    return;
                }
                headers.put("Content-Range", "bytes " + first + '-' + last + '/' + size);
            }
        }
        long length = last - first + 1;
        try (OutputStream to = exchange.respond(partial ? 206 : 200, headers, length)) {
            if (exchange.method().equals("GET")) {
                try (InputStream in = blob.open(first)) {
                    to.write(in.readNBytes(Math.toIntExact(length)));
                }
            }
        }
    }

    private void manifest(Exchange exchange, String name, String reference) throws IOException {
        Optional<StoredManifest> found = content.manifest(name, reference);
        if (found.isEmpty()) {
            if (content.exists(name)) {
                refuse(exchange, 404, "MANIFEST_UNKNOWN", "manifest unknown");
            } else {
                refuse(exchange, 404, "NAME_UNKNOWN", "repository name not known to registry");
            }
            return;
        }
        Map<String, String> headers = headers(found.get().mediaType());
        addDigest(headers, found.get().digest());
        if (features.contains(RegistryFeature.ETAGS)) {
            headers.put("ETag", etag(found));
            if (exchange.header("If-None-Match").equals(Optional.of(etag(found)))) {
                exchange.respond(304, headers, new byte[0]);
                return;
            }
        }
        exchange.respond(200, headers, found.get().content().toArray());
    }

    private static String etag(Optional<StoredManifest> manifest) {
        return manifest.map(m -> '"' + m.digest().toString() + '"').orElse("");
    }

    /// A manifest that cannot be stored.
    private static final class Refused extends Exception {
        final transient int status;
        final transient String code;

        Refused(int status, String code, String message) {
            super(message);
            this.status = status;
            this.code = code;
        }
    }

    private void putManifest(Exchange exchange, String name, String reference) throws IOException {
        byte[] body = exchange.body().readNBytes(MAX_MANIFEST_BYTES + 1);
        try {
            if (body.length > MAX_MANIFEST_BYTES) {
                throw new Refused(413, "SIZE_INVALID", "manifests have at most 4 MiB");
            }
            List<String> tags = new ArrayList<>();
            Digest digest = Digest.sha256(body);
            if (reference.indexOf(':') < 0) {
                tags.add(reference);
            } else {
                Digest wanted = Uploads.parse(reference);
                if (wanted == null || !wanted.ofSameAlgorithm(body).equals(wanted)) {
                    throw new Refused(400, "DIGEST_INVALID", "the manifest has another digest");
                }
                digest = wanted;
                if (features.contains(RegistryFeature.TAG_PARAMETERS)) {
                    tags.addAll(queries(exchange, "tag"));
                }
            }
            for (String tag : tags) {
                if (!TAG.matcher(tag).matches()) {
                    throw new Refused(400, "TAG_INVALID", "not a tag");
                }
            }
            Optional<Digest> subject;
            String type;
            try {
                JsonNode json = Json.parse("manifest", body);
                type = mediaType(json, exchange.header("Content-Type").orElse(""));
                if (!features.contains(RegistryFeature.SPARSE)) {
                    requireReferences(name, json);
                }
                subject = subject(json);
            } catch (ImageException e) {
                throw new Refused(400, "MANIFEST_INVALID", e.getMessage());
            }
            store(exchange, name, type, digest, Bytes.of(body), tags);
            Map<String, String> headers = headers("application/json");
            headers.put("Location", "/v2/" + name + "/manifests/" + reference);
            addDigest(headers, digest);
            if (subject.isPresent() && features.contains(RegistryFeature.REFERRERS)) {
                headers.put("OCI-Subject", subject.get().toString());
            }
            if (features.contains(RegistryFeature.ETAGS)) {
                headers.put("ETag", '"' + digest.toString() + '"');
            }
            if (reference.indexOf(':') >= 0 && !tags.isEmpty()) {
                headers.put("OCI-Tag", String.join(", ", tags));
            }
            exchange.respond(201, headers, new byte[0]);
        } catch (Refused e) {
            refuse(exchange, e.status, e.code, String.valueOf(e.getMessage()));
        }
    }

    private void store(
            Exchange exchange,
            String name,
            String type,
            Digest digest,
            Bytes body,
            List<String> tags)
            throws Refused {
        synchronized (names) {
            if (features.contains(RegistryFeature.ETAGS)) {
                for (String tag : tags) {
                    Optional<StoredManifest> present = content.manifest(name, tag);
                    Optional<String> match = exchange.header("If-Match");
                    boolean changed = match.isPresent() && !match.get().equals(etag(present));
                    boolean exists =
                            present.isPresent()
                                    && exchange.header("If-None-Match").equals(Optional.of("*"));
                    if (changed || exists) {
                        throw new Refused(412, "DENIED", "the tag is not as the condition wants");
                    }
                }
            }
            content.putManifest(name, type, digest, body, tags.toArray(new String[0]));
        }
    }

    private static String mediaType(JsonNode json, String contentType)
            throws ImageException, Refused {
        int parameters = contentType.indexOf(';');
        String type = (parameters < 0 ? contentType : contentType.substring(0, parameters)).strip();
        String stated = json.text("mediaType", "");
        if (type.isEmpty() && stated.isEmpty()) {
            throw new Refused(400, "MANIFEST_INVALID", "no Content-Type and no mediaType");
        }
        if (!type.isEmpty() && !stated.isEmpty() && !type.equals(stated)) {
            throw new Refused(400, "MANIFEST_INVALID", "mediaType differs from Content-Type");
        }
        return type.isEmpty() ? stated : type;
    }

    private void requireReferences(String name, JsonNode json) throws ImageException, Refused {
        List<JsonNode> blobs = new ArrayList<>(json.items("layers"));
        json.find("config").ifPresent(blobs::add);
        for (JsonNode blob : blobs) {
            MediaType type = MediaType.of(blob.text("mediaType", ""));
            boolean elsewhere = type instanceof MediaType.LayerType layer && layer.foreign();
            Digest digest = Digest.parse(blob.require("digest").text());
            if (!elsewhere && content.blob(name, digest).isEmpty()) {
                throw new Refused(400, "MANIFEST_BLOB_UNKNOWN", "blob " + digest + " is missing");
            }
        }
        for (JsonNode manifest : json.items("manifests")) {
            String digest = Digest.parse(manifest.require("digest").text()).toString();
            if (content.manifest(name, digest).isEmpty()) {
                throw new Refused(
                        400, "MANIFEST_BLOB_UNKNOWN", "manifest " + digest + " is missing");
            }
        }
    }

    private static Optional<Digest> subject(JsonNode json) throws ImageException {
        Optional<JsonNode> subject = json.find("subject");
        return subject.isEmpty()
                ? Optional.empty()
                : Optional.of(Digest.parse(subject.get().require("digest").text()));
    }

    private void deleteManifest(Exchange exchange, String name, String reference)
            throws IOException {
        if (reference.indexOf(':') < 0) {
            delete(exchange, "MANIFEST_UNKNOWN", () -> content.deleteTag(name, reference));
            return;
        }
        Digest digest = Uploads.parse(reference);
        if (digest == null) {
            refuse(exchange, 400, "DIGEST_INVALID", "not a digest");
        } else {
            delete(exchange, "MANIFEST_UNKNOWN", () -> content.deleteManifest(name, digest));
        }
    }

    private interface Deletion {
        boolean run();
    }

    private void delete(Exchange exchange, String unknown, Deletion deletion) throws IOException {
        if (!features.contains(RegistryFeature.DELETE)) {
            refuse(exchange, 405, "UNSUPPORTED", "nothing is deleted here");
        } else if (deletion.run()) {
            exchange.respond(202, headers("application/json"), new byte[0]);
        } else {
            refuse(exchange, 404, unknown, "not there");
        }
    }

    private void tags(Exchange exchange, String name) throws IOException {
        if (!content.exists(name)) {
            refuse(exchange, 404, "NAME_UNKNOWN", "repository name not known to registry");
            return;
        }
        Page page = page(exchange, content.tags(name));
        if (page == null) {
            return;
        }
        byte[] body =
                JsonWriter.compact()
                        .beginObject()
                        .member("name", name)
                        .member("tags", page.entries)
                        .endObject()
                        .toBytes();
        exchange.respond(200, page.headers("/v2/" + name + "/tags/list"), body);
    }

    private void catalog(Exchange exchange) throws IOException {
        if (!features.contains(RegistryFeature.CATALOG)) {
            refuse(exchange, 404, "UNSUPPORTED", "no such endpoint");
            return;
        }
        Page page = page(exchange, content.repositories());
        if (page == null) {
            return;
        }
        byte[] body =
                JsonWriter.compact()
                        .beginObject()
                        .member("repositories", page.entries)
                        .endObject()
                        .toBytes();
        exchange.respond(200, page.headers("/v2/_catalog"), body);
    }

    /// Some entries of a sorted list.
    ///
    /// @param limit how many there are at most
    /// @param more whether others follow
    private record Page(List<String> entries, int limit, boolean more) {
        Map<String, String> headers(String path) {
            Map<String, String> headers = Distribution.headers("application/json");
            if (more) {
                String last = encoded(entries.getLast());
                headers.put("Link", "<%s?last=%s&n=%d>; rel=\"next\"".formatted(path, last, limit));
            }
            return headers;
        }
    }

    /// @return null when the request was refused and answered
    private @Nullable Page page(Exchange exchange, List<String> sorted) throws IOException {
        int limit = pageLimit;
        Optional<String> n = exchange.query("n");
        if (n.isPresent()) {
            try {
                limit = Math.min(limit, Integer.parseInt(n.get()));
            } catch (NumberFormatException e) {
                limit = -1;
            }
            if (limit < 0) {
                refuse(exchange, 400, "PAGINATION_NUMBER_INVALID", "n is not a number");
                return null;
            }
        }
        String last = exchange.query("last").orElse("");
        List<String> after = sorted.stream().filter(entry -> entry.compareTo(last) > 0).toList();
        boolean more = limit > 0 && after.size() > limit;
        return new Page(after.subList(0, Math.min(limit, after.size())), limit, more);
    }

    private void referrers(Exchange exchange, String name, String subject) throws IOException {
        if (!features.contains(RegistryFeature.REFERRERS)) {
            refuse(exchange, 404, "UNSUPPORTED", "no such endpoint");
            return;
        }
        Digest digest = Uploads.parse(subject);
        if (digest == null) {
            refuse(exchange, 400, "DIGEST_INVALID", "not a digest");
            return;
        }
        Optional<String> wantedType =
                features.contains(RegistryFeature.REFERRERS_FILTER)
                        ? exchange.query("artifactType")
                        : Optional.empty();
        String last = exchange.query("last").orElse("");
        Map<String, String> headers = headers(MediaType.OCI_INDEX);
        wantedType.ifPresent(_ -> headers.put("OCI-Filters-Applied", "artifactType"));
        JsonWriter json =
                JsonWriter.compact()
                        .beginObject()
                        .member("schemaVersion", 2)
                        .member("mediaType", MediaType.OCI_INDEX)
                        .beginArray("manifests");
        int count = 0;
        String previous = "";
        for (StoredManifest manifest : content.manifests(name)) {
            Optional<JsonNode> referrer = referrer(manifest, digest);
            String key = manifest.digest().toString();
            if (referrer.isEmpty()
                    || key.compareTo(last) <= 0
                    || !wantedType.map(artifactType(referrer.get())::equals).orElse(true)) {
                continue;
            }
            if (count == pageLimit) {
                String filter = wantedType.map(t -> "&artifactType=" + encoded(t)).orElse("");
                headers.put(
                        "Link",
                        "</v2/%s/referrers/%s?last=%s%s>; rel=\"next\""
                                .formatted(name, digest, previous, filter));
                break;
            }
            count++;
            previous = key;
            describe(json, manifest, referrer.get());
        }
        exchange.respond(200, headers, json.endArray().endObject().toBytes());
    }

    private static Optional<JsonNode> referrer(StoredManifest manifest, Digest subject) {
        try {
            JsonNode json = Json.parse("manifest", manifest.content().toArray());
            return subject(json).equals(Optional.of(subject))
                    ? Optional.of(json)
                    : Optional.empty();
        } catch (ImageException e) {
            return Optional.empty(); // hostile content that a test put here refers to nothing
        }
    }

    /// Of an artifact, or else the type of an image's configuration; empty for an index without.
    private static String artifactType(JsonNode json) throws ImageException {
        String type = json.text("artifactType", "");
        Optional<JsonNode> config = json.find("config");
        return type.isEmpty() && config.isPresent() ? config.get().text("mediaType", "") : type;
    }

    private static void describe(JsonWriter json, StoredManifest manifest, JsonNode parsed)
            throws ImageException {
        json.beginObject()
                .member("mediaType", manifest.mediaType())
                .member("digest", manifest.digest().toString())
                .member("size", manifest.content().size());
        String type = artifactType(parsed);
        if (!type.isEmpty()) {
            json.member("artifactType", type);
        }
        Map<String, String> annotations = parsed.textMap("annotations");
        if (!annotations.isEmpty()) {
            json.member("annotations", annotations);
        }
        json.endObject();
    }

    private static String encoded(String text) {
        return URLEncoder.encode(text, StandardCharsets.UTF_8);
    }

    private static List<String> queries(Exchange exchange, String name) {
        List<String> values = new ArrayList<>();
        int query = exchange.target().indexOf('?');
        if (query >= 0) {
            for (String pair : exchange.target().substring(query + 1).split("&", -1)) {
                if (pair.startsWith(name + '=')) {
                    values.add(
                            URLDecoder.decode(
                                    pair.substring(name.length() + 1), StandardCharsets.UTF_8));
                }
            }
        }
        return values;
    }

    private void addDigest(Map<String, String> headers, Digest digest) {
        if (features.contains(RegistryFeature.DIGEST_HEADER)) {
            headers.put("Docker-Content-Digest", digest.toString());
        }
    }

    private static Map<String, String> headers(String contentType) {
        Map<String, String> headers = new HashMap<>();
        headers.put("Content-Type", contentType);
        headers.put("Docker-Distribution-Api-Version", "registry/2.0");
        return headers;
    }
}
