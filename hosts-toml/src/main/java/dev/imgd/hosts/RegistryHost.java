package dev.imgd.hosts;

import dev.imgd.model.ImageException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// One place that answers for a registry.
///
/// @param scheme how it is contacted
/// @param authority `host` or `host:port`, lower case; IPv6 addresses in brackets
/// @param path prefix of every request, `/v2` unless the host lives elsewhere; starts with `/`, or
///   is empty; never ends with `/`
/// @param capabilities what it may be asked for
/// @param headers extra headers, sent to exactly this scheme, host and port, token requests
///   included: not to other token servers and not after a redirect to another place. They replace
///   headers of the same name that every request has, such as `User-Agent`
/// @param tls how `https` is secured; ignored for `http`
/// @param role whether this is where the registry's images come from or a copy of it
/// @param namespace the registry that the host stands in for, sent as `?ns=`; empty when the host
///   is the registry itself. **Source:** distribution-spec § Registry Proxying
/// @param dialTimeout how long a TCP connection may take to open, where the host has a time of its
///   own
/// @param rewrites changes to the names of repositories; the first that applies is used
public record RegistryHost(
        Scheme scheme,
        String authority,
        String path,
        Set<Capability> capabilities,
        Map<String, List<String>> headers,
        TlsSettings tls,
        Role role,
        Optional<String> namespace,
        Optional<Duration> dialTimeout,
        List<Rewrite> rewrites) {

    /// How a host is contacted.
    public enum Scheme {
        HTTP,
        HTTPS
    }

    /// What a host is to a registry.
    public enum Role {
        /// The registry itself, or what its configuration names as `server`: asked last.
        ORIGIN,
        /// Another place that has the images of the registry, or some of them.
        MIRROR
    }

    public RegistryHost {
        if (authority.isEmpty() || authority.indexOf('/') >= 0 || authority.indexOf('@') >= 0) {
            throw new IllegalArgumentException("not a host and port: " + authority);
        }
        if (!path.isEmpty() && (!path.startsWith("/") || path.endsWith("/"))) {
            throw new IllegalArgumentException("not a path prefix: " + path);
        }
        capabilities = Set.copyOf(capabilities);
        headers = Map.copyOf(headers);
        rewrites = List.copyOf(rewrites);
    }

    /// An origin without anything that only mirrors need.
    public RegistryHost(
            Scheme scheme,
            String authority,
            String path,
            Set<Capability> capabilities,
            Map<String, List<String>> headers,
            TlsSettings tls) {
        this(
                scheme,
                authority,
                path,
                capabilities,
                headers,
                tls,
                Role.ORIGIN,
                Optional.empty(),
                Optional.empty(),
                List.of());
    }

    /// A host at `/v2` with all capabilities, no extra headers and the system's trust store.
    public static RegistryHost of(Scheme scheme, String authority) {
        return new RegistryHost(
                scheme,
                authority,
                "/v2",
                Set.of(Capability.values()),
                Map.of(),
                TlsSettings.SYSTEM);
    }

    /// Whether the host may be asked for something.
    public boolean can(Capability capability) {
        return capabilities.contains(capability);
    }

    /// The name of a repository at this host.
    ///
    /// @throws ImageException when a rewrite makes something that is not a name
    public String repository(String repository) throws ImageException {
        for (Rewrite rewrite : rewrites) {
            String rewritten = rewrite.apply(repository, authority);
            if (!rewritten.equals(repository)) {
                return rewritten;
            }
        }
        return repository;
    }

    /// The URL up to and including the path prefix, for example `https://registry-1.docker.io/v2`.
    public String url() {
        return (scheme == Scheme.HTTPS ? "https://" : "http://") + authority + path;
    }

    /// Written out, as is [#hashCode()]: what a record generates is assembled when it is first
    /// called, which takes several milliseconds of a cold start.
    @Override
    public boolean equals(Object other) {
        return other instanceof RegistryHost h
                && scheme == h.scheme
                && authority.equals(h.authority)
                && path.equals(h.path)
                && capabilities.equals(h.capabilities)
                && headers.equals(h.headers)
                && tls.equals(h.tls)
                && role == h.role
                && namespace.equals(h.namespace)
                && dialTimeout.equals(h.dialTimeout)
                && rewrites.equals(h.rewrites);
    }

    @Override
    public int hashCode() {
        return 31 * authority.hashCode() + path.hashCode();
    }

    /// The URL without headers, which may hold secrets.
    @Override
    public String toString() {
        return url();
    }
}
