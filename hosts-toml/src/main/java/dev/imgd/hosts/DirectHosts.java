package dev.imgd.hosts;

import java.util.List;
import java.util.Set;

/// Every registry is its own only host.
///
/// containerd asks loopback registries on unusual ports with https first and falls back to http.
/// Here a loopback registry with a port other than 443 is asked with http at once, and nothing ever
/// falls back from https to http: who can disturb a TLS handshake could otherwise read the
/// credentials.
final class DirectHosts implements RegistryHosts {
    static final String DOCKER_HUB = "docker.io";
    private static final String DOCKER_HUB_HOST = "registry-1.docker.io";

    private final Set<String> plainHttp;

    DirectHosts(Set<String> plainHttp) {
        this.plainHttp = Set.copyOf(plainHttp);
    }

    @Override
    public List<RegistryHost> hostsFor(String registry) {
        return List.of(RegistryHost.of(scheme(registry), authority(registry)));
    }

    /// Where the API of a registry is: Docker Hub's is not at its name.
    static String authority(String registry) {
        return registry.equals(DOCKER_HUB) ? DOCKER_HUB_HOST : registry;
    }

    /// Whether plain http was asked for by name.
    boolean isPlainHttp(String registry) {
        return plainHttp.contains(registry);
    }

    RegistryHost.Scheme scheme(String registry) {
        if (isPlainHttp(registry)) {
            return RegistryHost.Scheme.HTTP;
        }
        Authority authority = Authority.of(registry);
        return authority.isLoopback() && authority.port() > 0 && authority.port() != 443
                ? RegistryHost.Scheme.HTTP
                : RegistryHost.Scheme.HTTPS;
    }
}
