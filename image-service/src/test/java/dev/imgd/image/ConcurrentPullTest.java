package dev.imgd.image;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.imgd.image.ImageService.PullResult;
import dev.imgd.model.Descriptor;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.MediaType.Compression;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.LayerSpec;
import dev.imgd.testkit.TarWriter;
import dev.imgd.testkit.TestImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@Tag("root")
class ConcurrentPullTest {
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

    /// Images of overlapping layers in different orders; some layers leave out their directories.
    private static List<TestImage> overlapping(int count, long seed) {
        Random random = new Random(seed);
        List<LayerSpec> pool = new ArrayList<>();
        for (int i = 0; i < 6; i++) {
            byte[] content = new byte[20_000 + random.nextInt(200_000)];
            random.nextBytes(content);
            TarWriter tar = new TarWriter();
            if (i % 2 == 0) {
                tar.directory("d", 0755);
            }
            tar.file("d/f" + i, 0644, content);
            pool.add(LayerSpec.of(tar.finish(), i % 3 == 0 ? Compression.ZSTD : Compression.GZIP));
        }
        List<TestImage> images = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            ImageBuilder builder = ImageBuilder.oci();
            int layers = 2 + random.nextInt(4);
            for (int j = 0; j < layers; j++) {
                builder.layer(pool.get(random.nextInt(pool.size())));
            }
            images.add(builder.label("n", Integer.toString(i)).build());
        }
        return images;
    }

    @Test
    void pull_sameAndOverlappingImagesAtOnce_fetchesEachLayerOnce() throws Exception {
        List<TestImage> images = overlapping(4, 7);
        List<String> references = new ArrayList<>();
        Set<Descriptor> layers = new HashSet<>();
        for (int i = 0; i < images.size(); i++) {
            references.add(registry.push("i" + i, "1", images.get(i)));
            layers.addAll(images.get(i).layers());
        }
        try (ExecutorService threads = Executors.newFixedThreadPool(8)) {
            List<Future<PullResult>> pulls = new ArrayList<>();
            for (int i = 0; i < 16; i++) {
                String reference = references.get(i % references.size());
                pulls.add(threads.submit(() -> host.pull(reference)));
            }
            for (Future<PullResult> pull : pulls) {
                pull.get();
            }
        }
        for (Descriptor layer : layers) {
            assertEquals(1, registry.gets(layer.digest().toString()), layer.toString());
        }
        assertEquals(4, host.names().size());
        assertEquals(List.of(), host.leases());
        host.assertSound();
        for (String reference : references) {
            mountOnce(reference);
        }
        host.images.remove(references);
        host.images.gc(false, false);
        host.assertEmpty();
    }

    private void mountOnce(String reference) throws ImageException {
        Path mount = directory.resolve("m");
        host.images.mount(reference, mount, false);
        host.images.unmount(mount);
    }

    @Test
    void gc_besidePullsAndRemovals_takesNothingThatIsNeeded() throws Exception {
        List<TestImage> images = overlapping(6, 11);
        List<String> references = new ArrayList<>();
        for (int i = 0; i < images.size(); i++) {
            references.add(registry.push("i" + i, "1", images.get(i)));
        }
        AtomicBoolean done = new AtomicBoolean();
        try (ExecutorService threads = Executors.newFixedThreadPool(4)) {
            List<Future<?>> pullers = new ArrayList<>();
            for (int t = 0; t < 3; t++) {
                Random random = new Random(t);
                pullers.add(
                        threads.submit(
                                () -> {
                                    for (int i = 0; i < 25; i++) {
                                        String reference =
                                                references.get(random.nextInt(references.size()));
                                        if (random.nextInt(3) == 0) {
                                            removeIfThere(reference);
                                        } else {
                                            host.pull(reference);
                                        }
                                    }
                                    return null;
                                }));
            }
            Future<Integer> collector =
                    threads.submit(
                            () -> {
                                int collections = 0;
                                while (!done.get()) {
                                    if (++collections % 3 == 0) {
                                        host.images.gc(false, false);
                                    } else {
                                        host.images.sweep();
                                    }
                                }
                                return collections;
                            });
            try {
                for (Future<?> puller : pullers) {
                    puller.get();
                }
            } finally {
                done.set(true);
            }
            collector.get();
        }
        host.assertSound();
        assertEquals(List.of(), host.leases());
        List<String> names = host.names();
        for (String reference : names) {
            mountOnce(reference);
        }
        host.images.remove(names);
        host.images.gc(false, false);
        host.assertEmpty();
    }

    private void removeIfThere(String reference) throws ImageException {
        try {
            host.images.remove(List.of(reference));
        } catch (ImageException e) {
            assertEquals(ErrorKind.NOT_FOUND, e.kind(), e.toString());
        }
    }
}
