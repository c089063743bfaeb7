package dev.imgd.model;

import static dev.imgd.model.Errors.assertOneLine;
import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/// Whatever the input, a parser returns a value that survives a round trip, or throws an
/// [ImageException] with a one-line message.
class MutationTest {
    private static final int ROUNDS = 8_000;

    private interface Parser {
        void parse(byte[] input) throws ImageException;
    }

    private static void check(long seed, List<byte[]> seeds, Parser parser) {
        Mutations mutations = new Mutations(seed, seeds);
        int accepted = 0;
        int refused = 0;
        for (int i = 0; i < ROUNDS; i++) {
            byte[] input = mutations.next();
            try {
                parser.parse(input);
                accepted++;
            } catch (ImageException e) {
                assertOneLine(e);
                refused++;
            } catch (RuntimeException | AssertionError | StackOverflowError e) {
                fail("round " + i + ": " + new String(input, ISO_8859_1), e);
            }
        }
        assertTrue(accepted > ROUNDS / 200, "only " + accepted + " accepted: nothing was tested");
        assertTrue(refused > ROUNDS / 200, "only " + refused + " refused: nothing was tested");
    }

    @Test
    void json_mutated_roundTripsOrFails() {
        check(
                1,
                List.of(
                        Samples.DOCKER_MANIFEST.toArray(),
                        Samples.OCI_INDEX.toArray(),
                        Samples.BUILDAH_CONFIG.toArray(),
                        "[1,-2.5e3,\"a\\u00e9\\n\",{\"\":null},[[]],true]".getBytes(UTF_8)),
                input -> {
                    JsonNode node = Json.parse("doc", input);
                    String written = write(node);
                    assertEquals(written, write(Json.parse("again", written.getBytes(UTF_8))));
                });
    }

    private static String write(JsonNode node) throws ImageException {
        JsonWriter json = JsonWriter.compact();
        write(node, json);
        return json.toString();
    }

    private static void write(JsonNode node, JsonWriter json) throws ImageException {
        switch (node.kind()) {
            case OBJECT -> {
                json.beginObject();
                for (var member : node.members().entrySet()) {
                    write(member.getValue(), json.name(member.getKey()));
                }
                json.endObject();
            }
            case ARRAY -> {
                json.beginArray();
                for (JsonNode item : node.items()) {
                    write(item, json);
                }
                json.endArray();
            }
            case STRING -> json.value(node.text());
            case NUMBER -> json.value(node.where());
            case BOOLEAN -> json.value(node.bool());
            case NULL -> json.nullValue();
        }
    }

    @Test
    void manifestDocument_mutated_returnsOrFails() {
        check(
                2,
                List.of(
                        Samples.DOCKER_MANIFEST.toArray(),
                        Samples.OCI_MANIFEST.toArray(),
                        Samples.OCI_INDEX.toArray(),
                        Samples.MULTI_PLATFORM_INDEX.toArray()),
                input -> {
                    var document = ManifestDocument.parse("doc", Bytes.of(input), Optional.empty());
                    assertEquals(Bytes.of(input), document.raw());
                    switch (document) {
                        case Manifest manifest -> manifest.isImage();
                        case Index index -> {
                            PlatformMatcher.best(index, Platform.host());
                            PlatformMatcher.offered(index);
                        }
                    }
                });
    }

    @Test
    void imageConfig_mutated_returnsOrFails() {
        check(
                3,
                List.of(Samples.OCI_CONFIG.toArray(), Samples.BUILDAH_CONFIG.toArray()),
                input -> {
                    var config = ImageConfig.parse("doc", Bytes.of(input), Optional.empty());
                    config.createdAt();
                    PlatformMatcher.only(Platform.host()).matches(config.platform());
                });
    }

    @Test
    void reference_mutated_roundTripsOrFails() {
        String digest = "@sha256:" + "0f".repeat(32);
        check(
                4,
                List.of(
                        bytes("redis"),
                        bytes("index.docker.io/library/redis:7"),
                        bytes("docker.io/a.b/c"),
                        bytes("[2001:db8::1]:5000/a/b__c:tag" + digest),
                        bytes("localhost:5000/x-y/z.w:v1.0_2-3"),
                        bytes("Example.COM/a" + digest)),
                input -> {
                    Reference reference = Reference.parse(new String(input, ISO_8859_1));
                    assertEquals(reference, Reference.parse(reference.toString()));
                    assertEquals(reference, Reference.parse(reference.familiar()));
                });
    }

    @Test
    void platform_mutated_roundTripsOrFails() {
        check(
                5,
                List.of(
                        bytes("linux/amd64"),
                        bytes("windows(10.0.17763%2Bb+win32k)/amd64"),
                        bytes("linux(+gpu+simd)/arm64/v8.1"),
                        bytes("aarch64"),
                        bytes("linux/arm/v6")),
                input -> {
                    Platform platform = Platform.parse(new String(input, ISO_8859_1));
                    PlatformMatcher.only(platform).matches(Platform.host());
                    assertEquals(platform.normalized().normalized(), platform.normalized());
                });
    }

    private static byte[] bytes(String text) {
        return text.getBytes(ISO_8859_1);
    }
}
