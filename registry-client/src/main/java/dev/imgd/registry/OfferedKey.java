package dev.imgd.registry;

import java.net.Socket;
import java.security.Principal;
import java.security.PrivateKey;
import java.security.cert.X509Certificate;
import java.util.List;
import javax.net.ssl.KeyManager;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLSession;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.X509ExtendedKeyManager;
import org.jspecify.annotations.Nullable;

/// Shows the client certificate that is configured for a host even when the server does not name
/// its issuer. Java would show none then, and the server could only say that one is missing, not
/// that it is the wrong one. Tells which one it shows to whom: nobody else knows when a handshake
/// fails.
final class OfferedKey extends X509ExtendedKeyManager {
    /// Takes what a server is shown.
    interface Receiver {
        /// @param certificate null for none
        void shown(String host, int port, @Nullable X509Certificate certificate);
    }

    private final X509ExtendedKeyManager keys;
    private final Receiver receiver;

    private OfferedKey(X509ExtendedKeyManager keys, Receiver receiver) {
        this.keys = keys;
        this.receiver = receiver;
    }

    static KeyManager[] of(List<KeyManager> managers, Receiver receiver) {
        KeyManager[] offered = new KeyManager[managers.size()];
        for (int i = 0; i < offered.length; i++) {
            KeyManager manager = managers.get(i);
            offered[i] =
                    manager instanceof X509ExtendedKeyManager keys
                            ? new OfferedKey(keys, receiver)
                            : manager;
        }
        return offered;
    }

    @Override
    public @Nullable String chooseClientAlias(
            String[] types, Principal @Nullable [] issuers, @Nullable Socket socket) {
        String fitting = keys.chooseClientAlias(types, issuers, socket);
        String chosen = fitting == null ? keys.chooseClientAlias(types, null, socket) : fitting;
        SSLSession session = socket instanceof SSLSocket s ? s.getHandshakeSession() : null;
        if (session != null) {
            tell(session.getPeerHost(), session.getPeerPort(), chosen);
        }
        return chosen;
    }

    @Override
    public @Nullable String chooseEngineClientAlias(
            String[] types, Principal @Nullable [] issuers, @Nullable SSLEngine engine) {
        String fitting = keys.chooseEngineClientAlias(types, issuers, engine);
        String chosen =
                fitting == null ? keys.chooseEngineClientAlias(types, null, engine) : fitting;
        if (engine != null) {
            tell(engine.getPeerHost(), engine.getPeerPort(), chosen);
        }
        return chosen;
    }

    private void tell(@Nullable String host, int port, @Nullable String alias) {
        if (host != null) {
            X509Certificate[] chain = alias == null ? null : keys.getCertificateChain(alias);
            receiver.shown(host, port, chain == null || chain.length == 0 ? null : chain[0]);
        }
    }

    @Override
    public String @Nullable [] getClientAliases(String type, Principal @Nullable [] issuers) {
        return keys.getClientAliases(type, issuers);
    }

    @Override
    public String @Nullable [] getServerAliases(String type, Principal @Nullable [] issuers) {
        return keys.getServerAliases(type, issuers);
    }

    @Override
    public @Nullable String chooseServerAlias(
            String type, Principal @Nullable [] issuers, @Nullable Socket socket) {
        return keys.chooseServerAlias(type, issuers, socket);
    }

    @Override
    public X509Certificate @Nullable [] getCertificateChain(String alias) {
        return keys.getCertificateChain(alias);
    }

    @Override
    public @Nullable PrivateKey getPrivateKey(String alias) {
        return keys.getPrivateKey(alias);
    }
}
