package dev.imgd.registrytest;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.MediaType;
import dev.imgd.model.SizeMismatchException;
import dev.imgd.registry.RegistryClient.BlobStream;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.InMemoryRegistry.Access;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
class BlobTest extends Fixture {
    private static final int SIZE = 700_000;
    private final byte[] content = random(SIZE, 1);

    @Test
    void blob_fromTheStart_isOnePlainGet() throws Exception {
        Descriptor blob = pushBlob(content);

        assertArrayEquals(content, readBlob(blob, 0));

        assertEquals(1, registry.accessLog().size());
        assertEquals(Optional.empty(), registry.accessLog().getFirst().header("range"));
        assertEquals(
                Optional.of("identity"), registry.accessLog().getFirst().header("accept-encoding"));
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 8191, 8192, SIZE / 2, SIZE - 1})
    void blob_fromAnOffset_asksForARange(int offset) throws Exception {
        Descriptor blob = pushBlob(content);

        assertArrayEquals(Arrays.copyOfRange(content, offset, SIZE), readBlob(blob, offset));

        assertEquals(
                Optional.of("bytes=" + offset + "-"),
                registry.accessLog().getFirst().header("range"));
    }

    @Test
    void blob_fromItsEnd_needsNoRequest() throws Exception {
        Descriptor blob = pushBlob(content);
        assertEquals(0, readBlob(blob, SIZE).length);
        assertEquals(0, readBlob(pushBlob(new byte[0]), 0).length);
        assertEquals(List.of(), registry.accessLog());
    }

    @Test
    void blob_offsetOutside_isAProgrammingError() {
        Descriptor blob = pushBlob(content);
        for (long offset : new long[] {-1, SIZE + 1}) {
            assertThrows(
                    IllegalArgumentException.class,
                    () -> client.blob(reference("app:1"), blob, offset));
        }
    }

    @Test
    void blob_unknown_isNotFound() {
        Descriptor blob = new Descriptor(MediaType.OCI_LAYER_GZIP, Digest.sha256(content), SIZE);
        ImageException e =
                assertFails(ErrorKind.NOT_FOUND, () -> client.blob(reference("app:1"), blob, 0));
        assertTrue(e.getMessage().contains(blob.digest().toString()), e.getMessage());
        assertTrue(e.getMessage().contains(registry.authority()), e.getMessage());
    }

    @Test
    void read_connectionBreaksAgainAndAgain_continuesByRange() throws Exception {
        Descriptor blob = pushBlob(content);
        registry.script(
                "/blobs/",
                Fault.truncatedAt(100_000),
                Fault.endedAt(1),
                Fault.reset(),
                Fault.truncatedAt(0),
                Fault.endedAt(300_000),
                Fault.truncatedAt(299_000));

        assertArrayEquals(content, readBlob(blob, 0));

        List<Long> starts = new ArrayList<>();
        for (Access access : registry.accessLog()) {
            String range = access.header("range").orElse("bytes=0-");
            starts.add(Long.parseLong(range.substring(6, range.length() - 1)));
        }
        assertEquals(starts.stream().sorted().toList(), starts, "never goes back");
        assertTrue(starts.getLast() >= 500_000, starts.toString());
    }

    @Test
    void read_serverIgnoresRanges_skipsWhatIsThere() throws Exception {
        Descriptor blob = pushBlob(content);
        registry.always("/blobs/", Fault.rangeIgnored());
        assertArrayEquals(Arrays.copyOfRange(content, 500_000, SIZE), readBlob(blob, 500_000));

        registry.behave();
        registry.script("/blobs/", Fault.truncatedAt(400_000), Fault.rangeIgnored(), Fault.none());
        assertArrayEquals(content, readBlob(blob, 0));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "bytes 0-699999/700000",
                "bytes 499999-699999/700000",
                "bytes 500001-699999/700000",
                "bytes 500000-600000",
                "bytes 700000-800000/900000",
                "nonsense",
            })
    void read_contentRangeIsWrong_fallsBackToTheWhole(String header) throws Exception {
        Descriptor blob = pushBlob(content);
        registry.script("/blobs/", Fault.contentRange(header));

        assertArrayEquals(Arrays.copyOfRange(content, 500_000, SIZE), readBlob(blob, 500_000));

        assertEquals(Optional.empty(), registry.accessLog().getLast().header("range"));
    }

    @Test
    void read_contentRangeHasOtherTotal_isASizeMismatch() {
        Descriptor blob = pushBlob(content);
        registry.always("/blobs/", Fault.contentRange("bytes 500000-699999/700001"));
        ImageException e = assertFails(ErrorKind.DATA_LOSS, () -> readBlob(blob, 500_000));
        assertInstanceOf(SizeMismatchException.class, e);
    }

    @Test
    void read_partialAnswerToWholeRequest_isRefused() {
        Descriptor blob = pushBlob(content);
        registry.always("/blobs/", Fault.contentRange("bytes 0-699999/700000"));
        assertFails(ErrorKind.INVALID_CONTENT, () -> readBlob(blob, 0));
    }

    @Test
    void read_rangesNeverRight_givesUp() {
        Descriptor blob = pushBlob(content);
        registry.always("/blobs/", Fault.contentRange("nonsense"));
        assertFails(ErrorKind.INVALID_CONTENT, () -> readBlob(blob, 500_000));
        assertEquals(2, registry.accessLog().size());
    }

    @Test
    void read_shorterThanPromised_isASizeMismatchAfterRetries() {
        Descriptor blob = pushBlob(content);
        registry.always("/blobs/", Fault.shorter(400_000));
        ImageException e = assertFails(ErrorKind.DATA_LOSS, () -> readBlob(blob, 0));
        assertEquals(400_000, assertInstanceOf(SizeMismatchException.class, e).gotBytes());
        assertEquals(5, registry.gets("/blobs/"));
    }

    @Test
    void read_registryHasShorterBlob_isASizeMismatch() {
        Descriptor stored = pushBlob(content);
        Descriptor wrong = new Descriptor(stored.mediaType(), stored.digest(), SIZE + 5);
        ImageException e = assertFails(ErrorKind.DATA_LOSS, () -> readBlob(wrong, 0));
        assertEquals(SIZE, assertInstanceOf(SizeMismatchException.class, e).gotBytes());
    }

    @Test
    void blob_longerThanPromised_isASizeMismatchAtOnce() {
        Descriptor blob = pushBlob(content);
        registry.always("/blobs/", Fault.longer(1));
        ImageException e = assertFails(ErrorKind.DATA_LOSS, () -> readBlob(blob, 0));
        assertInstanceOf(SizeMismatchException.class, e);
        assertEquals(1, registry.gets("/blobs/"), "what is too long stays too long");
    }

    @Test
    void read_endlessBody_stopsAtThePromisedSize() {
        Descriptor blob = pushBlob(content);
        registry.always("/blobs/", Fault.endless());
        ImageException e = assertFails(ErrorKind.DATA_LOSS, () -> readBlob(blob, 0));
        assertInstanceOf(SizeMismatchException.class, e);
    }

    @Test
    void read_noProgress_givesUpAfterTheAttempts() {
        Descriptor blob = pushBlob(content);
        registry.always("/blobs/", Fault.truncatedAt(1000));
        assertFails(ErrorKind.UNAVAILABLE, () -> readBlob(blob, 0));
        assertEquals(5, registry.gets("/blobs/"));
    }

    @Test
    void read_stalledBody_isRetried() throws Exception {
        Descriptor blob = pushBlob(content);
        use(QUICK.withTimeouts(seconds(5), seconds(5), Duration.ofMillis(300)));
        registry.script("/blobs/", Fault.stalledAt(5000));
        assertArrayEquals(content, readBlob(blob, 0));
        assertEquals(2, registry.gets("/blobs/"));
    }

    @Test
    void read_slowerThanTheMinimumRate_isRetried() throws Exception {
        Descriptor blob = pushBlob(content);
        use(QUICK.withTimeouts(seconds(5), seconds(5), Duration.ofMillis(400)));
        registry.script("/blobs/", Fault.trickle(Duration.ofMillis(20)));
        assertArrayEquals(content, readBlob(blob, 0));
        assertEquals(2, registry.gets("/blobs/"));
    }

    @Test
    void blob_noAnswer_isRetriedAndReported() throws Exception {
        Descriptor blob = pushBlob(content);
        use(QUICK.withTimeouts(seconds(5), Duration.ofMillis(200), seconds(5)));
        registry.script("/blobs/", Fault.stall());
        assertArrayEquals(content, readBlob(blob, 0));

        registry.always("/blobs/", Fault.stall());
        ImageException e = assertFails(ErrorKind.UNAVAILABLE, () -> readBlob(blob, 0));
        assertTrue(e.getMessage().contains("no answer in time"), e.getMessage());
    }

    @Test
    void close_fromAnotherThread_endsABlockedRead() throws Exception {
        Descriptor blob = pushBlob(content);
        registry.always("/blobs/", Fault.stalledAt(5000));
        CountDownLatch reading = new CountDownLatch(1);
        try (var executor = Executors.newVirtualThreadPerTaskExecutor()) {
            BlobStream stream = client.blob(reference("app:1"), blob, 0);
            Future<?> reader =
                    executor.submit(
                            () -> {
                                ByteBuffer buffer = ByteBuffer.allocate(1 << 20);
                                while (true) {
                                    reading.countDown();
                                    stream.read(buffer.clear());
                                }
                            });
            assertTrue(reading.await(10, TimeUnit.SECONDS));
            stream.close();
            Throwable cause =
                    assertThrows(
                                    java.util.concurrent.ExecutionException.class,
                                    () -> reader.get(10, TimeUnit.SECONDS))
                            .getCause();
            assertEquals(
                    ErrorKind.CANCELLED,
                    assertInstanceOf(ImageException.class, cause).kind(),
                    cause.getMessage());
            stream.close();
        }
    }

    @Test
    void close_client_endsItsStreams() throws Exception {
        Descriptor blob = pushBlob(content);
        BlobStream stream = client.blob(reference("app:1"), blob, 0);
        client.close();
        assertFails(ErrorKind.CANCELLED, () -> stream.read(ByteBuffer.allocate(10)));
        assertFails(ErrorKind.CANCELLED, () -> client.blob(reference("app:1"), blob, 0));
    }

    @Test
    void smallBlob_wrongBytes_isDataLoss() throws Exception {
        Descriptor blob = pushBlob(content);
        assertEquals(Bytes.of(content), client.smallBlob(reference("app:1"), blob));
        registry.always("/blobs/", Fault.wrongByteAt(SIZE - 1));
        assertFails(ErrorKind.DATA_LOSS, () -> client.smallBlob(reference("app:1"), blob));
    }

    @Test
    void smallBlob_largerThanTheLimit_isNotEvenAskedFor() {
        Descriptor huge =
                new Descriptor(MediaType.OCI_CONFIG, Digest.sha256(content), (4 << 20) + 1);
        assertFails(ErrorKind.LIMIT_EXCEEDED, () -> client.smallBlob(reference("app:1"), huge));
        assertEquals(List.of(), registry.accessLog());
    }

    @Test
    void blob_foreignLayer_saysHowToAllowIt() throws Exception {
        Descriptor foreign =
                new Descriptor(
                        MediaType.DOCKER_FOREIGN_LAYER_GZIP,
                        Digest.sha256(content),
                        SIZE,
                        Map.of(),
                        List.of("https://127.0.0.1:1/layer", "http://mcr.example/layer"),
                        Optional.empty(),
                        Optional.empty(),
                        Optional.empty());
        ImageException off =
                assertFails(
                        ErrorKind.PERMISSION_DENIED,
                        () -> client.blob(reference("app:1"), foreign, 0));
        assertTrue(
                off.getMessage().contains("set registry.foreign_layers = true"), off.getMessage());
        assertTrue(off.getMessage().contains("\"https://127.0.0.1:1/layer\""), off.getMessage());

        use(QUICK.withForeignLayers(true));
        assertFails(ErrorKind.PERMISSION_DENIED, () -> client.blob(reference("app:1"), foreign, 0));

        // A registry that has it all the same is asked first.
        pushBlob(content);
        assertArrayEquals(content, readBlob(foreign, 0));
    }

    @Test
    void blob_manyAtOnce_allRight() throws Exception {
        List<byte[]> contents = new ArrayList<>();
        List<Descriptor> blobs = new ArrayList<>();
        for (int i = 0; i < 40; i++) {
            contents.add(random(50_000 + i, i));
            blobs.add(pushBlob(contents.get(i)));
        }
        try (var executor = Executors.newVirtualThreadPerTaskExecutor()) {
            List<Future<byte[]>> results = new ArrayList<>();
            for (Descriptor blob : blobs) {
                results.add(executor.submit(() -> readBlob(blob, 0)));
            }
            for (int i = 0; i < results.size(); i++) {
                assertArrayEquals(contents.get(i), results.get(i).get());
            }
        }
    }

    /// Whatever a registry does, what is read is right up to where it ends.
    @Test
    void read_randomFaults_neverGivesWrongBytes() throws Exception {
        Descriptor blob = pushBlob(content);
        int whole = 0;
        for (int seed = 0; seed < 60; seed++) {
            Random random = new Random(seed);
            registry.behave();
            Fault[] faults = new Fault[random.nextInt(8)];
            for (int i = 0; i < faults.length; i++) {
                faults[i] = randomFault(random);
            }
            registry.script("/blobs/", faults);
            int offset = random.nextInt(SIZE);
            try {
                assertArrayEquals(
                        Arrays.copyOfRange(content, offset, SIZE),
                        readBlob(blob, offset),
                        "seed " + seed);
                whole++;
            } catch (ImageException e) {
                assertTrue(
                        List.of(
                                        ErrorKind.UNAVAILABLE,
                                        ErrorKind.DATA_LOSS,
                                        ErrorKind.INVALID_CONTENT,
                                        ErrorKind.RATE_LIMITED)
                                .contains(e.kind()),
                        "seed " + seed + ": " + e.getMessage());
            }
        }
        assertTrue(whole > 30, whole + " of 60 were read whole");
    }

    private static Fault randomFault(Random random) {
        return switch (random.nextInt(9)) {
            case 0 -> Fault.truncatedAt(random.nextInt(SIZE));
            case 1 -> Fault.endedAt(random.nextInt(SIZE));
            case 2 -> Fault.reset();
            case 3 -> Fault.rangeIgnored();
            case 4 -> Fault.contentRange("bytes " + random.nextInt(SIZE) + "-699999/700000");
            case 5 -> Fault.error(503, "UNAVAILABLE", "later");
            case 6 -> Fault.rateLimited("0");
            case 7 -> Fault.shorter(random.nextInt(SIZE));
            default -> Fault.none();
        };
    }

    private static Duration seconds(int count) {
        return Duration.ofSeconds(count);
    }
}
