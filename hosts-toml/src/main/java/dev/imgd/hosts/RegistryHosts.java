package dev.imgd.hosts;

import dev.imgd.model.ImageException;

import java.util.List;
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
}
