package dev.imgd.hosts;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.util.List;
import javax.net.ssl.KeyManager;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;

final class SystemTls implements TlsSettings {
    @Override
    public X509TrustManager trustManager() throws ImageException {
        try {
            var factory =
                    TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
            factory.init((KeyStore) null);
            for (TrustManager manager : factory.getTrustManagers()) {
                if (manager instanceof X509TrustManager x509) {
                    return x509;
                }
            }
            throw new ImageException(
                    ErrorKind.INTERNAL, "TLS: the Java runtime has no X.509 trust manager");
        } catch (GeneralSecurityException e) {
            throw new ImageException(
                    ErrorKind.INTERNAL,
                    "TLS: cannot read the trust store of the Java runtime: " + e.getMessage(),
                    e);
        }
    }

    @Override
    public List<KeyManager> keyManagers() {
        return List.of();
    }

    @Override
    public boolean verifies() {
        return true;
    }

    @Override
    public String toString() {
        return "system trust store";
    }
}
