package dev.imgd.image;

import static dev.imgd.image.Host.assertFails;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.hosts.RegistryHost;
import dev.imgd.image.ImageService.PullRequest;
import dev.imgd.image.ImageService.PullResult;
import dev.imgd.image.ImageService.SourceUse;
import dev.imgd.model.Descriptor;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TestImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Pulls from a registry with two mirrors before it.
@Tag("root")
class SourcesTest {
    private static final int LAYER_BYTES = 600_000;

    @TempDir Path directory;
    private InMemoryRegistry first;
    private InMemoryRegistry second;
    private InMemoryRegistry origin;
    private Host host;
    private TestImage image;
    private String reference;

    @BeforeEach
    void start() throws IOException {
        first = InMemoryRegistry.start();
        second = InMemoryRegistry.start();
        origin = InMemoryRegistry.start();
        image = image();
        for (InMemoryRegistry registry : List.of(first, second)) {
            registry.push("a", "1", image);
        }
        reference = origin.push("a", "1", image);
        host =
                Host.open(
                        directory,
                        UnaryOperator.identity(),
                        _ ->
                                Stream.of(first, second, origin)
                                        .map(
                                                registry ->
                                                        RegistryHost.of(
                                                                RegistryHost.Scheme.HTTP,
                                                                registry.authority()))
                                        .toList());
    }

    @AfterEach
    void stop() throws ImageException {
        host.close();
        first.close();
        second.close();
        origin.close();
    }

    private static TestImage image() {
        Random random = new Random(11);
        ImageBuilder builder = ImageBuilder.oci();
        for (int i = 0; i < 4; i++) {
            byte[] content = new byte[LAYER_BYTES];
            random.nextBytes(content);
            String name = "f" + i;
            builder.layer(tar -> tar.file(name, 0644, content));
        }
        return builder.build();
    }

    private long size() {
        return image.layers().stream().mapToLong(Descriptor::sizeBytes).sum();
    }

    private static SourceUse use(PullResult result, InMemoryRegistry registry) {
        return result.sources().stream()
                .filter(use -> use.host().equals(registry.authority()))
                .findFirst()
                .orElse(new SourceUse(registry.authority(), 0, 0, Optional.empty()));
    }

    /// One bit is wrong, whatever part is asked for.
    private static Fault corrupt() {
        return Fault.wrongByteAt(300_000);
    }

    @Test
    void pull_firstDeadSecondCorruptOriginRight_succeedsAndNamesThem() throws IOException {
        first.close();
        image.layers().forEach(layer -> second.always(layer.digest().toString(), corrupt()));
        List<ImageService.Progress> seen = new ArrayList<>();

        PullResult result = host.images.pull(PullRequest.of(reference), seen::add);

        assertEquals(image.manifest().digest(), result.digest());
        assertTrue(use(result, first).dropped().orElseThrow().contains("refused"));
        assertEquals(0, use(result, first).bytes());
        String why = use(result, second).dropped().orElseThrow();
        assertTrue(why.contains("wrong bytes of sha256:"), why);
        assertTrue(use(result, second).bytes() >= LAYER_BYTES, result.sources().toString());
        assertEquals(Optional.empty(), use(result, origin).dropped());
        assertEquals(
                result.fetchedBytes(), result.sources().stream().mapToLong(SourceUse::bytes).sum());
        assertEquals(result.sources(), seen.getLast().sources());
        host.assertSound();
    }

    @Test
    void pull_wrongPartAmongRightOnes_senderIsFoundOut() throws IOException {
        Descriptor layer = image.layers().getFirst();
        // The first breaks off with right bytes, the second goes on with wrong ones.
        first.always(layer.digest().toString(), Fault.endedAt(200_000));
        second.always(layer.digest().toString(), corrupt());

        PullResult result = host.pull(reference);

        String why = use(result, second).dropped().orElseThrow();
        assertTrue(why.contains(layer.digest().toString()), why);
        assertTrue(
                use(result, first).dropped().filter(w -> w.contains("wrong")).isEmpty(),
                result.sources().toString());
        host.assertSound();
    }

    @Test
    void pull_onlyTheRegistryAndItIsWrong_failsNamingIt() throws IOException {
        first.close();
        second.close();
        // Layers before the wrong one, and layers that are asked for after it was found out.
        for (Descriptor layer : image.layers()) {
            origin.behave();
            origin.always(layer.digest().toString(), corrupt());

            ImageException e = assertFails(ErrorKind.DATA_LOSS, () -> host.pull(reference));

            assertTrue(e.getMessage().contains(origin.authority()), e.getMessage());
            assertTrue(e.getMessage().contains(layer.digest().toString()), e.getMessage());
            host.assertNoMess();
        }
    }

    @Test
    void pull_allWrong_failsAfterEachWasAsked() throws IOException {
        Descriptor layer = image.layers().getFirst();
        for (InMemoryRegistry registry : List.of(first, second, origin)) {
            registry.always(layer.digest().toString(), corrupt());
        }

        assertFails(ErrorKind.DATA_LOSS, () -> host.pull(reference));

        for (InMemoryRegistry registry : List.of(first, second, origin)) {
            assertEquals(1, registry.gets(layer.digest().toString()));
        }
        host.assertNoMess();
    }
}
