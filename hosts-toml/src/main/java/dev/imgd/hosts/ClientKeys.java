package dev.imgd.hosts;

import dev.imgd.hosts.HostEntry.ClientPair;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.net.Socket;
import java.security.GeneralSecurityException;
import java.security.Principal;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.Signature;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.List;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.X509ExtendedKeyManager;
import org.jspecify.annotations.Nullable;

/// The client certificates of one host. The first that the server says it accepts is presented.
/// Immutable.
final class ClientKeys extends X509ExtendedKeyManager {
    private record Identity(PrivateKey key, List<X509Certificate> chain) {}

    private final List<Identity> identities;

    private ClientKeys(List<Identity> identities) {
        this.identities = identities;
    }

    /// Reads the files.
    ///
    /// @throws ImageException when one cannot be read, or a key is not the certificate's
    static ClientKeys read(List<ClientPair> pairs) throws ImageException {
        List<Identity> identities = new ArrayList<>();
        for (ClientPair pair : pairs) {
            Pem certificate = Pem.read(pair.certificate());
            Pem key = pair.key().equals(pair.certificate()) ? certificate : Pem.read(pair.key());
            Identity identity = new Identity(key.privateKey(), certificate.certificates());
            if (!belongs(identity.key, identity.chain.getFirst().getPublicKey())) {
                throw ImageException.invalidArgument(
                        "%s: the private key is not that of the certificate in %s"
                                .formatted(pair.key(), pair.certificate()));
            }
            identities.add(identity);
        }
        return new ClientKeys(identities);
    }

    private static boolean belongs(PrivateKey key, PublicKey certified) throws ImageException {
        String algorithm =
                switch (key.getAlgorithm()) {
                    case "RSA" -> "SHA256withRSA";
                    case "EC" -> "SHA256withECDSA";
                    default -> key.getAlgorithm();
                };
        if (algorithm.equals("RSASSA-PSS")) {
            return certified.getAlgorithm().equals(algorithm); // a signature needs its parameters
        }
        try {
            byte[] message = {1, 2, 3, 4};
            Signature signature = Signature.getInstance(algorithm);
            signature.initSign(key);
            signature.update(message);
            byte[] signed = signature.sign();
            signature.initVerify(certified);
            signature.update(message);
            return signature.verify(signed);
        } catch (java.security.InvalidKeyException | java.security.SignatureException e) {
            return false; // of different algorithms or sizes
        } catch (GeneralSecurityException e) {
            throw new ImageException(
                    ErrorKind.INTERNAL, "TLS: the Java runtime lacks " + algorithm, e);
        }
    }

    private @Nullable String choose(String[] keyTypes, Principal @Nullable [] issuers) {
        for (int i = 0; i < identities.size(); i++) {
            Identity identity = identities.get(i);
            if (List.of(keyTypes).contains(identity.key.getAlgorithm())
                    && isAccepted(identity, issuers)) {
                return Integer.toString(i);
            }
        }
        return null;
    }

    private static boolean isAccepted(Identity identity, Principal @Nullable [] issuers) {
        if (issuers == null || issuers.length == 0) {
            return true;
        }
        for (Principal issuer : issuers) {
            for (X509Certificate certificate : identity.chain) {
                if (certificate.getIssuerX500Principal().equals(issuer)) {
                    return true;
                }
            }
        }
        return false;
    }

    private @Nullable Identity identity(@Nullable String alias) {
        return alias == null ? null : identities.get(Integer.parseInt(alias));
    }

    @Override
    public @Nullable String chooseClientAlias(
            String[] keyType, Principal @Nullable [] issuers, @Nullable Socket socket) {
        return choose(keyType, issuers);
    }

    @Override
    public @Nullable String chooseEngineClientAlias(
            String[] keyType, Principal @Nullable [] issuers, @Nullable SSLEngine engine) {
        return choose(keyType, issuers);
    }

    @Override
    public String @Nullable [] getClientAliases(String keyType, Principal @Nullable [] issuers) {
        String alias = choose(new String[] {keyType}, issuers);
        return alias == null ? null : new String[] {alias};
    }

    @Override
    public X509Certificate @Nullable [] getCertificateChain(@Nullable String alias) {
        Identity identity = identity(alias);
        return identity == null ? null : identity.chain.toArray(new X509Certificate[0]);
    }

    @Override
    public @Nullable PrivateKey getPrivateKey(@Nullable String alias) {
        Identity identity = identity(alias);
        return identity == null ? null : identity.key;
    }

    @Override
    public String @Nullable [] getServerAliases(String keyType, Principal @Nullable [] issuers) {
        return null;
    }

    @Override
    public @Nullable String chooseServerAlias(
            String keyType, Principal @Nullable [] issuers, @Nullable Socket socket) {
        return null;
    }
}
