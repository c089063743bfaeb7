package dev.imgd.cli;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.Text;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BiFunction;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.dataformat.toml.TomlMapper;

/// The configuration of both programs: one TOML file, every key with a default.
///
/// @param root the store
/// @param address the socket of imgd's own API
/// @param snapshotterAddress the socket that containerd's proxy plugin connects to
/// @param accelerate whether Prepare may be answered by a pull of imgd's own
/// @param labelSources which labels may name the image: `cri`, `stargz`
/// @param fetches how many blobs are downloaded at once
/// @param unpacks how many layers are unpacked at once
/// @param plainHttp registries that are asked over plain http
/// @param realmAllow token servers that may get credentials of registries under other domains
/// @param foreignLayers whether layers are fetched from URLs that the manifest gives
/// @param cacheBytes memory of the metadata database
/// @param ingestTtl how long an interrupted download is kept
/// @param gcInterval how often the daemon collects garbage; zero for never
/// @param logJson whether the daemon logs JSON
/// @param logLevel `debug`, `info`, `warn` or `error`
/// @param limits limits against hostile input
record Config(
        Path root,
        Path address,
        Path snapshotterAddress,
        boolean accelerate,
        Set<String> labelSources,
        int fetches,
        int unpacks,
        Set<String> plainHttp,
        Set<String> realmAllow,
        boolean foreignLayers,
        long cacheBytes,
        Duration ingestTtl,
        Duration gcInterval,
        boolean logJson,
        String logLevel,
        Limits limits) {

    /// The file that is read when none is named, if it exists.
    static final Path DEFAULT_FILE = Path.of("/etc/imgd/config.toml");

    /// One key: its default as the file would write it, what it means, and how it changes the configuration.
    private record Key(String text, String meaning, BiFunction<Config, Value, Config> set) {}

    private static final Map<String, Key> KEYS = keys();

    /// A host without a configuration file.
    static Config defaults() {
        boolean superuser = "root".equals(System.getProperty("user.name"));
        String home = System.getProperty("user.home", "/");
        Path root =
                superuser
                        ? Path.of("/var/lib/imgd")
                        : Path.of(environment("XDG_DATA_HOME", home + "/.local/share"), "imgd");
        Path run =
                superuser
                        ? Path.of("/run/imgd")
                        : Path.of(environment("XDG_RUNTIME_DIR", home + "/.local/share"), "imgd");
        return new Config(
                root,
                run.resolve("imgd.sock"),
                run.resolve("snapshotter.sock"),
                false,
                Set.of("cri", "stargz"),
                4,
                Math.max(2, Runtime.getRuntime().availableProcessors()),
                Set.of(),
                Set.of(),
                false,
                24L << 20,
                Duration.ofHours(24),
                Duration.ofMinutes(1),
                false,
                "info",
                Limits.defaults());
    }

    private static String environment(String name, String absent) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? absent : value;
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
        JsonNode tree;
        try {
            if (Files.size(file) > 1 << 20) {
                throw ImageException.invalidArgument(file + ": larger than 1 MiB");
            }
            tree = new TomlMapper().readTree(Files.readString(file));
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
        Map<String, JsonNode> values = new LinkedHashMap<>();
        flatten("", tree, values);
        Config config = defaults();
        for (Map.Entry<String, JsonNode> entry : values.entrySet()) {
            Value value = new Value(file, entry.getKey(), entry.getValue());
            Key key = KEYS.get(entry.getKey());
            if (key != null) {
                config = value.apply(config, key.set);
            } else if (Limits.configKeys().contains(entry.getKey())) {
                config =
                        config.withLimits(config.limits.with(entry.getKey(), value.number()));
            } else {
                throw ImageException.invalidArgument(
                        "%s: unknown key \"%s\"; did you mean \"%s\"?"
                                .formatted(
                                        file,
                                        Text.printable(entry.getKey(), 100),
                                        closest(entry.getKey())));
            }
        }
        return config;
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
            int distance = distance(unknown, key);
            if (distance < fewest) {
                fewest = distance;
                best = key;
            }
        }
        return best;
    }

    /// Levenshtein's edit distance.
    private static int distance(String a, String b) {
        int[] row = new int[b.length() + 1];
        for (int j = 0; j <= b.length(); j++) {
            row[j] = j;
        }
        for (int i = 1; i <= a.length(); i++) {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= b.length(); j++) {
                int above = row[j];
                int cost = a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1;
                row[j] = Math.min(Math.min(row[j] + 1, row[j - 1] + 1), diagonal + cost);
                diagonal = above;
            }
        }
        return row[b.length()];
    }

    /// A value of the file, with typed access that explains itself.
    private record Value(Path file, String key, JsonNode node) {
        /// Carries a checked exception through a function.
        private static final class Wrong extends RuntimeException {
            private static final long serialVersionUID = 1;

            Wrong(ImageException cause) {
                super(cause);
            }
        }

        Config apply(Config config, BiFunction<Config, Value, Config> set) throws ImageException {
            try {
                return set.apply(config, this);
            } catch (Wrong e) {
                throw (ImageException) java.util.Objects.requireNonNull(e.getCause());
            }
        }

        private Wrong wrong(String wanted) {
            return new Wrong(
                    ImageException.invalidArgument(
                            "%s: %s: wanted %s, got %s"
                                    .formatted(
                                            file,
                                            key,
                                            wanted,
                                            Text.printable(node.toString(), 80))));
        }

        String text() {
            if (!node.isString()) {
                throw wrong("a string");
            }
            return node.stringValue();
        }

        Path path() {
            Path path = Path.of(text());
            if (!path.isAbsolute()) {
                throw wrong("an absolute path");
            }
            return path;
        }

        String oneOf(String... choices) {
            String text = text();
            if (!List.of(choices).contains(text)) {
                throw wrong("one of " + String.join(", ", choices));
            }
            return text;
        }

        int count(int min, int max) {
            if (!node.isIntegralNumber()
                    || node.longValue() < min
                    || node.longValue() > max) {
                throw wrong("a number from %d to %d".formatted(min, max));
            }
            return node.intValue();
        }

        /// A plain number or a size with a unit.
        long number() throws ImageException {
            try {
                return node.isIntegralNumber() ? node.longValue() : bytes();
            } catch (Wrong e) {
                throw (ImageException) java.util.Objects.requireNonNull(e.getCause());
            }
        }

        long bytes() {
            String text = text();
            String[] units = {"KiB", "MiB", "GiB", "TiB"};
            for (int i = 0; i < units.length; i++) {
                if (text.endsWith(units[i])) {
                    return digits(text, units[i].length(), "a size such as \"64MiB\"")
                            << (10 * (i + 1));
                }
            }
            if (text.endsWith("B")) {
                return digits(text, 1, "a size such as \"64MiB\"");
            }
            throw wrong("a size such as \"64MiB\"");
        }

        Duration duration() {
            String text = text();
            String wanted = "a duration such as \"30s\", \"5m\" or \"24h\"";
            if (text.endsWith("ms")) {
                return Duration.ofMillis(digits(text, 2, wanted));
            }
            long amount = digits(text, 1, wanted);
            return switch (text.charAt(text.length() - 1)) {
                case 's' -> Duration.ofSeconds(amount);
                case 'm' -> Duration.ofMinutes(amount);
                case 'h' -> Duration.ofHours(amount);
                default -> throw wrong(wanted);
            };
        }

        private long digits(String text, int unit, String wanted) {
            String number = text.substring(0, Math.max(0, text.length() - unit)).strip();
            if (number.isEmpty()
                    || number.length() > 9
                    || !number.chars().allMatch(c -> c >= '0' && c <= '9')) {
                throw wrong(wanted);
            }
            return Long.parseLong(number);
        }

        List<JsonNode> list() {
            if (!node.isArray()) {
                throw wrong("a list");
            }
            return List.copyOf(node.values());
        }

        Set<String> texts() {
            Set<String> texts = new LinkedHashSet<>();
            for (JsonNode item : list()) {
                texts.add(new Value(file, key, item).text());
            }
            return texts;
        }

        Set<String> someOf(String... choices) {
            Set<String> texts = texts();
            if (texts.isEmpty() || !List.of(choices).containsAll(texts)) {
                throw wrong("a list of " + String.join(", ", choices));
            }
            return texts;
        }

        boolean bool() {
            if (!node.isBoolean()) {
                throw wrong("true or false");
            }
            return node.booleanValue();
        }
    }

    private static Map<String, Key> keys() {
        Map<String, Key> keys = new LinkedHashMap<>();
        keys.put(
                "root",
                new Key(
                        "\"/var/lib/imgd\"",
                        "where blobs, snapshots and metadata live",
                        (c, v) -> c.withRoot(v.path())));
        keys.put(
                "grpc.address",
                new Key(
                        "\"/run/imgd/imgd.sock\"",
                        "socket of the API that imgctl uses",
                        (c, v) -> c.withAddress(v.path())));
        keys.put(
                "snapshotter.address",
                new Key(
                        "\"/run/imgd/snapshotter.sock\"",
                        "socket of containerd's proxy plugin",
                        (c, v) -> c.withSnapshotterAddress(v.path())));
        keys.put(
                "snapshotter.mode",
                new Key(
                        "\"passive\"",
                        "passive: containerd fetches; accelerate: imgd fetches and unpacks",
                        (c, v) ->
                                c.withAccelerate(
                                        v.oneOf("passive", "accelerate").equals("accelerate"))));
        keys.put(
                "snapshotter.label_sources",
                new Key(
                        "[\"cri\", \"stargz\"]",
                        "whose labels may name an image to accelerate: only what callers on this host write",
                        (c, v) -> c.withLabelSources(v.someOf("cri", "stargz"))));
        keys.put(
                "pull.max_concurrent_downloads",
                new Key(
                        "4",
                        "blobs downloaded at once, over all pulls",
                        (c, v) -> c.withFetches(v.count(1, 64))));
        keys.put(
                "pull.max_concurrent_unpacks",
                new Key(
                        "the number of processors, at least 2",
                        "layers unpacked at once, over all pulls",
                        (c, v) -> c.withUnpacks(v.count(1, 256))));
        keys.put(
                "registry.plain_http",
                new Key(
                        "[]",
                        "registries (host:port) that are asked over plain http",
                        (c, v) -> c.withPlainHttp(v.texts())));
        keys.put(
                "registry.realm_allow",
                new Key(
                        "[]",
                        "token servers (host or host:port) that may get credentials of registries under other domains",
                        (c, v) -> c.withRealmAllow(v.texts())));
        keys.put(
                "registry.foreign_layers",
                new Key(
                        "false",
                        "whether layers are fetched from URLs that the manifest gives",
                        (c, v) -> c.withForeignLayers(v.bool())));
        keys.put(
                "store.cache",
                new Key(
                        "\"24MiB\"",
                        "memory of the metadata database: cache and write buffers",
                        (c, v) -> c.withCacheBytes(v.bytes())));
        keys.put(
                "store.ingest_ttl",
                new Key(
                        "\"24h\"",
                        "how long an interrupted download is kept for the next attempt",
                        (c, v) -> c.withIngestTtl(v.duration())));
        keys.put(
                "gc.interval",
                new Key(
                        "\"1m\"",
                        "how often the daemon deletes what nothing needs; \"0s\" for never",
                        (c, v) -> c.withGcInterval(v.duration())));
        keys.put(
                "log.format",
                new Key(
                        "\"text\"",
                        "text or json",
                        (c, v) -> c.withLogJson(v.oneOf("text", "json").equals("json"))));
        keys.put(
                "log.level",
                new Key(
                        "\"info\"",
                        "debug, info, warn or error",
                        (c, v) -> c.withLogLevel(v.oneOf("debug", "info", "warn", "error"))));
        return keys;
    }

    /// Every key with its default and meaning, as `docs/config.md` lists them; without limits.
    static Map<String, List<String>> documentation() {
        Map<String, List<String>> rows = new LinkedHashMap<>();
        KEYS.forEach((name, key) -> rows.put(name, List.of(key.text, key.meaning)));
        return rows;
    }

    /// The effective configuration, as a file that would give it.
    String dump() {
        StringBuilder out = new StringBuilder();
        out.append("root = ").append(quote(root)).append("\n\n[grpc]\n");
        out.append("address = ").append(quote(address)).append('\n');
        out.append("\n[snapshotter]\n");
        out.append("address = ").append(quote(snapshotterAddress)).append('\n');
        out.append("mode = ").append(quote(accelerate ? "accelerate" : "passive"));
        out.append("\nlabel_sources = ").append(quoted(labelSources));
        out.append("\n\n[pull]\nmax_concurrent_downloads = ").append(fetches);
        out.append("\nmax_concurrent_unpacks = ").append(unpacks);
        out.append("\n\n[registry]\nplain_http = ").append(quoted(plainHttp));
        out.append("\nrealm_allow = ").append(quoted(realmAllow));
        out.append("\nforeign_layers = ").append(foreignLayers);
        out.append("\n\n[store]\ncache = ").append(quote((cacheBytes >> 10) + "KiB"));
        out.append("\ningest_ttl = ").append(quote(ingestTtl.toSeconds() + "s"));
        out.append("\n\n[gc]\ninterval = ").append(quote(gcInterval.toSeconds() + "s"));
        out.append("\n\n[log]\nformat = ").append(quote(logJson ? "json" : "text"));
        out.append("\nlevel = ").append(quote(logLevel)).append("\n\n[limits]\n");
        for (Limits.Key key : Limits.Key.values()) {
            out.append(key.configKey().substring(Limits.PREFIX.length()))
                    .append(" = ")
                    .append(limits.value(key))
                    .append('\n');
        }
        return out.toString();
    }

    private static String quoted(Set<String> values) {
        return "[" + String.join(", ", values.stream().sorted().map(Config::quote).toList()) + "]";
    }

    private static String quote(Object value) {
        return '"' + value.toString().replace("\\", "\\\\").replace("\"", "\\\"") + '"';
    }

    Config withRoot(Path value) {
        return new Config(
                value,
                address,
                snapshotterAddress,
                accelerate,
                labelSources,
                fetches,
                unpacks,
                plainHttp,
                realmAllow,
                foreignLayers,
                cacheBytes,
                ingestTtl,
                gcInterval,
                logJson,
                logLevel,
                limits);
    }

    Config withAddress(Path value) {
        return new Config(
                root,
                value,
                snapshotterAddress,
                accelerate,
                labelSources,
                fetches,
                unpacks,
                plainHttp,
                realmAllow,
                foreignLayers,
                cacheBytes,
                ingestTtl,
                gcInterval,
                logJson,
                logLevel,
                limits);
    }

    Config withSnapshotterAddress(Path value) {
        return new Config(
                root,
                address,
                value,
                accelerate,
                labelSources,
                fetches,
                unpacks,
                plainHttp,
                realmAllow,
                foreignLayers,
                cacheBytes,
                ingestTtl,
                gcInterval,
                logJson,
                logLevel,
                limits);
    }

    Config withAccelerate(boolean value) {
        return new Config(
                root,
                address,
                snapshotterAddress,
                value,
                labelSources,
                fetches,
                unpacks,
                plainHttp,
                realmAllow,
                foreignLayers,
                cacheBytes,
                ingestTtl,
                gcInterval,
                logJson,
                logLevel,
                limits);
    }

    Config withLabelSources(Set<String> value) {
        return new Config(
                root,
                address,
                snapshotterAddress,
                accelerate,
                value,
                fetches,
                unpacks,
                plainHttp,
                realmAllow,
                foreignLayers,
                cacheBytes,
                ingestTtl,
                gcInterval,
                logJson,
                logLevel,
                limits);
    }

    Config withFetches(int value) {
        return new Config(
                root,
                address,
                snapshotterAddress,
                accelerate,
                labelSources,
                value,
                unpacks,
                plainHttp,
                realmAllow,
                foreignLayers,
                cacheBytes,
                ingestTtl,
                gcInterval,
                logJson,
                logLevel,
                limits);
    }

    Config withUnpacks(int value) {
        return new Config(
                root,
                address,
                snapshotterAddress,
                accelerate,
                labelSources,
                fetches,
                value,
                plainHttp,
                realmAllow,
                foreignLayers,
                cacheBytes,
                ingestTtl,
                gcInterval,
                logJson,
                logLevel,
                limits);
    }

    Config withPlainHttp(Set<String> value) {
        return new Config(
                root,
                address,
                snapshotterAddress,
                accelerate,
                labelSources,
                fetches,
                unpacks,
                value,
                realmAllow,
                foreignLayers,
                cacheBytes,
                ingestTtl,
                gcInterval,
                logJson,
                logLevel,
                limits);
    }

    Config withRealmAllow(Set<String> value) {
        return new Config(
                root,
                address,
                snapshotterAddress,
                accelerate,
                labelSources,
                fetches,
                unpacks,
                plainHttp,
                value,
                foreignLayers,
                cacheBytes,
                ingestTtl,
                gcInterval,
                logJson,
                logLevel,
                limits);
    }

    Config withForeignLayers(boolean value) {
        return new Config(
                root,
                address,
                snapshotterAddress,
                accelerate,
                labelSources,
                fetches,
                unpacks,
                plainHttp,
                realmAllow,
                value,
                cacheBytes,
                ingestTtl,
                gcInterval,
                logJson,
                logLevel,
                limits);
    }

    Config withCacheBytes(long value) {
        return new Config(
                root,
                address,
                snapshotterAddress,
                accelerate,
                labelSources,
                fetches,
                unpacks,
                plainHttp,
                realmAllow,
                foreignLayers,
                value,
                ingestTtl,
                gcInterval,
                logJson,
                logLevel,
                limits);
    }

    Config withIngestTtl(Duration value) {
        return new Config(
                root,
                address,
                snapshotterAddress,
                accelerate,
                labelSources,
                fetches,
                unpacks,
                plainHttp,
                realmAllow,
                foreignLayers,
                cacheBytes,
                value,
                gcInterval,
                logJson,
                logLevel,
                limits);
    }

    Config withGcInterval(Duration value) {
        return new Config(
                root,
                address,
                snapshotterAddress,
                accelerate,
                labelSources,
                fetches,
                unpacks,
                plainHttp,
                realmAllow,
                foreignLayers,
                cacheBytes,
                ingestTtl,
                value,
                logJson,
                logLevel,
                limits);
    }

    Config withLogJson(boolean value) {
        return new Config(
                root,
                address,
                snapshotterAddress,
                accelerate,
                labelSources,
                fetches,
                unpacks,
                plainHttp,
                realmAllow,
                foreignLayers,
                cacheBytes,
                ingestTtl,
                gcInterval,
                value,
                logLevel,
                limits);
    }

    Config withLogLevel(String value) {
        return new Config(
                root,
                address,
                snapshotterAddress,
                accelerate,
                labelSources,
                fetches,
                unpacks,
                plainHttp,
                realmAllow,
                foreignLayers,
                cacheBytes,
                ingestTtl,
                gcInterval,
                logJson,
                value,
                limits);
    }

    Config withLimits(Limits value) {
        return new Config(
                root,
                address,
                snapshotterAddress,
                accelerate,
                labelSources,
                fetches,
                unpacks,
                plainHttp,
                realmAllow,
                foreignLayers,
                cacheBytes,
                ingestTtl,
                gcInterval,
                logJson,
                logLevel,
                value);
    }
}
