package dev.imgd.hosts;

import dev.imgd.hosts.HostEntry.ClientPair;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.net.Socket;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import javax.net.ssl.KeyManager;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509ExtendedTrustManager;
import javax.net.ssl.X509TrustManager;

/// Certificates from files, which are read when the first connection is made.
///
/// Equal to another when it would read the same files in the same state, so that connections are
/// kept while a configuration is read again, and made anew when a certificate was renewed.
final class FileTls implements TlsSettings {
    /// Whose settings they are and where they are written, for messages.
    private final String owner;

    private final List<Path> authorities;
    private final List<ClientPair> clients;
    private final boolean verifies;
    private final List<FileStamp> stamps;

    private FileTls(
            String owner,
            List<Path> authorities,
            List<ClientPair> clients,
            boolean verifies,
            List<FileStamp> stamps) {
        this.owner = owner;
        this.authorities = authorities;
        this.clients = clients;
        this.verifies = verifies;
        this.stamps = stamps;
    }

    /// The settings of a table; [TlsSettings#SYSTEM] when it says nothing that matters.
    ///
    /// @param host whose settings they are
    /// @param stamps receives the state of every file
    static TlsSettings of(HostEntry entry, String host, List<FileStamp> stamps) {
        boolean verifies = !Boolean.TRUE.equals(entry.skipVerify());
        if (verifies && entry.authorities().isEmpty() && entry.clients().isEmpty()) {
            return TlsSettings.SYSTEM;
        }
        Set<Path> files = new LinkedHashSet<>(entry.authorities());
        for (ClientPair pair : entry.clients()) {
            files.add(pair.certificate());
            files.add(pair.key());
        }
        List<FileStamp> own = new ArrayList<>();
        for (Path file : files) {
            own.add(FileStamp.ofOneHost(file));
        }
        stamps.addAll(own);
        return new FileTls(
                "%s, %s".formatted(host, entry.from()),
                List.copyOf(entry.authorities()),
                List.copyOf(entry.clients()),
                verifies,
                List.copyOf(own));
    }

    @Override
    public X509TrustManager trustManager() throws ImageException {
        if (!verifies) {
            return new Anybody();
        }
        if (authorities.isEmpty()) {
            return TlsSettings.SYSTEM.trustManager();
        }
        try {
            KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
            store.load(null, null);
            int count = 0;
            for (X509Certificate system : TlsSettings.SYSTEM.trustManager().getAcceptedIssuers()) {
                store.setCertificateEntry("system-" + count++, system);
            }
            for (Path file : authorities) {
                for (X509Certificate certificate : Pem.read(file).certificates()) {
                    store.setCertificateEntry("file-" + count++, certificate);
                }
            }
            var factory =
                    TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
            factory.init(store);
            for (TrustManager manager : factory.getTrustManagers()) {
                if (manager instanceof X509TrustManager x509) {
                    return x509;
                }
            }
            throw new ImageException(
                    ErrorKind.INTERNAL, "TLS: the Java runtime has no X.509 trust manager");
        } catch (ImageException e) {
            throw owned("ca", e);
        } catch (GeneralSecurityException | IOException e) {
            throw new ImageException(
                    ErrorKind.INTERNAL, "TLS: cannot make a trust store: " + e.getMessage(), e);
        }
    }

    @Override
    public List<KeyManager> keyManagers() throws ImageException {
        try {
            return clients.isEmpty() ? List.of() : List.of(ClientKeys.read(clients));
        } catch (ImageException e) {
            throw owned("client", e);
        }
    }

    private ImageException owned(String key, ImageException e) {
        return new ImageException(
                e.kind(), "%s of %s: %s".formatted(key, owner, e.getMessage()), e);
    }

    @Override
    public boolean verifies() {
        return verifies;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof FileTls t
                && verifies == t.verifies
                && authorities.equals(t.authorities)
                && clients.equals(t.clients)
                && stamps.equals(t.stamps);
    }

    @Override
    public int hashCode() {
        return 31 * authorities.hashCode() + stamps.hashCode() + (verifies ? 1 : 0);
    }

    @Override
    public String toString() {
        StringBuilder out = new StringBuilder(verifies ? "" : "not verified");
        if (!authorities.isEmpty()) {
            out.append(out.isEmpty() ? "" : ", ").append("ca ").append(join(authorities));
        }
        for (ClientPair pair : clients) {
            out.append(out.isEmpty() ? "" : ", ").append("client ").append(pair.certificate());
            if (!pair.key().equals(pair.certificate())) {
                out.append(" with ").append(pair.key());
            }
        }
        return out.toString();
    }

    private static String join(List<Path> files) {
        StringBuilder out = new StringBuilder();
        for (Path file : files) {
            out.append(out.isEmpty() ? "" : " ").append(file);
        }
        return out.toString();
    }

    /// What `skip_verify = true` asks for.
    private static final class Anybody extends X509ExtendedTrustManager {
        @Override
        public void checkServerTrusted(X509Certificate[] chain, String authType) {}

        @Override
        public void checkServerTrusted(X509Certificate[] chain, String authType, Socket socket) {}

        @Override
        public void checkServerTrusted(
                X509Certificate[] chain, String authType, SSLEngine engine) {}

        @Override
        public void checkClientTrusted(X509Certificate[] chain, String authType) {}

        @Override
        public void checkClientTrusted(X509Certificate[] chain, String authType, Socket socket) {}

        @Override
        public void checkClientTrusted(
                X509Certificate[] chain, String authType, SSLEngine engine) {}

        @Override
        public X509Certificate[] getAcceptedIssuers() {
            return new X509Certificate[0];
        }
    }
}
