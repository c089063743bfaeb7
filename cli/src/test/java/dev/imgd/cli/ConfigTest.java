package dev.imgd.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
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

    @Test
    void load_everyKey_isApplied() throws Exception {
        Config config =
                parse(
                        """
                        root = "/r"
                        [grpc]
                        address = "/a.sock"
                        [snapshotter]
                        address = "/s.sock"
                        mode = "accelerate"
                        [pull]
                        max_concurrent_downloads = 7
                        max_concurrent_unpacks = 3
                        [registry]
                        plain_http = ["registry.lan:5000"]
                        auth_file = "/auth.json"
                        [store]
                        cache = "32MiB"
                        ingest_ttl = "90m"
                        [gc]
                        interval = "0s"
                        full_interval = "1h"
                        provide_grace = "5s"
                        [log]
                        format = "json"
                        level = "debug"
                        [limits]
                        tar_entries = 10
                        layer_uncompressed_bytes = "1GiB"
                        """);
        assertEquals(Path.of("/r"), config.get(Config.ROOT));
        assertEquals(Path.of("/a.sock"), config.get(Config.ADDRESS));
        assertEquals(Path.of("/s.sock"), config.get(Config.SNAPSHOTTER_ADDRESS));
        assertEquals("accelerate", config.get(Config.SNAPSHOTTER_MODE));
        assertEquals(7, config.get(Config.CONCURRENT_DOWNLOADS));
        assertEquals(3, config.get(Config.CONCURRENT_UNPACKS));
        assertEquals(Set.of("registry.lan:5000"), config.get(Config.PLAIN_HTTP));
        assertEquals(Optional.of(Path.of("/auth.json")), config.get(Config.AUTH_FILE));
        assertEquals(Optional.empty(), parse("").get(Config.AUTH_FILE));
        assertEquals(32L << 20, config.get(Config.STORE_CACHE));
        assertEquals(Duration.ofMinutes(90), config.get(Config.INGEST_TTL));
        assertEquals(Duration.ZERO, config.get(Config.GC_INTERVAL));
        assertEquals(Duration.ofHours(1), config.get(Config.GC_FULL_INTERVAL));
        assertEquals(Duration.ofSeconds(5), config.get(Config.GC_PROVIDE_GRACE));
        assertEquals("json", config.get(Config.LOG_FORMAT));
        assertEquals("debug", config.get(Config.LOG_LEVEL));
        assertEquals(10, config.limits().value(Limits.Key.TAR_ENTRIES));
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
