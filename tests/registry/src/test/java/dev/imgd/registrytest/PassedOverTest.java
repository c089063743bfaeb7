package dev.imgd.registrytest;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.read.ListAppender;
import dev.imgd.hosts.HostsMode;
import dev.imgd.hosts.RegistryHosts;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryClient.SourceUse;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TestAuthority;
import dev.imgd.testkit.TestImage;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.slf4j.LoggerFactory;

/// A host that is of no use is named with its reason: in the report, in one warning and in the log
/// where another host helped, in the error where none did.
@Timeout(60)
class PassedOverTest extends Fixture {
    private static final TestAuthority AUTHORITY = TestAuthority.create("the authority");
    private static final TestAuthority STRANGER = TestAuthority.create("a stranger");

    @TempDir Path certs;
    private final ListAppender<ILoggingEvent> logged = new ListAppender<>();
    private final Logger root = (Logger) LoggerFactory.getLogger(Logger.ROOT_LOGGER_NAME);

    @BeforeEach
    void listen() {
        logged.start();
        root.addAppender(logged);
    }

    @AfterEach
    void stopListening() {
        root.detachAppender(logged);
    }

    private List<String> warnings() {
        return logged.list.stream()
                .filter(event -> event.getLevel() == Level.WARN)
                .map(ILoggingEvent::getFormattedMessage)
                .filter(text -> text.contains("passed over"))
                .toList();
    }

    private static int closedPort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return socket.getLocalPort();
        }
    }

    /// @param tables for the hosts that are asked before the registry
    private void configure(String tables) throws IOException {
        Path directory = Files.createDirectories(certs.resolve("r.example"));
        Files.writeString(
                directory.resolve("hosts.toml"),
                "server = \"http://%s\"\n%s".formatted(registry.authority(), tables));
        use(QUICK.withHosts(RegistryHosts.directory(List.of(certs), HostsMode.STRICT, Set.of())));
    }

    private static String table(String scheme, String authority, String... settings) {
        return "[host.\"%s://%s\"]\n%s\n".formatted(scheme, authority, String.join("\n", settings));
    }

    private String dropped(String host) {
        for (SourceUse use : client.sources()) {
            if (use.host().equals(host)) {
                return use.dropped().orElse("");
            }
        }
        return "";
    }

    /// Pulls everything of an image, some of it twice.
    private void pull(TestImage image) throws IOException {
        Reference app = Reference.parse("r.example/app:1");
        client.resolve(app);
        client.manifest(app, image.manifest());
        for (int i = 0; i < 2; i++) {
            client.smallBlob(app, image.layers().getFirst());
        }
    }

    private void assertPassedOver(String host, String why, String tables) throws IOException {
        configure(tables);
        logged.list.clear();
        TestImage image = pushImage();
        pull(image);
        assertTrue(dropped(host).contains(why), host + ": " + client.sources());
        String notice = "registry host %s is passed over: %s".formatted(host, dropped(host));
        assertEquals(List.of(notice), client.notices());
        assertEquals(List.of(notice), warnings());
        assertEquals("", dropped(registry.authority()));
    }

    @Test
    void pull_hostThatCannotBeReached_isNamedOnce() throws Exception {
        String dead = "localhost:" + closedPort();
        assertPassedOver(dead, "connection refused", table("http", dead));
        assertPassedOver(
                "mirror.invalid:5000",
                "no address found for this name",
                table("http", "mirror.invalid:5000"));
    }

    @Test
    void pull_hostWithoutItsFiles_isNamedOnce() throws Exception {
        assertPassedOver(
                "mirror.lan:5000",
                "nowhere.pem",
                table("https", "mirror.lan:5000", "ca = \"nowhere.pem\""));
        assertPassedOver(
                "mirror.lan:5000",
                "nokey.pem",
                table("https", "mirror.lan:5000", "client = \"nokey.pem\""));
    }

    @Test
    void pull_hostThatIsNotTrusted_isNamedOnce() throws Exception {
        try (InMemoryRegistry mirror =
                InMemoryRegistry.startTls(STRANGER.server("localhost"), null)) {
            assertPassedOver(
                    mirror.authority(),
                    "the certificate is not trusted",
                    table("https", mirror.authority()));
        }
    }

    @Test
    void pull_hostThatWantsAClientCertificate_isNamedOnce() throws Exception {
        Path directory = Files.createDirectories(certs.resolve("r.example"));
        Files.writeString(directory.resolve("ca.pem"), AUTHORITY.certificatePem());
        try (InMemoryRegistry mirror =
                InMemoryRegistry.startTls(AUTHORITY.server("localhost"), AUTHORITY)) {
            // What it says may be lost with its connection.
            assertPassedOver(
                    mirror.authority(), "", table("https", mirror.authority(), "ca = \"ca.pem\""));
            assertTrue(!dropped(mirror.authority()).isEmpty(), client.sources().toString());
        }
    }

    @Test
    void pull_hostThatRefuses_isNamedOnce() throws Exception {
        try (InMemoryRegistry mirror = InMemoryRegistry.start()) {
            String table = table("http", mirror.authority());
            mirror.always("/", Fault.status(400, Map.of(), "<html>bad</html>"));
            assertPassedOver(mirror.authority(), "refused (HTTP 400", table);
            mirror.behave();
            mirror.always("/", Fault.error(403, "DENIED", "not you"));
            assertPassedOver(mirror.authority(), "DENIED not you", table);
            mirror.behave();
            mirror.always("/", Fault.error(429, "TOOMANYREQUESTS", "slow down"));
            assertPassedOver(mirror.authority(), "too many requests", table);
            mirror.behave();
            mirror.requireBasic("Basic bm9ib2R5");
            assertPassedOver(mirror.authority(), "wants a user name and a password", table);
        }
    }

    /// A proxy cache may have the image and hide its signatures.
    @Test
    void pull_hostThatRefusesASignature_isAskedForTheImageAsBefore() throws Exception {
        TestImage image = pushImage();
        String tag = image.manifest().digest().toString().replace(':', '-') + ".sig";
        TestImage signature = ImageBuilder.oci().layer(tar -> tar.file("a", "signed")).build();
        registry.push("app", tag, signature);
        Reference app = Reference.parse("r.example/app:1");
        for (int status : new int[] {401, 403}) {
            try (InMemoryRegistry mirror = InMemoryRegistry.start()) {
                mirror.push("app", "1", image);
                for (String hidden :
                        List.of(
                                "/manifests/" + tag,
                                signature.manifest().digest().toString(),
                                signature.layers().getFirst().digest().toString())) {
                    mirror.always(hidden, Fault.error(status, "DENIED", "not you"));
                }
                configure(table("http", mirror.authority()));
                client.resolve(app);
                RegistryClient beside = client.beside();
                beside.resolve(app.withTag(tag));
                beside.manifest(app, signature.manifest());
                beside.smallBlob(app, signature.layers().getFirst());
                try (RegistryClient session = beside.session()) {
                    session.resolve(app.withTag(tag));
                    assertTrue(
                            session.sources().stream().allMatch(use -> use.dropped().isEmpty()),
                            () -> session.sources().toString());
                }
                assertEquals(List.of(), client.notices());
                assertEquals("", dropped(mirror.authority()));
                int asked = registry.accessLog().size();
                pull(image);
                assertEquals(asked, registry.accessLog().size(), "the mirror has it all");

                // The image itself is another matter, and so is a host that is out of order.
                mirror.behave();
                mirror.always("/manifests/" + tag, Fault.error(500, "UNKNOWN", "broken"));
                beside.resolve(app.withTag(tag));
                assertTrue(dropped(mirror.authority()).contains("broken"), "it is not asked first");
            }
        }
    }

    @Test
    void pull_hostWithoutTheImage_isNoWarning() throws Exception {
        try (InMemoryRegistry mirror = InMemoryRegistry.start()) {
            configure(table("http", mirror.authority()));
            pull(pushImage());
            assertTrue(!mirror.accessLog().isEmpty());
            assertEquals(List.of(), client.notices());
            assertEquals(List.of(), warnings());
            assertEquals("", dropped(mirror.authority()));
        }
    }

    @Test
    void pull_wrongBytes_isAWarningWhereThereIsAnotherHost() throws Exception {
        TestImage image = pushImage();
        String layer = image.layers().getFirst().digest().toString();
        try (InMemoryRegistry mirror = InMemoryRegistry.start()) {
            mirror.push("app", "1", image);
            mirror.always(layer, Fault.wrongByteAt(5));
            assertPassedOver(
                    mirror.authority(), "sent wrong bytes of ", table("http", mirror.authority()));
        }
        configure("");
        logged.list.clear();
        registry.always(layer, Fault.wrongByteAt(5));
        assertFails(ErrorKind.DATA_LOSS, () -> pull(image));
        assertEquals(List.of(), warnings());
        assertEquals(List.of(), client.notices());
    }

    /// That a host was out of order is no reason not to say that it is not to be believed.
    @Test
    void pull_hostThatFailedSendsWrongBytes_isNamedForBoth() throws Exception {
        TestImage image = pushImage();
        String layer = image.layers().getFirst().digest().toString();
        try (InMemoryRegistry mirror = InMemoryRegistry.start()) {
            mirror.push("app", "1", image);
            mirror.always("/manifests/", Fault.error(500, "UNKNOWN", "out of order"));
            mirror.always(layer, Fault.wrongByteAt(5));
            // Now it is asked after the registry, which has no more than a moment of weakness.
            registry.script(layer, Fault.error(404, "BLOB_UNKNOWN", "not yet"));
            configure(table("http", mirror.authority()));
            logged.list.clear();
            pull(image);
            List<String> notices = client.notices();
            assertEquals(2, notices.size(), notices.toString());
            String of = "registry host " + mirror.authority() + " is passed over: ";
            assertTrue(
                    notices.getFirst().startsWith(of + "the registry failed"), notices::toString);
            assertEquals(of + "sent wrong bytes of " + layer, notices.getLast());
            assertEquals(notices, warnings());
        }
    }

    @Test
    void pull_twoSessions_eachIsTold() throws Exception {
        configure(table("https", "mirror.lan:5000", "ca = \"nowhere.pem\""));
        pushImage();
        for (int i = 1; i <= 2; i++) {
            try (RegistryClient session = client.session()) {
                session.resolve(Reference.parse("r.example/app:1"));
                assertEquals(1, session.notices().size());
                assertEquals(i, warnings().size());
            }
        }
    }

    @Test
    void list_someHostFails_isWarnedOf() throws Exception {
        configure(table("https", "mirror.lan:5000", "ca = \"nowhere.pem\""));
        pushImage();
        Reference app = Reference.parse("r.example/app:1");
        assertEquals(List.of("1"), client.listing().tags(app, Optional.empty(), 10));
        client.listing().tags(app, Optional.empty(), 10);
        assertEquals(1, warnings().size());
        assertTrue(warnings().getFirst().contains("mirror.lan:5000 is passed over: "));
    }

    /// The registry itself, with a table that has its settings: what is wrong with these is what is
    /// to be mended, and there is nobody who could be asked without them.
    @Test
    void everything_registryWithATableOfItsOwn_itsFailureIsTheError() throws Exception {
        String dead = "localhost:" + closedPort();
        String table = table("https", dead, "ca = \"nowhere.pem\"");
        Reference app = Reference.parse("r.example/app:1");
        TestImage image = pushImage();
        try (InMemoryRegistry mirror = InMemoryRegistry.start()) {
            for (String more : List.of("", table("http", mirror.authority()))) {
                Path directory = Files.createDirectories(certs.resolve("r.example"));
                Files.writeString(
                        directory.resolve("hosts.toml"),
                        "server = \"https://%s\"\n%s%s".formatted(dead, table, more));
                use(
                        QUICK.withHosts(
                                RegistryHosts.directory(
                                        List.of(certs), HostsMode.STRICT, Set.of())));
                List<ImageException> failures =
                        List.of(
                                assertFails(ErrorKind.INVALID_ARGUMENT, () -> client.resolve(app)),
                                assertFails(
                                        ErrorKind.INVALID_ARGUMENT,
                                        () ->
                                                client.blob(app, image.layers().getFirst(), 0)
                                                        .close()),
                                // That the mirror knows of none is not that there are none.
                                assertFails(
                                        ErrorKind.INVALID_ARGUMENT,
                                        () ->
                                                client.listing()
                                                        .referrers(
                                                                app,
                                                                image.manifest().digest(),
                                                                Optional.empty())));
                for (ImageException failure : failures) {
                    String message = failure.getMessage();
                    assertTrue(
                            message.matches("[^;]*ca of \\Q" + dead + "\\E, .*nowhere.pem.*"),
                            message);
                    assertFalse(message.contains("refused"), message);
                }
            }
        }
    }

    @Test
    void everything_registryWithATableBeforeAMirror_isAskedPatientlyAndItsFailureIsTheError()
            throws Exception {
        Reference app = Reference.parse("r.example/app:1");
        TestImage image = pushImage();
        try (InMemoryRegistry mirror = InMemoryRegistry.start()) {
            Path directory = Files.createDirectories(certs.resolve("r.example"));
            Files.writeString(
                    directory.resolve("hosts.toml"),
                    "server = \"http://%s\"\n%s%s"
                            .formatted(
                                    registry.authority(),
                                    table("http", registry.authority()),
                                    table("http", mirror.authority())));
            use(
                    QUICK.withHosts(
                            RegistryHosts.directory(List.of(certs), HostsMode.STRICT, Set.of())));
            Fault busy = Fault.error(503, "UNAVAILABLE", "busy");
            for (String part : List.of("/manifests/", "/blobs/")) {
                registry.script(part, busy, busy);
            }
            client.resolve(app);
            client.blob(app, image.layers().getFirst(), 0).close();

            registry.always("/blobs/", Fault.error(403, "DENIED", "not you"));
            ImageException refused =
                    assertFails(
                            ErrorKind.PERMISSION_DENIED,
                            () -> client.blob(app, image.layers().getFirst(), 0).close());
            assertTrue(
                    refused.getMessage().contains("; also asked: " + mirror.authority()),
                    refused.getMessage());
        }
    }

    @Test
    void everything_allHostsFail_errorNamesEachWithItsReason() throws Exception {
        try (InMemoryRegistry mirror = InMemoryRegistry.start()) {
            mirror.always("/", Fault.error(403, "DENIED", "not you"));
            registry.always("/", Fault.error(500, "UNKNOWN", "out of order"));
            configure(
                    table("http", mirror.authority())
                            + table("https", "m.lan", "ca = \"nowhere.pem\""));
            Reference app = Reference.parse("r.example/app:1");
            TestImage image = pushImage();
            List<ImageException> failures =
                    List.of(
                            assertFails(ErrorKind.UNAVAILABLE, () -> client.resolve(app)),
                            assertFails(
                                    ErrorKind.UNAVAILABLE,
                                    () -> client.listing().tags(app, Optional.empty(), 10)),
                            assertFails(
                                    ErrorKind.UNAVAILABLE,
                                    () ->
                                            client.listing()
                                                    .repositories(
                                                            "r.example", Optional.empty(), 10)),
                            assertFails(
                                    ErrorKind.UNAVAILABLE,
                                    () ->
                                            client.listing()
                                                    .referrers(
                                                            app,
                                                            image.manifest().digest(),
                                                            Optional.empty())),
                            assertFails(
                                    ErrorKind.UNAVAILABLE,
                                    () -> client.smallBlob(app, image.layers().getFirst())));
            for (ImageException failure : failures) {
                String message = failure.getMessage();
                assertTrue(message.contains("out of order"), message);
                assertTrue(
                        message.contains("; also asked: " + mirror.authority() + " (denied"),
                        message);
                assertTrue(message.contains(", m.lan ("), message);
                assertTrue(message.contains("nowhere.pem"), message);
            }
            assertEquals(List.of(), warnings());
        }
    }
}
