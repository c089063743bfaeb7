package dev.imgd.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/// A registry that wants a user name and a password, which the caller brings: on the command line
/// and standard input, or in files of its own that a daemon does not have.
@Tag("root")
class CredentialsIT {
    private static final int DENIED = 4;

    @RegisterExtension final Workspace workspace = new Workspace();

    private DockerRegistry registry;
    private String user = "";
    private String password = "";
    private String image = "";
    private String digest = "";
    private Imgctl embedded = Imgctl.embedded(Path.of(""));

    @BeforeEach
    void setUp() throws IOException {
        registry = workspace.keep(DockerRegistry.withPassword(workspace.path("registry")));
        int colon = DockerRegistry.CREDENTIALS.indexOf(':');
        user = DockerRegistry.CREDENTIALS.substring(0, colon);
        password = DockerRegistry.CREDENTIALS.substring(colon + 1) + "\n";
        image = "localhost:%d/team/app:1".formatted(registry.port());
        embedded = Imgctl.embedded(workspace.path("store"));
        embedded.ok("pull", "-q", "--no-unpack", "--plain-http", workspace.reference());
        digest = workspace.image().manifestDigest();
        assertEquals(
                digest,
                asUser(embedded, "push", "-q", "--user", user, workspace.reference(), image));
    }

    private String asUser(Imgctl imgctl, Object... words) {
        return imgctl.command(words).input(password).ok().strip();
    }

    @Test
    void embedded_user_isAskedForEachTime() throws Exception {
        embedded.fails(DENIED, "pull", "-q", "--no-unpack", image);
        assertEquals(digest, asUser(embedded, "pull", "-q", "--no-unpack", "--user", user, image));
        embedded.fails(DENIED, "pull", "-q", "--no-unpack", image);
        String repository = image.substring(0, image.lastIndexOf(':'));
        assertEquals("1", asUser(embedded, "registry", "tags", repository, "--user", user));
        assertEquals(digest, asUser(embedded, "manifest", "digest", image, "--user", user));
        asUser(embedded, "registry", "resolve", image, "--user", user);
        asUser(embedded, "verify", image, "--user", user);
        assertEquals(
                digest,
                asUser(
                        embedded,
                        "copy",
                        "-q",
                        "--src-user",
                        user,
                        "docker://" + image,
                        "oci:" + workspace.path("layout")));
        String both = password + password;
        String copied =
                embedded.command(
                                "copy",
                                "-q",
                                "--src-user",
                                user,
                                "--dest-user",
                                user,
                                "docker://" + image,
                                "docker://" + image + "-copy")
                        .input(both)
                        .ok();
        assertEquals(digest, copied.strip());
    }

    @Test
    void daemon_callersCredentials_areForTheCall() throws Exception {
        Imgd imgd =
                workspace.keep(Imgd.start(workspace.path("d"), Imgd.Mode.PASSIVE, Map.of(), ""));
        Imgctl remote = imgd.imgctl();
        Path file = registry.dockerConfig(workspace.newDirectory("home")).resolve("config.json");

        String refused = remote.fails(DENIED, "pull", "-q", "--no-unpack", image);
        assertTrue(refused.contains("log in"), refused);
        var wrong =
                remote.command("pull", "-q", "--no-unpack", "--user", user, image)
                        .input("wrong battery")
                        .run()
                        .expectExit(DENIED);
        assertTrue(wrong.err().contains("the user name or the password"), wrong.err());

        Object[] pull = {"pull", "-q", "--no-unpack", image};
        assertEquals(digest, asUser(remote, "pull", "-q", "--no-unpack", "--user", user, image));
        remote.fails(DENIED, pull);
        assertEquals(digest, remote.ok("pull", "-q", "--no-unpack", "--authfile", file, image));
        remote.fails(DENIED, pull);
        String found = remote.command(pull).env("DOCKER_CONFIG", file.getParent().toString()).ok();
        assertEquals(digest, found.strip());
        remote.fails(DENIED, pull);
        assertEquals(digest, asUser(remote, "push", "-q", "--user", user, image));
        remote.fails(DENIED, "push", "-q", image);
    }

    @Test
    void daemon_authFileWithoutEntry_isNobody() throws Exception {
        Path file = registry.dockerConfig(workspace.newDirectory("home")).resolve("config.json");
        Path none = Files.writeString(workspace.path("none.json"), "{}");
        Imgd imgd =
                workspace.keep(
                        Imgd.start(
                                workspace.path("d"),
                                Imgd.Mode.PASSIVE,
                                Map.of(),
                                "[registry]\nauth_file = \"%s\"\n".formatted(file)));
        Imgctl remote = imgd.imgctl();
        assertEquals(digest, remote.ok("pull", "-q", "--no-unpack", image));
        remote.fails(DENIED, "pull", "-q", "--no-unpack", "--authfile", none, image);
        assertEquals(digest, remote.ok("pull", "-q", "--no-unpack", image));
    }

    /// At a terminal, which `script` makes, the name and the password are asked for, one after the
    /// other.
    @Test
    void login_atATerminal_asksForWhatIsMissing() throws Exception {
        Path file = workspace.path("auth.json");
        String host = "localhost:" + registry.port();
        String login = "%s login --authfile %s %s".formatted(Installation.IMGCTL, file, host);
        String shown =
                Program.of("script", "-qec", login, "/dev/null").input(user + "\n" + password).ok();
        assertTrue(shown.contains("User name at " + host + ": "), shown);
        assertTrue(shown.contains("Password for " + user + " at " + host + ": "), shown);
        assertTrue(shown.contains("Logged in to " + host + " as " + user), shown);
        assertEquals(digest, embedded.ok("pull", "-q", "--no-unpack", "--authfile", file, image));

        String piped =
                embedded.command("login", "--authfile", file, host)
                        .input(password)
                        .run()
                        .expectExit(2)
                        .err();
        assertTrue(piped.contains("say --username NAME"), piped);
    }
}
