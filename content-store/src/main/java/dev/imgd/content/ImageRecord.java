package dev.imgd.content;

import dev.imgd.model.Descriptor;
import java.time.Instant;
import java.util.List;
import java.util.Map;

/// An image name.
///
/// @param name the normalised reference, for example `docker.io/library/debian:12`
/// @param target the manifest or index it points to
/// @param snapshots keys of [NodeId#snapshot] objects that live as long as the name: the top
///   snapshots of the unpacked platforms, each as `view/key`
public record ImageRecord(
        String namespace,
        String name,
        Descriptor target,
        List<String> snapshots,
        Map<String, String> labels,
        Instant created,
        Instant updated) {
    public ImageRecord {
        snapshots = List.copyOf(snapshots);
        labels = Map.copyOf(labels);
    }
}
