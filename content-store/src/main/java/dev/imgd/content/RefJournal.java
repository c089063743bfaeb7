package dev.imgd.content;

import dev.imgd.model.Bytes;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.SequencedSet;
import java.util.TreeMap;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;

/// Names and leases, kept apart from the database so that they outlive it.
///
/// An append-only file of frames. The entries of one transaction are appended before its batch is
/// written and synced together with it, so the journal is never behind what was acknowledged. It is
/// rewritten from the database when it has grown, by writing a new file and renaming it.
///
/// ```
/// 0        4        8        12
/// | magic  | length | CRC32C | payload: version, number, kind, fields |
/// ```
///
/// A crash leaves at most a torn last frame, which the next append overwrites. Appending, rewriting
/// and closing happen under the writer lock of the database or before anybody else can reach the
/// store.
final class RefJournal implements AutoCloseable {
    private static final int MAGIC = 0x696d6a31;
    private static final int HEADER_BYTES = 12;
    private static final int MAX_PAYLOAD_BYTES = 16 << 20;
    private static final int VERSION = 1;
    private static final long MIN_REWRITE_BYTES = 1 << 20;

    /// What happened to a name or a lease. Rows are those of the database.
    sealed interface Change {
        /// Forget everything before: the file was rewritten.
        record Restart() implements Change {}

        record PutImage(String namespace, String name, Bytes row) implements Change {}

        record DeleteImage(String namespace, String name) implements Change {}

        record PutLease(String namespace, String id, Bytes row) implements Change {}

        record DeleteLease(String namespace, String id) implements Change {}

        record Hold(String namespace, String id, List<NodeId> objects) implements Change {}
    }

    /// @param number from [RocksDatabase#JOURNAL_SEQUENCE]; ascending, but equal after a rewrite
    record Entry(long number, Change change) {}

    /// A namespace and a name or an identity in it.
    record Name(String namespace, String name) implements Comparable<Name> {
        @Override
        public int compareTo(Name other) {
            int byNamespace = namespace.compareTo(other.namespace);
            return byNamespace != 0 ? byNamespace : name.compareTo(other.name);
        }
    }

    /// A lease and what it holds.
    record LeaseEntry(Bytes row, SequencedSet<NodeId> objects) {}

    /// What the journal says.
    ///
    /// @param last the highest entry number, 0 when there is none
    /// @param damaged whether bytes before the last frame could not be read
    /// @param endBytes where the last readable frame ends
    record State(
            long last,
            boolean damaged,
            long endBytes,
            Map<Name, Bytes> images,
            Map<Name, LeaseEntry> leases) {}

    private final BlobPaths paths;
    private volatile @Nullable RandomAccessFile file;
    private long length = -1;
    private long rewrittenLength;
    private volatile boolean unsynced;

    RefJournal(BlobPaths paths) {
        this.paths = paths;
    }

    /// Appends entries without making them durable.
    ///
    /// @return what [#undo] takes to remove them again
    /// @throws ImageException after which nothing was appended
    long append(List<Entry> entries) throws ImageException {
        if (entries.isEmpty()) {
            return -1;
        }
        byte[] frames = frames(entries);
        try {
            RandomAccessFile out = open();
            long before = length;
            try {
                out.seek(before);
                out.write(frames);
            } catch (IOException e) {
                out.setLength(before);
                throw e;
            }
            length = before + frames.length;
            unsynced = true;
            return before;
        } catch (IOException e) {
            throw Failures.of("append to", paths.journal(), e);
        }
    }

    /// Removes what the last [#append] added.
    void undo(long before) throws ImageException {
        if (before < 0) {
            return;
        }
        try {
            open().setLength(before);
            length = before;
        } catch (IOException e) {
            throw Failures.of("truncate", paths.journal(), e);
        }
    }

    /// Makes what was appended durable. May run beside [#append].
    void force() throws ImageException {
        if (!unsynced) {
            return;
        }
        RandomAccessFile out = file;
        if (out == null) {
            return;
        }
        unsynced = false;
        try {
            out.getFD().sync();
        } catch (IOException e) {
            throw Failures.of("sync", paths.journal(), e);
        }
    }

    /// Whether so much of the file is history that it is worth a rewrite.
    boolean wantsRewrite() throws ImageException {
        try {
            long size = length >= 0 ? length : sizeOf(paths.journal());
            return size > MIN_REWRITE_BYTES && size > 4 * rewrittenLength;
        } catch (IOException e) {
            throw Failures.of("stat", paths.journal(), e);
        }
    }

    /// Replaces the journal by the state of the database, durably.
    void rewrite(long last, List<Change> live) throws ImageException {
        Path draft = paths.journalDraft();
        List<Entry> entries = new ArrayList<>(live.size() + 1);
        entries.add(new Entry(last, new Change.Restart()));
        for (Change change : live) {
            entries.add(new Entry(last, change));
        }
        byte[] frames = frames(entries);
        try {
            Files.deleteIfExists(draft);
            BlobPaths.writeDurably(draft, frames);
            close();
            Files.move(draft, paths.journal(), StandardCopyOption.ATOMIC_MOVE);
            BlobPaths.syncDirectory(paths.refs());
        } catch (IOException e) {
            throw Failures.of("rewrite", paths.journal(), e);
        }
        rewrittenLength = frames.length;
    }

    /// Reads everything that can be read, also past damaged places.
    State read() throws ImageException {
        byte[] bytes;
        try {
            bytes =
                    Files.exists(paths.journal())
                            ? Files.readAllBytes(paths.journal())
                            : new byte[0];
        } catch (IOException e) {
            throw Failures.of("read", paths.journal(), e);
        }
        TreeMap<Name, Bytes> images = new TreeMap<>();
        TreeMap<Name, LeaseEntry> leases = new TreeMap<>();
        ByteBuffer frames = ByteBuffer.wrap(bytes);
        long last = 0;
        int end = 0;
        boolean damaged = false;
        int at = 0;
        while (at + HEADER_BYTES <= bytes.length) {
            Entry entry = entryAt(frames, at);
            if (entry == null) {
                at++; // Look for the next frame: one damaged place must not cost the names behind
                // it.
                continue;
            }
            damaged |= at != end;
            apply(entry.change, images, leases);
            last = Math.max(last, entry.number);
            at += HEADER_BYTES + frames.getInt(at + 4);
            end = at;
        }
        return new State(last, damaged, end, images, leases);
    }

    /// Lets the next append overwrite what follows the last readable frame.
    void resumeAt(State state) {
        length = state.endBytes;
    }

    private static @Nullable Entry entryAt(ByteBuffer frames, int at) {
        if (frames.getInt(at) != MAGIC) {
            return null;
        }
        int size = frames.getInt(at + 4);
        if (size <= 0 || size > MAX_PAYLOAD_BYTES || size > frames.capacity() - at - HEADER_BYTES) {
            return null;
        }
        byte[] payload = new byte[size];
        frames.get(at + HEADER_BYTES, payload);
        if (checksum(payload) != frames.getInt(at + 8)) {
            return null;
        }
        try {
            return decode(payload);
        } catch (ImageException notOurs) {
            return null;
        }
    }

    private static void apply(
            Change change, Map<Name, Bytes> images, Map<Name, LeaseEntry> leases) {
        switch (change) {
            case Change.Restart() -> {
                images.clear();
                leases.clear();
            }
            case Change.PutImage(String ns, String name, Bytes row) ->
                    images.put(new Name(ns, name), row);
            case Change.DeleteImage(String ns, String name) -> images.remove(new Name(ns, name));
            case Change.PutLease(String ns, String id, Bytes row) ->
                    leases.put(new Name(ns, id), new LeaseEntry(row, new LinkedHashSet<>()));
            case Change.DeleteLease(String ns, String id) -> leases.remove(new Name(ns, id));
            case Change.Hold(String ns, String id, List<NodeId> objects) -> {
                LeaseEntry lease = leases.get(new Name(ns, id));
                if (lease != null) {
                    lease.objects.addAll(objects);
                }
            }
        }
    }

    private static byte[] frames(List<Entry> entries) {
        List<byte[]> payloads = new ArrayList<>(entries.size());
        int size = 0;
        for (Entry entry : entries) {
            byte[] payload = encode(entry);
            payloads.add(payload);
            size = Math.addExact(size, HEADER_BYTES + payload.length);
        }
        ByteBuffer frames = ByteBuffer.allocate(size);
        for (byte[] payload : payloads) {
            frames.putInt(MAGIC).putInt(payload.length).putInt(checksum(payload)).put(payload);
        }
        return frames.array();
    }

    private static int checksum(byte[] payload) {
        CRC32C crc = new CRC32C();
        crc.update(payload, 0, payload.length);
        return (int) crc.getValue();
    }

    private static byte[] encode(Entry entry) {
        RowWriter row = new RowWriter(VERSION).number(entry.number);
        switch (entry.change) {
            case Change.Restart() -> row.number(0);
            case Change.PutImage(String ns, String name, Bytes image) ->
                    row.number(1).text(ns).text(name).bytes(image.toArray());
            case Change.DeleteImage(String ns, String name) -> row.number(2).text(ns).text(name);
            case Change.PutLease(String ns, String id, Bytes lease) ->
                    row.number(3).text(ns).text(id).bytes(lease.toArray());
            case Change.DeleteLease(String ns, String id) -> row.number(4).text(ns).text(id);
            case Change.Hold(String ns, String id, List<NodeId> objects) -> {
                row.number(5).text(ns).text(id).number(objects.size());
                for (NodeId object : objects) {
                    row.text(object.toString());
                }
            }
        }
        return row.toBytes();
    }

    private static @Nullable Entry decode(byte[] payload) throws ImageException {
        RowReader row = new RowReader("journal entry", payload, VERSION);
        long number = row.number();
        int kind = (int) row.number();
        Change change =
                switch (kind) {
                    case 0 -> new Change.Restart();
                    case 1 -> new Change.PutImage(row.text(), row.text(), Bytes.of(row.bytes()));
                    case 2 -> new Change.DeleteImage(row.text(), row.text());
                    case 3 -> new Change.PutLease(row.text(), row.text(), Bytes.of(row.bytes()));
                    case 4 -> new Change.DeleteLease(row.text(), row.text());
                    case 5 -> {
                        String namespace = row.text();
                        String id = row.text();
                        List<NodeId> objects = new ArrayList<>();
                        for (long i = row.number(); i > 0; i--) {
                            objects.add(NodeId.parse(row.text()));
                        }
                        yield new Change.Hold(namespace, id, objects);
                    }
                    default -> null;
                };
        return change == null ? null : new Entry(number, change);
    }

    private RandomAccessFile open() throws IOException {
        RandomAccessFile out = file;
        if (out == null) {
            if (!Files.exists(paths.journal())) {
                BlobPaths.createFile(paths.journal()).close();
                BlobPaths.syncDirectory(paths.refs());
            }
            // Not a channel: an interrupt would close that under all the others.
            out = new RandomAccessFile(paths.journal().toFile(), "rw");
            if (length < 0) {
                length = out.length();
            } else {
                out.setLength(length);
            }
            file = out;
        }
        return out;
    }

    private static long sizeOf(Path file) throws IOException {
        return Files.exists(file) ? Files.size(file) : 0;
    }

    /// Closes the file; a later append opens it again.
    @Override
    public void close() throws ImageException {
        RandomAccessFile out = file;
        file = null;
        length = -1;
        if (out != null) {
            try {
                out.close();
            } catch (IOException e) {
                throw Failures.of("close", paths.journal(), e);
            }
        }
    }
}
