package dev.imgd.registry;

import dev.imgd.hosts.Capability;
import dev.imgd.hosts.RegistryHost;
import dev.imgd.hosts.TlsSettings;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.RegistryException;
import dev.imgd.model.Text;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import okhttp3.Call;
import okhttp3.Dns;
import okhttp3.HttpUrl;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Sends requests to one host: with credentials where it asks for them, following redirects within
/// the rules, again when a failure may go away. Safe for use by many threads.
final class Endpoint {
    /// How long a host is waited for that asks for it while others can be asked instead.
    private static final long WAIT_WITH_OTHERS_MILLIS = 1000;

    private final RegistryHost host;
    private final HttpUrl base;
    private final RegistryOptions options;
    private final Connections connections;
    private final RetryPolicy retries;
    private final @Nullable Authorizer authorizer;
    private final @Nullable Dns dns;
    private final HostLoad load;
    private final Notices notices;
    private volatile boolean singlePostRefused;

    private Endpoint(
            RegistryHost host,
            HttpUrl base,
            RegistryOptions options,
            Connections connections,
            RetryPolicy retries,
            @Nullable Authorizer authorizer,
            @Nullable Dns dns,
            HostLoad load,
            Notices notices) {
        this.host = host;
        this.base = base;
        this.options = options;
        this.connections = connections;
        this.retries = retries;
        this.authorizer = authorizer;
        this.dns = dns;
        this.load = load;
        this.notices = notices;
    }

    /// What the host gets to do.
    HostLoad load() {
        return load;
    }

    /// A host that answers for a registry.
    static Endpoint registry(
            RegistryHost host,
            RegistryOptions options,
            Connections connections,
            RetryPolicy retries)
            throws ImageException {
        HttpUrl base = HttpUrl.parse(host.url());
        if (base == null) {
            throw ImageException.invalidArgument(
                    "registry host \"%s\": not a host and port"
                            .formatted(Text.printable(host.authority(), 120)));
        }
        Authorizer authorizer = new Authorizer(host, base, options, connections, retries);
        HostLoad load = new HostLoad(options.transfer());
        Notices notices = new Notices(host.authority(), options.clock());
        return new Endpoint(
                host, base, options, connections, retries, authorizer, null, load, notices);
    }

    /// The same host for somebody else: it gets no more to do for that, and what it was told and
    /// said about who asks is not known here.
    ///
    /// @param other settings that differ in the credentials only
    Endpoint as(RegistryOptions other) {
        Authorizer fresh = new Authorizer(host, base, other, connections, retries);
        return new Endpoint(host, base, other, connections, retries, fresh, dns, load, notices);
    }

    /// A place that a descriptor names: no credentials and no headers of its own.
    static Endpoint foreign(
            HttpUrl url,
            ForeignPlaces places,
            RegistryOptions options,
            Connections connections,
            RetryPolicy retries) {
        RegistryHost host =
                new RegistryHost(
                        RegistryHost.Scheme.HTTPS,
                        Urls.authority(url),
                        "/v2",
                        Set.of(Capability.PULL),
                        Map.of(),
                        places.tls());
        HostLoad load = new HostLoad(options.transfer());
        Notices notices = new Notices(host.authority(), options.clock());
        return new Endpoint(
                host, url, options, connections, retries, null, places.dns(), load, notices);
    }

    String authority() {
        return host.authority();
    }

    /// The URL of something in a repository.
    ///
    /// @param kind `manifests` or `blobs`
    /// @param reference a tag or a digest
    /// @throws ImageException when the host's rewrites make no name of the repository
    HttpUrl url(String repository, String kind, String reference) throws ImageException {
        // All three come from strict parsers and hold nothing that would have to be escaped.
        String path = '/' + host.repository(repository) + '/' + kind + '/' + reference;
        HttpUrl url = HttpUrl.parse(host.url() + path);
        if (url == null) {
            throw new IllegalStateException("not a URL under " + host.url());
        }
        return withNamespace(url);
    }

    /// A URL that says for which registry the host is asked, where it stands in for one. Also of a
    /// link that the host gave and that does not say so. **Source:** distribution-spec § Registry
    /// Proxying.
    HttpUrl withNamespace(HttpUrl url) {
        return host.namespace().isEmpty() || url.queryParameter("ns") != null
                ? url
                : url.newBuilder().addQueryParameter("ns", host.namespace().get()).build();
    }

    /// The URL of something of the host as a whole.
    ///
    /// @param path below the prefix, for example `_catalog`
    HttpUrl url(String path) {
        HttpUrl url = HttpUrl.parse(host.url() + '/' + path);
        if (url == null) {
            throw new IllegalStateException("not a URL under " + host.url());
        }
        return withNamespace(url);
    }

    /// The name of a repository at this host.
    String repository(String repository) throws ImageException {
        return host.repository(repository);
    }

    /// Whether a URL is one of this host.
    boolean owns(HttpUrl url) {
        return Urls.sameOrigin(url, base);
    }

    /// Whether an upload may go on at a URL: one of this host, or of a host that is listed. It is
    /// never sent in the clear where the registry itself is asked over https.
    boolean mayUploadTo(HttpUrl url) {
        return owns(url)
                || ((url.isHttps() || !base.isHttps())
                        && Urls.isListed(url, options.uploadAllow()));
    }

    /// Whether a blob may be sent with the request that opens its upload, as far as is known.
    boolean takesSinglePost() {
        return !singlePostRefused;
    }

    /// Remembers that this host wants uploads in two steps.
    void refusesSinglePost() {
        singlePostRefused = true;
    }

    /// Sends a request once, twice where it has to authenticate, and returns whatever the answer
    /// is. Waits until the host may be asked; what is read of it is plain, and about the registry
    /// that was asked for.
    Answer once(Ask ask, Operation operation) throws IOException {
        operation.check(ask.what(), null);
        if (authorizer == null || owns(ask.url())) {
            load.pace(operation, ask.what());
        }
        Answer answer = authorized(ask, operation);
        if (ask.isRead() && (answer.status() == 200 || answer.status() == 206)) {
            requireIdentity(ask, answer);
            requireNamespace(ask, answer);
        }
        return answer;
    }

    /// Sends a request that may be repeated, and returns the first answer that would not be another
    /// one later.
    ///
    /// @throws ImageException of the last attempt
    Answer exchange(Ask ask, Operation operation) throws ImageException {
        int attempts = retries.attempts();
        for (int failures = 1; ; failures++) {
            long delay;
            try {
                Answer answer = once(ask, operation);
                if (!RetryPolicy.isTransient(answer.status())) {
                    return answer;
                }
                delay = failed(ask, answer, failures, attempts);
            } catch (ImageException e) {
                throw e;
            } catch (IOException e) {
                operation.check(ask.what(), e);
                TransportFailure failure = TransportFailure.of(e);
                if (failures >= Math.min(attempts, failure.attempts())) {
                    throw failure.exception(ask.what(), authority(), e);
                }
                delay = retries.delayMillis(failures, null);
                Log.retry(authority(), failures, delay, failure.text());
            }
            operation.pause(delay, ask.what());
        }
    }

    /// Sends a GET request and returns the answer when it is 200 or 206.
    ///
    /// @throws ImageException of the last attempt
    Answer get(Ask ask, Operation operation) throws ImageException {
        return get(ask, operation, retries.attempts(), new Tally(authority(), new Heard()));
    }

    /// As [#get(Ask, Operation)].
    ///
    /// @param attempts how often the request is made, at most
    /// @param tally told of each time it is made again
    Answer get(Ask ask, Operation operation, int attempts, Tally tally) throws ImageException {
        for (int failures = 1; ; failures++) {
            long delay;
            try {
                Answer answer = once(ask, operation);
                if (answer.status() == 200 || answer.status() == 206) {
                    return answer;
                }
                delay = failed(ask, answer, failures, attempts);
            } catch (ImageException e) {
                throw e;
            } catch (IOException e) {
                operation.check(ask.what(), e);
                TransportFailure failure = TransportFailure.of(e);
                if (failures >= Math.min(attempts, failure.attempts())) {
                    throw failure.exception(ask.what(), authority(), e);
                }
                delay = retries.delayMillis(failures, null);
                Log.retry(authority(), failures, delay, failure.text());
            }
            tally.retried();
            operation.pause(delay, ask.what());
        }
    }

    /// Decides what an answer that is not a success means.
    ///
    /// @return after how many milliseconds to try again
    private long failed(Ask ask, Answer answer, int failures, int attempts) throws ImageException {
        int status = answer.status();
        // Links that a registry redirects to are signed for a short time; a new one may be good.
        boolean expiredLink = status == 403 && answer.moved();
        RegistryException failure;
        String retryAfter;
        try (answer) {
            retryAfter = answer.response().header("Retry-After");
            failure = answer.failure(ask.what(), ask.isWrite());
        }
        long delay = retries.delayMillis(failures, retryAfter);
        heed(answer, retryAfter);
        boolean elsewhere = attempts < retries.attempts() && delay > WAIT_WITH_OTHERS_MILLIS;
        if (failures >= attempts
                || elsewhere
                || !(RetryPolicy.isTransient(status) || expiredLink)) {
            throw failure;
        }
        Log.retry(authority(), failures, delay, "HTTP " + status);
        return delay;
    }

    /// Asks less of the host for a while, if an answer says that it is too much.
    ///
    /// @param retryAfter the answer's header of that name
    void heed(Answer answer, @Nullable String retryAfter) {
        boolean overloaded = answer.status() == 429 || answer.status() == 503;
        if (overloaded && !answer.moved() && owns(answer.response().request().url())) {
            load.overloaded(retryAfter == null ? 0 : retries.delayMillis(1, retryAfter));
        }
    }

    private Answer authorized(Ask ask, Operation operation) throws IOException {
        Answer known = whereItWas(ask, operation);
        if (known != null) {
            return known;
        }
        if (authorizer == null || !owns(ask.url())) {
            return follow(ask, null, operation);
        }
        Scope scope = ask.scope().at(host);
        String used = authorizer.header(scope, operation);
        Answer answer = follow(ask, used, operation);
        if (answer.status() != 401 || answer.moved()) {
            return checked(ask, answer, used);
        }
        List<String> challenges = answer.response().headers("WWW-Authenticate");
        boolean answered;
        try {
            answered = authorizer.challenged(challenges, scope, used);
        } catch (ImageException e) {
            answer.abort();
            throw e;
        }
        if (!answered) {
            return checked(ask, answer, used);
        }
        // Read before the token is fetched, for the connection to be reused.
        answer.close();
        String header = authorizer.header(scope, operation);
        if (header == null) {
            throw new RegistryException(
                    ErrorKind.UNAUTHENTICATED,
                    "%s: %s wants a user name and a password and %s; log in"
                            .formatted(
                                    ask.what(),
                                    authority(),
                                    authorizer.noPassword(scope.repository())),
                    401,
                    List.of(),
                    null);
        }
        return checked(ask, follow(ask, header, operation), header);
    }

    /// Says of a refusal who asked, and what is wrong where it can only be one thing: the user name
    /// and the password, or who issues the tokens.
    private Answer checked(Ask ask, Answer answer, @Nullable String authorization)
            throws ImageException {
        boolean refused = answer.status() == 401 || answer.status() == 403;
        if (!refused || answer.moved() || authorizer == null) {
            return answer;
        }
        try {
            Scope scope = ask.scope().at(host);
            if (answer.status() == 403) {
                return answer.with(authorizer.denied(scope, authorization != null));
            }
            if (authorization != null && authorization.startsWith("Basic ")) {
                throw authorizer.refusedLogin(ask.what(), scope, authority(), 401);
            }
            return answer.with(
                    authorizer.refused(
                            scope,
                            answer.response().headers("WWW-Authenticate"),
                            authorization != null));
        } catch (ImageException e) {
            answer.abort();
            throw e;
        }
    }

    /// Asks where a redirect led before.
    ///
    /// @return null when that is not known, or is no longer right: links expire, and what a place
    ///   says of other failures is for the host to mend with another place
    private @Nullable Answer whereItWas(Ask ask, Operation operation) throws IOException {
        Whereabouts whereabouts = ask.whereabouts();
        HttpUrl place = whereabouts == null ? null : whereabouts.place();
        if (whereabouts == null || place == null) {
            return null;
        }
        boolean right = false;
        try {
            Answer answer = send(ask, request(ask, place, true, null), true, operation);
            right = answer.status() == 200 || answer.status() == 206;
            if (right) {
                return answer;
            }
            answer.close();
            return null;
        } finally {
            if (!right) {
                whereabouts.lost(place);
            }
        }
    }

    private Answer follow(Ask ask, @Nullable String authorization, Operation operation)
            throws IOException {
        HttpUrl url = ask.url();
        boolean moved = !owns(url);
        for (int hops = 0; ; hops++) {
            Request request = request(ask, url, moved, authorization);
            Answer answer = send(ask, request, moved, operation);
            // What is written is written where we were told to, or not at all.
            if (ask.isWrite() || !Urls.isRedirect(answer.status())) {
                Whereabouts whereabouts = ask.whereabouts();
                if (whereabouts != null && moved && answer.status() / 100 == 2) {
                    whereabouts.found(url);
                }
                return answer;
            }
            try (answer) {
                if (hops == options.limits().redirects()) {
                    throw Urls.tooManyRedirects(ask.what(), url, options.limits());
                }
                HttpUrl next = Urls.redirectTarget(ask.what(), base, url, answer.response());
                // Once away from home, coming back does not restore the credentials: the way there
                // was chosen by another host.
                moved |= !Urls.sameOrigin(next, base);
                url = next;
            }
        }
    }

    private Request request(Ask ask, HttpUrl url, boolean moved, @Nullable String authorization) {
        Request.Builder request = new Request.Builder().url(url).method(ask.method(), ask.body());
        request.header("User-Agent", options.userAgent());
        if (!moved || ask.isWrite()) {
            ask.headers().forEach(request::header);
        }
        if (!moved) {
            addHeaders(request, host);
            if (authorization != null) {
                request.header("Authorization", authorization);
            }
        }
        // OkHttp would ask for gzip and decode it without a limit if this was not set.
        request.header("Accept-Encoding", "identity");
        if (ask.accept() != null) {
            request.header("Accept", ask.accept());
        }
        if (ask.range() != null) {
            request.header("Range", ask.range());
        }
        return request.build();
    }

    /// Adds what the configuration of a host wants in every request to it.
    static void addHeaders(Request.Builder request, RegistryHost host) {
        for (Map.Entry<String, List<String>> header : host.headers().entrySet()) {
            request.removeHeader(header.getKey());
            for (String value : header.getValue()) {
                request.addHeader(header.getKey(), value);
            }
        }
    }

    private Answer send(Ask ask, Request request, boolean moved, Operation operation)
            throws IOException {
        TlsSettings tls = moved ? TlsSettings.SYSTEM : host.tls();
        boolean https = request.url().isHttps();
        OkHttpClient client = connections.client(ask.what(), https, tls);
        if (dns != null) {
            client = client.newBuilder().dns(dns).build();
        }
        if (!moved && host.dialTimeout().isPresent()) {
            client = client.newBuilder().connectTimeout(host.dialTimeout().get()).build();
        }
        if (ask.alone() && https) {
            client = Connections.withoutSharing(client);
        }
        Call call = client.newCall(RequestLog.noted(request, authority(), "", operation));
        operation.watch(call);
        Duration patience = options.headerTimeout().plus(ask.patience());
        try (Deadline deadline = Deadline.of(call, patience)) {
            if (ask.body() instanceof UploadBody upload) {
                // Sending takes as long as it takes; that it does not stall is for the socket to
                // see.
                upload.onWritten(deadline::begin);
            } else {
                deadline.begin();
            }
            try {
                Response response = call.execute();
                String from = Urls.authority(request.url());
                checkHeaders(ask.what(), from, call, response, options.limits());
                if (!moved) {
                    notices.show(response.headers("Warning"), operation);
                }
                return new Answer(call, response, from, moved, options, ErrorBody.Wording.USUAL);
            } catch (ImageException e) {
                throw e;
            } catch (IOException e) {
                throw deadline.explain(
                        https
                                ? OwnCertificateException.explain(
                                        e,
                                        connections.shown(tls, request.url()),
                                        options.clock().instant())
                                : e);
            }
        }
    }

    /// Refuses an answer whose headers are larger than they should be.
    static void checkHeaders(String what, String from, Call call, Response response, Limits limits)
            throws ImageException {
        try {
            limits.check(
                    Limits.Key.HTTP_HEADER_BYTES,
                    "%s: headers of the answer of %s".formatted(what, from),
                    response.headers().byteCount());
        } catch (ImageException e) {
            call.cancel();
            response.close();
            throw e;
        }
    }

    private static void requireIdentity(Ask ask, Answer answer) throws ImageException {
        String encoding = answer.response().header("Content-Encoding");
        if (encoding != null && !encoding.isEmpty() && !encoding.equalsIgnoreCase("identity")) {
            answer.abort();
            throw ImageException.invalidContent(
                    "%s: wanted plain bytes from %s, got Content-Encoding \"%s\""
                            .formatted(ask.what(), answer.from(), Text.printable(encoding, 60)));
        }
    }

    /// A mirror may say for which registry it answered; what it then says about another one's tags
    /// means nothing. **Source:** distribution-spec § Registry Proxying.
    private void requireNamespace(Ask ask, Answer answer) throws ImageException {
        if (answer.moved() || host.namespace().isEmpty()) {
            return;
        }
        String stated = answer.response().header("OCI-Namespace");
        if (stated != null && !sameRegistry(stated, host.namespace().get())) {
            answer.abort();
            throw ImageException.invalidContent(
                    "%s: the mirror %s answered for the registry \"%s\", wanted %s"
                            .formatted(
                                    ask.what(),
                                    answer.from(),
                                    Text.printable(stated, 120),
                                    host.namespace().get()));
        }
    }

    private static boolean sameRegistry(String stated, String wanted) {
        return stated.isEmpty()
                || stated.equalsIgnoreCase(wanted)
                || (wanted.equals("docker.io") && stated.equalsIgnoreCase("registry-1.docker.io"));
    }

    /// Apart, so that a program that never retries does not start the logging system.
    private static final class Log {
        private static final Logger LOGGER = LoggerFactory.getLogger(Endpoint.class);

        static void retry(String host, int failures, long delayMillis, String why) {
            LOGGER.debug(
                    "request failed, trying again host={} failures={} delay_ms={} reason=\"{}\"",
                    host,
                    failures,
                    delayMillis,
                    why);
        }
    }
}
