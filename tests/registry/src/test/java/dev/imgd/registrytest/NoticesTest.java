package dev.imgd.registrytest;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.read.ListAppender;
import dev.imgd.model.Descriptor;
import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import dev.imgd.registry.CredentialSource;
import dev.imgd.registry.Credentials;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryOptions;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TestImage;
import java.io.IOException;
import java.time.Clock;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.slf4j.LoggerFactory;

/// `Warning` headers of a registry are shown, once.
class NoticesTest {
    private final TestImage image = ImageBuilder.oci().layer(tar -> tar.file("a", "a")).build();
    private final ListAppender<ILoggingEvent> logged = new ListAppender<>();
    private final Logger root = (Logger) LoggerFactory.getLogger(Logger.ROOT_LOGGER_NAME);
    private final AtomicReference<Instant> now =
            new AtomicReference<>(Instant.parse("2026-01-01T00:00:00Z"));
    private InMemoryRegistry registry;
    private Reference reference;
    private RegistryClient client;

    @BeforeEach
    void start() throws IOException {
        registry = InMemoryRegistry.start();
        reference = Reference.parse(registry.push("app", "1", image));
        client = RegistryClient.create(RegistryOptions.defaults().withClock(clock()));
        logged.start();
        root.addAppender(logged);
    }

    @AfterEach
    void stop() {
        root.detachAppender(logged);
        client.close();
        registry.close();
    }

    private Clock clock() {
        return new Clock() {
            @Override
            public ZoneId getZone() {
                return ZoneOffset.UTC;
            }

            @Override
            public Clock withZone(ZoneId zone) {
                return this;
            }

            @Override
            public Instant instant() {
                return now.get();
            }
        };
    }

    private Fault warning(int status, String value) {
        Descriptor manifest = image.manifest();
        return (exchange, body, _) ->
                exchange.respond(
                        status,
                        Map.of("Content-Type", manifest.mediaType(), "Warning", value),
                        body);
    }

    private List<String> shown() {
        return logged.list.stream()
                .filter(event -> event.getLevel() == Level.WARN)
                .map(ILoggingEvent::getFormattedMessage)
                .toList();
    }

    private String says(String text) {
        return "registry %s says: %s".formatted(registry.authority(), text);
    }

    @Test
    void warning_ofManyAnswers_isShownOncePerTextForAllSessions() throws Exception {
        registry.always("/manifests/", warning(200, "299 - \"moves soon\", 299 - \"old\""));
        client.resolve(reference);
        client.resolve(reference);
        try (RegistryClient session = client.session();
                RegistryClient other =
                        client.session(
                                CredentialSource.of(
                                        registry.authority(), new Credentials.Login("u", "p")))) {
            session.resolve(reference);
            session.resolve(reference);
            other.resolve(reference);
            for (RegistryClient each : List.of(client, session, other)) {
                assertEquals(List.of(says("moves soon"), says("old")), each.notices());
            }
        }
        try (RegistryClient silent = client.session()) {
            assertEquals(List.of(), silent.notices());
        }
        assertEquals(List.of(says("moves soon"), says("old")), shown());
    }

    @Test
    void warning_ofAFailure_isShown() {
        registry.always("/manifests/", warning(404, "299 - \"gone since May\""));
        assertThrows(ImageException.class, () -> client.resolve(reference));
        assertEquals(List.of(says("gone since May")), shown());
    }

    @Test
    void warning_ofWhereARegistryRedirectsTo_isNotTheRegistrys() throws Exception {
        try (InMemoryRegistry elsewhere = InMemoryRegistry.start()) {
            elsewhere.push("app", "1", image);
            elsewhere.always("/manifests/", warning(200, "299 - \"not me\""));
            registry.always(
                    "/manifests/",
                    Fault.redirect(307, "http://" + elsewhere.authority() + "/v2/app/manifests/1"));
            client.resolve(reference);
            assertEquals(1, elsewhere.gets("/manifests/"));
        }
        assertEquals(List.of(), shown());
    }

    @Test
    void warning_everNew_isShownTenTimesAnHour() throws Exception {
        for (int i = 1; i <= 30; i++) {
            registry.behave();
            registry.always("/manifests/", warning(200, "299 - \"" + i + " requests left\""));
            client.resolve(reference);
        }
        assertEquals(10, shown().size());
        now.set(now.get().plusSeconds(3601));
        client.resolve(reference);
        assertEquals(says("30 requests left"), shown().getLast());
        assertEquals(11, shown().size());
    }
}
