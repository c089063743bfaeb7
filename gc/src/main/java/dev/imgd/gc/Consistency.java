package dev.imgd.gc;

import dev.imgd.content.Database.View;
import dev.imgd.content.ImageRecord;
import dev.imgd.content.Maintenance;
import dev.imgd.content.NodeId;
import dev.imgd.model.ImageException;
import dev.imgd.snapshot.SnapshotMetadata;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/// The rules that rows keep among themselves.
final class Consistency {
    private Consistency() {}

    private record Edge(NodeId from, NodeId to) {
        @Override
        public String toString() {
            return from + " -> " + to;
        }
    }

    /// Returns one line per broken rule.
    static List<String> check(Maintenance maintenance, View view) throws ImageException {
        List<String> findings = new ArrayList<>();
        Set<NodeId> objects = new HashSet<>();
        List<ImageRecord> images = new ArrayList<>();
        maintenance.images(view, images::add);
        for (ImageRecord image : images) {
            objects.add(NodeId.image(image.namespace(), image.name()));
        }
        maintenance.leases(view, lease -> objects.add(NodeId.lease(lease.namespace(), lease.id())));
        maintenance.blobs(view, blob -> objects.add(NodeId.blob(blob.digest())));
        SnapshotMetadata.visitNodes(view, (node, _) -> objects.add(node));

        Set<Edge> bySource = new HashSet<>();
        Set<Edge> byTarget = new HashSet<>();
        Map<NodeId, Long> wanted = new HashMap<>();
        maintenance.edges(view, true, (from, to) -> bySource.add(new Edge(from, to)));
        maintenance.edges(
                view,
                false,
                (from, to) -> {
                    byTarget.add(new Edge(from, to));
                    wanted.merge(to, 1L, Long::sum);
                });
        for (Edge edge : bySource) {
            if (!byTarget.contains(edge)) {
                findings.add("edge %s: it is not stored by its target".formatted(edge));
            }
            if (!objects.contains(edge.from)) {
                findings.add("edge %s: its source does not exist".formatted(edge));
            }
        }
        for (Edge edge : byTarget) {
            if (!bySource.contains(edge)) {
                findings.add("edge %s: it is not stored by its source".formatted(edge));
            }
        }
        maintenance.counts(
                view,
                (node, count) -> {
                    Long edges = wanted.remove(node);
                    if (edges == null || edges != count) {
                        findings.add(
                                "%s: wanted a reference count of %d, got %d"
                                        .formatted(node, edges == null ? 0 : edges, count));
                    }
                });
        wanted.forEach(
                (node, edges) ->
                        findings.add(
                                "%s: wanted a reference count of %d, got none"
                                        .formatted(node, edges)));
        for (ImageRecord image : images) {
            if (!objects.contains(NodeId.blob(image.target().digest()))) {
                findings.add(
                        "image %s: its manifest %s is missing; pull it again"
                                .formatted(image.name(), image.target().digest()));
            }
        }
        return findings;
    }
}
