package dev.imgd.snapshot;

/// What a snapshot is. **Source:** containerd `services/snapshots/v1`, enum `Kind` (same numbers).
public enum Kind {
    /// Read-only, on top of a committed snapshot; cannot be committed.
    VIEW(1),
    /// Writable; not yet committed; can never be a parent.
    ACTIVE(2),
    /// Immutable; may be a parent.
    COMMITTED(3);

    private final int number;

    Kind(int number) {
        this.number = number;
    }

    /// The number in containerd's API.
    public int number() {
        return number;
    }
}
