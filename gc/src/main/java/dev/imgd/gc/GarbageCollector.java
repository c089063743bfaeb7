package dev.imgd.gc;

import dev.imgd.content.Database;
import dev.imgd.content.Database.Transaction;
import dev.imgd.content.LeaseStore.Lease;
import dev.imgd.content.Maintenance;
import dev.imgd.content.Maintenance.StoredBlob;
import dev.imgd.content.Maintenance.StoredIngest;
import dev.imgd.content.NodeId;
import dev.imgd.content.Store;
import dev.imgd.gc.Plan.Item;
import dev.imgd.gc.Plan.Subject;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.snapshot.Layer;
import dev.imgd.snapshot.LayerRemover;
import dev.imgd.snapshot.SnapshotMetadata;
import dev.imgd.snapshot.StoredSnapshot;
import dev.imgd.snapshot.Usage;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Deque;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.locks.Lock;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Finds and deletes what no image, lease or snapshot needs.
///
/// Two ways lead to the same end. [#plan] and [#collect] walk the graph from its roots on one
/// consistent state; [#sweep] looks only at objects whose last reference went since the last time,
/// so that its cost is that of what it frees. Either way an object is removed by a transaction that
/// checks again that nothing refers to it, so a pull that holds a lease on what it is going to
/// write is never disturbed: what it holds before the check stays, and what it asks for after the
/// removal is not there and is fetched.
///
/// Looking takes no lock. Removing takes one for a batch at a time, which whoever puts objects
/// together keeps away for a moment ([#assembly]).
///
/// Blobs go with their rows first and their files later: a crash in between leaves files that the
/// next start or the next collection deletes. Safe for use by many threads; collections run one
/// after the other.
public final class GarbageCollector {
    private static final Logger LOG = LoggerFactory.getLogger(GarbageCollector.class);
    private static final int BATCH = 128;
    private static final String LAST_REFERENCE = "its last reference went";

    private final Database database;
    private final Maintenance maintenance;
    private final LayerRemover layers;
    private final SnapshotMetadata snapshots;
    private final GcOptions options;
    private final Object running = new Object();
    private final ReadWriteLock removal = new ReentrantReadWriteLock();

    /// @param layers removes snapshots and layers with their directories
    public GarbageCollector(Store store, LayerRemover layers, GcOptions options) {
        this.database = store.database();
        this.maintenance = store.maintenance();
        this.layers = layers;
        this.snapshots = new SnapshotMetadata(store.database(), options.clock());
        this.options = options;
    }

    /// Keeps every removal waiting while it is held: for steps that use an object between finding
    /// it and holding it. Any number of threads have it at once. Hold it for milliseconds: a
    /// removal that waits makes those who come later wait too.
    public Lock assembly() {
        return removal.readLock();
    }

    /// Says what would go and why each thing stays. Changes nothing and blocks nobody.
    public Plan plan() throws ImageException {
        Instant now = options.clock().instant();
        Marker marker = database.read(view -> new Marker(maintenance, view, now));
        List<NodeId> useless = new ArrayList<>();
        for (NodeId node : marker.objects) {
            if (!marker.isReached(node)) {
                useless.add(node);
            }
        }
        if (!options.grace().isZero()) {
            Instant youngest = now.minus(options.grace());
            for (NodeId node : useless) {
                if (created(node).orElse(Instant.MIN).isAfter(youngest)) {
                    marker.keep(
                            node, "nothing needs it, but it is younger than " + options.grace());
                }
            }
        }

        List<Item> removable = new ArrayList<>();
        List<Item> kept = new ArrayList<>();
        for (Lease lease : marker.expired) {
            NodeId node = NodeId.lease(lease.namespace(), lease.id());
            removable.add(item(node, 0, "it expired at " + lease.expires()));
        }
        for (NodeId node : marker.objects) {
            if (marker.isReached(node)) {
                kept.add(item(node, size(marker, node), marker.reason(node)));
            } else {
                removable.add(item(node, size(marker, node), marker.uselessReason(node)));
            }
        }
        for (StoredIngest ingest : maintenance.ingests()) {
            boolean stays = ingest.active() || !isExpired(ingest, now);
            (stays ? kept : removable)
                    .add(
                            new Item(
                                    new Subject.PartialBlob(
                                            ingest.namespace(), ingest.status().ref()),
                                    ingest.status().offsetBytes(),
                                    ingest.active()
                                            ? "it is being written"
                                            : "it was last written at "
                                                    + ingest.status().updated()));
        }
        return new Plan(removable, kept);
    }

    private static Item item(NodeId node, long sizeBytes, String reason) {
        return new Item(new Subject.Node(node), sizeBytes, reason);
    }

    private boolean isExpired(StoredIngest ingest, Instant now) {
        return ingest.status().updated().isBefore(now.minus(options.ingestTtl()));
    }

    /// When an object that may be collected came into being; empty when it is gone.
    private Optional<Instant> created(NodeId node) throws ImageException {
        return switch (node.type()) {
            case LAYER -> snapshots.layer(node.key()).map(Layer::created);
            case SNAPSHOT -> snapshot(node).map(s -> s.info().created());
            case BLOB -> {
                Digest digest = Digest.parse(node.key());
                yield database.read(view -> maintenance.blob(view, digest))
                        .map(StoredBlob::created);
            }
            case IMAGE, LEASE -> Optional.empty();
        };
    }

    private long treeSize(NodeId node) throws ImageException {
        return switch (node.type()) {
            case LAYER -> snapshots.layer(node.key()).map(l -> l.usage().sizeBytes()).orElse(0L);
            case SNAPSHOT ->
                    snapshot(node)
                            .filter(s -> s.layer().isEmpty())
                            .flatMap(StoredSnapshot::usage)
                            .map(Usage::sizeBytes)
                            .orElse(0L);
            case BLOB, IMAGE, LEASE -> 0;
        };
    }

    private long size(Marker marker, NodeId node) throws ImageException {
        Long blob = marker.sizes.get(node);
        return blob == null ? treeSize(node) : blob;
    }

    private Optional<StoredSnapshot> snapshot(NodeId node) throws ImageException {
        int slash = node.key().indexOf('/');
        return snapshots.find(node.key().substring(0, slash), node.key().substring(slash + 1));
    }

    /// Plans and collects.
    public Report collect() throws ImageException {
        return collect(plan());
    }

    /// Removes what the plan says, except what came to be needed since.
    public Report collect(Plan plan) throws ImageException {
        List<Item> removed = new ArrayList<>();
        synchronized (running) {
            Instant now = options.clock().instant();
            Map<NodeId, Item> doomed = new LinkedHashMap<>();
            for (Item item : plan.removable()) {
                switch (item.subject()) {
                    case Subject.Node(NodeId node) -> {
                        if (node.type() != NodeId.Type.LEASE) {
                            doomed.put(node, item);
                        } else if (endLease(node, now)) {
                            removed.add(item);
                        }
                    }
                    case Subject.PartialBlob(String namespace, String ref) -> {
                        if (maintenance.dropIngest(namespace, ref)) {
                            removed.add(item);
                        }
                    }
                }
            }
            Map<NodeId, Item> gone = cascade(doomed.keySet(), doomed::containsKey);
            Set<NodeId> rest = new HashSet<>(doomed.keySet());
            rest.removeAll(gone.keySet());
            Set<NodeId> cycles = breakCycles(rest);
            doomed.forEach(
                    (node, item) -> {
                        if (gone.containsKey(node) || cycles.contains(node)) {
                            removed.add(item);
                        }
                    });
        }
        return finish(removed);
    }

    /// Removes objects whose last reference went since the last sweep, and what only they needed.
    /// An object that never had a reference and an ingest that nobody goes on with are left to
    /// [#collect].
    public Report sweep() throws ImageException {
        List<Item> removed = new ArrayList<>();
        synchronized (running) {
            Instant now = options.clock().instant();
            List<Lease> leases = new ArrayList<>();
            database.read(
                    view -> {
                        maintenance.leases(view, leases::add);
                        return null;
                    });
            for (Lease lease : leases) {
                NodeId node = NodeId.lease(lease.namespace(), lease.id());
                if (!lease.expires().isAfter(now) && endLease(node, now)) {
                    removed.add(item(node, 0, "it expired at " + lease.expires()));
                }
            }
            Instant youngest = now.minus(options.grace());
            List<NodeId> queue = database.zeroQueue(Integer.MAX_VALUE);
            Map<NodeId, Item> gone =
                    cascade(
                            queue,
                            node ->
                                    options.grace().isZero()
                                            || !created(node).orElse(now).isAfter(youngest));
            removed.addAll(gone.values());
            Set<NodeId> queued = new LinkedHashSet<>(queue);
            queued.addAll(gone.keySet());
            List<NodeId> settled = new ArrayList<>();
            for (NodeId node : queued) {
                if (isSettled(node)) {
                    settled.add(node);
                }
            }
            if (!settled.isEmpty()) {
                database.dequeue(settled);
            }
        }
        return finish(removed);
    }

    /// Whether nothing is to be expected of a queued object: it is gone, or it belongs to somebody
    /// who removes it himself. What a grace period or a running pull keeps is looked at again.
    private boolean isSettled(NodeId node) throws ImageException {
        return switch (node.type()) {
            case IMAGE, LEASE -> true;
            case BLOB, LAYER -> created(node).isEmpty();
            case SNAPSHOT -> {
                Optional<StoredSnapshot> snapshot = snapshot(node);
                yield snapshot.isEmpty()
                        || SnapshotMetadata.isRoot(
                                snapshot.get().view(), snapshot.get().info().kind());
            }
        };
    }

    private Report finish(List<Item> removed) throws ImageException {
        maintenance.emptyTrash(new Pace(options.bytesPerSecond())::before);
        Report report = Report.of(removed);
        if (!removed.isEmpty()) {
            LOG.info("collected: removed={} freed_bytes={}", removed.size(), report.freedBytes());
        }
        return report;
    }

    /// One step of a removal, with nobody in the middle of putting something together.
    @FunctionalInterface
    private interface Step<T> {
        T run() throws ImageException;
    }

    private <T> T alone(Step<T> step) throws ImageException {
        removal.writeLock().lock();
        try {
            return step.run();
        } finally {
            removal.writeLock().unlock();
        }
    }

    private boolean endLease(NodeId node, Instant now) throws ImageException {
        int slash = node.key().indexOf('/');
        String namespace = node.key().substring(0, slash);
        String id = node.key().substring(slash + 1);
        return alone(
                () -> database.write(tx -> maintenance.endExpiredLease(tx, namespace, id, now)));
    }

    @FunctionalInterface
    private interface Filter {
        boolean allows(NodeId node) throws ImageException;
    }

    /// Removes objects that nothing refers to, then those that only they referred to, and so on.
    private Map<NodeId, Item> cascade(Collection<NodeId> start, Filter filter)
            throws ImageException {
        Deque<NodeId> open = new ArrayDeque<>(start);
        Map<NodeId, Item> gone = new LinkedHashMap<>();
        while (!open.isEmpty()) {
            List<NodeId> blobs = new ArrayList<>();
            while (!open.isEmpty() && blobs.size() < BATCH) {
                NodeId node = open.remove();
                if (gone.containsKey(node) || !filter.allows(node)) {
                    continue;
                }
                switch (node.type()) {
                    case BLOB -> blobs.add(node);
                    case SNAPSHOT, LAYER -> removeTree(node, gone, open);
                    case IMAGE,
                            LEASE -> {} // They are removed by name, never for want of references.
                }
            }
            removeBlobs(blobs, gone, open);
        }
        return gone;
    }

    private void removeTree(NodeId node, Map<NodeId, Item> gone, Deque<NodeId> open)
            throws ImageException {
        Item item = item(node, treeSize(node), LAST_REFERENCE);
        List<NodeId> below = database.read(view -> view.edgesFrom(node));
        if (alone(() -> layers.removeUnreferenced(node))) {
            gone.put(node, item);
            open.addAll(below);
        }
    }

    private void removeBlobs(List<NodeId> nodes, Map<NodeId, Item> gone, Deque<NodeId> open)
            throws ImageException {
        if (nodes.isEmpty()) {
            return;
        }
        Map<NodeId, Item> forgotten =
                alone(() -> database.write(tx -> forgetUnreferenced(tx, nodes, open)));
        discard(forgotten.keySet());
        gone.putAll(forgotten);
    }

    private Map<NodeId, Item> forgetUnreferenced(
            Transaction tx, List<NodeId> nodes, Deque<NodeId> open) throws ImageException {
        Map<NodeId, Item> forgotten = new LinkedHashMap<>();
        for (NodeId node : nodes) {
            // The edges themselves, not their count: a wrong count must not cost a blob.
            if (tx.edgesTo(node).isEmpty()) {
                List<NodeId> below = tx.edgesFrom(node);
                if (forget(tx, node, forgotten)) {
                    open.addAll(below);
                }
            }
        }
        return forgotten;
    }

    private boolean forget(Transaction tx, NodeId node, Map<NodeId, Item> forgotten)
            throws ImageException {
        Digest digest = Digest.parse(node.key());
        Optional<StoredBlob> blob = maintenance.blob(tx, digest);
        if (blob.isEmpty()) {
            return false;
        }
        maintenance.forgetBlob(tx, digest);
        forgotten.put(node, item(node, blob.get().sizeBytes(), LAST_REFERENCE));
        return true;
    }

    private void discard(Collection<NodeId> blobs) throws ImageException {
        List<Digest> digests = new ArrayList<>(blobs.size());
        for (NodeId blob : blobs) {
            digests.add(Digest.parse(blob.key()));
        }
        maintenance.discard(digests);
    }

    /// Removes blobs that nothing needs although they refer to each other in a circle, which no
    /// honest image does.
    private Set<NodeId> breakCycles(Set<NodeId> rest) throws ImageException {
        Set<NodeId> circle = new HashSet<>(rest);
        circle.removeIf(node -> node.type() != NodeId.Type.BLOB);
        if (circle.isEmpty()) {
            return circle;
        }
        Map<NodeId, Item> forgotten = alone(() -> database.write(tx -> forgetCircle(tx, circle)));
        discard(forgotten.keySet());
        return forgotten.keySet();
    }

    private Map<NodeId, Item> forgetCircle(Transaction tx, Set<NodeId> circle)
            throws ImageException {
        Deque<NodeId> needed = new ArrayDeque<>();
        for (NodeId node : circle) {
            if (!circle.containsAll(tx.edgesTo(node))) {
                needed.add(node);
            }
        }
        while (!needed.isEmpty()) {
            NodeId node = needed.remove();
            if (circle.remove(node)) {
                needed.addAll(tx.edgesFrom(node));
            }
        }
        Map<NodeId, Item> forgotten = new LinkedHashMap<>();
        for (NodeId node : circle) {
            forget(tx, node, forgotten);
        }
        return forgotten;
    }

    /// Checks the store against itself: edges stored both ways, counts, edges of objects that are
    /// gone, names without their manifest, rows and files in both directions. Keeps collections,
    /// but nobody else, waiting.
    ///
    /// @param rehash also reads every byte of every blob
    /// @return one line per finding, empty when all is well
    public List<String> verify(boolean rehash) throws ImageException {
        synchronized (running) {
            List<String> findings = database.read(view -> Consistency.check(maintenance, view));
            findings.addAll(maintenance.checkFiles(rehash));
            return findings;
        }
    }
}
