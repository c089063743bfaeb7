package dev.imgd.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.function.Executable;

/// What every error must be: of the right class, on one line, and about the right thing.
final class Errors {
    private Errors() {}

    static ImageException assertFails(ErrorKind kind, String messagePart, Executable call) {
        ImageException e = assertThrows(ImageException.class, call);
        assertEquals(kind, e.kind(), e::getMessage);
        assertOneLine(e);
        assertTrue(
                e.getMessage().contains(messagePart),
                () -> "wanted \"" + messagePart + "\" in: " + e.getMessage());
        return e;
    }

    static void assertOneLine(ImageException e) {
        String message = e.getMessage();
        assertFalse(message.isEmpty());
        assertTrue(
                message.chars().noneMatch(Character::isISOControl),
                () -> "control characters in: " + message);
    }
}
