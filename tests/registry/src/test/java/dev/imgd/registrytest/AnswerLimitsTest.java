package dev.imgd.registrytest;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.Descriptor;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.MediaType;
import dev.imgd.registry.CredentialSource;
import dev.imgd.registry.Credentials;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.TestImage;
import dev.imgd.testkit.TokenServer;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// Limits of what registries and token servers may send: what fits passes, what does not is refused
/// with the key that would let it pass.
@Timeout(60)
class AnswerLimitsTest extends Fixture {
    private void limit(Limits.Key key, long value) throws ImageException {
        use(QUICK.withLimits(Limits.defaults().with(key, value)));
    }

    private static ImageException assertExceeds(Limits.Key key, Executable action) {
        ImageException e = assertFails(ErrorKind.LIMIT_EXCEEDED, action);
        assertTrue(e.getMessage().contains(key.configKey() + " "), e.getMessage());
        return e;
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 3})
    void redirects_oneMoreThanAllowed_refused(int allowed) throws Exception {
        byte[] content = random(1000, 1);
        Descriptor blob = pushBlob(content);
        String here = "/v2/app/blobs/" + blob.digest();
        limit(Limits.Key.REDIRECTS, allowed);
        Fault[] hops = new Fault[allowed];
        Arrays.fill(hops, Fault.redirect(307, here));
        registry.script("/blobs/", hops);
        assertArrayEquals(content, readBlob(blob, 0));
        registry.always("/blobs/", Fault.redirect(307, here));
        assertExceeds(Limits.Key.REDIRECTS, () -> readBlob(blob, 0));
        assertEquals(2 * (allowed + 1), registry.accessLog().size());
    }

    @Test
    void tokenServer_redirectsWithoutEnd_refused() throws Exception {
        pushImage();
        try (TokenServer tokens = TokenServer.start()) {
            registry.requireToken(tokens);
            Fault circle = Fault.redirect(307, tokens.realm());
            tokens.answer(exchange -> circle.handle(exchange, new byte[0], _ -> {}));
            limit(Limits.Key.REDIRECTS, 2);
            assertExceeds(Limits.Key.REDIRECTS, () -> client.resolve(reference("app:1")));
            assertEquals(3, tokens.requests().size());
        }
    }

    @Test
    void headers_largerThanAllowed_refusedBeforeTheBodyIsRead() throws Exception {
        TestImage image = pushImage();
        registry.always("/manifests/", Fault.header("X-Large", "a".repeat(20_000)));
        assertExceeds(Limits.Key.HTTP_HEADER_BYTES, () -> client.resolve(reference("app:1")));
        assertEquals(1, registry.accessLog().size(), "the same answer would come again");
        limit(Limits.Key.HTTP_HEADER_BYTES, 32 << 10);
        assertEquals(image.content(), client.resolve(reference("app:1")).content());
    }

    @Test
    void headers_ofATokenServer_refused() throws Exception {
        pushImage();
        try (TokenServer tokens = TokenServer.start()) {
            registry.requireToken(tokens);
            Fault large = Fault.status(200, Map.of("X-Large", "a".repeat(20_000)), "{}");
            tokens.answer(exchange -> large.handle(exchange, new byte[0], _ -> {}));
            assertExceeds(Limits.Key.HTTP_HEADER_BYTES, () -> client.resolve(reference("app:1")));
        }
    }

    @Test
    void challenge_longerThanAllowed_refusedWithoutCredentials() throws Exception {
        pushImage();
        registry.requireNever(
                "Bearer realm=\"http://localhost/token\",x=\"" + "a".repeat(9000) + '"');
        use(
                QUICK.withCredentials(
                        CredentialSource.of(
                                registry.authority(), new Credentials.Login("user", "canary"))));
        assertExceeds(Limits.Key.CHALLENGE_BYTES, () -> client.resolve(reference("app:1")));
        assertEquals(1, registry.accessLog().size());
        assertEquals(Optional.empty(), registry.accessLog().getFirst().header("authorization"));
        limit(Limits.Key.CHALLENGE_BYTES, 16 << 10);
        assertFails(ErrorKind.UNAVAILABLE, () -> client.resolve(reference("app:1")));
    }

    @Test
    void token_longerThanAllowed_refusedWithoutShowingIt() throws Exception {
        pushImage();
        try (TokenServer tokens = TokenServer.start()) {
            registry.requireToken(tokens);
            Fault token =
                    Fault.status(200, Map.of(), "{\"token\":\"" + "canary".repeat(400) + "\"}");
            tokens.answer(exchange -> token.handle(exchange, new byte[0], _ -> {}));
            limit(Limits.Key.TOKEN_BYTES, 2000);
            ImageException e =
                    assertExceeds(Limits.Key.TOKEN_BYTES, () -> client.resolve(reference("app:1")));
            assertFalse(e.getMessage().contains("canary"), e.getMessage());
        }
    }

    @Test
    void tokenAnswer_longerThanAllowed_refused() throws Exception {
        pushImage();
        try (TokenServer tokens = TokenServer.start()) {
            registry.requireToken(tokens);
            Fault padded =
                    Fault.status(
                            200, Map.of(), "{\"token\":\"a\",\"x\":\"" + "y".repeat(9000) + "\"}");
            tokens.answer(exchange -> padded.handle(exchange, new byte[0], _ -> {}));
            limit(Limits.Key.TOKEN_ANSWER_BYTES, 8 << 10);
            assertExceeds(Limits.Key.TOKEN_ANSWER_BYTES, () -> client.resolve(reference("app:1")));
        }
    }

    private ImageException denied(int messageChars) {
        registry.behave();
        registry.always(
                "/manifests/", Fault.error(403, "DENIED", "because ".repeat(messageChars / 8)));
        return assertFails(ErrorKind.PERMISSION_DENIED, () -> client.resolve(reference("app:1")));
    }

    @Test
    void errorBody_longerThanAllowed_isNotReadAndSaysSo() throws Exception {
        limit(Limits.Key.ERROR_BODY_BYTES, 1000);
        assertTrue(denied(500).getMessage().contains("because because"));
        ImageException e = denied(2000);
        assertTrue(e.getMessage().contains("limits.error_body_bytes"), e.getMessage());
        assertFalse(e.getMessage().contains("because"), e.getMessage());
    }

    @Test
    void errorBody_longerThanWhatIsShown_isCut() throws Exception {
        int whole = denied(400).getMessage().length();
        limit(Limits.Key.ERROR_SHOWN_BYTES, 100);
        int cut = denied(400).getMessage().length();
        assertTrue(whole > 400 && cut < whole - 250, cut + " of " + whole);
        limit(Limits.Key.ERROR_SHOWN_BYTES, 0);
        assertFalse(denied(400).getMessage().contains("because"));
    }

    @Test
    void tags_morePagesThanAllowed_refused() throws Exception {
        TestImage image = pushImage();
        for (int i = 0; i < 6; i++) {
            registry.push("many", "v" + i, image);
        }
        registry.pageLimit(2);
        limit(Limits.Key.LIST_PAGES, 3);
        assertEquals(6, client.listing().tags(reference("many"), Optional.empty(), 100).size());
        limit(Limits.Key.LIST_PAGES, 2);
        assertExceeds(
                Limits.Key.LIST_PAGES,
                () -> client.listing().tags(reference("many"), Optional.empty(), 100));
    }

    /// A list of the same number of other referrers in every answer.
    private int[] referrersWithoutEnd(int each) {
        int[] page = {0};
        registry.always(
                "/referrers/",
                (exchange, _, _) -> {
                    String entries =
                            IntStream.range(0, each)
                                    .mapToObj(
                                            i ->
                                                    "{\"mediaType\":\"%s\",\"digest\":\"sha256:%064x\",\"size\":1}"
                                                            .formatted(
                                                                    MediaType.OCI_MANIFEST,
                                                                    page[0] * each + i))
                                    .collect(Collectors.joining(","));
                    Fault.status(
                                    200,
                                    Map.of(
                                            "Content-Type",
                                            MediaType.OCI_INDEX,
                                            "Link",
                                            "<?page=" + ++page[0] + ">; rel=\"next\""),
                                    "{\"schemaVersion\":2,\"manifests\":[" + entries + "]}")
                            .handle(exchange, new byte[0], _ -> {});
                });
        return page;
    }

    private Executable listReferrers(TestImage image) {
        return () ->
                client.listing()
                        .referrers(reference("app:1"), image.content().sha256(), Optional.empty());
    }

    @Test
    void referrers_moreThanAllowedOverAllPages_refused() throws Exception {
        TestImage image = pushImage();
        int[] page = referrersWithoutEnd(4);
        limit(Limits.Key.DESCRIPTORS, 11);
        assertExceeds(Limits.Key.DESCRIPTORS, listReferrers(image));
        assertEquals(3, page[0]);
    }

    @Test
    void referrers_moreThanAllowedInOneAnswer_refused() throws Exception {
        TestImage image = pushImage();
        int[] page = referrersWithoutEnd(10_001);
        assertExceeds(Limits.Key.DESCRIPTORS, listReferrers(image));
        limit(Limits.Key.DESCRIPTORS, 20_001);
        assertExceeds(Limits.Key.DESCRIPTORS, listReferrers(image));
        assertEquals(1 + 2, page[0]);
    }

    @Test
    void referrers_pagesWithoutEnd_refused() throws Exception {
        TestImage image = pushImage();
        int[] page = referrersWithoutEnd(0);
        assertExceeds(Limits.Key.REFERRERS_PAGES, listReferrers(image));
        assertEquals(100, page[0]);
    }
}
