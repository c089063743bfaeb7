package dev.imgd.registry;

import dev.imgd.model.ImageException;
import dev.imgd.model.Text;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/// Which servers are reached without a proxy although there is one.
///
/// An entry is a host, which stands for its subdomains too, a `.suffix` or `*.suffix`, which stands
/// for these alone, an address, either with a `:port`, a network in CIDR notation, or `*`. Names
/// are compared as they are written: nothing is looked up. **Source:**
/// golang.org/x/net/http/httpproxy, which containerd, docker and skopeo use.
record Bypass(List<Entry> entries) {
    static final Bypass NOTHING = new Bypass(List.of());

    sealed interface Entry {
        /// The port that it is about; 0 for all.
        int port();

        boolean covers(String host, @Nullable InetAddress address);
    }

    private record All(int port) implements Entry {
        @Override
        public boolean covers(String host, @Nullable InetAddress address) {
            return true;
        }
    }

    /// @param domain begins with a dot
    /// @param itself whether the domain itself is meant too
    private record Domain(String domain, boolean itself, int port) implements Entry {
        @Override
        public boolean covers(String host, @Nullable InetAddress address) {
            return host.endsWith(domain) || (itself && host.equals(domain.substring(1)));
        }
    }

    private record Network(InetAddress first, int bits, int port) implements Entry {
        @Override
        public boolean covers(String host, @Nullable InetAddress address) {
            byte[] prefix = first.getAddress();
            byte[] bytes = address == null ? new byte[0] : address.getAddress();
            if (bytes.length != prefix.length) {
                return false;
            }
            for (int bit = 0; bit < bits; bit++) {
                int mask = 0x80 >> (bit & 7);
                if (((bytes[bit >> 3] ^ prefix[bit >> 3]) & mask) != 0) {
                    return false;
                }
            }
            return true;
        }
    }

    /// @param setting where the entries were written, for errors
    static Bypass parse(String setting, Iterable<String> entries) throws ImageException {
        List<Entry> parsed = new ArrayList<>();
        for (String entry : entries) {
            String text = entry.strip().toLowerCase(Locale.ROOT);
            if (!text.isEmpty()) {
                parsed.add(entry(setting, text));
            }
        }
        return new Bypass(List.copyOf(parsed));
    }

    private static Entry entry(String setting, String text) throws ImageException {
        if (text.equals("*")) {
            return new All(0);
        }
        int slash = text.indexOf('/');
        if (slash >= 0) {
            InetAddress network = address(text.substring(0, slash));
            int bits = number(text.substring(slash + 1));
            if (network == null || bits < 0 || bits > network.getAddress().length * 8) {
                throw wrong(setting, text);
            }
            return new Network(network, bits, 0);
        }
        String host = text;
        int port = 0;
        int colon = text.lastIndexOf(':');
        boolean bracket = text.startsWith("[");
        // More than one colon without brackets is an IPv6 address without a port.
        if (colon >= 0 && (bracket ? colon > text.indexOf(']') : text.indexOf(':') == colon)) {
            host = text.substring(0, colon);
            port = number(text.substring(colon + 1));
            if (port < 1 || port > 65_535) {
                throw wrong(setting, text);
            }
        }
        if (host.startsWith("[") && host.endsWith("]")) {
            host = host.substring(1, host.length() - 1);
        }
        InetAddress address = address(host);
        if (address != null) {
            return new Network(address, address.getAddress().length * 8, port);
        }
        if (host.startsWith("*.")) {
            host = host.substring(1);
        }
        boolean suffix = host.startsWith(".");
        String name = suffix ? host.substring(1) : host;
        if (!isName(name)) {
            throw wrong(setting, text);
        }
        return new Domain('.' + name, !suffix, port);
    }

    /// A host name, if not a valid one: the beginning of a URL and two names in one are not.
    private static boolean isName(String text) {
        boolean name = !text.isEmpty();
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            name &= Character.isLetterOrDigit(c) || c == '.' || c == '-' || c == '_';
        }
        return name;
    }

    private static int number(String text) {
        boolean digits = !text.isEmpty() && text.length() <= 5;
        for (int i = 0; i < text.length(); i++) {
            digits &= text.charAt(i) >= '0' && text.charAt(i) <= '9';
        }
        return digits ? Integer.parseInt(text) : -1;
    }

    private static ImageException wrong(String setting, String entry) {
        return ImageException.invalidArgument(
                "%s: wanted hosts, .suffixes, addresses and networks such as 10.0.0.0/8, got \"%s\""
                        .formatted(setting, Text.printable(entry, 80)));
    }

    /// @param host as in a parsed URL
    boolean covers(String host, int port) {
        InetAddress address = address(host);
        for (Entry entry : entries) {
            if ((entry.port() == 0 || entry.port() == port) && entry.covers(host, address)) {
                return true;
            }
        }
        return false;
    }

    /// Null for what is not an address as it is written.
    static @Nullable InetAddress address(String host) {
        try {
            return InetAddress.ofLiteral(host);
        } catch (IllegalArgumentException e) {
            return null; // a name
        }
    }
}
