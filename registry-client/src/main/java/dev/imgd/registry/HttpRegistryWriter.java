package dev.imgd.registry;

import dev.imgd.hosts.Capability;
import dev.imgd.hosts.RegistryHost;
import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.ManifestDocument;
import dev.imgd.model.Reference;
import dev.imgd.model.RegistryException;
import dev.imgd.model.Text;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import okhttp3.HttpUrl;
import okhttp3.MediaType;
import okhttp3.RequestBody;

/// The writing side of the client over HTTP.
final class HttpRegistryWriter implements RegistryWriter {
    private final HttpRegistryClient client;

    HttpRegistryWriter(HttpRegistryClient client) {
        this.client = client;
    }

    /// Asks one host.
    @FunctionalInterface
    private interface Action<T> {
        T apply(Endpoint endpoint, Operation operation) throws ImageException;
    }

    private <T> T onPushHost(Reference reference, String what, Action<T> action)
            throws ImageException {
        for (RegistryHost host : client.options().hosts().asked(reference.registry())) {
            if (host.can(Capability.PUSH)) {
                Operation operation = client.begin();
                try {
                    return action.apply(client.endpoint(host), operation);
                } finally {
                    client.end(operation);
                }
            }
        }
        throw ImageException.failedPrecondition(
                "%s: no host of %s may be pushed to; check its hosts.toml"
                        .formatted(what, reference.registry()));
    }

    @Override
    public BlobOutcome pushBlob(
            Reference repository, Descriptor blob, BlobSource source, List<Reference> mountFrom)
            throws ImageException {
        for (Reference from : mountFrom) {
            if (!from.registry().equals(repository.registry())) {
                throw new IllegalArgumentException(
                        "mounts are within a registry: " + from + " to " + repository);
            }
        }
        return onPushHost(
                repository,
                "push of blob " + blob.digest() + " to " + repository.name(),
                (endpoint, operation) ->
                        new BlobUpload(
                                        endpoint,
                                        client.retries(),
                                        operation,
                                        repository,
                                        blob,
                                        source)
                                .run(mountFrom));
    }

    @Override
    public void pushManifest(
            Reference repository, Descriptor descriptor, Bytes content, List<String> tags)
            throws ImageException {
        String what = "push of manifest " + descriptor.digest() + " to " + repository.name();
        if (!content.digestLike(descriptor.digest()).equals(descriptor.digest())) {
            throw new IllegalArgumentException("not the content of " + descriptor.digest());
        }
        ManifestDocument document =
                ManifestDocument.parse(
                        what,
                        content,
                        Optional.of(descriptor.mediaType()),
                        client.options().limits());
        boolean _ =
                onPushHost(
                        repository,
                        what,
                        (endpoint, operation) -> {
                            var target = new Target(endpoint, operation, repository, what);
                            boolean indexed = put(target, descriptor, content, tags);
                            if (document.subject().isPresent() && !indexed) {
                                referrers(target, document.subject().get().digest())
                                        .add(ReferrersTag.entry(descriptor, document));
                            }
                            return indexed;
                        });
    }

    private ReferrersTag referrers(Target target, Digest subject) throws ImageException {
        return new ReferrersTag(
                target.endpoint,
                target.operation,
                client.options(),
                client.retries(),
                target.repository,
                subject);
    }

    private record Target(
            Endpoint endpoint, Operation operation, Reference repository, String what) {}

    /// @return whether the registry lists the manifest as a referrer of its subject by itself
    private static boolean put(
            Target target, Descriptor descriptor, Bytes content, List<String> tags)
            throws ImageException {
        // By tag the registry chooses the algorithm of the digest, so only the usual one may be.
        boolean byTag =
                tags.size() == 1 && descriptor.digest().algorithm() == Digest.Algorithm.SHA256;
        List<String> left = new ArrayList<>(byTag ? List.<String>of() : tags);
        String name = byTag ? tags.getFirst() : descriptor.digest().toString();
        boolean indexed;
        try (Answer answer = put(target, name, left, descriptor, content)) {
            indexed = answer.response().header("OCI-Subject") != null;
            for (String header : answer.response().headers("OCI-Tag")) {
                for (String tag : header.split(",", -1)) {
                    left.remove(tag.strip());
                }
            }
        }
        for (String tag : left) {
            put(target, tag, List.of(), descriptor, content).close();
        }
        return indexed;
    }

    private static Answer put(
            Target target, String name, List<String> alsoTags, Descriptor descriptor, Bytes content)
            throws ImageException {
        HttpUrl.Builder url =
                target.endpoint.url(target.repository.repository(), "manifests", name).newBuilder();
        alsoTags.forEach(tag -> url.addQueryParameter("tag", tag));
        RequestBody body =
                RequestBody.create(content.toArray(), MediaType.parse(descriptor.mediaType()));
        Ask ask =
                Ask.of(target.what, "PUT", url.build(), Scope.push(target.repository.repository()))
                        .withBody(body);
        Answer answer = target.endpoint.exchange(ask, target.operation);
        if (answer.status() / 100 != 2) {
            throw refused(target.what, answer);
        }
        String stated = answer.response().header("Docker-Content-Digest");
        if (stated != null && !stated.isEmpty() && !stated.equals(descriptor.digest().toString())) {
            answer.close();
            throw new ImageException(
                    ErrorKind.DATA_LOSS,
                    "%s: %s stored it as \"%s\""
                            .formatted(target.what, answer.from(), Text.printable(stated, 100)));
        }
        return answer;
    }

    private static RegistryException refused(String what, Answer answer) {
        try (answer) {
            return answer.failure(what, true);
        }
    }

    @Override
    public void deleteManifest(Reference reference) throws ImageException {
        Optional<Digest> digest = reference.digest();
        String name =
                digest.isPresent()
                        ? digest.get().toString()
                        : reference.tag().orElse(Reference.DEFAULT_TAG);
        Optional<Digest> subject =
                digest.isPresent() ? subjectListedByTag(reference) : Optional.empty();
        String what = "delete of " + reference;
        delete(reference, "manifests", name, what);
        if (subject.isPresent()) {
            boolean _ =
                    onPushHost(
                            reference,
                            what,
                            (endpoint, operation) -> {
                                var target = new Target(endpoint, operation, reference, what);
                                referrers(target, subject.get()).remove(digest.orElseThrow());
                                return true;
                            });
        }
    }

    /// The subject of a manifest where the registry does not keep the list of referrers itself.
    private Optional<Digest> subjectListedByTag(Reference reference) throws ImageException {
        RegistryClient.FetchedManifest manifest = client.resolve(reference.withoutTag());
        ManifestDocument document =
                ManifestDocument.parse(
                        "manifest of " + reference,
                        manifest.content(),
                        Optional.of(manifest.descriptor().mediaType()),
                        client.options().limits());
        if (document.subject().isEmpty()) {
            return Optional.empty();
        }
        Digest subject = document.subject().get().digest();
        return hasList(reference, subject) ? Optional.empty() : Optional.of(subject);
    }

    /// Whether the host that is pushed to keeps lists of referrers. What mirrors do is not asked.
    private boolean hasList(Reference repository, Digest subject) throws ImageException {
        String what = "referrers of " + repository.name() + "@" + subject;
        return onPushHost(
                repository,
                what,
                (endpoint, operation) -> {
                    HttpUrl url =
                            endpoint.url(repository.repository(), "referrers", subject.toString());
                    Scope scope = Scope.pull(repository.repository());
                    Ask ask =
                            Ask.of(what, "GET", url, scope)
                                    .withAccept(dev.imgd.model.MediaType.OCI_INDEX);
                    try (Answer answer = endpoint.exchange(ask, operation)) {
                        if (answer.status() != 200 && answer.status() != 404) {
                            throw answer.failure(what, false);
                        }
                        return answer.status() == 200;
                    }
                });
    }

    @Override
    public void deleteBlob(Reference repository, Digest digest) throws ImageException {
        delete(
                repository,
                "blobs",
                digest.toString(),
                "delete of blob " + digest + " from " + repository.name());
    }

    private void delete(Reference reference, String kind, String name, String what)
            throws ImageException {
        boolean _ =
                onPushHost(
                        reference,
                        what,
                        (endpoint, operation) -> {
                            HttpUrl url = endpoint.url(reference.repository(), kind, name);
                            Ask ask =
                                    Ask.of(
                                            what,
                                            "DELETE",
                                            url,
                                            Scope.delete(reference.repository()));
                            try (Answer answer = endpoint.exchange(ask, operation)) {
                                if (answer.status() / 100 != 2) {
                                    throw notDeleted(what, answer, kind, name);
                                }
                                return true;
                            }
                        });
    }

    private static ImageException notDeleted(String what, Answer answer, String kind, String name) {
        RegistryException refused = refused(what, answer);
        boolean tag = kind.equals("manifests") && name.indexOf(':') < 0;
        // Registries that delete manifests only answer to a tag that its digest is wrong.
        if (tag && (refused.status() == 400 || refused.status() == 405)) {
            return new RegistryException(
                    ErrorKind.FAILED_PRECONDITION,
                    refused.getMessage()
                            + "; it may delete only by digest, which removes all tags of it",
                    refused.status(),
                    refused.details(),
                    refused);
        }
        return refused;
    }
}
