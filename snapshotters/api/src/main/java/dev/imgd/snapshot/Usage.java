package dev.imgd.snapshot;

/// What a snapshot takes on disk, without its parents.
///
/// @param sizeBytes allocated bytes
/// @param inodes number of inodes
public record Usage(long sizeBytes, long inodes) {
    /// The sum of two usages.
    public Usage plus(Usage other) {
        return new Usage(sizeBytes + other.sizeBytes, inodes + other.inodes);
    }
}
