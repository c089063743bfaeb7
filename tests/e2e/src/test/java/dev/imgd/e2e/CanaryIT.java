package dev.imgd.e2e;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.testkit.Fault;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TestImage;
import dev.imgd.testkit.TokenServer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/// Secrets are planted wherever one can enter; pulls succeed and fail in every way; then everything
/// that stays behind or can be seen by others is searched for them.
@Tag("root")
class CanaryIT {
    private static final String USER = "canary-user";
    private static final String PASSWORD = "canary-password-Ff0e";
    private static final String IDENTITY = "canary-identity-Aa1b";
    private static final String REGISTRY_TOKEN = "canary-registry-Bb2c";
    private static final String HELPER_PASSWORD = "canary-helper-Cc3d";

    /// What all tokens of the token server begin with.
    private static final String ISSUED = "issued-";

    private static final String SIGNED_QUERY = "canary-signature-Ee5f";

    /// All of them, and what Basic authentication makes of them.
    private static final Set<String> SECRETS =
            Set.of(
                    PASSWORD,
                    IDENTITY,
                    REGISTRY_TOKEN,
                    HELPER_PASSWORD,
                    ISSUED,
                    SIGNED_QUERY,
                    basic(USER, PASSWORD),
                    basic(USER, HELPER_PASSWORD),
                    // As dumps of what goes over a socket have it.
                    hex(PASSWORD),
                    hex(IDENTITY),
                    hex(REGISTRY_TOKEN),
                    hex(HELPER_PASSWORD));

    /// What is searched has a line for each request.
    private static final String REQUESTED = "request method=GET url=http://";

    /// Failures are reported soon, but not before they were tried again.
    private static final String RETRIES =
            """
            [registry]
            attempts = 2
            maximum_backoff = "10ms"
            """;

    @RegisterExtension final Workspace workspace = new Workspace();

    private final List<Program.Finished> runs = new ArrayList<>();
    private final Set<String> seenInProcesses = ConcurrentHashMap.newKeySet();

    private static String basic(String user, String password) {
        return Base64.getEncoder().encodeToString((user + ':' + password).getBytes(UTF_8));
    }

    private static String hex(String text) {
        return HexFormat.of().formatHex(text.getBytes(UTF_8));
    }

    /// How a registry gets to know who asks.
    private enum Way {
        BASIC,
        LOGIN_FOR_TOKEN,
        IDENTITY_TOKEN,
        REGISTRY_TOKEN,
        HELPER
    }

    /// What goes wrong.
    private static final Map<String, Fault> FAULTS =
            Map.of(
                    "unauthorised", Fault.error(401, "UNAUTHORIZED", "no"),
                    "denied", Fault.error(403, "DENIED", "no"),
                    "missing", Fault.error(404, "MANIFEST_UNKNOWN", "no"),
                    "reset", Fault.reset(),
                    "nonsense", Fault.status(200, Map.of(), "{"),
                    "local", Fault.redirect(307, "http://169.254.169.254/?sig=" + SIGNED_QUERY),
                    "user", Fault.redirect(307, "http://u:" + SIGNED_QUERY + "@localhost:1/"),
                    "closed", Fault.redirect(307, "http://localhost:1/x?sig=" + SIGNED_QUERY),
                    "no URL",
                            Fault.redirect(
                                    307, "nonsense://u:" + SIGNED_QUERY + "@/?" + SIGNED_QUERY));

    /// A registry that wants credentials of one kind, with a blob behind a signed link, and a
    /// client that has them.
    private final class Scene implements AutoCloseable {
        final InMemoryRegistry registry = InMemoryRegistry.start();
        final InMemoryRegistry store = InMemoryRegistry.start();
        final TokenServer tokens = TokenServer.start();
        final Map<String, String> environment;
        final String reference;

        Scene(Way way) throws IOException {
            TestImage image =
                    ImageBuilder.oci()
                            .layer(tar -> tar.file("etc/motd", way.name()))
                            .layer(tar -> tar.file("etc/issue", "issue of " + way))
                            .build();
            reference = registry.push("team/app", "1", image);
            store.push("team/app", "1", image);
            String layer = image.layers().getFirst().digest().toString();
            registry.always(
                    "/blobs/" + layer,
                    Fault.redirect(
                            307,
                            "http://%s/v2/team/app/blobs/%s?X-Signature=%s"
                                    .formatted(store.authority(), layer, SIGNED_QUERY)));
            switch (way) {
                case BASIC -> registry.requireBasic("Basic " + basic(USER, PASSWORD));
                case HELPER -> registry.requireBasic("Basic " + basic(USER, HELPER_PASSWORD));
                case REGISTRY_TOKEN -> registry.requireBasic("Bearer " + REGISTRY_TOKEN);
                case LOGIN_FOR_TOKEN -> {
                    tokens.requireAuthorization("Basic " + basic(USER, PASSWORD));
                    registry.requireToken(tokens);
                }
                case IDENTITY_TOKEN -> registry.requireToken(tokens);
            }
            environment = credentials(way);
        }

        private Map<String, String> credentials(Way way) throws IOException {
            Path home = workspace.newDirectory("home-" + way);
            Path file = home.resolve("config.json");
            String entry =
                    switch (way) {
                        case BASIC, LOGIN_FOR_TOKEN -> "\"auth\":\"" + basic(USER, PASSWORD) + "\"";
                        case IDENTITY_TOKEN ->
                                "\"username\":\"<token>\",\"identitytoken\":\"" + IDENTITY + "\"";
                        case REGISTRY_TOKEN -> "\"registrytoken\":\"" + REGISTRY_TOKEN + "\"";
                        case HELPER -> "";
                    };
            if (way == Way.HELPER) {
                Path helper = home.resolve("docker-credential-canary");
                Files.writeString(
                        helper,
                        """
                        #!/bin/sh
                        cat >/dev/null
                        printf '{"ServerURL":"x","Username":"%s","Secret":"%s"}'
                        """
                                .formatted(USER, HELPER_PASSWORD));
                Files.setPosixFilePermissions(helper, PosixFilePermissions.fromString("rwx------"));
                Files.writeString(file, "{\"credsStore\":\"canary\"}");
            } else {
                Files.writeString(
                        file, "{\"auths\":{\"%s\":{%s}}}".formatted(registry.authority(), entry));
            }
            return Map.of(
                    "DOCKER_CONFIG", home.toString(),
                    "HOME", home.toString(),
                    "PATH", home + ":" + System.getenv("PATH"));
        }

        @Override
        public void close() {
            registry.close();
            store.close();
            tokens.close();
        }
    }

    /// Who calls.
    ///
    /// @param input what the program reads, for each call
    /// @param options of each pull
    private record Caller(Map<String, String> environment, String input, List<Object> options) {
        static final Caller NOBODY = of(Map.of());

        static Caller of(Map<String, String> environment) {
            return new Caller(environment, "", List.of());
        }

        Object[] pull(String reference) {
            List<Object> words = new ArrayList<>(List.of("pull", reference));
            words.addAll(options);
            return words.toArray();
        }
    }

    private Program.Finished run(Imgctl imgctl, Caller caller, Object... words) throws Exception {
        Path config = workspace.path("config.toml");
        Files.writeString(config, RETRIES);
        List<Object> all =
                new ArrayList<>(List.of("--config", config, "--debug", "--progress", "plain"));
        all.addAll(List.of(words));
        Program program = imgctl.command(all.toArray());
        caller.environment.forEach(program::env);
        program.input(caller.input);
        Program.Running running = program.start();
        // As often as it can be looked: a secret in an argument shows for as long as the program
        // runs.
        do {
            lookAtProcesses();
        } while (!running.ends(Duration.ofMillis(50)));
        Program.Finished finished = running.end();
        runs.add(finished);
        return finished;
    }

    /// Arguments and environments of all processes.
    private void lookAtProcesses() {
        ProcessHandle.allProcesses()
                .filter(process -> process.pid() != ProcessHandle.current().pid())
                .forEach(
                        process -> {
                            for (String name : List.of("cmdline", "environ")) {
                                Path file = Path.of("/proc", "" + process.pid(), name);
                                try {
                                    find(Files.readAllBytes(file))
                                            .ifPresent(s -> seenInProcesses.add(s + " in " + file));
                                } catch (IOException e) {
                                    // It ended meanwhile.
                                    continue;
                                }
                            }
                        });
    }

    private static Optional<String> find(byte[] bytes) {
        String text = new String(bytes, ISO_8859_1);
        return SECRETS.stream().filter(text::contains).findFirst();
    }

    /// Files below a directory that hold a secret.
    private static Set<String> search(Path directory) throws IOException {
        Set<String> found = new TreeSet<>();
        try (Stream<Path> files = Files.walk(directory)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                find(Files.readAllBytes(file)).ifPresent(s -> found.add(s + " in " + file));
            }
        }
        return found;
    }

    private void assertNothingSeen(Path... places) throws IOException {
        for (Program.Finished finished : runs) {
            assertEquals(
                    Optional.empty(), find(finished.out().getBytes(UTF_8)), finished::toString);
            assertEquals(
                    Optional.empty(), find(finished.err().getBytes(UTF_8)), finished::toString);
        }
        for (Path place : places) {
            assertEquals(Set.of(), search(place));
        }
        assertEquals(Set.of(), seenInProcesses);
    }

    /// The pulls of one client, on an embedded store or through a daemon.
    private void pulls(Imgctl imgctl, Scene scene, Way way, Caller caller) throws Exception {
        Program.Finished good = run(imgctl, caller, caller.pull(scene.reference));
        assertEquals(0, good.exit(), way + ": " + good);
        // The secret was really used, so there was something to be seen.
        assertTrue(
                scene.registry.accessLog().stream()
                        .map(access -> access.header("authorization").orElse(""))
                        .anyMatch(header -> find(header.getBytes(UTF_8)).isPresent()),
                way.toString());
        for (Map.Entry<String, Fault> fault : FAULTS.entrySet()) {
            scene.registry.behave();
            scene.registry.always("/manifests/", fault.getValue());
            Program.Finished bad = run(imgctl, caller, caller.pull(scene.reference));
            assertTrue(bad.exit() != 0, way + " " + fault.getKey() + ": " + bad);
        }
        scene.tokens.answer(
                exchange ->
                        exchange.respond(
                                200,
                                Map.of(),
                                ("{\"token\":\"" + ISSUED + "\\r\\n\"}").getBytes(UTF_8)));
        scene.tokens.revokeAll();
        scene.registry.behave();
        run(imgctl, caller, caller.pull(scene.reference));
    }

    @Test
    void embedded_everyWayToAuthenticate_leavesNoSecret() throws Exception {
        Path root = workspace.path("store");
        Imgctl imgctl = Imgctl.embedded(root);
        for (Way way : Way.values()) {
            try (Scene scene = new Scene(way)) {
                pulls(imgctl, scene, way, Caller.of(scene.environment));
                assertTrue(runs.getLast().err().contains(REQUESTED), runs.getLast()::toString);
            }
        }
        run(imgctl, Caller.NOBODY, "ls");
        assertNothingSeen(root);
    }

    @Test
    void daemon_everyWayToAuthenticate_leavesNoSecret() throws Exception {
        for (Way way : Way.values()) {
            try (Scene scene = new Scene(way)) {
                Path place = workspace.path("d-" + way);
                Files.createDirectories(place);
                Imgd imgd =
                        Imgd.start(
                                place,
                                Imgd.Mode.ACCELERATE,
                                scene.environment,
                                RETRIES + "[log]\nlevel = \"debug\"\n");
                try (imgd) {
                    pulls(imgd.imgctl(), scene, way, Caller.NOBODY);
                    assertTrue(imgd.log().contains(REQUESTED), imgd::log);
                }
                assertNothingSeen(place);
            }
        }
    }

    /// Answers of token servers, helpers and files of credentials that are no JSON, because the
    /// secret in them has no quotes.
    @Test
    void embedded_secretWithoutQuotes_isQuotedByNobody() throws Exception {
        Path root = workspace.path("unquoted");
        Imgctl imgctl = Imgctl.embedded(root);
        try (Scene scene = new Scene(Way.LOGIN_FOR_TOKEN)) {
            scene.tokens.answer(
                    exchange ->
                            exchange.respond(
                                    200,
                                    Map.of(),
                                    ("{\"token\": " + ISSUED + "7}").getBytes(UTF_8)));
            scene.tokens.revokeAll();
            assertNotJson(run(imgctl, Caller.of(scene.environment), "pull", scene.reference));
        }
        for (String entry :
                List.of("\"auth\": %s", "\"password\": \"%s", "\"auth\" \"%s\"", "%s")) {
            try (Scene scene = new Scene(Way.BASIC)) {
                Files.writeString(
                        Path.of(scene.environment.get("DOCKER_CONFIG"), "config.json"),
                        "{\"auths\":{\"%s\":{%s}}}"
                                .formatted(scene.registry.authority(), entry.formatted(PASSWORD)));
                assertNotJson(run(imgctl, Caller.of(scene.environment), "pull", scene.reference));
            }
        }
        try (Scene scene = new Scene(Way.HELPER)) {
            Path helper =
                    Path.of(scene.environment.get("DOCKER_CONFIG"), "docker-credential-canary");
            Files.writeString(
                    helper,
                    "#!/bin/sh\ncat >/dev/null\nprintf '{\"Secret\": %s}'\n"
                            .formatted(HELPER_PASSWORD));
            assertNotJson(run(imgctl, Caller.of(scene.environment), "pull", scene.reference));
        }
        assertNothingSeen(root);
    }

    private static void assertNotJson(Program.Finished pull) {
        assertTrue(pull.exit() != 0 && pull.err().contains("not valid JSON"), pull::toString);
    }

    /// What callers of a daemon bring goes over its socket and stays nowhere.
    @Test
    void daemon_callersCredentials_leaveNoSecret() throws Exception {
        for (Way way : Way.values()) {
            try (Scene scene = new Scene(way)) {
                Path place = workspace.path("c-" + way);
                Files.createDirectories(place);
                Path file = workspace.path("home-" + way).resolve("config.json");
                Caller caller =
                        switch (way) {
                            case BASIC, LOGIN_FOR_TOKEN ->
                                    new Caller(Map.of(), PASSWORD + "\n", List.of("--user", USER));
                            case IDENTITY_TOKEN ->
                                    new Caller(Map.of(), IDENTITY, List.of("--user", "<token>"));
                            case REGISTRY_TOKEN ->
                                    new Caller(Map.of(), "", List.of("--authfile", file));
                            case HELPER -> Caller.of(scene.environment);
                        };
                Imgd imgd =
                        Imgd.start(
                                place,
                                Imgd.Mode.ACCELERATE,
                                Map.of(),
                                RETRIES + "[log]\nlevel = \"debug\"\n");
                try (imgd) {
                    run(imgd.imgctl(), caller, caller.pull(scene.reference)).expectExit(0);
                    // The daemon has forgotten it, and the token that it got for it.
                    boolean open = way == Way.IDENTITY_TOKEN;
                    run(imgd.imgctl(), Caller.NOBODY, "pull", scene.reference)
                            .expectExit(open ? 0 : 4);
                    pulls(imgd.imgctl(), scene, way, caller);
                    assertTrue(imgd.log().contains(REQUESTED), imgd::log);
                }
                assertNothingSeen(place);
            }
        }
    }

    /// The search itself: it finds what is there.
    @Test
    void search_plantedSecret_isFound() throws Exception {
        Path place = workspace.newDirectory("planted");
        Files.writeString(place.resolve("a"), "x" + basic(USER, PASSWORD) + "y");
        Files.write(place.resolve("b"), ("\0\1" + ISSUED + "-7\0").getBytes(ISO_8859_1));
        Files.writeString(place.resolve("c"), USER);
        assertEquals(2, search(place).size());
        Program.Running bearer =
                Program.of("tail", "-f", "/dev/null", ISSUED).env("X", PASSWORD).start();
        try {
            Await.until(
                    "the secrets of a process are seen",
                    Duration.ofSeconds(10),
                    () -> {
                        lookAtProcesses();
                        return seenInProcesses.stream()
                                        .filter(s -> s.contains("/" + bearer.process().pid() + "/"))
                                        .count()
                                == 2;
                    });
        } finally {
            bearer.kill();
        }
    }
}
