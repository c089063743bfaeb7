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
                        [store]
                        cache = "32MiB"
                        ingest_ttl = "90m"
                        [gc]
                        interval = "0s"
                        [log]
                        format = "json"
                        level = "debug"
                        [limits]
                        tar_entries = 10
                        layer_uncompressed_bytes = "1GiB"
                        """);
        assertEquals(Path.of("/r"), config.root());
        assertEquals(Path.of("/a.sock"), config.address());
        assertEquals(Path.of("/s.sock"), config.snapshotterAddress());
        assertTrue(config.accelerate());
        assertEquals(7, config.fetches());
        assertEquals(3, config.unpacks());
        assertEquals(Set.of("registry.lan:5000"), config.plainHttp());
        assertEquals(32L << 20, config.cacheBytes());
        assertEquals(Duration.ofMinutes(90), config.ingestTtl());
        assertEquals(Duration.ZERO, config.gcInterval());
        assertTrue(config.logJson());
        assertEquals("debug", config.logLevel());
        assertEquals(10, config.limits().value(Limits.Key.TAR_ENTRIES));
        assertEquals(1L << 30, config.limits().value(Limits.Key.LAYER_UNCOMPRESSED_BYTES));
    }

    @Test
    void dump_parsedAgain_isTheSame() throws Exception {
        Config config = Config.defaults().withPlainHttp(Set.of("a:1")).withAccelerate(true);
        assertEquals(config.dump(), parse(config.dump()).dump());
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
        Config.documentation()
                .forEach(
                        (key, text) -> {
                            String shown =
                                    text.getFirst().startsWith("the ")
                                            ? text.getFirst()
                                            : "`" + text.getFirst() + "`";
                            rows.add("| `%s` | %s | %s |".formatted(key, shown, text.getLast()));
                        });
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
