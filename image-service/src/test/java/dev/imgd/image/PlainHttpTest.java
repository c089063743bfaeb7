package dev.imgd.image;

import static dev.imgd.image.Host.assertFails;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.hosts.HostsMode;
import dev.imgd.hosts.RegistryHosts;
import dev.imgd.image.ImageService.CopyPlatforms;
import dev.imgd.image.ImageService.CopyRequest;
import dev.imgd.image.ImageService.ProgressListener;
import dev.imgd.image.ImageService.PullRequest;
import dev.imgd.image.ImageService.PullResult;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.RegistryException;
import dev.imgd.registry.RegistryOptions;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TestAuthority;
import dev.imgd.testkit.TestImage;
import dev.imgd.testkit.TlsFault;
import dev.imgd.trust.PolicyGate;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import javax.net.ssl.SSLException;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// A call that asks for plain http of a registry whose `hosts.toml` has its own idea.
@Tag("root")
class PlainHttpTest {
    @TempDir Path directory;

    private RegistryHosts hosts(String registry, String toml) throws IOException {
        Path certs = Files.createDirectories(directory.resolve("certs.d").resolve(registry));
        Files.writeString(certs.resolve("hosts.toml"), toml);
        return RegistryHosts.directory(
                List.of(directory.resolve("certs.d")), HostsMode.STRICT, Set.of(registry));
    }

    private RegistryClients clients(RegistryHosts hosts) {
        return new RegistryClients(
                RegistryOptions.defaults(), Set.of(), _ -> hosts, PolicyGate.open());
    }

    private static TestImage image() throws ImageException {
        return ImageBuilder.oci().layer(tar -> tar.file("text", "hello")).build();
    }

    private static PullRequest onPlainHttp(String reference) {
        return new PullRequest(reference, Optional.empty(), false, true, true);
    }

    private static CopyRequest copyOnPlainHttp(String reference, Path layout)
            throws ImageException {
        return new CopyRequest(
                ImageLocation.parse("docker://" + reference),
                ImageLocation.parse("oci:" + layout),
                CopyPlatforms.ONE,
                Optional.empty(),
                false,
                false,
                true,
                false);
    }

    @Test
    void fileNamesHttps_httpsIsSpokenAndSaidSo() throws Exception {
        TestAuthority authority = TestAuthority.create("ca");
        Path ca = Files.writeString(directory.resolve("ca.pem"), authority.certificatePem());
        try (InMemoryRegistry registry =
                InMemoryRegistry.startTls(authority.server("localhost"), null)) {
            String reference = registry.push("a", "1", image());
            String name = reference.substring(0, reference.indexOf('/'));
            RegistryHosts hosts =
                    hosts(name, "server = \"https://%s\"\nca = \"%s\"\n".formatted(name, ca));
            try (Host host = Host.open(directory.resolve("host"), o -> o, hosts)) {
                PullResult result = host.images.pull(onPlainHttp(reference), ProgressListener.NONE);
                assertEquals(1, result.warnings().size(), result.warnings().toString());
                String warning = result.warnings().getFirst();
                assertTrue(warning.contains("hosts.toml:1 names https://" + name), warning);
                assertTrue(warning.contains("write http:// there"), warning);
                assertEquals(
                        List.of(warning),
                        host.images
                                .copy(
                                        copyOnPlainHttp(reference, directory.resolve("x")),
                                        ProgressListener.NONE)
                                .warnings());
                assertEquals(List.of(), host.pull(reference).warnings());
            }
        }
    }

    /// The failure alone would advise what was done already, or nothing that helps.
    @Test
    void fileNamesHttps_butPlainHttpIsSpoken_saysWhereToChangeIt() throws Exception {
        TestAuthority authority = TestAuthority.create("ca");
        try (InMemoryRegistry closes = InMemoryRegistry.start();
                InMemoryRegistry answers =
                        InMemoryRegistry.startTls(authority.server("localhost"), null)) {
            assertSaysWhereToChangeIt(closes, ErrorKind.UNAVAILABLE, "no answer from");
            // As most servers of plain http answer a handshake.
            answers.tlsFault(TlsFault.PLAIN);
            assertSaysWhereToChangeIt(
                    answers, ErrorKind.INVALID_ARGUMENT, "the server does not speak https here");
        }
    }

    private void assertSaysWhereToChangeIt(InMemoryRegistry registry, ErrorKind kind, String why)
            throws Exception {
        String reference = registry.push("a", "1", image());
        String name = reference.substring(0, reference.indexOf('/'));
        RegistryHosts hosts = hosts(name, "server = \"https://" + name + '"');
        try (Host host = Host.open(directory.resolve("host-" + kind), o -> o, hosts)) {
            for (ImageException e :
                    List.of(
                            assertFails(
                                    kind,
                                    () ->
                                            host.images.pull(
                                                    onPlainHttp(reference), ProgressListener.NONE)),
                            assertFails(
                                    kind,
                                    () ->
                                            host.images.copy(
                                                    copyOnPlainHttp(
                                                            reference, directory.resolve("x")),
                                                    ProgressListener.NONE)))) {
                String message = String.valueOf(e.getMessage());
                assertTrue(message.contains(why), message);
                assertTrue(message.contains("hosts.toml:1 names https://" + name), message);
                assertTrue(message.contains("write http:// there"), message);
                assertFalse(message.contains("--plain-http"), message);
            }
        }
    }

    /// Each side is asked for plain http, and each is told of its own failures only.
    @Test
    void copy_otherFailures_sayNothingOfPlainHttp() throws Exception {
        TestAuthority authority = TestAuthority.create("ca");
        Path ca = Files.writeString(directory.resolve("ca.pem"), authority.certificatePem());
        try (InMemoryRegistry from =
                        InMemoryRegistry.startTls(authority.server("localhost"), null);
                InMemoryRegistry into = InMemoryRegistry.start()) {
            String source = from.push("a", "1", image());
            RegistryHosts sourceHosts =
                    hosts(
                            from.authority(),
                            "server = \"https://%s\"\nca = \"%s\"\n"
                                    .formatted(from.authority(), ca));
            CopyRequest request =
                    new CopyRequest(
                            ImageLocation.parse("docker://" + source),
                            ImageLocation.parse("docker://" + into.authority() + "/b"),
                            CopyPlatforms.ONE,
                            Optional.empty(),
                            false,
                            false,
                            true,
                            true);
            into.always("/", Fault.error(503, "UNAVAILABLE", "later"));
            assertTrue(!copyFails(sourceHosts, request).contains("plain http was asked for"));

            RegistryHosts both =
                    hosts(into.authority(), "server = \"https://" + into.authority() + '"');
            String message = copyFails(both, request);
            assertTrue(message.contains("names https://" + into.authority()), message);
            assertTrue(!message.contains("names https://" + from.authority()), message);

            from.always("/", Fault.error(503, "UNAVAILABLE", "later"));
            String other = copyFails(both, request);
            assertTrue(other.contains("UNAVAILABLE later"), other);
            assertTrue(!other.contains("plain http was asked for"), other);
        }
    }

    private String copyFails(RegistryHosts hosts, CopyRequest request) throws IOException {
        RegistryOptions options =
                RegistryOptions.defaults()
                        .withRetries(2, Duration.ofMillis(1), Duration.ofMillis(2))
                        .withOutageTimeout(Duration.ZERO);
        try (RegistryClients clients =
                new RegistryClients(options, Set.of(), _ -> hosts, PolicyGate.open())) {
            ImageCopier copier = new ImageCopier(clients, Limits.defaults(), 2);
            return String.valueOf(
                    assertFails(
                                    ErrorKind.UNAVAILABLE,
                                    () -> copier.copy(request, ProgressListener.NONE))
                            .getMessage());
        }
    }

    @Test
    void pull_otherFailure_saysNothingOfPlainHttp() throws Exception {
        TestAuthority authority = TestAuthority.create("ca");
        Path ca = Files.writeString(directory.resolve("ca.pem"), authority.certificatePem());
        try (InMemoryRegistry registry =
                InMemoryRegistry.startTls(authority.server("localhost"), null)) {
            String reference = registry.push("a", "1", image());
            registry.always("/", Fault.error(503, "UNAVAILABLE", "later"));
            RegistryHosts hosts =
                    hosts(
                            registry.authority(),
                            "server = \"https://%s\"\nca = \"%s\"\n"
                                    .formatted(registry.authority(), ca));
            try (Host host = Host.open(directory.resolve("host"), o -> o, hosts)) {
                ImageException e =
                        assertFails(
                                ErrorKind.UNAVAILABLE,
                                () ->
                                        host.images.pull(
                                                onPlainHttp(reference), ProgressListener.NONE));
                String message = String.valueOf(e.getMessage());
                assertTrue(!message.contains("plain http was asked for"), message);
            }
        }
    }

    /// Who says so by an alert speaks https, and so does whose connection breaks later.
    @ParameterizedTest
    @ValueSource(
            strings = {
                "Received fatal alert: handshake_failure",
                "Received fatal alert: protocol_version",
                "Tag mismatch",
                "Connection reset"
            })
    void explain_serverThatSpeaksHttps_sameFailure(String why) {
        PlainHttpRefused refused = new PlainHttpRefused("r.example", "hosts.toml:1");
        ImageException failure =
                RegistryException.noAnswer(
                        ErrorKind.UNAVAILABLE,
                        "a: no answer from r.example: TLS: " + why,
                        "r.example",
                        new SSLException(why));
        assertSame(failure, refused.explain(failure));
    }

    @Test
    void fileLeavesTheRegistryOpen_plainHttpIsSpokenAndNothingSaid() throws Exception {
        String mirror = "[host.\"https://mirror.invalid\"]\n";
        for (String toml : List.of("", mirror, "server = \"http://r.example:5000\"\n" + mirror)) {
            try (RegistryClients clients = clients(hosts("r.example:5000", toml))) {
                assertEquals(
                        Optional.empty(), clients.plainHttpRefused("r.example:5000", true), toml);
            }
        }
    }

    @Test
    void plainHttp_ofTheCallOrTheConfiguration_isWhatIsSpokenOf() throws Exception {
        RegistryHosts hosts = hosts("r.example", "server = \"https://r.example\"");
        try (RegistryClients clients = clients(hosts)) {
            assertEquals(Optional.empty(), clients.plainHttpRefused("r.example", false));
            assertTrue(clients.plainHttpRefused("r.example", true).isPresent());
        }
        try (RegistryClients clients =
                new RegistryClients(
                        RegistryOptions.defaults(),
                        Set.of("r.example"),
                        _ -> hosts,
                        PolicyGate.open())) {
            assertTrue(clients.plainHttpRefused("r.example", false).isPresent());
        }
    }
}
