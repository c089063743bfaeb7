package dev.imgd.hosts;

import dev.imgd.model.ImageException;
import java.nio.file.Path;
import java.time.Clock;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/// Says which hosts answer for a registry, in the order in which they are asked.
///
/// The one place that decides between `http` and `https`. Safe for use by many threads.
@FunctionalInterface
public interface RegistryHosts {
    /// Returns the hosts of a registry, best first, never empty.
    ///
    /// @param registry the registry of a reference, for example `docker.io` or `localhost:5000`
    /// @throws ImageException when the configuration of this registry cannot be used
    List<RegistryHost> hostsFor(String registry) throws ImageException;

    /// The same hosts as they are asked. One that stands there twice is asked once for each
    /// capability, where it stands first: the same scheme, address and path, without or with the
    /// same rewrites. Where one of the two has settings, those count for both. Where both have
    /// settings and they differ, it is asked twice.
    default List<RegistryHost> asked(String registry) throws ImageException {
        return AskedHosts.of(hostsFor(registry));
    }

    /// The same hosts as [#hostsFor], with where each comes from.
    default HostListing listing(String registry) throws ImageException {
        List<HostListing.Entry> entries = new ArrayList<>();
        for (RegistryHost host : hostsFor(registry)) {
            entries.add(new HostListing.Entry(host, "built in"));
        }
        return new HostListing(registry, Optional.empty(), entries, List.of());
    }

    /// The registry itself and nothing else: `https`, except for loopback addresses with a port
    /// other than 443.
    static RegistryHosts direct() {
        return new DirectHosts(Set.of());
    }

    /// Like [#direct()], with plain `http` for the registries listed.
    ///
    /// @param plainHttp registries as references name them, for example `registry.lan:5000`
    static RegistryHosts direct(Set<String> plainHttp) {
        return new DirectHosts(plainHttp);
    }

    /// What directories in the layout of containerd's `certs.d` say; registries without a directory
    /// are as with [#direct(Set)]. Files are read when a registry is first asked for, and again
    /// when they have changed.
    ///
    /// @param roots the first that has a directory for a registry decides; those that do not exist
    ///   are passed over
    /// @param plainHttp registries that are themselves asked over plain `http`; their mirrors are
    ///   asked as their URLs say
    static DirectoryHosts directory(List<Path> roots, HostsMode mode, Set<String> plainHttp) {
        return new DirectoryHosts(roots, mode, plainHttp, Clock.systemUTC());
    }
}
