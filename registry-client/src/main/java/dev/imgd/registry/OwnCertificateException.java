package dev.imgd.registry;

import java.io.IOException;
import java.security.cert.Certificate;
import java.security.cert.X509Certificate;
import java.time.Instant;
import javax.net.ssl.SSLException;
import okhttp3.Handshake;
import okhttp3.Response;
import org.jspecify.annotations.Nullable;

/// A server refused this side's certificate, which is out of date. The message has its dates.
final class OwnCertificateException extends SSLException {
    private OwnCertificateException(String outdated, boolean expired) {
        super(
                "the server refused this side's certificate, which %s%s"
                        .formatted(
                                outdated,
                                expired
                                        ? "; then name the new one as \"client\" of this host in hosts.toml"
                                        : " and the server's"));
    }

    /// The failure itself, or why it came to it.
    ///
    /// @param shown what the server was shown; null for nothing
    static IOException explain(IOException failure, @Nullable X509Certificate shown, Instant now) {
        if (shown == null || !TransportFailure.isOwnCertificate(failure)) {
            return failure;
        }
        OwnCertificateException known = of(shown, now);
        if (known == null) {
            return failure;
        }
        known.initCause(failure);
        return known;
    }

    /// The same of a server that finished the handshake and says so in its answer.
    static @Nullable OwnCertificateException sent(Response response, Instant now) {
        Handshake handshake = response.handshake();
        if (handshake != null) {
            for (Certificate certificate : handshake.localCertificates()) {
                if (certificate instanceof X509Certificate x509) {
                    return of(x509, now);
                }
            }
        }
        return null;
    }

    private static @Nullable OwnCertificateException of(X509Certificate certificate, Instant now) {
        String outdated = RefusedCertificateException.outdated(certificate, now);
        boolean expired = now.isAfter(certificate.getNotAfter().toInstant());
        return outdated.isEmpty() ? null : new OwnCertificateException(outdated, expired);
    }
}
