package dev.imgd.cli;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.Spelling;
import dev.imgd.model.Text;
import dev.imgd.registry.TransferOptions;
import dev.imgd.trust.Effort;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.dataformat.toml.TomlMapper;

/// The configuration of both programs: one TOML file, every key with a default. An immutable value.
///
/// The constants below are the table of keys: name, type, default and meaning of each. Reading the
/// file, `config dump`, the suggestions for unknown keys and the test of `docs/config.md` follow
/// from it, and a new key is one more constant. Limits have such a table of their own, [Limits].
final class Config {
    private static final Map<String, ConfigKey<?>> KEYS = new LinkedHashMap<>();

    static final ConfigKey<Path> ROOT =
            place("root", "/var/lib/imgd", "where blobs, snapshots and metadata live");

    static final ConfigKey<Path> ADDRESS =
            place("grpc.address", "/run/imgd/imgd.sock", "socket of the API that imgctl uses");

    static final ConfigKey<Path> SNAPSHOTTER_ADDRESS =
            place(
                    "snapshotter.address",
                    "/run/imgd/snapshotter.sock",
                    "socket of containerd's proxy plugin");

    static final ConfigKey<String> SNAPSHOTTER_MODE =
            key(
                    "snapshotter.mode",
                    ConfigKey.oneOf("passive", "accelerate"),
                    "passive",
                    "passive: containerd fetches; accelerate: imgd fetches and unpacks");

    static final ConfigKey<Set<String>> LABEL_SOURCES =
            key(
                    "snapshotter.label_sources",
                    ConfigKey.someOf("cri", "stargz"),
                    Set.of("cri", "stargz"),
                    "whose labels may name an image to accelerate: only what callers on this host write");

    static final ConfigKey<Integer> CONCURRENT_DOWNLOADS =
            key(
                    "pull.max_concurrent_downloads",
                    ConfigKey.count(1, 64),
                    4,
                    "blobs downloaded at once, over all pulls");

    static final ConfigKey<Integer> CONCURRENT_UNPACKS =
            key(
                    "pull.max_concurrent_unpacks",
                    ConfigKey.count(1, 256),
                    Math.max(2, Runtime.getRuntime().availableProcessors()),
                    "the number of processors, at least 2",
                    "layers unpacked at once, over all pulls");

    static final ConfigKey<Integer> RANGE_CONNECTIONS =
            key(
                    "pull.range_connections",
                    ConfigKey.count(1, 16),
                    4,
                    "connections for one big blob that one connection brings slowly; 1 for never more");

    static final ConfigKey<Long> RANGE_THRESHOLD =
            key(
                    "pull.range_threshold",
                    ConfigKey.SIZE,
                    32L << 20,
                    "from which size on a blob is big");

    static final ConfigKey<Boolean> SPREAD =
            key(
                    "pull.spread",
                    ConfigKey.BOOL,
                    true,
                    "whether mirrors and the registry may serve one big blob together, when the first is slower alone");

    static final ConfigKey<Long> BANDWIDTH_LIMIT =
            key(
                    "pull.bandwidth_limit",
                    ConfigKey.SIZE,
                    0L,
                    "bytes a second of all downloads together; \"0B\" for no limit");

    static final ConfigKey<Duration> PULL_DEADLINE =
            key(
                    "pull.deadline",
                    ConfigKey.DURATION,
                    Duration.ofHours(1),
                    "how long one pull may ask registries; what came is kept for the next one; \"0s\" for no limit");

    static final ConfigKey<Integer> REQUESTS_PER_SECOND =
            key(
                    "registry.requests_per_second",
                    ConfigKey.count(0, 10_000),
                    0,
                    "requests to each host of a registry; 0 for no limit");

    static final ConfigKey<Integer> REQUESTS_AT_ONCE =
            key(
                    "registry.requests_at_once",
                    ConfigKey.count(1, 256),
                    TransferOptions.MOST_AT_ONCE,
                    "blobs and parts of blobs asked of each host at once; fewer while it says that it is too much");

    static final ConfigKey<Set<String>> PLAIN_HTTP =
            key(
                    "registry.plain_http",
                    ConfigKey.TEXTS,
                    Set.of(),
                    "registries (host:port) that are asked over plain http, unless their `hosts.toml` names https");

    static final ConfigKey<List<Path>> HOSTS_DIR =
            key(
                    "registry.hosts_dir",
                    ConfigKey.PATHS,
                    List.of(
                            Path.of("/etc/imgd/certs.d"),
                            Path.of("/etc/containerd/certs.d"),
                            Path.of("/etc/docker/certs.d")),
                    "where hosts.toml files are; the first directory that knows a registry decides");

    static final ConfigKey<String> HOSTS_MODE =
            key(
                    "registry.hosts_mode",
                    ConfigKey.oneOf("strict", "containerd"),
                    "strict",
                    "strict: a wrong hosts.toml is an error; containerd: it is passed over");

    static final ConfigKey<Optional<Path>> AUTH_FILE =
            key(
                    "registry.auth_file",
                    ConfigKey.PATH_OR_NONE,
                    Optional.empty(),
                    "credentials file that is used alone; \"\" for those of Docker and Podman, see below");

    static final ConfigKey<Set<String>> REALM_ALLOW =
            key(
                    "registry.realm_allow",
                    ConfigKey.TEXTS,
                    Set.of(),
                    "token servers (host or host:port) that may get credentials of registries under other domains");

    static final ConfigKey<Set<String>> UPLOAD_ALLOW =
            key(
                    "registry.upload_allow",
                    ConfigKey.TEXTS,
                    Set.of(),
                    "hosts (host or host:port) that a registry may send uploads on to, without its credentials");

    static final ConfigKey<String> HTTPS_PROXY =
            key(
                    "registry.https_proxy",
                    ConfigKey.PROXY,
                    "",
                    "proxy for what is asked over https; \"\" for what HTTPS_PROXY says, \"none\" for none");

    static final ConfigKey<String> HTTP_PROXY =
            key(
                    "registry.http_proxy",
                    ConfigKey.PROXY,
                    "",
                    "proxy for what is asked over plain http; \"\" for what HTTP_PROXY says, \"none\" for none");

    static final ConfigKey<Set<String>> NO_PROXY =
            key(
                    "registry.no_proxy",
                    ConfigKey.PROXY_EXCEPTIONS,
                    Set.of(),
                    "hosts, .suffixes, addresses and networks that are reached without a proxy; [] for what NO_PROXY says");

    static final ConfigKey<Boolean> FOREIGN_LAYERS =
            key(
                    "registry.foreign_layers",
                    ConfigKey.BOOL,
                    false,
                    "whether layers are fetched from URLs that the manifest gives");

    static final ConfigKey<Duration> CONNECT_TIMEOUT =
            key(
                    "registry.connect_timeout",
                    ConfigKey.TIMEOUT,
                    Duration.ofSeconds(10),
                    "how long a connection to a registry may take, and again its TLS handshake");

    static final ConfigKey<Duration> HEADER_TIMEOUT =
            key(
                    "registry.header_timeout",
                    ConfigKey.TIMEOUT,
                    Duration.ofSeconds(30),
                    "how long a registry may take for the headers of an answer, a manifest, or a token (at most 10 s)");

    static final ConfigKey<Duration> STALL_TIMEOUT =
            key(
                    "registry.stall_timeout",
                    ConfigKey.TIMEOUT,
                    Duration.ofSeconds(30),
                    "how long a body may send nothing, and the time over which its rate is averaged");

    static final ConfigKey<Long> MINIMUM_RATE =
            key(
                    "registry.minimum_rate",
                    ConfigKey.SIZE,
                    1024L,
                    "bytes per second below which a download counts as stalled; \"0B\" for no minimum");

    static final ConfigKey<Integer> ATTEMPTS =
            key(
                    "registry.attempts",
                    ConfigKey.count(1, 100),
                    5,
                    "how often a request is made before its failure is reported");

    static final ConfigKey<Duration> MAXIMUM_BACKOFF =
            key(
                    "registry.maximum_backoff",
                    ConfigKey.TIMEOUT,
                    Duration.ofMinutes(1),
                    "the longest wait between two attempts, also when a registry asks for more");

    static final ConfigKey<Duration> OUTAGE_TIMEOUT =
            key(
                    "registry.outage_timeout",
                    ConfigKey.DURATION,
                    Duration.ofMinutes(1),
                    "how long a download waits for a registry that had been sending and went away; \"0s\" for no longer than the attempts");

    static final ConfigKey<Path> TRUST_POLICY =
            key(
                    "trust.policy",
                    ConfigKey.PATH,
                    Path.of("/etc/imgd/policy.json"),
                    "which images may be used; absent at the default place it accepts all");

    static final ConfigKey<Path> TRUST_NOTATION =
            key(
                    "trust.notation",
                    ConfigKey.PATH,
                    Path.of("/etc/imgd/notation"),
                    "directory of trustpolicy.json and truststore for signatures of Notation");

    static final ConfigKey<Duration> TRUST_TIMEOUT =
            key(
                    Effort.TIME_KEY,
                    ConfigKey.TIMEOUT,
                    Duration.ofSeconds(10),
                    "how long looking up the signatures of one image may take");

    static final ConfigKey<String> KEY_MODEL =
            key(
                    "decryption.key_model",
                    ConfigKey.oneOf("node", "none"),
                    "node",
                    "node: this host's keys open encrypted layers; none: it has none");

    static final ConfigKey<Path> KEYS_PATH =
            key(
                    "decryption.keys_path",
                    ConfigKey.PATH,
                    Path.of("/etc/imgd/keys"),
                    "directory of private keys for encrypted layers; may be absent at the default place");

    static final ConfigKey<Long> STORE_CACHE =
            key(
                    "store.cache",
                    ConfigKey.SIZE,
                    24L << 20,
                    "memory of the metadata database: cache and write buffers");

    static final ConfigKey<Duration> INGEST_TTL =
            key(
                    "store.ingest_ttl",
                    ConfigKey.DURATION,
                    Duration.ofHours(24),
                    "how long an interrupted download is kept for the next attempt");

    static final ConfigKey<Duration> GC_INTERVAL =
            key(
                    "gc.interval",
                    ConfigKey.DURATION,
                    Duration.ofMinutes(1),
                    "how often the daemon looks for what expired; what loses its last reference goes within seconds; \"0s\" for never deleting by itself");

    static final ConfigKey<Duration> GC_FULL_INTERVAL =
            key(
                    "gc.full_interval",
                    ConfigKey.DURATION,
                    Duration.ofHours(24),
                    "how often the daemon looks at everything, for what crashes left over; \"0s\" for never");

    static final ConfigKey<Duration> GC_PROVIDE_GRACE =
            key(
                    "gc.provide_grace",
                    ConfigKey.DURATION,
                    Duration.ofSeconds(60),
                    "how long the layers of an accelerated image are kept for containerd to put its snapshots on");

    static final ConfigKey<String> LOG_FORMAT =
            key("log.format", ConfigKey.oneOf("text", "json"), "text", "text or json");

    static final ConfigKey<String> LOG_LEVEL =
            key(
                    "log.level",
                    ConfigKey.oneOf("debug", "info", "warn", "error"),
                    "info",
                    "debug, info, warn or error");

    /// The file that is read when none is named, if it exists.
    static final Path DEFAULT_FILE = Path.of("/etc/imgd/config.toml");

    private static final int MAX_FILE_BYTES = 1 << 20;
    private static final Config DEFAULTS = new Config(Map.of(), Limits.defaults());

    /// By the names of the keys that were set; each has the type of its key.
    private final Map<String, Object> values;

    private final Limits limits;

    private Config(Map<String, Object> values, Limits limits) {
        this.values = values;
        this.limits = limits;
    }

    private static <T> ConfigKey<T> key(
            String name, ConfigKey.Type<T> type, T absent, String meaning) {
        return key(name, type, absent, type.write(absent), meaning);
    }

    private static <T> ConfigKey<T> key(
            String name, ConfigKey.Type<T> type, T absent, String shown, String meaning) {
        ConfigKey<T> key = new ConfigKey<>(name, type, absent, shown, meaning);
        KEYS.put(name, key);
        return key;
    }

    /// A path of root's; other users have theirs below their own directories.
    private static ConfigKey<Path> place(String name, String path, String meaning) {
        return key(name, ConfigKey.PATH, forThisUser(path), ConfigKey.quote(path), meaning);
    }

    private static Path forThisUser(String path) {
        Path ofRoot = Path.of(path);
        if (Superuser.running()) {
            return ofRoot;
        }
        Path data = Path.of("/var/lib");
        return ofRoot.startsWith(data)
                ? userDirectory("XDG_DATA_HOME").resolve(data.relativize(ofRoot))
                : userDirectory("XDG_RUNTIME_DIR").resolve(Path.of("/run").relativize(ofRoot));
    }

    private static Path userDirectory(String variable) {
        String value = System.getenv(variable);
        return value == null || value.isEmpty()
                ? Path.of(System.getProperty("user.home", "/"), ".local", "share")
                : Path.of(value);
    }

    /// A host without a configuration file.
    static Config defaults() {
        return DEFAULTS;
    }

    /// The value that was set, or the default.
    <T> T get(ConfigKey<T> key) {
        @SuppressWarnings("unchecked") // with() put it there
        T value = (T) values.get(key.name());
        return value == null ? key.absent() : value;
    }

    /// Whether a value was set, be it the default.
    boolean sets(ConfigKey<?> key) {
        return values.containsKey(key.name());
    }

    /// The limits against hostile input.
    Limits limits() {
        return limits;
    }

    /// This configuration with one value set.
    <T> Config with(ConfigKey<T> key, T value) {
        Map<String, Object> changed = new HashMap<>(values);
        changed.put(key.name(), value);
        return new Config(changed, limits);
    }

    private <T> Config with(ConfigKey<T> key, ConfigValue value) throws ImageException {
        return with(key, key.type().read(value));
    }

    /// Reads the file of `--config`, or the default file if it exists.
    ///
    /// @throws ImageException `INVALID_ARGUMENT` naming file, key and what was wanted
    static Config load(@Nullable Path file) throws ImageException {
        if (file == null && !Files.exists(DEFAULT_FILE)) {
            return defaults();
        }
        return parse(file == null ? DEFAULT_FILE : file);
    }

    private static Config parse(Path file) throws ImageException {
        Map<String, JsonNode> values = new LinkedHashMap<>();
        flatten("", read(file), values);
        Config config = defaults();
        for (Map.Entry<String, JsonNode> entry : values.entrySet()) {
            String name = entry.getKey();
            ConfigValue value = new ConfigValue(file, name, entry.getValue());
            ConfigKey<?> key = KEYS.get(name);
            if (key != null) {
                config = config.with(key, value);
            } else if (Limits.configKeys().contains(name)) {
                config = new Config(config.values, config.limits.with(name, value.number()));
            } else {
                throw ImageException.invalidArgument(
                        "%s: unknown key \"%s\"; did you mean \"%s\"?"
                                .formatted(file, Text.printable(name, 100), closest(name)));
            }
        }
        return config;
    }

    private static JsonNode read(Path file) throws ImageException {
        try {
            if (Files.size(file) > MAX_FILE_BYTES) {
                throw ImageException.invalidArgument(file + ": larger than 1 MiB");
            }
            return new TomlMapper().readTree(Files.readString(file));
        } catch (JacksonException e) {
            throw new ImageException(
                    ErrorKind.INVALID_ARGUMENT,
                    "%s: not valid TOML: %s (line %d, column %d)"
                            .formatted(
                                    file,
                                    Text.printable(String.valueOf(e.getOriginalMessage()), 200),
                                    e.getLocation().getLineNr(),
                                    e.getLocation().getColumnNr()),
                    e);
        } catch (ImageException e) {
            throw e;
        } catch (IOException e) {
            throw new ImageException(
                    Files.exists(file) ? ErrorKind.PERMISSION_DENIED : ErrorKind.NOT_FOUND,
                    Files.exists(file)
                            ? "%s: cannot read the configuration: permission denied or not a file"
                                    .formatted(file)
                            : "%s: no such configuration file".formatted(file),
                    e);
        }
    }

    private static void flatten(String prefix, JsonNode node, Map<String, JsonNode> values) {
        for (Map.Entry<String, JsonNode> member : node.properties()) {
            String name = prefix.isEmpty() ? member.getKey() : prefix + "." + member.getKey();
            if (member.getValue().isObject()) {
                flatten(name, member.getValue(), values);
            } else {
                values.put(name, member.getValue());
            }
        }
    }

    private static String closest(String unknown) {
        List<String> known = new ArrayList<>(KEYS.keySet());
        known.addAll(Limits.configKeys());
        String best = known.getFirst();
        int fewest = Integer.MAX_VALUE;
        for (String key : known) {
            int distance = Spelling.distance(unknown, key);
            if (distance < fewest) {
                fewest = distance;
                best = key;
            }
        }
        return best;
    }

    /// Every key in the order of `docs/config.md`; without limits.
    static Collection<ConfigKey<?>> keys() {
        return Collections.unmodifiableCollection(KEYS.values());
    }

    /// The effective configuration, as a file that would give it.
    String dump() {
        Map<String, StringBuilder> sections = new LinkedHashMap<>();
        for (ConfigKey<?> key : KEYS.values()) {
            sections.computeIfAbsent(key.section(), _ -> new StringBuilder())
                    .append(key.last())
                    .append(" = ")
                    .append(written(key))
                    .append('\n');
        }
        for (Limits.Key key : Limits.Key.values()) {
            sections.computeIfAbsent("limits", _ -> new StringBuilder())
                    .append(key.configKey().substring(Limits.PREFIX.length()))
                    .append(" = ")
                    .append(limits.value(key))
                    .append('\n');
        }
        StringBuilder out = new StringBuilder();
        sections.forEach(
                (name, lines) -> {
                    if (!name.isEmpty()) {
                        out.append("\n[").append(name).append("]\n");
                    }
                    out.append(lines);
                });
        return out.toString();
    }

    private <T> String written(ConfigKey<T> key) {
        return key.type().write(get(key));
    }
}
