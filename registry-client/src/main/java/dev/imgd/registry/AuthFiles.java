package dev.imgd.registry;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Json;
import dev.imgd.model.JsonNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// Docker's `config.json` and the containers tools' `auth.json`.
///
/// A registry is looked up under its most specific key: `host/name/space`, then its parents, then
/// the host; a helper for exactly this key wins over an entry of the file. The files are read at
/// each call. **Source:** docker/cli configfile, containers-auth.json(5).
final class AuthFiles implements CredentialSource {
    private static final String DOCKER_HUB = "docker.io";
    private static final String DOCKER_HUB_KEY = "https://index.docker.io/v1/";
    private static final int MAX_FILE_BYTES = 1 << 20;

    private final List<Path> files;
    private final boolean required;

    private AuthFiles(List<Path> files, boolean required) {
        this.files = List.copyOf(files);
        this.required = required;
    }

    static CredentialSource of(Path file) {
        return new AuthFiles(List.of(file), true);
    }

    /// One file that need not exist.
    static AuthFiles optional(Path file) {
        return new AuthFiles(List.of(file), false);
    }

    static AuthFiles standard(Map<String, String> environment) {
        List<Path> files = new ArrayList<>();
        add(files, environment.get("REGISTRY_AUTH_FILE"));
        add(files, environment.get("XDG_RUNTIME_DIR"), "containers/auth.json");
        String home = environment.get("HOME");
        String config = environment.get("XDG_CONFIG_HOME");
        if (isSet(config)) {
            add(files, config, "containers/auth.json");
        } else {
            add(files, home, ".config/containers/auth.json");
        }
        String docker = environment.get("DOCKER_CONFIG");
        if (isSet(docker)) {
            add(files, docker, "config.json");
        } else {
            add(files, home, ".docker/config.json");
        }
        return new AuthFiles(files, false);
    }

    private static void add(List<Path> files, @Nullable String first, String... more) {
        if (first != null && !first.isEmpty()) {
            files.add(Path.of(first, more));
        }
    }

    private static boolean isSet(@Nullable String value) {
        return value != null && !value.isEmpty();
    }

    List<Path> files() {
        return files;
    }

    @Override
    public Optional<Credentials> find(String authority, String repository) throws ImageException {
        return lookUp(authority, repository).map(Logins.Found::credentials);
    }

    @Override
    public Optional<Logins.Found> locate(String authority, String repository)
            throws ImageException {
        return lookUp(authority, repository);
    }

    /// Finds credentials and says where they are.
    Optional<Logins.Found> lookUp(String authority, String repository) throws ImageException {
        for (Path file : files) {
            Optional<Logins.Found> found = lookUp(file, authority, repository);
            if (found.isPresent()) {
                return found;
            }
        }
        return Optional.empty();
    }

    Optional<Logins.Found> lookUp(Path file, String authority, String repository)
            throws ImageException {
        byte[] content = read(file);
        if (content == null) {
            return Optional.empty();
        }
        JsonNode root = Json.parse(file.toString(), content);
        Map<String, String> helpers = root.textMap("credHelpers");
        Optional<JsonNode> auths = root.find("auths");
        for (String key : keys(authority, repository)) {
            String helper = helpers.get(key);
            if (helper != null && !helper.isEmpty()) {
                Optional<Logins.Found> found = ask(helper, key, file);
                if (found.isPresent()) {
                    return found;
                }
            }
            if (auths.isPresent()) {
                Optional<Credentials> found = entry(auths.get(), key);
                if (found.isPresent()) {
                    return found.map(c -> new Logins.Found(c, file.toString()));
                }
            }
        }
        String store = root.text("credsStore", "");
        return store.isEmpty() ? Optional.empty() : ask(store, authority, file);
    }

    private static Optional<Logins.Found> ask(String helper, String key, Path file)
            throws ImageException {
        return CredentialHelper.ask(helper, helperKey(key))
                .map(c -> new Logins.Found(c, place(helper, file)));
    }

    /// Where credentials are that a helper keeps.
    static String place(String helper, Path file) {
        return "docker-credential-" + helper + " (named in " + file + ')';
    }

    byte @Nullable [] read(Path file) throws ImageException {
        try {
            if (Files.size(file) > MAX_FILE_BYTES) {
                throw new ImageException(
                        ErrorKind.INVALID_ARGUMENT,
                        file + ": credentials file is longer than 1 MiB");
            }
            return Files.readAllBytes(file);
        } catch (NoSuchFileException e) {
            if (!required) {
                return null;
            }
            throw new ImageException(
                    ErrorKind.NOT_FOUND, file + ": credentials file does not exist", e);
        } catch (ImageException e) {
            throw e;
        } catch (IOException e) {
            throw new ImageException(
                    ErrorKind.PERMISSION_DENIED, file + ": credentials file cannot be read", e);
        }
    }

    /// Where credentials for a repository may stand, most specific first.
    static List<String> keys(String authority, String repository) {
        if (repository.isEmpty()) {
            return List.of(authority);
        }
        List<String> keys = new ArrayList<>();
        String path = authority + '/' + repository;
        for (int end = path.length();
                end > authority.length();
                end = path.lastIndexOf('/', end - 1)) {
            keys.add(path.substring(0, end));
        }
        keys.add(authority);
        return keys;
    }

    /// What helpers, and Docker's file, call a registry.
    static String helperKey(String key) {
        return key.equals(DOCKER_HUB) ? DOCKER_HUB_KEY : key;
    }

    /// The entry of a key, also where it is written as a URL.
    private static Optional<Credentials> entry(JsonNode auths, String key) throws ImageException {
        Map<String, JsonNode> entries = auths.members();
        JsonNode exact = entries.get(key);
        if (exact != null) {
            Optional<Credentials> found = credentials(exact);
            if (found.isPresent()) {
                return found;
            }
        }
        if (key.indexOf('/') >= 0) {
            return Optional.empty();
        }
        for (Map.Entry<String, JsonNode> entry : entries.entrySet()) {
            if (host(entry.getKey()).equals(key)) {
                Optional<Credentials> found = credentials(entry.getValue());
                if (found.isPresent()) {
                    return found;
                }
            }
        }
        return Optional.empty();
    }

    /// The host of a key that is a URL, as older versions of Docker wrote them. A key with a path
    /// and no scheme is for a repository, not for a host.
    static String host(String key) {
        int scheme = key.indexOf("://");
        if (scheme < 0) {
            return hub(key);
        }
        int start = scheme + 3;
        int slash = key.indexOf('/', start);
        return hub(slash < 0 ? key.substring(start) : key.substring(start, slash));
    }

    private static String hub(String host) {
        return switch (host) {
            case "index.docker.io", "registry-1.docker.io" -> DOCKER_HUB;
            default -> host;
        };
    }

    private static Optional<Credentials> credentials(JsonNode entry) throws ImageException {
        String registryToken = entry.text("registrytoken", "");
        if (!registryToken.isEmpty()) {
            return Optional.of(new Credentials.RegistryToken(registryToken));
        }
        String identityToken = entry.text("identitytoken", "");
        if (!identityToken.isEmpty()) {
            return Optional.of(new Credentials.IdentityToken(identityToken));
        }
        String username = entry.text("username", "");
        String password = entry.text("password", "");
        String auth = entry.text("auth", "");
        if (!auth.isEmpty()) {
            String pair = decode(entry, auth);
            int colon = pair.indexOf(':');
            if (colon < 0) {
                throw entry.invalid("\"auth\" is not the base64 of user:password");
            }
            username = pair.substring(0, colon);
            password = stripNul(pair.substring(colon + 1));
        }
        return username.isEmpty() && password.isEmpty()
                ? Optional.empty()
                : Optional.of(new Credentials.Login(username, password));
    }

    private static String decode(JsonNode entry, String auth) throws ImageException {
        try {
            return new String(Base64.getDecoder().decode(auth.strip()), StandardCharsets.UTF_8);
        } catch (IllegalArgumentException _) {
            // Its message quotes the secret.
            throw entry.invalid("\"auth\" is not base64");
        }
    }

    private static String stripNul(String password) {
        int end = password.length();
        while (end > 0 && password.charAt(end - 1) == 0) {
            end--;
        }
        return password.substring(0, end);
    }

    @Override
    public String toString() {
        return "credentials from " + files;
    }
}
