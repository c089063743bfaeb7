package dev.imgd.image;

import dev.imgd.hosts.HostListing;
import dev.imgd.hosts.RegistryHost;
import dev.imgd.hosts.RegistryHosts;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.registry.CredentialSource;
import dev.imgd.registry.Credentials;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryOptions;
import dev.imgd.trust.PolicyGate;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/// The registry clients of a process, and the policy for what comes from them. Clients are made
/// when first needed: one for everything, and one for each registry that a single call wants to
/// reach over plain http. Thread-safe.
public final class RegistryClients implements AutoCloseable {
    private final RegistryOptions options;
    private final Set<String> plainHttp;
    private final Function<Set<String>, RegistryHosts> hosts;
    private final PolicyGate policy;
    private final Map<String, RegistryClient> onPlainHttp = new HashMap<>();
    private final Map<String, RegistryHosts> hostsOnPlainHttp = new HashMap<>();
    private @Nullable RegistryClient usual;

    /// @param options of every client; its hosts are those of `plainHttp`
    /// @param plainHttp registries that are always asked over plain http, `host:port`
    public RegistryClients(RegistryOptions options, Set<String> plainHttp) {
        this(options, plainHttp, RegistryHosts::direct, PolicyGate.open());
    }

    /// @param hosts makes the hosts of a client from the registries that are asked over plain http
    /// @param policy decides on every image that comes from these registries
    public RegistryClients(
            RegistryOptions options,
            Set<String> plainHttp,
            Function<Set<String>, RegistryHosts> hosts,
            PolicyGate policy) {
        this.options = options;
        this.plainHttp = Set.copyOf(plainHttp);
        this.hosts = hosts;
        this.policy = policy;
    }

    /// What decides whether images from these registries may be used.
    public PolicyGate policy() {
        return policy;
    }

    /// The client for a registry.
    ///
    /// @param http whether this call asked for plain http
    public synchronized RegistryClient client(String registry, boolean http) {
        if (http && !plainHttp.contains(registry)) {
            return onPlainHttp.computeIfAbsent(registry, r -> usual().session(hostsOnPlainHttp(r)));
        }
        return usual();
    }

    private RegistryHosts hostsOnPlainHttp(String registry) {
        return hostsOnPlainHttp.computeIfAbsent(
                registry,
                r -> {
                    Set<String> all = new HashSet<>(plainHttp);
                    all.add(r);
                    return hosts.apply(all);
                });
    }

    /// What to tell who asked for plain http, by a call or by the configuration, where the file of
    /// the registry's hosts names https, which counts: what protects credentials is undone there
    /// only.
    ///
    /// @param http whether this call asked for plain http
    /// @return empty where it gets what it asked for
    /// @throws ImageException when that configuration cannot be used
    public synchronized Optional<String> plainHttpRefused(String registry, boolean http)
            throws ImageException {
        if (!http && !plainHttp.contains(registry)) {
            return Optional.empty();
        }
        for (HostListing.Entry entry : hostsOnPlainHttp(registry).listing(registry).entries()) {
            RegistryHost host = entry.host();
            if (host.role() == RegistryHost.Role.ORIGIN
                    && host.scheme() == RegistryHost.Scheme.HTTPS) {
                return Optional.of(
                        "plain http was asked for, but %s names https://%s, and that counts; write http:// there if %s speaks plain http"
                                .formatted(entry.from(), host.authority(), host.authority()));
            }
        }
        return Optional.empty();
    }

    /// A session of that client, which the caller closes.
    ///
    /// @param credentials for the host that has the registry's name, of no meaning to any other;
    ///   empty for those that are configured
    public RegistryClient session(
            String registry, boolean http, Optional<Credentials> credentials) {
        RegistryClient client = client(registry, http);
        return credentials.isEmpty()
                ? client.session()
                : client.session(CredentialSource.of(registry, credentials.get()));
    }

    /// The same failure, with [#plainHttpRefused] where that may be why: instead of the advice to
    /// do what was done already, and where nothing was said that can be told from other failures.
    static ImageException explain(ImageException failure, Optional<String> refused) {
        String message = String.valueOf(failure.getMessage());
        boolean advised = message.contains(RegistryClient.PLAIN_HTTP_ADVICE);
        return refused.isEmpty() || (!advised && failure.kind() != ErrorKind.UNAVAILABLE)
                ? failure
                : new ImageException(
                        failure.kind(),
                        message.replace(RegistryClient.PLAIN_HTTP_ADVICE, "")
                                + "; "
                                + refused.get(),
                        failure);
    }

    /// All share its connections, its memory and its limits.
    private synchronized RegistryClient usual() {
        RegistryClient client = usual;
        if (client == null) {
            client = RegistryClient.create(options.withHosts(hosts.apply(plainHttp)));
            usual = client;
        }
        return client;
    }

    @Override
    public synchronized void close() {
        if (usual != null) {
            usual.close();
        }
        onPlainHttp.values().forEach(RegistryClient::close);
    }
}
