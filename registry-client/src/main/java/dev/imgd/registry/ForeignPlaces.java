package dev.imgd.registry;

import dev.imgd.hosts.TlsSettings;
import okhttp3.Dns;

/// How places are reached that images name and nobody vouches for.
///
/// @param dns looks their names up, and refuses those that lead where they must not
/// @param tls decides who they are
record ForeignPlaces(Dns dns, TlsSettings tls) {
    /// Those on the internet, with a certificate that the system trusts.
    static ForeignPlaces internet() {
        return new ForeignPlaces(GuardedDns.internetOnly(), TlsSettings.SYSTEM);
    }
}
