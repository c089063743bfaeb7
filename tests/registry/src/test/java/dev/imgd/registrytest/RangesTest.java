package dev.imgd.registrytest;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.hosts.RegistryHost;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.EarlyBytes;
import dev.imgd.model.EarlyBytes.Place;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.MediaType;
import dev.imgd.registry.RegistryClient.BlobStream;
import dev.imgd.registry.RegistryClient.BlobWish;
import dev.imgd.registry.RegistryClient.SourceUse;
import dev.imgd.registry.RegistryClient.Span;
import dev.imgd.registry.RegistryOptions;
import dev.imgd.registry.TransferOptions;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TcpProxy;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.zip.CRC32C;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/// A big blob behind slow connections.
@Timeout(120)
class RangesTest extends Fixture {
    private static final int SIZE = 40 << 20;
    private static final long RATE = 6 << 20;
    private static final byte[] CONTENT = random(SIZE, 9);
    private static final Descriptor BLOB =
            new Descriptor(MediaType.OCI_LAYER_GZIP, Digest.sha256(CONTENT), SIZE);
    private static final TransferOptions RANGES = TransferOptions.defaults().withRanges(4, 1 << 20);

    private InMemoryRegistry mirror;
    private TcpProxy toMirror;
    private TcpProxy toRegistry;

    @BeforeEach
    void startWays() throws IOException {
        mirror = InMemoryRegistry.start();
        registry.content().putBlob(BLOB.digest(), CONTENT);
        mirror.content().putBlob(BLOB.digest(), CONTENT);
        toMirror = TcpProxy.to(mirror.port());
        toRegistry = TcpProxy.to(registry.port());
        toMirror.limitEachConnection(RATE);
        toRegistry.limitEachConnection(RATE);
        useWays(QUICK.withTransfer(RANGES), toRegistry);
    }

    @AfterEach
    void stopWays() throws IOException {
        toMirror.close();
        toRegistry.close();
        mirror.close();
    }

    private void useWays(RegistryOptions options, TcpProxy... ways) {
        List<RegistryHost> hosts = new ArrayList<>();
        for (TcpProxy way : ways) {
            hosts.add(RegistryHost.of(RegistryHost.Scheme.HTTP, way.authority()));
        }
        use(options.withHosts(_ -> hosts));
    }

    private static void assertRest(int offset, BlobStream stream) throws IOException {
        ByteBuffer rest = ByteBuffer.allocateDirect(SIZE - offset + 1);
        while (stream.read(rest) >= 0) {
            assertTrue(rest.hasRemaining(), "longer than it should be");
        }
        assertEquals(ByteBuffer.wrap(CONTENT, offset, SIZE - offset), rest.flip());
    }

    /// Reads to the end and checks what came and from whom it is said to be.
    private List<Span> read(int offset) throws IOException {
        try (BlobStream stream = client.blob(reference("app:1"), BLOB, offset)) {
            ByteBuffer all = ByteBuffer.allocateDirect(SIZE - offset + 1);
            while (stream.read(all) >= 0) {
                assertTrue(all.hasRemaining(), "longer than it should be");
            }
            all.flip();
            assertEquals(ByteBuffer.wrap(CONTENT, offset, SIZE - offset), all);
            long at = offset;
            for (Span span : stream.spans()) {
                assertEquals(at, span.offset());
                at += span.sizeBytes();
            }
            assertEquals(SIZE, at);
            return stream.spans();
        }
    }

    private double seconds(Reading reading) throws IOException {
        long start = System.nanoTime();
        reading.run();
        return (System.nanoTime() - start) / 1e9;
    }

    @FunctionalInterface
    private interface Reading {
        void run() throws IOException;
    }

    private long bytesFrom(TcpProxy way) {
        return client.sources().stream()
                .filter(use -> use.host().equals(way.authority()))
                .mapToLong(SourceUse::blobBytes)
                .sum();
    }

    @Test
    void read_slowConnections_severalServe() throws Exception {
        read(0);

        assertTrue(toRegistry.mostConnections() > 1, "one connection is slow");
        assertTrue(toRegistry.mostConnections() <= 5, "at most 4 and one between two requests");
        assertTrue(toRegistry.bytes() < 1.05 * SIZE, "sent " + toRegistry.bytes());
    }

    private static long size(EarlyBytes early) {
        return early.kept().stream().mapToLong(Place::sizeBytes).sum();
    }

    /// Reads until something was kept.
    ///
    /// @return how many bytes were read
    private int readSome(EarlyBytes early) throws IOException {
        try (BlobStream stream =
                client.blob(reference("app:1"), BLOB, new BlobWish(0, false, early))) {
            ByteBuffer part = ByteBuffer.allocateDirect(SIZE);
            while (size(early) < 1 << 20) {
                part.limit(Math.min(SIZE, part.position() + 10_000));
                assertTrue(stream.read(part) > 0, "nothing came early");
            }
            return part.position();
        }
    }

    @Test
    void read_afterKill_fetchesNothingTwice() throws IOException {
        MemoryEarlyBytes early = new MemoryEarlyBytes();
        int offset = readSome(early);
        MemoryEarlyBytes left = early.copy();
        long kept = size(left);
        long before = toRegistry.bytes();

        try (BlobStream stream =
                client.blob(reference("app:1"), BLOB, new BlobWish(offset, false, left))) {
            assertRest(offset, stream);
            assertEquals(kept, stream.reusedBytes());
            assertTrue(
                    stream.spans().stream().anyMatch(span -> span.host().equals("an earlier pull")),
                    stream.spans().toString());
        }

        long sent = toRegistry.bytes() - before;
        assertTrue(
                sent <= SIZE - offset - kept / 2,
                "sent %d of %d, kept %d".formatted(sent, SIZE - offset, kept));
        assertEquals(List.of(), left.kept(), "what was read is freed");
    }

    @Test
    void read_keptPartsBeforeAndAcrossTheOffset_takesWhatIsBehindIt() throws IOException {
        MemoryEarlyBytes early = new MemoryEarlyBytes();
        for (int at : List.of(0, 1_000_000, 3_000_000)) {
            early.open(at).add(ByteBuffer.wrap(CONTENT, at, 300_000));
        }
        try (BlobStream stream =
                client.blob(reference("app:1"), BLOB, new BlobWish(1_100_000, false, early))) {
            assertRest(1_100_000, stream);
            assertEquals(200_000 + 300_000, stream.reusedBytes());
        }
    }

    /// Reads past what is kept, which the host sends as well, and goes on after it is cut off.
    @Test
    void read_keptPartsAndTheHostIgnoresRanges_isTheBlob() throws IOException {
        use(QUICK.withTransfer(RANGES));
        registry.script(
                "/blobs/",
                (exchange, body, _) -> {
                    OutputStream out = exchange.respond(200, Map.of(), body.length);
                    out.write(body, 0, 5_000_000);
                    out.flush();
                    throw new IOException("ends here");
                });
        registry.always("/blobs/", Fault.rangeIgnored());
        MemoryEarlyBytes early = new MemoryEarlyBytes();
        for (int at : List.of(3_000_000, 4_900_000, 6_000_000)) {
            early.open(at).add(ByteBuffer.wrap(CONTENT, at, 300_000));
        }
        try (BlobStream stream =
                client.blob(reference("app:1"), BLOB, new BlobWish(100, false, early))) {
            assertRest(100, stream);
        }
        assertEquals(
                List.of(6_000_000L),
                early.kept().stream().map(Place::offset).toList(),
                "what was passed when it went on is freed");
    }

    @Test
    void read_hostSentWrongBytesOfAnotherBlob_whatItSentAheadIsNotUsed() throws IOException {
        useWays(QUICK.withTransfer(RANGES), toMirror, toRegistry);
        MemoryEarlyBytes early = new MemoryEarlyBytes();
        try (BlobStream stream =
                client.blob(reference("app:1"), BLOB, new BlobWish(0, false, early))) {
            ByteBuffer all = ByteBuffer.allocateDirect(SIZE + 1);
            while (size(early) < 1 << 20) {
                all.limit(Math.min(SIZE, all.position() + 10_000));
                assertTrue(stream.read(all) > 0, "nothing came early");
            }
            long at = all.position();
            client.distrust(reference("app:1"), toMirror.authority(), "wrong bytes");
            long asked = mirror.gets("/blobs/");
            all.limit(all.capacity());
            while (stream.read(all) >= 0) {
                assertTrue(all.hasRemaining(), "longer than it should be");
            }
            assertEquals(ByteBuffer.wrap(CONTENT), all.flip());
            for (Span span : stream.spans()) {
                boolean mirrors = span.host().equals(toMirror.authority());
                assertTrue(
                        !mirrors || span.offset() + span.sizeBytes() <= at,
                        stream.spans() + " although distrusted at " + at);
            }
            // Workers may have been about to ask.
            assertTrue(mirror.gets("/blobs/") <= asked + 3, mirror.accessLog().toString());
        }
    }

    @Test
    void read_slowConnectionsSendInBursts_severalServe() throws Exception {
        toRegistry.limitEachConnection(4 * RATE, 2 << 20);
        read(0);

        assertTrue(toRegistry.mostConnections() > 1, "one connection is slow");
    }

    /// What was not used when the bytes before a pause came says nothing about the end of the
    /// pause.
    @Test
    void read_usesItsBytesInPauses_severalServe() throws Exception {
        toRegistry.limitEachConnection(RATE / 3, 4 << 20); // pauses of up to 2 s
        try (BlobStream stream = client.blob(reference("app:1"), BLOB, 0)) {
            ByteBuffer all = ByteBuffer.allocateDirect(SIZE + 1);
            AtomicLong arrivedNanos = new AtomicLong();
            stream.backlog(() -> System.nanoTime() - arrivedNanos.get() > 150_000_000 ? 0 : SIZE);
            while (stream.read(all) >= 0) {
                assertTrue(all.hasRemaining(), "longer than it should be");
                arrivedNanos.set(System.nanoTime());
            }
        }

        assertTrue(toRegistry.mostConnections() > 1, "one connection is slow");
    }

    @Test
    void read_slowButNobodyWaits_isOneConnection() throws Exception {
        toRegistry.limitEachConnection(4 * RATE);
        try (BlobStream stream = client.blob(reference("app:1"), BLOB, 0)) {
            stream.backlog(() -> SIZE);
            ByteBuffer all = ByteBuffer.allocateDirect(SIZE + 1);
            while (stream.read(all) >= 0) {
                assertTrue(all.hasRemaining(), "longer than it should be");
            }
            assertEquals(ByteBuffer.wrap(CONTENT), all.flip());
        }

        assertTrue(toRegistry.mostConnections() <= 2, "one, and one between two requests");
    }

    @Test
    void read_nobodyWaitsAnyMore_furtherConnectionsEnd() throws Exception {
        try (BlobStream stream = client.blob(reference("app:1"), BLOB, 0)) {
            ByteBuffer all = ByteBuffer.allocateDirect(SIZE + 1);
            while (toRegistry.mostConnections() < 2 && stream.read(all) >= 0) {
                assertTrue(all.hasRemaining(), "longer than it should be");
            }
            assertTrue(toRegistry.mostConnections() >= 2, "one connection is slow");
            toRegistry.limitEachConnection(100 * RATE);
            stream.backlog(() -> SIZE);
            while (stream.read(all) >= 0) {
                assertTrue(all.hasRemaining(), "longer than it should be");
            }
            assertEquals(ByteBuffer.wrap(CONTENT), all.flip());
        }

        assertTrue(toRegistry.bytes() < 1.05 * SIZE, "sent " + toRegistry.bytes());
    }

    @Test
    void read_oneConnectionIsAllowed_isOneRequest() throws Exception {
        toRegistry.limitEachConnection(4 * RATE);
        useWays(QUICK.withTransfer(RANGES.withRanges(1, 1 << 20)), toRegistry);
        read(0);
        assertEquals(1, registry.gets("/blobs/"));
        assertEquals(1, toRegistry.mostConnections());
    }

    @Test
    void read_fromAnOffset_isRight() throws Exception {
        read(12_345_678);
        assertTrue(toRegistry.mostConnections() > 1);
    }

    @Test
    void read_twoSlowMirrors_bothServe() throws Exception {
        useWays(QUICK.withTransfer(RANGES), toMirror, toRegistry);
        // One connection at a time: more of them do not help.
        toMirror.limitAllConnections(RATE);
        toRegistry.limitAllConnections(RATE);

        List<Span> spans = read(0);

        assertTrue(bytesFrom(toMirror) > SIZE / 4, client.sources().toString());
        assertTrue(bytesFrom(toRegistry) > SIZE / 8, client.sources().toString());
        for (Span span : spans) {
            CRC32C crc = new CRC32C();
            crc.update(CONTENT, (int) span.offset(), (int) span.sizeBytes());
            assertEquals((int) crc.getValue(), span.crc32c());
        }
    }

    @Test
    void read_spreadIsOff_onlyTheFirstServes() throws Exception {
        useWays(QUICK.withTransfer(RANGES.withSpread(false)), toMirror, toRegistry);
        read(0);
        assertEquals(List.of(), registry.accessLog());
    }

    @Test
    void read_mirrorDiesInTheMiddle_registryServesTheRest() throws Exception {
        useWays(QUICK.withTransfer(RANGES.withSpread(false)), toMirror, toRegistry);
        try (BlobStream stream = client.blob(reference("app:1"), BLOB, 0)) {
            ByteBuffer all = ByteBuffer.allocate(SIZE);
            while (all.position() < SIZE / 2) {
                assertTrue(stream.read(all) > 0);
            }
            toMirror.goAway();
            while (all.hasRemaining()) {
                assertTrue(stream.read(all) > 0);
            }
            assertEquals(-1, stream.read(ByteBuffer.allocate(1)));
            assertArrayEquals(CONTENT, all.array());
        }
        assertTrue(bytesFrom(toRegistry) > SIZE / 4, client.sources().toString());
        assertTrue(toMirror.bytes() + toRegistry.bytes() < 1.3 * SIZE);
    }

    @Test
    void read_connectionsBreakAgainAndAgain_isRight() throws Exception {
        try (BlobStream stream = client.blob(reference("app:1"), BLOB, 0)) {
            ByteBuffer all = ByteBuffer.allocate(SIZE);
            int cuts = 0;
            while (all.hasRemaining()) {
                assertTrue(stream.read(all) > 0);
                if (all.position() > (cuts + 1) * (SIZE / 6)) {
                    cuts++;
                    toRegistry.cut();
                }
            }
            assertArrayEquals(CONTENT, all.array());
            assertTrue(cuts >= 4);
        }
    }

    @Test
    void read_rangesIgnored_isOneStream() throws Exception {
        registry.always("/blobs/", Fault.rangeIgnored());
        toRegistry.limitEachConnection(4 * RATE);
        read(0);
        assertEquals(1, registry.gets("/blobs/"));
    }

    @Test
    void read_rangesIgnoredLater_isRight() throws Exception {
        toRegistry.limitEachConnection(4 * RATE);
        registry.script("/blobs/", Fault.none(), Fault.rangeIgnored(), Fault.rangeIgnored());
        read(0);
    }

    @Test
    void read_contentRangesAreWrongAhead_readerGetsItRight() throws Exception {
        toRegistry.limitEachConnection(2 * RATE);
        registry.always(
                exchange ->
                        exchange.path().contains("/blobs/")
                                && !exchange.header("Range").orElse("bytes=0-").equals("bytes=0-")
                                && exchange.header("Range").get().matches("bytes=[1-9].*"),
                Fault.contentRange("bytes 17-41943039/41943040"));
        read(0);
    }

    @Test
    void read_tooManyRequests_isRightAndNoStorm() throws Exception {
        registry.script(
                "/blobs/",
                Fault.none(),
                Fault.rateLimited("1"),
                Fault.rateLimited("1"),
                Fault.rateLimited("1"));
        read(0);
        assertTrue(registry.gets("/blobs/") < 60, registry.accessLog().toString());
    }

    @Test
    void read_memoryIsBounded_evenWhenTheReaderIsSlow() throws Exception {
        useWays(QUICK.withTransfer(RANGES.withWindowBytes(4 << 20)), toRegistry);
        toRegistry.limitEachConnection(3 * RATE);
        try (BlobStream stream = client.blob(reference("app:1"), BLOB, 0)) {
            ByteBuffer all = ByteBuffer.allocate(SIZE);
            while (all.position() < 9 << 20) {
                assertTrue(stream.read(all) > 0);
            }
            int reached = all.position();
            // Until the window is full and nothing comes any more.
            long before;
            do {
                before = toRegistry.bytes();
                LockSupport.parkNanos(300_000_000);
            } while (toRegistry.bytes() != before);
            assertTrue(before - reached < (4 << 20) + (4 << 20), "ahead by " + (before - reached));
            while (all.hasRemaining()) {
                assertTrue(stream.read(all) > 0);
            }
            assertArrayEquals(CONTENT, all.array());
        }
    }

    @Test
    void read_noMemoryForAWindow_isStillRight() throws Exception {
        useWays(QUICK.withTransfer(RANGES.withWindowBytes(0)), toRegistry);
        toRegistry.limitEachConnection(4 * RATE);
        read(0);
    }

    @Test
    void read_bandwidthLimit_isKept() throws Exception {
        useWays(QUICK.withTransfer(RANGES.withLimits(20 << 20, 0)), toRegistry);
        double seconds = seconds(() -> read(0));
        assertTrue(seconds > 0.9 * SIZE / (20 << 20), seconds + " s");
    }

    @Test
    void read_requestLimit_isKept() throws Exception {
        use(QUICK.withTransfer(RANGES.withLimits(0, 20)));
        Descriptor small = pushBlob(random(1000, 1));
        double seconds =
                seconds(
                        () -> {
                            for (int i = 0; i < 25; i++) {
                                readBlob(small, 0);
                            }
                        });
        assertTrue(seconds > 0.9, seconds + " s for 25 requests");
    }

    @Test
    void close_whileFetchingAhead_endsTheReader() throws Exception {
        try (var executor = Executors.newVirtualThreadPerTaskExecutor()) {
            BlobStream stream = client.blob(reference("app:1"), BLOB, 0);
            ByteBuffer all = ByteBuffer.allocate(SIZE);
            while (all.position() < 9 << 20) {
                assertTrue(stream.read(all) > 0);
            }
            toRegistry.limitEachConnection(1000);
            Future<?> reader =
                    executor.submit(
                            () -> {
                                while (all.hasRemaining()) {
                                    stream.read(all);
                                }
                                return null;
                            });
            stream.close();
            Throwable cause =
                    assertThrows(ExecutionException.class, () -> reader.get(10, TimeUnit.SECONDS))
                            .getCause();
            assertEquals(ErrorKind.CANCELLED, ((ImageException) cause).kind());
        }
    }
}
