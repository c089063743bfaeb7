package dev.imgd.registry;

import okhttp3.Dns;

import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.List;

/// Looks names up and refuses those that lead closer to this host than the registry itself is.
///
/// The addresses returned here are the ones connected to, so a name cannot change its address
/// between the check and the connection.
final class GuardedDns implements Dns {
    private final AddressRange registry;

    /// @param registry the range of the registry that named the host
    GuardedDns(AddressRange registry) {
        this.registry = registry;
    }

    @Override
    public List<InetAddress> lookup(String hostname) throws UnknownHostException {
        List<InetAddress> addresses = Dns.SYSTEM.lookup(hostname);
        for (InetAddress address : addresses) {
            if (!allows(AddressRange.of(address))) {
                throw new RefusedAddressException(
                        "its name leads to %s, an address in a local range"
                                .formatted(address.getHostAddress()));
            }
        }
        return addresses;
    }

    boolean allows(AddressRange range) {
        return switch (range) {
            case PUBLIC -> true;
            case PRIVATE -> registry != AddressRange.PUBLIC;
            case LOOPBACK -> registry == AddressRange.LOOPBACK;
            case FORBIDDEN -> false;
        };
    }
}
