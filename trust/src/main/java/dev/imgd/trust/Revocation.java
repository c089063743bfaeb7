package dev.imgd.trust;

import dev.imgd.model.ImageException;
import java.security.GeneralSecurityException;
import java.security.cert.X509CRL;
import java.security.cert.X509Certificate;
import java.time.Instant;
import java.util.Date;
import java.util.List;
import java.util.Set;

/// Whether certificates were revoked, by the revocation lists on this host; nothing is asked over
/// the network.
final class Revocation {
    private static final String DISTRIBUTION_POINTS = "2.5.29.31";
    private static final String AUTHORITY_ACCESS = "1.3.6.1.5.5.7.1.1";

    /// Extensions of a list that imgd follows; others that are critical could narrow what the list
    /// speaks of.
    private static final Set<String> UNDERSTOOD = Set.of("2.5.29.20", "2.5.29.35");

    private Revocation() {}

    /// Checks every certificate but the root.
    ///
    /// @throws ImageException when one is revoked, or when it names a source of revocations and no
    ///   current list of its issuer is here
    static void check(List<X509Certificate> chain, List<X509CRL> lists, Instant now)
            throws ImageException {
        for (int i = 0; i + 1 < chain.size(); i++) {
            X509Certificate certificate = chain.get(i);
            boolean known = false;
            for (X509CRL list : lists) {
                if (speaksFor(list, chain.get(i + 1), now)) {
                    known = true;
                    if (list.isRevoked(certificate)) {
                        throw ImageException.invalidContent(
                                "certificate %s: revoked"
                                        .formatted(CertificateChain.name(certificate)));
                    }
                }
            }
            if (!known && namesSource(certificate)) {
                throw ImageException.invalidContent(
                        "certificate %s: no current revocation list of its issuer on this host"
                                .formatted(CertificateChain.name(certificate)));
            }
        }
    }

    /// A certificate that names no source cannot be revoked.
    private static boolean namesSource(X509Certificate certificate) {
        return certificate.getExtensionValue(DISTRIBUTION_POINTS) != null
                || certificate.getExtensionValue(AUTHORITY_ACCESS) != null;
    }

    private static boolean speaksFor(X509CRL list, X509Certificate issuer, Instant now) {
        if (!list.getIssuerX500Principal().equals(issuer.getSubjectX500Principal())) {
            return false;
        }
        Set<String> critical = list.getCriticalExtensionOIDs();
        if (critical != null && !UNDERSTOOD.containsAll(critical)) {
            return false;
        }
        Date next = list.getNextUpdate();
        if (list.getThisUpdate().toInstant().isAfter(now)
                || next == null
                || next.toInstant().isBefore(now)) {
            return false;
        }
        try {
            list.verify(issuer.getPublicKey());
            return true;
        } catch (GeneralSecurityException e) {
            return false;
        }
    }
}
