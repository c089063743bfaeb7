package dev.imgd.image;

import dev.imgd.content.ContentStore;
import dev.imgd.content.ImageRecord;
import dev.imgd.content.IngestStatus;
import dev.imgd.content.LeaseStore;
import dev.imgd.content.NodeId;
import dev.imgd.content.Store;
import dev.imgd.gc.GarbageCollector;
import dev.imgd.gc.Plan;
import dev.imgd.gc.Report;
import dev.imgd.image.ImageTree.PlatformImage;
import dev.imgd.model.Bytes;
import dev.imgd.model.ChainId;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.Platform;
import dev.imgd.model.Reference;
import dev.imgd.model.Spelling;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryClient.FetchedManifest;
import dev.imgd.snapshot.SnapshotService;
import dev.imgd.trust.DecryptionKeys;
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
import java.util.concurrent.locks.Lock;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/// The image service over a store and a snapshotter of this process. Thread-safe.
public final class LocalImageService implements ImageService {
    /// The namespace of images that users name.
    public static final String NAMESPACE = "default";

    private static final Duration PULL_LEASE = Duration.ofHours(24);
    private static final String IMPORT = "import/";
    private static final String UNPACK = "unpack/";
    private static final String COPY = "copy/";

    private final Store store;
    private final SnapshotService snapshots;
    private final RegistryClients registries;
    private final Limits limits;
    private final Clock clock;
    private final GarbageCollector collector;
    private final PullEngine engine;
    private final Admission admission;
    private final Mounting mounting;
    private final int fetches;
    private final Duration deadline;
    private final DecryptionKeys.Source keys;
    private final Object documents = new Object();
    private final Object names = new Object();
    private final Set<String> activeLeases = ConcurrentHashMap.newKeySet();

    /// Puts a service together. The service closes none of the parts. It is the only one on its
    /// store, so calls that a process before did not end are over; what they held is let go.
    ///
    /// @param pulls how much is pulled at once, and how long
    /// @param keys asked for the keys of encrypted layers, each time such layers are used
    public LocalImageService(
            Store store,
            SnapshotService snapshots,
            RegistryClients registries,
            GarbageCollector collector,
            Limits limits,
            PullOptions pulls,
            DecryptionKeys.Source keys,
            Clock clock)
            throws ImageException {
        this.store = store;
        this.snapshots = snapshots;
        this.registries = registries;
        this.collector = collector;
        this.limits = limits;
        this.clock = clock;
        this.fetches = pulls.downloads();
        this.deadline = pulls.deadline();
        this.keys = keys;
        this.engine =
                new PullEngine(
                        store,
                        snapshots,
                        limits,
                        collector.assembly(),
                        pulls.downloads(),
                        pulls.unpacks());
        this.mounting = new Mounting(snapshots);
        this.admission = new Admission(registries.policy());
        dropDeadCalls();
    }

    /// Pulls are not among them: the next pull of the same name goes on with what one has left.
    private void dropDeadCalls() throws ImageException {
        List<String> dead = new ArrayList<>();
        for (LeaseStore.Lease lease : store.leases().list(NAMESPACE)) {
            if (lease.id().startsWith(IMPORT)
                    || lease.id().startsWith(UNPACK)
                    || lease.id().startsWith(COPY)) {
                dead.add(lease.id());
            }
        }
        if (dead.isEmpty()) {
            return;
        }
        for (IngestStatus ingest : store.content().ingests(NAMESPACE)) {
            if (ingest.ref().startsWith(IMPORT) || ingest.ref().startsWith(COPY)) {
                store.content().abort(NAMESPACE, ingest.ref());
            }
        }
        for (String lease : dead) {
            store.leases().delete(NAMESPACE, lease);
        }
    }

    @Override
    public PullResult pull(PullRequest request, ProgressListener progress) throws ImageException {
        long started = System.nanoTime();
        Reference reference = Reference.parse(request.reference()).withDefaultTag();
        Platform platform = platform(request.platform());
        admission.beforeResolving(reference);
        Optional<PlainHttpRefused> refused =
                registries.plainHttpRefused(reference.registry(), request.plainHttp());
        progress.progress(
                new Progress(reference.toString(), "resolving", 0, 0, 0, List.of(), List.of()));
        try (RegistryClient client =
                        registries.session(
                                reference.registry(), request.plainHttp(), request.credentials());
                PullDeadline ending = deadline("pull of " + reference, client)) {
            try {
                PullResult result =
                        pull(
                                request,
                                ending.listening(progress),
                                reference,
                                platform,
                                client,
                                started);
                return refused.isEmpty() ? result : result.withWarning(refused.get().text());
            } catch (ImageException e) {
                ImageException explained = ending.explain(e);
                throw refused.isEmpty() ? explained : refused.get().explain(explained);
            }
        }
    }

    /// Limits the time of a pull that begins now.
    PullDeadline deadline(String what, RegistryClient session) {
        return PullDeadline.start(what, deadline, session);
    }

    private PullResult pull(
            PullRequest request,
            ProgressListener progress,
            Reference reference,
            Platform platform,
            RegistryClient client,
            long started)
            throws ImageException {
        FetchedManifest target =
                Interruptible.call("pull of " + reference, client, () -> client.resolve(reference));
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
                Interruptible.call(
                        "pull of " + reference,
                        client,
                        () ->
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
                                                limits));
        Interruptible.call(
                "pull of " + reference,
                client,
                () -> {
                    admission.beforeFetching(
                            reference, client, target.descriptor(), tree.manifests());
                    return tree;
                });
        Optional<PlatformImage> unpackable =
                request.unpack() ? matching(reference, tree.images(), platform) : Optional.empty();
        Fetched fetched = fetch(reference, client, tree, unpackable, lease, progress);
        List<String> tops = fetched.chain.isEmpty() ? List.of() : List.of(top(fetched.chain));
        record(reference.toString(), target.descriptor(), tops);
        return new PullResult(
                reference.toString(),
                target.descriptor().digest(),
                fetched.chainId,
                fetched.fetchedBytes,
                fetched.reusedBytes,
                fetched.layers,
                (System.nanoTime() - started) / 1_000_000,
                fetched.sources,
                Stream.concat(fetched.warnings.stream(), client.notices().stream()).toList());
    }

    private static Platform platform(Optional<String> specifier) throws ImageException {
        return specifier.isPresent()
                ? Platform.parse(specifier.get()).normalized()
                : Platform.host();
    }

    private Optional<PlatformImage> matching(
            Reference reference, List<PlatformImage> images, Platform platform)
            throws ImageException {
        if (images.size() == 1) {
            return images.stream().filter(image -> image.config().isPresent()).findFirst();
        }
        if (images.size() > 1) {
            return Optional.of(ImageTree.choose(reference + ": cannot unpack", images, platform));
        }
        return Optional.empty(); // an artifact: stored, never unpacked
    }

    /// Documents come from the store where it has them, else from the registry; both verified.
    ImageTree.Documents fetching(
            RegistryClient client, Reference reference, FetchedManifest target) {
        return descriptor -> {
            if (descriptor.digest().equals(target.descriptor().digest())) {
                return target.content();
            }
            ContentStore content = store.content();
            if (content.findWhole(NAMESPACE, descriptor.digest()).isPresent()) {
                try {
                    return Bytes.of(content.read(descriptor.digest(), limits.manifestBytes()));
                } catch (ImageException e) {
                    if (e.kind() != ErrorKind.NOT_FOUND && content.recheck(descriptor.digest())) {
                        throw e;
                    }
                    // Nothing held it and a collection took it in between, or the disk changed it.
                }
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

    /// Holds what a pull is putting together. A pull that died, or failed in a way that may pass,
    /// leaves its lease to the next pull of the same name, which ends it when it is done.
    private final class PullLease {
        final String id;
        private final String prefix;
        private boolean holds;

        PullLease(Reference reference) throws ImageException {
            prefix = "pull/" + reference + "#";
            id = prefix + UUID.randomUUID();
            activeLeases.add(id);
            store.leases().create(NAMESPACE, id, PULL_LEASE, Map.of());
        }

        void hold(List<NodeId> nodes) throws ImageException {
            store.leases().hold(NAMESPACE, id, nodes);
            holds = true;
        }

        /// However many attempts fail, one lease of a name is left: the last that held something.
        ///
        /// @param keep whether what is there now is kept for another attempt
        void end(boolean keep) throws ImageException {
            activeLeases.remove(id);
            if (keep && !holds) {
                delete(id);
                return;
            }
            for (LeaseStore.Lease lease : store.leases().list(NAMESPACE)) {
                boolean kept = keep && lease.id().equals(id);
                if (!kept && lease.id().startsWith(prefix) && !activeLeases.contains(lease.id())) {
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

    /// @param chain the names of the snapshots
    /// @param chainId of the whole image
    private record Fetched(
            List<Digest> chain,
            Optional<Digest> chainId,
            long fetchedBytes,
            long reusedBytes,
            int layers,
            List<SourceUse> sources,
            List<String> warnings) {}

    /// Stores everything below the manifests, unpacks one image, then stores the manifests: what is
    /// visible is complete.
    private Fetched fetch(
            Reference reference,
            RegistryClient client,
            ImageTree.Result tree,
            Optional<PlatformImage> unpackable,
            PullLease lease,
            ProgressListener progress)
            throws ImageException {
        List<Digest> diffIds =
                unpackable.isPresent()
                        ? ImageTree.diffIds(reference.toString(), unpackable.get())
                        : List.of();
        List<Descriptor> layers = unpackable.map(PlatformImage::layers).orElse(List.of());
        UnlockedLayers unlocked = unlock(reference.toString(), layers, diffIds);
        List<Digest> chain = unlocked.chain();
        Set<Digest> blobs = new LinkedHashSet<>(tree.documents().keySet());
        Map<Digest, Descriptor> others = new LinkedHashMap<>();
        Set<Digest> unpacked = new LinkedHashSet<>();
        unpackable.ifPresent(i -> i.layers().forEach(layer -> unpacked.add(layer.digest())));
        for (PlatformImage image : tree.images()) {
            for (Descriptor blob : image.blobs()) {
                blobs.add(blob.digest());
                limits.check(
                        Limits.Key.LAYER_COMPRESSED_BYTES,
                        "%s: blob %s".formatted(reference, blob.digest()),
                        blob.sizeBytes());
                boolean config =
                        image.configBytes().isPresent()
                                && blob.digest().equals(image.manifest().config().digest());
                if (!config && !unpacked.contains(blob.digest())) {
                    others.putIfAbsent(blob.digest(), blob);
                }
            }
        }
        lease.hold(PullEngine.nodes(List.copyOf(blobs), chain));
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
        PullEngine.Outcome outcome =
                engine.run(
                        new PullEngine.Plan(
                                NAMESPACE,
                                reference,
                                client,
                                layers,
                                unlocked,
                                List.copyOf(others.values()),
                                true),
                        progress,
                        (i, id) -> {});
        writeDocuments(tree);
        return new Fetched(
                chain,
                diffIds.isEmpty() ? Optional.empty() : Optional.of(ChainId.of(diffIds).getLast()),
                outcome.fetchedBytes(),
                outcome.reusedBytes(),
                tree.images().stream().mapToInt(i -> i.manifest().layers().size()).sum(),
                outcome.sources(),
                outcome.warnings());
    }

    /// What using the layers of an image takes. Asked for each use, also of what is unpacked.
    ///
    /// @throws ImageException `PERMISSION_DENIED` when a layer is encrypted and no key opens it
    UnlockedLayers unlock(String what, List<Descriptor> layers, List<Digest> diffIds)
            throws ImageException {
        return UnlockedLayers.of("image " + what, layers, diffIds, keys);
    }

    /// Stores manifests and indexes, after everything they point to.
    private void writeDocuments(ImageTree.Result tree) throws ImageException {
        List<Map.Entry<Digest, Bytes>> bottomUp =
                new ArrayList<>(tree.documents().entrySet()).reversed();
        // What an index points to is read and then written; two platforms of it may be pulled at
        // once.
        synchronized (documents) {
            for (Map.Entry<Digest, Bytes> document : bottomUp) {
                store.content()
                        .write(
                                NAMESPACE,
                                document.getKey(),
                                document.getValue().toArray(),
                                StoredSummary.labels(tree, document.getKey()),
                                childrenOf(document.getKey(), tree));
            }
        }
    }

    /// What the document points to now, together with what an earlier pull of another platform
    /// found.
    private List<Digest> childrenOf(Digest document, ImageTree.Result tree) throws ImageException {
        Set<Digest> children =
                new LinkedHashSet<>(tree.references().getOrDefault(document, List.of()));
        store.database()
                .read(
                        view -> {
                            for (var node : view.edgesFrom(NodeId.blob(document))) {
                                children.add(Digest.parse(node.key()));
                            }
                            return null;
                        });
        return List.copyOf(children);
    }

    private ImageRecord record(String name, Descriptor target, List<String> tops)
            throws ImageException {
        if (!tops.isEmpty()) {
            // One sync for all layers: a name never points to files that a power cut could take.
            snapshots.sync(
                    SnapshotService.LOCAL,
                    tops.stream().map(LocalImageService::nameOfTop).toList());
        }
        return name(name, target, tops);
    }

    /// @param tops snapshots whose files are durable
    private ImageRecord name(String name, Descriptor target, List<String> tops)
            throws ImageException {
        synchronized (names) {
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
                                            target.mediaType(),
                                            target.digest(),
                                            target.sizeBytes()),
                                    List.copyOf(all),
                                    Map.of(),
                                    before.map(ImageRecord::created).orElse(now),
                                    now));
        }
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
        Optional<StoredSummary> rows = StoredSummary.of(store, NAMESPACE, image);
        StoredSummary summary =
                rows.isPresent() ? rows.get() : StoredSummary.of(store, NAMESPACE, stored(image));
        return new ImageSummary(
                image.name(),
                image.target().digest(),
                image.target().mediaType(),
                summary.sizeBytes(),
                summary.platforms(),
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

    /// Finds an image by reference: exactly, by the same repository and digest, or by a digest
    /// alone.
    private ImageRecord find(String reference) throws ImageException {
        return find(reference, true);
    }

    /// @param useful whether it would help to pull the image
    private ImageRecord find(String reference, boolean useful) throws ImageException {
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
                "image %s: not in the store; %s"
                        .formatted(
                                wanted.withDefaultTag(), advice(wanted.withDefaultTag(), useful)));
    }

    /// What somebody can do who named an image that is not there.
    private String advice(Reference wanted, boolean pull) throws ImageException {
        List<String> names = new ArrayList<>();
        for (ImageRecord image : store.images().list(NAMESPACE)) {
            names.add(Reference.parse(image.name()).familiar());
        }
        if (names.isEmpty()) {
            return pull ? "it has no images; pull it first" : "it has no images";
        }
        String familiar = wanted.familiar();
        Optional<String> near = Spelling.nearest(familiar, names);
        if (near.isEmpty()) {
            // The same image with another tag, or from another registry.
            String last = wanted.repository().substring(wanted.repository().lastIndexOf('/') + 1);
            near =
                    names.stream()
                            .filter(name -> name.matches("(.*/)?" + Pattern.quote(last) + "[:@].*"))
                            .findFirst();
        }
        return (near.isPresent() ? "did you mean \"%s\"? ".formatted(near.get()) : "")
                + "imgctl ls lists what there is"
                + (pull ? ", and imgctl pull fetches more" : "");
    }

    private PlatformImage selected(ImageRecord image, Optional<String> platform)
            throws ImageException {
        List<PlatformImage> images = stored(image).images();
        if (platform.isEmpty() && images.size() == 1) {
            return images.getFirst();
        }
        return ImageTree.choose(image.name(), images, platform(platform));
    }

    @Override
    public ImageDetails inspect(String reference, Optional<String> platform) throws ImageException {
        ImageRecord image = find(reference);
        PlatformImage selected = selected(image, platform);
        List<Digest> diffIds = ImageTree.diffIds(image.name(), selected);
        List<Digest> chain = ChainId.of(diffIds);
        List<LayerDetails> layers = new ArrayList<>();
        List<Digest> snapshotNames = snapshotNames(image.name(), selected.layers(), diffIds);
        int unpackable = 0;
        for (Descriptor layer : selected.manifest().layers()) {
            boolean isLayer = selected.layers().contains(layer) && unpackable < diffIds.size();
            Optional<Digest> diffId = isLayer ? Optional.of(diffIds.get(unpackable)) : none();
            Optional<Digest> chainId = isLayer ? Optional.of(chain.get(unpackable)) : none();
            Optional<String> snapshot =
                    isLayer ? committed(snapshotNames, unpackable) : Optional.empty();
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
                            snapshot));
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
                committed(snapshotNames, diffIds.size() - 1),
                image.created(),
                image.updated(),
                image.labels());
    }

    /// The names of the snapshots; none for who has no keys of an encrypted image, whom they do not
    /// concern.
    private List<Digest> snapshotNames(String what, List<Descriptor> layers, List<Digest> diffIds)
            throws ImageException {
        try {
            return unlock(what, layers, diffIds).chain();
        } catch (ImageException e) {
            if (layers.stream().noneMatch(UnlockedLayers::isEncrypted)) {
                throw e;
            }
            return List.of();
        }
    }

    private Optional<String> committed(List<Digest> names, int index) throws ImageException {
        return index >= 0 && index < names.size() && isCommitted(names.get(index))
                ? Optional.of(names.get(index).toString())
                : Optional.empty();
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
        Reference name = Reference.parse(target).withDefaultTag();
        if (name.digest().isPresent()) {
            throw ImageException.invalidArgument(
                    "tag %s: a target has no digest; use name:tag".formatted(target));
        }
        ImageRecord tagged;
        Lock assembly = collector.assembly();
        // So that nothing is collected between finding and naming it.
        assembly.lock();
        try {
            ImageRecord image = find(source);
            tagged = name(name.toString(), image.target(), image.snapshots());
        } finally {
            assembly.unlock();
        }
        return summary(tagged);
    }

    @Override
    public List<String> remove(List<String> references) throws ImageException {
        List<String> removed = new ArrayList<>();
        for (String reference : references) {
            ImageRecord image = find(reference, false);
            store.images().delete(NAMESPACE, image.name());
            removed.add(image.name());
        }
        return removed;
    }

    @Override
    public GcReport gc(boolean dryRun, boolean explain) throws ImageException {
        Plan plan = collector.plan();
        List<GcItem> kept = explain ? items(plan.kept()) : List.of();
        if (dryRun) {
            return new GcReport(true, plan.removableBytes(), items(plan.removable()), kept);
        }
        Report report = collector.collect(plan);
        // Who asks for the space wants it now, and this process may end before the background comes
        // to it.
        snapshots.view(SnapshotService.LOCAL).cleanup();
        return new GcReport(false, report.freedBytes(), items(report.removed()), kept);
    }

    /// Removes what lost its last reference since the last time; costs what it frees. Directories
    /// are deleted in the background.
    public GcReport sweep() throws ImageException {
        Report report = collector.sweep();
        return new GcReport(false, report.freedBytes(), items(report.removed()), List.of());
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
        return collector.verify(rehash);
    }

    /// The top snapshot of one platform, unpacked if it was not.
    private Digest unpackedTop(ImageRecord image, PlatformImage selected) throws ImageException {
        List<Digest> diffIds = ImageTree.diffIds(image.name(), selected);
        UnlockedLayers unlocked = unlock(image.name(), selected.layers(), diffIds);
        List<Digest> chain = unlocked.chain();
        if (chain.isEmpty()) {
            throw ImageException.failedPrecondition(
                    "image %s: an artifact without a file system; it cannot be mounted"
                            .formatted(image.name()));
        }
        if (!isUnpacked(unlocked.trees(), chain)) {
            try (CallLease lease = new CallLease(UNPACK)) {
                unpackStored(image, selected, lease.id);
                // Not by name: it may have been removed or moved while its layers were unpacked.
                synchronized (names) {
                    Optional<ImageRecord> now = store.images().find(NAMESPACE, image.name());
                    if (now.isPresent()
                            && now.get().target().digest().equals(image.target().digest())) {
                        record(image.name(), image.target(), List.of(top(chain)));
                    }
                }
            }
        }
        return chain.getLast();
    }

    private static String top(List<Digest> chain) {
        return SnapshotService.LOCAL + "/" + chain.getLast();
    }

    private static String nameOfTop(String top) {
        return top.substring(SnapshotService.LOCAL.length() + 1);
    }

    /// Whether all layers are on disk; a power cut may have taken some that had been.
    private boolean isUnpacked(List<Digest> trees, List<Digest> chain) throws ImageException {
        for (int i = 0; i < chain.size(); i++) {
            Optional<Digest> parent = i == 0 ? Optional.empty() : Optional.of(chain.get(i - 1));
            if (!isCommitted(chain.get(i)) || !snapshots.hasLayer(trees.get(i), parent)) {
                return false;
            }
        }
        return true;
    }

    /// Holds what a call is putting together; ends with the call.
    private final class CallLease implements AutoCloseable {
        final String id;

        /// @param prefix of its name; [#dropDeadCalls] knows it
        CallLease(String prefix) throws ImageException {
            id = prefix + UUID.randomUUID();
            store.leases().create(NAMESPACE, id, PULL_LEASE, Map.of());
        }

        @Override
        public void close() throws ImageException {
            store.leases().delete(NAMESPACE, id);
        }
    }

    /// Unpacks what was stored without unpacking.
    ///
    /// @param lease holds the snapshots until somebody else does
    /// @return the names of the snapshots
    private List<Digest> unpackStored(ImageRecord image, PlatformImage selected, String lease)
            throws ImageException {
        Reference reference = Reference.parse(image.name());
        List<Digest> diffIds = ImageTree.diffIds(image.name(), selected);
        UnlockedLayers unlocked = unlock(image.name(), selected.layers(), diffIds);
        List<Digest> blobs = new ArrayList<>();
        selected.layers().forEach(layer -> blobs.add(layer.digest()));
        store.leases().hold(NAMESPACE, lease, PullEngine.nodes(blobs, unlocked.chain()));
        try (RegistryClient client = registries.client(reference.registry(), false).session()) {
            return engine.run(
                            new PullEngine.Plan(
                                    NAMESPACE,
                                    reference,
                                    client,
                                    selected.layers(),
                                    unlocked,
                                    List.of(),
                                    true),
                            ProgressListener.NONE,
                            (i, id) -> {})
                    .chain();
        }
    }

    @Override
    public void mount(String reference, Optional<String> platform, Path directory, boolean writable)
            throws ImageException {
        ImageRecord image = find(reference);
        Digest top = unpackedTop(image, selected(image, platform));
        mounting.mount(top.toString(), directory, writable);
    }

    @Override
    public void unmount(Path directory) throws ImageException {
        mounting.unmount(directory);
    }

    @Override
    public void bundle(
            String reference, Optional<String> platform, Path directory, List<String> arguments)
            throws ImageException {
        ImageRecord image = find(reference);
        PlatformImage selected = selected(image, platform);
        Digest top = unpackedTop(image, selected);
        RuntimeBundle.create(
                mounting, image.name(), selected.config().orElseThrow(), top, directory, arguments);
    }

    @Override
    public List<ImageSummary> importImages(Path source, Optional<String> name, boolean unpack)
            throws ImageException {
        List<ImageSummary> imported = new ArrayList<>();
        try (ArchiveSource archive = ArchiveSource.open(source, store.root(), limits);
                CallLease lease = new CallLease(IMPORT)) {
            List<ArchiveImport.Found> found =
                    new ArchiveImport(store, archive, limits, lease.id).read(name);
            // Names come last: an archive that turns out to be wrong leaves none.
            Map<Digest, List<String>> tops = new LinkedHashMap<>();
            for (ArchiveImport.Found image : unpack ? found : List.<ArchiveImport.Found>of()) {
                if (!tops.containsKey(image.target().digest())) {
                    tops.put(image.target().digest(), unpackFound(image, lease.id));
                }
            }
            for (ArchiveImport.Found image : found) {
                imported.add(
                        summary(
                                record(
                                        image.name(),
                                        image.target(),
                                        tops.getOrDefault(image.target().digest(), List.of()))));
            }
        }
        return imported;
    }

    /// Unpacks the only platform, or this host's where there are several.
    ///
    /// @return the top snapshot, if there is something to unpack
    private List<String> unpackFound(ArchiveImport.Found found, String lease)
            throws ImageException {
        Instant now = clock.instant();
        ImageRecord image =
                new ImageRecord(
                        NAMESPACE, found.name(), found.target(), List.of(), Map.of(), now, now);
        List<PlatformImage> images = stored(image).images();
        Optional<PlatformImage> match =
                images.size() == 1
                        ? Optional.of(images.getFirst())
                        : ImageTree.bestOf(images, Platform.host());
        if (match.isEmpty() || ImageTree.diffIds(image.name(), match.get()).isEmpty()) {
            return List.of();
        }
        return List.of(top(unpackStored(image, match.get(), lease)));
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

    /// The snapshots, for callers that show layers elsewhere.
    SnapshotService snapshots() {
        return snapshots;
    }

    @Override
    public CopyResult copy(CopyRequest request, ProgressListener progress) throws ImageException {
        return copy(request, progress, null);
    }

    /// Copies an image with other layers; see [ImageCopier#copy(CopyRequest, ProgressListener,
    /// LayerRewriting)].
    public CopyResult copy(
            CopyRequest request, ProgressListener progress, @Nullable LayerRewriting rewriting)
            throws ImageException {
        if (!ImageCopier.needsStore(request)) {
            return new ImageCopier(registries, limits, fetches).copy(request, progress, rewriting);
        }
        try (CallLease lease = new CallLease(COPY)) {
            ImageCopier.Images images =
                    new ImageCopier.Images() {
                        @Override
                        public CopySource source(Reference reference) throws ImageException {
                            return new StoreCopySource(
                                    store, limits, find(reference.toString()), lease.id);
                        }

                        @Override
                        public CopyDestination destination(Reference reference) {
                            return new StoreCopyDestination(
                                    store,
                                    limits,
                                    reference,
                                    lease.id,
                                    (name, target) -> {
                                        ImageRecord _ = record(name, target, List.of());
                                    });
                        }
                    };
            return new ImageCopier(registries, limits, fetches, images)
                    .copy(request, progress, rewriting);
        }
    }

    Admission admission() {
        return admission;
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
