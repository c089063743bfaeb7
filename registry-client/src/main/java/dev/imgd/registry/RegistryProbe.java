package dev.imgd.registry;

import dev.imgd.hosts.Authority;
import dev.imgd.hosts.Capability;
import dev.imgd.hosts.RegistryHost;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Index;
import dev.imgd.model.Manifest;
import dev.imgd.model.ManifestDocument;
import dev.imgd.model.Reference;
import dev.imgd.model.RegistryException;
import dev.imgd.model.Text;
import dev.imgd.registry.Proxies.ProxyUrl;
import dev.imgd.registry.RegistryClient.FetchedManifest;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.UnknownHostException;
import java.security.GeneralSecurityException;
import java.security.cert.Certificate;
import java.security.cert.X509Certificate;
import java.time.Duration;
import java.time.LocalDate;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import javax.net.ssl.KeyManager;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManager;
import okhttp3.Handshake;
import okhttp3.HttpUrl;
import okhttp3.Request;
import okhttp3.Response;
import org.jspecify.annotations.Nullable;

/// Looks at every host of a registry on its own, where a pull would stop at the first that answers.
/// Nothing is tried twice. Blocking; for one thread.
public final class RegistryProbe {
    /// What one host says a reference is.
    ///
    /// @param manifest empty when it failed or was not asked
    /// @param failure empty when it answered, or may not be asked
    public record Resolution(
            RegistryHost host,
            Optional<FetchedManifest> manifest,
            Optional<ImageException> failure,
            Duration took) {}

    /// One thing that must work for a pull, in the order in which they are looked at.
    public enum Step {
        /// The name has addresses.
        DNS,
        /// One of them accepts connections.
        TCP,
        /// The handshake succeeds and the certificate is right.
        TLS,
        /// The API answers, with the credentials there are.
        AUTH,
        /// It has the manifest.
        RESOLVE,
        /// It sends parts of blobs, for resuming and for parallel downloads.
        RANGE
    }

    /// How a step went.
    public enum Outcome {
        OK,
        /// Pulls work, but not as well as they could.
        WARNING,
        FAILED,
        /// It was not tried; the detail says why.
        SKIPPED
    }

    /// A step with its result, for people.
    public record Check(Step step, Outcome outcome, String detail, Duration took) {}

    /// What was found out about one host.
    ///
    /// @param checks one for each step
    /// @param failure the first failure; empty when there is none
    public record Report(RegistryHost host, List<Check> checks, Optional<ImageException> failure) {}

    private final RegistryOptions options;

    /// @param options as for a client; its retries are not used
    public RegistryProbe(RegistryOptions options) {
        this.options = options.withRetries(1, options.firstBackoff(), options.maximumBackoff());
    }

    /// Asks each host what a reference is. Hosts that may not say are not asked.
    ///
    /// @throws ImageException when the hosts of the registry cannot be determined
    public List<Resolution> resolve(Reference reference) throws ImageException {
        Reference wanted = reference.withDefaultTag();
        Capability needed = wanted.digest().isPresent() ? Capability.PULL : Capability.RESOLVE;
        List<Resolution> resolutions = new ArrayList<>();
        for (RegistryHost host : options.hosts().asked(wanted.registry())) {
            if (!host.can(needed)) {
                resolutions.add(
                        new Resolution(host, Optional.empty(), Optional.empty(), Duration.ZERO));
                continue;
            }
            long started = System.nanoTime();
            try (HttpRegistryClient client = client(host)) {
                FetchedManifest manifest = client.resolve(wanted);
                resolutions.add(
                        new Resolution(
                                host, Optional.of(manifest), Optional.empty(), since(started)));
            } catch (ImageException e) {
                resolutions.add(
                        new Resolution(host, Optional.empty(), Optional.of(e), since(started)));
            }
        }
        return resolutions;
    }

    /// Goes through all steps with each host.
    ///
    /// @throws ImageException when the hosts of the registry cannot be determined
    public List<Report> test(Reference reference) throws ImageException {
        Reference wanted = reference.withDefaultTag();
        List<Report> reports = new ArrayList<>();
        for (RegistryHost host : options.hosts().asked(wanted.registry())) {
            try (HttpRegistryClient client = client(host)) {
                reports.add(new Visit(host, client, wanted).report());
            }
        }
        return reports;
    }

    private HttpRegistryClient client(RegistryHost host) {
        return new HttpRegistryClient(options.withHosts(_ -> List.of(host)));
    }

    private static Duration since(long startedNanos) {
        return Duration.ofNanos(System.nanoTime() - startedNanos);
    }

    /// One host. Each step leaves what the next one needs, or a failure that ends the visit.
    private final class Visit {
        private final RegistryHost host;
        private final HttpRegistryClient client;
        private final Reference reference;
        private final Authority place;
        private final Map<Step, Check> checks = new EnumMap<>(Step.class);
        private @Nullable ProxyUrl proxy;
        private InetAddress[] addresses = {};
        private @Nullable Manifest manifest;
        private @Nullable ImageException failure;

        Visit(RegistryHost host, HttpRegistryClient client, Reference reference) {
            this.host = host;
            this.client = client;
            this.reference = reference;
            this.place = Authority.of(host.authority());
        }

        private interface Trial {
            /// @return the detail of a success
            String run() throws IOException;
        }

        Report report() {
            attempt(Step.DNS, this::lookUp);
            attempt(Step.TCP, this::connect);
            if (host.scheme() == RegistryHost.Scheme.HTTP) {
                note(Step.TLS, Outcome.SKIPPED, "plain http, as configured", Duration.ZERO);
            } else {
                attempt(Step.TLS, this::shakeHands);
            }
            attempt(Step.AUTH, this::authenticate);
            if (failure == null && !host.can(Capability.PULL)) {
                String why = "may not pull, as configured";
                note(Step.RESOLVE, Outcome.SKIPPED, why, Duration.ZERO);
                note(Step.RANGE, Outcome.SKIPPED, why, Duration.ZERO);
            }
            attempt(Step.RESOLVE, this::resolve);
            attempt(Step.RANGE, this::askForAPart);
            return new Report(host, List.copyOf(checks.values()), Optional.ofNullable(failure));
        }

        private void attempt(Step step, Trial trial) {
            if (checks.containsKey(step)) {
                return;
            }
            if (failure != null) {
                note(step, Outcome.SKIPPED, "", Duration.ZERO);
                return;
            }
            long started = System.nanoTime();
            try {
                String detail = trial.run();
                if (!checks.containsKey(step)) {
                    note(step, Outcome.OK, detail, since(started));
                }
            } catch (IOException e) {
                TransportFailure transport = TransportFailure.of(e);
                ImageException known =
                        e instanceof ImageException i
                                ? i
                                : new RegistryException(
                                        transport.kind(),
                                        host.authority() + ": " + transport.text(),
                                        0,
                                        List.of(),
                                        e);
                failure = known;
                note(step, Outcome.FAILED, known.getMessage(), since(started));
            }
        }

        private void note(Step step, Outcome outcome, String detail, Duration took) {
            checks.put(step, new Check(step, outcome, detail, took));
        }

        /// Of the server that is connected to.
        private String lookUp() throws IOException {
            HttpUrl url = client.endpoint(host).url("");
            ProxyUrl found = options.proxies().of(url);
            proxy = found;
            String name = found == null ? place.host() : found.url().host();
            try {
                addresses = InetAddress.getAllByName(name);
            } catch (UnknownHostException e) {
                throw new ImageException(
                        ErrorKind.UNAVAILABLE,
                        "%s: no address found for this name; check the name and DNS"
                                .formatted(name),
                        e);
            }
            StringBuilder out =
                    new StringBuilder(found == null ? "" : "the proxy " + found.place() + ": ");
            int start = out.length();
            for (int i = 0; i < Math.min(4, addresses.length); i++) {
                out.append(out.length() == start ? "" : ", ").append(addresses[i].getHostAddress());
            }
            return addresses.length > 4
                    ? out + " and " + (addresses.length - 4) + " more"
                    : out.toString();
        }

        private int port() {
            ProxyUrl between = proxy;
            if (between != null) {
                return between.url().port();
            }
            boolean https = host.scheme() == RegistryHost.Scheme.HTTPS;
            return place.port() > 0 ? place.port() : https ? 443 : 80;
        }

        private Duration dialTimeout() {
            return host.dialTimeout().orElse(options.connectTimeout());
        }

        private String connect() throws IOException {
            try (Socket socket = connected()) {
                return socket.getInetAddress().getHostAddress() + " port " + port();
            }
        }

        private Socket connected() throws IOException {
            IOException last = new IOException("no address");
            for (InetAddress address : addresses) {
                Socket socket = new Socket();
                try {
                    socket.connect(
                            new InetSocketAddress(address, port()),
                            Math.toIntExact(dialTimeout().toMillis()));
                    return socket;
                } catch (IOException e) {
                    socket.close();
                    last = e;
                }
            }
            throw last;
        }

        private String shakeHands() throws IOException {
            if (proxy != null) {
                return shakeHandsThroughTheProxy();
            }
            SSLContext context;
            try {
                context = SSLContext.getInstance("TLS");
                context.init(
                        host.tls().keyManagers().toArray(new KeyManager[0]),
                        new TrustManager[] {ExplainedTrust.of(host.tls(), options.clock())},
                        null);
            } catch (GeneralSecurityException e) {
                throw new ImageException(
                        ErrorKind.INTERNAL, "TLS: cannot be set up: " + e.getMessage(), e);
            }
            try (Socket plain = connected();
                    SSLSocket socket =
                            (SSLSocket)
                                    context.getSocketFactory()
                                            .createSocket(plain, place.host(), port(), true)) {
                SSLParameters parameters = socket.getSSLParameters();
                parameters.setProtocols(new String[] {"TLSv1.3", "TLSv1.2"});
                if (host.tls().verifies()) {
                    parameters.setEndpointIdentificationAlgorithm("HTTPS");
                }
                socket.setSSLParameters(parameters);
                socket.setSoTimeout(Math.toIntExact(options.connectTimeout().toMillis()));
                socket.startHandshake();
                return describe(
                        socket.getSession().getProtocol(),
                        socket.getSession().getPeerCertificates()[0]);
            }
        }

        /// Without credentials: what the server answers is not looked at.
        private String shakeHandsThroughTheProxy() throws IOException {
            Request request =
                    new Request.Builder()
                            .url(client.endpoint(host).url(""))
                            .header("User-Agent", options.userAgent())
                            .head()
                            .build();
            try (Connections connections = new Connections(options);
                    Response response =
                            connections.client(true, host.tls()).newCall(request).execute()) {
                Handshake handshake = response.handshake();
                return handshake == null || handshake.peerCertificates().isEmpty()
                        ? ""
                        : describe(
                                handshake.tlsVersion().javaName(),
                                handshake.peerCertificates().getFirst());
            }
        }

        private String describe(String protocol, Certificate first) {
            if (!(first instanceof X509Certificate certificate)) {
                return protocol;
            }
            LocalDate end =
                    LocalDate.ofInstant(certificate.getNotAfter().toInstant(), ZoneOffset.UTC);
            String detail =
                    "%s, certificate of %s until %s"
                            .formatted(
                                    protocol,
                                    Text.printable(
                                            certificate.getSubjectX500Principal().getName(), 80),
                                    end);
            if (!host.tls().verifies()) {
                note(
                        Step.TLS,
                        Outcome.WARNING,
                        detail + ", not verified: name its authority in ca instead of skip_verify",
                        Duration.ZERO);
            }
            return detail;
        }

        private String authenticate() throws IOException {
            Endpoint endpoint = client.endpoint(host);
            String what = "API of " + host.url();
            Ask ask = Ask.of(what, "GET", endpoint.url(""), Scope.pull(reference.repository()));
            try (Answer answer = endpoint.exchange(ask, new Operation())) {
                int status = answer.status();
                if (status == 404) {
                    String detail =
                            "%s/ answers 404; check the path, and override_path if it has no /v2"
                                    .formatted(host.url());
                    note(Step.AUTH, Outcome.WARNING, detail, Duration.ZERO);
                    return detail;
                }
                if (status != 200) {
                    throw answer.failure(what, false);
                }
                String used = answer.response().request().header("Authorization");
                if (used == null) {
                    return "no credentials wanted";
                }
                return used.startsWith("Bearer ") ? "with a token" : "with a password";
            }
        }

        private String resolve() throws IOException {
            Reference wanted = reference;
            if (reference.digest().isEmpty() && !host.can(Capability.RESOLVE)) {
                Digest known = digestFromOthers();
                if (known == null && nobodyResolves()) {
                    throw ImageException.failedPrecondition(
                            "no host of %s may be asked to resolve tags; add \"resolve\" to the capabilities of one in its hosts.toml"
                                    .formatted(reference.registry()));
                }
                if (known == null) {
                    note(
                            Step.RESOLVE,
                            Outcome.SKIPPED,
                            "may not resolve tags, as configured, and no other host said the digest",
                            Duration.ZERO);
                    return "";
                }
                wanted = reference.withDigest(known);
            }
            FetchedManifest fetched = client.resolve(wanted);
            manifest = manifest(fetched);
            return fetched.descriptor().digest().toString();
        }

        private boolean nobodyResolves() throws ImageException {
            return options.hosts().asked(reference.registry()).stream()
                    .noneMatch(other -> other.can(Capability.RESOLVE));
        }

        private @Nullable Digest digestFromOthers() {
            try (HttpRegistryClient all = new HttpRegistryClient(options)) {
                return all.resolve(reference).descriptor().digest();
            } catch (ImageException e) {
                return null; // reported where those hosts are visited
            }
        }

        /// The manifest itself, or the first one of an index.
        private @Nullable Manifest manifest(FetchedManifest fetched) throws ImageException {
            FetchedManifest current = fetched;
            for (int depth = 0; depth < 4; depth++) {
                ManifestDocument document =
                        ManifestDocument.parse(
                                "manifest of " + reference,
                                current.content(),
                                Optional.of(current.descriptor().mediaType()),
                                options.limits());
                switch (document) {
                    case Manifest found -> {
                        return found;
                    }
                    case Index index -> {
                        if (index.manifests().isEmpty()) {
                            return null;
                        }
                        current = client.manifest(reference, index.manifests().getFirst());
                    }
                }
            }
            return null;
        }

        private String askForAPart() throws IOException {
            Manifest known = manifest;
            Descriptor blob = known == null ? null : blob(known);
            if (blob == null) {
                note(Step.RANGE, Outcome.SKIPPED, "there is no blob to try it with", Duration.ZERO);
                return "";
            }
            Endpoint endpoint = client.endpoint(host);
            String what = "part of blob " + blob.digest();
            Ask ask =
                    new Ask(
                            what,
                            endpoint.url(reference.repository(), "blobs", blob.digest().toString()),
                            reference.repository(),
                            null,
                            "bytes=1-1");
            Answer answer = endpoint.get(ask, new Operation());
            // A server that ignores the range would go on to send all of it.
            answer.abort();
            ContentRange range = ContentRange.parse(answer.response().header("Content-Range"));
            boolean right = answer.status() == 206 && range != null && range.first() == 1;
            if (!right) {
                String detail =
                        "%s %s; interrupted downloads start anew and big blobs use one connection"
                                .formatted(
                                        answer.from(),
                                        answer.status() == 206
                                                ? "sends other parts than asked for"
                                                : "ignores ranges");
                note(Step.RANGE, Outcome.WARNING, detail, Duration.ZERO);
                return detail;
            }
            return answer.moved() ? "yes, from " + answer.from() : "yes";
        }

        private static @Nullable Descriptor blob(Manifest manifest) {
            List<Descriptor> blobs = new ArrayList<>(manifest.layers());
            blobs.add(manifest.config());
            for (Descriptor blob : blobs) {
                if (blob.sizeBytes() > 1 && blob.urls().isEmpty()) {
                    return blob;
                }
            }
            return null;
        }
    }
}
