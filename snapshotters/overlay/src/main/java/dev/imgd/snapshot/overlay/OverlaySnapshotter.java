package dev.imgd.snapshot.overlay;

import dev.imgd.model.ImageException;
import dev.imgd.snapshot.Filter;
import dev.imgd.snapshot.Kind;
import dev.imgd.snapshot.Mount;
import dev.imgd.snapshot.SnapshotInfo;
import dev.imgd.snapshot.SnapshotMetadata;
import dev.imgd.snapshot.SnapshotMetadata.Measured;
import dev.imgd.snapshot.SnapshotStack;
import dev.imgd.snapshot.Snapshotter;
import dev.imgd.snapshot.StoredSnapshot;
import dev.imgd.snapshot.Usage;
import dev.imgd.snapshot.overlay.SnapshotDirectories.Owner;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Predicate;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// One view of the overlay back end. Holds no state of its own.
final class OverlaySnapshotter implements Snapshotter {
    private static final Logger log = LoggerFactory.getLogger(OverlaySnapshotter.class);

    private static final String UPPER_LABEL = "containerd.io/snapshot/overlay.upperdir";

    private final String view;
    private final OverlaySnapshotService service;
    private final SnapshotMetadata metadata;

    OverlaySnapshotter(String view, OverlaySnapshotService service) {
        this.view = view;
        this.service = service;
        this.metadata = service.metadata();
    }

    @Override
    public List<Mount> prepare(String key, String parent, Map<String, String> labels)
            throws ImageException {
        return create(key, Kind.ACTIVE, parent, labels);
    }

    @Override
    public List<Mount> view(String key, String parent, Map<String, String> labels)
            throws ImageException {
        return create(key, Kind.VIEW, parent, labels);
    }

    private List<Mount> create(String key, Kind kind, String parent, Map<String, String> labels)
            throws ImageException {
        service.beginChange();
        Optional<Long> below = metadata.parentDirectory(view, key, parent);
        Owner owner = owner(below, labels);
        // A view of something else needs no files of its own.
        long directory = kind == Kind.ACTIVE || below.isEmpty() ? metadata.newDirectory() : 0;
        if (directory != 0) {
            service.directories().create(directory, kind == Kind.ACTIVE, owner);
        }
        try {
            metadata.create(view, key, kind, parent, labels, directory);
        } catch (ImageException | RuntimeException e) {
            service.trash().add(directory);
            throw e;
        }
        try {
            return service.shapes().of(metadata.stack(view, key));
        } catch (ImageException e) {
            remove(key);
            throw e;
        }
    }

    private Owner owner(Optional<Long> below, Map<String, String> labels) throws ImageException {
        Optional<IdMapping> mapping =
                service.options().remapIds() ? IdMapping.of(labels) : Optional.empty();
        if (mapping.isPresent()) {
            return new Owner(mapping.get().rootUid(), mapping.get().rootGid());
        }
        return below.isPresent() ? service.directories().owner(below.get()) : new Owner(0, 0);
    }

    @Override
    public List<Mount> mounts(String key) throws ImageException {
        SnapshotStack stack = metadata.stack(view, key);
        return service.shapes().of(stack);
    }

    @Override
    public void commit(String name, String key, Map<String, String> labels, String parent)
            throws ImageException {
        StoredSnapshot committed =
                metadata.commit(view, name, key, labels, parent, service.bootId());
        long directory = committed.directory();
        service.durability().add(directory);
        service.meter().forget(directory);
        service.inBackground(
                () -> {
                    try {
                        measure(name, directory);
                    } catch (ImageException e) {
                        // Removed meanwhile, or unreadable: usage() measures again and reports it.
                        log.debug("usage of {} not measured: {}", name, e.getMessage());
                    }
                });
    }

    @Override
    public void remove(String key) throws ImageException {
        service.beginChange();
        long directory = metadata.remove(view, key).directory();
        service.meter().forget(directory);
        service.trash().add(directory);
    }

    @Override
    public SnapshotInfo stat(String key) throws ImageException {
        return shown(metadata.require(view, key));
    }

    @Override
    public SnapshotInfo update(String name, Map<String, String> labels, List<String> fieldPaths)
            throws ImageException {
        metadata.update(view, name, labels, fieldPaths);
        return stat(name);
    }

    @Override
    public void walk(List<String> filters, Predicate<SnapshotInfo> visitor) throws ImageException {
        metadata.walk(view, Filter.parse(filters), snapshot -> visitor.test(shown(snapshot)));
    }

    private SnapshotInfo shown(StoredSnapshot snapshot) {
        SnapshotInfo info = snapshot.info();
        if (!service.options().upperDirectoryLabel() || snapshot.directory() == 0) {
            return info;
        }
        Map<String, String> labels = new HashMap<>(info.labels());
        labels.put(UPPER_LABEL, service.directories().files(snapshot.directory()));
        return new SnapshotInfo(
                info.name(), info.parent(), info.kind(), info.created(), info.updated(), labels);
    }

    @Override
    public Usage usage(String key) throws ImageException {
        StoredSnapshot snapshot = metadata.require(view, key);
        long directory = snapshot.directory();
        if (snapshot.usage().isPresent()) {
            return snapshot.usage().get();
        }
        if (directory == 0) {
            return new Usage(0, 0);
        }
        return switch (snapshot.info().kind()) {
            case COMMITTED -> {
                Optional<Usage> measured = service.durability().measured(directory);
                yield measured.isPresent() ? measured.get() : measure(key, directory);
            }
            case ACTIVE, VIEW -> service.meter().changing(directory);
        };
    }

    private Usage measure(String name, long directory) throws ImageException {
        Usage usage = service.meter().constant(directory);
        service.durability().add(new Measured(view, name, directory, usage));
        return usage;
    }

    @Override
    public void cleanup() throws ImageException {
        service.cleanup();
    }
}
