package dev.imgd.registry;

import dev.imgd.hosts.Capability;
import dev.imgd.hosts.RegistryHost;
import dev.imgd.model.ImageException;
import dev.imgd.model.Json;
import dev.imgd.model.JsonNode;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.Text;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ThreadLocalRandom;
import org.jspecify.annotations.Nullable;

/// The credentials that a user keeps: adds, removes and finds them in the files of Docker and of
/// the containers tools, or with the helper programs that those name.
///
/// A file is replaced as a whole, with mode 0600; what else is in it stays. A name is a registry,
/// `host` or `host:port`, or a registry with the beginning of a repository, `host/team`. Safe for
/// use by many threads and processes of this program at once; see [FileLease]. **Source:**
/// docker/cli configfile, containers-auth.json(5).
public final class Logins {
    private static final String HUB = "docker.io";

    /// Credentials, and where they are kept.
    ///
    /// @param place a file, or a helper and the file that names it; empty when somebody gave them
    public record Found(Credentials credentials, String place) {
        /// Whose they are, for messages. A user name without a password may itself be the secret.
        String who() {
            String whose =
                    switch (credentials) {
                        case Credentials.Login(String name, String password) ->
                                password.isEmpty()
                                        ? "as a user without a password"
                                        : "as user " + Text.printable(name, 64);
                        case Credentials.IdentityToken _ -> "with an identity token";
                        case Credentials.RegistryToken _ -> "with a registry token";
                        case Credentials.Anonymous _ -> "without credentials";
                    };
            return place.isEmpty() ? whose : whose + ", from " + place;
        }
    }

    private final AuthFiles files;
    private final @Nullable Path preferred;

    private Logins(AuthFiles files, @Nullable Path preferred) {
        this.files = files;
        this.preferred = preferred;
    }

    /// The files of [CredentialSource#standardFiles].
    ///
    /// @param environment usually [System#getenv()]
    public static Logins standard(Map<String, String> environment) {
        AuthFiles files = AuthFiles.standard(environment);
        return new Logins(files, preferred(environment, files.files()));
    }

    /// One file and no other; it need not exist.
    public static Logins in(Path file) {
        return new Logins(AuthFiles.optional(file), file);
    }

    /// Where new credentials go: the file that the user named, Docker's if there is one, else that
    /// of the containers tools. Not the one in `$XDG_RUNTIME_DIR`, which is gone after a restart.
    private static @Nullable Path preferred(Map<String, String> environment, List<Path> files) {
        String named = environment.getOrDefault("REGISTRY_AUTH_FILE", "");
        if (!named.isEmpty()) {
            return Path.of(named);
        }
        Path last = files.isEmpty() ? null : files.getLast();
        if (last == null || Files.exists(last) || files.size() == 1) {
            return last;
        }
        Path containers = files.get(files.size() - 2);
        String runtime = environment.getOrDefault("XDG_RUNTIME_DIR", "");
        return !runtime.isEmpty() && containers.startsWith(runtime) ? last : containers;
    }

    /// Finds what is used for a name.
    public Optional<Found> find(String name) throws ImageException {
        return files.lookUp(registry(name), repository(name));
    }

    /// Keeps credentials, with the helper where one is configured, in place of those there were.
    ///
    /// @return where they are now
    public String store(String name, Credentials credentials) throws ImageException {
        Path file = fileFor(name);
        try (FileLease lease = FileLease.of(file)) {
            return store(name, credentials, file, lease);
        }
    }

    private String store(String name, Credentials credentials, Path file, FileLease lease)
            throws ImageException {
        JsonNode root = read(file);
        String helper = helper(root, name);
        if (helper.isEmpty()) {
            edit(file, lease, root, name, credentials);
            return file.toString();
        }
        switch (credentials) {
            case Credentials.Login(String username, String password) ->
                    CredentialHelper.store(helper, AuthFiles.helperKey(name), username, password);
            case Credentials.IdentityToken(String token) ->
                    CredentialHelper.store(
                            helper, AuthFiles.helperKey(name), CredentialHelper.TOKEN_USER, token);
            case Credentials.RegistryToken _ ->
                    throw ImageException.failedPrecondition(
                            "docker-credential-" + helper + ": helpers keep no registry tokens");
            case Credentials.Anonymous _ -> throw nothingToKeep();
        }
        if (hasEntry(root, name)) {
            // A secret in the file would win over the one that the helper was just given.
            edit(file, lease, root, name, null);
        }
        return AuthFiles.place(helper, file);
    }

    /// Forgets credentials wherever they are.
    ///
    /// @return where they were; empty when there were none
    public List<String> remove(String name) throws ImageException {
        List<String> places = new ArrayList<>();
        for (Path file : files.files()) {
            JsonNode root = read(file);
            if (root == null) {
                continue;
            }
            String helper = helper(root, name);
            if (!helper.isEmpty() && CredentialHelper.erase(helper, AuthFiles.helperKey(name))) {
                places.add(AuthFiles.place(helper, file));
            }
            if (hasEntry(root, name) && removeEntry(file, name)) {
                places.add(file.toString());
            }
        }
        return places;
    }

    /// @return false when somebody else removed it meanwhile
    private boolean removeEntry(Path file, String name) throws ImageException {
        try (FileLease lease = FileLease.of(file)) {
            JsonNode root = read(file);
            if (!hasEntry(root, name)) {
                return false;
            }
            edit(file, lease, root, name, null);
            return true;
        }
    }

    /// Asks a registry whether it takes credentials.
    ///
    /// @param options its hosts and limits; the credentials in it are not used
    /// @return false when the registry lets everybody in and did not look at them
    /// @throws ImageException [ErrorKind#UNAUTHENTICATED] when it refuses them
    public static boolean check(RegistryOptions options, String name, Credentials credentials)
            throws ImageException {
        String registry = registry(name);
        String what = "log in to " + registry;
        RegistryHost host = host(options, registry, what);
        RegistryOptions own = options.withCredentials((_, _) -> Optional.of(credentials));
        RetryPolicy retries =
                new RetryPolicy(
                        own.attempts(),
                        own.firstBackoff(),
                        own.maximumBackoff(),
                        own.clock(),
                        () -> ThreadLocalRandom.current().nextLong());
        try (Connections connections = new Connections(own)) {
            Endpoint endpoint = Endpoint.registry(host, own, connections, retries);
            Ask ask = Ask.of(what, "GET", endpoint.url(""), Scope.login(repository(name)));
            try (Answer answer = endpoint.exchange(ask, new Operation())) {
                if (answer.status() == 200) {
                    return answer.response().request().header("Authorization") != null;
                }
                throw answer.failure(what, false);
            }
        }
    }

    private static RegistryHost host(RegistryOptions options, String registry, String what)
            throws ImageException {
        for (RegistryHost host : options.hosts().asked(registry)) {
            if (host.role() == RegistryHost.Role.ORIGIN && host.can(Capability.PULL)) {
                return host;
            }
        }
        throw ImageException.failedPrecondition(
                what + ": no host of it may be asked; check its hosts.toml");
    }

    private static String registry(String name) {
        int slash = name.indexOf('/');
        return slash < 0 ? name : name.substring(0, slash);
    }

    private static String repository(String name) {
        int slash = name.indexOf('/');
        return slash < 0 ? "" : name.substring(slash + 1);
    }

    /// The first file that has something for the name, since it would win over all others.
    private Path fileFor(String name) throws ImageException {
        for (Path file : files.files()) {
            if (files.lookUp(file, registry(name), repository(name)).isPresent()) {
                return file;
            }
        }
        if (preferred == null) {
            throw ImageException.failedPrecondition(
                    "no place for credentials: HOME is not set; name a file in REGISTRY_AUTH_FILE");
        }
        return preferred;
    }

    private @Nullable JsonNode read(Path file) throws ImageException {
        byte[] content = files.read(file);
        return content == null ? null : Json.parse(file.toString(), content);
    }

    private static String helper(@Nullable JsonNode root, String name) throws ImageException {
        if (root == null) {
            return "";
        }
        String own = root.textMap("credHelpers").getOrDefault(name, "");
        return own.isEmpty() && name.indexOf('/') < 0 ? root.text("credsStore", "") : own;
    }

    private static boolean hasEntry(@Nullable JsonNode root, String name) throws ImageException {
        if (root != null) {
            for (String key : root.names("auths")) {
                if (isFor(key, name)) {
                    return true;
                }
            }
        }
        return false;
    }

    /// Whether the key of an entry means the name, in one of the forms in which keys are written.
    private static boolean isFor(String key, String name) {
        return key.equals(name) || (name.indexOf('/') < 0 && AuthFiles.host(key).equals(name));
    }

    /// Writes the file anew.
    ///
    /// @param root what it holds now
    /// @param credentials what it shall hold for the name, or null for nothing
    private static void edit(
            Path file,
            FileLease lease,
            @Nullable JsonNode root,
            String name,
            @Nullable Credentials credentials)
            throws ImageException {
        JsonWriter json = JsonWriter.indented().beginObject();
        Map<String, JsonNode> auths = Map.of();
        if (root != null) {
            for (Map.Entry<String, JsonNode> member : root.members().entrySet()) {
                if (!member.getKey().equals("auths")) {
                    json.name(member.getKey()).value(member.getValue());
                }
            }
            Optional<JsonNode> old = root.find("auths");
            if (old.isPresent()) {
                auths = old.get().members();
            }
        }
        json.beginObject("auths");
        for (Map.Entry<String, JsonNode> entry : auths.entrySet()) {
            if (!isFor(entry.getKey(), name)) {
                json.name(entry.getKey()).value(entry.getValue());
            }
        }
        if (credentials != null) {
            json.beginObject(name.equals(HUB) ? AuthFiles.helperKey(HUB) : name);
            switch (credentials) {
                case Credentials.Login(String username, String password) -> {
                    byte[] pair = (username + ':' + password).getBytes(StandardCharsets.UTF_8);
                    json.member("auth", Base64.getEncoder().encodeToString(pair));
                }
                case Credentials.IdentityToken(String token) -> json.member("identitytoken", token);
                case Credentials.RegistryToken(String token) -> json.member("registrytoken", token);
                case Credentials.Anonymous _ -> throw nothingToKeep();
            }
            json.endObject();
        }
        try {
            replace(lease.target(), json.endObject().endObject().toBytes());
        } catch (IOException e) {
            throw FileLease.notWritten(file, e);
        }
    }

    private static IllegalArgumentException nothingToKeep() {
        return new IllegalArgumentException("there is nothing to keep of who is nobody");
    }

    private static void replace(Path target, byte[] content) throws IOException {
        Path fresh =
                Files.createTempFile(
                        target.getParent(), ".login", null, FileLease.mode("rw-------"));
        try {
            try (FileChannel channel = FileChannel.open(fresh, StandardOpenOption.WRITE)) {
                ByteBuffer left = ByteBuffer.wrap(content);
                while (left.hasRemaining()) {
                    channel.write(left);
                }
                channel.force(true);
            }
            Files.move(fresh, target, StandardCopyOption.ATOMIC_MOVE);
        } finally {
            Files.deleteIfExists(fresh);
        }
    }
}
