package dev.imgd.hosts;

import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/// What one table of a `hosts.toml` says about its host; the top level is such a table too.
///
/// @param url null for a top level without `server`
/// @param from file and line, for people
/// @param authorities files with certificates that are trusted besides the system's
/// @param skipVerify null when not set, which is not the same as false
record HostEntry(
        @Nullable HostUrl url,
        String from,
        Set<Capability> capabilities,
        List<Path> authorities,
        List<ClientPair> clients,
        @Nullable Boolean skipVerify,
        Map<String, List<String>> headers,
        @Nullable Duration dialTimeout,
        List<Rewrite> rewrites) {

    static final Set<Capability> ALL = Set.of(Capability.values());

    /// The files of a client certificate and of its key.
    ///
    /// @param key the same as the certificate when one file has both
    record ClientPair(Path certificate, Path key) {}

    /// A registry without a `hosts.toml`, with the certificate files of its directory.
    static HostEntry ofCertificates(String from, List<Path> authorities, List<ClientPair> clients) {
        return new HostEntry(
                null, from, ALL, authorities, clients, null, Map.of(), null, List.of());
    }

    /// Whether anything was said about TLS.
    boolean explicitTls() {
        return !authorities.isEmpty() || !clients.isEmpty() || skipVerify != null;
    }
}
