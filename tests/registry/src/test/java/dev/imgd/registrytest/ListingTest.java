package dev.imgd.registrytest;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.hosts.Capability;
import dev.imgd.hosts.RegistryHost;
import dev.imgd.hosts.TlsSettings;
import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.MediaType;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryListing;
import dev.imgd.registry.RegistryListing.Referrers;
import dev.imgd.registry.TransferOptions;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.InMemoryRegistry.Access;
import dev.imgd.testkit.RegistryFeature;
import dev.imgd.testkit.TestImage;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/// Tags, repositories and referrers.
class ListingTest extends Fixture {
    private void tags(int count) {
        TestImage image = pushImage();
        String[] tags = new String[count];
        for (int i = 0; i < count; i++) {
            tags[i] = "v%05d".formatted(i);
        }
        registry.content().putManifest("many", image.manifest().mediaType(), image.content(), tags);
    }

    @Test
    void tags_tenThousandInPages_allInOrder() throws Exception {
        tags(10_000);
        registry.pageLimit(997);
        List<String> tags = client.listing().tags(reference("many"), Optional.empty(), 1_000_000);
        assertEquals(10_000, tags.size());
        assertEquals("v00000", tags.getFirst());
        assertEquals("v09999", tags.getLast());
        assertEquals(10_000, new HashSet<>(tags).size());
    }

    @Test
    void tags_limitAndAfter_noMoreThanNeededIsAsked() throws Exception {
        tags(100);
        List<String> tags = client.listing().tags(reference("many"), Optional.of("v00041"), 3);
        assertEquals(List.of("v00042", "v00043", "v00044"), tags);
        assertEquals(1, registry.gets("/tags/list"));
    }

    @Test
    void tags_noSuchRepository_notFound() {
        assertFails(
                ErrorKind.NOT_FOUND,
                () -> client.listing().tags(reference("nothing"), Optional.empty(), 10));
    }

    @Test
    void tags_pagesInACircle_refused() throws Exception {
        registry.always(
                "/tags/list",
                Fault.status(
                        200,
                        Map.of("Link", "</v2/many/tags/list?n=1000>; rel=\"next\""),
                        "{\"name\":\"many\",\"tags\":[\"a\"]}"));
        assertFails(
                ErrorKind.INVALID_CONTENT,
                () -> client.listing().tags(reference("many"), Optional.empty(), 1_000_000));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "</v2/many/tags/second>; rel=\"next\"",
                "</v2/many/tags/second>;rel=next",
                "<second> ; Rel = \"NEXT\"",
                "<./second?x=a,b>; title=\"a\"; rel=\"nofollow next\"; type=\"application/json\"",
                "</v2/many/tags/zero>; rel=\"prev\", </v2/many/tags/second>; rel=\"next\"",
                "</v2/many/tags/second>; rel=next, </v2/many/tags/list>; rel=first",
            })
    void tags_linkInWhateverForm_nextPageIsRead(String link) throws Exception {
        assertEquals(List.of("a", "b"), linked(link));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "<>",
                "/v2/many/tags/second",
                "</v2/many/tags/second>",
                "</v2/many/tags/second>; rel=\"prev\"",
                "</v2/many/tags/second>; rel=\"nextish\"",
                "</v2/many/tags/second>; rel=nextish",
                "</v2/many/tags/second>; xrel=\"next\"",
            })
    void tags_linkToNoNextPage_listEnds(String link) throws Exception {
        assertEquals(List.of("a"), linked(link));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "</v2/many/tags/second; rel=\"next\"",
                "</v2/many/tags/zero>; rel=\"prev\", </v2/many/tags/second; rel=\"next\"",
                "</v2/many/tags/sec",
                "/v2/many/tags/second; rel=\"next\"",
            })
    void tags_linkUnreadable_listIsNotTakenForWhole(String link) {
        ImageException e = assertFails(ErrorKind.INVALID_CONTENT, () -> linked(link));
        assertTrue(e.getMessage().contains("wanted <URL>"), e.getMessage());
    }

    private List<String> linked(String link) throws Exception {
        registry.always(
                "/tags/second",
                Fault.status(200, Map.of(), "{\"name\":\"many\",\"tags\":[\"b\"]}"));
        registry.always(
                "/tags/list",
                Fault.status(200, Map.of("Link", link), "{\"name\":\"many\",\"tags\":[\"a\"]}"));
        return client.listing().tags(reference("many"), Optional.empty(), 100);
    }

    @Test
    void tags_nextPageElsewhere_notFollowed() throws Exception {
        registry.always(
                "/tags/list",
                Fault.status(
                        200,
                        Map.of("Link", "<http://169.254.169.254/latest>; rel=\"next\""),
                        "{\"name\":\"many\",\"tags\":[\"a\"]}"));
        ImageException e =
                assertFails(
                        ErrorKind.INVALID_CONTENT,
                        () -> client.listing().tags(reference("many"), Optional.empty(), 100));
        assertTrue(e.getMessage().contains("169.254.169.254"), e.getMessage());
    }

    @Test
    void tags_listIsNull_empty() throws Exception {
        registry.always(
                "/tags/list", Fault.status(200, Map.of(), "{\"name\":\"a\",\"tags\":null}"));
        assertEquals(List.of(), client.listing().tags(reference("many"), Optional.empty(), 100));
    }

    @Test
    void tags_endlessAnswer_limited() throws Exception {
        registry.always("/tags/list", Fault.endless());
        assertFails(
                ErrorKind.LIMIT_EXCEEDED,
                () -> client.listing().tags(reference("many"), Optional.empty(), 100));
    }

    @Test
    void repositories_inPages_all() throws Exception {
        TestImage image = pushImage();
        for (String name : List.of("b/one", "b/two", "c")) {
            registry.content()
                    .putManifest(name, image.manifest().mediaType(), image.content(), "1");
        }
        registry.pageLimit(2);
        assertEquals(
                List.of("app", "b/one", "b/two", "c"),
                client.listing().repositories(registry.authority(), Optional.empty(), 100));
    }

    @Test
    void repositories_noCatalog_notFound() {
        registry.without(RegistryFeature.CATALOG);
        assertFails(
                ErrorKind.NOT_FOUND,
                () -> client.listing().repositories(registry.authority(), Optional.empty(), 100));
    }

    private Descriptor artifact(RegistryClient from, Descriptor subject, String type, String note)
            throws ImageException {
        Bytes empty = Bytes.of("{}".getBytes(StandardCharsets.US_ASCII));
        registry.content().putBlob("app", empty.sha256(), empty.toArray());
        JsonWriter json =
                JsonWriter.compact()
                        .beginObject()
                        .member("schemaVersion", 2)
                        .member("mediaType", MediaType.OCI_MANIFEST)
                        .member("artifactType", type);
        new Descriptor(MediaType.OCI_EMPTY, empty.sha256(), empty.size())
                .write(json.name("config"));
        json.beginArray("layers").endArray();
        subject.write(json.name("subject"));
        Bytes content =
                Bytes.of(json.member("annotations", Map.of("note", note)).endObject().toBytes());
        Descriptor descriptor =
                new Descriptor(MediaType.OCI_MANIFEST, content.sha256(), content.size());
        from.writer().pushManifest(reference("app"), descriptor, content, List.of());
        return descriptor;
    }

    private static Set<Digest> digests(Referrers referrers) {
        Set<Digest> digests = new HashSet<>();
        referrers.manifests().forEach(entry -> digests.add(entry.digest()));
        return digests;
    }

    /// What a registry has to list referrers with.
    enum Kind {
        API,
        API_WITHOUT_FILTER,
        TAG,
        TAG_WITHOUT_ETAGS
    }

    @ParameterizedTest
    @EnumSource
    void referrers_pushed_listedAndFiltered(Kind kind) throws Exception {
        switch (kind) {
            case API -> registry.pageLimit(1);
            case API_WITHOUT_FILTER -> registry.without(RegistryFeature.REFERRERS_FILTER);
            case TAG -> registry.without(RegistryFeature.REFERRERS);
            case TAG_WITHOUT_ETAGS ->
                    registry.without(RegistryFeature.REFERRERS, RegistryFeature.ETAGS);
        }
        boolean byTag = kind == Kind.TAG || kind == Kind.TAG_WITHOUT_ETAGS;
        Descriptor subject = pushImage().manifest();
        Descriptor one = artifact(client, subject, "application/vnd.test.sig", "one");
        Descriptor two = artifact(client, subject, "application/vnd.test.sbom", "two");
        Descriptor again = artifact(client, subject, "application/vnd.test.sbom", "two");
        assertEquals(two, again);

        Referrers all =
                client.listing().referrers(reference("app"), subject.digest(), Optional.empty());
        assertEquals(byTag, all.byTag());
        assertEquals(Set.of(one.digest(), two.digest()), digests(all));
        assertEquals(2, all.manifests().size());
        Referrers sboms =
                client.listing()
                        .referrers(
                                reference("app"),
                                subject.digest(),
                                Optional.of("application/vnd.test.sbom"));
        assertEquals(Set.of(two.digest()), digests(sboms));
        assertEquals("two", sboms.manifests().getFirst().annotations().get("note"));

        client.writer().deleteManifest(reference("app").withDigest(one.digest()));
        Referrers left =
                client.listing().referrers(reference("app"), subject.digest(), Optional.empty());
        assertEquals(Set.of(two.digest()), digests(left));
    }

    @Test
    void referrers_none_empty() throws Exception {
        Descriptor subject = pushImage().manifest();
        Referrers none =
                client.listing().referrers(reference("app"), subject.digest(), Optional.empty());
        assertTrue(none.manifests().isEmpty());
        assertFalse(none.byTag());
        registry.without(RegistryFeature.REFERRERS);
        assertTrue(
                client.listing()
                        .referrers(reference("app"), subject.digest(), Optional.empty())
                        .manifests()
                        .isEmpty());
    }

    @Test
    void referrers_manyWritersAtOnce_noneIsLost() throws Exception {
        registry.without(RegistryFeature.REFERRERS);
        Descriptor subject = pushImage().manifest();
        int writers = 8;
        Set<Digest> wanted = new HashSet<>();
        try (ExecutorService threads = Executors.newFixedThreadPool(writers);
                RegistryClient other = RegistryClient.create(QUICK)) {
            List<Callable<Descriptor>> tasks = new ArrayList<>();
            for (int i = 0; i < writers; i++) {
                String note = "n" + i;
                RegistryClient from = i % 2 == 0 ? client : other;
                tasks.add(() -> artifact(from, subject, "application/vnd.test.sig", note));
            }
            for (Future<Descriptor> done : threads.invokeAll(tasks)) {
                wanted.add(done.get().digest());
            }
        }
        Referrers all =
                client.listing().referrers(reference("app"), subject.digest(), Optional.empty());
        assertEquals(wanted, digests(all));
    }

    @Test
    void referrers_anotherWriterBetweenReadAndWrite_bothKept() throws Exception {
        registry.without(RegistryFeature.REFERRERS);
        Descriptor subject = pushImage().manifest();
        String tag = "sha256-" + subject.digest().hex();
        Digest foreign = Digest.sha256(new byte[] {7});
        boolean[] done = {false};
        registry.always(
                exchange -> exchange.method().equals("PUT") && exchange.path().endsWith(tag),
                (exchange, body, right) -> {
                    if (!done[0]) {
                        done[0] = true;
                        JsonWriter json =
                                JsonWriter.compact()
                                        .beginObject()
                                        .member("schemaVersion", 2)
                                        .member("mediaType", MediaType.OCI_INDEX)
                                        .beginArray("manifests");
                        new Descriptor(MediaType.OCI_MANIFEST, foreign, 1).write(json);
                        registry.content()
                                .putManifest(
                                        "app",
                                        MediaType.OCI_INDEX,
                                        Bytes.of(json.endArray().endObject().toBytes()),
                                        tag);
                    }
                    right.handle(exchange);
                });
        registry.with(RegistryFeature.SPARSE);
        Descriptor ours = artifact(client, subject, "application/vnd.test.sig", "ours");
        Referrers all =
                client.listing().referrers(reference("app"), subject.digest(), Optional.empty());
        assertEquals(Set.of(ours.digest(), foreign), digests(all));
    }

    /// The registry behind a mirror, each with what it may be asked for.
    private void behind(
            InMemoryRegistry mirror, Set<Capability> ofMirror, Set<Capability> ofRegistry) {
        RegistryHost first = host(mirror, ofMirror, Optional.of(registry.authority()));
        RegistryHost second = host(registry, ofRegistry, Optional.empty());
        use(QUICK.withHosts(_ -> List.of(first, second)));
    }

    private static RegistryHost host(
            InMemoryRegistry server, Set<Capability> capabilities, Optional<String> namespace) {
        return new RegistryHost(
                RegistryHost.Scheme.HTTP,
                server.authority(),
                "/v2",
                capabilities,
                Map.of(),
                TlsSettings.SYSTEM,
                namespace.isEmpty() ? RegistryHost.Role.ORIGIN : RegistryHost.Role.MIRROR,
                namespace,
                Optional.empty(),
                List.of());
    }

    private Referrers referrers(Descriptor subject) throws ImageException {
        return client.listing().referrers(reference("app"), subject.digest(), Optional.empty());
    }

    private static final Set<Capability> ALL = Set.of(Capability.values());
    private static final Set<Capability> NO_LISTS = Set.of(Capability.PULL, Capability.RESOLVE);

    /// What a mirror without the registry's signatures says when it is asked for them.
    enum Ignorance {
        NO_LIST,
        EMPTY_LIST,
        EMPTY_TAG,
        BROKEN
    }

    @ParameterizedTest
    @CsvSource({
        "NO_LIST, true", "NO_LIST, false",
        "EMPTY_LIST, true", "EMPTY_LIST, false",
        "EMPTY_TAG, true", "EMPTY_TAG, false",
        "BROKEN, true", "BROKEN, false",
    })
    void referrers_mirrorKnowsOfNone_registryIsAsked(Ignorance ignorance, boolean registryHasLists)
            throws Exception {
        try (InMemoryRegistry mirror = InMemoryRegistry.start()) {
            if (!registryHasLists) {
                registry.without(RegistryFeature.REFERRERS);
            }
            Descriptor subject = pushImage().manifest();
            Descriptor one = artifact(client, subject, "application/vnd.test.sig", "one");
            switch (ignorance) {
                case NO_LIST -> mirror.without(RegistryFeature.REFERRERS);
                case EMPTY_LIST -> {}
                case EMPTY_TAG -> {
                    mirror.without(RegistryFeature.REFERRERS);
                    String empty = "{\"schemaVersion\":2,\"manifests\":[]}";
                    mirror.content()
                            .putManifest(
                                    "app",
                                    MediaType.OCI_INDEX,
                                    Bytes.of(empty.getBytes(StandardCharsets.US_ASCII)),
                                    "sha256-" + subject.digest().hex());
                }
                case BROKEN -> mirror.always("/", Fault.status(500, Map.of(), ""));
            }
            behind(mirror, ALL, ALL);
            Referrers found = referrers(subject);
            assertEquals(Set.of(one.digest()), digests(found));
            assertEquals(!registryHasLists, found.byTag());
            assertTrue(mirror.gets("/referrers/") > 0);
        }
    }

    @Test
    void referrers_mirrorHasThem_registryIsNotAsked() throws Exception {
        try (InMemoryRegistry mirror = InMemoryRegistry.start()) {
            Descriptor subject = pushImage().manifest();
            Descriptor one = artifact(client, subject, "application/vnd.test.sig", "one");
            registry.content()
                    .manifests("app")
                    .forEach(
                            stored ->
                                    mirror.content()
                                            .putManifest(
                                                    "app", stored.mediaType(), stored.content()));
            registry.clearAccessLog();
            behind(mirror, ALL, ALL);
            assertEquals(Set.of(one.digest()), digests(referrers(subject)));
            assertEquals(List.of(), registry.accessLog());
        }
    }

    @Test
    void referrers_mirrorMayNotListThem_isNotAsked() throws Exception {
        try (InMemoryRegistry mirror = InMemoryRegistry.start()) {
            registry.without(RegistryFeature.REFERRERS);
            Descriptor subject = pushImage().manifest();
            Descriptor one = artifact(client, subject, "application/vnd.test.sig", "one");
            behind(mirror, NO_LISTS, ALL);
            assertEquals(Set.of(one.digest()), digests(referrers(subject)));
            assertEquals(List.of(), mirror.accessLog());
        }
    }

    @Test
    void referrers_noHostMayListThem_tagIsRead() throws Exception {
        try (InMemoryRegistry mirror = InMemoryRegistry.start()) {
            registry.without(RegistryFeature.REFERRERS);
            Descriptor subject = pushImage().manifest();
            Descriptor one = artifact(client, subject, "application/vnd.test.sig", "one");
            registry.clearAccessLog();
            behind(mirror, NO_LISTS, NO_LISTS);
            Referrers found = referrers(subject);
            assertEquals(Set.of(one.digest()), digests(found));
            assertTrue(found.byTag());
            assertEquals(0, mirror.gets("/referrers/") + registry.gets("/referrers/"));
            assertEquals(1, mirror.gets("/manifests/sha256-" + subject.digest().hex()));

            Set<Capability> pull = Set.of(Capability.PULL);
            behind(mirror, pull, pull);
            assertFails(ErrorKind.FAILED_PRECONDITION, () -> referrers(subject));
        }
    }

    /// That the mirror knows of none is no answer for the registry.
    @Test
    void referrers_registryFails_isNotTakenForNone() throws Exception {
        try (InMemoryRegistry mirror = InMemoryRegistry.start()) {
            Descriptor subject = pushImage().manifest();
            behind(mirror, ALL, ALL);
            assertTrue(referrers(subject).manifests().isEmpty());
            registry.always("/referrers/", Fault.error(403, "DENIED", "not for you"));
            ImageException e = assertFails(ErrorKind.PERMISSION_DENIED, () -> referrers(subject));
            assertTrue(e.getMessage().contains(registry.authority()), e.getMessage());
        }
    }

    @Test
    void delete_mirrorHasListsAndTheRegistryHasNone_tagOfTheRegistryIsKeptUpToDate()
            throws Exception {
        try (InMemoryRegistry mirror = InMemoryRegistry.start()) {
            registry.without(RegistryFeature.REFERRERS);
            Descriptor subject = pushImage().manifest();
            Descriptor one = artifact(client, subject, "application/vnd.test.sig", "one");
            Descriptor two = artifact(client, subject, "application/vnd.test.sig", "two");
            registry.content()
                    .manifests("app")
                    .forEach(
                            stored ->
                                    mirror.content()
                                            .putManifest(
                                                    "app", stored.mediaType(), stored.content()));
            behind(mirror, Set.of(Capability.PULL, Capability.REFERRERS), ALL);
            client.writer().deleteManifest(reference("app").withDigest(one.digest()));
            behind(mirror, Set.of(), ALL);
            assertEquals(Set.of(two.digest()), digests(referrers(subject)));
        }
    }

    /// Something that is asked of a host and is neither a manifest nor the bytes of a blob.
    enum Question {
        TAGS("/tags/list", "{\"name\":\"app\",\"tags\":[\"a\"]}"),
        REPOSITORIES("/_catalog", "{\"repositories\":[\"app\"]}"),
        BLOB("/blobs/", "12345"),
        REFERRERS("/referrers/", "{\"schemaVersion\":2,\"manifests\":[]}"),
        REFERRERS_TAG("/manifests/", "{\"schemaVersion\":2,\"manifests\":[]}");

        private final String path;
        private final String answer;

        Question(String path, String answer) {
            this.path = path;
            this.answer = answer;
        }
    }

    /// Asks the registry `r.example` of [#registry] as its mirror.
    private void ask(Question question) throws ImageException {
        Set<Capability> able = question == Question.REFERRERS_TAG ? NO_LISTS : ALL;
        RegistryHost mirror = host(registry, able, Optional.of("r.example"));
        use(QUICK.withHosts(_ -> List.of(mirror)));
        Reference app = Reference.parse("r.example/app");
        Digest digest = Digest.sha256(new byte[0]);
        RegistryListing listing = client.listing();
        var _ =
                switch (question) {
                    case TAGS -> listing.tags(app, Optional.empty(), 10);
                    case REPOSITORIES -> listing.repositories("r.example", Optional.empty(), 10);
                    case BLOB -> listing.blob(app, digest);
                    case REFERRERS, REFERRERS_TAG ->
                            listing.referrers(app, digest, Optional.empty());
                };
    }

    @ParameterizedTest
    @EnumSource
    void answer_forAnotherRegistry_isNotBelieved(Question question) throws Exception {
        answers(question, Map.of("OCI-Namespace", "other.example"));
        ImageException e = assertFails(ErrorKind.INVALID_CONTENT, () -> ask(question));
        assertTrue(e.getMessage().contains("for the registry \"other.example\""), e.getMessage());
        registry.behave();
        answers(question, Map.of("OCI-Namespace", "r.example"));
        ask(question);
    }

    @ParameterizedTest
    @EnumSource
    void answer_encoded_isRefusedForThat(Question question) throws Exception {
        answers(question, Map.of("Content-Encoding", "br"));
        ImageException e = assertFails(ErrorKind.INVALID_CONTENT, () -> ask(question));
        assertTrue(e.getMessage().contains("got Content-Encoding \"br\""), e.getMessage());
        registry.behave();
        answers(question, Map.of("Content-Encoding", "identity"));
        ask(question);
    }

    private void answers(Question question, Map<String, String> more) {
        Map<String, String> headers = new HashMap<>(more);
        headers.put("Content-Type", MediaType.OCI_INDEX);
        registry.always(question.path, Fault.status(200, headers, question.answer));
    }

    /// Also for further pages, whose links do not repeat it.
    @ParameterizedTest
    @EnumSource
    void request_toAMirror_saysForWhichRegistry(Question question) throws Exception {
        tags(3);
        registry.content().putManifest("app", MediaType.OCI_MANIFEST, Bytes.of(new byte[1]), "2");
        registry.content().putBlob(new byte[0]);
        registry.pageLimit(1);
        ask(question);
        boolean pages = question == Question.TAGS || question == Question.REPOSITORIES;
        assertEquals(pages ? 2 : 1, registry.accessLog().size());
        for (Access access : registry.accessLog()) {
            assertTrue(access.target().contains("ns=r.example"), access.target());
        }
    }

    @Test
    void referrers_tagWithAnotherDigest_refused() throws Exception {
        registry.without(RegistryFeature.REFERRERS);
        Descriptor subject = pushImage().manifest();
        registry.always(
                "/manifests/sha256-",
                Fault.status(
                        200,
                        Map.of(
                                "Content-Type",
                                MediaType.OCI_INDEX,
                                "Docker-Content-Digest",
                                subject.digest().toString()),
                        Question.REFERRERS_TAG.answer));
        ImageException e = assertFails(ErrorKind.DATA_LOSS, () -> referrers(subject));
        assertTrue(e.getMessage().contains("wanted " + subject.digest()), e.getMessage());
    }

    @Test
    void list_requestLimit_isKept() throws Exception {
        tags(1);
        registry.content().putBlob(new byte[0]);
        use(QUICK.withTransfer(TransferOptions.defaults().withLimits(0, 20)));
        Digest digest = Digest.sha256(new byte[0]);
        long started = System.nanoTime();
        for (int i = 0; i < 13; i++) {
            client.listing().tags(reference("many"), Optional.empty(), 10);
            client.listing().blob(reference("many"), digest);
        }
        double seconds = (System.nanoTime() - started) / 1e9;
        assertTrue(seconds > 0.9, seconds + " s for 26 requests");
    }

    @Test
    void list_hostWantedToBeLeftAlone_isNotAskedBefore() throws Exception {
        tags(1);
        registry.content().putBlob(new byte[0]);
        use(QUICK.withRetries(1, Duration.ofMillis(1), Duration.ofSeconds(60)));
        registry.script("/tags/list", Fault.rateLimited("1"));
        long started = System.nanoTime();
        assertFails(
                ErrorKind.RATE_LIMITED,
                () -> client.listing().tags(reference("many"), Optional.empty(), 10));
        client.listing().blob(reference("many"), Digest.sha256(new byte[0]));
        assertTrue(System.nanoTime() - started >= 990_000_000L);
    }
}
