package dev.imgd.content;

import dev.imgd.model.ImageException;
import java.io.IOException;
import java.nio.file.Files;
import java.util.OptionalLong;

/// The file that says that the last owner closed the store in order.
///
/// It holds the number of the last journal entry. It is removed, durably, before the first change,
/// so that a command that only reads costs no sync. Safe for use by many threads.
final class CleanMark {
    private final BlobPaths paths;
    private volatile boolean dropped;

    CleanMark(BlobPaths paths) {
        this.paths = paths;
    }

    /// The last journal entry at the orderly close, empty when there was none.
    OptionalLong read() {
        try {
            return OptionalLong.of(Long.parseLong(Files.readString(paths.clean()).strip()));
        } catch (IOException | NumberFormatException absentOrTorn) {
            return OptionalLong.empty();
        }
    }

    /// Says that a change follows. Cheap when said before.
    void drop() throws ImageException {
        if (dropped) {
            return;
        }
        synchronized (this) {
            if (dropped) {
                return;
            }
            try {
                if (Files.deleteIfExists(paths.clean())) {
                    BlobPaths.syncDirectory(paths.refs());
                }
            } catch (IOException e) {
                throw Failures.of("remove", paths.clean(), e);
            }
            dropped = true;
        }
    }

    /// Whether anything changed since the store was opened.
    boolean isDropped() {
        return dropped;
    }

    /// Says that everything is in order. Not synced: without it the next start only looks closer.
    void set(long lastJournalEntry) throws ImageException {
        try {
            Files.writeString(paths.clean(), Long.toString(lastJournalEntry));
        } catch (IOException e) {
            throw Failures.of("write", paths.clean(), e);
        }
    }
}
