package dev.imgd.snapshot.overlay;

import dev.imgd.linux.Fd;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.snapshot.Layer;
import dev.imgd.snapshot.SnapshotService;
import dev.imgd.snapshot.Usage;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/// A layer under construction in a directory that has no row yet.
final class OverlayStaging implements SnapshotService.Staging {
    private final OverlaySnapshotService service;
    private final Digest diffId;
    private final Optional<Digest> parentChain;
    private final long directory;
    private boolean done;

    OverlayStaging(
            OverlaySnapshotService service,
            Digest diffId,
            Optional<Digest> parentChain,
            long directory) {
        this.service = service;
        this.diffId = diffId;
        this.parentChain = parentChain;
        this.directory = directory;
    }

    @Override
    public Path directory() {
        return Path.of(service.directories().files(directory));
    }

    @Override
    public void written(long bytes) {
        service.writeBehind().written(bytes);
    }

    @Override
    public void commit(Usage usage, List<String> implicitDirectories, String parent)
            throws ImageException {
        if (done) {
            throw new IllegalStateException("the staging is closed");
        }
        String id = Layer.id(diffId);
        if (!implicitDirectories.isEmpty()) {
            id = Layer.id(diffId, parentChain);
            List<Fd> lowers = service.openLowers(SnapshotService.LOCAL, parent);
            try (Fd files = service.directories().openFiles(directory)) {
                ImplicitDirectories.complete(files, implicitDirectories, lowers);
            } finally {
                for (Fd lower : lowers) {
                    lower.close();
                }
            }
        }
        service.addLayer(id, diffId, directory, usage);
        done = true;
    }

    @Override
    public void close() {
        if (!done) {
            done = true;
            service.trash().add(directory);
        }
    }
}
