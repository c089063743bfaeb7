package dev.imgd.hosts;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// Hosts as they are asked. A place that a configuration names twice, most often as `server` and in
/// a table, is asked once for each capability: where it stands first, with the settings that one of
/// the two has, unless only one verifies certificates. The second answer would be the first one's,
/// and a failure for want of settings would hide that of who has them.
final class AskedHosts {
    private AskedHosts() {}

    /// @return the same list where no host stands there twice
    static List<RegistryHost> of(List<RegistryHost> hosts) {
        List<RegistryHost> asked = new ArrayList<>();
        boolean changed = false;
        for (RegistryHost host : hosts) {
            RegistryHost rest = host;
            for (int i = 0; i < asked.size() && !rest.capabilities().isEmpty(); i++) {
                RegistryHost earlier = asked.get(i);
                boolean shared = !Collections.disjoint(earlier.capabilities(), rest.capabilities());
                if (shared && isSamePlace(earlier, host) && fit(earlier, host)) {
                    asked.set(i, joined(earlier, host));
                    rest = without(rest, earlier.capabilities());
                    changed = true;
                }
            }
            // One that may be asked for nothing by its own configuration says so where it stands.
            if (host.capabilities().isEmpty() || !rest.capabilities().isEmpty()) {
                asked.add(rest);
            }
        }
        return changed ? List.copyOf(asked) : hosts;
    }

    /// A host that gives repositories other names has other images.
    private static boolean isSamePlace(RegistryHost a, RegistryHost b) {
        return a.scheme() == b.scheme()
                && a.authority().equals(b.authority())
                && a.path().equals(b.path())
                && a.namespace().equals(b.namespace())
                && a.rewrites().equals(b.rewrites());
    }

    /// Whether it is clear which settings count. That a certificate is not verified never counts
    /// for the other one, which verifies it and may be who a push sends credentials to.
    private static boolean fit(RegistryHost a, RegistryHost b) {
        return a.tls().verifies() == b.tls().verifies()
                && (isPlain(a)
                        || isPlain(b)
                        || (a.tls().equals(b.tls())
                                && a.headers().equals(b.headers())
                                && a.dialTimeout().equals(b.dialTimeout())));
    }

    private static boolean isPlain(RegistryHost host) {
        return host.tls().equals(TlsSettings.SYSTEM)
                && host.headers().isEmpty()
                && host.dialTimeout().isEmpty();
    }

    private static RegistryHost joined(RegistryHost earlier, RegistryHost later) {
        RegistryHost settings = isPlain(earlier) ? later : earlier;
        boolean origin =
                earlier.role() == RegistryHost.Role.ORIGIN
                        || later.role() == RegistryHost.Role.ORIGIN;
        return with(
                earlier,
                earlier.capabilities(),
                settings.headers(),
                settings.tls(),
                origin ? RegistryHost.Role.ORIGIN : RegistryHost.Role.MIRROR,
                settings.dialTimeout());
    }

    private static RegistryHost without(RegistryHost host, Set<Capability> known) {
        Set<Capability> rest = new HashSet<>(host.capabilities());
        rest.removeAll(known);
        return with(host, rest, host.headers(), host.tls(), host.role(), host.dialTimeout());
    }

    private static RegistryHost with(
            RegistryHost host,
            Set<Capability> capabilities,
            Map<String, List<String>> headers,
            TlsSettings tls,
            RegistryHost.Role role,
            Optional<Duration> dialTimeout) {
        return new RegistryHost(
                host.scheme(),
                host.authority(),
                host.path(),
                capabilities,
                headers,
                tls,
                role,
                host.namespace(),
                dialTimeout,
                host.rewrites());
    }
}
