package dev.imgd.model;

import static dev.imgd.model.Errors.assertFails;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ImageConfigTest {
    private static ImageConfig parse(String json) throws ImageException {
        return ImageConfig.parse("doc", Samples.bytes(json), Optional.empty());
    }

    @Test
    void parse_emptyObject_isEmpty() throws Exception {
        ImageConfig config = parse("{}");
        assertEquals(new Platform("", "", ""), config.platform());
        assertEquals(List.of(), config.diffIds());
        assertEquals(List.of(), config.history());
        assertEquals(Optional.empty(), config.createdAt());
        assertEquals(List.of(), config.config().entrypoint());
    }

    @Test
    void parse_nullsEverywhere_areEmpty() throws Exception {
        ImageConfig nulls =
                parse(
                        """
                        {"os":null,"architecture":null,"variant":null,"os.features":null,
                         "created":null,
                         "author":null,"history":null,"rootfs":{"type":null,"diff_ids":null},
                         "config":{"User":null,"Env":null,"Entrypoint":null,"Cmd":null,
                          "Volumes":null,
                          "WorkingDir":null,"Labels":null,"ExposedPorts":null,
                          "StopSignal":null}}""");
        ImageConfig empty = parse("{}");
        assertEquals(empty.config(), nulls.config());
        assertEquals(empty.platform(), nulls.platform());
        assertEquals(empty.diffIds(), nulls.diffIds());
        assertEquals(empty, ImageConfigTest.withRaw(nulls, empty.raw()));
        assertEquals(empty.config(), parse("{\"config\":null,\"rootfs\":null}").config());
    }

    private static ImageConfig withRaw(ImageConfig config, Bytes raw) {
        return new ImageConfig(
                raw,
                config.platform(),
                config.created(),
                config.author(),
                config.config(),
                config.diffIds(),
                config.history());
    }

    @Test
    void parse_commandAsString_isAListOfOne() throws Exception {
        ImageConfig config =
                parse("{\"config\":{\"Entrypoint\":\"/run me\",\"Cmd\":[\"a\",null]}}");
        assertEquals(List.of("/run me"), config.config().entrypoint());
        assertEquals(List.of("a", ""), config.config().cmd());
    }

    @Test
    void parse_platform_hasAllParts() throws Exception {
        assertEquals(
                new Platform("windows", "arm", "v7", "10.0.17763", List.of("win32k")),
                parse(
                                """
                                {"os":"windows","architecture":"arm","variant":"v7",
                                 "os.version":"10.0.17763","os.features":["win32k"]}""")
                        .platform());
    }

    @Test
    void createdAt_notATime_isUnknown() throws Exception {
        assertEquals(Optional.empty(), parse("{\"created\":\"yesterday\"}").createdAt());
        assertEquals(
                java.time.Instant.parse("2020-01-01T10:00:00Z"),
                parse("{\"created\":\"2020-01-01T12:00:00+02:00\"}").createdAt().orElseThrow());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '\'',
            value = {
                "[] | doc: wanted an object",
                "{\"rootfs\":{\"type\":\"tar\"}} | rootfs.type: wanted \"layers\", got \"tar\"",
                "{\"rootfs\":{\"diff_ids\":[\"sha256:0\"]}} | rootfs.diff_ids[0]: digest",
                "{\"rootfs\":{\"diff_ids\":[null]}} | rootfs.diff_ids[0]: wanted a string, got null",
                "{\"config\":[]} | config: wanted an object",
                "{\"config\":{\"Env\":\"A=b\"}} | config.Env: wanted an array",
                "{\"config\":{\"User\":0}} | config.User: wanted a string",
                "{\"config\":{\"Labels\":[]}} | config.Labels: wanted an object",
                "{\"config\":{\"Cmd\":[1]}} | config.Cmd[0]: wanted a string",
                "{\"history\":[{\"empty_layer\":1}]} | history[0].empty_layer: wanted a boolean",
            })
    void parse_wrongShape_saysWhere(String json, String message) {
        assertFails(ErrorKind.INVALID_CONTENT, message, () -> parse(json));
    }

    @Test
    void parse_tooMuch_namesTheKey() {
        String labels = "{\"config\":{\"Labels\":{%s}}}";
        StringBuilder many = new StringBuilder("\"0\":\"\"");
        for (int i = 1; i <= 1024; i++) {
            many.append(",\"").append(i).append("\":\"\"");
        }
        record Case(String key, String json) {}
        for (Case one :
                List.of(
                        new Case("limits.config_labels", labels.formatted(many)),
                        new Case(
                                "limits.config_label_bytes",
                                labels.formatted("\"a\":\"" + "x".repeat(64 << 10) + "\"")),
                        new Case(
                                "limits.config_env",
                                "{\"config\":{\"Env\":[\"\"" + ",\"\"".repeat(4096) + "]}}"),
                        new Case(
                                "limits.config_history",
                                "{\"history\":[{}" + ",{}".repeat(2000) + "]}"),
                        new Case(
                                "limits.layers",
                                "{\"rootfs\":{\"diff_ids\":[\"\"" + ",\"\"".repeat(500) + "]}}"))) {
            assertFails(ErrorKind.LIMIT_EXCEEDED, "raise " + one.key + " ", () -> parse(one.json));
        }
    }

    @Test
    void parse_declaredAsLayer_fails() {
        assertFails(
                ErrorKind.INVALID_CONTENT,
                "wanted an image config",
                () ->
                        ImageConfig.parse(
                                "doc", Samples.OCI_CONFIG, Optional.of(MediaType.OCI_LAYER)));
    }

    @Test
    void checkLayers_otherCount_fails() throws Exception {
        Manifest manifest = Manifest.parse("m", Samples.OCI_MANIFEST, Optional.empty());
        assertFails(
                ErrorKind.INVALID_CONTENT,
                "a:1: the manifest has 1 layers, but the config has 0 diff_ids",
                () -> parse("{}").checkLayers("a:1", manifest));
    }
}
