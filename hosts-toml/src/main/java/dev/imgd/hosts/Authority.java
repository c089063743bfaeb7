package dev.imgd.hosts;

/// The host and port of a URL.
///
/// @param host a name or an address; IPv6 without brackets
/// @param port 1 to 65535, or -1 when none was given
public record Authority(String host, int port) {
    /// Splits `host`, `host:port`, `[v6]` or `[v6]:port`. A bare IPv6 address is taken as a host.
    public static Authority of(String text) {
        if (text.startsWith("[")) {
            int end = text.indexOf(']');
            if (end > 0) {
                String host = text.substring(1, end);
                return end + 1 < text.length() && text.charAt(end + 1) == ':'
                        ? new Authority(host, port(text, end + 2))
                        : new Authority(host, -1);
            }
        }
        int colon = text.lastIndexOf(':');
        if (colon < 0 || colon != text.indexOf(':')) {
            return new Authority(text, -1);
        }
        return new Authority(text.substring(0, colon), port(text, colon + 1));
    }

    private static int port(String text, int from) {
        if (from == text.length() || text.length() - from > 5) {
            return -1;
        }
        int port = 0;
        for (int i = from; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c < '0' || c > '9') {
                return -1;
            }
            port = 10 * port + c - '0';
        }
        return port <= 65535 ? port : -1;
    }

    /// Whether the host is `localhost`, a name below it, `::1` or in `127.0.0.0/8`. Nothing is
    /// looked up.
    public boolean isLoopback() {
        if (host.equalsIgnoreCase("localhost")
                || host.equals("::1")
                || host.regionMatches(true, host.length() - 10, ".localhost", 0, 10)) {
            return true;
        }
        if (!host.startsWith("127.")) {
            return false;
        }
        int dots = 0;
        int value = -1;
        for (int i = 0; i < host.length(); i++) {
            char c = host.charAt(i);
            if (c == '.') {
                if (value < 0) {
                    return false;
                }
                dots++;
                value = -1;
            } else if (c >= '0' && c <= '9') {
                value = 10 * Math.max(value, 0) + c - '0';
                if (value > 255) {
                    return false;
                }
            } else {
                return false;
            }
        }
        return dots == 3 && value >= 0;
    }
}
