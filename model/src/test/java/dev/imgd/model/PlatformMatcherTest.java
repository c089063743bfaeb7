package dev.imgd.model;

import static dev.imgd.model.Errors.assertFails;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PlatformMatcherTest {
    @ParameterizedTest
    @CsvSource({
        "linux/amd64, linux/amd64 linux/386,"
                + " linux/amd64/v2 linux/arm/v7 linux/arm64 windows/amd64 windows/arm",
        "linux/amd64/v2, linux/amd64/v2 linux/amd64 linux/386,"
                + " linux/amd64/v3 linux/amd64/v4 linux/arm/v7 linux/arm64 windows/amd64",
        "linux/386, linux/386, linux/amd64 linux/arm/v7 linux/arm64 windows/amd64",
        "windows/amd64, windows/amd64 windows(10.0.17763)/amd64,"
                + " linux/amd64 linux/arm/v7 linux/arm64 windows/arm",
        "linux/arm/v8, linux/arm/v8 linux/arm linux/arm/v6 linux/arm/v5,"
                + " linux/amd64 linux/arm/v4 linux/arm64 windows/arm",
        "linux/arm/v7, linux/arm linux/arm/v6 linux/arm/v5,"
                + " linux/amd64 linux/arm/v4 linux/arm/v8 linux/arm64",
        "linux/arm/v6, linux/arm/v6 linux/arm/v5,"
                + " linux/arm linux/arm/v4 linux/arm/v7 linux/arm/v8 linux/arm64",
        "linux/arm/v4, linux/arm/v4, linux/arm linux/arm/v5 linux/arm64",
        "linux/arm64/v9.6, linux/arm64/v9.6 linux/arm64/v9.1 linux/arm64/v9 linux/arm64/v8.9"
                + " linux/arm64/v8.1 linux/arm64 linux/arm/v8 linux/arm linux/arm/v6 linux/arm/v5,"
                + " linux/amd64 linux/arm/v4 linux/arm64/v9.7 linux/arm64/v8.10",
        "linux/arm64/v9, linux/arm64/v9 linux/arm64/v8.5 linux/arm64/v8.1 linux/arm64 linux/arm/v8"
                + " linux/arm linux/arm/v6 linux/arm/v5,"
                + " linux/arm64/v8.6 linux/arm64/v9.1 linux/arm/v4",
        "linux/arm64/v8.1, linux/arm64/v8.1 linux/arm64 linux/arm/v8 linux/arm linux/arm/v6"
                + " linux/arm/v5,"
                + " linux/arm/v9 linux/arm64/v9 linux/arm64/v8.2",
        "linux/arm64, linux/arm64 linux/arm/v8 linux/arm linux/arm/v6 linux/arm/v5,"
                + " linux/arm64/v8.1 linux/arm/v4 linux/arm64/v9",
        "linux(+gpu+simd)/amd64, linux(+gpu+simd)/amd64 linux(+gpu)/amd64 linux/amd64"
                + " linux(+simd)/386 linux/386, linux(+fpga)/amd64 linux(+fpga+gpu)/amd64",
        "windows(10.0.17763)/amd64, windows(10.0.17763.99)/amd64 windows(10.0.17763+win32k)/amd64,"
                + " windows(10.0.17764)/amd64 windows(10.1.17763)/amd64 windows(x)/amd64",
        "windows(10.0.26100)/amd64, windows(10.0.20348)/amd64 windows(10.0.25398)/amd64"
                + " windows(10.0.26100)/amd64, windows(10.0.20347)/amd64 windows(10.0.26101)/amd64",
        "windows(10.0.27000)/amd64, windows(10.0.26100)/amd64 windows(10.0.26999)/amd64,"
                + " windows(10.0.20348)/amd64",
    })
    void matches_onlyWhatThePlatformRuns(String host, String runs, String refuses)
            throws Exception {
        PlatformMatcher matcher = PlatformMatcher.only(Platform.parse(host));
        for (String image : runs.split(" ")) {
            assertEquals(true, matcher.matches(Platform.parse(image)), image);
        }
        for (String image : refuses.split(" ")) {
            assertEquals(false, matcher.matches(Platform.parse(image)), image);
        }
        if (!host.startsWith("windows")) {
            List<String> shuffled = new ArrayList<>(List.of((runs + " " + refuses).split(" ")));
            shuffled.sort(Comparator.comparing(String::hashCode));
            List<String> order = new ArrayList<>();
            for (Descriptor one : matcher.candidates(index(shuffled))) {
                order.add(one.annotations().get("written"));
            }
            assertEquals(List.of(runs.split(" ")), order);
        }
    }

    private static Index index(List<String> platforms) throws ImageException {
        List<Descriptor> entries = new ArrayList<>();
        for (String platform : platforms) {
            entries.add(
                    new Descriptor(
                            MediaType.OCI_MANIFEST,
                            Digest.sha256(
                                    platform.getBytes(java.nio.charset.StandardCharsets.US_ASCII)),
                            1,
                            Map.of("written", platform),
                            List.of(),
                            Optional.of(Platform.parse(platform)),
                            Optional.empty(),
                            Optional.empty()));
        }
        return new Index(
                Samples.bytes("{}"),
                MediaType.OCI_INDEX,
                entries,
                Optional.empty(),
                Optional.empty(),
                Map.of());
    }

    private static List<String> candidates(String platform) throws ImageException {
        Index index = Index.parse("index", Samples.MULTI_PLATFORM_INDEX, Optional.empty());
        List<String> digits = new ArrayList<>();
        for (Descriptor one : PlatformMatcher.only(Platform.parse(platform)).candidates(index)) {
            digits.add(one.digest().hex().substring(63));
        }
        return digits;
    }

    @Test
    void candidates_bestFirstAndWithoutPlatformLast() throws Exception {
        assertEquals(List.of("5", "3", "2"), candidates("linux/amd64"));
        assertEquals(List.of("4", "5", "3", "2"), candidates("linux(+gpu)/amd64"));
        assertEquals(List.of("7", "6", "2"), candidates("linux/arm64"));
        assertEquals(List.of("9", "2"), candidates("windows/amd64"));
        assertEquals(List.of("2"), candidates("linux/s390x"));
        assertEquals(List.of("2"), candidates("unknown/unknown"));
    }

    @Test
    void best_isTheFirstCandidate() throws Exception {
        Index index = Index.parse("index", Samples.MULTI_PLATFORM_INDEX, Optional.empty());
        assertEquals(
                Optional.of(index.manifests().get(4)),
                PlatformMatcher.best(index, Platform.parse("linux/amd64")));
        assertEquals(
                Optional.empty(),
                PlatformMatcher.best(index(List.of("linux/arm64")), Platform.parse("linux/amd64")));
    }

    @Test
    void noMatch_listsWhatIsOffered() throws Exception {
        Index index = Index.parse("index", Samples.MULTI_PLATFORM_INDEX, Optional.empty());
        PlatformMatcher matcher = PlatformMatcher.only(Platform.parse("linux/s390x"));
        assertFails(
                ErrorKind.NOT_FOUND,
                "a:1: no image for the platform: wanted linux/s390x, got linux/386,"
                        + " linux(+gpu)/amd64, linux/amd64, linux/arm/v6, linux/arm64/v8, windows(10.0.17763.1)/amd64;"
                        + " choose one with --platform",
                () -> {
                    throw matcher.noMatch("a:1", PlatformMatcher.offered(index));
                });
    }

    @Test
    void matches_noOsInTheImage_meansLinux() throws Exception {
        PlatformMatcher matcher = PlatformMatcher.only(Platform.parse("linux/amd64"));
        assertEquals(true, matcher.matches(new Platform("", "amd64", "")));
        assertEquals(false, matcher.matches(new Platform("", "", "")));
        assertEquals(false, matcher.matches(new Platform("unknown", "unknown", "")));
    }
}
