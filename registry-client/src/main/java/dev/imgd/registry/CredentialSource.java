package dev.imgd.registry;

import dev.imgd.model.ImageException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;

/// Finds credentials. Asked each time a registry wants some, so that a changed file counts at once.
/// Safe for use by many threads.
@FunctionalInterface
public interface CredentialSource {
    /// Returns the credentials for a host.
    ///
    /// @param authority the host that is contacted, with its port if it has one; for Docker Hub
    ///   `docker.io`. Never the registry that a mirror stands in for.
    /// @param repository the repository that is asked for, for example `library/debian`
    /// @throws ImageException when a file is malformed or a helper program fails
    Optional<Credentials> find(String authority, String repository) throws ImageException;

    /// As [#find], with the place where they are kept, for messages: empty where there is none.
    default Optional<Logins.Found> locate(String authority, String repository)
            throws ImageException {
        return find(authority, repository).map(found -> new Logins.Found(found, ""));
    }

    /// No credentials for anybody.
    static CredentialSource anonymous() {
        return (_, _) -> Optional.empty();
    }

    /// The same credentials for one host and none for others.
    static CredentialSource of(String authority, Credentials credentials) {
        return (asked, _) -> asked.equals(authority) ? Optional.of(credentials) : Optional.empty();
    }

    /// Asks this source first, then another.
    default CredentialSource orElse(CredentialSource other) {
        CredentialSource first = this;
        return new CredentialSource() {
            @Override
            public Optional<Credentials> find(String authority, String repository)
                    throws ImageException {
                Optional<Credentials> found = first.find(authority, repository);
                return found.isPresent() ? found : other.find(authority, repository);
            }

            @Override
            public Optional<Logins.Found> locate(String authority, String repository)
                    throws ImageException {
                Optional<Logins.Found> found = first.locate(authority, repository);
                return found.isPresent() ? found : other.locate(authority, repository);
            }
        };
    }

    /// The files that Docker and the containers tools use, in this order: `$REGISTRY_AUTH_FILE`,
    /// `$XDG_RUNTIME_DIR/containers/auth.json`, `$XDG_CONFIG_HOME/containers/auth.json`,
    /// `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`, with their credential helpers.
    ///
    /// @param environment usually [System#getenv()]
    static CredentialSource standardFiles(Map<String, String> environment) {
        return AuthFiles.standard(environment);
    }

    /// One file in the format of Docker's `config.json` or of `auth.json`; a missing file is an
    /// error.
    static CredentialSource file(Path file) {
        return AuthFiles.of(file);
    }
}
