package dev.imgd.registry;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.Index;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.Manifest;
import dev.imgd.model.ManifestDocument;
import dev.imgd.model.MediaType;
import dev.imgd.model.Reference;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.locks.ReentrantLock;
import okhttp3.HttpUrl;
import okhttp3.RequestBody;
import org.jspecify.annotations.Nullable;

/// The index of a manifest's referrers where the registry has no referrers API: an ordinary index
/// under a tag made of the subject's digest, which its clients keep up to date.
///
/// Two clients that write at once may each overwrite the other. So a write is conditional where the
/// registry can do that, and is read again afterwards in any case. **Source:** distribution-spec
/// v1.1 § Referrers Tag Schema, § Pushing Manifests with Subject.
final class ReferrersTag {
    private static final int MAX_ATTEMPTS = 8;
    private static final int MAX_ALGORITHM_CHARS = 32;
    private static final int MAX_ENCODED_CHARS = 64;

    /// Writers of this process take turns: the registry may not be able to tell them apart.
    private static final ReentrantLock TURN = new ReentrantLock();

    private final Endpoint endpoint;
    private final Operation operation;
    private final RegistryOptions options;
    private final RetryPolicy retries;
    private final Reference reference;
    private final String what;

    /// @param endpoint the host whose list it is; lists are not looked for elsewhere
    ReferrersTag(
            Endpoint endpoint,
            Operation operation,
            RegistryOptions options,
            RetryPolicy retries,
            Reference repository,
            Digest subject)
            throws ImageException {
        this.endpoint = endpoint;
        this.operation = operation;
        this.options = options;
        this.retries = retries;
        this.reference = repository.withTag(name(subject));
        this.what = "list of referrers " + reference;
    }

    /// The tag for a subject: `sha256-` and 64 hexadecimal digits.
    static String name(Digest subject) {
        return part(subject.algorithm().label(), MAX_ALGORITHM_CHARS)
                + '-'
                + part(subject.hex(), MAX_ENCODED_CHARS);
    }

    private static String part(String text, int maxChars) {
        StringBuilder name = new StringBuilder(maxChars);
        for (int i = 0; i < Math.min(text.length(), maxChars); i++) {
            char c = text.charAt(i);
            boolean allowed =
                    (c >= '0' && c <= '9')
                            || (c >= 'a' && c <= 'z')
                            || (c >= 'A' && c <= 'Z')
                            || c == '_'
                            || c == '.'
                            || c == '-';
            name.append(allowed ? c : '-');
        }
        return name.toString();
    }

    /// What the index says of a manifest with a subject.
    static Descriptor entry(Descriptor descriptor, ManifestDocument document) {
        Optional<String> type =
                document.artifactType().isPresent()
                        ? document.artifactType()
                        : document instanceof Manifest manifest
                                ? Optional.of(manifest.config().mediaType())
                                : Optional.empty();
        return new Descriptor(
                descriptor.mediaType(),
                descriptor.digest(),
                descriptor.sizeBytes(),
                document.annotations(),
                List.of(),
                Optional.empty(),
                type,
                Optional.empty());
    }

    /// Reads the list; empty when there is none.
    List<Descriptor> read() throws ImageException {
        return load(Scope.pull(reference.repository())).entries;
    }

    void add(Descriptor entry) throws ImageException {
        change(entry.digest(), entry);
    }

    void remove(Digest digest) throws ImageException {
        change(digest, null);
    }

    /// @param entry what the list is to have for the digest; null for nothing
    private void change(Digest digest, @Nullable Descriptor entry) throws ImageException {
        TURN.lock();
        try {
            for (int attempt = 1; ; attempt++) {
                State state = load(Scope.push(reference.repository()));
                boolean listed = state.entries.stream().anyMatch(d -> d.digest().equals(digest));
                if (listed == (entry != null)) {
                    return;
                }
                if (attempt > MAX_ATTEMPTS) {
                    throw ImageException.unavailable(
                            "%s: other writers overwrote it %d times; try again"
                                    .formatted(what, MAX_ATTEMPTS),
                            null);
                }
                if (attempt > 1) {
                    operation.pause(retries.delayMillis(attempt - 1, null), what);
                }
                List<Descriptor> next = new ArrayList<>(state.entries);
                if (entry == null) {
                    next.removeIf(d -> d.digest().equals(digest));
                } else {
                    next.add(entry);
                }
                // The next turn reads what has become of it.
                store(next, state.condition);
            }
        } finally {
            TURN.unlock();
        }
    }

    /// The list as it was read.
    ///
    /// @param condition the header that lets a write fail if another came first; empty when the
    ///   registry sends no `ETag`
    private record State(List<Descriptor> entries, Map<String, String> condition) {}

    private State load(Scope scope) throws ImageException {
        HttpUrl url = url();
        Ask ask = Ask.of(what, "GET", url, scope).withAccept(MediaType.OCI_INDEX);
        try (Answer answer = endpoint.exchange(ask, operation)) {
            if (answer.status() == 404) {
                return new State(List.of(), Map.of("If-None-Match", "*"));
            }
            if (answer.status() != 200) {
                throw answer.failure(what, false);
            }
            byte[] content = SmallBody.read(what, answer, options, operation);
            var _ = HttpRegistryClient.requestedOrStated(what, answer, Optional.empty(), content);
            ManifestDocument document =
                    ManifestDocument.parse(
                            what + " from " + answer.from(),
                            Bytes.of(content),
                            Optional.ofNullable(answer.response().header("Content-Type")),
                            options.limits());
            if (!(document instanceof Index index)) {
                throw ImageException.invalidContent(
                        what + ": wanted an index, got an image under that tag");
            }
            String tag = answer.response().header("ETag");
            return new State(index.manifests(), tag == null ? Map.of() : Map.of("If-Match", tag));
        }
    }

    private HttpUrl url() throws ImageException {
        return endpoint.url(reference.repository(), "manifests", reference.tag().orElseThrow());
    }

    private void store(List<Descriptor> entries, Map<String, String> condition)
            throws ImageException {
        JsonWriter json =
                JsonWriter.compact()
                        .beginObject()
                        .member("schemaVersion", 2)
                        .member("mediaType", MediaType.OCI_INDEX)
                        .beginArray("manifests");
        entries.forEach(entry -> entry.write(json));
        RequestBody body =
                RequestBody.create(
                        json.endArray().endObject().toBytes(),
                        okhttp3.MediaType.parse(MediaType.OCI_INDEX));
        Ask ask =
                Ask.of(what, "PUT", url(), Scope.push(reference.repository()))
                        .withHeaders(condition)
                        .withBody(body);
        try (Answer answer = endpoint.exchange(ask, operation)) {
            // 412: another writer was first, and the next turn takes its list.
            if (answer.status() / 100 != 2 && answer.status() != 412) {
                throw answer.failure(what, true);
            }
        }
    }
}
