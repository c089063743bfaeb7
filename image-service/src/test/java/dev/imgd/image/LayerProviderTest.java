package dev.imgd.image;

import static dev.imgd.image.Host.assertFails;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ChainId;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Platform;
import dev.imgd.model.Reference;
import dev.imgd.snapshot.SnapshotMetadata;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TestImage;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@Tag("root")
class LayerProviderTest {
    private static final Duration LONG = Duration.ofHours(1);

    @TempDir Path directory;
    private InMemoryRegistry registry;
    private Host host;
    private final CountDownLatch released = new CountDownLatch(1);

    @BeforeEach
    void start() throws IOException {
        registry = InMemoryRegistry.start();
        host = Host.open(directory);
    }

    @AfterEach
    void stop() throws ImageException {
        host.close();
        registry.close();
    }

    private LayerProvider provider(Duration grace) {
        return new LayerProvider(
                host.images, host.store, host.registries, host.limits, grace, released::countDown);
    }

    private static TestImage image() {
        return ImageBuilder.oci()
                .layer(tar -> tar.directory("a", 0755).file("a/1", "1"))
                .layer(tar -> tar.file("2", "2"))
                .layer(tar -> tar.file("3", "3"))
                .build();
    }

    @Test
    void provide_manyQuestionsAtOnce_shareOnePull() throws Exception {
        TestImage image = image();
        Reference reference = Reference.parse(registry.push("a", "1", image));
        List<Digest> chain = ChainId.of(image.diffIds());
        try (LayerProvider provider = provider(LONG);
                ExecutorService threads = Executors.newFixedThreadPool(6)) {
            List<Future<LayerProvider.Layer>> answers = new ArrayList<>();
            for (int i = 0; i < 12; i++) {
                Digest id = chain.get(i % 3);
                answers.add(
                        threads.submit(() -> provider.provide(reference, Optional.empty(), id)));
            }
            for (int i = 0; i < 12; i++) {
                assertEquals(
                        new LayerProvider.Layer(
                                image.diffIds().get(i % 3),
                                i % 3 == 0 ? Optional.empty() : Optional.of(chain.get(i % 3 - 1))),
                        answers.get(i).get());
            }
            image.layers()
                    .forEach(layer -> assertEquals(1, registry.gets(layer.digest().toString())));
            assertEquals(1, registry.gets("/manifests/"));
            assertEquals(List.of(), host.names());
            host.images.gc(false, false);
            assertEquals(3, host.layers());
        }
    }

    @Test
    void provide_lastLayer_isHandedOutWhenAllAreOnTheDisk() throws Exception {
        TestImage image = image();
        Reference reference = Reference.parse(registry.push("a", "1", image));
        try (LayerProvider provider = provider(LONG)) {
            provider.provide(reference, Optional.empty(), ChainId.of(image.diffIds()).getLast());
            SnapshotMetadata rows = new SnapshotMetadata(host.store.database(), Clock.systemUTC());
            assertEquals(3, host.layers());
            assertEquals(List.of(), rows.unsynced());
        }
    }

    @Test
    void provide_afterGrace_everythingCanBeCollected() throws Exception {
        TestImage image = image();
        Reference reference = Reference.parse(registry.push("a", "1", image));
        try (LayerProvider provider = provider(Duration.ofMillis(1))) {
            provider.provide(
                    reference,
                    Optional.of(image.manifest().digest()),
                    ChainId.of(image.diffIds()).getLast());
            released.await();
            host.assertNoMess();
        }
    }

    @Test
    void provide_nestedIndex_isFollowed() throws Exception {
        TestImage image = image();
        Platform platform = Platform.host();
        TestImage nested =
                TestImage.index(Map.of(platform, TestImage.index(Map.of(platform, image))));
        Reference reference = Reference.parse(registry.push("a", "1", nested));
        try (LayerProvider provider = provider(LONG)) {
            assertEquals(
                    image.diffIds().getFirst(),
                    provider.provide(reference, Optional.empty(), image.diffIds().getFirst())
                            .diffId());
        }
    }

    @Test
    void provide_failure_reachesAllAndTheNextQuestionTriesAgain() throws Exception {
        TestImage image = image();
        Reference reference = Reference.parse(registry.push("a", "1", image));
        Digest top = ChainId.of(image.diffIds()).getLast();
        registry.always(
                image.layers().getLast().digest().toString(),
                Fault.error(404, "BLOB_UNKNOWN", "x"));
        try (LayerProvider provider = provider(LONG);
                ExecutorService threads = Executors.newFixedThreadPool(3)) {
            List<Future<ImageException>> failures = new ArrayList<>();
            for (int i = 0; i < 3; i++) {
                failures.add(
                        threads.submit(
                                () ->
                                        assertThrows(
                                                ImageException.class,
                                                () ->
                                                        provider.provide(
                                                                reference,
                                                                Optional.empty(),
                                                                top))));
            }
            for (Future<ImageException> failure : failures) {
                assertEquals(ErrorKind.NOT_FOUND, failure.get().kind());
            }
            Host.await(
                    "the lease to end",
                    () -> {
                        try {
                            return host.leases().isEmpty();
                        } catch (ImageException e) {
                            throw new AssertionError(e);
                        }
                    });
            registry.behave();
            assertEquals(
                    image.diffIds().getLast(),
                    provider.provide(reference, Optional.empty(), top).diffId());
        }
    }

    @Test
    void provide_unknownLayerOrImage_saysNotFound() throws Exception {
        TestImage image = image();
        Reference reference = Reference.parse(registry.push("a", "1", image));
        try (LayerProvider provider = provider(LONG)) {
            ImageException e =
                    assertFails(
                            ErrorKind.NOT_FOUND,
                            () ->
                                    provider.provide(
                                            reference,
                                            Optional.empty(),
                                            Digest.sha256(new byte[9])));
            assertTrue(e.getMessage().contains("chainID"), e.getMessage());
            assertFails(
                    ErrorKind.NOT_FOUND,
                    () ->
                            provider.provide(
                                    Reference.parse(registry.authority() + "/none:1"),
                                    Optional.empty(),
                                    image.diffIds().getFirst()));
        }
    }

    @Test
    void close_whileAPullRuns_endsItAndTheNextProcessReleasesItsLease() throws Exception {
        TestImage image = image();
        Reference reference = Reference.parse(registry.push("a", "1", image));
        CountDownLatch asked = new CountDownLatch(1);
        registry.always(
                image.layers().getLast().digest().toString(),
                (exchange, body, right) -> {
                    asked.countDown();
                    Fault.stall().handle(exchange, body, right);
                });
        LayerProvider provider = provider(LONG);
        try (ExecutorService threads = Executors.newSingleThreadExecutor()) {
            Future<ImageException> waiting =
                    threads.submit(
                            () ->
                                    assertThrows(
                                            ImageException.class,
                                            () ->
                                                    provider.provide(
                                                            reference,
                                                            Optional.empty(),
                                                            ChainId.of(image.diffIds())
                                                                    .getLast())));
            asked.await();
            provider.close();
            assertEquals(ErrorKind.CANCELLED, waiting.get().kind());
        }
        assertFails(
                ErrorKind.UNAVAILABLE,
                () -> provider.provide(reference, Optional.empty(), image.diffIds().getFirst()));
        assertEquals(1, host.leases().size());
        try (LayerProvider _ = provider(Duration.ofMillis(1))) {
            released.await();
            host.assertNoMess();
        }
    }
}
