package dev.imgd.image;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.hosts.RegistryHost;
import dev.imgd.image.ImageService.PullRequest;
import dev.imgd.image.ImageService.PullResult;
import dev.imgd.model.Descriptor;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.MediaType.Compression;
import dev.imgd.registry.TransferOptions;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TcpProxy;
import dev.imgd.testkit.TestImage;
import dev.imgd.testkit.TokenServer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Pulls of a large layer, over several slow connections, while something happens to the registry.
/// What is sent a second time is counted on the wire.
@Tag("root")
class DisturbedPullTest {
    private static final int LAYER_BYTES = 48 << 20;
    private static final TestImage IMAGE = image();
    private static final Duration OUTAGE = Duration.ofSeconds(2);

    /// Connections that are broken before a download fails that does not wait.
    private static final int MORE_THAN_ATTEMPTS = 30;

    @TempDir Path directory;
    private InMemoryRegistry registry;
    private TcpProxy way;
    private Host host;
    private String reference;

    @BeforeEach
    void start() throws IOException {
        registry = InMemoryRegistry.start();
        reference = registry.push("a", "1", IMAGE);
        way = TcpProxy.to(registry.port());
        way.limitEachConnection(8 << 20);
        host = host(Duration.ofMinutes(1));
    }

    private Host host(Duration outage) throws IOException {
        return Host.open(
                directory,
                options ->
                        options.withOutageTimeout(outage)
                                .withTransfer(TransferOptions.defaults().withRanges(4, 1 << 20)),
                _ -> List.of(RegistryHost.of(RegistryHost.Scheme.HTTP, way.authority())));
    }

    @AfterEach
    void stop() throws IOException {
        host.close();
        way.close();
        registry.close();
    }

    private static TestImage image() {
        byte[] content = new byte[LAYER_BYTES];
        new Random(4).nextBytes(content);
        return ImageBuilder.oci()
                .layer(Compression.NONE, tar -> tar.file("large", 0644, content))
                .build();
    }

    /// Pulls, and does something once so many bytes of the layer are there.
    private PullResult pullAnd(long atBytes, Runnable disturbance) throws IOException {
        AtomicBoolean done = new AtomicBoolean();
        PullResult result =
                host.images.pull(
                        PullRequest.of(reference),
                        state -> {
                            if (state.doneBytes() >= atBytes && !done.getAndSet(true)) {
                                disturbance.run();
                            }
                        });
        assertTrue(done.get(), "too fast to be disturbed");
        assertEquals(IMAGE.manifest().digest(), result.digest());
        host.assertSound();
        return result;
    }

    private void assertNearlyOnce() {
        long size = IMAGE.layers().stream().mapToLong(Descriptor::sizeBytes).sum();
        assertTrue(way.bytes() <= 1.05 * size, "%d bytes for %d".formatted(way.bytes(), size));
    }

    @Test
    void pull_registryRestarts_goesOnWhereItStopped() throws IOException {
        PullResult result = pullAnd(LAYER_BYTES / 3, () -> way.goAwayFor(MORE_THAN_ATTEMPTS));
        assertEquals(0, way.toRefuse());
        assertTrue(result.sources().getFirst().retries() > 0, result.sources().toString());
        assertNearlyOnce();
    }

    @Test
    void pull_registryStaysAway_saysHowLongAndWhatIsKept() throws IOException {
        host.close();
        host = host(OUTAGE);
        ImageException e =
                assertThrows(
                        ImageException.class,
                        () ->
                                pullAnd(
                                        LAYER_BYTES / 3,
                                        () -> {
                                            try {
                                                way.goAway();
                                            } catch (IOException closing) {
                                                throw new UncheckedIOException(closing);
                                            }
                                        }));
        assertEquals(ErrorKind.UNAVAILABLE, e.kind());
        String message = e.getMessage();
        Matcher waited = Pattern.compile("and was asked again for (\\d+) s").matcher(message);
        assertTrue(waited.find(), message);
        assertTrue(Integer.parseInt(waited.group(1)) >= OUTAGE.toSeconds(), message);
        assertTrue(message.contains("bytes are kept, pull again to go on"), message);
    }

    @Test
    void pull_tokenExpires_getsAnotherOne() throws IOException {
        try (TokenServer tokens = TokenServer.start()) {
            registry.requireToken(tokens);
            pullAnd(LAYER_BYTES / 3, tokens::revokeAll);
            assertTrue(tokens.requests().size() >= 2, tokens.requests().toString());
            assertNearlyOnce();
        }
    }
}
