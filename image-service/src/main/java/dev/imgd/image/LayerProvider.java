package dev.imgd.image;

import dev.imgd.content.LeaseStore;
import dev.imgd.content.NodeId;
import dev.imgd.content.Store;
import dev.imgd.image.ImageTree.PlatformImage;
import dev.imgd.model.ChainId;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.Platform;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryClient.FetchedManifest;
import dev.imgd.snapshot.SnapshotService;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Brings whole images onto the host for a caller that asks for their layers one by one.
///
/// The first question about an image starts to fetch and unpack all of its layers; each question
/// then waits for its own layer only. The files of the last layer and of those below are on the
/// disk when it is handed out. Nothing gets a name: when the last layer is there the image is kept
/// for a grace period, in which the caller puts its own snapshots on the layers, and then left to
/// the collector. Thread-safe.
public final class LayerProvider implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(LayerProvider.class);
    private static final String NAMESPACE = LocalImageService.NAMESPACE;
    private static final String PREFIX = "provide/";
    private static final Duration LEASE = Duration.ofHours(24);

    private final Store store;
    private final LocalImageService images;
    private final PullEngine engine;
    private final RegistryClients registries;
    private final Limits limits;
    private final Duration grace;
    private final Runnable released;
    private final Map<Key, Provision> running = new HashMap<>();
    private final Set<Thread> threads = ConcurrentHashMap.newKeySet();
    private volatile boolean closed;
    private final ScheduledExecutorService timer =
            Executors.newSingleThreadScheduledExecutor(
                    Thread.ofPlatform().name("imgd-provide").daemon().factory());

    private record Key(Reference reference, Optional<Digest> manifest) {}

    /// A layer that is on disk.
    ///
    /// @param parentChain the chainID of the layers below; empty for the lowest
    /// @param tree what the snapshotter knows the layer by: its diffID, unless it was decrypted
    /// @param parentTree what it knows the layers below by, as a chainID
    public record Layer(
            Digest diffId, Optional<Digest> parentChain, Digest tree, Optional<Digest> parentTree) {
        /// A layer of which nothing is encrypted.
        Layer(Digest diffId, Optional<Digest> parentChain) {
            this(diffId, parentChain, diffId, parentChain);
        }
    }

    /// @param images whose engine, store and limits are used
    /// @param grace how long layers are kept for the caller after the last one is there
    /// @param released called when an image was let go, so that somebody can collect
    public LayerProvider(
            LocalImageService images,
            Store store,
            RegistryClients registries,
            Limits limits,
            Duration grace,
            Runnable released) {
        this.store = store;
        this.images = images;
        this.engine = images.engine();
        this.registries = registries;
        this.limits = limits;
        this.grace = grace;
        this.released = released;
        releaseOld();
    }

    /// What an earlier process promised is kept as long as it would have been.
    private void releaseOld() {
        try {
            for (LeaseStore.Lease lease : store.leases().list(NAMESPACE)) {
                if (lease.id().startsWith(PREFIX)) {
                    later(() -> release(lease.id()));
                }
            }
        } catch (ImageException e) {
            LOG.warn("msg=\"leases of an earlier run stay until they expire: {}\"", e.getMessage());
        }
    }

    private void later(Runnable work) {
        try {
            var _ = timer.schedule(work, grace.toMillis(), TimeUnit.MILLISECONDS);
        } catch (RejectedExecutionException e) {
            LOG.debug("closing: the lease stays for the next process", e);
        }
    }

    private void release(String lease) {
        if (closed) {
            return; // the next process does it
        }
        try {
            store.leases().delete(NAMESPACE, lease);
        } catch (ImageException | RuntimeException e) {
            LOG.debug("lease {} was not there to release", lease, e);
        }
        try {
            released.run();
        } catch (RuntimeException e) {
            LOG.warn("msg=\"nobody collects what was released: {}\"", e.getMessage());
        }
    }

    /// One image on its way.
    private final class Provision {
        final Key key;
        final CompletableFuture<Map<Digest, CompletableFuture<Layer>>> layers =
                new CompletableFuture<>();

        /// Known when `layers` is.
        private volatile @Nullable PlatformImage image;

        Provision(Key key) {
            this.key = key;
        }

        void run() {
            // Of its own, so that letting go of an earlier one never takes it away.
            String lease = PREFIX + key.reference + "#" + UUID.randomUUID();
            try {
                provide(lease);
                later(() -> forget(lease));
            } catch (ImageException | RuntimeException | Error e) {
                LOG.warn(
                        "image={} msg=\"cannot provide its layers: {}\"",
                        key.reference,
                        e.getMessage());
                fail(e);
                forget(lease);
            } finally {
                threads.remove(Thread.currentThread());
            }
        }

        private void provide(String lease) throws ImageException {
            Reference reference = key.reference;
            try (RegistryClient client = registries.client(reference.registry(), false).session();
                    PullDeadline ending = images.deadline("image " + reference, client)) {
                try {
                    provide(lease, reference, client, ending);
                } catch (ImageException e) {
                    throw ending.explain(e);
                }
            }
        }

        private void provide(
                String lease, Reference reference, RegistryClient client, PullDeadline ending)
                throws ImageException {
            Reference wanted =
                    key.manifest.isPresent()
                            ? reference.withDigest(key.manifest.get())
                            : reference.withDefaultTag();
            ImageTree.Result tree =
                    Interruptible.call(
                            "image " + reference,
                            client,
                            () -> {
                                FetchedManifest target = client.resolve(wanted);
                                admit(reference, client, target);
                                return ImageTree.select(
                                        reference.toString(),
                                        target.descriptor(),
                                        Platform.host(),
                                        images.fetching(client, reference, target),
                                        limits);
                            });
            PlatformImage image = tree.images().getFirst();
            this.image = image;
            List<Digest> diffIds = ImageTree.diffIds(reference.toString(), image);
            List<Digest> chain = ChainId.of(diffIds);
            UnlockedLayers unlocked = unlock(reference, image, diffIds);
            List<Digest> names = unlocked.chain();
            Map<Digest, CompletableFuture<Layer>> futures = new HashMap<>();
            chain.forEach(id -> futures.put(id, new CompletableFuture<>()));
            try {
                store.leases().create(NAMESPACE, lease, LEASE, Map.of());
            } catch (ImageException e) {
                if (e.kind() != ErrorKind.ALREADY_EXISTS) {
                    throw e;
                }
            }
            List<NodeId> nodes =
                    PullEngine.nodes(
                            image.layers().stream().map(Descriptor::digest).toList(), names);
            store.leases().hold(NAMESPACE, lease, nodes);
            layers.complete(futures);
            long started = System.nanoTime();
            PullEngine.Outcome outcome =
                    engine.run(
                            new PullEngine.Plan(
                                    NAMESPACE,
                                    reference,
                                    client,
                                    image.layers(),
                                    unlocked,
                                    List.of(),
                                    false),
                            ending.listening(ImageService.ProgressListener.NONE),
                            (i, id) -> {
                                if (i == chain.size() - 1) {
                                    // Who has the last layer has them all, so that one sync is
                                    // enough; see DESIGN.md.
                                    images.snapshots()
                                            .sync(SnapshotService.LOCAL, List.of(id.toString()));
                                }
                                Objects.requireNonNull(futures.get(chain.get(i)))
                                        .complete(
                                                new Layer(
                                                        diffIds.get(i),
                                                        below(chain, i),
                                                        unlocked.trees().get(i),
                                                        below(names, i)));
                            });
            LOG.info(
                    "image={} layers={} fetched_bytes={} duration_ms={} msg=\"provided\"",
                    reference,
                    diffIds.size(),
                    outcome.fetchedBytes(),
                    (System.nanoTime() - started) / 1_000_000);
        }

        /// Missing keys are no refusal: containerd may have its own way to decrypt.
        private UnlockedLayers unlock(
                Reference reference, PlatformImage image, List<Digest> diffIds)
                throws ImageException {
            try {
                return images.unlock(reference.toString(), image.layers(), diffIds);
            } catch (ImageException e) {
                throw e.kind() == ErrorKind.PERMISSION_DENIED
                        ? new ImageException(ErrorKind.FAILED_PRECONDITION, e.getMessage(), e)
                        : e;
            }
        }

        /// Refuses who asks later, when the keys have gone in the meantime.
        void requireKeys() throws ImageException {
            PlatformImage known = image;
            if (known != null && known.layers().stream().anyMatch(UnlockedLayers::isEncrypted)) {
                var _ =
                        unlock(
                                key.reference,
                                known,
                                ImageTree.diffIds(key.reference.toString(), known));
            }
        }

        private static Optional<Digest> below(List<Digest> chain, int index) {
            return index == 0 ? Optional.empty() : Optional.of(chain.get(index - 1));
        }

        private void fail(Throwable cause) {
            synchronized (running) {
                running.remove(key, this);
            }
            if (!layers.completeExceptionally(cause)) {
                layers.join().values().forEach(layer -> layer.completeExceptionally(cause));
            }
        }

        private void forget(String lease) {
            synchronized (running) {
                running.remove(key, this);
            }
            release(lease);
        }
    }

    /// Refuses an image that the policy does not accept, also one whose layers are here.
    ///
    /// @param manifest as for [#provide]
    /// @throws ImageException `PERMISSION_DENIED`, or why it cannot be decided
    public void admit(Reference reference, Optional<Digest> manifest) throws ImageException {
        Reference name = reference.withDefaultTag();
        if (images.admission().settled(name, manifest)) {
            return;
        }
        try (RegistryClient client = registries.client(name.registry(), false).session()) {
            Interruptible.call(
                    "image " + reference,
                    client,
                    () -> {
                        FetchedManifest target =
                                client.resolve(
                                        manifest.isPresent()
                                                ? name.withDigest(manifest.get())
                                                : name);
                        admit(reference, client, target);
                        return target;
                    });
        }
    }

    /// Decides on a manifest, or on the index that the name stands for where that leads to it.
    private void admit(Reference reference, RegistryClient client, FetchedManifest target)
            throws ImageException {
        Reference name = reference.withDefaultTag();
        Descriptor manifest = target.descriptor();
        Admission admission = images.admission();
        if (admission.settled(name, Optional.of(manifest.digest()))) {
            return;
        }
        FetchedManifest named = client.resolve(name);
        ImageTree.Result tree =
                ImageTree.select(
                        reference.toString(),
                        named.descriptor(),
                        Platform.host(),
                        images.fetching(client, name, named),
                        limits);
        boolean leadsToIt =
                named.descriptor().digest().equals(manifest.digest())
                        || tree.images().getFirst().descriptor().digest().equals(manifest.digest());
        if (leadsToIt) {
            admission.beforeFetching(name, client, named.descriptor(), tree.manifests());
        } else {
            // The name moved on, or leads this host to another platform.
            admission.beforeFetching(name, client, manifest, List.of());
        }
    }

    /// Waits until a layer of an image is verified and on disk.
    ///
    /// @param manifest the manifest of the platform, where known; else the reference is resolved
    ///   and the host's platform taken
    /// @param chainId which layer
    /// @throws ImageException when the image cannot be fetched or has no such layer; `CANCELLED`
    ///   when the thread is interrupted, which leaves the work to others that wait for it
    public Layer provide(Reference reference, Optional<Digest> manifest, Digest chainId)
            throws ImageException {
        Key key = new Key(reference, manifest);
        Provision provision;
        synchronized (running) {
            provision = running.get(key);
            if (provision == null) {
                if (closed) {
                    throw ImageException.unavailable(
                            "image %s: imgd is shutting down".formatted(reference), null);
                }
                provision = new Provision(key);
                running.put(key, provision);
                Thread thread =
                        Thread.ofPlatform()
                                .name("imgd-provide-run")
                                .daemon()
                                .unstarted(provision::run);
                threads.add(thread);
                thread.start();
            }
        }
        try {
            CompletableFuture<Layer> layer = provision.layers.get().get(chainId);
            if (layer == null) {
                throw ImageException.notFound(
                        "image %s: its configuration has no layer with chainID %s"
                                .formatted(reference, chainId));
            }
            provision.requireKeys();
            return layer.get();
        } catch (InterruptedException e) {
            throw new ImageException(
                    ErrorKind.CANCELLED,
                    "image %s: gave up waiting for layer %s".formatted(reference, chainId),
                    e);
        } catch (ExecutionException e) {
            if (e.getCause() instanceof ImageException cause) {
                throw cause;
            }
            throw new ImageException(
                    ErrorKind.INTERNAL, "image %s: %s".formatted(reference, e.getCause()), e);
        }
    }

    /// Cancels what runs and waits for it.
    @Override
    public void close() {
        synchronized (running) {
            closed = true;
        }
        timer.shutdownNow();
        boolean interrupted = false;
        for (Thread thread : threads) {
            thread.interrupt();
            while (thread.isAlive()) {
                try {
                    thread.join();
                } catch (InterruptedException e) {
                    interrupted = true;
                }
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
