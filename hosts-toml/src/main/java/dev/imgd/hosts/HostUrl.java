package dev.imgd.hosts;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/// The place that a `[host."…"]` table or `server` names.
///
/// @param path the API's prefix: `/v2` is appended unless it is there or the table forbids it
record HostUrl(RegistryHost.Scheme scheme, String authority, String path) {
    private static final String API = "/v2";
    private static final String PATH_PUNCTUATION = "/-._~%:!$&'()*+,;=";

    /// What a text is: a place, or why it is none.
    ///
    /// @param problem null when there is a URL
    /// @param ignored the parts that containerd drops without a word; null for none
    record Parsed(@Nullable HostUrl url, @Nullable String problem, @Nullable String ignored) {
        static Parsed wrong(String problem) {
            return new Parsed(null, problem, null);
        }
    }

    /// Parses `host`, `host:port`, or an `http` or `https` URL. Without a scheme it is `https`.
    ///
    /// @param overridePath whether the path is the API's prefix as it stands
    static Parsed parse(String text, boolean overridePath) {
        int colon = text.indexOf("://");
        RegistryHost.Scheme scheme = RegistryHost.Scheme.HTTPS;
        String rest = text;
        if (colon >= 0) {
            switch (text.substring(0, colon).toLowerCase(Locale.ROOT)) {
                case "http" -> scheme = RegistryHost.Scheme.HTTP;
                case "https" -> scheme = RegistryHost.Scheme.HTTPS;
                default -> {
                    return Parsed.wrong("the scheme must be http or https");
                }
            }
            rest = text.substring(colon + 3);
        }
        String ignored = null;
        int end = indexOfAny(rest, "?#");
        if (end >= 0) {
            ignored = "a query or a fragment";
            rest = rest.substring(0, end);
        }
        int slash = rest.indexOf('/');
        String authority = slash < 0 ? rest : rest.substring(0, slash);
        int at = authority.lastIndexOf('@');
        if (at >= 0) {
            ignored = "a user name; credentials belong into an auth file";
            authority = authority.substring(at + 1);
        }
        String problem = authorityProblem(authority);
        if (problem != null) {
            return Parsed.wrong(problem);
        }
        String path = clean(slash < 0 ? "" : rest.substring(slash));
        for (int i = 0; i < path.length(); i++) {
            char c = path.charAt(i);
            if (!isLetterOrDigit(c) && PATH_PUNCTUATION.indexOf(c) < 0) {
                return Parsed.wrong("the path has a character that must be percent-encoded");
            }
            if (c == '%' && !isEncoded(path, i)) {
                return Parsed.wrong("the path has a % without two hexadecimal digits after it");
            }
        }
        if (!overridePath && !path.endsWith(API)) {
            path += API;
        }
        HostUrl url = new HostUrl(scheme, authority.toLowerCase(Locale.ROOT), path);
        return new Parsed(url, null, ignored);
    }

    private static boolean isEncoded(String path, int percent) {
        return percent + 2 < path.length()
                && isHex(path.charAt(percent + 1))
                && isHex(path.charAt(percent + 2));
    }

    private static boolean isHex(char c) {
        return c < 0x80 && Character.digit(c, 16) >= 0;
    }

    private static int indexOfAny(String text, String characters) {
        for (int i = 0; i < text.length(); i++) {
            if (characters.indexOf(text.charAt(i)) >= 0) {
                return i;
            }
        }
        return -1;
    }

    private static @Nullable String authorityProblem(String authority) {
        boolean bracketed = authority.startsWith("[");
        int end = bracketed ? authority.indexOf(']') + 1 : authority.indexOf(':');
        if (bracketed && end == 0) {
            return "the IPv6 address has no closing bracket";
        }
        if (!bracketed && end >= 0 && authority.indexOf(':', end + 1) >= 0) {
            return "an IPv6 address is written in brackets, [::1]:5000";
        }
        String host = end < 0 ? authority : authority.substring(0, end);
        if (host.isEmpty()) {
            return "the host is missing";
        }
        for (int i = bracketed ? 1 : 0; i < host.length() - (bracketed ? 1 : 0); i++) {
            char c = host.charAt(i);
            boolean fine =
                    bracketed
                            ? c == ':' || c == '.' || isHex(c)
                            : c == '-' || c == '.' || c == '_' || isLetterOrDigit(c);
            if (!fine) {
                return "the host may have letters, digits, dots, hyphens and underscores only";
            }
        }
        String port = authority.substring(host.length());
        if (!port.isEmpty() && (!port.startsWith(":") || Authority.of(authority).port() < 1)) {
            return "the port must be a number from 1 to 65535";
        }
        return null;
    }

    private static boolean isLetterOrDigit(char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    }

    /// Without empty, `.` and `..` segments and without a slash at the end; empty for the root.
    private static String clean(String path) {
        List<String> segments = new ArrayList<>();
        for (String segment : path.split("/")) {
            if (segment.equals("..")) {
                if (!segments.isEmpty()) {
                    segments.removeLast();
                }
            } else if (!segment.isEmpty() && !segment.equals(".")) {
                segments.add(segment);
            }
        }
        return segments.isEmpty() ? "" : '/' + String.join("/", segments);
    }
}
