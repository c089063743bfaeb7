package dev.imgd.content;

import dev.imgd.model.EarlyBytes;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// The file beside the bytes of an ingest that holds those which came before their turn.
///
/// ```
/// 0                 head of the first place: | CRC32C | length | version, boot id, offset, size |
/// 4096              its bytes, PLACE_BYTES at most
/// 4096 + PLACE_BYTES  head of the second place
/// …
/// ```
///
/// The file is as large as there were places in use at once. Bytes are written before the head that
/// counts them, and nothing is synced: after a kill the kernel has both, in this order. After a
/// reboot heads are not believed, which the boot id tells. A place that was freed keeps its head
/// until it is used again, and the one freed first is: what was taken from it just before a kill
/// may not have reached the ingest.
final class EarlyFile implements EarlyBytes, AutoCloseable {
    private static final int HEAD_BYTES = 4096;
    private static final int MOST_HEAD_BYTES = 256;
    private static final int NO_HEAD_BYTES = 8;
    private static final long STEP = HEAD_BYTES + PLACE_BYTES;
    private static final int VERSION = 1;

    private final Path path;
    private final String bootId;
    private final ArrayDeque<Integer> free = new ArrayDeque<>();
    private final List<Slot> found = new ArrayList<>();
    private int slots;
    private volatile @Nullable FileChannel file;

    /// Whether nothing more is kept: the disk is full, or the ingest is closed.
    private volatile boolean ended;

    /// Reads what there is; makes no file.
    ///
    /// @param bootId of this life of the kernel; when empty, nothing is believed
    /// @param size of the blob
    EarlyFile(Path path, String bootId, long size) {
        this.path = path;
        this.bootId = bootId;
        if (Files.exists(path)) {
            try {
                FileChannel opened = BlobPaths.openFile(path);
                file = opened;
                find(opened, size);
            } catch (IOException e) {
                // Only fetched again.
                found.clear();
                end();
            }
        }
    }

    private void find(FileChannel in, long blobSize) throws IOException {
        long length = in.size();
        List<Slot> whole = new ArrayList<>();
        for (; slots * STEP < length; slots++) {
            Slot slot = read(in, slots);
            boolean fits =
                    slot != null
                            && slot.size <= length - slots * STEP - HEAD_BYTES
                            && slot.offset <= blobSize - slot.size;
            if (slot != null && fits) {
                whole.add(slot);
            } else {
                free.add(slots);
            }
        }
        whole.sort(Comparator.comparingLong(Slot::offset));
        long end = 0;
        for (Slot slot : whole) {
            if (slot.offset < end) {
                free.add(slot.number);
            } else {
                found.add(slot);
                end = slot.offset + slot.size;
            }
        }
    }

    private @Nullable Slot read(FileChannel in, int number) throws IOException {
        ByteBuffer head = ByteBuffer.allocate(MOST_HEAD_BYTES);
        int n = in.read(head, number * STEP);
        byte[] row = n <= 0 ? null : IngestState.unframe(head.array(), 0);
        if (row == null) {
            return null;
        }
        try {
            RowReader reader = new RowReader("place", row, VERSION);
            String boot = reader.text();
            long offset = reader.number();
            long size = reader.number();
            boolean usable =
                    !bootId.isEmpty()
                            && boot.equals(bootId)
                            && offset >= 0
                            && size > 0
                            && size <= PLACE_BYTES;
            return usable ? new Slot(number, offset, (int) size) : null;
        } catch (ImageException e) {
            if (e.kind() == ErrorKind.DATA_LOSS || e.kind() == ErrorKind.FAILED_PRECONDITION) {
                return null; // another version's
            }
            throw e;
        }
    }

    @Override
    public synchronized List<Place> kept() {
        return List.copyOf(found);
    }

    @Override
    public synchronized Place open(long offset) {
        if (ended) {
            return new Nowhere(offset);
        }
        try {
            FileChannel out = file;
            if (out == null) {
                out = BlobPaths.openFile(path);
                file = out;
            }
            Integer reused = free.poll();
            if (reused != null) {
                // The head that is there does not speak of the bytes to come.
                BlobPaths.writeFully(out, ByteBuffer.allocate(NO_HEAD_BYTES), reused * STEP);
            }
            return new Slot(reused == null ? slots++ : reused, offset, 0);
        } catch (IOException e) {
            end();
            return new Nowhere(offset);
        }
    }

    private synchronized void free(Slot slot) {
        found.remove(slot);
        free.add(slot.number);
    }

    /// Forgets all that is kept.
    synchronized void clear() throws IOException {
        found.clear();
        free.clear();
        slots = 0;
        FileChannel open = file;
        if (open != null) {
            open.truncate(0);
        }
    }

    private synchronized void end() {
        ended = true;
        try {
            clear(); // on a full disk others need the space
        } catch (IOException alsoLost) {
            // The heads still say what is whole, and the file goes with the ingest.
        }
    }

    /// Keeps what is there for the next writer.
    @Override
    public synchronized void close() throws IOException {
        ended = true;
        FileChannel open = file;
        if (open != null) {
            open.close();
        }
    }

    private final class Slot implements Place {
        private final int number;
        private final long offset;
        private int size;

        Slot(int number, long offset, int size) {
            this.number = number;
            this.offset = offset;
            this.size = size;
        }

        @Override
        public long offset() {
            return offset;
        }

        @Override
        public int sizeBytes() {
            return size;
        }

        @Override
        public void add(ByteBuffer bytes) {
            int count = bytes.remaining();
            if (count > PLACE_BYTES - size) {
                throw new IllegalArgumentException(count + " bytes more than " + size);
            }
            FileChannel out = file;
            if (ended || out == null) {
                return;
            }
            try {
                BlobPaths.writeFully(out, bytes.duplicate(), number * STEP + HEAD_BYTES + size);
                byte[] row =
                        new RowWriter(VERSION)
                                .text(bootId)
                                .number(offset)
                                .number(size + (long) count)
                                .toBytes();
                BlobPaths.writeFully(out, IngestState.frame(row), number * STEP);
                size += count;
            } catch (IOException e) {
                end();
            }
        }

        @Override
        public void read(ByteBuffer into) throws IOException {
            FileChannel in = file;
            if (in == null) {
                throw new IllegalStateException("a place without a file");
            }
            int limit = into.limit();
            into.limit(into.position() + size);
            BlobPaths.readFully(in, into, number * STEP + HEAD_BYTES);
            into.limit(limit);
        }

        @Override
        public void free() {
            EarlyFile.this.free(this);
        }
    }
}
