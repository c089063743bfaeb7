package dev.imgd.hosts;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class DirectHostsTest {
    @ParameterizedTest
    @CsvSource({
        "docker.io, https://registry-1.docker.io/v2",
        "ghcr.io, https://ghcr.io/v2",
        "registry.lan:5000, https://registry.lan:5000/v2",
        "10.0.0.1:5000, https://10.0.0.1:5000/v2",
        "localhost:5000, http://localhost:5000/v2",
        "localhost:80, http://localhost:80/v2",
        "localhost, https://localhost/v2",
        "localhost:443, https://localhost:443/v2",
        "registry.localhost:5000, http://registry.localhost:5000/v2",
        "127.0.0.1:5000, http://127.0.0.1:5000/v2",
        "127.9.255.254:5000, http://127.9.255.254:5000/v2",
        "127.0.0.1, https://127.0.0.1/v2",
        "[::1]:5000, http://[::1]:5000/v2",
        "[::1], https://[::1]/v2",
        "[2001:db8::1]:5000, https://[2001:db8::1]:5000/v2",
        "127.evil.example:5000, https://127.evil.example:5000/v2",
        "127.0.0.1.evil.example:5000, https://127.0.0.1.evil.example:5000/v2",
        "127.0.0.256:5000, https://127.0.0.256:5000/v2",
        "127.1:5000, https://127.1:5000/v2",
        "localhost.evil.example:5000, https://localhost.evil.example:5000/v2",
        "xlocalhost:5000, https://xlocalhost:5000/v2",
    })
    void hostsFor_registry_isItsOwnOnlyHost(String registry, String url) throws Exception {
        List<RegistryHost> hosts = RegistryHosts.direct().hostsFor(registry);
        assertEquals(1, hosts.size());
        assertEquals(url, hosts.getFirst().url());
        assertEquals(Set.of(Capability.values()), hosts.getFirst().capabilities());
    }

    @Test
    void hostsFor_plainHttpAskedFor_onlyThatRegistryChanges() throws Exception {
        RegistryHosts hosts = RegistryHosts.direct(Set.of("registry.lan:5000"));
        assertEquals(
                "http://registry.lan:5000/v2",
                hosts.hostsFor("registry.lan:5000").getFirst().url());
        assertEquals(
                "https://registry.lan:5001/v2",
                hosts.hostsFor("registry.lan:5001").getFirst().url());
        assertEquals(
                "https://registry-1.docker.io/v2", hosts.hostsFor("docker.io").getFirst().url());
    }

    @Test
    void equals_host_comparesAllParts() throws Exception {
        RegistryHost host = RegistryHosts.direct().hostsFor("a:5000").getFirst();
        assertEquals(host, RegistryHosts.direct().hostsFor("a:5000").getFirst());
        assertEquals(
                host.hashCode(), RegistryHosts.direct().hostsFor("a:5000").getFirst().hashCode());
        RegistryHost.Scheme https = RegistryHost.Scheme.HTTPS;
        Set<Capability> all = Set.of(Capability.values());
        Set<Capability> pull = Set.of(Capability.PULL);
        Map<String, List<String>> none = Map.of();
        Map<String, List<String>> some = Map.of("a", List.of("b"));
        TlsSettings system = TlsSettings.SYSTEM;
        for (RegistryHost other :
                List.of(
                        RegistryHost.of(RegistryHost.Scheme.HTTP, "a:5000"),
                        RegistryHost.of(https, "a:5001"),
                        new RegistryHost(https, "a:5000", "/x", all, none, system),
                        new RegistryHost(https, "a:5000", "/v2", pull, none, system),
                        new RegistryHost(https, "a:5000", "/v2", all, some, system),
                        new RegistryHost(https, "a:5000", "/v2", all, none, new SystemTls()))) {
            assertNotEquals(host, other);
        }
    }

    @Test
    void toString_host_hidesHeaders() {
        RegistryHost host =
                new RegistryHost(
                        RegistryHost.Scheme.HTTPS,
                        "a",
                        "/v2",
                        Set.of(Capability.PULL),
                        Map.of("Authorization", List.of("canary")),
                        TlsSettings.SYSTEM);
        assertFalse(host.toString().contains("canary"));
        assertFalse(host.can(Capability.RESOLVE));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "a/b", "user@host"})
    void of_notAnAuthority_isRefused(String authority) {
        assertThrows(
                IllegalArgumentException.class,
                () -> RegistryHost.of(RegistryHost.Scheme.HTTP, authority));
    }

    @ParameterizedTest
    @CsvSource({
        "host, host, -1",
        "host:1, host, 1",
        "host:65535, host, 65535",
        "host:65536, host, -1",
        "host:x, host, -1",
        "host:, host, -1",
        "[::1]:5, ::1, 5",
        "[::1], ::1, -1",
        "::1, ::1, -1",
    })
    void authority_of_splits(String text, String host, int port) {
        assertEquals(new Authority(host, port), Authority.of(text));
    }
}
