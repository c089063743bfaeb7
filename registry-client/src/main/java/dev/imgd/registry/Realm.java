package dev.imgd.registry;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Text;

import okhttp3.HttpUrl;

import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.Set;

/// Where a registry may send us for a token, and with what.
///
/// A registry chooses its token server freely, so a hostile one could name a metadata service, an
/// address in the user's network or a collector of passwords. **Source:** CVE-2026-33540 and its
/// relatives; go-containerregistry's rules for realms.
///
/// @param registry where the registry itself was contacted
/// @param allowed hosts that may receive credentials although they share no domain with the
///   registry
record Realm(HttpUrl registry, Set<String> allowed) {
    /// Parses and checks the `realm` of a challenge, or the target of a redirect from one.
    HttpUrl check(String realm) throws ImageException {
        HttpUrl url = HttpUrl.parse(realm);
        if (url == null) {
            throw refused(Text.printable(realm, 120), "not an http or https URL");
        }
        check(url);
        return url;
    }

    void check(HttpUrl url) throws ImageException {
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
        boolean fine =
                range == AddressRange.PUBLIC
                        || (range == AddressRange.LOOPBACK
                                && Urls.range(registry.host()) == AddressRange.LOOPBACK);
        if (!fine) {
            throw refused(Urls.printable(url), "it is an address in a local range");
        }
    }

    private boolean sameServer(HttpUrl url) {
        return url.host().equals(registry.host()) && url.port() == registry.port();
    }

    /// Whether the user's credentials for the registry may go to this URL.
    boolean mayReceiveCredentials(HttpUrl url) {
        if (url.host().equals(registry.host())
                || allowed.contains(url.host())
                || allowed.contains(Urls.authority(url))) {
            return true;
        }
        String domain = registry.topPrivateDomain();
        return domain != null && domain.equals(url.topPrivateDomain());
    }

    /// Looks up names of token servers. The registry's own name may lead anywhere.
    okhttp3.Dns dns() {
        // The farthest of its addresses: else a name with a loopback address among others would
        // open
        // the loopback range.
        AddressRange range = AddressRange.LOOPBACK;
        try {
            for (InetAddress address : InetAddress.getAllByName(registry.host())) {
                AddressRange one = AddressRange.of(address);
                range = one.compareTo(range) > 0 ? one : range;
            }
        } catch (UnknownHostException e) {
            // A proxy may know the name where we do not; then the strictest rule holds.
            range = AddressRange.PUBLIC;
        }
        GuardedDns guarded = new GuardedDns(range);
        return hostname ->
                hostname.equals(registry.host())
                        ? okhttp3.Dns.SYSTEM.lookup(hostname)
                        : guarded.lookup(hostname);
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
