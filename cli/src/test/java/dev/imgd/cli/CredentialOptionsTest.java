package dev.imgd.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.image.ImageService.CopyRequest;
import dev.imgd.image.ImageService.PullRequest;
import dev.imgd.model.ErrorKind;
import dev.imgd.registry.CredentialSource;
import dev.imgd.registry.Credentials;
import dev.imgd.registry.LoopbackServer;
import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.api.parallel.ResourceLock;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// Who asks a registry, said on the command line; the password comes from standard input.
@Timeout(60)
@ResourceLock("System.in")
class CredentialOptionsTest {
    private static final Credentials ME = new Credentials.Login("me", "canary");
    private static final Credentials OTHER = new Credentials.Login("other", "from a file");

    /// What the caller's files have.
    private static final CredentialSource FILES = CredentialSource.of("localhost:5000", OTHER);

    @TempDir Path directory;
    private final InputStream standardInput = System.in;
    private final FakeImages images = new FakeImages();

    @AfterEach
    void restore() {
        System.setIn(standardInput);
    }

    private Cli run(String input, String words) {
        System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
        Cli run = Cli.run(images, FILES, words.split(" ", -1));
        assertFalse(run.toString().contains("canary"), "a secret was shown");
        assertFalse(images.calls.toString().contains("canary"), "a secret was printed");
        return run;
    }

    private Optional<Credentials> pulled(String input, String words) {
        Cli run = run(input, words);
        assertEquals(0, run.exit(), run.toString());
        PullRequest request = images.lastPull;
        assertNotNull(request);
        return request.credentials();
    }

    private List<Optional<Credentials>> copied(String input, String words) {
        Cli run = run(input, words);
        assertEquals(0, run.exit(), run.toString());
        CopyRequest request = images.lastCopy;
        assertNotNull(request);
        return List.of(request.sourceCredentials(), request.destinationCredentials());
    }

    @Test
    void pull_user_isAskedForWithThePassword() {
        String image = "localhost:5000/a:1";
        assertEquals(Optional.of(ME), pulled("canary\n", "pull --user me " + image));
        assertEquals(
                Optional.of(ME), pulled("canary", "pull --username me --password-stdin " + image));
        assertEquals(
                Optional.of(new Credentials.IdentityToken("canary")),
                pulled("canary", "pull --user <token> " + image));
    }

    @Test
    void pull_noUser_takesTheCallersFiles() {
        assertEquals(Optional.of(OTHER), pulled("", "pull localhost:5000/a:1"));
        assertEquals(Optional.empty(), pulled("", "pull localhost:5001/a:1"));
    }

    @Test
    void push_user_isForTheDestination() {
        assertEquals(
                List.of(Optional.empty(), Optional.of(ME)),
                copied("canary", "push --user me a localhost:5000/b:1"));
        assertEquals(
                List.of(Optional.empty(), Optional.of(OTHER)),
                copied("", "push a localhost:5000/b:1"));
    }

    @Test
    void copy_users_areForTheirSides() {
        assertEquals(
                List.of(Optional.of(ME), Optional.empty()),
                copied("canary\n", "copy --src-user me docker://localhost:5001/a:1 store:b"));
        assertEquals(
                List.of(Optional.empty(), Optional.of(ME)),
                copied("canary\n", "copy --dest-user me store:b docker://localhost:5000/a:1"));
    }

    @Test
    void passwords_ofTwo_areLines() throws Exception {
        System.setIn(new ByteArrayInputStream("one\r\ntwo\n".getBytes(StandardCharsets.UTF_8)));
        assertEquals(List.of("one", "two"), SecretInput.read(List.of("a", "b")));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "pull --password-stdin a",
                "pull --user a:b a",
                "pull --user  a",
                "push --password-stdin a",
                "copy --password-stdin store:a docker://b",
                "copy --src-user me store:a docker://b",
                "copy --dest-user me docker://b oci:/x",
                "copy --src-user me --dest-user you docker://a docker://b",
                "manifest put --user me localhost:5000/a:1",
                "blob put --user me localhost:5000/a",
                "registry tags --password-stdin localhost:5000/a"
            })
    void command_thatMeansNothing_isUsage(String words) {
        Cli run = run("canary", words);
        assertEquals(2, run.exit(), run.toString());
        assertEquals(List.of(), images.calls);
    }

    @Test
    void pull_noPassword_isNotCalled() {
        Cli run = run("\n", "pull --user me a");
        assertEquals(2, run.exit(), run.toString());
        assertTrue(run.err().contains("no password"), run.err());
        assertNull(images.lastPull);
    }

    @ParameterizedTest
    @ValueSource(strings = {"registry tags %s/a", "registry catalog %s"})
    void registry_user_isSentToThatRegistry(String words) throws Exception {
        try (LoopbackServer registry =
                LoopbackServer.start(
                        exchange -> {
                            boolean fine =
                                    exchange.header("Authorization")
                                            .orElse("")
                                            .equals("Basic bWU6Y2FuYXJ5");
                            exchange.respond(
                                    fine ? 200 : 401,
                                    Map.of("WWW-Authenticate", "Basic realm=\"x\""),
                                    "{\"name\":\"a\",\"tags\":[\"b\"],\"repositories\":[\"b\"]}"
                                            .getBytes(StandardCharsets.UTF_8));
                        })) {
            Path config = Files.writeString(directory.resolve("c"), "");
            Path none = Files.writeString(directory.resolve("none.json"), "{}");
            String all =
                    words.formatted(registry.authority())
                            + " --config %s --authfile %s".formatted(config, none);
            assertEquals(ErrorKind.UNAUTHENTICATED.exitCode(), run("", all).exit());
            Cli run = run("canary", all + " --user me");
            assertEquals(0, run.exit(), run.toString());
            assertEquals("b\n", run.out());
            assertEquals(ErrorKind.UNAUTHENTICATED.exitCode(), run("x", all + " --user me").exit());
        }
    }
}
