package dev.imgd.hosts;

import dev.imgd.model.ImageException;
import java.util.List;
import javax.net.ssl.KeyManager;
import javax.net.ssl.X509TrustManager;

/// How connections to a host are secured. TLS 1.2 is the oldest version spoken, whatever this says.
///
/// Connections are shared between hosts whose settings are equal, so an implementation is made once
/// per host and kept, or compares by what it would read. Nothing is read before the first TLS
/// connection. Implementations are safe for use by many threads.
public interface TlsSettings {
    /// The trust store of the Java runtime and no client certificate.
    TlsSettings SYSTEM = new SystemTls();

    /// Decides which server certificates are accepted.
    ///
    /// @throws ImageException when a certificate file cannot be read
    X509TrustManager trustManager() throws ImageException;

    /// The certificates this side can present; empty for none.
    ///
    /// @throws ImageException when a certificate or key file cannot be read
    List<KeyManager> keyManagers() throws ImageException;

    /// Whether the server must prove who it is: false also skips the comparison of host names.
    boolean verifies();
}
