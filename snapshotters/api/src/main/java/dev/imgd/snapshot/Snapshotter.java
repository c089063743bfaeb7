package dev.imgd.snapshot;

import dev.imgd.model.ImageException;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;

/// One view of snapshots: containerd's snapshotter contract.
///
/// Keys of active snapshots and views and names of committed ones share one space. A committed
/// snapshot is immutable and may have children; an active one is writable and becomes committed
/// under a new name. Removing, committing, updating, listing and asking only touch metadata and
/// take milliseconds; directories are deleted in the background or by [#cleanup]. Safe for use by
/// many threads. **Source:** containerd `core/snapshots/snapshotter.go`.
public interface Snapshotter {
    /// Creates an active snapshot on `parent` (empty: on nothing).
    ///
    /// @return how to mount it read-write
    /// @throws ImageException `ALREADY_EXISTS` (key), `NOT_FOUND` (parent), `INVALID_ARGUMENT`
    ///   (parent not committed)
    List<Mount> prepare(String key, String parent, Map<String, String> labels)
            throws ImageException;

    /// Creates a read-only snapshot on `parent`; errors as [#prepare].
    List<Mount> view(String key, String parent, Map<String, String> labels) throws ImageException;

    /// How to mount an active snapshot or a view.
    ///
    /// @throws ImageException `NOT_FOUND`; `FAILED_PRECONDITION` when it is committed
    List<Mount> mounts(String key) throws ImageException;

    /// Turns the active snapshot `key` into the committed snapshot `name`. Labels replace those of
    /// the active one; created and updated become now.
    ///
    /// @param parent the parent for a snapshot that was prepared without one, else empty or the
    ///   same
    /// @throws ImageException `ALREADY_EXISTS` (name), `NOT_FOUND` (key, parent),
    ///   `FAILED_PRECONDITION` (a view, a committed one, parent not committed), `INVALID_ARGUMENT`
    ///   (another parent)
    void commit(String name, String key, Map<String, String> labels, String parent)
            throws ImageException;

    /// Removes a snapshot without children.
    ///
    /// @throws ImageException `NOT_FOUND`; `FAILED_PRECONDITION` "cannot remove snapshot with
    ///   child"
    void remove(String key) throws ImageException;

    /// @throws ImageException `NOT_FOUND`
    SnapshotInfo stat(String key) throws ImageException;

    /// Changes labels.
    ///
    /// @param name of the snapshot
    /// @param labels the new labels
    /// @param fieldPaths `labels` replaces all, `labels.<key>` one (absent or empty deletes it);
    ///   empty means all labels
    /// @throws ImageException `NOT_FOUND`; `INVALID_ARGUMENT` for another path
    SnapshotInfo update(String name, Map<String, String> labels, List<String> fieldPaths)
            throws ImageException;

    /// Calls `visitor` with each snapshot that matches any of the filters (all when there is none),
    /// until it returns false. No lock is held while the visitor runs.
    ///
    /// @param filters containerd's filter language over `name`, `parent`, `kind` and `labels.<key>`
    /// @throws ImageException `INVALID_ARGUMENT` for a malformed filter
    void walk(List<String> filters, Predicate<SnapshotInfo> visitor) throws ImageException;

    /// Stored usage of a committed snapshot, current usage of another.
    ///
    /// @throws ImageException `NOT_FOUND`
    Usage usage(String key) throws ImageException;

    /// Deletes directories that no snapshot uses any more, now.
    void cleanup() throws ImageException;
}
