package dev.imgd.snapshot.overlay;

import dev.imgd.content.Database;
import dev.imgd.model.ImageException;
import dev.imgd.snapshot.SnapshotService;
import dev.imgd.testkit.SnapshotterContract;
import java.nio.file.Path;

class OverlaySnapshotterTest implements SnapshotterContract {
    @Override
    public SnapshotService open(Path root, Database database) throws ImageException {
        return OverlaySnapshotService.open(
                root, database, OverlayOptions.defaults().withSyncOnClose(false));
    }
}
