package dev.imgd.gc;

import dev.imgd.content.Database.View;
import dev.imgd.content.ImageRecord;
import dev.imgd.content.LeaseStore.Lease;
import dev.imgd.content.Maintenance;
import dev.imgd.content.Maintenance.StoredBlob;
import dev.imgd.content.NodeId;
import dev.imgd.model.ImageException;
import dev.imgd.snapshot.SnapshotMetadata;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/// The objects of a store and the edges between them, read from one consistent state, and the walk
/// from the roots. For one thread.
final class Marker {
    /// Every object that has a row, except expired leases; images first.
    final Set<NodeId> objects = new LinkedHashSet<>();

    /// What blobs take, in bytes.
    final Map<NodeId, Long> sizes = new HashMap<>();

    final List<Lease> expired = new ArrayList<>();

    private final Map<NodeId, List<NodeId>> edges = new HashMap<>();

    /// What each reached object was reached from; a root from itself.
    private final Map<NodeId, NodeId> reachedFrom = new HashMap<>();

    private final Map<NodeId, String> rootReasons = new HashMap<>();
    private @Nullable Map<NodeId, NodeId> uselessHolders;
    private final Deque<NodeId> pending = new ArrayDeque<>();

    Marker(Maintenance maintenance, View view, Instant now) throws ImageException {
        maintenance.images(view, this::add);
        maintenance.leases(
                view,
                lease -> {
                    if (lease.expires().isAfter(now)) {
                        NodeId node = NodeId.lease(lease.namespace(), lease.id());
                        objects.add(node);
                        root(node, "it does not expire before " + lease.expires());
                    } else {
                        expired.add(lease);
                    }
                });
        SnapshotMetadata.visitNodes(
                view,
                (node, root) -> {
                    objects.add(node);
                    if (root) {
                        root(node, "it is in use until whoever made it removes it");
                    }
                });
        maintenance.blobs(view, this::add);
        maintenance.edges(
                view,
                true,
                (from, to) -> edges.computeIfAbsent(from, _ -> new ArrayList<>()).add(to));
        walk();
    }

    private void add(ImageRecord image) {
        NodeId node = NodeId.image(image.namespace(), image.name());
        objects.add(node);
        root(node, "it is a name");
    }

    private void add(StoredBlob blob) {
        NodeId node = NodeId.blob(blob.digest());
        objects.add(node);
        sizes.put(node, blob.sizeBytes());
    }

    private void root(NodeId node, String reason) {
        rootReasons.put(node, reason);
        reach(node, node);
    }

    private void reach(NodeId node, NodeId from) {
        if (reachedFrom.putIfAbsent(node, from) == null) {
            pending.add(node);
        }
    }

    private void walk() {
        while (!pending.isEmpty()) {
            NodeId node = pending.remove();
            for (NodeId to : edges.getOrDefault(node, List.of())) {
                reach(to, node);
            }
        }
    }

    /// Makes an object that nothing needs a root, for a reason.
    void keep(NodeId node, String reason) {
        root(node, reason);
        walk();
    }

    boolean isReached(NodeId node) {
        return reachedFrom.containsKey(node);
    }

    /// Why a reached object stays.
    String reason(NodeId node) {
        String own = rootReasons.get(node);
        if (own != null) {
            return own;
        }
        NodeId holder = reachedFrom.get(node);
        NodeId root = holder;
        while (root != null && !rootReasons.containsKey(root)) {
            root = reachedFrom.get(root);
        }
        if (holder == null || root == null) {
            throw new IllegalArgumentException("not reached: " + node);
        }
        return holder.equals(root)
                ? "needed by " + describe(root)
                : "needed by %s of %s".formatted(describe(holder), describe(root));
    }

    /// Why an object that was not reached goes.
    String uselessReason(NodeId node) {
        NodeId holder = uselessHolders().get(node);
        return holder == null
                ? "nothing refers to it"
                : "only %s refers to it, which goes too".formatted(describe(holder));
    }

    private Map<NodeId, NodeId> uselessHolders() {
        Map<NodeId, NodeId> holders = uselessHolders;
        if (holders == null) {
            holders = new HashMap<>();
            for (Map.Entry<NodeId, List<NodeId>> entry : edges.entrySet()) {
                for (NodeId to : isReached(entry.getKey()) ? List.<NodeId>of() : entry.getValue()) {
                    holders.putIfAbsent(to, entry.getKey());
                }
            }
            uselessHolders = holders;
        }
        return holders;
    }

    private static String describe(NodeId node) {
        return switch (node.type()) {
                    case IMAGE -> "image ";
                    case LEASE -> "lease ";
                    case BLOB -> "blob ";
                    case SNAPSHOT -> "snapshot ";
                    case LAYER -> "layer ";
                }
                + node.key();
    }
}
