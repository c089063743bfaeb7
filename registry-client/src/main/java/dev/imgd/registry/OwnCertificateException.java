package dev.imgd.registry;

import dev.imgd.hosts.TlsSettings;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.security.cert.Certificate;
import java.security.cert.X509Certificate;
import java.time.Instant;
import java.util.List;
import javax.net.ssl.KeyManager;
import javax.net.ssl.SSLException;
import javax.net.ssl.X509KeyManager;
import okhttp3.Handshake;
import okhttp3.Response;
import org.jspecify.annotations.Nullable;

/// A server refused this side's certificate, which is out of date. The message has its dates.
final class OwnCertificateException extends SSLException {
    private static final List<String> KEY_TYPES = List.of("RSA", "EC", "EdDSA", "RSASSA-PSS");

    private OwnCertificateException(String outdated) {
        super(
                "the server refused this side's certificate, which %s; then name the new one as \"client\" of this host in hosts.toml"
                        .formatted(outdated));
    }

    /// The failure itself, or why it came to it.
    ///
    /// @param tls the settings that were used
    static IOException explain(IOException failure, TlsSettings tls) {
        if (!TransportFailure.isOwnCertificate(failure)) {
            return failure;
        }
        try {
            for (KeyManager manager : tls.keyManagers()) {
                if (manager instanceof X509KeyManager keys) {
                    OwnCertificateException known = of(keys);
                    if (known != null) {
                        known.initCause(failure);
                        return known;
                    }
                }
            }
        } catch (ImageException e) {
            // They could be read for the handshake; what the server said is the news.
            return failure;
        }
        return failure;
    }

    private static @Nullable OwnCertificateException of(X509KeyManager keys) {
        for (String type : KEY_TYPES) {
            String[] aliases = keys.getClientAliases(type, null);
            if (aliases == null) {
                continue;
            }
            for (String alias : aliases) {
                X509Certificate[] chain = keys.getCertificateChain(alias);
                if (chain != null && chain.length > 0) {
                    OwnCertificateException known = of(chain[0]);
                    if (known != null) {
                        return known;
                    }
                }
            }
        }
        return null;
    }

    /// The same of a server that finished the handshake and says so in its answer.
    static @Nullable OwnCertificateException sent(Response response) {
        Handshake handshake = response.handshake();
        if (handshake != null) {
            for (Certificate certificate : handshake.localCertificates()) {
                if (certificate instanceof X509Certificate x509) {
                    return of(x509);
                }
            }
        }
        return null;
    }

    private static @Nullable OwnCertificateException of(X509Certificate certificate) {
        String outdated = RefusedCertificateException.outdated(certificate, Instant.now());
        return outdated.isEmpty() ? null : new OwnCertificateException(outdated);
    }
}
