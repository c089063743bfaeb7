package dev.imgd.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ConfigTest {
    @TempDir Path directory;

    private Config parse(String text) throws IOException {
        return Config.load(Files.writeString(directory.resolve("config.toml"), text));
    }

    /// A value in the file, another than the default, and what is read.
    private record Value(String toml, Object wanted) {}

    private static final Map<ConfigKey<?>, Value> VALUES =
            Map.ofEntries(
                    value(Config.ROOT, "'/r'", Path.of("/r")),
                    value(Config.ADDRESS, "'/a.sock'", Path.of("/a.sock")),
                    value(Config.SNAPSHOTTER_ADDRESS, "'/s.sock'", Path.of("/s.sock")),
                    value(Config.SNAPSHOTTER_MODE, "'accelerate'", "accelerate"),
                    value(Config.LABEL_SOURCES, "['cri']", Set.of("cri")),
                    value(Config.CONCURRENT_DOWNLOADS, "7", 7),
                    value(Config.CONCURRENT_UNPACKS, "193", 193),
                    value(Config.RANGE_CONNECTIONS, "3", 3),
                    value(Config.RANGE_THRESHOLD, "'5MiB'", 5L << 20),
                    value(Config.SPREAD, "false", false),
                    value(Config.BANDWIDTH_LIMIT, "'6GiB'", 6L << 30),
                    value(Config.PULL_DEADLINE, "'0s'", Duration.ZERO),
                    value(Config.REQUESTS_PER_SECOND, "8", 8),
                    value(Config.REQUESTS_AT_ONCE, "9", 9),
                    value(Config.PLAIN_HTTP, "['a:5000', 'b']", Set.of("a:5000", "b")),
                    value(Config.HOSTS_DIR, "'/a:/b'", List.of(Path.of("/a"), Path.of("/b"))),
                    value(Config.HOSTS_MODE, "'containerd'", "containerd"),
                    value(Config.AUTH_FILE, "'/auth.json'", Optional.of(Path.of("/auth.json"))),
                    value(Config.REALM_ALLOW, "['auth.lan']", Set.of("auth.lan")),
                    value(Config.UPLOAD_ALLOW, "['up.lan:1']", Set.of("up.lan:1")),
                    value(Config.HTTPS_PROXY, "'http://p.lan:3128'", "http://p.lan:3128"),
                    value(Config.HTTP_PROXY, "'none'", "none"),
                    value(Config.NO_PROXY, "['.lan', '10.0.0.0/8']", Set.of(".lan", "10.0.0.0/8")),
                    value(Config.FOREIGN_LAYERS, "true", true),
                    value(Config.CONNECT_TIMEOUT, "'11s'", Duration.ofSeconds(11)),
                    value(Config.HEADER_TIMEOUT, "'12m'", Duration.ofMinutes(12)),
                    value(Config.STALL_TIMEOUT, "'13ms'", Duration.ofMillis(13)),
                    value(Config.MINIMUM_RATE, "'0B'", 0L),
                    value(Config.ATTEMPTS, "15", 15),
                    value(Config.MAXIMUM_BACKOFF, "'1h'", Duration.ofHours(1)),
                    value(Config.OUTAGE_TIMEOUT, "'0s'", Duration.ZERO),
                    value(Config.TRUST_POLICY, "'/p.json'", Path.of("/p.json")),
                    value(Config.TRUST_NOTATION, "'/n'", Path.of("/n")),
                    value(Config.TRUST_TIMEOUT, "'3s'", Duration.ofSeconds(3)),
                    value(Config.KEY_MODEL, "'none'", "none"),
                    value(Config.KEYS_PATH, "'/k'", Path.of("/k")),
                    value(Config.STORE_CACHE, "'32MiB'", 32L << 20),
                    value(Config.INGEST_TTL, "'90m'", Duration.ofMinutes(90)),
                    value(Config.GC_INTERVAL, "'0s'", Duration.ZERO),
                    value(Config.GC_FULL_INTERVAL, "'1h'", Duration.ofHours(1)),
                    value(Config.GC_PROVIDE_GRACE, "'5s'", Duration.ofSeconds(5)),
                    value(Config.LOG_FORMAT, "'json'", "json"),
                    value(Config.LOG_LEVEL, "'debug'", "debug"));

    private static <T> Map.Entry<ConfigKey<?>, Value> value(
            ConfigKey<T> key, String toml, T wanted) {
        return Map.entry(key, new Value(toml, wanted));
    }

    @Test
    void load_everyKey_isApplied() throws Exception {
        StringBuilder file = new StringBuilder();
        for (ConfigKey<?> key : Config.keys()) {
            Value value = VALUES.get(key);
            assertNotNull(value, key.name() + ": has no value in this test");
            file.append(key.name()).append(" = ").append(value.toml).append('\n');
        }
        for (Limits.Key key : Limits.Key.values()) {
            file.append(key.configKey()).append(" = ").append(other(key)).append('\n');
        }
        Config config = parse(file.toString());
        Config empty = parse("");
        for (ConfigKey<?> key : Config.keys()) {
            Object wanted = VALUES.get(key).wanted;
            assertEquals(wanted, config.get(key), key.name());
            assertNotEquals(wanted, empty.get(key), key.name() + ": is the default");
            assertTrue(config.sets(key) && !empty.sets(key), key.name());
        }
        for (Limits.Key key : Limits.Key.values()) {
            assertEquals(other(key), config.limits().value(key), key.configKey());
            assertEquals(key.defaultValue(), empty.limits().value(key), key.configKey());
        }
        assertEquals(Config.keys().size(), VALUES.size());
    }

    private static long other(Limits.Key key) {
        return key.defaultValue() == key.min() ? key.max() : key.min();
    }

    @Test
    void load_limitInBytes_takesASize() throws Exception {
        Config config = parse("[limits]\nlayer_uncompressed_bytes = '1GiB'\n");
        assertEquals(1L << 30, config.limits().value(Limits.Key.LAYER_UNCOMPRESSED_BYTES));
    }

    @Test
    void dump_parsedAgain_isTheSame() throws Exception {
        Config config =
                Config.defaults()
                        .with(Config.ROOT, Path.of("/a\\b\"c"))
                        .with(Config.PLAIN_HTTP, Set.of("b:1", "a:1"))
                        .with(Config.AUTH_FILE, Optional.of(Path.of("/auth.json")))
                        .with(Config.SNAPSHOTTER_MODE, "accelerate")
                        .with(Config.STORE_CACHE, 1000L)
                        .with(Config.GC_INTERVAL, Duration.ofMillis(1500));
        Config again = parse(config.dump());
        assertEquals(config.dump(), again.dump());
        for (ConfigKey<?> key : Config.keys()) {
            assertEquals(config.get(key), again.get(key), key.name());
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "rot = '/x'|unknown key \"rot\"; did you mean \"root\"?",
                "root = 'x'|root: wanted an absolute path",
                "root = 3|root: wanted a string",
                "[snapshotter]\\nmode = 'fast'|snapshotter.mode: wanted one of passive, accelerate",
                "[pull]\\nmax_concurrent_downloads = 0|wanted a number from 1 to 64",
                "[store]\\ncache = '64MB'|wanted a size such as",
                "[store]\\ncache = '999999999TiB'|wanted a size such as",
                "root = \"/a\\u0000b\"|root: wanted an absolute path",
                "[log]\\nlevel = 'loud'|wanted one of debug, info, warn, error",
                "[registry]\\nplain_http = 'a'|registry.plain_http: wanted a list",
                "[registry]\\nforeign_layers = 1|wanted true or false",
                "[registry]\\nauth_file = 'auth.json'|registry.auth_file: wanted an absolute path",
                "[snapshotter]\\nlabel_sources = []|wanted a list of cri, stargz",
                "[store]\\ningest_ttl = '3'|wanted a duration such as",
                "[limits]\\ntar_entry = 1|did you mean \"limits.tar_entries\"?",
                "root = |not valid TOML"
            })
    void load_mistake_namesIt(String text, String expected) {
        ImageException e =
                assertThrows(ImageException.class, () -> parse(text.replace("\\n", "\n")));
        assertEquals(ErrorKind.INVALID_ARGUMENT, e.kind());
        assertTrue(e.getMessage().contains(expected), e.getMessage());
        assertTrue(e.getMessage().contains("config.toml"), e.getMessage());
        assertFalse(e.getMessage().contains("\n"), e.getMessage());
    }

    @Test
    void load_missingFile_isNotFound() {
        ImageException e =
                assertThrows(
                        ImageException.class, () -> Config.load(directory.resolve("none.toml")));
        assertEquals(ErrorKind.NOT_FOUND, e.kind());
    }

    /// The page for users lists exactly the keys there are, with their defaults.
    @Test
    void documentation_matchesTheKeys() throws Exception {
        String page = Files.readString(Path.of("../docs/config.md"));
        List<String> rows = new ArrayList<>();
        for (ConfigKey<?> key : Config.keys()) {
            String shown = key.shown();
            rows.add(
                    "| `%s` | %s | %s |"
                            .formatted(
                                    key.name(),
                                    shown.startsWith("the ") ? shown : "`" + shown + "`",
                                    key.meaning()));
        }
        for (Limits.Key key : Limits.Key.values()) {
            rows.add(limitRow(key));
        }
        for (String row : rows) {
            assertTrue(page.contains(row + "\n"), "docs/config.md lacks: " + row);
        }
        long documented = page.lines().filter(line -> line.startsWith("| `")).count();
        assertEquals(rows.size(), documented, "rows of keys that do not exist");
    }

    private static String limitRow(Limits.Key key) {
        return "| `%s` | %d | %s |"
                .formatted(
                        key.configKey(),
                        key.defaultValue(),
                        key.unit().name().toLowerCase(Locale.ROOT).replace('_', ' '));
    }
}
