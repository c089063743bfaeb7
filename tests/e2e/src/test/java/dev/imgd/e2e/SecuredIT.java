package dev.imgd.e2e;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.testkit.TestAuthority;
import dev.imgd.testkit.TokenServer;
import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/// docker-registry that wants a user name and a password, behind nginx that wants a certificate, as
/// a user sets it up: `hosts.toml` and a credentials file.
@Tag("root")
class SecuredIT {
    private static final String REGISTRY = "secured.e2e.example";
    private static final String IMAGE = REGISTRY + "/team/app:1";
    private static final String CA = "ca = \"ca.pem\"";
    private static final String CLIENT = "client = [[\"me.pem\", \"me.key\"]]";
    private static final int DENIED = 4;
    private static final int UNAVAILABLE = 6;
    private static final int MISCONFIGURED = 2;

    @RegisterExtension final Workspace workspace = new Workspace();

    private Imgctl imgctl = Imgctl.embedded(Path.of(""));
    private Path config = Path.of("");
    private Path place = Path.of("");
    private Path right = Path.of("");
    private int port;

    @BeforeEach
    void setUp() throws IOException {
        imgctl = Imgctl.embedded(workspace.path("store"));
        DockerRegistry registry =
                workspace.keep(DockerRegistry.withPassword(workspace.path("registry")));
        TestAuthority authority = TestAuthority.create("the authority");
        port =
                workspace
                        .keep(Nginx.before(registry.port(), workspace.path("nginx"), authority))
                        .port();
        place = workspace.newDirectory("certs.d/" + REGISTRY);
        Files.writeString(place.resolve("ca.pem"), authority.certificatePem());
        write("me", authority.client("me"));
        TestAuthority stranger = TestAuthority.create("a stranger");
        Files.writeString(place.resolve("stranger-ca.pem"), stranger.certificatePem());
        write("stranger", stranger.client("me"));
        right = login("right", DockerRegistry.CREDENTIALS);
        config =
                Files.writeString(
                        workspace.path("config.toml"),
                        """
                        [registry]
                        hosts_dir = ["%s"]
                        attempts = 2
                        maximum_backoff = "10ms"
                        """
                                .formatted(place.getParent()));
    }

    private void write(String name, TestAuthority.Identity identity) throws IOException {
        Files.writeString(place.resolve(name + ".pem"), identity.chainPem());
        Files.writeString(place.resolve(name + ".key"), identity.keyPem());
    }

    /// A file for `--authfile`.
    private Path login(String name, String pair) throws IOException {
        String auth = Base64.getEncoder().encodeToString(pair.getBytes(StandardCharsets.UTF_8));
        return Files.writeString(
                workspace.path(name + ".json"),
                "{\"auths\":{\"localhost:%1$d\":{\"auth\":\"%2$s\"},\"127.0.0.1:%1$d\":{\"auth\":\"%2$s\"}}}"
                        .formatted(port, auth));
    }

    private void server(String host, String... settings) throws IOException {
        Files.writeString(
                place.resolve("hosts.toml"),
                "server = \"%s:%d\"\n%s\n".formatted(host, port, String.join("\n", settings)));
    }

    private Program.Finished imgctl(Path login, Object... words) {
        List<Object> all = new ArrayList<>(List.of("--config", config, "--authfile", login));
        all.addAll(List.of(words));
        return imgctl.command(all.toArray()).run();
    }

    @Test
    void settings_right_pushAndPullEmbeddedAndByADaemon() throws Exception {
        server("https://localhost", CA, CLIENT);
        imgctl.ok("pull", "-q", "--no-unpack", "--plain-http", workspace.reference());
        String digest = workspace.image().manifestDigest();
        Program.Finished pushed = imgctl(right, "push", "-q", workspace.reference(), IMAGE);
        assertEquals(digest, pushed.expectExit(0).out().strip());
        Imgd imgd =
                workspace.keep(
                        Imgd.start(
                                workspace.path("d"),
                                Imgd.Mode.PASSIVE,
                                Map.of(),
                                Files.readString(config)
                                        + "auth_file = \"%s\"\n".formatted(right)));
        assertEquals(digest, imgd.imgctl().ok("pull", "-q", "--no-unpack", IMAGE));
        Program.Finished tested = imgctl(right, "registry", "test", IMAGE);
        assertEquals(0, tested.exit(), tested.toString());
        server("https://localhost", "skip_verify = true", CLIENT);
        imgctl(right, "registry", "resolve", IMAGE).expectExit(0);
    }

    /// @param exit the exit code wanted
    /// @param says a part of the message wanted
    private record Row(String name, int exit, String says, Path login, List<String> settings) {}

    @Test
    void settings_wrong_eachSaysWhich() throws Exception {
        Path wrong = login("wrong", "user:wrong battery");
        Path none = Files.writeString(workspace.path("none.json"), "{}");
        Set<String> messages = new TreeSet<>();
        String https = "https://localhost";
        List<Row> rows =
                List.of(
                        row("authority unknown", UNAVAILABLE, "not trusted", right, https, CLIENT),
                        row(
                                "authority of a stranger",
                                UNAVAILABLE,
                                "not trusted",
                                right,
                                https,
                                "ca = \"stranger-ca.pem\"",
                                CLIENT),
                        row(
                                "authority's file missing",
                                MISCONFIGURED,
                                "nowhere.pem",
                                right,
                                https,
                                "ca = \"nowhere.pem\""),
                        row(
                                "authority's file without certificate",
                                MISCONFIGURED,
                                "me.key",
                                right,
                                https,
                                "ca = \"me.key\""),
                        row(
                                "no client certificate",
                                DENIED,
                                "wants a client certificate and none was sent",
                                right,
                                https,
                                CA),
                        row(
                                "client certificate of a stranger",
                                DENIED,
                                "refused this side's certificate",
                                right,
                                https,
                                CA,
                                "client = [[\"stranger.pem\", \"stranger.key\"]]"),
                        row(
                                "key of another",
                                MISCONFIGURED,
                                "stranger.key",
                                right,
                                https,
                                CA,
                                "client = [[\"me.pem\", \"stranger.key\"]]"),
                        row(
                                "no key",
                                MISCONFIGURED,
                                "me.pem",
                                right,
                                https,
                                CA,
                                "client = \"me.pem\""),
                        row(
                                "a directory as key",
                                MISCONFIGURED,
                                "hosts.toml:1: %s: it is a directory".formatted(place.resolve(".")),
                                right,
                                https,
                                CA,
                                "client = [[\"me.pem\", \".\"]]"),
                        row(
                                "another host name",
                                UNAVAILABLE,
                                "another host name",
                                right,
                                "https://127.0.0.1",
                                CA,
                                CLIENT),
                        row(
                                "plain http",
                                MISCONFIGURED,
                                "speaks https and was asked with plain http",
                                right,
                                "http://localhost"),
                        row("no credentials", DENIED, "log in", none, https, CA, CLIENT),
                        row(
                                "wrong password",
                                DENIED,
                                "the user name or the password",
                                wrong,
                                https,
                                CA,
                                CLIENT));
        assertAll(rows.stream().map(row -> () -> check(row, messages)));
        // The two unknown authorities are one mistake.
        assertEquals(rows.size() - 1, messages.size(), String.join("\n", messages));
    }

    @Test
    void certificate_unknown_isNothingToTryAgain() throws Exception {
        server("https://localhost", CLIENT);
        Program.Finished finished = imgctl(right, "-o", "json", "pull", IMAGE);
        assertEquals(UNAVAILABLE, finished.exit(), finished.toString());
        assertTrue(finished.err().contains("\"code\":\"UNTRUSTED\""), finished.err());
        assertTrue(finished.err().contains("\"retryable\":false"), finished.err());
        assertTrue(finished.err().contains("issued by CN=the authority"), finished.err());
    }

    /// A token server that is not the registry's, each with what may be wrong about it.
    ///
    /// @param realm what the registry says
    /// @param allow `registry.realm_allow`
    private record Tokens(
            String name, int exit, String says, Path login, String realm, String allow) {}

    @Test
    void tokens_wrong_eachSaysWhich() throws Exception {
        TestAuthority issuer = TestAuthority.create("the issuer");
        Path roots = Files.writeString(workspace.path("roots.pem"), issuer.certificatePem());
        TokenServer right = tokenServer(issuer);
        TokenServer untrusted = tokenServer(TestAuthority.create("another issuer"));
        TokenServer down = tokenServer(issuer);
        down.close();
        Path directory = workspace.path("tokens");
        try (DockerRegistry open = DockerRegistry.open(directory)) {
            open.push(workspace.image().layout(), "team/app:1");
        }
        Nginx secured =
                workspace.keep(
                        Nginx.before(
                                URI.create(right.realm()).getPort(),
                                workspace.path("token-nginx"),
                                TestAuthority.create("nobody's authority")));
        String https = "https://localhost:%d/token".formatted(secured.port());
        Path good = Path.of("good");
        List<Tokens> rows =
                List.of(
                        new Tokens("right", 0, "", good, right.realm(), "localhost"),
                        new Tokens(
                                "realm of another domain",
                                DENIED,
                                "it is under another domain and would receive your credentials;"
                                        + " list localhost in registry.realm_allow",
                                good,
                                right.realm(),
                                "auth.lan"),
                        new Tokens(
                                "token server down",
                                UNAVAILABLE,
                                "no answer from the token server %s: connection refused"
                                        .formatted(down.authority()),
                                good,
                                down.realm(),
                                "localhost"),
                        new Tokens(
                                "token server's certificate unknown",
                                UNAVAILABLE,
                                "no answer from the token server localhost:%d: TLS: the certificate is not trusted: no trusted authority signed it (certificate of CN=localhost, issued by CN=nobody's authority); add its authority to the system's trust store"
                                        .formatted(secured.port()),
                                good,
                                https,
                                "localhost"),
                        new Tokens(
                                "issuer that the registry does not trust",
                                DENIED,
                                "takes no tokens of its token server %s"
                                        .formatted(untrusted.authority()),
                                good,
                                untrusted.realm(),
                                "localhost"),
                        new Tokens(
                                "wrong password",
                                DENIED,
                                "the user name or the password for",
                                Path.of("bad"),
                                right.realm(),
                                "localhost"),
                        new Tokens(
                                "no credentials",
                                DENIED,
                                "log in",
                                Path.of("none"),
                                right.realm(),
                                "localhost"));
        Set<String> messages = new TreeSet<>();
        assertAll(rows.stream().map(row -> () -> check(row, directory, roots, messages)));
        assertEquals(rows.size() - 1, messages.size(), String.join("\n", messages));
    }

    private TokenServer tokenServer(TestAuthority authority) throws IOException {
        TokenServer tokens = workspace.keep(TokenServer.start());
        byte[] pair = DockerRegistry.CREDENTIALS.getBytes(StandardCharsets.UTF_8);
        return tokens.requireAuthorization("Basic " + Base64.getEncoder().encodeToString(pair))
                .signedBy(authority.server("tokens.test"), "the issuer");
    }

    private void check(Tokens row, Path directory, Path roots, Set<String> messages)
            throws IOException {
        try (DockerRegistry registry =
                DockerRegistry.withTokens(directory, row.realm(), "the issuer", roots)) {
            port = registry.port();
            Path login =
                    switch (row.login().toString()) {
                        case "good" -> login("good", DockerRegistry.CREDENTIALS);
                        case "bad" -> login("bad", "user:wrong battery");
                        default -> Files.writeString(workspace.path("none.json"), "{}");
                    };
            Path settings =
                    Files.writeString(
                            workspace.path("tokens.toml"),
                            """
                            [registry]
                            realm_allow = ["%s"]
                            attempts = 2
                            maximum_backoff = "10ms"
                            """
                                    .formatted(row.allow()));
            String image = "127.0.0.1:%d/team/app:1".formatted(port);
            Program.Finished finished =
                    imgctl.command(
                                    "--config",
                                    settings,
                                    "--authfile",
                                    login,
                                    "--progress",
                                    "none",
                                    "pull",
                                    "--no-unpack",
                                    image)
                            .run();
            String what = row.name() + "\n" + finished;
            assertEquals(row.exit(), finished.exit(), what);
            // What failed, or what was fetched.
            assertEquals(1, finished.err().lines().count(), what);
            assertTrue(finished.err().contains(row.says()), what);
            assertFalse(finished.err().contains("battery"), "a password was printed");
            assertFalse(finished.err().contains("correct horse"), "a password was printed");
            if (row.exit() != 0) {
                messages.add(finished.err().replaceAll("(localhost|127\\.0\\.0\\.1):\\d+", "host"));
            }
        }
    }

    private static Row row(
            String name, int exit, String says, Path login, String host, String... settings) {
        List<String> all = new ArrayList<>(List.of(host));
        all.addAll(List.of(settings));
        return new Row(name, exit, says, login, all);
    }

    private void check(Row row, Set<String> messages) throws IOException {
        List<String> settings = row.settings();
        server(settings.getFirst(), settings.subList(1, settings.size()).toArray(String[]::new));
        Program.Finished finished = imgctl(row.login(), "--progress", "none", "pull", IMAGE);
        String what = row.name() + "\n" + finished;
        assertEquals(row.exit(), finished.exit(), what);
        assertEquals(1, finished.err().lines().count(), what);
        assertTrue(finished.err().contains(row.says()), what);
        assertFalse(finished.err().contains("battery"), "a password was printed");
        assertFalse(finished.err().contains("correct horse"), "a password was printed");
        messages.add(finished.err().replaceAll("localhost|127\\.0\\.0\\.1", "host"));
    }
}
