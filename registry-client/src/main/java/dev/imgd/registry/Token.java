package dev.imgd.registry;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Json;
import dev.imgd.model.JsonNode;
import dev.imgd.model.Limits;
import java.time.Duration;
import java.time.Instant;
import java.util.Optional;

/// An access token. **Source:** distribution docs/spec/auth/token.md.
///
/// @param expires when it is no longer used, a little before it ends
/// @param refreshToken replaces the identity token it was fetched with; empty for none
record Token(String value, Instant expires, String refreshToken) {
    private static final long DEFAULT_SECONDS = 60;
    private static final long MAX_SECONDS = 86_400;

    /// Reads the answer of a token server.
    static Token parse(String what, byte[] answer, Instant now, Limits limits)
            throws ImageException {
        JsonNode json = Json.parse(what, answer);
        String value = json.text("token", "");
        if (value.isEmpty()) {
            value = json.text("access_token", "");
        }
        check(what, value, limits);
        long seconds = seconds(json.find("expires_in"));
        Duration usable = Duration.ofSeconds(seconds - Math.min(10, seconds / 10));
        String refresh = json.text("refresh_token", "");
        if (!refresh.isEmpty()) {
            check(what + ": refresh token", refresh, limits);
        }
        return new Token(value, now.plus(usable), refresh);
    }

    private static long seconds(Optional<JsonNode> expiresIn) {
        if (expiresIn.isEmpty()) {
            return DEFAULT_SECONDS;
        }
        try {
            return Math.clamp(
                    expiresIn.get().integer(Long.MIN_VALUE, Long.MAX_VALUE), 1, MAX_SECONDS);
        } catch (ImageException e) {
            // Not an integer: the token is still good for the time every token is.
            return DEFAULT_SECONDS;
        }
    }

    /// Refuses what cannot stand in a header.
    static void check(String what, String value, Limits limits) throws ImageException {
        limits.check(Limits.Key.TOKEN_BYTES, what + ": the token", value.length());
        boolean fine = !value.isEmpty();
        for (int i = 0; fine && i < value.length(); i++) {
            fine = value.charAt(i) > 0x20 && value.charAt(i) < 0x7f;
        }
        if (!fine) {
            throw new ImageException(
                    ErrorKind.UNAUTHENTICATED, what + ": the token is missing or not printable");
        }
    }

    @Override
    public String toString() {
        return "token until " + expires;
    }
}
