package dev.imgd.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.RegistryException;
import java.nio.charset.StandardCharsets;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Random;
import java.util.Set;
import okhttp3.HttpUrl;
import org.junit.jupiter.api.Test;

/// Seeded mutations of what servers say outside of manifests: whatever comes in, only an
/// [ImageException] comes out, on one line, and soon.
class AnswerFuzzTest {
    private static final int ROUNDS = 20_000;
    private static final Duration SOON = Duration.ofMinutes(1);

    @FunctionalInterface
    private interface Parser {
        void parse(String input) throws ImageException;
    }

    private static final List<String> PIECES =
            List.of(
                    "\"",
                    "\\",
                    "\\\"",
                    ",",
                    "=",
                    " ",
                    "\t",
                    "\r\n",
                    "\0",
                    ";",
                    "Bearer ",
                    "Basic",
                    "realm=",
                    "scope=",
                    "http://",
                    "https://",
                    "//",
                    "@",
                    "#",
                    "?",
                    "[",
                    "]",
                    "{",
                    "}",
                    ":",
                    "-",
                    "/",
                    "*",
                    "%",
                    "%00",
                    "..",
                    "null",
                    "1e9",
                    "-1",
                    "\ud800",
                    "9223372036854775808",
                    "\u00e9",
                    "\u202e",
                    "127.0.0.1",
                    "169.254.169.254");

    private static String mutate(List<String> seeds, Random random) {
        String text = seeds.get(random.nextInt(seeds.size()));
        for (int edits = random.nextInt(5); edits >= 0; edits--) {
            int from = random.nextInt(text.length() + 1);
            int to = Math.min(text.length(), from + random.nextInt(8));
            String cut = text.substring(from, to);
            String piece = PIECES.get(random.nextInt(PIECES.size()));
            String put =
                    switch (random.nextInt(5)) {
                        case 0 -> "";
                        case 1 -> piece;
                        case 2 -> cut + cut;
                        case 3 -> piece.repeat(random.nextInt(1, 300));
                        default -> String.valueOf((char) random.nextInt(0x180)) + cut;
                    };
            text = text.substring(0, from) + put + text.substring(to);
        }
        return text;
    }

    /// Feeds mutations; both outcomes must occur, or nothing was tested.
    private static void check(long seed, List<String> seeds, Parser parser) {
        Random random = new Random(seed);
        assertTimeoutPreemptively(
                SOON,
                () -> {
                    int accepted = 0;
                    for (int round = 0; round < ROUNDS; round++) {
                        String input = mutate(seeds, random);
                        try {
                            parser.parse(input);
                            accepted++;
                        } catch (ImageException e) {
                            assertEquals(1, e.getMessage().lines().count(), "round " + round);
                            assertTrue(e.getMessage().length() < 1_000, "round " + round);
                        } catch (RuntimeException | Error e) {
                            throw new AssertionError("round " + round + ": " + input, e);
                        }
                    }
                    assertTrue(accepted > 0 && accepted < ROUNDS, "accepted " + accepted);
                });
    }

    @Test
    void challenge_mutated_isChallengesOrRefused() {
        check(
                1,
                List.of(
                        "Bearer realm=\"https://auth.docker.io/token\",service=\"registry\"",
                        "Bearer realm=\"http://localhost/t\", scope=\"repository:a:pull,push\"",
                        "Negotiate YII=, Basic realm=\"a, b=\\\"c\\\"\", Digest nonce=x , qop=y",
                        "basic realm=none"),
                input -> {
                    for (Challenge challenge :
                            Challenge.parse(List.of(input), "host", Limits.defaults())) {
                        assertFalse(challenge.scheme().isEmpty());
                        for (String value : challenge.parameters().values()) {
                            assertTrue(value.chars().noneMatch(Character::isISOControl), value);
                        }
                    }
                });
    }

    @Test
    void realm_mutated_isAPublicServerOrRefused() {
        Realm realm = new Realm(HttpUrl.get("https://registry.example/v2"), Set.of());
        check(
                2,
                List.of(
                        "https://auth.example/token?service=a",
                        "https://registry.example:5000/",
                        "https://[2606:4700::1111]/token",
                        "https://8.8.8.8/token"),
                input -> {
                    HttpUrl url = realm.check(input, AddressRange.PUBLIC);
                    assertTrue(url.isHttps(), input);
                    assertEquals("", url.encodedUsername(), input);
                    assertEquals(AddressRange.PUBLIC, Urls.range(url.host()), input);
                });
    }

    @Test
    void token_mutated_isFitForAHeaderOrRefused() {
        Instant now = Instant.parse("2026-11-23T12:00:00Z");
        check(
                3,
                List.of(
                        "{\"token\":\"a.b-c\",\"expires_in\":300,\"issued_at\":\"2026\"}",
                        "{\"access_token\":\"eyJhbGciOi\",\"refresh_token\":\"r\"}"),
                input -> {
                    byte[] bytes = input.getBytes(StandardCharsets.ISO_8859_1);
                    Token token = Token.parse("token", bytes, now, Limits.defaults());
                    assertTrue(token.value().chars().allMatch(c -> c > 0x20 && c < 0x7f), input);
                    assertFalse(token.expires().isBefore(now), input);
                    assertFalse(token.expires().isAfter(now.plus(Duration.ofDays(1))), input);
                });
    }

    @Test
    void errorBody_mutated_isPrintableOrRefused() {
        check(
                4,
                List.of(
                        "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\",\"detail\":{}}]}",
                        "{\"errors\":[]}"),
                input -> {
                    byte[] bytes = input.getBytes(StandardCharsets.ISO_8859_1);
                    for (RegistryException.Detail detail : ErrorBody.parse(bytes)) {
                        String text = detail.code() + detail.message();
                        assertTrue(text.chars().noneMatch(Character::isISOControl), input);
                        assertTrue(text.length() < 1_200, input);
                    }
                });
    }

    @Test
    void contentRangeAndRetryAfter_mutated_areInRangeOrIgnored() {
        RetryPolicy retries =
                new RetryPolicy(
                        5,
                        Duration.ofMillis(200),
                        Duration.ofSeconds(60),
                        Clock.systemUTC(),
                        new Random(1));
        List<String> seeds =
                List.of(
                        "bytes 0-9/10",
                        "bytes 100-199/*",
                        "120",
                        "Fri, 31 Dec 1999 23:59:59 GMT",
                        "Fri, 31 Dec 2999 23:59:59 GMT");
        Random random = new Random(5);
        for (int round = 0; round < ROUNDS; round++) {
            String input = mutate(seeds, random);
            ContentRange range = ContentRange.parse(input);
            if (range != null) {
                assertTrue(range.first() >= 0 && range.first() <= range.last(), input);
                assertTrue(range.total() == -1 || range.last() < range.total(), input);
            }
            long delay = retries.delayMillis(1 + random.nextInt(100), input);
            assertTrue(delay >= 0 && delay <= 60_000, input);
        }
    }
}
