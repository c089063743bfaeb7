package dev.imgd.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.hosts.RegistryHost;
import dev.imgd.image.PullOptions;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.registry.Credentials;
import dev.imgd.registry.Proxies;
import dev.imgd.registry.RegistryOptions;
import dev.imgd.trust.DecryptionKeys;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Function;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Every key of the configuration that a pull depends on arrives where it is used.
class AssemblyTest {
    /// Sections whose keys must each have a row.
    private static final List<String> SECTIONS =
            List.of("registry", "pull", "trust", "decryption", "store");

    @TempDir static Path directory;

    /// A part of what is assembled.
    @FunctionalInterface
    private interface Part {
        Object of(Config config) throws IOException;
    }

    /// One key.
    ///
    /// @param toml its value in the file, another than the default
    /// @param part what depends on it
    /// @param wanted that part, with the value
    private record Row(ConfigKey<?> key, String toml, Part part, Object wanted) {}

    private static Row registry(
            ConfigKey<?> key, String toml, Function<RegistryOptions, Object> part, Object wanted) {
        return new Row(key, toml, config -> part.apply(Assembly.registryOptions(config)), wanted);
    }

    private static Row pull(
            ConfigKey<?> key, String toml, Function<PullOptions, Object> part, Object wanted) {
        return new Row(key, toml, config -> part.apply(Assembly.pullOptions(config)), wanted);
    }

    private static List<Row> rows() {
        String hosts = ConfigKey.quote(directory.resolve("certs.d").toString());
        String lan = "registry.lan";
        return List.of(
                pull(Config.CONCURRENT_DOWNLOADS, "7", PullOptions::downloads, 7),
                pull(Config.CONCURRENT_UNPACKS, "193", PullOptions::unpacks, 193),
                pull(Config.PULL_DEADLINE, "'5m'", PullOptions::deadline, Duration.ofMinutes(5)),
                registry(
                        Config.RANGE_CONNECTIONS,
                        "3",
                        options -> options.transfer().rangeConnections(),
                        3),
                registry(
                        Config.RANGE_THRESHOLD,
                        "'5MiB'",
                        options -> options.transfer().rangeThreshold(),
                        5L << 20),
                registry(Config.SPREAD, "false", options -> options.transfer().spread(), false),
                registry(
                        Config.BANDWIDTH_LIMIT,
                        "'6MiB'",
                        options -> options.transfer().bytesPerSecond(),
                        6L << 20),
                registry(
                        Config.REQUESTS_PER_SECOND,
                        "8",
                        options -> options.transfer().requestsPerSecond(),
                        8),
                registry(
                        Config.REQUESTS_AT_ONCE,
                        "9",
                        options -> options.transfer().requestsAtOnce(),
                        9),
                new Row(
                        Config.PLAIN_HTTP,
                        "['registry.lan']",
                        config -> host(config, lan).scheme(),
                        RegistryHost.Scheme.HTTP),
                new Row(
                        Config.HOSTS_DIR,
                        "[" + hosts + "]",
                        config -> host(config, lan).authority(),
                        "mirror.lan"),
                new Row(
                        Config.HOSTS_MODE,
                        "'containerd'\nhosts_dir = " + hosts,
                        config -> host(config, "wrong.lan").authority(),
                        "wrong.lan"),
                registry(
                        Config.AUTH_FILE,
                        ConfigKey.quote(directory.resolve("auth.json").toString()),
                        options -> login(options, lan),
                        "me"),
                registry(
                        Config.REALM_ALLOW,
                        "['auth.lan']",
                        RegistryOptions::realmAllow,
                        Set.of("auth.lan")),
                registry(
                        Config.UPLOAD_ALLOW,
                        "['up.lan']",
                        RegistryOptions::uploadAllow,
                        Set.of("up.lan")),
                registry(
                        Config.HTTPS_PROXY,
                        "'http://proxy.lan:3128'",
                        options -> proxy(options, "https://registry.lan"),
                        "proxy.lan:3128"),
                registry(
                        Config.HTTP_PROXY,
                        "'proxy.lan:3129'",
                        options -> proxy(options, "http://registry.lan"),
                        "proxy.lan:3129"),
                registry(
                        Config.NO_PROXY,
                        "['.lan']\nhttps_proxy = 'proxy.example'",
                        options ->
                                proxy(options, "https://registry.lan")
                                        + proxy(options, "https://registry.example"),
                        "directproxy.example:80"),
                registry(Config.FOREIGN_LAYERS, "true", RegistryOptions::foreignLayers, true),
                registry(
                        Config.CONNECT_TIMEOUT,
                        "'11s'",
                        RegistryOptions::connectTimeout,
                        Duration.ofSeconds(11)),
                registry(
                        Config.HEADER_TIMEOUT,
                        "'12s'",
                        RegistryOptions::headerTimeout,
                        Duration.ofSeconds(12)),
                registry(
                        Config.STALL_TIMEOUT,
                        "'13s'",
                        RegistryOptions::stallTimeout,
                        Duration.ofSeconds(13)),
                registry(Config.MINIMUM_RATE, "'14B'", RegistryOptions::minimumRate, 14L),
                registry(Config.ATTEMPTS, "15", RegistryOptions::attempts, 15),
                registry(
                        Config.MAXIMUM_BACKOFF,
                        "'16s'",
                        RegistryOptions::maximumBackoff,
                        Duration.ofSeconds(16)),
                registry(
                        Config.OUTAGE_TIMEOUT,
                        "'17s'",
                        RegistryOptions::outageTimeout,
                        Duration.ofSeconds(17)),
                new Row(
                        Config.TRUST_POLICY,
                        ConfigKey.quote(directory.resolve("none.json").toString()),
                        AssemblyTest::policyProblem,
                        directory.resolve("none.json").toString()),
                new Row(
                        Config.TRUST_NOTATION,
                        "'%s'\npolicy = '%s'"
                                .formatted(
                                        directory.resolve("nowhere"),
                                        directory.resolve("policy.json")),
                        AssemblyTest::policyProblem,
                        directory.resolve("nowhere/trustpolicy.json").toString()),
                new Row(
                        Config.TRUST_TIMEOUT,
                        "'3s'",
                        config -> Assembly.effort(config).time(),
                        Duration.ofSeconds(3)),
                new Row(
                        Config.KEY_MODEL,
                        "'none'",
                        config -> Assembly.keys(config, DecryptionKeys.NONE).load().toString(),
                        "no keys are configured"),
                new Row(
                        Config.KEYS_PATH,
                        ConfigKey.quote(directory.resolve("keys").toString()),
                        config -> Assembly.keys(config, DecryptionKeys.NONE).load().toString(),
                        "keys were looked for in %s (no key)".formatted(directory.resolve("keys"))),
                new Row(
                        Config.STORE_CACHE,
                        "'17MiB'",
                        config -> Assembly.storeOptions(config).cacheBytes(),
                        17L << 20),
                new Row(
                        Config.INGEST_TTL,
                        "'18h'",
                        config ->
                                List.of(
                                        Assembly.storeOptions(config).ingestTtl(),
                                        Assembly.gcOptions(config).ingestTtl()),
                        List.of(Duration.ofHours(18), Duration.ofHours(18))));
    }

    private static RegistryHost host(Config config, String registry) throws ImageException {
        return Assembly.registryOptions(config).hosts().hostsFor(registry).getFirst();
    }

    private static String login(RegistryOptions options, String registry) {
        try {
            return options.credentials()
                    .find(registry, "app")
                    .map(c -> c instanceof Credentials.Login login ? login.username() : "")
                    .orElse("nobody");
        } catch (ImageException e) {
            throw new AssertionError(e);
        }
    }

    private static String proxy(RegistryOptions options, String url) {
        try {
            return options.proxies().placeFor(url).orElse("direct");
        } catch (ImageException e) {
            throw new AssertionError(e);
        }
    }

    /// The file that the policy lacks.
    private static Object policyProblem(Config config) {
        try {
            Assembly.policy(config).check();
            return "none";
        } catch (ImageException e) {
            return e.getMessage().replaceFirst(".*?(/[^:]*): .*", "$1");
        }
    }

    private static Config parse(String text) throws IOException {
        return Config.load(Files.writeString(directory.resolve("config.toml"), text));
    }

    private static void prepare() throws IOException {
        Path mirror = Files.createDirectories(directory.resolve("certs.d/registry.lan"));
        Files.writeString(mirror.resolve("hosts.toml"), "[host.'https://mirror.lan']\n");
        Path wrong = Files.createDirectories(directory.resolve("certs.d/wrong.lan"));
        Files.writeString(wrong.resolve("hosts.toml"), "[host.'https://mirror.lan'\n");
        Files.writeString(
                directory.resolve("auth.json"),
                "{\"auths\":{\"registry.lan\":{\"auth\":\"bWU6eA==\"}}}");
        Files.writeString(
                directory.resolve("policy.json"), "{\"default\":[{\"type\":\"notation\"}]}");
        Files.createDirectories(directory.resolve("keys"));
    }

    @Test
    void everyKey_arrivesWhereItIsUsed() throws Exception {
        prepare();
        for (Row row : rows()) {
            String section = row.key.section();
            String line = row.key.last() + " = " + row.toml + '\n';
            Config config = parse('[' + section + "]\n" + line);
            assertEquals(row.wanted, row.part.of(config), row.key.name());
            // Without the key, and with what else the row sets.
            Config without = parse('[' + section + "]\n" + rest(row));
            Object absent;
            try {
                absent = row.part.of(without);
            } catch (ImageException e) {
                absent = e.kind();
            }
            assertNotEquals(row.wanted, absent, row.key.name() + ": the row shows nothing");
        }
    }

    private static String rest(Row row) {
        int end = row.toml.indexOf('\n');
        return end < 0 ? "" : row.toml.substring(end + 1) + '\n';
    }

    /// A new key needs a row above, or nothing may depend on it.
    @Test
    void everyKey_hasARow() {
        Set<String> wanted = new TreeSet<>();
        for (ConfigKey<?> key : Config.keys()) {
            if (SECTIONS.contains(key.section())) {
                wanted.add(key.name());
            }
        }
        List<String> rows = new ArrayList<>();
        rows().forEach(row -> rows.add(row.key.name()));
        assertEquals(wanted, new TreeSet<>(rows));
        assertEquals(wanted.size(), rows.size(), "a key is there twice");
    }

    @Test
    void everyLimit_arrivesAtTheRegistryClient() throws Exception {
        for (Limits.Key key : Limits.Key.values()) {
            long value = key.defaultValue() == key.min() ? key.max() : key.min();
            Config config =
                    parse(
                            "[limits]\n%s = %d\n"
                                    .formatted(
                                            key.configKey().substring(Limits.PREFIX.length()),
                                            value));
            assertEquals(value, Assembly.registryOptions(config).limits().value(key), key.name());
        }
    }

    /// Of two proxies the one of the configuration counts, and `none` is one of them.
    @Test
    void proxies_ofTheConfiguration_winOverTheEnvironment() throws Exception {
        Map<String, String> environment =
                Map.of(
                        "HTTPS_PROXY", "a.lan:1",
                        "HTTP_PROXY", "a.lan:2",
                        "NO_PROXY", "x.lan");
        Proxies plain = Assembly.proxies(Config.defaults(), environment);
        assertEquals("a.lan:1", plain.placeFor("https://y.lan").orElseThrow());
        assertEquals("a.lan:2", plain.placeFor("http://y.lan").orElseThrow());
        assertTrue(plain.placeFor("https://x.lan").isEmpty());
        Proxies other =
                Assembly.proxies(
                        parse(
                                """
                                [registry]
                                https_proxy = "http://user:pw@b.lan"
                                http_proxy = "none"
                                no_proxy = ["y.lan"]
                                """),
                        environment);
        assertEquals("b.lan:80", other.placeFor("https://x.lan").orElseThrow());
        assertTrue(other.placeFor("http://x.lan").isEmpty());
        assertTrue(other.placeFor("https://y.lan").isEmpty());
    }

    @Test
    void proxy_wrong_namesFileAndKeyAndNoPassword() {
        for (String value : List.of("'socks5://u:canary@p'", "['http://u:canary@p']")) {
            ImageException e =
                    assertThrows(
                            ImageException.class, () -> parse("[registry]\nhttp_proxy = " + value));
            assertEquals(ErrorKind.INVALID_ARGUMENT, e.kind());
            assertTrue(
                    e.getMessage().contains("config.toml: registry.http_proxy: wanted "),
                    e.getMessage());
            assertTrue(!e.getMessage().contains("canary"), e.getMessage());
        }
        ImageException e =
                assertThrows(
                        ImageException.class,
                        () -> parse("[registry]\nno_proxy = ['a', 'http://b']"));
        assertTrue(e.getMessage().contains("registry.no_proxy: wanted hosts"), e.getMessage());
    }

    @Test
    void dump_proxyWithAPassword_doesNotShowIt() throws Exception {
        String dump = parse("[registry]\nhttps_proxy = 'http://u:canary@p.lan'").dump();
        assertTrue(dump.contains("https_proxy = \"http://u:***@p.lan\"\n"), dump);
    }
}
