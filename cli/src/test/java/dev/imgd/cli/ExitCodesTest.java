package dev.imgd.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.RegistryException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.channels.ClosedByInterruptException;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.NoSuchFileException;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

class ExitCodesTest {
    /// As `docs/imgctl.md` promises them to scripts.
    private static final Map<ErrorKind, Integer> CODES = new EnumMap<>(ErrorKind.class);

    static {
        CODES.put(ErrorKind.UNKNOWN, 1);
        CODES.put(ErrorKind.INVALID_ARGUMENT, 2);
        CODES.put(ErrorKind.NOT_FOUND, 3);
        CODES.put(ErrorKind.ALREADY_EXISTS, 8);
        CODES.put(ErrorKind.PERMISSION_DENIED, 4);
        CODES.put(ErrorKind.RESOURCE_EXHAUSTED, 1);
        CODES.put(ErrorKind.FAILED_PRECONDITION, 8);
        CODES.put(ErrorKind.ABORTED, 1);
        CODES.put(ErrorKind.OUT_OF_RANGE, 1);
        CODES.put(ErrorKind.NOT_IMPLEMENTED, 1);
        CODES.put(ErrorKind.INTERNAL, 1);
        CODES.put(ErrorKind.UNAVAILABLE, 6);
        CODES.put(ErrorKind.UNTRUSTED, 6);
        CODES.put(ErrorKind.DATA_LOSS, 5);
        CODES.put(ErrorKind.UNAUTHENTICATED, 4);
        CODES.put(ErrorKind.CANCELLED, 130);
        CODES.put(ErrorKind.DEADLINE_EXCEEDED, 6);
        CODES.put(ErrorKind.RATE_LIMITED, 7);
        CODES.put(ErrorKind.NO_SPACE, 9);
        CODES.put(ErrorKind.LIMIT_EXCEEDED, 5);
        CODES.put(ErrorKind.INVALID_CONTENT, 5);
        CODES.put(ErrorKind.LOCKED, 8);
    }

    private static Cli failing(Exception e, String... args) {
        return Cli.run(
                options -> {
                    switch (e) {
                        case ImageException known -> throw known;
                        case RuntimeException unexpected -> throw unexpected;
                        default -> throw new UncheckedIOException((IOException) e);
                    }
                },
                args);
    }

    @ParameterizedTest
    @EnumSource
    void error_ofEachKind_hasItsCodeOneLineAndJson(ErrorKind kind) throws Exception {
        ImageException e = new ImageException(kind, "what failed: wanted \"1\", got 2\nand more");
        Cli text = failing(e, "ls");
        assertEquals(CODES.get(kind), text.exit());
        assertEquals("", text.out());
        assertEquals("imgctl: what failed: wanted \"1\", got 2\n", text.err());

        Cli json = failing(e, "ls", "-o", "json");
        assertEquals(CODES.get(kind), json.exit());
        assertEquals("", json.out());
        assertEquals(
                "{\"code\":\"%s\",\"message\":\"what failed: wanted \\\"1\\\", got 2\",\"retryable\":%s}"
                        .formatted(kind, kind.retryable()),
                Cli.compact(json.err()));
    }

    @Test
    void registryError_json_hasItsDetails() throws Exception {
        RegistryException e =
                new RegistryException(
                        ErrorKind.NOT_FOUND,
                        "r/a: not found",
                        404,
                        List.of(new RegistryException.Detail("NAME_UNKNOWN", "no such \"name\"")),
                        null);
        assertEquals(
                """
                {"code":"NOT_FOUND","message":"r/a: not found","retryable":false,\
                "registryErrors":[{"code":"NAME_UNKNOWN","message":"no such \\"name\\""}]}""",
                Cli.compact(failing(e, "ls", "-o", "json").err()));
    }

    @Test
    void registryError_withoutDetails_hasNoListOfThem() throws Exception {
        RegistryException e =
                new RegistryException(ErrorKind.UNAVAILABLE, "r/a: no answer", 0, List.of(), null);
        assertEquals(
                "{\"code\":\"UNAVAILABLE\",\"message\":\"r/a: no answer\",\"retryable\":true}",
                Cli.compact(failing(e, "ls", "-o", "json").err()));
    }

    static Stream<Arguments> otherExceptions() {
        return Stream.of(
                Arguments.of(new NoSuchFileException("/f"), 3, "/f: no such file or directory"),
                Arguments.of(new AccessDeniedException("/f"), 4, "/f: permission denied"),
                Arguments.of(new ClosedByInterruptException(), 130, "interrupted"),
                Arguments.of(
                        new IOException("No space left on device"), 9, "No space left on device"),
                Arguments.of(new IOException("disk on fire"), 1, "disk on fire"),
                Arguments.of(
                        new IllegalStateException("bug"), 1, "unexpected error, please report it"));
    }

    @ParameterizedTest
    @MethodSource("otherExceptions")
    void otherException_isAKnownKind(Exception e, int code, String message) {
        Cli run = failing(e, "ls");
        assertEquals(code, run.exit());
        assertTrue(run.err().startsWith("imgctl: " + message), run.err());
        assertEquals(1, run.err().lines().count(), run.err());
    }

    @Test
    void debug_addsTheStack() {
        Cli run = failing(ImageException.notFound("nothing"), "--debug", "ls");
        assertTrue(run.err().startsWith("imgctl: nothing\n"), run.err());
        assertTrue(run.err().contains("\tat dev.imgd."), run.err());
    }

    private static String daemonSays(Exception e, int code) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        assertEquals(code, Imgd.report(e, new PrintStream(out, true, StandardCharsets.UTF_8)));
        return out.toString(StandardCharsets.UTF_8);
    }

    @ParameterizedTest
    @MethodSource("otherExceptions")
    void otherException_ofTheDaemon_beginsWithTheSameLine(Exception e, int code, String message) {
        String err =
                daemonSays(e instanceof IOException io ? new UncheckedIOException(io) : e, code);
        assertTrue(err.startsWith("imgd: " + message), err);
        assertEquals(code == 1, err.contains("\tat dev.imgd."), err);
        assertEquals(code != 1, err.lines().count() == 1, err);
    }

    @Test
    void error_ofTheDaemon_isOneLine() {
        assertEquals(
                "imgd: what failed: wanted 1\n",
                daemonSays(ImageException.invalidArgument("what failed: wanted 1\nand more"), 2));
        String unexpected = daemonSays(new IllegalStateException("bug"), 1);
        assertEquals(
                "imgd: unexpected error, please report it with what follows:"
                        + " java.lang.IllegalStateException: bug",
                unexpected.lines().findFirst().orElseThrow());
    }
}
