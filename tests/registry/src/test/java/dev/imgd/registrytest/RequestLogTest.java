package dev.imgd.registrytest;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.read.ListAppender;
import dev.imgd.model.Descriptor;
import dev.imgd.model.ImageException;
import dev.imgd.registry.CredentialSource;
import dev.imgd.registry.Credentials;
import dev.imgd.registry.RequestLog;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TestImage;
import dev.imgd.testkit.TokenServer;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.slf4j.LoggerFactory;

/// What the log has of requests when it is to have them.
@Timeout(60)
class RequestLogTest extends Fixture {
    private static final String CANARY = "canary-5d20";

    private final Logger logger = (Logger) LoggerFactory.getLogger(RequestLog.class);
    private final ListAppender<ILoggingEvent> logged = new ListAppender<>();

    @BeforeEach
    void listen() {
        RequestLog.turnOn();
        logger.setLevel(Level.DEBUG);
        logger.setAdditive(false);
        logged.start();
        logger.addAppender(logged);
        use(QUICK);
    }

    @AfterEach
    void stopListening() {
        RequestLog.turnOff();
        logger.detachAppender(logged);
        logger.setLevel(null);
        logger.setAdditive(true);
    }

    /// The lines, without the times, which no test can know.
    private List<String> lines() {
        return List.copyOf(logged.list).stream()
                .map(ILoggingEvent::getFormattedMessage)
                .map(line -> line.replaceAll(" duration_ms=\\d+ ", " "))
                .toList();
    }

    private String url(String rest) {
        return "http://" + registry.authority() + "/v2/app/" + rest;
    }

    @Test
    void everyRequest_isALineWithItsOutcome() throws Exception {
        TestImage image = pushImage();
        registry.script("/manifests/", Fault.status(503, Map.of("Content-Length", "0"), ""));
        client.resolve(reference("app:1"));
        String same = "request method=GET url=%s ".formatted(url("manifests/1"));
        String host = " host=" + registry.authority();
        assertEquals(
                List.of(
                        same + "status=503 bytes=0 attempt=1" + host,
                        same
                                + "status=200 bytes=%d attempt=2".formatted(image.content().size())
                                + host),
                lines());
    }

    @Test
    void noAnswer_isALineWithTheReason() throws Exception {
        pushImage();
        registry.close();
        assertThrows(ImageException.class, () -> client.resolve(reference("app:1")));
        assertEquals(3, lines().size(), lines().toString());
        assertTrue(
                lines().getFirst()
                        .equals(
                                "request method=GET url=%s error=\"connection refused; check the address and that the server runs\" attempt=1 host=%s"
                                        .formatted(url("manifests/1"), registry.authority())),
                lines().toString());
        assertTrue(lines().getLast().contains(" attempt=3 "), lines().toString());
    }

    @Test
    void tokenServer_askedAgain_isCountedAndNamesItsRegistry() throws Exception {
        pushImage();
        try (TokenServer tokens = TokenServer.start();
                TokenServer weak = TokenServer.start()) {
            weak.answer(
                    exchange ->
                            exchange.respond(
                                    weak.requests().size() < 3 ? 503 : 307,
                                    Map.of("Location", tokens.realm()),
                                    new byte[0]));
            registry.requireToken(tokens, weak.realm());
            client.resolve(reference("app:1"));
            String get = "request method=GET url=";
            List<String> asked =
                    lines().stream()
                            .filter(line -> line.contains("/token "))
                            .map(line -> line.replaceFirst(" bytes=\\w+ ", " "))
                            .toList();
            String host = " host=" + registry.authority();
            assertEquals(
                    List.of(
                            get + weak.realm() + " status=503 attempt=1" + host,
                            get + weak.realm() + " status=503 attempt=2" + host,
                            get + weak.realm() + " status=307 attempt=3" + host,
                            get + tokens.realm() + " status=200 attempt=1" + host),
                    asked);
        }
    }

    /// Off, a client says nothing, whatever the level of its logger.
    @Test
    void turnedOff_noRequestIsALine() throws Exception {
        pushImage();
        RequestLog.turnOff();
        use(QUICK);
        client.resolve(reference("app:1"));
        assertEquals(List.of(), lines());
    }

    /// Redirects and token servers are requests of their own, and what gives access is left out.
    @Test
    void secrets_areInNoLine() throws Exception {
        byte[] content = random(1000, 1);
        Descriptor blob = pushBlob(content);
        try (InMemoryRegistry store = InMemoryRegistry.start();
                TokenServer tokens = TokenServer.start()) {
            store.content().putBlob(content);
            registry.always(
                    "/blobs/",
                    Fault.redirect(
                            307,
                            "http://%s/v2/app/blobs/%s?X-Signature=%s#%s"
                                    .formatted(store.authority(), blob.digest(), CANARY, CANARY)));
            registry.requireToken(tokens);
            use(
                    QUICK.withCredentials(
                            CredentialSource.of(
                                    registry.authority(), new Credentials.Login("me", CANARY))));
            readBlob(blob, 0);
            List<String> lines = lines();
            assertTrue(lines.stream().anyMatch(l -> l.contains(" status=401 ")), lines.toString());
            assertTrue(
                    lines.stream()
                            .anyMatch(
                                    l ->
                                            l.contains(" url=" + tokens.realm())
                                                    && l.contains(" status=200 ")),
                    lines.toString());
            assertTrue(
                    lines.stream()
                            .anyMatch(
                                    l ->
                                            l.contains(" url=http://" + store.authority())
                                                    && l.contains(" status=200 bytes=1000 ")
                                                    && l.endsWith(" host=" + registry.authority())),
                    lines.toString());
            for (String line : lines) {
                assertFalse(line.contains(CANARY), line);
                assertFalse(line.contains("?"), line);
            }
        }
    }
}
