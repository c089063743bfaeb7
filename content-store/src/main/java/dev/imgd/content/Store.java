package dev.imgd.content;

import dev.imgd.model.ImageException;
import java.nio.file.Files;
import java.nio.file.Path;

/// One open store: `blobs/` on disk is the truth, RocksDB is the index over it.
///
/// A store has one owner at a time, across processes. All parts are safe for use by many threads.
/// What a method acknowledged survives kill -9 and a power cut.
public interface Store extends AutoCloseable {
    /// Opens or creates the store, repairs what a crash left behind, and quarantines and rebuilds a
    /// damaged database.
    ///
    /// @param root the directory of the store, mode 0700; created when absent
    /// @throws ImageException `LOCKED` naming the process that owns it, `PERMISSION_DENIED` when it
    ///   is not writable
    static Store open(Path root, StoreOptions options) throws ImageException {
        return RocksStore.open(root, options);
    }

    /// Whether there is a store, as far as this user can see: what cannot be looked into may be
    /// one, and [#open] says more.
    static boolean exists(Path root) {
        BlobPaths paths = new BlobPaths(root);
        return !Files.notExists(root)
                && (!(Files.isReadable(root) && Files.isExecutable(root))
                        || Files.exists(paths.blobs())
                        || Files.exists(paths.database()));
    }

    /// Loads the native library that [#open] needs, which may be done on another thread before.
    static void preload() {
        NativeLibraries.load();
    }

    /// The directory of the store.
    Path root();

    /// Blobs and ingests.
    ContentStore content();

    /// Image names.
    ImageStore images();

    /// Leases, which protect objects while they are being put together.
    LeaseStore leases();

    /// The transactional tables underneath, for other modules' metadata (snapshots, layers).
    Database database();

    /// What garbage collection and the check of the store use.
    Maintenance maintenance();

    /// Whether opening had to make the database anew, or found that it had lost rows. Names, leases
    /// and blobs are back; other modules' rows, such as those of snapshots, may be gone.
    boolean rebuilt();

    /// Releases the store; waits for running transactions.
    @Override
    void close() throws ImageException;
}
