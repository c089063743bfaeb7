package dev.imgd.snapshot.overlay;

import dev.imgd.model.ImageException;
import java.util.concurrent.Executor;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicLong;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Brings files to the disk while others are still being written, so that the sync that a commit
/// waits for finds little to do. The kernel by itself would start with most of them only then.
///
/// It promises nothing: whether files are on the disk is for [Durability] to say. Thread-safe.
final class WriteBehind {
    private static final Logger log = LoggerFactory.getLogger(WriteBehind.class);

    private final Durability.Sync sync;
    private final Executor executor;
    private final long stepBytes;
    private final AtomicLong unsynced = new AtomicLong();

    /// @param sync must leave errors of the disk for others to find, see
    ///   [SnapshotDirectories#syncAhead]
    /// @param executor runs one task at a time
    /// @param stepBytes after how many bytes it is worth it
    WriteBehind(Durability.Sync sync, Executor executor, long stepBytes) {
        this.sync = sync;
        this.executor = executor;
        this.stepBytes = stepBytes;
    }

    /// Counts bytes that were written.
    void written(long bytes) {
        long before = unsynced.getAndAdd(bytes);
        // Whoever crosses the line asks for one; it is asked for again only after it has begun.
        if (before < stepBytes && before + bytes >= stepBytes) {
            try {
                executor.execute(this::run);
            } catch (RejectedExecutionException closing) {
                log.trace("closing: nothing is written behind any more", closing);
            }
        }
    }

    private void run() {
        unsynced.set(0);
        try {
            sync.run();
        } catch (ImageException e) {
            log.debug("the sync that counts will report it", e);
        }
    }
}
