package dev.imgd.image;

import static dev.imgd.image.Host.assertFails;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.content.IngestStatus;
import dev.imgd.hosts.RegistryHosts;
import dev.imgd.image.ImageService.PullResult;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TestImage;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@Tag("root")
class PullInterruptedTest {
    private static final int LAYER_BYTES = 600_000;

    @TempDir Path directory;
    private InMemoryRegistry registry;
    private Host host;

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

    /// A pull in a thread of its own.
    private final class Puller {
        final AtomicReference<@Nullable PullResult> result = new AtomicReference<>();
        final AtomicReference<@Nullable Throwable> failure = new AtomicReference<>();
        final Thread thread;

        Puller(String reference) {
            thread =
                    Thread.ofPlatform()
                            .start(
                                    () -> {
                                        try {
                                            result.set(host.pull(reference));
                                        } catch (ImageException | RuntimeException e) {
                                            failure.set(e);
                                        }
                                    });
        }

        void interruptAndAwait() throws InterruptedException {
            thread.interrupt();
            await();
            ImageException e = (ImageException) failure.get();
            assertNotNull(e);
            assertEquals(ErrorKind.CANCELLED, e.kind(), e.toString());
        }

        void await() throws InterruptedException {
            assertTrue(thread.join(Duration.ofSeconds(20)), "the pull does not end");
            Host.await("the workers to rest", () -> Host.busyWorkers().isEmpty());
        }
    }

    private static TestImage image(int seed) {
        Random random = new Random(seed);
        ImageBuilder builder = ImageBuilder.oci();
        for (int i = 0; i < 3; i++) {
            byte[] content = new byte[LAYER_BYTES];
            random.nextBytes(content);
            String name = "f" + i;
            builder.layer(tar -> tar.file(name, 0644, content));
        }
        return builder.build();
    }

    /// Serves the body up to a byte, reports, and then goes on or waits for the client to leave.
    private static Fault pauseAt(int count, boolean goOn, Runnable reached) {
        return (exchange, body, _) -> {
            String range = exchange.header("Range").orElse("bytes=0-");
            int from = Integer.parseInt(range.substring(6, range.indexOf('-', 6)));
            Map<String, String> headers = new HashMap<>();
            headers.put("Content-Type", "application/octet-stream");
            if (from > 0) {
                headers.put(
                        "Content-Range",
                        "bytes %d-%d/%d".formatted(from, body.length - 1, body.length));
            }
            int stop = Math.clamp(count, from, body.length);
            try (OutputStream out =
                    exchange.respond(from > 0 ? 206 : 200, headers, body.length - from)) {
                out.write(body, from, stop - from);
                out.flush();
                reached.run();
                if (goOn) {
                    out.write(body, stop, body.length - stop);
                } else {
                    exchange.awaitDisconnect();
                }
            }
        };
    }

    /// Serves the body until enough of it has been written to the store, and then waits for the
    /// client to leave. A reader hands on what it has when more comes late, so the end comes in
    /// drops.
    ///
    /// @param wrongByte the offset of a byte that is changed; -1 for none
    /// @param sent receives how many bytes that were
    private Fault untilIngested(Digest blob, int enough, int wrongByte, AtomicInteger sent) {
        return (exchange, right, _) -> {
            byte[] body = right.clone();
            if (wrongByte >= 0) {
                body[wrongByte] ^= 1;
            }
            Map<String, String> headers = Map.of("Content-Type", "application/octet-stream");
            try (OutputStream out = exchange.respond(200, headers, body.length)) {
                int at = enough + 50_000;
                out.write(body, 0, at);
                out.flush();
                while (ingested(blob) <= enough) {
                    LockSupport.parkNanos(3_000_000);
                    out.write(body, at++, 1);
                    out.flush();
                }
                sent.set(at);
                exchange.awaitDisconnect();
            }
        };
    }

    private long ingested(Digest blob) {
        try {
            return host.store.content().ingests(Host.NAMESPACE).stream()
                    .filter(ingest -> ingest.expected().filter(blob::equals).isPresent())
                    .mapToLong(IngestStatus::offsetBytes)
                    .sum();
        } catch (ImageException e) {
            throw new AssertionError(e);
        }
    }

    @Test
    void pull_failsAgainAndAgain_leavesOneLease() throws Exception {
        TestImage image = image(11);
        String reference = registry.push("a", "1", image);
        String layer = image.layers().get(2).digest().hex();
        AtomicBoolean broken = new AtomicBoolean(true);
        registry.always(
                exchange -> broken.get() && exchange.path().contains(layer),
                Fault.error(503, "UNAVAILABLE", "later"));
        host.close();
        host =
                Host.open(
                        directory,
                        options -> options.withRetries(1, Duration.ZERO, Duration.ZERO),
                        RegistryHosts.direct());
        for (int i = 0; i < 3; i++) {
            assertFails(ErrorKind.UNAVAILABLE, () -> host.pull(reference));
            assertEquals(1, host.leases().size(), "what came is kept: " + host.leases());
        }
        broken.set(false);
        host.pull(reference);
        host.assertSound();
        assertEquals(List.of(), host.leases());
    }

    @Test
    void pull_interruptedInTheMiddle_goesOnWhereItStopped() throws Exception {
        TestImage image = image(1);
        String reference = registry.push("a", "1", image);
        Descriptor layer = image.layers().getFirst();
        AtomicInteger sent = new AtomicInteger();
        int enough = 250_000;
        registry.script(layer.digest().toString(), untilIngested(layer.digest(), enough, -1, sent));
        Puller puller = new Puller(reference);
        long others = 0;
        for (Descriptor other : image.layers().subList(1, 3)) {
            others += other.sizeBytes();
            Host.await(
                    "the other layers",
                    () -> {
                        try {
                            return host.hasBlob(other.digest());
                        } catch (ImageException e) {
                            throw new AssertionError(e);
                        }
                    });
        }
        Host.await("bytes in the ingest", () -> sent.get() > 0);
        puller.interruptAndAwait();
        assertEquals(List.of(), host.names());
        assertFalse(host.hasBlob(layer.digest()));
        assertEquals(List.of(), host.images.verify(true));
        long kept = ingested(layer.digest());
        assertTrue(kept > enough && kept <= sent.get(), kept + " of " + sent);

        // The next process.
        host.close();
        host = Host.open(directory);
        registry.clearAccessLog();
        PullResult result = host.pull(reference);

        assertEquals(layer.sizeBytes() - kept, result.fetchedBytes());
        assertEquals(
                List.of("bytes=" + kept + "-"),
                registry.accessLog().stream()
                        .filter(access -> access.path().contains("/blobs/"))
                        .map(access -> access.header("range").orElse("whole"))
                        .toList());
        assertTrue(others > 0);
        host.assertSound();
        assertEquals(List.of(), host.leases());
        host.images.remove(List.of(reference));
        host.images.gc(false, false);
        host.assertEmpty();
    }

    @Test
    void pull_deadlinePasses_keepsWhatCameAndSaysSo() throws Exception {
        TestImage image = image(8);
        String reference = registry.push("a", "1", image);
        Descriptor layer = image.layers().getFirst();
        int stop = 400_000;
        registry.script(layer.digest().toString(), pauseAt(stop, false, () -> {}));
        host.close();
        // Long enough for the other layers on a busy machine.
        host = Host.open(directory, Duration.ofSeconds(5));

        ImageException e = assertFails(ErrorKind.DEADLINE_EXCEEDED, () -> host.pull(reference));

        long total = image.layers().stream().mapToLong(Descriptor::sizeBytes).sum();
        long here = total - layer.sizeBytes() + stop;
        assertTrue(e.getMessage().contains("after 5 s, with " + here + " of "), e.getMessage());
        assertTrue(e.getMessage().contains("pull.deadline"), e.getMessage());
        assertEquals(List.of(), host.names());
        assertEquals(stop, ingested(layer.digest()));
        host.close();
        host = Host.open(directory);
        assertEquals(layer.sizeBytes() - stop, host.pull(reference).fetchedBytes());
        host.assertSound();
    }

    @Test
    void pull_deadlinePassesWhileTheManifestIsWaitedFor_fails() throws Exception {
        String reference = registry.push("a", "1", image(9));
        registry.script("/manifests/", Fault.stall());
        host.close();
        host = Host.open(directory, Duration.ofMillis(300));
        ImageException e = assertFails(ErrorKind.DEADLINE_EXCEEDED, () -> host.pull(reference));
        assertTrue(e.getMessage().contains("after 300 ms;"), e.getMessage());
        assertEquals(List.of(), host.leases());
    }

    @Test
    void pull_interruptedWhileACollectionRemoves_endsAtOnce() throws Exception {
        CountDownLatch removing = new CountDownLatch(1);
        CountDownLatch goOn = new CountDownLatch(1);
        host.close();
        host =
                Host.open(
                        directory,
                        remover ->
                                node -> {
                                    removing.countDown();
                                    awaitQuietly(goOn);
                                    return remover.removeUnreferenced(node);
                                });
        String old = registry.push("old", "1", image(3));
        String reference = registry.push("new", "1", image(4));
        host.pull(old);
        host.images.remove(List.of(old));
        try (ExecutorService thread = Executors.newSingleThreadExecutor()) {
            Future<?> sweep = thread.submit(host.images::sweep);
            removing.await();
            Puller puller = new Puller(reference);
            Host.await("the pull to come to the collection", () -> waitsForAssembly(puller.thread));
            puller.interruptAndAwait();
            assertFalse(sweep.isDone());
            goOn.countDown();
            sweep.get();
        } finally {
            goOn.countDown();
        }
        host.pull(reference);
        host.assertSound();
    }

    /// A pull that has everything and only puts its layers together is not cut short: what is
    /// unpacked of a layer cannot be gone on with.
    @Test
    void pull_deadlinePassesAfterTheDownloads_completes() throws Exception {
        CountDownLatch removing = new CountDownLatch(1);
        CountDownLatch goOn = new CountDownLatch(1);
        Duration deadline = Duration.ofSeconds(3);
        host.close();
        host =
                Host.open(
                        directory,
                        remover ->
                                node -> {
                                    removing.countDown();
                                    awaitQuietly(goOn);
                                    return remover.removeUnreferenced(node);
                                },
                        deadline);
        String old = registry.push("old", "1", image(3));
        TestImage image = image(4);
        String reference = registry.push("new", "1", image);
        host.pull(old);
        host.images.remove(List.of(old));
        try (ExecutorService thread = Executors.newSingleThreadExecutor()) {
            Future<?> sweep = thread.submit(host.images::sweep);
            removing.await();
            long started = System.nanoTime();
            Puller puller = new Puller(reference);
            for (Descriptor layer : image.layers()) {
                Host.await(
                        "the layers",
                        () -> {
                            try {
                                return host.hasBlob(layer.digest());
                            } catch (ImageException e) {
                                throw new AssertionError(e);
                            }
                        });
            }
            Host.await("the pull to come to the collection", () -> waitsForAssembly(puller.thread));
            long passed = started + deadline.plusMillis(300).toNanos();
            Host.await("the deadline to pass", () -> System.nanoTime() - passed > 0);
            goOn.countDown();
            sweep.get();
            puller.await();
            assertNotNull(puller.result.get(), () -> String.valueOf(puller.failure.get()));
        } finally {
            goOn.countDown();
        }
        host.assertSound();
    }

    private static void awaitQuietly(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }

    private static boolean waitsForAssembly(Thread thread) {
        return Stream.of(thread.getStackTrace())
                .anyMatch(frame -> frame.getMethodName().equals("lockAssembly"));
    }

    @Test
    void pull_wrongBytesLeftByAnEarlierOne_fetchesThemAgain() throws Exception {
        TestImage image = image(2);
        String reference = registry.push("a", "1", image);
        Digest layer = image.layers().getFirst().digest();
        AtomicInteger sent = new AtomicInteger();
        registry.script(layer.toString(), untilIngested(layer, 250_000, 1000, sent));
        Puller puller = new Puller(reference);
        Host.await("bytes in the ingest", () -> sent.get() > 0);
        puller.interruptAndAwait();

        host.pull(reference);

        assertEquals(3, registry.gets(layer.toString()));
        host.assertSound();
    }

    /// A body that is too long says nothing about the bytes that were there before it.
    @Test
    void pull_bodyTooLongBehindAnEarlierOne_isReportedAtOnce() throws Exception {
        TestImage image = image(4);
        String reference = registry.push("a", "1", image);
        String layer = image.layers().getFirst().digest().toString();
        registry.always(layer, Fault.shorter(1000));
        assertFails(ErrorKind.DATA_LOSS, () -> host.pull(reference));
        registry.behave();
        registry.clearAccessLog();
        registry.always(layer, Fault.longer(1000));
        assertTimeoutPreemptively(
                Duration.ofSeconds(30),
                () -> {
                    assertFails(ErrorKind.DATA_LOSS, () -> host.pull(reference));
                });
        assertTrue(registry.gets(layer) < 10, "asked " + registry.gets(layer) + " times");
    }

    @Test
    void pull_interruptedWhileTheRegistryDoesNotAnswer_endsSoon() throws Exception {
        TestImage image = image(3);
        String reference = registry.push("a", "1", image);
        for (String silent : List.of("/manifests/", image.layers().get(1).digest().toString())) {
            CountDownLatch asked = new CountDownLatch(1);
            Fault stall = Fault.stall();
            registry.always(
                    silent,
                    (exchange, body, right) -> {
                        asked.countDown();
                        stall.handle(exchange, body, right);
                    });
            Puller puller = new Puller(reference);
            asked.await();
            long begin = System.nanoTime();
            puller.interruptAndAwait();
            assertTrue(System.nanoTime() - begin < Duration.ofSeconds(5).toNanos());
            registry.behave();
        }
        host.pull(reference);
        host.assertSound();
    }

    @Test
    void pull_interruptedBeforeItBegins_doesNothing() throws Exception {
        String reference = registry.push("a", "1", image(4));
        Thread.currentThread().interrupt();
        try {
            assertFails(ErrorKind.CANCELLED, () -> host.pull(reference));
        } finally {
            Thread.interrupted();
        }
        host.assertNoMess();
        host.pull(reference);
    }

    @Test
    void pull_interruptedAtRandomMoments_leavesNoMessAndCanBeRepeated() throws Exception {
        Random random = new Random(20261123);
        int cancelled = 0;
        for (int round = 0; round < 25; round++) {
            TestImage image = image(100 + round);
            String reference = registry.push("r" + round, "1", image);
            List<Digest> blobs = new ArrayList<>(image.blobs().keySet());
            String blob = blobs.get(random.nextInt(blobs.size())).toString();
            int at = random.nextInt(LAYER_BYTES);
            AtomicReference<@Nullable Puller> running = new AtomicReference<>();
            registry.script(
                    blob,
                    pauseAt(
                            at,
                            true,
                            () -> {
                                Host.await("the puller", () -> running.get() != null);
                                Puller puller = running.get();
                                assertNotNull(puller);
                                puller.thread.interrupt();
                            }));
            Puller puller = new Puller(reference);
            running.set(puller);
            puller.await();
            Throwable failure = puller.failure.get();
            if (failure != null) {
                ImageException e = (ImageException) failure;
                assertEquals(ErrorKind.CANCELLED, e.kind(), () -> e.toString());
                assertEquals(List.of(), host.names());
                cancelled++;
            }
            host.assertSound();
            host.pull(reference);
            host.assertSound();
            host.images.remove(List.of(reference));
            host.images.gc(false, false);
            host.assertEmpty();
        }
        assertTrue(cancelled > 10, "only " + cancelled + " were interrupted in time");
    }

    @Test
    void pull_interruptedWhileAnotherPullsTheSame_leavesTheOtherAlone() throws Exception {
        TestImage image = image(5);
        String reference = registry.push("a", "1", image);
        CountDownLatch begun = new CountDownLatch(1);
        CountDownLatch goOn = new CountDownLatch(1);
        registry.script(
                image.layers().getFirst().digest().toString(),
                pauseAt(
                        1000,
                        true,
                        () -> {
                            begun.countDown();
                            try {
                                goOn.await();
                            } catch (InterruptedException e) {
                                throw new AssertionError(e);
                            }
                        }));
        Puller first = new Puller(reference);
        begun.await();
        Puller second = new Puller(reference);
        Host.await("the second pull", () -> waitsForLocks() > 0);
        second.thread.interrupt();
        assertTrue(second.thread.join(Duration.ofSeconds(10)));
        ImageException e = (ImageException) second.failure.get();
        assertNotNull(e);
        assertEquals(ErrorKind.CANCELLED, e.kind());
        goOn.countDown();
        first.await();
        assertEquals(null, first.failure.get());
        assertEquals(1, registry.gets(image.layers().getFirst().digest().toString()));
        host.assertSound();
    }

    private static long waitsForLocks() {
        return Thread.getAllStackTraces().values().stream()
                .filter(
                        stack ->
                                java.util.Arrays.stream(stack)
                                        .anyMatch(
                                                f ->
                                                        f.getClassName()
                                                                .equals(
                                                                        KeyedLocks.class
                                                                                .getName())))
                .count();
    }
}
