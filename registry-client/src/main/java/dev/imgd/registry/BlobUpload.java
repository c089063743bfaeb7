package dev.imgd.registry;

import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import dev.imgd.model.RegistryException;
import dev.imgd.model.Text;
import dev.imgd.registry.RegistryWriter.BlobOutcome;
import dev.imgd.registry.RegistryWriter.BlobSource;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import okhttp3.HttpUrl;
import okhttp3.RequestBody;
import org.jspecify.annotations.Nullable;

/// Brings one blob into one repository.
///
/// ```text
/// HEAD ── 200 ─────────────────────────────────────────────▶ existed
///  └─▶ POST ?mount&from ── 201 ────────────────────────────▶ mounted
///       └─▶ POST [?digest, with the bytes of a small blob] ▶ 201
///            └─▶ PATCH… then PUT ?digest; small: PUT alone ▶ uploaded
///                  └─ broken: GET the upload, go on from where it is, or anew
/// ```
///
/// A failure counts against the attempts of the options; progress of [#PROGRESS_BYTES] since the
/// last one makes the count start anew. For one thread. **Source:** distribution-spec v1.1 §
/// Pushing blobs.
final class BlobUpload {
    private static final long PROGRESS_BYTES = 256 << 10;

    /// Sent with the request that completes the upload: one round trip instead of two.
    private static final long MONOLITHIC_BYTES = 4 << 20;

    /// Sent with the request that begins the upload, where the registry takes that.
    private static final long SINGLE_POST_BYTES = 16 << 10;

    private static final long FIRST_CHUNK_BYTES = 64 << 20;
    private static final long LEAST_CHUNK_BYTES = 1 << 20;

    /// A registry hashes what it has received before it answers, at no less than this.
    private static final long HASHED_BYTES_PER_SECOND = 20 << 20;

    private static final int MAX_MOUNTS = 4;

    private final Endpoint endpoint;
    private final RetryPolicy retries;
    private final Operation operation;
    private final Reference repository;
    private final BlobSource source;
    private final String what;
    private final Digest.Algorithm algorithm;
    private final String digest;
    private final long size;

    /// Where the upload goes on; null when there is none.
    private @Nullable HttpUrl location;

    /// How many bytes the registry has.
    private long offset;

    /// The most that one PATCH carries.
    private long chunkBytes = Long.MAX_VALUE;

    /// The least that one carries, but for the last.
    private long leastChunkBytes;

    private boolean committing;
    private boolean resumed;
    private int failures;
    private long lastFailureAt = -1;

    /// When the registry wants to be asked again, from the answer that was the last failure.
    private @Nullable String retryAfter;

    BlobUpload(
            Endpoint endpoint,
            RetryPolicy retries,
            Operation operation,
            Reference repository,
            Descriptor blob,
            BlobSource source) {
        this.endpoint = endpoint;
        this.retries = retries;
        this.operation = operation;
        this.repository = repository;
        this.source = source;
        this.algorithm = blob.digest().algorithm();
        this.digest = blob.digest().toString();
        this.size = blob.sizeBytes();
        this.what = "push of blob " + digest + " to " + repository.name();
    }

    BlobOutcome run(List<Reference> mountFrom) throws ImageException {
        if (exists()) {
            return BlobOutcome.EXISTED;
        }
        if (mount(mountFrom)) {
            return BlobOutcome.MOUNTED;
        }
        boolean done = false;
        try {
            while (!done) {
                done = attempt();
            }
            return BlobOutcome.UPLOADED;
        } finally {
            if (!done) {
                abandon();
            }
        }
    }

    private boolean exists() throws ImageException {
        HttpUrl url = endpoint.url(repository.repository(), "blobs", digest);
        Ask ask = Ask.of(what, "HEAD", url, Scope.push(repository.repository()));
        try (Answer answer = endpoint.exchange(ask, operation)) {
            // Anything else is for the request that follows to be refused with a reason: the answer
            // to HEAD has none, and some registries deny it for a repository that is not there yet.
            return answer.status() == 200;
        }
    }

    private boolean mount(List<Reference> candidates) throws ImageException {
        int tried = 0;
        for (Reference from : candidates) {
            if (from.repository().equals(repository.repository()) || tried++ == MAX_MOUNTS) {
                continue;
            }
            HttpUrl url =
                    uploads()
                            .newBuilder()
                            .addEncodedQueryParameter("mount", digest)
                            .addQueryParameter("from", endpoint.repository(from.repository()))
                            .build();
            Scope scope = Scope.mount(repository.repository(), from.repository());
            try (Answer answer = endpoint.exchange(Ask.of(what, "POST", url, scope), operation)) {
                if (answer.status() == 201) {
                    return true;
                }
                if (answer.status() == 202) {
                    begun(answer);
                    return false;
                }
            } catch (RegistryException e) {
                if (e.kind() != ErrorKind.UNAUTHENTICATED
                        && e.kind() != ErrorKind.PERMISSION_DENIED) {
                    throw e;
                }
                // This account may push here and not read there.
            }
        }
        return false;
    }

    /// Where uploads begin. The registry is told the algorithm of the digest if it is not the usual
    /// one: it may hash while it receives.
    private HttpUrl uploads() throws ImageException {
        HttpUrl url = endpoint.url(repository.repository(), "blobs", "uploads/");
        return algorithm == Digest.Algorithm.SHA256
                ? url
                : url.newBuilder().addQueryParameter("digest-algorithm", algorithm.label()).build();
    }

    /// Goes on until the upload is complete or something fails.
    ///
    /// @return whether the blob is there
    private boolean attempt() throws ImageException {
        try {
            if (location == null && begin()) {
                return true;
            }
            if (size > MONOLITHIC_BYTES || offset > 0 || chunkBytes < size) {
                while (offset < size) {
                    sendChunk();
                    if (location == null) {
                        return false;
                    }
                }
            }
            return complete();
        } catch (UploadBody.SourceFailure e) {
            throw sourceFailure(e.failure());
        } catch (RegistryException e) {
            recover(e, e);
            return wasCommitted();
        } catch (ImageException e) {
            throw e;
        } catch (IOException e) {
            operation.check(what, e);
            TransportFailure failure = TransportFailure.of(e);
            recover(
                    new RegistryException(
                            ErrorKind.UNAVAILABLE,
                            "%s: %s has %d of %d bytes: %s"
                                    .formatted(
                                            what,
                                            endpoint.authority(),
                                            offset,
                                            size,
                                            failure.text()),
                            0,
                            List.of(),
                            e),
                    null);
            return wasCommitted();
        }
    }

    /// Whether the upload was completed after all and only the answer was lost.
    private boolean wasCommitted() throws ImageException {
        boolean asked = committing;
        committing = false;
        return asked && exists();
    }

    private ImageException sourceFailure(IOException failure) {
        return failure instanceof ImageException known
                ? known
                : new ImageException(
                        ErrorKind.UNAVAILABLE,
                        "%s: cannot read what is to be pushed: %s"
                                .formatted(
                                        what,
                                        Text.printable(String.valueOf(failure.getMessage()), 200)),
                        failure);
    }

    /// Opens an upload.
    ///
    /// @return whether that was all, because the registry took the bytes along with it
    private boolean begin() throws IOException {
        offset = 0;
        Scope scope = Scope.push(repository.repository());
        if (size <= SINGLE_POST_BYTES && endpoint.takesSinglePost()) {
            HttpUrl url = uploads().newBuilder().addEncodedQueryParameter("digest", digest).build();
            Ask ask = Ask.of(what, "POST", url, scope).withBody(body(0, size));
            try (Answer answer = endpoint.once(ask, operation)) {
                if (answer.status() == 201) {
                    return true;
                }
                if (answer.status() == 202) {
                    endpoint.refusesSinglePost();
                    begun(answer);
                    return false;
                }
                if (RetryPolicy.isTransient(answer.status())
                        || answer.status() == 401
                        || answer.status() == 403) {
                    throw refused(answer);
                }
                endpoint.refusesSinglePost();
            }
        }
        Ask ask = Ask.of(what, "POST", uploads(), scope);
        try (Answer answer = endpoint.exchange(ask, operation)) {
            if (answer.status() != 202) {
                throw refused(answer);
            }
            begun(answer);
            return false;
        }
    }

    private void begun(Answer answer) throws ImageException {
        offset = 0;
        move(answer, true);
        leastChunkBytes = number(answer.response().header("OCI-Chunk-Min-Length"));
    }

    private void sendChunk() throws IOException {
        long length = Math.min(size - offset, Math.max(chunkBytes, leastChunkBytes));
        Ask ask =
                Ask.of(what, "PATCH", location(), Scope.push(repository.repository()))
                        .withHeaders(Map.of("Content-Range", offset + "-" + (offset + length - 1)))
                        .withBody(body(offset, length));
        try (Answer answer = endpoint.once(ask, operation)) {
            int status = answer.status();
            if (status == 413 && shrink(length)) {
                resynchronize();
                return;
            }
            if (status / 100 != 2) {
                throw refused(answer);
            }
            long has = received(answer);
            move(answer, false);
            if (has < 0) {
                offset += length;
            } else if (has > offset && has <= offset + length) {
                offset = has;
            } else {
                throw outOfStep(has);
            }
        }
    }

    /// Makes the next chunk smaller after one was too large for the registry or a proxy before it.
    private boolean shrink(long refused) {
        long next =
                refused > FIRST_CHUNK_BYTES
                        ? FIRST_CHUNK_BYTES
                        : Math.max(refused / 4, LEAST_CHUNK_BYTES);
        if (next >= refused || next < leastChunkBytes) {
            return false;
        }
        chunkBytes = next;
        return true;
    }

    private ImageException outOfStep(long has) {
        location = null;
        return new RegistryException(
                ErrorKind.UNAVAILABLE,
                "%s: %s says it has %d bytes of this upload after %d were sent"
                        .formatted(what, endpoint.authority(), has, offset),
                416,
                List.of(),
                null);
    }

    /// @return whether the registry has accepted the blob; otherwise it is sent in smaller parts
    private boolean complete() throws IOException {
        HttpUrl url = location().newBuilder().addEncodedQueryParameter("digest", digest).build();
        long left = size - offset;
        Ask ask =
                Ask.of(what, "PUT", url, Scope.push(repository.repository()))
                        .withBody(left == 0 ? RequestBody.create(new byte[0]) : body(offset, left))
                        .withPatience(Duration.ofSeconds(size / HASHED_BYTES_PER_SECOND));
        committing = true;
        try (Answer answer = endpoint.once(ask, operation)) {
            int status = answer.status();
            if (status / 100 != 2) {
                committing = RetryPolicy.isTransient(status);
                if (status == 413 && left > 0 && shrink(left)) {
                    resynchronize();
                    return false;
                }
                throw refused(answer);
            }
            String stated = answer.response().header("Docker-Content-Digest");
            if (stated != null && !stated.isEmpty() && !stated.equals(digest)) {
                throw new ImageException(
                        ErrorKind.DATA_LOSS,
                        "%s: %s stored it as \"%s\""
                                .formatted(what, answer.from(), Text.printable(stated, 100)));
            }
            return true;
        }
    }

    private UploadBody body(long from, long length) {
        return new UploadBody(source, from, length, from + length == size);
    }

    private RegistryException refused(Answer answer) {
        retryAfter = answer.response().header("Retry-After");
        endpoint.heed(answer, retryAfter);
        return answer.failure(what, true);
    }

    /// Prepares another attempt, or gives up.
    ///
    /// @param answered the failure, where the registry answered
    private void recover(RegistryException failure, @Nullable RegistryException answered)
            throws ImageException {
        if (answered != null && !mayPass(answered)) {
            throw failure;
        }
        if (offset - lastFailureAt >= PROGRESS_BYTES) {
            failures = 0;
        }
        lastFailureAt = offset;
        if (++failures >= retries.attempts()) {
            throw failure;
        }
        if (failures > 1 && answered == null) {
            // A proxy that takes no body of this size may break the connection before it says so.
            boolean _ = shrink(Math.min(size - offset, chunkBytes));
        }
        String asked = retryAfter;
        retryAfter = null;
        operation.pause(retries.delayMillis(failures, asked), what);
        if (location != null) {
            resynchronize();
        }
    }

    private boolean mayPass(RegistryException answered) {
        int status = answered.status();
        if (status == 404 || status == 410) {
            // The upload is gone: it expired, or the server that had it restarted.
            boolean known = location != null;
            location = null;
            return known;
        }
        if (status == 400 && resumed) {
            // A registry that counts wrong after a broken connection ends with another digest.
            resumed = false;
            location = null;
            return true;
        }
        return status == 416 || RetryPolicy.isTransient(status);
    }

    /// Asks the registry how much it has.
    private void resynchronize() throws ImageException {
        resumed = true;
        Ask ask = Ask.of(what, "GET", location(), Scope.push(repository.repository()));
        try (Answer answer = endpoint.exchange(ask, operation)) {
            long has = answer.status() / 100 == 2 ? received(answer) : -1;
            // Nothing and a single byte are both written 0-0; what cannot be told is sent anew.
            if (has <= 1 || has > size) {
                location = null;
                return;
            }
            move(answer, false);
            offset = has;
        } catch (RegistryException e) {
            if (e.kind() != ErrorKind.UNAVAILABLE) {
                throw e;
            }
            location = null; // one server of several may have it; another upload may find a better
        }
    }

    /// How many bytes the `Range` header of an answer says the upload has; -1 when it says nothing.
    private static long received(Answer answer) {
        String range = answer.response().header("Range");
        if (range == null) {
            return -1;
        }
        String text = range.startsWith("bytes=") ? range.substring(6) : range;
        if (!text.startsWith("0-")) {
            return -1;
        }
        long last = number(text.substring(2));
        return last < 0 ? -1 : last + 1;
    }

    private static long number(@Nullable String text) {
        if (text == null || text.isEmpty() || text.length() > 15) {
            return text == null ? 0 : -1;
        }
        long value = 0;
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c < '0' || c > '9') {
                return -1;
            }
            value = 10 * value + c - '0';
        }
        return value;
    }

    /// Takes note of where the upload goes on.
    private void move(Answer answer, boolean required) throws ImageException {
        String header = answer.response().header("Location");
        if (header == null || header.isEmpty()) {
            if (!required) {
                return;
            }
            throw ImageException.invalidContent(
                    "%s: %s opened an upload without saying where".formatted(what, answer.from()));
        }
        HttpUrl next = answer.response().request().url().resolve(header);
        if (next == null
                || !mayGoOnAt(next, answer)
                || !next.encodedUsername().isEmpty()
                || !next.encodedPassword().isEmpty()) {
            String where = next == null ? "no URL" : Urls.printable(next);
            throw new ImageException(
                    ErrorKind.FAILED_PRECONDITION,
                    ("%s: %s sends the upload to %s; not followed: uploads stay with the registry"
                                    + " (behind a proxy it must know its own address and scheme)"
                                    + " and hosts of registry.upload_allow")
                            .formatted(what, answer.from(), where));
        }
        location = next;
    }

    /// Another host may send the upload back, but with our credentials only to where uploads are.
    private boolean mayGoOnAt(HttpUrl next, Answer answer) throws ImageException {
        return endpoint.mayUploadTo(next)
                && (!answer.moved()
                        || !endpoint.owns(next)
                        || next.encodedPath().startsWith(uploads().encodedPath()));
    }

    private HttpUrl location() {
        HttpUrl known = location;
        if (known == null) {
            throw new IllegalStateException("no upload is open");
        }
        return known;
    }

    /// Tells the registry that nothing will follow, so that it need not keep what it has.
    private void abandon() {
        HttpUrl open = location;
        if (open == null || operation.isCancelled() || endpoint.load().wantsRest()) {
            return;
        }
        Ask ask = Ask.of(what, "DELETE", open, Scope.push(repository.repository()));
        try (Answer _ = endpoint.once(ask, operation)) {
            location = null;
        } catch (IOException e) {
            // Courtesy only: registries drop old uploads themselves.
            location = null;
        }
    }
}
