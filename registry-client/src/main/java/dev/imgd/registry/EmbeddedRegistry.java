package dev.imgd.registry;

import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.JsonWriter;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// A registry in this process that only serves pulls, on a loopback port. **Source:**
/// distribution-spec v1.1 § Pull, § Content Discovery.
public final class EmbeddedRegistry implements AutoCloseable {
    private final LoopbackServer server;

    private EmbeddedRegistry(LoopbackServer server) {
        this.server = server;
    }

    /// Starts serving on a free port.
    public static EmbeddedRegistry start(RegistryContent content) throws IOException {
        return new EmbeddedRegistry(LoopbackServer.start(handler(content)));
    }

    /// `localhost:<port>`, the registry of references to what is served.
    public String authority() {
        return server.authority();
    }

    @Override
    public void close() {
        server.close();
    }

    /// The requests of a pull, answered from content.
    public static LoopbackServer.Handler handler(RegistryContent content) {
        return exchange -> serve(exchange, content);
    }

    private static void serve(LoopbackServer.Exchange exchange, RegistryContent content)
            throws IOException {
        String path = exchange.path();
        boolean read = exchange.method().equals("GET") || exchange.method().equals("HEAD");
        if (!read) {
            refuse(exchange, 405, "UNSUPPORTED", "this registry can only be read");
        } else if (path.equals("/v2/") || path.equals("/v2")) {
            exchange.respond(200, headers("application/json"), new byte[] {'{', '}'});
        } else if (path.startsWith("/v2/") && path.endsWith("/tags/list")) {
            tags(exchange, path.substring(4, path.length() - 10), content);
        } else {
            int manifests = path.lastIndexOf("/manifests/");
            int blobs = path.lastIndexOf("/blobs/");
            if (manifests > 3) {
                manifest(
                        exchange,
                        path.substring(4, manifests),
                        path.substring(manifests + 11),
                        content);
            } else if (blobs > 3) {
                blob(exchange, path.substring(4, blobs), path.substring(blobs + 7), content);
            } else {
                refuse(exchange, 404, "UNSUPPORTED", "no such endpoint");
            }
        }
    }

    private static void tags(
            LoopbackServer.Exchange exchange, String repository, RegistryContent content)
            throws IOException {
        List<String> tags = content.tags(repository);
        if (tags.isEmpty()) {
            refuse(exchange, 404, "NAME_UNKNOWN", "repository name not known to registry");
            return;
        }
        byte[] body =
                JsonWriter.compact()
                        .beginObject()
                        .member("name", repository)
                        .member("tags", tags)
                        .endObject()
                        .toBytes();
        exchange.respond(200, headers("application/json"), body);
    }

    private static void manifest(
            LoopbackServer.Exchange exchange,
            String repository,
            String reference,
            RegistryContent content)
            throws IOException {
        var found = content.manifest(repository, reference);
        if (found.isEmpty()) {
            refuse(exchange, 404, "MANIFEST_UNKNOWN", "manifest unknown");
            return;
        }
        Map<String, String> headers = headers(found.get().mediaType());
        headers.put("Docker-Content-Digest", found.get().digest().toString());
        exchange.respond(200, headers, found.get().content().toArray());
    }

    private static void blob(
            LoopbackServer.Exchange exchange,
            String repository,
            String digest,
            RegistryContent content)
            throws IOException {
        Optional<RegistryContent.StoredBlob> found;
        try {
            found = content.blob(repository, Digest.parse(digest));
        } catch (ImageException e) {
            refuse(exchange, 400, "DIGEST_INVALID", "not a digest");
            return;
        }
        if (found.isEmpty()) {
            refuse(exchange, 404, "BLOB_UNKNOWN", "blob unknown to registry");
            return;
        }
        RegistryContent.StoredBlob blob = found.get();
        long size = blob.sizeBytes();
        Map<String, String> headers = headers("application/octet-stream");
        headers.put("Docker-Content-Digest", digest);
        headers.put("Accept-Ranges", "bytes");
        Range range = Range.of(exchange.header("Range"), size);
        if (range.first >= size && range.partial) {
            headers.put("Content-Range", "bytes */" + size);
            exchange.respond(416, headers, new byte[0]);
            return;
        }
        if (range.partial) {
            headers.put("Content-Range", "bytes " + range.first + '-' + range.last + '/' + size);
        }
        long length = range.last - range.first + 1;
        try (OutputStream to = exchange.respond(range.partial ? 206 : 200, headers, length)) {
            if (exchange.method().equals("GET")) {
                copy(blob, range.first, length, to);
            }
        }
    }

    private static void copy(
            RegistryContent.StoredBlob blob, long offset, long length, OutputStream to)
            throws IOException {
        byte[] buffer = new byte[Math.clamp(length, 1, 128 << 10)];
        try (InputStream in = blob.open(offset)) {
            for (long left = length; left > 0; ) {
                int count = in.read(buffer, 0, (int) Math.min(left, buffer.length));
                if (count < 0) {
                    throw new IOException("a blob became shorter while it was served");
                }
                to.write(buffer, 0, count);
                left -= count;
            }
        }
    }

    /// One range of bytes; what is not understood means the whole, as RFC 9110 §14.2 allows.
    private record Range(long first, long last, boolean partial) {
        static Range of(Optional<String> header, long size) {
            Range whole = new Range(0, size - 1, false);
            if (header.isEmpty() || !header.get().startsWith("bytes=")) {
                return whole;
            }
            String spec = header.get().substring(6);
            int dash = spec.indexOf('-');
            try {
                if (dash <= 0) {
                    return whole;
                }
                long first = Long.parseLong(spec.substring(0, dash));
                String end = spec.substring(dash + 1);
                long last = end.isEmpty() ? size - 1 : Math.min(Long.parseLong(end), size - 1);
                return first <= last || first >= size ? new Range(first, last, true) : whole;
            } catch (NumberFormatException e) {
                return whole;
            }
        }
    }

    /// Sends an error in the form of the specification.
    public static void refuse(
            LoopbackServer.Exchange exchange, int status, String code, String message)
            throws IOException {
        exchange.respond(status, headers("application/json"), errorBody(code, message));
    }

    /// The body of an error. **Source:** distribution-spec v1.1 § Error Codes.
    public static byte[] errorBody(String code, String message) {
        return JsonWriter.compact()
                .beginObject()
                .beginArray("errors")
                .beginObject()
                .member("code", code)
                .member("message", message)
                .endObject()
                .endArray()
                .endObject()
                .toBytes();
    }

    private static Map<String, String> headers(String contentType) {
        Map<String, String> headers = new HashMap<>();
        headers.put("Content-Type", contentType);
        headers.put("Docker-Distribution-Api-Version", "registry/2.0");
        return headers;
    }
}
