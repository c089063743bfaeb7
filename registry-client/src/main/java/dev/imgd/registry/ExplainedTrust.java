package dev.imgd.registry;

import dev.imgd.hosts.TlsSettings;
import dev.imgd.model.ImageException;
import java.net.Socket;
import java.security.cert.CertificateException;
import java.security.cert.X509Certificate;
import java.time.Clock;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLSession;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.X509ExtendedTrustManager;
import javax.net.ssl.X509TrustManager;
import org.jspecify.annotations.Nullable;

/// Trusts whom another one trusts, and says of others whose certificate it was and what is wrong
/// with it: the reasons of the Java runtime name neither. Safe for use by many threads.
final class ExplainedTrust extends X509ExtendedTrustManager {
    private final X509ExtendedTrustManager trust;
    private final Clock clock;

    private ExplainedTrust(X509ExtendedTrustManager trust, Clock clock) {
        this.trust = trust;
        this.clock = clock;
    }

    /// The trust of settings, explained where that is possible.
    ///
    /// @param clock says which certificates are out of date
    static X509TrustManager of(TlsSettings tls, Clock clock) throws ImageException {
        X509TrustManager manager = tls.trustManager();
        // Java adds checks of its own to those that are not extended.
        return tls.verifies() && manager instanceof X509ExtendedTrustManager extended
                ? new ExplainedTrust(extended, clock)
                : manager;
    }

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String type, Socket socket)
            throws CertificateException {
        try {
            trust.checkServerTrusted(chain, type, socket);
        } catch (CertificateException e) {
            SSLSession session = socket instanceof SSLSocket s ? s.getHandshakeSession() : null;
            throw explained(chain, type, session == null ? null : session.getPeerHost(), e);
        }
    }

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String type, SSLEngine engine)
            throws CertificateException {
        try {
            trust.checkServerTrusted(chain, type, engine);
        } catch (CertificateException e) {
            throw explained(chain, type, engine.getPeerHost(), e);
        }
    }

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String type)
            throws CertificateException {
        try {
            trust.checkServerTrusted(chain, type);
        } catch (CertificateException e) {
            throw RefusedCertificateException.of(chain, e, clock.instant());
        }
    }

    /// What is refused for a connection and trusted without one is for another name, or breaks a
    /// rule for connections.
    private CertificateException explained(
            X509Certificate[] chain,
            String type,
            @Nullable String host,
            CertificateException refused) {
        if (host == null || chain.length == 0) {
            return RefusedCertificateException.of(chain, refused, clock.instant());
        }
        try {
            trust.checkServerTrusted(chain, type);
            return RefusedCertificateException.isFor(chain[0], host)
                    ? RefusedCertificateException.ofKnownAuthority(chain, refused)
                    : RefusedCertificateException.otherName(host, chain[0], refused);
        } catch (CertificateException e) {
            return RefusedCertificateException.of(chain, e, clock.instant());
        }
    }

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String type, Socket socket)
            throws CertificateException {
        trust.checkClientTrusted(chain, type, socket);
    }

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String type, SSLEngine engine)
            throws CertificateException {
        trust.checkClientTrusted(chain, type, engine);
    }

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String type)
            throws CertificateException {
        trust.checkClientTrusted(chain, type);
    }

    @Override
    public X509Certificate[] getAcceptedIssuers() {
        return trust.getAcceptedIssuers();
    }
}
