package dev.imgd.registry;

import java.nio.charset.StandardCharsets;
import java.util.Base64;

/// What proves to a registry who asks. Never printed: `toString` holds no secret.
public sealed interface Credentials {
    /// A user name and a password or access token, for Basic authentication and for token servers.
    record Login(String username, String password) implements Credentials {
        String basicHeader() {
            byte[] pair = (username + ':' + password).getBytes(StandardCharsets.UTF_8);
            return "Basic " + Base64.getEncoder().encodeToString(pair);
        }

        @Override
        public String toString() {
            return "login";
        }
    }

    /// A refresh token that a token server exchanges for access tokens.
    record IdentityToken(String token) implements Credentials {
        @Override
        public String toString() {
            return "identity token";
        }
    }

    /// An access token for the registry itself.
    record RegistryToken(String token) implements Credentials {
        @Override
        public String toString() {
            return "registry token";
        }
    }

    /// The wish to be nobody, where somebody else's credentials would be used otherwise. In no
    /// file.
    record Anonymous() implements Credentials {
        @Override
        public String toString() {
            return "anonymous";
        }
    }
}
