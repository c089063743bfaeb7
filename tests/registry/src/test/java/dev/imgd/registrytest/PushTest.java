package dev.imgd.registrytest;

import static dev.imgd.registrytest.Fixture.assertFails;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.hosts.Capability;
import dev.imgd.hosts.RegistryHost;
import dev.imgd.hosts.TlsSettings;
import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.MediaType;
import dev.imgd.model.Reference;
import dev.imgd.registry.CredentialSource;
import dev.imgd.registry.Credentials;
import dev.imgd.registry.RegistryWriter.BlobOutcome;
import dev.imgd.registry.RegistryWriter.BlobSource;
import dev.imgd.registry.TransferOptions;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry.Access;
import dev.imgd.testkit.RegistryFeature;
import dev.imgd.testkit.TcpProxy;
import dev.imgd.testkit.TestImage;
import dev.imgd.testkit.TokenServer;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// Blobs and manifests on their way into a registry.
class PushTest extends Fixture {
    private static final int BIG = 6 << 20;

    private static Descriptor descriptor(byte[] content) {
        Bytes bytes = Bytes.of(content);
        return new Descriptor(MediaType.OCI_LAYER_GZIP, bytes.sha256(), content.length);
    }

    private BlobOutcome push(byte[] content, Reference... mountFrom) throws ImageException {
        return client.writer()
                .pushBlob(
                        reference("app:1"),
                        descriptor(content),
                        BlobSource.of(Bytes.of(content)),
                        List.of(mountFrom));
    }

    private void assertStored(String repository, byte[] content) throws IOException {
        var blob = registry.content().blob(repository, descriptor(content).digest()).orElseThrow();
        try (var in = blob.open(0)) {
            assertArrayEquals(content, in.readAllBytes());
        }
    }

    private List<String> requests() {
        List<String> requests = new ArrayList<>();
        for (Access access : registry.accessLog()) {
            requests.add(access.method() + " " + access.status());
        }
        return requests;
    }

    @Test
    void pushBlob_small_oneRequestAfterTheQuestion() throws Exception {
        byte[] content = random(1_000, 1);
        assertEquals(BlobOutcome.UPLOADED, push(content));
        assertStored("app", content);
        assertEquals(List.of("HEAD 404", "POST 201"), requests());
    }

    @Test
    void pushBlob_empty_stored() throws Exception {
        assertEquals(BlobOutcome.UPLOADED, push(new byte[0]));
        assertStored("app", new byte[0]);
    }

    /// The registry is told which digest it will be, and the blob comes back under it.
    @ParameterizedTest
    @ValueSource(ints = {1_000, 100_000, BIG})
    void pushBlob_sha512_storedAndFetched(int size) throws Exception {
        byte[] content = random(size, 1);
        Digest digest = Digest.parse("sha512:" + "0".repeat(128)).ofSameAlgorithm(content);
        Descriptor blob = new Descriptor(MediaType.OCI_LAYER_GZIP, digest, size);
        client.writer()
                .pushBlob(reference("app"), blob, BlobSource.of(Bytes.of(content)), List.of());
        for (Access access : registry.accessLog()) {
            assertEquals(
                    access.method().equals("POST"),
                    access.target().contains("digest-algorithm=sha512"),
                    access.target());
        }
        assertArrayEquals(content, readBlob(blob, 0));
        if (size < BIG) {
            assertArrayEquals(content, client.smallBlob(reference("app"), blob).toArray());
            registry.always("/blobs/", Fault.wrongByteAt(7));
            assertFails(ErrorKind.DATA_LOSS, () -> client.smallBlob(reference("app"), blob));
        }
        registry.behave();
        registry.clearAccessLog();
        push(random(size, 2));
        for (Access access : registry.accessLog()) {
            assertTrue(!access.target().contains("digest-algorithm"), access.target());
        }
    }

    @Test
    void pushBlob_registryWithoutSinglePost_asksOnceOnly() throws Exception {
        registry.without(RegistryFeature.SINGLE_POST);
        push(random(1_000, 1));
        push(random(1_000, 2));
        assertStored("app", random(1_000, 2));
        assertEquals(
                List.of("HEAD 404", "POST 202", "PUT 201", "HEAD 404", "POST 202", "PUT 201"),
                requests());
        assertTrue(registry.accessLog().get(1).target().contains("digest="));
        assertTrue(!registry.accessLog().get(4).target().contains("digest="));
        assertEquals(0, registry.openUploads());
    }

    @Test
    void pushBlob_medium_monolithic() throws Exception {
        byte[] content = random(100_000, 1);
        push(content);
        assertStored("app", content);
        assertEquals(List.of("HEAD 404", "POST 202", "PUT 201"), requests());
    }

    @Test
    void pushBlob_big_patchedThenCompleted() throws Exception {
        byte[] content = random(BIG, 1);
        push(content);
        assertStored("app", content);
        assertEquals(List.of("HEAD 404", "POST 202", "PATCH 202", "PUT 201"), requests());
    }

    @Test
    void pushBlob_present_nothingSent() throws Exception {
        byte[] content = random(1_000, 1);
        push(content);
        registry.clearAccessLog();
        BlobSource untouched =
                _ -> {
                    throw new IOException("nobody should ask");
                };
        assertEquals(
                BlobOutcome.EXISTED,
                client.writer()
                        .pushBlob(reference("app:1"), descriptor(content), untouched, List.of()));
        assertEquals(List.of("HEAD 200"), requests());
    }

    @Test
    void pushBlob_inAnotherRepository_mounted() throws Exception {
        byte[] content = random(BIG, 1);
        registry.content().putBlob("other", descriptor(content).digest(), content);
        assertEquals(BlobOutcome.MOUNTED, push(content, reference("other:1")));
        assertStored("app", content);
        assertEquals(List.of("HEAD 404", "POST 201"), requests());
    }

    @Test
    void pushBlob_mountRefused_uploadedInTheSameSession() throws Exception {
        byte[] content = random(BIG, 1);
        assertEquals(BlobOutcome.UPLOADED, push(content, reference("other:1")));
        assertStored("app", content);
        assertEquals(List.of("HEAD 404", "POST 202", "PATCH 202", "PUT 201"), requests());
    }

    @Test
    void pushBlob_connectionBroken_goesOnWhereTheRegistryIs() throws Exception {
        byte[] content = random(BIG, 1);
        registry.breakUploads(2_000_000, 1_000_000);
        AtomicLong read = new AtomicLong();
        List<Long> offsets = new ArrayList<>();
        BlobSource counted =
                offset -> {
                    offsets.add(offset);
                    read.addAndGet(content.length - offset);
                    return BlobSource.of(Bytes.of(content)).open(offset);
                };
        client.writer().pushBlob(reference("app:1"), descriptor(content), counted, List.of());
        assertStored("app", content);
        assertEquals(List.of(0L, 2_000_000L, 3_000_000L), offsets);
    }

    @Test
    void pushBlob_connectionBrokenAndStatusUnknown_startsAnew() throws Exception {
        registry.without(RegistryFeature.UPLOAD_STATUS);
        byte[] content = random(BIG, 1);
        registry.breakUploads(2_000_000);
        push(content);
        assertStored("app", content);
    }

    @Test
    void pushBlob_alwaysBrokenAtTheStart_givesUpNamingTheRegistry() throws Exception {
        registry.breakUploads(1, 1, 1, 1, 1, 1, 1, 1, 1, 1);
        ImageException e = assertFails(ErrorKind.UNAVAILABLE, () -> push(random(BIG, 1)));
        assertTrue(e.getMessage().contains(registry.authority()), e.getMessage());
    }

    @Test
    void pushBlob_uploadForgotten_startsAnew() throws Exception {
        byte[] content = random(BIG, 1);
        boolean[] forgotten = {false};
        BlobSource source =
                offset -> {
                    if (!forgotten[0]) {
                        forgotten[0] = true;
                        registry.forgetUploads();
                    }
                    return BlobSource.of(Bytes.of(content)).open(offset);
                };
        client.writer().pushBlob(reference("app:1"), descriptor(content), source, List.of());
        assertStored("app", content);
    }

    @Test
    void pushBlob_serverBusyAtTheEnd_completedLater() throws Exception {
        byte[] content = random(BIG, 1);
        registry.always(
                exchange -> exchange.method().equals("PUT") && once(), Fault.error(503, "X", "y"));
        push(content);
        assertStored("app", content);
    }

    private boolean used;

    private boolean once() {
        boolean first = !used;
        used = true;
        return first;
    }

    @ParameterizedTest
    @ValueSource(strings = {"PATCH", "PUT"})
    void pushBlob_registryAsksForTime_getsItUpToTheLongestWait(String method) throws Exception {
        assertTrue(secondsWhenTold(method, "1", Duration.ofSeconds(60)) >= 1);
        assertTrue(secondsWhenTold(method, "3600", Duration.ofMillis(20)) < 20);
    }

    private double secondsWhenTold(String method, String retryAfter, Duration longest)
            throws Exception {
        use(QUICK.withRetries(5, Duration.ofMillis(1), longest));
        AtomicLong count = new AtomicLong();
        registry.behave();
        registry.always(
                exchange ->
                        exchange.method().equals(method)
                                && exchange.path().contains("/uploads/")
                                && count.getAndIncrement() == 0,
                Fault.rateLimited(retryAfter));
        byte[] content = random(BIG, retryAfter.length());
        registry.content().deleteBlob("app", descriptor(content).digest());
        long started = System.nanoTime();
        assertEquals(BlobOutcome.UPLOADED, push(content));
        double seconds = (System.nanoTime() - started) / 1e9;
        assertStored("app", content);
        assertTrue(count.get() > 1);
        return seconds;
    }

    @Test
    void push_requestLimit_isKept() throws Exception {
        use(QUICK.withTransfer(TransferOptions.defaults().withLimits(0, 20)));
        long started = System.nanoTime();
        for (int i = 0; i < 6; i++) {
            push(random(100_000, i));
            client.writer().deleteBlob(reference("app"), descriptor(random(100_000, i)).digest());
        }
        double seconds = (System.nanoTime() - started) / 1e9;
        assertEquals(24, registry.accessLog().size());
        assertTrue(seconds > 0.85, seconds + " s for 24 requests");
    }

    @Test
    void pushBlob_rangeRefused_goesOnWhereTheRegistryIs() throws Exception {
        byte[] content = random(BIG, 1);
        AtomicLong patches = new AtomicLong();
        registry.always(
                exchange -> exchange.method().equals("PATCH"),
                (exchange, _, right) -> {
                    // Of the whole; then of the second of four parts.
                    long patch = patches.incrementAndGet();
                    if (patch == 1 || patch == 3) {
                        var _ = exchange.body().readAllBytes();
                        exchange.respond(patch == 1 ? 413 : 416, Map.of(), new byte[0]);
                    } else {
                        right.handle(exchange);
                    }
                });
        push(content);
        assertStored("app", content);
        List<Access> log = registry.accessLog();
        int refused = log.stream().map(Access::status).toList().indexOf(416);
        assertEquals(
                "GET 204", log.get(refused + 1).method() + " " + log.get(refused + 1).status());
        String next = log.get(refused + 2).header("content-range").orElseThrow();
        assertEquals(BIG / 4 + "-" + (BIG / 2 - 1), next);
        assertEquals(1, registry.openUploads(), "of which the registry had nothing");
    }

    @Test
    void pushBlob_answerToTheLastRequestLost_foundToBeThere() throws Exception {
        byte[] content = random(100_000, 1);
        registry.always(
                exchange -> exchange.method().equals("PUT") && once(),
                (exchange, body, right) -> {
                    registry.content().putBlob("app", descriptor(content).digest(), content);
                    exchange.reset();
                });
        assertEquals(BlobOutcome.UPLOADED, push(content));
        assertEquals(1, requests().stream().filter(r -> r.startsWith("PUT")).count());
    }

    @Test
    void pushBlob_minimumChunk_respected() throws Exception {
        registry.minimumChunk(5 << 20);
        byte[] content = random(12 << 20, 1);
        push(content);
        assertStored("app", content);
    }

    @Test
    void pushBlob_bodiesTooLargeForAProxy_sentInSmallerParts() throws Exception {
        registry.always(
                exchange ->
                        exchange.header("Content-Length")
                                .filter(length -> Long.parseLong(length) > 2 << 20)
                                .isPresent(),
                Fault.status(413, Map.of("Connection", "close"), "too large"));
        byte[] content = random(BIG, 1);
        push(content);
        assertStored("app", content);
    }

    @Test
    void pushBlob_locationElsewhere_refusedWithoutSendingAByte() throws Exception {
        registry.uploadLocations("http://127.0.0.2:9");
        ImageException e = assertFails(ErrorKind.FAILED_PRECONDITION, () -> push(random(BIG, 1)));
        assertTrue(e.getMessage().contains("http://127.0.0.2:9/"), e.getMessage());
        assertEquals(List.of("HEAD 404", "POST 202"), requests());
    }

    /// The registry under another port.
    private void useUploadsThrough(TcpProxy elsewhere) {
        RegistryHost host =
                new RegistryHost(
                        RegistryHost.Scheme.HTTP,
                        registry.authority(),
                        "/v2",
                        Set.of(Capability.values()),
                        Map.of("X-Canary", List.of("canary")),
                        TlsSettings.SYSTEM);
        registry.uploadLocations("http://" + elsewhere.authority());
        use(
                QUICK.withHosts(_ -> List.of(host))
                        .withCredentials(
                                CredentialSource.of(
                                        registry.authority(),
                                        new Credentials.Login("user", "canary")))
                        .withUploadAllow(Set.of(elsewhere.authority())));
    }

    @Test
    void pushBlob_locationAllowed_goesOnThereWithoutSecrets() throws Exception {
        try (TcpProxy elsewhere = TcpProxy.to(registry.port())) {
            useUploadsThrough(elsewhere);
            byte[] content = random(BIG, 1);
            assertEquals(BlobOutcome.UPLOADED, push(content));
            assertStored("app", content);
            List<String> there = new ArrayList<>();
            for (Access access : registry.accessLog()) {
                boolean away = access.header("host").equals(Optional.of(elsewhere.authority()));
                assertEquals(
                        away ? Optional.empty() : Optional.of("canary"),
                        access.header("x-canary"),
                        access.toString());
                if (away) {
                    there.add(access.method() + " " + access.status());
                }
                assertEquals(
                        access.method().equals("PATCH"),
                        access.header("content-range").isPresent());
            }
            assertEquals(List.of("PATCH 202", "PUT 201"), there);
        }
    }

    @Test
    void pushBlob_locationAllowedWantsCredentials_getsNone() throws Exception {
        try (TcpProxy elsewhere = TcpProxy.to(registry.port())) {
            useUploadsThrough(elsewhere);
            registry.requireBasic("Basic dXNlcjpjYW5hcnk=");
            ImageException e = assertFails(ErrorKind.UNAUTHENTICATED, () -> push(random(BIG, 1)));
            assertTrue(e.getMessage().contains(elsewhere.authority()), e.getMessage());
            boolean asked = false;
            for (Access access : registry.accessLog()) {
                if (access.header("host").equals(Optional.of(elsewhere.authority()))) {
                    assertEquals(Optional.empty(), access.header("authorization"));
                    asked = true;
                }
            }
            assertTrue(asked);
        }
    }

    @Test
    void pushBlob_redirected_notFollowed() throws Exception {
        registry.always(
                exchange -> exchange.method().equals("PATCH"),
                Fault.redirect(307, "http://127.0.0.2:9/"));
        ImageException e = assertThrows(ImageException.class, () -> push(random(BIG, 1)));
        assertTrue(e.getMessage().contains("307"), e.getMessage());
    }

    @Test
    void pushBlob_sourceFails_itsOwnErrorAndNoUploadLeft() throws Exception {
        byte[] content = random(BIG, 1);
        BlobSource broken =
                _ -> {
                    throw ImageException.notFound("the layer is gone");
                };
        ImageException e =
                assertFails(
                        ErrorKind.NOT_FOUND,
                        () ->
                                client.writer()
                                        .pushBlob(
                                                reference("app:1"),
                                                descriptor(content),
                                                broken,
                                                List.of()));
        assertEquals("the layer is gone", e.getMessage());
        assertEquals(0, registry.openUploads());
    }

    @Test
    void pushBlob_wrongBytes_refusedByTheRegistry() throws Exception {
        byte[] content = random(BIG, 1);
        ImageException e =
                assertThrows(
                        ImageException.class,
                        () ->
                                client.writer()
                                        .pushBlob(
                                                reference("app:1"),
                                                descriptor(content),
                                                BlobSource.of(Bytes.of(random(BIG, 2))),
                                                List.of()));
        assertTrue(e.getMessage().contains("DIGEST_INVALID"), e.getMessage());
    }

    @Test
    void pushBlob_noHostMayBePushedTo_saysSo() throws Exception {
        use(
                QUICK.withHosts(
                        name ->
                                List.of(
                                        new RegistryHost(
                                                RegistryHost.Scheme.HTTP,
                                                name,
                                                "/v2",
                                                Set.of(Capability.PULL, Capability.RESOLVE),
                                                Map.of(),
                                                TlsSettings.SYSTEM))));
        ImageException e = assertFails(ErrorKind.FAILED_PRECONDITION, () -> push(random(1_000, 1)));
        assertTrue(e.getMessage().contains("hosts.toml"), e.getMessage());
        assertEquals(List.of(), requests());
    }

    @Test
    void pushBlob_tokenWanted_scopeOfBothRepositories() throws Exception {
        try (TokenServer tokens = TokenServer.start()) {
            registry.requireToken(tokens);
            byte[] content = random(BIG, 1);
            registry.content().putBlob("other", descriptor(content).digest(), content);
            assertEquals(BlobOutcome.MOUNTED, push(content, reference("other:1")));
            List<String> targets = tokens.requests().stream().map(r -> r.target()).toList();
            String last = targets.getLast();
            assertTrue(last.contains("scope=repository%3Aapp%3Apull%2Cpush"), last);
            assertTrue(last.contains("scope=repository%3Aother%3Apull"), last);
        }
    }

    @Test
    void pushBlob_tokenExpiresMidway_newTokenAndTheRestIsSent() throws Exception {
        try (TokenServer tokens = TokenServer.start()) {
            registry.requireToken(tokens);
            byte[] content = random(BIG, 1);
            boolean[] revoked = {false};
            BlobSource source =
                    offset -> {
                        if (!revoked[0]) {
                            revoked[0] = true;
                            tokens.revokeAll();
                        }
                        return BlobSource.of(Bytes.of(content)).open(offset);
                    };
            client.writer().pushBlob(reference("app:1"), descriptor(content), source, List.of());
            assertStored("app", content);
        }
    }

    private TestImage pushAll(String repository) throws ImageException {
        TestImage image = ImageBuilder.oci().layer(tar -> tar.file("etc/motd", "hello\n")).build();
        image.blobs()
                .forEach(
                        (digest, blob) ->
                                registry.content().putBlob(repository, digest, blob.toArray()));
        return image;
    }

    @Test
    void pushManifest_byTag_canBePulled() throws Exception {
        TestImage image = pushAll("app");
        client.writer()
                .pushManifest(reference("app"), image.manifest(), image.content(), List.of("1"));
        assertEquals(image.content(), client.resolve(reference("app:1")).content());
        assertEquals(List.of("PUT 201"), requests().subList(0, 1));
    }

    @Test
    void pushManifest_byDigest_canBePulled() throws Exception {
        TestImage image = pushAll("app");
        client.writer()
                .pushManifest(reference("app"), image.manifest(), image.content(), List.of());
        Reference byDigest = reference("app").withDigest(image.manifest().digest());
        assertEquals(image.content(), client.resolve(byDigest).content());
        assertEquals(List.of(), registry.content().tags("app"));
    }

    @Test
    void pushManifest_severalTags_oneRequestWhereTheRegistryCan() throws Exception {
        TestImage image = pushAll("app");
        client.writer()
                .pushManifest(
                        reference("app"),
                        image.manifest(),
                        image.content(),
                        List.of("1", "1.2", "latest"));
        assertEquals(List.of("1", "1.2", "latest"), registry.content().tags("app"));
        assertEquals(List.of("PUT 201"), requests());
    }

    @Test
    void pushManifest_severalTagsWithoutTagParameters_oneRequestEach() throws Exception {
        registry.without(RegistryFeature.TAG_PARAMETERS);
        TestImage image = pushAll("app");
        client.writer()
                .pushManifest(
                        reference("app"), image.manifest(), image.content(), List.of("1", "2"));
        assertEquals(List.of("1", "2"), registry.content().tags("app"));
        assertEquals(List.of("PUT 201", "PUT 201", "PUT 201"), requests());
    }

    @Test
    void pushManifest_blobMissing_refusedWithTheRegistrysReason() throws Exception {
        TestImage image = ImageBuilder.oci().layer(tar -> tar.file("a", "b")).build();
        ImageException e =
                assertThrows(
                        ImageException.class,
                        () ->
                                client.writer()
                                        .pushManifest(
                                                reference("app"),
                                                image.manifest(),
                                                image.content(),
                                                List.of("1")));
        assertTrue(e.getMessage().contains("MANIFEST_BLOB_UNKNOWN"), e.getMessage());
        assertEquals(ErrorKind.FAILED_PRECONDITION, e.kind());
    }

    @Test
    void pushManifest_childrenMissing_eachIsNamedOnceAndWhatToDo() throws Exception {
        String one = "sha256:" + "1".repeat(64);
        String two = "sha256:" + "2".repeat(64);
        registry.always(
                "/manifests/1",
                Fault.status(
                        400,
                        Map.of("Content-Type", "application/json"),
                        "{\"errors\":[%s,%s,%s,%s]}"
                                .formatted(
                                        unknown('"' + one + '"'),
                                        unknown('"' + two + '"'),
                                        unknown('"' + two + '"'),
                                        unknown("{\"secret\":\"x\"}"))));
        TestImage image = ImageBuilder.oci().layer(tar -> tar.file("a", "b")).build();
        ImageException e =
                assertFails(
                        ErrorKind.FAILED_PRECONDITION,
                        () ->
                                client.writer()
                                        .pushManifest(
                                                reference("app"),
                                                image.manifest(),
                                                image.content(),
                                                List.of("1")));
        String text = "MANIFEST_BLOB_UNKNOWN blob unknown to registry";
        String wanted =
                ": %s (%s): %s (%s): %s; push what it points to into the same repository first"
                        .formatted(text, one, text, two, text);
        assertTrue(e.getMessage().endsWith(wanted), e.getMessage());
    }

    private static String unknown(String detail) {
        return "{\"code\":\"MANIFEST_BLOB_UNKNOWN\",\"message\":\"blob unknown to registry\",\"detail\":%s}"
                .formatted(detail);
    }

    @Test
    void deleteManifest_byDigest_tagsGoToo() throws Exception {
        TestImage image = pushImage();
        client.writer().deleteManifest(reference("app").withDigest(image.manifest().digest()));
        assertFails(ErrorKind.NOT_FOUND, () -> client.resolve(reference("app:1")));
    }

    @Test
    void deleteManifest_byTag_manifestStays() throws Exception {
        TestImage image = pushImage();
        client.writer().deleteManifest(reference("app:1"));
        assertEquals(List.of(), registry.content().tags("app"));
        Reference byDigest = reference("app").withDigest(image.manifest().digest());
        assertEquals(image.content(), client.resolve(byDigest).content());
    }

    @Test
    void delete_notThere_notFound() throws Exception {
        pushImage();
        assertFails(ErrorKind.NOT_FOUND, () -> client.writer().deleteManifest(reference("app:2")));
        assertFails(
                ErrorKind.NOT_FOUND,
                () ->
                        client.writer()
                                .deleteBlob(reference("app"), descriptor(random(9, 9)).digest()));
    }

    @Test
    void delete_registryDoesNotDelete_saysSo() throws Exception {
        TestImage image = pushImage();
        registry.without(RegistryFeature.DELETE);
        assertFails(
                ErrorKind.FAILED_PRECONDITION,
                () -> client.writer().deleteManifest(reference("app:1")));
        assertFails(
                ErrorKind.FAILED_PRECONDITION,
                () ->
                        client.writer()
                                .deleteBlob(reference("app"), image.layers().getFirst().digest()));
    }

    @Test
    void deleteBlob_gone() throws Exception {
        byte[] content = random(1_000, 1);
        push(content);
        client.writer().deleteBlob(reference("app"), descriptor(content).digest());
        assertTrue(registry.content().blob("app", descriptor(content).digest()).isEmpty());
    }
}
