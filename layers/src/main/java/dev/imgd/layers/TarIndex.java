package dev.imgd.layers;

import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import java.io.IOException;
import java.nio.channels.SeekableByteChannel;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// Where the files of an uncompressed archive are, so that they can be read at random.
///
/// It is made by the reader that layers are read with, so an archive of images and its layers are
/// understood alike and within the same limits. Immutable.
public final class TarIndex {
    /// What an entry holds for each name in it, besides the name.
    private static final int ENTRY_BYTES = 160;

    /// What an entry is.
    public enum Kind {
        /// A file whose content stands in the archive as it is.
        FILE,
        HARD_LINK,
        SYMBOLIC_LINK,
        /// Directories, devices, and sparse files, whose content is not one piece.
        OTHER
    }

    /// One entry.
    ///
    /// @param name without `./` in front
    /// @param target of a link, as written; empty for others
    /// @param offset of the content, in bytes from the start of the archive
    /// @param sizeBytes of the content; all of it is there
    public record Entry(String name, Kind kind, String target, long offset, long sizeBytes) {}

    private final Map<String, Entry> entries;

    private TarIndex(Map<String, Entry> entries) {
        this.entries = entries;
    }

    /// Reads all headers of an archive.
    ///
    /// @param what the archive, for error messages
    /// @param archive positioned at its start; stays open
    /// @throws ImageException `INVALID_CONTENT` when it is no archive or cut off, `LIMIT_EXCEEDED`
    ///   when it has more entries than `limits.archive_entries` or its names take more memory than
    ///   `limits.directory_bytes`
    public static TarIndex read(String what, SeekableByteChannel archive, Limits limits)
            throws IOException {
        // An archive holds many layers; the size of one says nothing about it.
        Limits whole =
                limits.with(
                        Limits.Key.LAYER_UNCOMPRESSED_BYTES,
                        Limits.Key.LAYER_UNCOMPRESSED_BYTES.max());
        Map<String, Entry> entries = new HashMap<>();
        long count = 0;
        long memory = 0;
        try (BlobStream stream = BlobStream.headersOf(what, archive, whole)) {
            TarReader reader = new TarReader(what, stream, whole);
            for (TarEntry entry = reader.next(); entry != null; entry = reader.next()) {
                if (++count > limits.archiveEntries()) {
                    throw limits.exceeded(Limits.Key.ARCHIVE_ENTRIES, what + ": number of entries");
                }
                memory += ENTRY_BYTES + 2L * (entry.name.length() + entry.linkName.length());
                if (memory > limits.directoryBytes()) {
                    throw limits.exceeded(
                            Limits.Key.DIRECTORY_BYTES, what + ": memory for its names");
                }
                Entry found = entry(entry, stream.offset());
                entries.put(found.name, found);
            }
        }
        return new TarIndex(entries);
    }

    private static Entry entry(TarEntry entry, long offset) {
        String name = entry.name;
        while (name.startsWith("./")) {
            name = name.substring(2);
        }
        Kind kind =
                switch (entry.type) {
                    case FILE -> entry.sparse == null ? Kind.FILE : Kind.OTHER;
                    case HARD_LINK -> Kind.HARD_LINK;
                    case SYMBOLIC_LINK -> Kind.SYMBOLIC_LINK;
                    case DIRECTORY, CHARACTER_DEVICE, BLOCK_DEVICE, FIFO -> Kind.OTHER;
                };
        return new Entry(name, kind, entry.linkName, offset, entry.size);
    }

    /// The entry of that name; where an archive has a name twice, the last one.
    public Optional<Entry> find(String name) {
        @Nullable Entry entry = entries.get(name);
        return Optional.ofNullable(entry);
    }
}
