package dev.imgd.cli;

import dev.imgd.content.NodeId;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.snapshot.Mount;
import dev.imgd.snapshot.SnapshotService;
import dev.imgd.snapshot.Snapshotter;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// A snapshot service that opens when it is first used. Commands that only look at names never pay
/// for linking the system calls that snapshots need. Thread-safe.
final class LazySnapshots implements SnapshotService {
    /// Opens the real one.
    @FunctionalInterface
    interface Opening {
        SnapshotService open() throws ImageException;
    }

    private final Opening opening;
    private @Nullable SnapshotService service;

    LazySnapshots(Opening opening) {
        this.opening = opening;
    }

    private synchronized SnapshotService service() throws ImageException {
        SnapshotService opened = service;
        if (opened == null) {
            opened = opening.open();
            service = opened;
        }
        return opened;
    }

    @Override
    public Snapshotter view(String view) throws ImageException {
        return service().view(view);
    }

    @Override
    public Staging stage(Digest diffId, Optional<Digest> parentChain) throws ImageException {
        return service().stage(diffId, parentChain);
    }

    @Override
    public boolean hasLayer(Digest diffId, Optional<Digest> parentChain) throws ImageException {
        return service().hasLayer(diffId, parentChain);
    }

    @Override
    public boolean link(
            String view,
            String name,
            String parent,
            Digest diffId,
            Optional<Digest> parentChain,
            Map<String, String> labels)
            throws ImageException {
        return service().link(view, name, parent, diffId, parentChain, labels);
    }

    @Override
    public boolean removeUnreferenced(NodeId node) throws ImageException {
        return service().removeUnreferenced(node);
    }

    @Override
    public void sync(String view, List<String> names) throws ImageException {
        service().sync(view, names);
    }

    @Override
    public void mount(List<Mount> mounts, Path target) throws ImageException {
        service().mount(mounts, target);
    }

    @Override
    public void unmount(Path target) throws ImageException {
        service().unmount(target);
    }

    @Override
    public synchronized void close() throws ImageException {
        if (service != null) {
            service.close();
        }
    }
}
