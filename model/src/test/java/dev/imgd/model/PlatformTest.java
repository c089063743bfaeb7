package dev.imgd.model;

import static dev.imgd.model.Errors.assertFails;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class PlatformTest {
    @ParameterizedTest
    @CsvSource({
        "linux/arm64, linux, arm64, '', '', linux/arm64",
        "linux/arm64/v8, linux, arm64, v8, '', linux/arm64/v8",
        "linux/arm64/8, linux, arm64, v8, '', linux/arm64/v8",
        "linux/arm64/v8.1, linux, arm64, v8.1, '', linux/arm64/v8.1",
        "linux/aarch64, linux, arm64, '', '', linux/arm64",
        "linux/arm, linux, arm, '', '', linux/arm",
        "linux/armhf, linux, arm, '', '', linux/arm",
        "linux/arm/v6, linux, arm, v6, '', linux/arm/v6",
        "linux/arm/7, linux, arm, v7, '', linux/arm/v7",
        "armel, linux, arm, v6, '', linux/arm/v6",
        "armhf, linux, arm, '', '', linux/arm",
        "Aarch64, linux, arm64, '', '', linux/arm64",
        "x86_64, linux, amd64, '', '', linux/amd64",
        "Linux/x86-64, linux, amd64, '', '', linux/amd64",
        "linux/amd64/v1, linux, amd64, '', '', linux/amd64",
        "linux/amd64/v3, linux, amd64, v3, '', linux/amd64/v3",
        "i386, linux, 386, '', '', linux/386",
        "s390x, linux, s390x, '', '', linux/s390x",
        "macOS/arm64, darwin, arm64, '', '', darwin/arm64",
        "plan10/z80, plan10, z80, '', '', plan10/z80",
        "windows()/amd64, windows, amd64, '', '', windows/amd64",
        "windows(10.0.17763)/amd64, windows, amd64, '', 10.0.17763, windows(10.0.17763)/amd64",
        "windows(10.0.17763%2Bbuild.42)/amd64, windows, amd64, '', 10.0.17763+build.42,"
                + " windows(10.0.17763%2Bbuild.42)/amd64",
        "windows(50%25done)/amd64, windows, amd64, '', 50%done, windows(50%25done)/amd64",
    })
    void parse_valid_isNormal(
            String text,
            String os,
            String architecture,
            String variant,
            String version,
            String shown)
            throws Exception {
        Platform platform = Platform.parse(text);
        assertEquals(new Platform(os, architecture, variant, version, List.of()), platform);
        assertEquals(shown, platform.toString());
        assertEquals(platform, Platform.parse(platform.toString()));
    }

    @Test
    void parse_osAlone_hasTheHostsArchitecture() throws Exception {
        String host = Platform.host().architecture();
        assertEquals(new Platform("linux", host, ""), Platform.parse("linux"));
        assertEquals(new Platform("darwin", host, ""), Platform.parse("macOS"));
        assertEquals(
                new Platform("windows", host, "", "10.0.17763", List.of("win32k")),
                Platform.parse("windows(10.0.17763+win32k)"));
        assertFalse(host.isEmpty());
        assertEquals(Platform.host(), Platform.parse(Platform.host().toString()));
    }

    @Test
    void parse_features_areSortedAndDecoded() throws Exception {
        Platform platform = Platform.parse("linux(+unsorted+erofs+a%2Fb+erofs)/amd64");
        assertEquals(List.of("a/b", "erofs", "unsorted"), platform.osFeatures());
        assertEquals("linux(+a%2Fb+erofs+unsorted)/amd64", platform.toString());
        assertEquals("linux/amd64", platform.format());
        assertEquals(
                "windows(1.0%28beta%29+feat%2Bv2)/amd64",
                new Platform("windows", "amd64", "", "1.0(beta)", List.of("feat+v2")).toString());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "/",
                "linux/",
                "/amd64",
                "linux/amd64/",
                "linux/amd64/v2/x",
                "linux/a b",
                "*",
                "linux/*",
                "nosuchthing",
                "unknown",
                "linux(/amd64",
                "linux(1.0/amd64",
                "linux(1.0)x/amd64",
                "linux(a+)/amd64",
                "linux(++a)/amd64",
                "linux(a(b))/amd64",
                "linux(%2)/amd64",
                "linux(%zz)/amd64",
                "linux(%)/amd64",
                "linux/amd64\n",
                "linux(a b)/amd64",
                "(1.0)/amd64",
            })
    void parse_invalid_fails(String text) {
        assertFails(ErrorKind.INVALID_ARGUMENT, "platform \"", () -> Platform.parse(text));
    }

    @Test
    void parse_tooLong_fails() {
        assertFails(
                ErrorKind.INVALID_ARGUMENT,
                "longer than",
                () -> Platform.parse("a/".repeat(1 << 20)));
    }

    @ParameterizedTest
    @CsvSource({
        "Linux, AMD64, V1, linux/amd64",
        "'', amd64, '', linux/amd64",
        "macos, x86_64, v2, darwin/amd64/v2",
        "linux, i386, v3, linux/386",
        "linux, aarch64, v8.0, linux/arm64",
        "linux, arm64, 9.0, linux/arm64/v9",
        "linux, arm64, v8.2, linux/arm64/v8.2",
        "linux, arm, '', linux/arm/v7",
        "linux, arm, 5, linux/arm/v5",
        "linux, armhf, v6, linux/arm/v7",
        "linux, armel, '', linux/arm/v6",
        "linux, riscv64, '', linux/riscv64",
    })
    void normalized_replacesSynonyms(
            String os, String architecture, String variant, String wanted) {
        Platform platform = new Platform(os, architecture, variant).normalized();
        assertEquals(wanted, platform.toString());
        assertEquals(platform, platform.normalized());
    }

    @Test
    void toString_hostileText_isPrintable() {
        String shown = new Platform("li\u001b[2Jnux", "a".repeat(10_000), "\n").toString();
        assertTrue(shown.startsWith("li\\u001b[2Jnux/aaa"), shown);
        assertTrue(shown.length() < 200, shown);
        assertEquals("unknown", new Platform("", "", "").toString());
        assertTrue(new Platform("unknown", "unknown", "").isUnknown());
    }
}
