package dev.imgd.registry;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.util.HashSet;
import java.util.Set;
import okhttp3.HttpUrl;

/// Where a registry may send us for a token, and with what.
///
/// A registry chooses its token server freely, so a hostile one could name a metadata service, an
/// address in the user's network or a collector of passwords.
///
/// A token server may not be nearer to this host than the registry is: one on the internet names
/// none in the private network, and one in the private network none on this host. That is decided
/// by where the registry was really reached, not by its name. Exempt are the registry's own host
/// and port, `localhost`, `127.0.0.1` and `::1` being one host, and hosts that the configuration
/// lists; link-local addresses never are. Being asked is one thing, getting credentials another:
/// that takes the registry's own host, its registrable domain, or the list.
///
/// **Source:** CVE-2026-33540 and its relatives; go-containerregistry's rules for realms, which
/// refuse all private addresses and with them private registries.
///
/// @param registry where the registry itself was contacted
/// @param allowed hosts, `host` or `host:port`, that belong to the registry although they share no
///   domain or network with it
record Realm(HttpUrl registry, Set<String> allowed) {
    /// Parses and checks the `realm` of a challenge, or the target of a redirect from one.
    ///
    /// @param near how far away the registry was reached
    HttpUrl check(String realm, AddressRange near) throws ImageException {
        HttpUrl url = HttpUrl.parse(realm);
        if (url == null) {
            throw refused(Urls.printable(realm), "not an http or https URL");
        }
        check(url, near);
        return url;
    }

    void check(HttpUrl url, AddressRange near) throws ImageException {
        if (!url.encodedUsername().isEmpty() || !url.encodedPassword().isEmpty()) {
            throw refused(Urls.printable(url), "it holds a user name");
        }
        if (!url.isHttps() && registry.isHttps()) {
            throw refused(Urls.printable(url), "the registry is https and this is not");
        }
        if (sameServer(url)) {
            return;
        }
        AddressRange range = Urls.range(url.host());
        if (range == AddressRange.FORBIDDEN) {
            throw refused(Urls.printable(url), "it is a link-local or reserved address");
        }
        if (!range.notNearerThan(near) && !isListed(url)) {
            throw refused(
                    Urls.printable(url),
                    "it is an address in a local range, and the registry is farther away; list %s"
                                    .formatted(url.host())
                            + " in registry.realm_allow if it belongs to the registry");
        }
    }

    /// This host has several names for itself, and one server at a port of all of them.
    boolean sameServer(HttpUrl url) {
        return url.port() == registry.port()
                && (url.host().equals(registry.host())
                        || (isThisHost(url.host()) && isThisHost(registry.host())));
    }

    private static boolean isThisHost(String host) {
        return host.equals("localhost") || host.equals("127.0.0.1") || host.equals("::1");
    }

    private boolean isListed(HttpUrl url) {
        return Urls.isListed(url, allowed);
    }

    /// Whether the user's credentials for the registry may go to this URL.
    boolean mayReceiveCredentials(HttpUrl url) {
        if (url.host().equals(registry.host()) || sameServer(url) || isListed(url)) {
            return true;
        }
        String domain = registry.topPrivateDomain();
        return domain != null && domain.equals(url.topPrivateDomain());
    }

    /// Looks up names of token servers, by the same rule. The registry's own name may lead
    /// anywhere.
    GuardedDns dns(AddressRange near) {
        Set<String> listed = new HashSet<>();
        for (String host : allowed) {
            int colon = host.lastIndexOf(':');
            listed.add(colon < 0 ? host : host.substring(0, colon));
        }
        return new GuardedDns(near, registry.host(), listed);
    }

    ImageException refused(String realm, String why) {
        return new ImageException(
                ErrorKind.UNAUTHENTICATED,
                "registry %s: its token server %s is not asked: %s"
                        .formatted(Urls.authority(registry), realm, why));
    }

    ImageException foreign(HttpUrl url) {
        return refused(
                Urls.printable(url),
                "it is under another domain and would receive your credentials; list %s in"
                                .formatted(url.host())
                        + " registry.realm_allow if it belongs to the registry");
    }
}
