package dev.imgd.image;

import dev.imgd.content.ContentStore;
import dev.imgd.content.ImageRecord;
import dev.imgd.content.LeaseStore;
import dev.imgd.content.Store;
import dev.imgd.gc.GarbageCollector;
import dev.imgd.gc.Plan;
import dev.imgd.gc.Report;
import dev.imgd.image.ImageTree.PlatformImage;
import dev.imgd.layers.LayerApplier;
import dev.imgd.model.Bytes;
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
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;

/// The image service over a store and a snapshotter of this process. Thread-safe.
public final class LocalImageService implements ImageService {
    /// The namespace of images that users name.
    public static final String NAMESPACE = "default";

    private static final Duration PULL_LEASE = Duration.ofHours(24);

    private final Store store;
    private final SnapshotService snapshots;
    private final RegistryClients registries;
    private final Limits limits;
    private final Clock clock;
    private final GarbageCollector collector;
    private final ReadWriteLock collection = new ReentrantReadWriteLock();
    private final PullEngine engine;
    private final Mounting mounting;
    private final Set<String> activeLeases = ConcurrentHashMap.newKeySet();

    /// Puts a service together. The service closes none of the parts.
    ///
    /// @param fetches how many blobs are downloaded at once
    /// @param unpacks how many layers are unpacked at once
    public LocalImageService(
            Store store,
            SnapshotService snapshots,
            RegistryClients registries,
            GarbageCollector collector,
            Limits limits,
            int fetches,
            int unpacks,
            Clock clock) {
        this.store = store;
        this.snapshots = snapshots;
        this.registries = registries;
        this.collector = collector;
        this.limits = limits;
        this.clock = clock;
        this.engine =
                new PullEngine(
                        store,
                        snapshots,
                        new LayerApplier(limits),
                        collection,
                        fetches,
                        unpacks);
        this.mounting = new Mounting(snapshots);
    }

    @Override
    public PullResult pull(PullRequest request, ProgressListener progress) throws ImageException {
        long started = System.nanoTime();
        Reference reference = Reference.parse(request.reference()).withDefaultTag();
        Platform platform = platform(request.platform());
        progress.progress(
                new Progress(reference.toString(), "resolving", 0, 0, 0, List.of()));
        RegistryClient client =
                registries.client(reference.registry(), request.plainHttp());
        FetchedManifest target = client.resolve(reference);
        PullLease lease = new PullLease(reference);
        boolean resumable = false;
        try {
            return pull(request, progress, reference, platform, client, target, lease, started);
        } catch (ImageException e) {
            resumable = e.kind().retryable() || e.kind() == ErrorKind.NO_SPACE;
            throw e;
        } finally {
            lease.end(resumable);
        }
    }

    private PullResult pull(
            PullRequest request,
            ProgressListener progress,
            Reference reference,
            Platform platform,
            RegistryClient client,
            FetchedManifest target,
            PullLease lease,
            long started)
            throws ImageException {
        ImageTree.Documents documents = fetching(client, reference, target);
        ImageTree.Result tree =
                request.allPlatforms()
                        ? ImageTree.all(
                                reference.toString(),
                                target.descriptor(),
                                documents,
                                limits,
                                false)
                        : ImageTree.select(
                                reference.toString(),
                                target.descriptor(),
                                platform,
                                documents,
                                limits);
        Optional<PlatformImage> unpackable =
                request.unpack() ? matching(reference, tree.images(), platform) : Optional.empty();
        Fetched fetched =
                fetch(reference, client, tree, unpackable, lease.id, progress);
        List<String> tops =
                fetched.chain.isEmpty()
                        ? List.of()
                        : List.of(SnapshotService.LOCAL + "/" + fetched.chain.getLast());
        record(reference.toString(), target.descriptor(), tops);
        return new PullResult(
                reference.toString(),
                target.descriptor().digest(),
                fetched.chain.isEmpty()
                        ? Optional.empty()
                        : Optional.of(fetched.chain.getLast()),
                fetched.fetchedBytes,
                fetched.reusedBytes,
                fetched.layers,
                (System.nanoTime() - started) / 1_000_000,
                fetched.bySource,
                fetched.warnings);
    }

    private static Platform platform(Optional<String> specifier) throws ImageException {
        return specifier.isPresent()
                ? Platform.parse(specifier.get()).normalized()
                : Platform.host();
    }

    private Optional<PlatformImage> matching(
            Reference reference, List<PlatformImage> images, Platform platform)
            throws ImageException {
        var matcher = dev.imgd.model.PlatformMatcher.only(platform);
        for (PlatformImage image : images) {
            if (image.config().isPresent()
                    && (images.size() == 1
                            || image.platform().filter(matcher::matches).isPresent())) {
                return Optional.of(image);
            }
        }
        if (images.size() > 1) {
            List<String> offered = new ArrayList<>();
            images.forEach(i -> i.platform().ifPresent(p -> offered.add(p.format())));
            throw matcher.noMatch(reference + ": cannot unpack", offered);
        }
        return Optional.empty(); // an artifact: stored, never unpacked
    }

    /// Documents come from the store where it has them, else from the registry; both verified.
    private ImageTree.Documents fetching(
            RegistryClient client, Reference reference, FetchedManifest target) {
        return descriptor -> {
            if (descriptor.digest().equals(target.descriptor().digest())) {
                return target.content();
            }
            ContentStore content = store.content();
            if (content.find(NAMESPACE, descriptor.digest()).isPresent()) {
                return Bytes.of(content.read(descriptor.digest(), limits.manifestBytes()));
            }
            return switch (descriptor.type()) {
                case dev.imgd.model.MediaType.IndexType _,
                        dev.imgd.model.MediaType.ManifestType _,
                        dev.imgd.model.MediaType.Schema1Type _ ->
                        client.manifest(reference, descriptor).content();
                case dev.imgd.model.MediaType.ConfigType _,
                        dev.imgd.model.MediaType.LayerType _,
                        dev.imgd.model.MediaType.OpaqueType _ ->
                        client.smallBlob(reference, descriptor);
            };
        };
    }

    /// Holds what a pull is putting together. A pull that died, or failed in a way that may pass, leaves its
    /// lease to the next pull of the same name, which ends it when it is done.
    private final class PullLease {
        final String id;
        private final String prefix;

        PullLease(Reference reference) throws ImageException {
            prefix = "pull/" + reference + "#";
            id = prefix + UUID.randomUUID();
            activeLeases.add(id);
            store.leases().create(NAMESPACE, id, PULL_LEASE, Map.of());
        }

        /// @param keep whether what is there now is kept for another attempt
        void end(boolean keep) throws ImageException {
            activeLeases.remove(id);
            if (keep) {
                return;
            }
            for (LeaseStore.Lease lease : store.leases().list(NAMESPACE)) {
                if (lease.id().startsWith(prefix) && !activeLeases.contains(lease.id())) {
                    delete(lease.id());
                }
            }
        }

        private void delete(String lease) throws ImageException {
            try {
                store.leases().delete(NAMESPACE, lease);
            } catch (ImageException e) {
                if (e.kind() != ErrorKind.NOT_FOUND) {
                    throw e;
                }
                // Another pull of the same name ended at the same time and was first.
            }
        }
    }

    private record Fetched(
            List<Digest> chain,
            long fetchedBytes,
            long reusedBytes,
            int layers,
            Map<String, Long> bySource,
            List<String> warnings) {}

    /// Stores everything below the manifests, unpacks one image, then stores the manifests: what is visible
    /// is complete.
    private Fetched fetch(
            Reference reference,
            RegistryClient client,
            ImageTree.Result tree,
            Optional<PlatformImage> unpackable,
            String lease,
            ProgressListener progress)
            throws ImageException {
        List<Digest> diffIds =
                unpackable.isPresent()
                        ? ImageTree.diffIds(reference.toString(), unpackable.get())
                        : List.of();
        List<Digest> chain = ChainId.of(diffIds);
        Set<Digest> blobs = new LinkedHashSet<>(tree.documents().keySet());
        Map<Digest, Descriptor> others = new LinkedHashMap<>();
        Set<Digest> unpacked = new LinkedHashSet<>();
        unpackable.ifPresent(i -> i.layers().forEach(layer -> unpacked.add(layer.digest())));
        long total = 0;
        for (PlatformImage image : tree.images()) {
            for (Descriptor blob : image.blobs()) {
                blobs.add(blob.digest());
                limits.check(
                        Limits.Key.LAYER_COMPRESSED_BYTES,
                        "%s: blob %s".formatted(reference, blob.digest()),
                        blob.sizeBytes());
                total += blob.sizeBytes();
                boolean config =
                        image.configBytes().isPresent()
                                && blob.digest().equals(image.manifest().config().digest());
                if (!config && !unpacked.contains(blob.digest())) {
                    others.putIfAbsent(blob.digest(), blob);
                }
            }
        }
        store.leases()
                .hold(NAMESPACE, lease, PullEngine.nodes(List.copyOf(blobs), chain));
        for (PlatformImage image : tree.images()) {
            if (image.configBytes().isPresent()) {
                store.content()
                        .write(
                                NAMESPACE,
                                image.manifest().config().digest(),
                                image.configBytes().get().toArray(),
                                Map.of(),
                                List.of());
            }
        }
        List<Descriptor> layers =
                unpackable.map(PlatformImage::layers).orElse(List.of());
        PullEngine.Outcome outcome =
                engine.run(
                        new PullEngine.Plan(
                                NAMESPACE, reference, client, layers, diffIds, true),
                        progress,
                        (i, id) -> {});
        PullEngine.Outcome rest =
                others.isEmpty()
                        ? new PullEngine.Outcome(List.of(), 0, 0, Map.of(), List.of())
                        : engine.run(
                                new PullEngine.Plan(
                                        NAMESPACE,
                                        reference,
                                        client,
                                        List.copyOf(others.values()),
                                        List.of(),
                                        true),
                                progress,
                                (i, id) -> {});
        List<Map.Entry<Digest, Bytes>> bottomUp =
                new ArrayList<>(tree.documents().entrySet()).reversed();
        for (Map.Entry<Digest, Bytes> document : bottomUp) {
            store.content()
                    .write(
                            NAMESPACE,
                            document.getKey(),
                            document.getValue().toArray(),
                            Map.of(),
                            childrenOf(document.getKey(), tree));
        }
        Map<String, Long> bySource = new LinkedHashMap<>(outcome.bytesBySource());
        rest.bytesBySource().forEach((host, bytes) -> bySource.merge(host, bytes, Long::sum));
        long fetchedBytes = outcome.fetchedBytes() + rest.fetchedBytes();
        return new Fetched(
                chain,
                fetchedBytes,
                Math.max(0, total - fetchedBytes),
                tree.images().stream().mapToInt(i -> i.manifest().layers().size()).sum(),
                bySource,
                outcome.warnings());
    }

    /// What the document points to now, together with what an earlier pull of another platform found.
    private List<Digest> childrenOf(Digest document, ImageTree.Result tree)
            throws ImageException {
        Set<Digest> children =
                new LinkedHashSet<>(tree.references().getOrDefault(document, List.of()));
        store.database()
                .read(
                        view -> {
                            for (var node :
                                    view.edgesFrom(dev.imgd.content.NodeId.blob(document))) {
                                children.add(Digest.parse(node.key()));
                            }
                            return null;
                        });
        return List.copyOf(children);
    }

    private ImageRecord record(String name, Descriptor target, List<String> tops)
            throws ImageException {
        Optional<ImageRecord> before = store.images().find(NAMESPACE, name);
        Set<String> all = new LinkedHashSet<>();
        if (before.isPresent() && before.get().target().digest().equals(target.digest())) {
            all.addAll(before.get().snapshots());
        }
        all.addAll(tops);
        Instant now = clock.instant();
        return store.images()
                .put(
                        new ImageRecord(
                                NAMESPACE,
                                name,
                                new Descriptor(
                                        target.mediaType(), target.digest(), target.sizeBytes()),
                                List.copyOf(all),
                                Map.of(),
                                before.map(ImageRecord::created).orElse(now),
                                now));
    }

    @Override
    public List<ImageSummary> list() throws ImageException {
        List<ImageSummary> images = new ArrayList<>();
        for (ImageRecord image : store.images().list(NAMESPACE)) {
            images.add(summary(image));
        }
        return images;
    }

    private ImageSummary summary(ImageRecord image) throws ImageException {
        ImageTree.Result tree = stored(image);
        Set<Digest> seen = new LinkedHashSet<>();
        long size = 0;
        List<String> platforms = new ArrayList<>();
        for (Map.Entry<Digest, Bytes> document : tree.documents().entrySet()) {
            size += document.getValue().size();
        }
        for (PlatformImage platform : tree.images()) {
            boolean complete = true;
            for (Descriptor blob : platform.blobs()) {
                if (store.content().find(NAMESPACE, blob.digest()).isEmpty()) {
                    complete = false;
                } else if (seen.add(blob.digest())) {
                    size += blob.sizeBytes();
                }
            }
            if (complete) {
                platforms.add(platform.platform().map(Platform::format).orElse("artifact"));
            }
        }
        return new ImageSummary(
                image.name(),
                image.target().digest(),
                image.target().mediaType(),
                size,
                platforms,
                !image.snapshots().isEmpty(),
                image.created(),
                image.updated());
    }

    private ImageTree.Result stored(ImageRecord image) throws ImageException {
        return ImageTree.all(
                image.name(),
                image.target(),
                ImageTree.stored(store.content(), limits),
                limits,
                true);
    }

    /// Finds an image by reference: exactly, by the same repository and digest, or by a digest alone.
    private ImageRecord find(String reference) throws ImageException {
        Reference wanted = Reference.parse(reference);
        Optional<ImageRecord> exact =
                store.images().find(NAMESPACE, wanted.withDefaultTag().toString());
        if (exact.isPresent()) {
            return exact.get();
        }
        if (wanted.digest().isPresent()) {
            for (ImageRecord image : store.images().list(NAMESPACE)) {
                if (image.target().digest().equals(wanted.digest().get())
                        && Reference.parse(image.name()).name().equals(wanted.name())) {
                    return image;
                }
            }
        }
        throw ImageException.notFound(
                "image %s: not in the store; pull it first, or see imgctl ls for what there is"
                        .formatted(wanted.withDefaultTag()));
    }

    private PlatformImage selected(ImageRecord image, Optional<String> platform)
            throws ImageException {
        ImageTree.Documents documents = ImageTree.stored(store.content(), limits);
        List<PlatformImage> images = stored(image).images();
        if (platform.isEmpty() && images.size() == 1) {
            return images.getFirst();
        }
        return ImageTree.select(
                        image.name(), image.target(), platform(platform), documents, limits)
                .images()
                .getFirst();
    }

    @Override
    public ImageDetails inspect(String reference, Optional<String> platform)
            throws ImageException {
        ImageRecord image = find(reference);
        PlatformImage selected = selected(image, platform);
        List<Digest> diffIds = ImageTree.diffIds(image.name(), selected);
        List<Digest> chain = ChainId.of(diffIds);
        List<LayerDetails> layers = new ArrayList<>();
        int unpackable = 0;
        for (Descriptor layer : selected.manifest().layers()) {
            boolean isLayer = selected.layers().contains(layer) && unpackable < diffIds.size();
            Optional<Digest> diffId = isLayer ? Optional.of(diffIds.get(unpackable)) : none();
            Optional<Digest> chainId = isLayer ? Optional.of(chain.get(unpackable)) : none();
            if (isLayer) {
                unpackable++;
            }
            layers.add(
                    new LayerDetails(
                            layer.mediaType(),
                            layer.digest(),
                            layer.sizeBytes(),
                            store.content().find(NAMESPACE, layer.digest()).isPresent(),
                            diffId,
                            chainId,
                            chainId.isPresent() && isCommitted(chainId.get())
                                    ? Optional.of(chainId.get().toString())
                                    : Optional.empty()));
        }
        return new ImageDetails(
                image.name(),
                image.target().digest(),
                image.target().mediaType(),
                selected.platform().map(Platform::format).orElse(""),
                selected.descriptor().digest(),
                text(selected.manifest().raw()),
                selected.manifest().config().digest(),
                selected.configBytes().map(LocalImageService::text).orElse(""),
                layers,
                !chain.isEmpty() && isCommitted(chain.getLast())
                        ? Optional.of(chain.getLast().toString())
                        : Optional.empty(),
                image.created(),
                image.updated(),
                image.labels());
    }

    private static Optional<Digest> none() {
        return Optional.empty();
    }

    private static String text(Bytes bytes) {
        return new String(bytes.toArray(), StandardCharsets.UTF_8);
    }

    private boolean isCommitted(Digest chainId) throws ImageException {
        try {
            snapshots.view(SnapshotService.LOCAL).stat(chainId.toString());
            return true;
        } catch (ImageException e) {
            if (e.kind() == ErrorKind.NOT_FOUND) {
                return false;
            }
            throw e;
        }
    }

    @Override
    public ImageSummary tag(String source, String target) throws ImageException {
        ImageRecord image = find(source);
        Reference name = Reference.parse(target).withDefaultTag();
        if (name.digest().isPresent()) {
            throw ImageException.invalidArgument(
                    "tag %s: a target has no digest; use name:tag".formatted(target));
        }
        ImageRecord tagged = record(name.toString(), image.target(), image.snapshots());
        return summary(tagged);
    }

    @Override
    public List<String> remove(List<String> references) throws ImageException {
        List<String> removed = new ArrayList<>();
        for (String reference : references) {
            ImageRecord image = find(reference);
            store.images().delete(NAMESPACE, image.name());
            removed.add(image.name());
        }
        return removed;
    }

    @Override
    public GcReport gc(boolean dryRun, boolean explain) throws ImageException {
        collection.writeLock().lock();
        try {
            Plan plan = collector.plan();
            List<GcItem> kept = explain ? items(plan.kept()) : List.of();
            if (dryRun) {
                return new GcReport(
                        true, plan.removableBytes(), items(plan.removable()), kept);
            }
            Report report = collector.collect(plan);
            return new GcReport(false, report.freedBytes(), items(report.removed()), kept);
        } finally {
            collection.writeLock().unlock();
        }
    }

    private static List<GcItem> items(List<Plan.Item> items) {
        List<GcItem> all = new ArrayList<>(items.size());
        for (Plan.Item item : items) {
            all.add(new GcItem(item.kind(), item.id(), item.sizeBytes(), item.reason()));
        }
        return all;
    }

    @Override
    public List<String> verify(boolean rehash) throws ImageException {
        collection.writeLock().lock();
        try {
            return collector.verify(rehash);
        } finally {
            collection.writeLock().unlock();
        }
    }

    /// The top snapshot of the host's platform.
    private Digest unpackedTop(ImageRecord image) throws ImageException {
        PlatformImage selected = selected(image, Optional.empty());
        List<Digest> chain = ChainId.of(ImageTree.diffIds(image.name(), selected));
        if (chain.isEmpty()) {
            throw ImageException.failedPrecondition(
                    "image %s: an artifact without a file system; it cannot be mounted"
                            .formatted(image.name()));
        }
        if (!isCommitted(chain.getLast())) {
            unpackStored(image, selected);
        }
        return chain.getLast();
    }

    /// Unpacks what was stored without unpacking.
    private void unpackStored(ImageRecord image, PlatformImage selected) throws ImageException {
        Reference reference = Reference.parse(image.name());
        List<Digest> diffIds = ImageTree.diffIds(image.name(), selected);
        PullEngine.Outcome outcome =
                engine.run(
                        new PullEngine.Plan(
                                NAMESPACE,
                                reference,
                                registries.client(reference.registry(), false),
                                selected.layers(),
                                diffIds,
                                true),
                        ProgressListener.NONE,
                        (i, id) -> {});
        record(
                image.name(),
                image.target(),
                List.of(SnapshotService.LOCAL + "/" + outcome.chain().getLast()));
    }

    @Override
    public void mount(String reference, Path directory, boolean writable) throws ImageException {
        ImageRecord image = find(reference);
        mounting.mount(unpackedTop(image).toString(), directory, writable);
    }

    @Override
    public void unmount(Path directory) throws ImageException {
        mounting.unmount(directory);
    }

    @Override
    public void bundle(String reference, Path directory, List<String> arguments)
            throws ImageException {
        ImageRecord image = find(reference);
        PlatformImage selected = selected(image, Optional.empty());
        Digest top = unpackedTop(image);
        RuntimeBundle.create(
                mounting, image.name(), selected.config().orElseThrow(), top, directory, arguments);
    }

    @Override
    public List<ImageSummary> importImages(Path source, Optional<String> name, boolean unpack)
            throws ImageException {
        List<ImageSummary> imported = new ArrayList<>();
        try (ArchiveSource archive = ArchiveSource.open(source)) {
            for (ArchiveImport.Found found :
                    new ArchiveImport(store, archive, limits).read(name)) {
                ImageRecord image = record(found.name(), found.target(), List.of());
                if (unpack) {
                    List<PlatformImage> images = stored(image).images();
                    Optional<PlatformImage> match =
                            images.size() == 1
                                    ? images.stream().findFirst()
                                    : images.stream()
                                            .filter(
                                                    i ->
                                                            i.platform()
                                                                    .filter(
                                                                            dev.imgd.model
                                                                                            .PlatformMatcher
                                                                                            .only(
                                                                                                    Platform
                                                                                                            .host())
                                                                                    ::matches)
                                                                    .isPresent())
                                            .findFirst();
                    if (match.isPresent()
                            && !ImageTree.diffIds(image.name(), match.get()).isEmpty()) {
                        unpackStored(image, match.get());
                    }
                }
                store.leases().delete(NAMESPACE, found.lease());
                imported.add(summary(find(found.name())));
            }
        }
        return imported;
    }

    @Override
    public void export(List<String> references, Path target, ExportFormat format)
            throws ImageException {
        List<ImageRecord> images = new ArrayList<>();
        for (String reference : references) {
            images.add(find(reference));
        }
        new ArchiveExport(store, limits).write(images, target, format);
    }

    /// The engine, for callers that unpack images of others.
    PullEngine engine() {
        return engine;
    }

    @Override
    public void close() {
        engine.close();
    }
}
