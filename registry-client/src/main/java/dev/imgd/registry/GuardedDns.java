package dev.imgd.registry;

import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.List;
import java.util.Set;
import okhttp3.Dns;

/// Looks names up and refuses those that lead closer to this host than who named them.
///
/// The addresses returned here are the ones connected to, so a name cannot change its address
/// between the check and the connection.
///
/// @param near how far away the one is that named the host
/// @param own its own name, which may lead anywhere
/// @param listed names that the configuration vouches for: anywhere but link-local
record GuardedDns(AddressRange near, String own, Set<String> listed) implements Dns {
    GuardedDns {
        listed = Set.copyOf(listed);
    }

    /// For names that anybody may have given.
    static GuardedDns internetOnly() {
        return new GuardedDns(AddressRange.PUBLIC, "", Set.of());
    }

    @Override
    public List<InetAddress> lookup(String hostname) throws UnknownHostException {
        List<InetAddress> addresses = Dns.SYSTEM.lookup(hostname);
        for (InetAddress address : addresses) {
            if (!allows(hostname, AddressRange.of(address))) {
                throw new RefusedAddressException(
                        "its name leads to %s, an address in a local range"
                                .formatted(address.getHostAddress()));
            }
        }
        return addresses;
    }

    boolean allows(String hostname, AddressRange range) {
        return hostname.equals(own)
                || range.notNearerThan(near)
                || (listed.contains(hostname) && range != AddressRange.FORBIDDEN);
    }
}
