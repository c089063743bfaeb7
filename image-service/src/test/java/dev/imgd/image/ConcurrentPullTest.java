package dev.imgd.image;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.imgd.content.ContentStore;
import dev.imgd.content.Store;
import dev.imgd.gc.GarbageCollector;
import dev.imgd.gc.GcOptions;
import dev.imgd.image.ImageService.ProgressListener;
import dev.imgd.image.ImageService.PullRequest;
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
import dev.imgd.trust.DecryptionKeys;
import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
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

    /// A store in which another caller brings each layer just when it is about to be fetched.
    private static Store overtaken(Store store, TestImage image) {
        ContentStore content = store.content();
        ContentStore watched =
                delegate(
                        ContentStore.class,
                        content,
                        (method, arguments) -> {
                            if (method.equals("ingest")
                                    && arguments[2] instanceof Optional<?> expected
                                    && expected.orElse(null) instanceof Descriptor layer) {
                                content.write(
                                        Host.NAMESPACE,
                                        layer.digest(),
                                        image.blob(layer.digest()).toArray(),
                                        Map.of(),
                                        List.of());
                            }
                            return Optional.empty();
                        });
        return delegate(
                Store.class,
                store,
                (method, _) -> method.equals("content") ? Optional.of(watched) : Optional.empty());
    }

    @FunctionalInterface
    private interface Interception {
        /// Sees each call; empty lets it go on.
        Optional<Object> before(String method, Object[] arguments) throws Exception;
    }

    private static <T> T delegate(Class<T> type, T target, Interception interception) {
        return type.cast(
                Proxy.newProxyInstance(
                        type.getClassLoader(),
                        new Class<?>[] {type},
                        (_, method, arguments) -> {
                            Optional<Object> instead =
                                    interception.before(
                                            method.getName(),
                                            arguments == null ? new Object[0] : arguments);
                            if (instead.isPresent()) {
                                return instead.get();
                            }
                            try {
                                return method.invoke(target, arguments);
                            } catch (InvocationTargetException e) {
                                throw e.getCause();
                            }
                        }));
    }

    @Test
    void pull_othersBringTheLayersMeanwhile_usesTheirs() throws Exception {
        TestImage image =
                ImageBuilder.oci()
                        .layer(tar -> tar.file("a", "a"))
                        .layer(tar -> tar.file("b", "b"))
                        .build();
        String reference = registry.push("app", "1", image);
        Store store = overtaken(host.store, image);
        LocalImageService images =
                new LocalImageService(
                        store,
                        host.snapshots,
                        host.registries,
                        new GarbageCollector(store, host.snapshots, GcOptions.defaults()),
                        host.limits,
                        new PullOptions(3, 2, Duration.ZERO),
                        () -> DecryptionKeys.NONE,
                        Clock.systemUTC());
        PullResult result = images.pull(PullRequest.of(reference), ProgressListener.NONE);
        assertEquals(image.manifest().digest(), result.digest());
        for (Descriptor layer : image.layers()) {
            assertEquals(0, registry.gets(layer.digest().toString()), layer.toString());
        }
        host.assertSound();
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
