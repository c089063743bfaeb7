package dev.imgd.testkit;

import static dev.imgd.registry.EmbeddedRegistry.refuse;

import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.registry.LoopbackServer.Exchange;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Queue;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.jspecify.annotations.Nullable;

/// Uploads in progress. What arrived of a body whose connection broke is kept, as real registries
/// do, so that clients can go on. **Source:** distribution-spec v1.1 § Push.
final class Uploads {
    private static final int NO_MINIMUM = 0;

    /// One upload; its monitor is held while a request adds to it.
    private static final class Upload {
        final ByteArrayOutputStream content = new ByteArrayOutputStream();
        boolean hadShortChunk;

        /// `0-0` also stands for nothing yet: the form has no way to say that.
        String range() {
            return "0-" + Math.max(0, content.size() - 1);
        }
    }

    private final RepositoryContent content;
    private final Set<RegistryFeature> features;
    private final Map<String, Upload> uploads = new ConcurrentHashMap<>();
    private final Queue<Integer> breaks = new ConcurrentLinkedQueue<>();
    private volatile int minimumChunk = NO_MINIMUM;
    private volatile String locationPrefix = "";

    Uploads(RepositoryContent content, Set<RegistryFeature> features) {
        this.content = content;
        this.features = features;
    }

    void minimumChunk(int bytes) {
        minimumChunk = bytes;
    }

    void locationPrefix(String prefix) {
        locationPrefix = prefix;
    }

    void breakAfter(int... bytes) {
        for (int count : bytes) {
            breaks.add(count);
        }
    }

    void forget() {
        uploads.clear();
    }

    int count() {
        return uploads.size();
    }

    /// @param id empty for a new upload
    void handle(Exchange exchange, String repository, String id) throws IOException {
        if (id.isEmpty()) {
            if (exchange.method().equals("POST")) {
                begin(exchange, repository);
            } else {
                refuse(exchange, 405, "UNSUPPORTED", "uploads begin with POST");
            }
            return;
        }
        Upload upload = uploads.get(id);
        if (upload == null) {
            refuse(exchange, 404, "BLOB_UPLOAD_UNKNOWN", "no such upload");
            return;
        }
        if (exchange.query("_state").isEmpty()) {
            refuse(exchange, 400, "BLOB_UPLOAD_INVALID", "the query of the Location was left out");
            return;
        }
        synchronized (upload) {
            switch (exchange.method()) {
                case "PATCH" -> {
                    if (takeChunk(exchange, repository, id, upload)) {
                        exchange.respond(202, headers(repository, id, upload), new byte[0]);
                    }
                }
                case "PUT" -> finish(exchange, repository, id, upload);
                case "GET" -> {
                    if (features.contains(RegistryFeature.UPLOAD_STATUS)) {
                        exchange.respond(204, headers(repository, id, upload), new byte[0]);
                    } else {
                        refuse(exchange, 405, "UNSUPPORTED", "the status of uploads is not told");
                    }
                }
                case "DELETE" -> {
                    uploads.remove(id);
                    exchange.respond(204, Map.of(), new byte[0]);
                }
                default -> refuse(exchange, 405, "UNSUPPORTED", "not a method of uploads");
            }
        }
    }

    private void begin(Exchange exchange, String repository) throws IOException {
        Optional<String> mount = exchange.query("mount");
        if (mount.isPresent()) {
            Digest digest = parse(mount.get());
            if (digest == null) {
                refuse(exchange, 400, "DIGEST_INVALID", "mount is not a digest");
                return;
            }
            if (mayMount(exchange.query("from"))
                    && content.mount(exchange.query("from"), digest, repository)) {
                stored(exchange, repository, digest);
                return;
            }
        }
        Optional<String> algorithm = exchange.query("digest-algorithm");
        if (algorithm.isPresent() && !isKnown(algorithm.get())) {
            refuse(exchange, 400, "DIGEST_INVALID", "unknown digest algorithm");
            return;
        }
        String id = UUID.randomUUID().toString();
        Upload upload = new Upload();
        uploads.put(id, upload);
        if (exchange.query("digest").isPresent()
                && features.contains(RegistryFeature.SINGLE_POST)) {
            synchronized (upload) {
                finish(exchange, repository, id, upload);
            }
            return;
        }
        Map<String, String> headers = headers(repository, id, upload);
        if (minimumChunk > NO_MINIMUM) {
            headers.put("OCI-Chunk-Min-Length", Integer.toString(minimumChunk));
        }
        exchange.respond(202, headers, new byte[0]);
    }

    private boolean mayMount(Optional<String> from) {
        return features.contains(RegistryFeature.MOUNT)
                && (from.isPresent() || features.contains(RegistryFeature.ANONYMOUS_MOUNT));
    }

    private static boolean isKnown(String algorithm) {
        for (Digest.Algorithm known : Digest.Algorithm.values()) {
            if (known.label().equals(algorithm)) {
                return true;
            }
        }
        return false;
    }

    /// Appends the body of a request.
    ///
    /// @return false when it was refused and answered
    private boolean takeChunk(Exchange exchange, String repository, String id, Upload upload)
            throws IOException {
        Optional<String> range = exchange.header("Content-Range");
        long announced = -1;
        if (range.isPresent()) {
            long[] ends = range(range.get());
            if (ends == null) {
                refuse(exchange, 400, "BLOB_UPLOAD_INVALID", "Content-Range is not first-last");
                return false;
            }
            if (ends[0] != upload.content.size()) {
                exchange.respond(416, headers(repository, id, upload), new byte[0]);
                return false;
            }
            announced = ends[1] - ends[0] + 1;
            Optional<String> length = exchange.header("Content-Length");
            if (length.isPresent() && !length.get().equals(Long.toString(announced))) {
                refuse(exchange, 400, "SIZE_INVALID", "Content-Length is not that of the range");
                return false;
            }
        }
        int before = upload.content.size();
        receive(exchange, upload);
        int count = upload.content.size() - before;
        if (announced >= 0 && count != announced) {
            refuse(exchange, 400, "SIZE_INVALID", "the body is not as long as its range");
            return false;
        }
        if (count > 0 && upload.hadShortChunk) {
            refuse(exchange, 400, "BLOB_UPLOAD_INVALID", "a short chunk was not the last");
            return false;
        }
        upload.hadShortChunk = count > 0 && count < minimumChunk;
        return true;
    }

    private void receive(Exchange exchange, Upload upload) throws IOException {
        InputStream in = exchange.body();
        byte[] buffer = new byte[64 << 10];
        int count = in.read(buffer);
        if (count < 0) {
            return;
        }
        Integer breakAfter = breaks.poll();
        long left = breakAfter == null ? Long.MAX_VALUE : breakAfter;
        while (count >= 0) {
            upload.content.write(buffer, 0, (int) Math.min(count, left));
            left -= count;
            if (left <= 0) {
                exchange.reset();
                throw new IOException("the connection breaks here, as the test wants");
            }
            count = in.read(buffer);
        }
    }

    private static long @Nullable [] range(String header) {
        int dash = header.indexOf('-');
        try {
            if (dash > 0) {
                long first = Long.parseLong(header.substring(0, dash));
                long last = Long.parseLong(header.substring(dash + 1));
                return first <= last ? new long[] {first, last} : null;
            }
        } catch (NumberFormatException e) {
            // answered as any other malformed header
        }
        return null;
    }

    private void finish(Exchange exchange, String repository, String id, Upload upload)
            throws IOException {
        Digest digest = parse(exchange.query("digest").orElse(""));
        if (digest == null) {
            refuse(exchange, 400, "DIGEST_INVALID", "digest is missing or not a digest");
            return;
        }
        if (!takeChunk(exchange, repository, id, upload)) {
            return;
        }
        uploads.remove(id);
        byte[] bytes = upload.content.toByteArray();
        if (!digest.ofSameAlgorithm(bytes).equals(digest)) {
            refuse(exchange, 400, "DIGEST_INVALID", "the content has another digest");
            return;
        }
        content.putBlob(repository, digest, bytes);
        stored(exchange, repository, digest);
    }

    private void stored(Exchange exchange, String repository, Digest digest) throws IOException {
        Map<String, String> headers = new HashMap<>();
        headers.put("Location", "/v2/" + repository + "/blobs/" + digest);
        if (features.contains(RegistryFeature.DIGEST_HEADER)) {
            headers.put("Docker-Content-Digest", digest.toString());
        }
        exchange.respond(201, headers, new byte[0]);
    }

    private Map<String, String> headers(String repository, String id, Upload upload) {
        Map<String, String> headers = new HashMap<>();
        headers.put(
                "Location",
                "%s/v2/%s/blobs/uploads/%s?_state=%d"
                        .formatted(locationPrefix, repository, id, upload.content.size()));
        headers.put("Docker-Upload-UUID", id);
        headers.put("Range", upload.range());
        return headers;
    }

    static @Nullable Digest parse(String text) {
        try {
            return Digest.parse(text);
        } catch (ImageException e) {
            return null;
        }
    }
}
