package dev.imgd.layers;

import dev.imgd.model.Digest;
import java.util.List;

/// What applying a layer did.
///
/// @param diffId SHA-256 of the whole uncompressed stream, including bytes after the end of the
///   archive
/// @param compression what the magic said
/// @param compressedBytes how many bytes were read from the source
/// @param uncompressedBytes the length of the uncompressed stream
/// @param entries the number of archive entries
/// @param sizeBytes allocated bytes of what was made: 4 KiB for a directory, other sizes rounded up
///   to that, as ext4 and xfs allocate; nothing for the root
/// @param inodes number of inodes made, the root not counted
/// @param implicitDirectories directories that had to exist and had no entry of their own, relative
///   to the root, parents first, as [dev.imgd.linux.FileNames] writes names; their mode is 0755
/// @param warnings what was left out on purpose (for example extended attributes that only the host
///   may set), each kind once with its count
public record Applied(
        Digest diffId,
        Compression compression,
        long compressedBytes,
        long uncompressedBytes,
        long entries,
        long sizeBytes,
        long inodes,
        List<String> implicitDirectories,
        List<String> warnings) {
    public Applied {
        implicitDirectories = List.copyOf(implicitDirectories);
        warnings = List.copyOf(warnings);
    }
}
