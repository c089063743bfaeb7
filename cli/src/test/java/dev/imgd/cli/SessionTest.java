package dev.imgd.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.plugin.RemoteImageService;
import dev.imgd.registry.CredentialSource;
import dev.imgd.registry.Credentials;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ServerSocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// What a command works with: a daemon that answers, or the store itself.
class SessionTest {
    /// What [#write] writes.
    private static final Credentials LOGIN = new Credentials.Login("me", "secret");

    @TempDir Path directory;
    private final GlobalOptions options = new GlobalOptions();
    private Path configured;
    private Path configuredRoot;

    @BeforeEach
    void configure() throws IOException {
        configured = directory.resolve("configured.sock");
        configuredRoot = directory.resolve("configured");
        options.config =
                Files.writeString(
                        directory.resolve("config.toml"),
                        "root = \"%s\"\n[grpc]\naddress = \"%s\"\n"
                                .formatted(configuredRoot, configured));
    }

    private static ServerSocketChannel listen(Path socket) throws IOException {
        return ServerSocketChannel.open(StandardProtocolFamily.UNIX)
                .bind(UnixDomainSocketAddress.of(socket));
    }

    @Test
    void decryptionKeys_withADaemon_areRefused() throws Exception {
        options.decryptionKeys = List.of(directory.resolve("none.pem").toString());
        try (ServerSocketChannel _ = listen(configured)) {
            ImageException e =
                    assertThrows(ImageException.class, () -> Session.open(options).close());
            assertEquals(ErrorKind.FAILED_PRECONDITION, e.kind());
            assertTrue(e.getMessage().contains("decryption.keys_path"), e.getMessage());
        }
        Files.delete(configured);
        ImageException e = assertThrows(ImageException.class, () -> Session.open(options).close());
        assertEquals(ErrorKind.NOT_FOUND, e.kind());
    }

    private void assertRemote() throws ImageException {
        try (Session session = Session.open(options)) {
            assertInstanceOf(RemoteImageService.class, session.images());
            assertNull(session.assembly());
        }
    }

    private void assertEmbedded(Path root) throws ImageException {
        try (Session session = Session.open(options)) {
            Assembly assembly = session.assembly();
            assertNotNull(assembly);
            assertEquals(root, assembly.store().root());
            assertEquals(List.of(), session.images().list());
        }
    }

    @Test
    void nothingAsked_daemonAtTheConfiguredAddress_isUsed() throws IOException {
        try (ServerSocketChannel _ = listen(configured)) {
            assertRemote();
        }
    }

    @Test
    void nothingAsked_noDaemon_opensTheConfiguredStore() throws IOException {
        assertEmbedded(configuredRoot);
    }

    @Test
    void nothingAsked_socketOfADeadDaemon_opensTheConfiguredStore() throws IOException {
        listen(configured).close();
        assertTrue(Files.exists(configured));
        assertEmbedded(configuredRoot);
    }

    @Test
    void root_winsOverAConfiguredDaemon() throws IOException {
        options.root = directory.resolve("x/../other");
        try (ServerSocketChannel _ = listen(configured)) {
            assertEmbedded(directory.resolve("other"));
        }
    }

    @Test
    void address_thatAnswers_winsOverRoot() throws IOException {
        options.address = directory.resolve("asked.sock");
        options.root = directory.resolve("other");
        try (ServerSocketChannel _ = listen(options.address)) {
            assertRemote();
        }
        assertTrue(Files.notExists(directory.resolve("other")));
    }

    @Test
    void address_noAnswer_opensTheRootIfOneIsGiven() throws IOException {
        options.address = directory.resolve("asked.sock");
        options.root = directory.resolve("other");
        assertEmbedded(directory.resolve("other"));
    }

    @Test
    void address_noAnswerAndNoRoot_isUnavailable() throws IOException {
        options.address = directory.resolve("asked.sock");
        try (ServerSocketChannel _ = listen(configured)) {
            ImageException e = assertThrows(ImageException.class, () -> Session.open(options));
            assertEquals(ErrorKind.UNAVAILABLE, e.kind());
            assertTrue(e.getMessage().contains("asked.sock; start imgd"), e.getMessage());
        }
    }

    @Test
    void authFile_withADaemon_isItsCallersOnlySource() throws IOException {
        options.authFile = directory.resolve("auth.json");
        try (ServerSocketChannel _ = listen(configured)) {
            try (Session session = Session.open(options)) {
                ImageException e =
                        assertThrows(
                                ImageException.class, () -> session.callers().find("a:1", "b"));
                assertEquals(ErrorKind.NOT_FOUND, e.kind());
                write(options.authFile, "a:1");
                assertEquals(Optional.of(LOGIN), session.callers().find("a:1", "b"));
                assertEquals(
                        Optional.of(new Credentials.Anonymous()),
                        session.callers().find("other:1", "b"));
            }
        }
        assertEmbedded(configuredRoot);
    }

    private static void write(Path file, String registry) throws IOException {
        Files.createDirectories(file.getParent());
        Files.writeString(
                file, "{\"auths\":{\"%s\":{\"auth\":\"bWU6c2VjcmV0\"}}}".formatted(registry));
    }

    @Test
    void callers_standardFiles_areThoseOfTheCaller() throws IOException {
        write(directory.resolve("docker/config.json"), "a:1");
        Map<String, String> environment =
                Map.of("DOCKER_CONFIG", directory.resolve("docker").toString());
        CredentialSource callers = Session.callers(options, options.configuration(), environment);
        assertEquals(Optional.of(LOGIN), callers.find("a:1", "b"));
        assertEquals(Optional.empty(), callers.find("other:1", "b"));
    }

    @Test
    void callers_configuredFile_isForTheDaemonToRead() throws IOException {
        write(directory.resolve("docker/config.json"), "a:1");
        Config config =
                options.configuration()
                        .with(Config.AUTH_FILE, Optional.of(directory.resolve("auth.json")));
        CredentialSource callers =
                Session.callers(
                        options,
                        config,
                        Map.of("DOCKER_CONFIG", directory.resolve("docker").toString()));
        assertEquals(Optional.empty(), callers.find("a:1", "b"));
    }

    /// What only looks leaves nothing, and an empty answer would hide a mistyped name.
    @ParameterizedTest
    @ValueSource(
            strings = {
                "ls",
                "inspect a",
                "tag a b",
                "rm a",
                "gc --dry-run",
                "gc",
                "fsck",
                "mount a /x",
                "unmount /x",
                "bundle a /x",
                "export DIR/x.tar a",
                "push a",
                "copy store:a oci:DIR/x"
            })
    void command_onAStoreThatIsNotThere_saysSoAndMakesNone(String words) throws Exception {
        Path root = directory.resolve("other");
        List<String> line = new ArrayList<>(List.of("--root", root.toString()));
        line.addAll(List.of("--config", options.config.toString()));
        line.addAll(List.of(words.replace("DIR", directory.toString()).split(" ")));
        for (boolean directoryThere : List.of(false, true)) {
            if (directoryThere) {
                Files.createDirectory(root);
            }
            Cli run = Cli.run(Session::open, line.toArray(String[]::new));
            assertEquals(ErrorKind.NOT_FOUND.exitCode(), run.exit(), run.toString());
            assertEquals("", run.out());
            assertEquals(
                    ("imgctl: no store at %s; name another with --root, or pull or import an image"
                                    + " to begin one\n")
                            .formatted(root),
                    run.err());
            assertEquals(directoryThere, Files.exists(root));
        }
        try (Stream<Path> left = Files.list(root)) {
            assertEquals(List.of(), left.toList());
        }
    }

    @Test
    void command_onAnEmptyStore_findsNothing() throws Exception {
        options.root = directory.resolve("other");
        assertEmbedded(options.root);
        Cli run = Cli.run(Session::open, "--root", options.root.toString(), "ls", "-q");
        assertEquals(0, run.exit(), run.toString());
        assertEquals("", run.out());
        Cli rm = Cli.run(Session::open, "--root", options.root.toString(), "rm", "a");
        assertEquals(ErrorKind.NOT_FOUND.exitCode(), rm.exit());
        assertTrue(rm.err().endsWith("not in the store; it has no images\n"), rm.err());
    }

    @Test
    void storeOfAnotherOwner_isLockedAndSaysBy() throws IOException {
        try (Session _ = Session.open(options)) {
            ImageException e = assertThrows(ImageException.class, () -> Session.open(options));
            assertEquals(ErrorKind.LOCKED, e.kind());
        }
    }
}
