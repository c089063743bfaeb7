package dev.imgd.registry;

import dev.imgd.hosts.Capability;
import dev.imgd.hosts.RegistryHost;
import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Index;
import dev.imgd.model.Json;
import dev.imgd.model.Limits;
import dev.imgd.model.MediaType;
import dev.imgd.model.Reference;
import dev.imgd.model.RegistryException;
import dev.imgd.model.Text;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;
import okhttp3.HttpUrl;
import org.jspecify.annotations.Nullable;

/// Lists over HTTP, page by page.
///
/// The next page is where the registry's `Link` says, within the registry itself; a page that was
/// there before ends the list with an error, as do more pages than a list can need.
final class HttpRegistryListing implements RegistryListing {
    private static final int PAGE_NAMES = 1_000;

    private final HttpRegistryClient client;

    HttpRegistryListing(HttpRegistryClient client) {
        this.client = client;
    }

    /// Asks one host.
    @FunctionalInterface
    private interface Action<T> {
        T apply(Endpoint endpoint, Operation operation) throws ImageException;
    }

    private <T> T onHosts(String registry, String what, Capability capability, Action<T> action)
            throws ImageException {
        List<RegistryHost> able = able(registry, capability);
        if (able.isEmpty()) {
            throw nobody(what, registry, capability);
        }
        HostFailures failures = new HostFailures(what, able);
        for (RegistryHost host : client.inOrder(able)) {
            try {
                T answer = on(host, action);
                client.passedOver(failures);
                return answer;
            } catch (ImageException e) {
                failures.add(host, e);
            }
        }
        throw failures.report();
    }

    private List<RegistryHost> able(String registry, Capability capability) throws ImageException {
        return client.options().hosts().asked(registry).stream()
                .filter(host -> host.can(capability))
                .toList();
    }

    private static ImageException nobody(String what, String registry, Capability capability) {
        return ImageException.failedPrecondition(
                "%s: no host of %s has the capability \"%s\"; check its hosts.toml"
                        .formatted(what, registry, capability.name().toLowerCase(Locale.ROOT)));
    }

    private <T> T on(RegistryHost host, Action<T> action) throws ImageException {
        Operation operation = client.begin();
        try {
            return action.apply(client.endpoint(host), operation);
        } finally {
            client.end(operation);
        }
    }

    @Override
    public List<String> tags(Reference repository, Optional<String> after, int limit)
            throws ImageException {
        String what = "tags of " + repository.name();
        return onHosts(
                repository.registry(),
                what,
                Capability.RESOLVE,
                (endpoint, operation) ->
                        names(
                                new Pages(
                                        endpoint,
                                        operation,
                                        what,
                                        Scope.pull(repository.repository()),
                                        Limits.Key.LIST_PAGES),
                                endpoint.url(repository.repository(), "tags", "list"),
                                "tags",
                                after,
                                limit));
    }

    @Override
    public List<String> repositories(String registry, Optional<String> after, int limit)
            throws ImageException {
        String what = "repositories of " + registry;
        return onHosts(
                registry,
                what,
                Capability.RESOLVE,
                (endpoint, operation) ->
                        names(
                                new Pages(
                                        endpoint,
                                        operation,
                                        what,
                                        Scope.catalog(),
                                        Limits.Key.LIST_PAGES),
                                endpoint.url("_catalog"),
                                "repositories",
                                after,
                                limit));
    }

    private List<String> names(
            Pages pages, HttpUrl url, String member, Optional<String> after, int limit)
            throws ImageException {
        if (limit < 1 || limit > MAX_NAMES) {
            throw new IllegalArgumentException("limit out of range: " + limit);
        }
        HttpUrl.Builder first =
                url.newBuilder()
                        .addQueryParameter("n", Integer.toString(Math.min(limit, PAGE_NAMES)));
        after.ifPresent(last -> first.addQueryParameter("last", last));
        List<String> names = new ArrayList<>();
        @Nullable HttpUrl next = first.build();
        while (next != null && names.size() < limit) {
            try (Answer answer = pages.get(next, "application/json")) {
                if (answer.status() != 200) {
                    throw answer.failure(pages.what, false);
                }
                byte[] body = SmallBody.read(pages.what, answer, client.options(), pages.ending);
                // "null" for none is what Go's encoder makes of an empty list.
                names.addAll(
                        Json.parse(
                                        pages.what + " from " + answer.from(),
                                        body,
                                        client.options().limits())
                                .texts(member));
                next = pages.next(answer);
            }
        }
        return names.size() > limit ? List.copyOf(names.subList(0, limit)) : names;
    }

    @Override
    public Descriptor blob(Reference repository, Digest digest) throws ImageException {
        String what = "blob " + digest + " of " + repository.name();
        return onHosts(
                repository.registry(),
                what,
                Capability.PULL,
                (endpoint, operation) -> {
                    HttpUrl url = endpoint.url(repository.repository(), "blobs", digest.toString());
                    Scope scope = Scope.pull(repository.repository());
                    Ask ask = Ask.of(what, "HEAD", url, scope);
                    try (Answer answer = endpoint.exchange(ask, operation)) {
                        if (answer.status() != 200) {
                            throw answer.failure(what, false);
                        }
                        return new Descriptor(
                                "application/octet-stream", digest, size(what, answer));
                    }
                });
    }

    private static long size(String what, Answer answer) throws ImageException {
        String header = answer.response().header("Content-Length");
        try {
            long size = header == null ? -1 : Long.parseLong(header.strip());
            if (size >= 0 && size <= Descriptor.MAX_SIZE_BYTES) {
                return size;
            }
        } catch (NumberFormatException e) {
            // As if it was out of range.
        }
        throw ImageException.invalidContent(
                "%s: %s does not say how long it is".formatted(what, answer.from()));
    }

    @Override
    public Referrers referrers(Reference repository, Digest subject, Optional<String> artifactType)
            throws ImageException {
        String what = "referrers of " + repository.name() + "@" + subject;
        String registry = repository.registry();
        List<RegistryHost> able = able(registry, Capability.REFERRERS);
        boolean anyList = !able.isEmpty();
        if (!anyList) {
            able = able(registry, Capability.RESOLVE);
        }
        if (able.isEmpty()) {
            throw nobody(what, registry, Capability.REFERRERS);
        }
        HostFailures failures = new HostFailures(what, able);
        List<RegistryHost> withoutList = new ArrayList<>(able);
        if (anyList) {
            withoutList.clear();
            for (RegistryHost host : client.inOrder(able)) {
                try {
                    Optional<List<Descriptor>> listed =
                            listed(host, what, repository, subject, artifactType);
                    if (listed.isEmpty()) {
                        withoutList.add(host);
                    } else if (!listed.get().isEmpty()) {
                        client.passedOver(failures);
                        return new Referrers(listed.get(), false);
                    }
                } catch (ImageException e) {
                    failures.add(host, e);
                }
            }
        }
        for (RegistryHost host : client.inOrder(withoutList)) {
            try {
                List<Descriptor> tagged = filter(tagged(host, repository, subject), artifactType);
                if (!tagged.isEmpty()) {
                    client.passedOver(failures);
                    return new Referrers(tagged, true);
                }
            } catch (ImageException e) {
                failures.add(host, e);
            }
        }
        // That a copy knows of none says nothing as long as the registry itself has not been heard.
        if (failures.hasOwn()) {
            throw failures.report();
        }
        client.passedOver(failures);
        return new Referrers(List.of(), withoutList.contains(failures.own()));
    }

    private List<Descriptor> tagged(RegistryHost host, Reference repository, Digest subject)
            throws ImageException {
        return on(
                host,
                (endpoint, operation) ->
                        new ReferrersTag(
                                        endpoint,
                                        operation,
                                        client.options(),
                                        client.retries(),
                                        repository,
                                        subject)
                                .read());
    }

    /// Empty when the host has no such list, nor any for other manifests.
    private Optional<List<Descriptor>> listed(
            RegistryHost host,
            String what,
            Reference repository,
            Digest subject,
            Optional<String> artifactType)
            throws ImageException {
        return on(
                host,
                (endpoint, operation) ->
                        listed(
                                new Pages(
                                        endpoint,
                                        operation,
                                        what,
                                        Scope.pull(repository.repository()),
                                        Limits.Key.REFERRERS_PAGES),
                                repository,
                                subject,
                                artifactType));
    }

    private Optional<List<Descriptor>> listed(
            Pages pages, Reference repository, Digest subject, Optional<String> artifactType)
            throws ImageException {
        HttpUrl.Builder first =
                pages.endpoint
                        .url(repository.repository(), "referrers", subject.toString())
                        .newBuilder();
        artifactType.ifPresent(type -> first.addQueryParameter("artifactType", type));
        Map<Digest, Descriptor> found = new LinkedHashMap<>();
        @Nullable HttpUrl next = first.build();
        while (next != null) {
            try (Answer answer = pages.get(next, MediaType.OCI_INDEX)) {
                if (answer.status() == 404 && found.isEmpty()) {
                    return Optional.empty();
                }
                if (answer.status() != 200) {
                    throw answer.failure(pages.what, false);
                }
                byte[] body = SmallBody.read(pages.what, answer, client.options(), pages.ending);
                Index page =
                        Index.parse(
                                pages.what + " from " + answer.from(),
                                Bytes.of(body),
                                Optional.of(MediaType.OCI_INDEX),
                                client.options().limits());
                page.manifests().forEach(entry -> found.putIfAbsent(entry.digest(), entry));
                client.options().limits().check(Limits.Key.DESCRIPTORS, pages.what, found.size());
                next = pages.next(answer);
            }
        }
        // Whether the registry has filtered is not asked (OCI-Filters-Applied): it does no harm to
        // do it again.
        return Optional.of(filter(List.copyOf(found.values()), artifactType));
    }

    private static List<Descriptor> filter(List<Descriptor> entries, Optional<String> type) {
        return type.isEmpty()
                ? entries
                : entries.stream().filter(entry -> entry.artifactType().equals(type)).toList();
    }

    /// The parameter `rel` with the relation `next`, alone or among others. **Source:** RFC 8288 §
    /// 3.
    private static final Pattern NEXT =
            Pattern.compile(
                    ";\\s*rel\\s*=\\s*(next(?=\\s*(;|,|$))|\"([^\"]*\\s)?next(\\s[^\"]*)?\")",
                    Pattern.CASE_INSENSITIVE);

    /// The pages of one list.
    private final class Pages {
        final Endpoint endpoint;
        final Operation ending;
        final String what;
        private final Scope scope;
        private final Limits.Key limit;
        private final Set<HttpUrl> seen = new HashSet<>();

        /// @param limit of the number of pages
        Pages(Endpoint endpoint, Operation ending, String what, Scope scope, Limits.Key limit) {
            this.limit = limit;
            this.endpoint = endpoint;
            this.ending = ending;
            this.what = what;
            this.scope = scope;
        }

        Answer get(HttpUrl url, String accept) throws ImageException {
            if (!seen.add(url)) {
                throw ImageException.invalidContent(
                        "%s: %s leads from page to page in a circle"
                                .formatted(what, endpoint.authority()));
            }
            client.options()
                    .limits()
                    .check(
                            limit,
                            "%s: pages of %s".formatted(what, endpoint.authority()),
                            seen.size());
            return endpoint.exchange(Ask.of(what, "GET", url, scope).withAccept(accept), ending);
        }

        /// Where the `Link` with `rel="next"` leads; null at the end. **Source:** RFC 8288.
        @Nullable HttpUrl next(Answer answer) throws ImageException {
            for (String header : answer.response().headers("Link")) {
                String target = target(header, answer);
                if (target == null) {
                    continue;
                }
                HttpUrl url = answer.response().request().url().resolve(target);
                if (url == null || !endpoint.owns(url)) {
                    throw new RegistryException(
                            ErrorKind.INVALID_CONTENT,
                            "%s: %s sends the next page to %s; not followed"
                                    .formatted(
                                            what,
                                            answer.from(),
                                            url == null ? "no URL" : Urls.printable(url)),
                            0,
                            List.of(),
                            null);
                }
                return endpoint.withNamespace(url);
            }
            return null;
        }

        /// @throws ImageException when it cannot be told whether there is a next page: the list
        ///   would be taken for whole
        private @Nullable String target(String header, Answer answer) throws ImageException {
            int from = header.indexOf('<');
            int end = header.indexOf('>', from + 1);
            while (from >= 0 && end > from) {
                int following = header.indexOf('<', end);
                String parameters =
                        header.substring(end + 1, following < 0 ? header.length() : following);
                if (NEXT.matcher(parameters).find()) {
                    return header.substring(from + 1, end);
                }
                from = following;
                end = header.indexOf('>', from + 1);
            }
            if (from >= 0 || (header.indexOf('<') < 0 && NEXT.matcher(header).find())) {
                throw ImageException.invalidContent(
                        "%s: %s says where the next page is in a form that is none: wanted <URL>; rel=\"next\", got %s"
                                .formatted(what, answer.from(), Text.printable(header, 200)));
            }
            return null;
        }
    }
}
