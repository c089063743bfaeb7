package dev.imgd.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ChallengeTest {
    private static List<Challenge> parse(String... headers) throws ImageException {
        return Challenge.parse(List.of(headers), "registry.example", Limits.defaults());
    }

    @Test
    void parse_bearerOfDockerHub_hasAllParameters() throws Exception {
        assertEquals(
                List.of(
                        new Challenge(
                                "bearer",
                                Map.of(
                                        "realm", "https://auth.docker.io/token",
                                        "service", "registry.docker.io",
                                        "scope", "repository:library/debian:pull,push"))),
                parse(
                        "Bearer realm=\"https://auth.docker.io/token\","
                                + "service=\"registry.docker.io\","
                                + "scope=\"repository:library/debian:pull,push\""));
    }

    @Test
    void parse_severalChallengesInOneHeader_splitsThem() throws Exception {
        assertEquals(
                List.of(
                        new Challenge("negotiate", Map.of()),
                        new Challenge("basic", Map.of("realm", "a, b=\"c\"")),
                        new Challenge("bearer", Map.of("realm", "x", "service", "y"))),
                parse("Negotiate, Basic realm=\"a, b=\\\"c\\\"\", BEARER realm=x , Service = y"));
    }

    @Test
    void parse_severalHeaders_keepsTheirOrder() throws Exception {
        assertEquals(
                List.of(
                        new Challenge("basic", Map.of("realm", "one")),
                        new Challenge("negotiate", Map.of()),
                        new Challenge("digest", Map.of("nonce", "n"))),
                parse("Basic realm=one", "Negotiate YIIJvwYGKwYBBQUCoIIJ==, Digest nonce=\"n\""));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "Bearer realm=\"unterminated",
                "Bearer realm=\"a\",realm=\"b\"",
                "Bearer realm=\"a\" service=\"b\"",
                "Bearer realm=\"a\u0007\"",
                "Bearer realm=\"\\\r\n\"",
                "Bearer realm=,service=x",
                "=\"a\"",
                "\"Bearer\"",
                "Bearer(x)",
            })
    void parse_malformed_isRefused(String header) {
        var e = assertThrows(ImageException.class, () -> parse(header));
        assertEquals(ErrorKind.UNAUTHENTICATED, e.kind());
        assertTrue(e.getMessage().contains("registry.example"), e.getMessage());
        assertFalse(e.getMessage().contains("\n"), e.getMessage());
    }

    @Test
    void parse_longerThanEightKibibytes_isRefused() {
        String header = "Bearer realm=\"" + "a".repeat(8 << 10) + '"';
        assertThrows(ImageException.class, () -> parse(header));
    }

    @Test
    void parse_tooManyChallenges_isRefused() {
        assertThrows(ImageException.class, () -> parse("Basic,".repeat(17)));
    }

    @Test
    void parse_empty_isNoChallenge() throws Exception {
        assertEquals(List.of(), parse("", " , ,"));
    }

    @Test
    void parse_anyText_endsWithChallengesOrImageException() {
        String alphabet = "Bearer basic=\",\\ \t;:/.abz09-~+\r\n\u0000ü";
        for (int seed = 0; seed < 5_000; seed++) {
            Random random = new Random(seed);
            StringBuilder header = new StringBuilder();
            for (int i = random.nextInt(40); i > 0; i--) {
                header.append(alphabet.charAt(random.nextInt(alphabet.length())));
            }
            try {
                for (Challenge challenge : parse(header.toString())) {
                    assertFalse(challenge.scheme().isEmpty(), "seed " + seed);
                }
            } catch (ImageException e) {
                assertEquals(ErrorKind.UNAUTHENTICATED, e.kind(), "seed " + seed);
            }
        }
    }
}
