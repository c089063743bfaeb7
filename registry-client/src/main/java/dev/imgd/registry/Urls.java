package dev.imgd.registry;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.Text;
import java.util.Set;
import okhttp3.HttpUrl;
import okhttp3.Response;
import org.jspecify.annotations.Nullable;

/// Rules for where requests may go.
final class Urls {
    private static final int MAX_SHOWN_CHARS = 200;

    private Urls() {}

    /// The URL without user, password, query and fragment, which may hold secrets.
    static String printable(HttpUrl url) {
        return Text.printable(
                url.scheme() + "://" + authority(url) + url.encodedPath(), MAX_SHOWN_CHARS);
    }

    /// The same for what may be no URL at all.
    static String printable(String url) {
        HttpUrl parsed = HttpUrl.parse(url);
        return parsed == null
                ? Text.printable(Text.withoutUser(url), MAX_SHOWN_CHARS)
                : printable(parsed);
    }

    /// `host` or `host:port`; the port only when it is not the scheme's own.
    static String authority(HttpUrl url) {
        String host = url.host().indexOf(':') >= 0 ? '[' + url.host() + ']' : url.host();
        return url.port() == HttpUrl.defaultPort(url.scheme()) ? host : host + ':' + url.port();
    }

    static boolean sameOrigin(HttpUrl a, HttpUrl b) {
        return a.port() == b.port() && a.scheme().equals(b.scheme()) && a.host().equals(b.host());
    }

    /// Whether a list has the URL's `host` or `host:port`.
    static boolean isListed(HttpUrl url, Set<String> hosts) {
        return hosts.contains(url.host()) || hosts.contains(authority(url));
    }

    static boolean isRedirect(int status) {
        return switch (status) {
            case 301, 302, 303, 307, 308 -> true;
            default -> false;
        };
    }

    /// Where a redirect leads.
    ///
    /// @param start where the first request went; decides which addresses are too close to follow
    ///   to
    /// @throws ImageException when it may not be followed
    static HttpUrl redirectTarget(String what, HttpUrl start, HttpUrl current, Response response)
            throws ImageException {
        String location = response.header("Location");
        @Nullable HttpUrl next = location == null ? null : current.resolve(location);
        if (next == null) {
            throw refused(
                    what,
                    current,
                    location == null ? "without a Location" : "to \"" + printable(location) + '"');
        }
        if (current.isHttps() && !next.isHttps()) {
            throw refused(what, current, "from https to " + printable(next));
        }
        if (!next.encodedUsername().isEmpty() || !next.encodedPassword().isEmpty()) {
            throw refused(what, current, "with a user name to " + printable(next));
        }
        if (!next.host().equals(start.host()) && leadsInside(start, next)) {
            throw refused(what, current, "to the local address " + printable(next));
        }
        return next;
    }

    static ImageException tooManyRedirects(String what, HttpUrl current, Limits limits) {
        return limits.exceeded(
                Limits.Key.REDIRECTS, "%s: %s redirects again".formatted(what, authority(current)));
    }

    private static boolean leadsInside(HttpUrl start, HttpUrl next) {
        AddressRange range = range(next.host());
        return switch (range) {
            case FORBIDDEN -> true;
            case LOOPBACK -> range(start.host()) != AddressRange.LOOPBACK;
            case PRIVATE, PUBLIC -> false;
        };
    }

    /// The range of a host as written; a name counts as public unless it is `localhost`.
    static AddressRange range(String host) {
        return host.equals("localhost") || host.endsWith(".localhost")
                ? AddressRange.LOOPBACK
                : AddressRange.ofLiteral(host).orElse(AddressRange.PUBLIC);
    }

    private static ImageException refused(String what, HttpUrl current, String how) {
        return new ImageException(
                ErrorKind.UNAVAILABLE,
                "%s: %s redirects %s; not followed".formatted(what, authority(current), how));
    }
}
