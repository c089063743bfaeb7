package dev.imgd.content;

import dev.imgd.model.EarlyBytes;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;

/// The file beside the bytes of an ingest that holds those which came before their turn.
///
/// ```
/// 0                 head of the first place:
///                   | CRC32C | length | version, boot id, offset, size, CRC32C of its bytes |
/// 4096              its bytes, PLACE_BYTES at most
/// 4096 + PLACE_BYTES  head of the second place
/// …
/// ```
///
/// The file is as large as there were places in use at once. Bytes are written before the head that
/// counts them, and nothing is synced: after a kill the kernel has both, in this order. After a
/// reboot heads are not believed, which the boot id tells. A place that was freed keeps its head
/// until it is used again, and the one freed first is: what was taken from it just before a kill
/// may not have reached the ingest. Writers are not held up when all is forgotten: what one of them
/// leaves in the place of another is found out by the checksum.
final class EarlyFile implements EarlyBytes, AutoCloseable {
    private static final int HEAD_BYTES = 4096;
    private static final int MOST_HEAD_BYTES = 256;
    private static final int NO_HEAD_BYTES = 8;
    private static final long STEP = HEAD_BYTES + PLACE_BYTES;
    private static final int VERSION = 2;

    private final Path path;
    private final String bootId;
    private final ArrayDeque<Integer> free = new ArrayDeque<>();
    private final List<Slot> found = new ArrayList<>();
    private int slots;

    /// How often all was forgotten; places from before are of no use.
    private volatile int generation;

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
        ByteBuffer bytes = ByteBuffer.allocateDirect(length == 0 ? 0 : PLACE_BYTES);
        List<Slot> whole = new ArrayList<>();
        for (; slots * STEP < length; slots++) {
            Slot slot = read(in, slots, bytes);
            if (slot != null && slot.offset <= blobSize - slot.size) {
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

    /// @param bytes room for those of a place
    /// @return null when it is not whole
    private @Nullable Slot read(FileChannel in, int number, ByteBuffer bytes) throws IOException {
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
            long checksum = reader.number();
            boolean usable =
                    !bootId.isEmpty()
                            && boot.equals(bootId)
                            && offset >= 0
                            && size > 0
                            && size <= PLACE_BYTES;
            Slot slot = usable ? new Slot(number, offset, (int) size) : null;
            return slot != null && slot.checksum(in, bytes) == checksum ? slot : null;
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
                forget(out, reused); // its head does not speak of the bytes to come
            }
            return new Slot(reused == null ? slots++ : reused, offset, 0);
        } catch (IOException e) {
            end();
            return new Nowhere(offset);
        }
    }

    private static void forget(FileChannel out, int number) throws IOException {
        BlobPaths.writeFully(out, ByteBuffer.allocate(NO_HEAD_BYTES), number * STEP);
    }

    private synchronized void discard(Slot slot) {
        FileChannel out = file;
        if (slot.made == generation && !ended && out != null) {
            try {
                forget(out, slot.number);
            } catch (IOException e) {
                end();
            }
        }
        free(slot);
    }

    private synchronized void free(Slot slot) {
        if (slot.made == generation) {
            found.remove(slot);
            free.add(slot.number);
        }
    }

    /// Forgets all that is kept. Where that fails, nothing is kept from then on.
    synchronized void clear() {
        generation++;
        found.clear();
        free.clear();
        slots = 0;
        FileChannel open = file;
        if (open == null || !open.isOpen()) {
            return;
        }
        try {
            open.truncate(0);
        } catch (IOException e) {
            ended = true; // what is there is right, if of no use
        }
    }

    private synchronized void end() {
        ended = true;
        clear(); // on a full disk others need the space
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
        private final int made = generation;
        private final CRC32C crc = new CRC32C();
        private int size;

        Slot(int number, long offset, int size) {
            this.number = number;
            this.offset = offset;
            this.size = size;
        }

        /// Of as many of its bytes as there are.
        private long checksum(FileChannel in, ByteBuffer buffer) throws IOException {
            BlobPaths.readFully(in, buffer.clear().limit(size), number * STEP + HEAD_BYTES);
            crc.update(buffer.flip());
            return crc.getValue();
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
            if (ended || out == null || made != generation) {
                return;
            }
            try {
                crc.update(bytes.duplicate());
                BlobPaths.writeFully(out, bytes.duplicate(), number * STEP + HEAD_BYTES + size);
                byte[] row =
                        new RowWriter(VERSION)
                                .text(bootId)
                                .number(offset)
                                .number(size + (long) count)
                                .number(crc.getValue())
                                .toBytes();
                BlobPaths.writeFully(out, IngestState.frame(row), number * STEP);
                size += count;
            } catch (IOException e) {
                end();
            }
        }

        @Override
        public void read(int from, ByteBuffer into) throws IOException {
            FileChannel in = file;
            if (in == null || from > size - into.remaining()) {
                throw new IllegalArgumentException("bytes that were never added");
            }
            if (made != generation) {
                throw new IOException("forgotten meanwhile");
            }
            BlobPaths.readFully(in, into, number * STEP + HEAD_BYTES + from);
            if (into.hasRemaining()) {
                throw new EOFException("the file was cut");
            }
        }

        @Override
        public void free() {
            EarlyFile.this.free(this);
        }

        @Override
        public void discard() {
            EarlyFile.this.discard(this);
        }
    }
}
