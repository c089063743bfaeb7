package dev.imgd.registrytest;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import dev.imgd.hosts.Capability;
import dev.imgd.hosts.RegistryHost;
import dev.imgd.hosts.TlsSettings;
import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryClient.BlobStream;
import dev.imgd.registry.RegistryClient.BlobWish;
import dev.imgd.registry.RegistryClient.FetchedManifest;
import dev.imgd.registry.RegistryClient.SourceUse;
import dev.imgd.registry.RegistryClient.Span;
import dev.imgd.registry.RegistryOptions;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TcpProxy;
import dev.imgd.testkit.TestImage;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import java.util.zip.CRC32C;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/// A registry with two mirrors before it.
@Timeout(60)
class FailoverTest extends Fixture {
    private static final int SIZE = 1_500_000;
    private final byte[] content = random(SIZE, 5);
    private InMemoryRegistry first;
    private InMemoryRegistry second;
    private Descriptor blob;

    @BeforeEach
    void startMirrors() throws IOException {
        first = InMemoryRegistry.start();
        second = InMemoryRegistry.start();
        blob = pushBlob(content);
        first.content().putBlob(content);
        second.content().putBlob(content);
        useMirrors(QUICK);
    }

    @AfterEach
    void stopMirrors() {
        first.close();
        second.close();
    }

    private void useMirrors(RegistryOptions options) {
        use(
                options.withHosts(
                        _ ->
                                Stream.of(first, second, registry)
                                        .map(r -> host(r.authority()))
                                        .toList()));
    }

    private static RegistryHost host(String authority) {
        return RegistryHost.of(RegistryHost.Scheme.HTTP, authority);
    }

    private SourceUse use(InMemoryRegistry of) {
        return client.sources().stream()
                .filter(use -> use.host().equals(of.authority()))
                .findFirst()
                .orElse(new SourceUse(of.authority(), 0, 0, Optional.empty()));
    }

    private static List<Long> starts(InMemoryRegistry of) {
        return of.accessLog().stream()
                .map(access -> access.header("range").orElse("bytes=0-"))
                .map(range -> Long.parseLong(range.substring(6, range.indexOf('-', 6))))
                .toList();
    }

    @Test
    void read_allIsWell_onlyTheFirstIsAsked() throws Exception {
        assertArrayEquals(content, readBlob(blob, 0));
        assertEquals(
                List.of(new SourceUse(first.authority(), SIZE, 0, Optional.empty())),
                client.sources());
        assertEquals(List.of(), second.accessLog());
        assertEquals(List.of(), registry.accessLog());
    }

    static Stream<Arguments> refusals() {
        List<Fault> faults = new ArrayList<>();
        List<String> names = new ArrayList<>();
        names.add("401 that wants a login");
        faults.add(challenge("Basic realm=\"first\""));
        names.add("401 with a realm that is not asked");
        faults.add(challenge("Bearer realm=\"http://169.254.169.254/token\",service=\"first\""));
        for (int status : new int[] {403, 404, 405, 429, 500, 502, 503, 504}) {
            names.add(Integer.toString(status));
            faults.add(Fault.status(status, Map.of(), ""));
        }
        return IntStream.range(0, names.size())
                .boxed()
                .flatMap(
                        i ->
                                Stream.of("manifest", "blob")
                                        .map(of -> arguments(names.get(i), of, faults.get(i))));
    }

    private static Fault challenge(String header) {
        return Fault.status(401, Map.of("WWW-Authenticate", header), "");
    }

    /// Every way in which a mirror says no.
    @ParameterizedTest(name = "{0}, {1}")
    @MethodSource("refusals")
    void ask_firstRefuses_nextServes(String name, String of, Fault fault) throws Exception {
        first.always("/", fault);
        if (of.equals("blob")) {
            assertArrayEquals(content, readBlob(blob, 0));
            assertEquals(SIZE, use(second).blobBytes());
        } else {
            TestImage image = ImageBuilder.oci().layer(tar -> tar.file("a", name)).build();
            second.push("app", "1", image);
            FetchedManifest manifest = client.resolve(reference("app:1"));
            assertEquals(image.content(), manifest.content());
        }
        int times = name.startsWith("5") || name.equals("429") ? 2 : 1;
        assertEquals(times, first.accessLog().size());
        assertEquals(List.of(), registry.accessLog());
    }

    @Test
    void read_breaksInTheMiddle_nextContinuesAtTheByteReached() throws Exception {
        first.always("/blobs/", Fault.endedAt(400_000));
        second.always("/blobs/", Fault.endedAt(300_000));

        try (BlobStream stream = client.blob(reference("app:1"), blob, 0)) {
            assertArrayEquals(content, drain(stream, SIZE));
            List<Span> spans = stream.spans();
            assertEquals(
                    List.of(first.authority(), second.authority(), registry.authority()),
                    spans.stream().map(Span::host).toList());
            assertEquals(
                    List.of(0L, 400_000L, 700_000L), spans.stream().map(Span::offset).toList());
            for (Span span : spans) {
                CRC32C crc = new CRC32C();
                crc.update(content, (int) span.offset(), (int) span.sizeBytes());
                assertEquals((int) crc.getValue(), span.crc32c());
            }
        }
        assertEquals(List.of(700_000L), starts(registry));
        assertEquals(400_000, use(first).blobBytes());
        assertEquals(300_000, use(second).blobBytes());
        assertEquals(800_000, use(registry).blobBytes());
        assertEquals(1, use(first).retries());
    }

    @Test
    void read_firstIsDead_isAskedOnceForAllBlobs() throws Exception {
        first.close();

        for (int i = 0; i < 5; i++) {
            assertArrayEquals(content, readBlob(blob, 0));
        }

        assertEquals(5L * SIZE, use(second).blobBytes());
        SourceUse dead = use(first);
        assertTrue(dead.dropped().orElseThrow().contains("refused"), dead.toString());
        assertEquals(2, dead.retries(), "one more try, and then the next host");
        assertEquals(List.of(), registry.accessLog());
    }

    @Test
    void read_stalls_nextContinues() throws Exception {
        useMirrors(QUICK.withTimeouts(seconds(5), seconds(5), Duration.ofMillis(300)));
        first.always("/blobs/", Fault.stalledAt(500_000));
        assertArrayEquals(content, readBlob(blob, 0));
        assertEquals(500_000, use(first).blobBytes());
        assertEquals(List.of(500_000L), starts(second));
    }

    @Test
    void read_slowerThanTheMinimum_nextContinues() throws Exception {
        useMirrors(QUICK.withTimeouts(seconds(5), seconds(5), Duration.ofMillis(400)));
        first.always("/blobs/", Fault.trickle(Duration.ofMillis(20)));
        assertArrayEquals(content, readBlob(blob, 0));
        assertTrue(use(first).blobBytes() < 1000, use(first).toString());
        assertEquals(1, second.accessLog().size());
    }

    @Test
    void read_nonsense_nextServesAndTheReportSaysWhy() throws Exception {
        first.always("/blobs/", Fault.longer(5));
        second.always("/blobs/", Fault.header("Content-Encoding", "gzip"));
        assertArrayEquals(content, readBlob(blob, 0));
        assertTrue(use(first).dropped().isPresent());
        assertTrue(use(second).dropped().orElseThrow().contains("Content-Encoding"));
        assertEquals(SIZE, use(registry).blobBytes());
    }

    @Test
    void read_mirrorHasItNot_isNotHeldAgainstIt() throws Exception {
        first.always("/blobs/", Fault.error(404, "BLOB_UNKNOWN", "no"));
        second.always("/blobs/", Fault.error(403, "DENIED", "no"));
        assertArrayEquals(content, readBlob(blob, 0));
        assertEquals(
                List.of(new SourceUse(registry.authority(), SIZE, 0, Optional.empty())),
                client.sources().stream().filter(use -> use.blobBytes() > 0).toList());
        assertEquals(Optional.empty(), use(first).dropped());
        assertTrue(use(second).dropped().orElseThrow().startsWith("denied (HTTP 403 from "));
        first.behave();
        assertArrayEquals(content, readBlob(blob, 0));
        assertEquals(SIZE, use(first).blobBytes());
    }

    @Test
    void read_mirrorWantsToBeLeftAlone_othersAreAskedAtOnce() throws Exception {
        var image = pushImage();
        first.push("app", "1", image);
        second.push("app", "1", image);
        first.always("/", Fault.rateLimited("3600"));
        useMirrors(QUICK.withRetries(5, Duration.ofMillis(2), Duration.ofMinutes(1)));
        long start = System.nanoTime();

        assertEquals(second.authority(), client.resolve(reference("app:1")).from());
        assertArrayEquals(content, readBlob(blob, 0));
        try (RegistryClient session = client.session()) {
            session.manifest(reference("app:1"), image.manifest());
            assertArrayEquals(content, readBlob(session, blob, 0));
        }

        assertEquals(1, first.accessLog().size(), "asked by nobody while it rests");
        assertTrue(System.nanoTime() - start < 20_000_000_000L);
    }

    @Test
    void read_allFail_registrysFailureIsReportedWithTheOthers() {
        first.always("/blobs/", Fault.error(403, "DENIED", "first"));
        second.always("/blobs/", Fault.truncatedAt(1000));
        registry.always("/blobs/", Fault.error(404, "BLOB_UNKNOWN", "origin"));
        ImageException e = assertFails(ErrorKind.NOT_FOUND, () -> readBlob(blob, 0));
        String others =
                "; also asked: %s (denied (HTTP 403 from %1$s): DENIED first; asked without credentials; log in with an account that may pull app), %s (connection broken: "
                        .formatted(first.authority(), second.authority());
        assertTrue(e.getMessage().contains(registry.authority()), e.getMessage());
        assertTrue(e.getMessage().contains(others), e.getMessage());
        assertEquals(2, e.getSuppressed().length);
    }

    @Test
    void read_theSameHostTwice_itsFailureIsReported() {
        use(QUICK.withHosts(_ -> List.of(host(registry.authority()), host(registry.authority()))));
        registry.always("/manifests/", Fault.error(403, "DENIED", "no"));
        registry.always("/blobs/", Fault.error(403, "DENIED", "no"));
        assertFails(ErrorKind.PERMISSION_DENIED, () -> client.resolve(reference("app:1")));
        assertFails(ErrorKind.PERMISSION_DENIED, () -> readBlob(blob, 0));
        assertEquals(2, registry.accessLog().size(), "it is asked once for each");
    }

    @Test
    void read_hostFoundOutMeanwhile_theNextGoesOn() throws Exception {
        try (BlobStream stream = client.blob(reference("app:1"), blob, 0)) {
            ByteBuffer all = ByteBuffer.allocate(SIZE);
            assertTrue(stream.read(all.limit(1000)) > 0);
            client.distrust(reference("app:1"), first.authority(), "wrong bytes of another");
            all.limit(SIZE);
            while (all.hasRemaining()) {
                assertTrue(stream.read(all) > 0);
            }
            assertArrayEquals(content, all.array());
            assertEquals(
                    List.of(first.authority(), second.authority()),
                    stream.spans().stream().map(RegistryClient.Span::host).toList());
            assertTrue(stream.spans().getFirst().sizeBytes() <= 1000);
        }
    }

    @Test
    void read_oneHost_neverMixes() throws Exception {
        first.script("/blobs/", Fault.truncatedAt(400_000));
        try (BlobStream stream = client.blob(reference("app:1"), blob, BlobWish.ofOneHost())) {
            assertArrayEquals(content, drain(stream, SIZE));
            assertEquals(1, stream.spans().size());
        }
        assertEquals(List.of(), second.accessLog());

        first.always("/blobs/", Fault.truncatedAt(1000));
        try (BlobStream stream = client.blob(reference("app:1"), blob, BlobWish.ofOneHost())) {
            assertFails(ErrorKind.UNAVAILABLE, () -> drain(stream, SIZE));
        }
        try (BlobStream stream = client.blob(reference("app:1"), blob, BlobWish.ofOneHost())) {
            assertArrayEquals(content, drain(stream, SIZE));
            assertEquals(second.authority(), stream.spans().getFirst().host());
        }
    }

    @Test
    void distrust_hostIsNeverAskedAgain() throws Exception {
        assertTrue(client.distrust(reference("app:1"), first.authority(), "wrong bytes"));
        assertTrue(client.distrust(reference("app:1"), registry.authority(), "wrong bytes"));
        assertArrayEquals(content, readBlob(blob, 0));
        assertEquals(Optional.of("wrong bytes"), use(first).dropped());
        assertFalse(client.distrust(reference("app:1"), second.authority(), "wrong bytes"));
        ImageException e = assertFails(ErrorKind.DATA_LOSS, () -> readBlob(blob, 0));
        assertTrue(e.getMessage().contains("wrong bytes"), e.getMessage());
        assertEquals(List.of(), first.accessLog());
        assertEquals(List.of(), registry.accessLog());
    }

    @Test
    void session_distrust_isForgottenWithIt() throws Exception {
        try (RegistryClient session = client.session()) {
            assertTrue(session.distrust(reference("app:1"), first.authority(), "wrong bytes"));
            assertArrayEquals(content, readBlob(session, blob, 0));
            assertEquals(SIZE, session.sources().getLast().blobBytes());
        }
        assertEquals(List.of(), first.accessLog());
        assertArrayEquals(content, readBlob(blob, 0));
        assertEquals(1, first.accessLog().size());
    }

    @Test
    void smallBlob_wrongBytes_comesFromTheNextAndTheMirrorIsDropped() throws Exception {
        first.always("/blobs/", Fault.wrongByteAt(7));
        assertEquals(Bytes.of(content), client.smallBlob(reference("app:1"), blob));
        assertTrue(use(first).dropped().orElseThrow().contains("wrong bytes"));
        assertArrayEquals(content, readBlob(blob, 0));
        assertEquals(1, first.accessLog().size());
    }

    @Test
    void manifest_wrongBytes_comesFromTheNextAndTheMirrorIsDropped() throws Exception {
        var image = pushImage();
        first.push("app", "1", image);
        second.push("app", "1", image);
        first.always("/manifests/", Fault.wrongByteAt(3));
        var fetched = client.manifest(reference("app:1"), image.manifest());
        assertEquals(image.manifest().digest(), fetched.content().sha256());
        assertEquals(second.authority(), fetched.from());
        assertTrue(use(first).dropped().isPresent());
        assertArrayEquals(content, readBlob(blob, 0));
        assertEquals(1, first.accessLog().size());
    }

    @Test
    void label_unusualPath_isPartOfIt() throws Exception {
        RegistryHost host =
                new RegistryHost(
                        RegistryHost.Scheme.HTTP,
                        first.authority(),
                        "/v2/hub",
                        Set.of(Capability.PULL),
                        Map.of(),
                        TlsSettings.SYSTEM);
        use(QUICK.withHosts(_ -> List.of(host)));
        assertArrayEquals(content, readBlob(blob, 0));
        assertEquals(first.authority() + "/v2/hub", client.sources().getFirst().host());
    }

    /// A server that is not there for a while, as when it is restarted.
    @Test
    void read_registryRestarts_goesOnWhereItStopped() throws Exception {
        try (TcpProxy way = TcpProxy.to(registry.port())) {
            use(
                    QUICK.withRetries(5, Duration.ofMillis(50), seconds(2))
                            .withHosts(_ -> List.of(host(way.authority()))));
            registry.script("/blobs/", Fault.stalledAt(700_000));
            try (BlobStream stream = client.blob(reference("app:1"), blob, 0)) {
                byte[] begin = drain(stream, 500_000);
                way.goAway();
                Thread restart =
                        Thread.ofPlatform()
                                .start(
                                        () -> {
                                            // As long as a process takes to come up.
                                            LockSupport.parkNanos(500_000_000);
                                            try {
                                                way.comeBack();
                                            } catch (IOException e) {
                                                throw new UncheckedIOException(e);
                                            }
                                        });
                byte[] rest = drain(stream, SIZE - begin.length);
                restart.join();
                assertArrayEquals(Arrays.copyOfRange(content, 500_000, SIZE), rest);
            }
            assertTrue(starts(registry).getLast() >= 500_000, starts(registry).toString());
            assertTrue(way.bytes() < 1.05 * SIZE + 200_000, "sent " + way.bytes());
        }
    }

    /// Reads so many bytes, and the end when they are the last ones.
    private static byte[] drain(BlobStream stream, int count) throws IOException {
        ByteBuffer all = ByteBuffer.allocate(count);
        while (all.hasRemaining()) {
            assertTrue(stream.read(all) > 0);
        }
        return all.array();
    }

    private static Duration seconds(int count) {
        return Duration.ofSeconds(count);
    }
}
