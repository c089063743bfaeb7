package dev.imgd.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class TokenTest {
    private static final Instant NOW = Instant.parse("2026-11-23T12:00:00Z");

    private static Token parse(String json) throws ImageException {
        return Token.parse("token", json.getBytes(StandardCharsets.UTF_8), NOW, Limits.defaults());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "{\"token\":\"a.b-c\"} | 54",
                "{\"access_token\":\"a.b-c\",\"expires_in\":300} | 290",
                "{\"token\":\"a.b-c\",\"access_token\":\"other\",\"expires_in\":5} | 5",
                "{\"token\":\"a.b-c\",\"expires_in\":0} | 1",
                "{\"token\":\"a.b-c\",\"expires_in\":-9} | 1",
                "{\"token\":\"a.b-c\",\"expires_in\":99999999999} | 86390",
                "{\"token\":\"a.b-c\",\"expires_in\":3600.5} | 54",
                "{\"token\":\"a.b-c\",\"expires_in\":\"300\"} | 54",
                "{\"token\":\"a.b-c\",\"expires_in\":null,\"issued_at\":\"x\"} | 54",
            })
    void parse_answers_givesTokenAndItsTime(String json, long seconds) throws Exception {
        assertEquals(new Token("a.b-c", NOW.plusSeconds(seconds), ""), parse(json));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "{}",
                "[]",
                "\"token\"",
                "{\"token\":\"\"}",
                "{\"token\":17}",
                "{\"token\":\"canary canary\"}",
                "{\"token\":\"canary\\r\\nX-Evil: 1\"}",
                "{\"token\":\"canary\\u0000\"}",
                "{\"token\":\"canaryü\"}",
                "{\"token\":\"canary\",\"token\":\"b\"}",
                "{\"token\":\"canary\"}{}",
                "{\"token\":\"canary\"",
            })
    void parse_unusableAnswer_isRefusedWithoutRepeatingIt(String json) {
        var e = assertThrows(ImageException.class, () -> parse(json));
        assertFalse(e.getMessage().contains("canary"), e.getMessage());
    }

    @Test
    void parse_tokenLongerThan64KiB_isRefused() {
        String json = "{\"token\":\"" + "a".repeat((64 << 10) + 1) + "\"}";
        var e = assertThrows(ImageException.class, () -> parse(json));
        assertTrue(e.getMessage().contains("limits.token_bytes"), e.getMessage());
    }

    @Test
    void toString_token_isNotShown() throws Exception {
        assertFalse(parse("{\"token\":\"canary\"}").toString().contains("canary"));
    }
}
