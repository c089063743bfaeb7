package dev.imgd.hosts;

import java.util.List;
import java.util.Map;
import java.util.Set;

/// One place that answers for a registry.
///
/// @param scheme how it is contacted
/// @param authority `host` or `host:port`, lower case; IPv6 addresses in brackets
/// @param path prefix of every request, `/v2` unless the host lives elsewhere; starts with `/`, or
///   is empty; never ends with `/`
/// @param capabilities what it may be asked for
/// @param headers extra headers, sent to exactly this scheme, host and port: not to token servers
///   and not after a redirect to another place
/// @param tls how `https` is secured; ignored for `http`
public record RegistryHost(
        Scheme scheme,
        String authority,
        String path,
        Set<Capability> capabilities,
        Map<String, List<String>> headers,
        TlsSettings tls) {

    /// How a host is contacted.
    public enum Scheme {
        HTTP,
        HTTPS
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
                && tls.equals(h.tls);
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
