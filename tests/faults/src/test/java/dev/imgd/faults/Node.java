package dev.imgd.faults;

import dev.imgd.content.Store;
import dev.imgd.content.StoreOptions;
import dev.imgd.gc.GarbageCollector;
import dev.imgd.gc.GcOptions;
import dev.imgd.image.LayerProvider;
import dev.imgd.image.LocalImageService;
import dev.imgd.image.PullOptions;
import dev.imgd.image.RegistryClients;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.registry.RegistryOptions;
import dev.imgd.snapshot.SnapshotService;
import dev.imgd.snapshot.overlay.OverlayOptions;
import dev.imgd.snapshot.overlay.OverlaySnapshotService;
import dev.imgd.trust.DecryptionKeys;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.Set;

/// What a daemon has on its store, all parts real.
final class Node implements AutoCloseable {
    /// The view that stands for containerd's.
    static final String VIEW = "containerd";

    final Store store;
    final SnapshotService snapshots;
    final LocalImageService images;
    final LayerProvider provider;
    private final RegistryClients registries;

    Node(Path root) throws ImageException {
        store = Store.open(root, StoreOptions.defaults());
        snapshots =
                OverlaySnapshotService.open(
                        store.root(), store.database(), OverlayOptions.defaults());
        registries = new RegistryClients(RegistryOptions.defaults(), Set.of());
        images =
                new LocalImageService(
                        store,
                        snapshots,
                        registries,
                        new GarbageCollector(store, snapshots, GcOptions.defaults()),
                        Limits.defaults(),
                        new PullOptions(4, 2, Duration.ZERO),
                        () -> DecryptionKeys.NONE,
                        Clock.systemUTC());
        provider =
                new LayerProvider(
                        images,
                        store,
                        registries,
                        Limits.defaults(),
                        Duration.ofMinutes(1),
                        () -> {});
    }

    @Override
    public void close() throws ImageException {
        provider.close();
        images.close();
        registries.close();
        snapshots.close();
        store.close();
    }
}
