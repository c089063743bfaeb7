package dev.imgd.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.registry.LoopbackServer;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.api.parallel.ResourceLock;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
@ResourceLock("System.in")
class LoginCommandsTest {
    /// `me:canary` in Basic authentication.
    private static final String RIGHT = "Basic bWU6Y2FuYXJ5";

    @TempDir Path directory;
    private final InputStream standardInput = System.in;
    private LoopbackServer registry;
    private Path file;
    private String out = "";
    private String err = "";

    @BeforeEach
    void start() throws IOException {
        file = directory.resolve("auth.json");
        registry =
                LoopbackServer.start(
                        exchange -> {
                            boolean fine =
                                    exchange.header("Authorization").orElse("").equals(RIGHT);
                            exchange.respond(
                                    fine ? 200 : 401,
                                    Map.of("WWW-Authenticate", "Basic realm=\"x\""),
                                    new byte[0]);
                        });
    }

    @AfterEach
    void stop() {
        registry.close();
        System.setIn(standardInput);
    }

    private int run(String input, String... args) throws IOException {
        System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
        List<String> all = new ArrayList<>(List.of(args));
        all.addAll(List.of("--authfile", file.toString()));
        all.addAll(List.of("--config", Files.writeString(directory.resolve("c"), "").toString()));
        ByteArrayOutputStream toOut = new ByteArrayOutputStream();
        ByteArrayOutputStream toErr = new ByteArrayOutputStream();
        int code =
                Imgctl.run(
                        all.toArray(new String[0]),
                        new PrintStream(toOut, true, StandardCharsets.UTF_8),
                        new PrintStream(toErr, true, StandardCharsets.UTF_8));
        out = toOut.toString(StandardCharsets.UTF_8);
        err = toErr.toString(StandardCharsets.UTF_8);
        assertFalse(out.contains("canary") || err.contains("canary"), "a secret was shown");
        return code;
    }

    @Test
    void login_rightPassword_isKeptUsedAndForgotten() throws Exception {
        String name = registry.authority();
        assertEquals(0, run("canary\n", "login", "-u", "me", name), () -> err);
        assertTrue(out.contains(file.toString()), out);
        assertEquals(
                "rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(file)));

        assertEquals(0, run("", "whoami", "--check", name), () -> err);
        assertTrue(out.startsWith("me (from "), out);
        assertEquals(0, run("", "whoami", "--output", "json", name), () -> err);
        assertTrue(out.contains("\"username\": \"me\""), out);

        assertEquals(0, run("", "logout", name), () -> err);
        int notFound = ErrorKind.NOT_FOUND.exitCode();
        assertEquals(notFound, run("", "whoami", name));
        assertEquals(notFound, run("", "logout", name));
        assertTrue(err.contains("not logged in to " + name), err);
    }

    @Test
    void login_wrongPassword_isRefusedAndNotKept() throws Exception {
        int code = run("other", "login", "-u", "me", registry.authority());
        assertEquals(ErrorKind.UNAUTHENTICATED.exitCode(), code);
        assertTrue(err.contains("nothing was stored"), err);
        assertFalse(Files.exists(file));
    }

    @Test
    void login_registryForEverybody_warns() throws Exception {
        try (LoopbackServer open =
                LoopbackServer.start(exchange -> exchange.respond(200, Map.of(), new byte[0]))) {
            assertEquals(0, run("canary", "login", "-u", "me", open.authority()), () -> err);
            assertTrue(err.contains("nothing could be checked"), err);
        }
    }

    @Test
    void login_withoutNameOrPassword_saysWhatIsMissing() throws Exception {
        assertEquals(2, run("canary", "login", registry.authority()));
        assertTrue(err.contains("say --username NAME, with the password on standard input"), err);
        int invalid = ErrorKind.INVALID_ARGUMENT.exitCode();
        assertEquals(invalid, run("\n", "login", "-u", "me", registry.authority()));
        assertTrue(err.contains("no password"), err);
        assertEquals(invalid, run("canary", "login", "-u", "a:b", registry.authority()));
        assertFalse(Files.exists(file));
    }

    @ParameterizedTest
    @ValueSource(strings = {"-p canary", "-pcanary", "--password=canary", "--password canary"})
    void login_passwordOnTheCommandLine_isRefusedWithoutBeingShown(String words) throws Exception {
        List<String> line = new ArrayList<>(List.of("login", "-u", "me", registry.authority()));
        line.addAll(List.of(words.split(" ")));
        int code = run("", line.toArray(String[]::new));
        assertEquals(ErrorKind.INVALID_ARGUMENT.exitCode(), code);
        assertTrue(err.contains("list of processes"), err);
        assertTrue(err.contains("--password-stdin < FILE"), err);
        assertFalse(Files.exists(file));
    }

    @ParameterizedTest
    @CsvSource({
        "https://ghcr.io, ghcr.io",
        "https://ghcr.io/v2/, ghcr.io",
        "http://localhost:5000/team, localhost:5000",
        "https://index.docker.io/v1/, docker.io",
        "https://me:canary@ghcr.io?x=1, ghcr.io"
    })
    void login_toAUrl_saysTheName(String url, String name) throws Exception {
        int code = run("canary", "login", "-u", "me", url);
        assertEquals(ErrorKind.INVALID_ARGUMENT.exitCode(), code);
        assertTrue(err.endsWith("without a scheme: say " + name + "\n"), err);
    }

    @ParameterizedTest
    @CsvSource({
        "https://me:pa/canary@ghcr.io, https://…@ghcr.io",
        "https://me:pa/canary@ghcr.io/canary@ghcr.io, https://…@ghcr.io",
        "https://me:pa?canary@ghcr.io, https://…",
        "https://ghcr.io?a=b@c&d=canary, https://…",
        "me:pa/canary@ghcr.io, …@ghcr.io",
        "me:canary@ghcr.io, …@ghcr.io",
        "https://me:canary@, https://…@",
        "https://myhost/v2/, https://myhost/v2/"
    })
    void login_toAUrlThatMayHoldAPassword_showsAndSuggestsNothingUnsure(String url, String shown)
            throws Exception {
        int code = run("canary", "login", "-u", "me", url);
        assertEquals(ErrorKind.INVALID_ARGUMENT.exitCode(), code);
        assertEquals(
                "imgctl: \"%s\" is not a registry: wanted HOST, HOST:PORT or HOST/REPOSITORY\n"
                        .formatted(shown),
                err);
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "https://ghcr.io", "team", "ghcr.io/a:1", "GHCR.io/A", "a b.c"})
    void login_notARegistry_isRefused(String name) throws Exception {
        int code = run("canary", "login", "-u", "me", name);
        assertEquals(ErrorKind.INVALID_ARGUMENT.exitCode(), code);
        assertTrue(err.contains("is not a registry"), err);
    }
}
