package dev.imgd.layers;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// One entry of an archive with all its extensions applied. [TarReader] reuses the object.
///
/// Names are strings as [dev.imgd.linux.FileNames] defines them.
final class TarEntry {
    enum Type {
        FILE,
        HARD_LINK,
        SYMBOLIC_LINK,
        CHARACTER_DEVICE,
        BLOCK_DEVICE,
        DIRECTORY,
        FIFO
    }

    Type type = Type.FILE;

    /// As written, not normalised.
    String name = "";

    /// The target of a link, as written.
    String linkName = "";

    /// Permission bits, 0 to 07777.
    int mode;

    long uid;
    long gid;
    long mtimeSeconds;
    int mtimeNanos;

    /// The access time; the modification time where the archive has none or an earlier one.
    long atimeSeconds;

    int atimeNanos;
    long deviceMajor;
    long deviceMinor;

    /// Bytes of content in the archive.
    long size;

    /// The data regions of a sparse file; null for any other.
    @Nullable SparseMap sparse;

    final List<Xattr> xattrs = new ArrayList<>();

    /// Where the header begins in the uncompressed stream.
    long offset;

    void clear(long headerOffset) {
        type = Type.FILE;
        name = "";
        linkName = "";
        mode = 0;
        uid = 0;
        gid = 0;
        mtimeSeconds = 0;
        mtimeNanos = 0;
        atimeSeconds = 0;
        atimeNanos = 0;
        deviceMajor = 0;
        deviceMinor = 0;
        size = 0;
        sparse = null;
        xattrs.clear();
        offset = headerOffset;
    }
}
