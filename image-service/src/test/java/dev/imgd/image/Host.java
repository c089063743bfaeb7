package dev.imgd.image;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.content.Database.Table;
import dev.imgd.content.LeaseStore;
import dev.imgd.content.NodeId;
import dev.imgd.content.Store;
import dev.imgd.content.StoreOptions;
import dev.imgd.gc.GarbageCollector;
import dev.imgd.gc.GcOptions;
import dev.imgd.hosts.RegistryHosts;
import dev.imgd.image.ImageService.ProgressListener;
import dev.imgd.image.ImageService.PullRequest;
import dev.imgd.image.ImageService.PullResult;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.registry.RegistryOptions;
import dev.imgd.snapshot.LayerRemover;
import dev.imgd.snapshot.SnapshotMetadata;
import dev.imgd.snapshot.SnapshotService;
import dev.imgd.snapshot.overlay.OverlayOptions;
import dev.imgd.snapshot.overlay.OverlaySnapshotService;
import dev.imgd.trust.DecryptionKeys;
import dev.imgd.trust.Effort;
import dev.imgd.trust.PolicyGate;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.function.Executable;

/// A host with a store of its own, all parts real. Its policy is `policy.json` in `root`, if a test
/// writes one.
final class Host implements AutoCloseable {
    static final String NAMESPACE = LocalImageService.NAMESPACE;

    final Path root;
    final Store store;
    final SnapshotService snapshots;
    final RegistryClients registries;
    final LocalImageService images;
    final Limits limits;

    /// For encrypted layers.
    volatile DecryptionKeys keys = DecryptionKeys.NONE;

    private Host(
            Path root,
            Limits limits,
            UnaryOperator<RegistryOptions> settings,
            RegistryHosts hosts,
            UnaryOperator<LayerRemover> removers,
            Duration deadline)
            throws ImageException {
        this.root = root;
        this.limits = limits;
        store = Store.open(root.resolve("store"), StoreOptions.defaults());
        snapshots =
                OverlaySnapshotService.open(
                        root.resolve("overlay"),
                        store.database(),
                        OverlayOptions.defaults().withSyncOnClose(false));
        registries =
                new RegistryClients(
                        settings.apply(
                                RegistryOptions.defaults()
                                        .withLimits(limits)
                                        .withRetries(3, Duration.ofMillis(1), Duration.ofMillis(5))
                                        .withOutageTimeout(Duration.ZERO)),
                        Set.of(),
                        _ -> hosts,
                        PolicyGate.of(
                                root.resolve("policy.json"),
                                false,
                                root.resolve("notation"),
                                Effort.defaults(),
                                Clock.systemUTC()));
        images =
                new LocalImageService(
                        store,
                        snapshots,
                        registries,
                        new GarbageCollector(
                                store, removers.apply(snapshots), GcOptions.defaults()),
                        limits,
                        new PullOptions(3, 2, deadline),
                        () -> keys,
                        Clock.systemUTC());
    }

    static Host open(Path root) throws ImageException {
        return open(root, Limits.defaults());
    }

    static Host open(Path root, Limits limits) throws ImageException {
        return new Host(
                root,
                limits,
                UnaryOperator.identity(),
                RegistryHosts.direct(),
                UnaryOperator.identity(),
                Duration.ZERO);
    }

    /// @param deadline of each pull
    static Host open(Path root, Duration deadline) throws ImageException {
        return new Host(
                root,
                Limits.defaults(),
                UnaryOperator.identity(),
                RegistryHosts.direct(),
                UnaryOperator.identity(),
                deadline);
    }

    /// @param removers changes how the collector removes layers
    static Host open(Path root, UnaryOperator<LayerRemover> removers) throws ImageException {
        return open(root, removers, Duration.ZERO);
    }

    static Host open(Path root, UnaryOperator<LayerRemover> removers, Duration deadline)
            throws ImageException {
        return new Host(
                root,
                Limits.defaults(),
                UnaryOperator.identity(),
                RegistryHosts.direct(),
                removers,
                deadline);
    }

    /// @param settings changes the settings of the registry client
    static Host open(Path root, UnaryOperator<RegistryOptions> settings, RegistryHosts hosts)
            throws ImageException {
        return new Host(
                root, Limits.defaults(), settings, hosts, UnaryOperator.identity(), Duration.ZERO);
    }

    PullResult pull(String reference) throws ImageException {
        return images.pull(PullRequest.of(reference), ProgressListener.NONE);
    }

    static ImageException assertFails(ErrorKind kind, Executable work) {
        ImageException e = assertThrows(ImageException.class, work);
        assertEquals(kind, e.kind(), e.toString());
        return e;
    }

    List<Digest> blobs() throws ImageException {
        List<Digest> digests = new ArrayList<>();
        store.content().list(NAMESPACE, blob -> digests.add(blob.digest()));
        return digests;
    }

    boolean hasBlob(Digest digest) throws ImageException {
        return store.content().find(NAMESPACE, digest).isPresent();
    }

    List<String> names() throws ImageException {
        return images.list().stream().map(ImageService.ImageSummary::name).toList();
    }

    List<String> leases() throws ImageException {
        return store.leases().list(NAMESPACE).stream().map(LeaseStore.Lease::id).toList();
    }

    private List<String> keys(Table table) throws ImageException {
        List<String> keys = new ArrayList<>();
        store.database()
                .read(
                        view -> {
                            view.scan(table, "", (key, _) -> keys.add(key));
                            return null;
                        });
        return keys;
    }

    int layers() throws ImageException {
        List<String> keys = new ArrayList<>();
        store.database()
                .read(
                        view -> {
                            SnapshotMetadata.visitNodes(
                                    view,
                                    (node, _) -> {
                                        if (node.type() == NodeId.Type.LAYER) {
                                            keys.add(node.key());
                                        }
                                    });
                            return null;
                        });
        return keys.size();
    }

    /// Directories on disk that hold or held files of layers and snapshots, after the trash is
    /// emptied.
    List<Path> directories() throws IOException {
        snapshots.view(SnapshotService.LOCAL).cleanup();
        List<Path> all = new ArrayList<>();
        for (String place : List.of("snapshots", "snapshots-trash")) {
            try (Stream<Path> files = Files.list(root.resolve("overlay").resolve(place))) {
                all.addAll(files.toList());
            }
        }
        return all;
    }

    void assertSound() throws ImageException {
        assertEquals(List.of(), images.verify(true));
    }

    /// Nothing that a failed call made is left, except what waits to be gone on with.
    void assertNoMess() throws IOException {
        assertEquals(List.of(), names());
        assertEquals(List.of(), leases());
        images.gc(false, false);
        assertEmpty();
    }

    void assertEmpty() throws IOException {
        assertEquals(List.of(), blobs());
        assertEquals(0, layers());
        assertEquals(List.of(), directories());
        assertEquals(List.of(), keys(Table.SNAPSHOTS));
        assertSound();
    }

    /// Waits for something that other threads bring about.
    static void await(String what, BooleanSupplier condition) {
        long end = System.nanoTime() + Duration.ofSeconds(30).toNanos();
        while (!condition.getAsBoolean()) {
            assertTrue(System.nanoTime() < end, () -> "waited for " + what);
            LockSupport.parkNanos(1_000_000);
        }
    }

    /// Whether a worker of a pull is doing something, by its stack.
    static List<String> busyWorkers() {
        List<String> busy = new ArrayList<>();
        Thread.getAllStackTraces()
                .forEach(
                        (thread, stack) -> {
                            if (thread.getName().startsWith("imgd-")
                                    && Stream.of(stack)
                                            .anyMatch(
                                                    frame ->
                                                            frame.getClassName()
                                                                    .startsWith(
                                                                            PullEngine.class
                                                                                    .getName()))) {
                                busy.add(thread.getName());
                            }
                        });
        return busy;
    }

    @Override
    public void close() throws ImageException {
        images.close();
        registries.close();
        snapshots.close();
        store.close();
    }
}
