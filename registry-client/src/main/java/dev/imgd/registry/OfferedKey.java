package dev.imgd.registry;

import java.net.Socket;
import java.security.Principal;
import java.security.PrivateKey;
import java.security.cert.X509Certificate;
import java.util.List;
import javax.net.ssl.KeyManager;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.X509ExtendedKeyManager;
import org.jspecify.annotations.Nullable;

/// Shows the client certificate that is configured for a host even when the server does not name
/// its issuer. Java would show none then, and the server could only say that one is missing, not
/// that it is the wrong one.
final class OfferedKey extends X509ExtendedKeyManager {
    private final X509ExtendedKeyManager keys;

    private OfferedKey(X509ExtendedKeyManager keys) {
        this.keys = keys;
    }

    static KeyManager[] of(List<KeyManager> managers) {
        KeyManager[] offered = new KeyManager[managers.size()];
        for (int i = 0; i < offered.length; i++) {
            KeyManager manager = managers.get(i);
            offered[i] =
                    manager instanceof X509ExtendedKeyManager keys ? new OfferedKey(keys) : manager;
        }
        return offered;
    }

    @Override
    public @Nullable String chooseClientAlias(
            String[] types, Principal @Nullable [] issuers, @Nullable Socket socket) {
        String fitting = keys.chooseClientAlias(types, issuers, socket);
        return fitting == null ? keys.chooseClientAlias(types, null, socket) : fitting;
    }

    @Override
    public @Nullable String chooseEngineClientAlias(
            String[] types, Principal @Nullable [] issuers, @Nullable SSLEngine engine) {
        String fitting = keys.chooseEngineClientAlias(types, issuers, engine);
        return fitting == null ? keys.chooseEngineClientAlias(types, null, engine) : fitting;
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
