package dev.imgd.registry;

import java.net.Inet4Address;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.Optional;

/// How far away an address is: what a registry on the internet names must not lead into the host or
/// its network. **Source:** IANA special-purpose address registries (RFC 6890 and successors).
enum AddressRange {
    LOOPBACK,
    /// Link-local, where clouds keep their metadata services; unspecified; multicast; reserved.
    FORBIDDEN,
    PRIVATE,
    PUBLIC;

    /// Whether something at `near` may name something in this range without reaching past itself
    /// towards this host.
    boolean notNearerThan(AddressRange near) {
        return switch (this) {
            case PUBLIC -> true;
            case PRIVATE -> near == PRIVATE || near == LOOPBACK;
            case LOOPBACK -> near == LOOPBACK;
            case FORBIDDEN -> false;
        };
    }

    static AddressRange of(InetAddress address) {
        byte[] bytes = address.getAddress();
        if (address instanceof Inet6Address v6) {
            InetAddress inner = embedded(v6);
            if (inner != null) {
                return of(inner);
            }
        }
        if (address.isLoopbackAddress()) {
            return LOOPBACK;
        }
        if (address.isLinkLocalAddress()
                || address.isAnyLocalAddress()
                || address.isMulticastAddress()) {
            return FORBIDDEN;
        }
        int first = bytes[0] & 0xff;
        int second = bytes[1] & 0xff;
        if (address instanceof Inet4Address) {
            if (first == 0 || first >= 240) {
                return FORBIDDEN;
            }
            boolean carrierGrade = first == 100 && (second & 0xc0) == 64;
            boolean benchmark = first == 198 && (second & 0xfe) == 18;
            return address.isSiteLocalAddress() || carrierGrade || benchmark ? PRIVATE : PUBLIC;
        }
        return (first & 0xfe) == 0xfc || address.isSiteLocalAddress() ? PRIVATE : PUBLIC;
    }

    /// The IPv4 address inside an IPv6 one that leads to it: compatible, NAT64 or 6to4.
    private static @org.jspecify.annotations.Nullable InetAddress embedded(Inet6Address address) {
        byte[] b = address.getAddress();
        try {
            if (b[0] == 0x20 && b[1] == 0x02) {
                return InetAddress.getByAddress(new byte[] {b[2], b[3], b[4], b[5]});
            }
            boolean nat64 =
                    b[0] == 0 && b[1] == 0x64 && (b[2] & 0xff) == 0xff && b[3] == (byte) 0x9b;
            if (nat64 || (address.isIPv4CompatibleAddress() && !isUnspecifiedOrLoopback(b))) {
                return InetAddress.getByAddress(new byte[] {b[12], b[13], b[14], b[15]});
            }
            return null;
        } catch (UnknownHostException e) {
            throw new AssertionError("four bytes are an address", e);
        }
    }

    private static boolean isUnspecifiedOrLoopback(byte[] b) {
        return b[12] == 0 && b[13] == 0 && b[14] == 0 && (b[15] == 0 || b[15] == 1);
    }

    /// The range of a host that is written as an address; nothing is looked up.
    ///
    /// @param host as in a parsed URL: IPv6 without brackets, IPv4 in its canonical form
    static Optional<AddressRange> ofLiteral(String host) {
        boolean literal = host.indexOf(':') >= 0;
        if (!literal) {
            literal = !host.isEmpty();
            for (int i = 0; i < host.length(); i++) {
                char c = host.charAt(i);
                literal &= c == '.' || (c >= '0' && c <= '9');
            }
        }
        if (!literal) {
            return Optional.empty();
        }
        try {
            return Optional.of(of(InetAddress.ofLiteral(host)));
        } catch (IllegalArgumentException e) {
            return Optional.of(FORBIDDEN);
        }
    }
}
