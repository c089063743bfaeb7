package dev.imgd.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.testkit.HttpProxy;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TestAuthority;
import dev.imgd.testkit.TestImage;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/// A registry over https whose name only a proxy knows, which wants a password.
@Tag("root")
class ProxyIT {
    private static final String IMAGE = "registry.test/team/app:1";
    private static final String PASSWORD = "canary-of-the-proxy";
    private static final int DENIED = 4;
    private static final int UNAVAILABLE = 6;

    @RegisterExtension final Workspace workspace = new Workspace();

    private final List<String> printed = new ArrayList<>();
    private Path config = Path.of("");
    private String digest = "";
    private String proxy = "";

    @BeforeEach
    void setUp() throws IOException {
        TestAuthority authority = TestAuthority.create("the authority");
        InMemoryRegistry registry =
                workspace.keep(InMemoryRegistry.startTls(authority.server("registry.test"), null));
        TestImage image = ImageBuilder.oci().layer(tar -> tar.file("etc/motd", "hi\n")).build();
        registry.push("team/app", "1", image);
        digest = image.manifest().digest().toString();
        HttpProxy between = workspace.keep(HttpProxy.start());
        between.lead("registry.test:443", registry.port());
        byte[] pair = ("user:" + PASSWORD).getBytes(StandardCharsets.US_ASCII);
        between.require("Basic " + Base64.getEncoder().encodeToString(pair));
        proxy = between.authority();
        Path place = workspace.newDirectory("certs.d/registry.test");
        Files.writeString(place.resolve("ca.pem"), authority.certificatePem());
        Files.writeString(
                place.resolve("hosts.toml"), "server = \"https://registry.test\"\nca = \"ca.pem\"");
        config =
                Files.writeString(
                        workspace.path("config.toml"),
                        "[registry]\nattempts = 1\nhosts_dir = \"%s\"\n"
                                .formatted(place.getParent()));
    }

    private String withPassword() {
        return "http://user:%s@%s".formatted(PASSWORD, proxy);
    }

    private Program.Finished run(Map<String, String> environment, Object... words) {
        List<Object> all = new ArrayList<>(List.of("--config", config, "--debug"));
        all.addAll(List.of(words));
        Program program = Imgctl.embedded(workspace.path("store")).command(all.toArray());
        environment.forEach(program::env);
        Program.Finished finished = program.run();
        printed.add(finished.out() + finished.err());
        return finished;
    }

    @Test
    void pull_byTheEnvironmentOrTheConfiguration() throws Exception {
        Map<String, String> right = Map.of("HTTPS_PROXY", withPassword());
        String[] pull = {"pull", "-q", "--no-unpack", IMAGE};

        assertEquals(digest, run(right, (Object[]) pull).expectExit(0).out().strip());
        run(right, "registry", "test", IMAGE).expectExit(0);
        assertSays(
                run(Map.of("https_proxy", proxy), (Object[]) pull).expectExit(DENIED),
                "the proxy %1$s wants a user name and a password; write them into https_proxy as http://USER:PASSWORD@%1$s");
        assertSays(
                run(Map.of("HTTPS_PROXY", withPassword(), "NO_PROXY", ".test"), (Object[]) pull)
                        .expectExit(UNAVAILABLE),
                "no address found for this name");
        assertSays(
                run(Map.of("HTTPS_PROXY", "socks5://user:" + PASSWORD + "@x"), (Object[]) pull)
                        .expectExit(2),
                "HTTPS_PROXY: wanted the URL of a proxy");

        Files.writeString(
                config,
                Files.readString(config) + "https_proxy = \"%s\"\n".formatted(withPassword()));
        Map<String, String> wrong = Map.of("HTTPS_PROXY", "nowhere.invalid");
        assertEquals(digest, run(wrong, (Object[]) pull).expectExit(0).out().strip());
        run(Map.of(), "config", "dump").expectExit(0);
        for (String text : printed) {
            assertFalse(text.contains(PASSWORD), text);
        }
    }

    private void assertSays(Program.Finished finished, String wanted) {
        assertTrue(finished.err().contains(wanted.formatted(proxy)), finished.toString());
    }

    /// Its own environment counts, and that of its caller does not.
    @Test
    void pull_byADaemon_takesTheProxyOfTheDaemon() throws Exception {
        Imgd imgd =
                workspace.keep(
                        Imgd.start(
                                workspace.path("d"),
                                Imgd.Mode.PASSIVE,
                                Map.of("HTTPS_PROXY", withPassword()),
                                Files.readString(config)));
        assertEquals(
                digest,
                imgd.imgctl()
                        .command("pull", "-q", "--no-unpack", IMAGE)
                        .env("HTTPS_PROXY", "nowhere.invalid")
                        .ok()
                        .strip());
        assertFalse(imgd.log().contains(PASSWORD), imgd.log());
    }
}
