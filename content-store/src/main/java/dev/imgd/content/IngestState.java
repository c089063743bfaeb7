package dev.imgd.content;

import dev.imgd.model.Bytes;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Optional;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;

/// The file beside the bytes of an ingest: what it is, and its last two checkpoints.
///
/// ```
/// 0       checkpoint with an even number   each: | CRC32C | length | version, fields |
/// 1024    checkpoint with an odd number
/// 2048    header
/// ```
///
/// Checkpoints alternate between the two places, so a kill in the middle of one leaves the other.
/// They are not synced: after a kill the kernel still has them and the bytes they speak of. After a
/// reboot they are not believed (the bytes may be missing although the checkpoint is there), which
/// the boot id tells.
final class IngestState {
    private static final int SLOT_BYTES = 1024;
    private static final int HEADER_AT = 2 * SLOT_BYTES;
    private static final int FRAME_BYTES = 8;
    private static final int MAX_HEADER_BYTES = 64 << 10;
    private static final int HEADER_VERSION = 1;
    private static final int CHECKPOINT_VERSION = 1;

    private IngestState() {}

    /// What an ingest is.
    record Header(
            String namespace,
            String ref,
            Instant started,
            long totalBytes,
            Optional<Digest> expected) {}

    /// How far it is.
    ///
    /// @param hash from [BlobHasher#state] after `offset` bytes
    record Checkpoint(
            long number,
            String bootId,
            Instant updated,
            long offset,
            Digest.Algorithm algorithm,
            Bytes hash) {}

    /// Both parts; the checkpoint is the newest that is whole.
    record Saved(Header header, @Nullable Checkpoint checkpoint) {}

    static void writeHeader(FileChannel file, Header header) throws IOException {
        RowWriter row = new RowWriter(HEADER_VERSION).text(header.namespace).text(header.ref);
        row.time(header.started).number(header.totalBytes);
        row.optionalText(header.expected.map(Digest::toString));
        BlobPaths.writeFully(file, frame(row.toBytes()), HEADER_AT);
    }

    static void writeCheckpoint(FileChannel file, Checkpoint point) throws IOException {
        RowWriter row = new RowWriter(CHECKPOINT_VERSION).number(point.number).text(point.bootId);
        row.time(point.updated).number(point.offset).text(point.algorithm.label());
        ByteBuffer frame = frame(row.bytes(point.hash.toArray()).toBytes());
        if (frame.capacity() > SLOT_BYTES) {
            throw new IllegalStateException("checkpoint of " + frame.capacity() + " bytes");
        }
        BlobPaths.writeFully(file, frame, (point.number & 1) * SLOT_BYTES);
    }

    /// Reads the file; null when it is missing or its header is damaged.
    static @Nullable Saved read(Path file) throws IOException {
        byte[] bytes;
        try (FileChannel channel = FileChannel.open(file)) {
            int size = (int) Math.min(channel.size(), HEADER_AT + FRAME_BYTES + MAX_HEADER_BYTES);
            ByteBuffer buffer = ByteBuffer.allocate(size);
            BlobPaths.readFully(channel, buffer, 0);
            bytes = buffer.array();
        } catch (java.nio.file.NoSuchFileException e) {
            return null;
        }
        byte[] header = unframe(bytes, HEADER_AT);
        if (header == null) {
            return null;
        }
        try {
            Checkpoint even = checkpoint(unframe(bytes, 0));
            Checkpoint odd = checkpoint(unframe(bytes, SLOT_BYTES));
            Checkpoint newest =
                    even == null || (odd != null && odd.number > even.number) ? odd : even;
            return new Saved(header(header), newest);
        } catch (ImageException e) {
            if (e.kind() == ErrorKind.DATA_LOSS || e.kind() == ErrorKind.FAILED_PRECONDITION) {
                return null; // Another version's, or damaged: only a download is lost.
            }
            throw e;
        }
    }

    private static Header header(byte[] bytes) throws ImageException {
        RowReader row = new RowReader("ingest", bytes, HEADER_VERSION);
        String namespace = row.text();
        String ref = row.text();
        Instant started = row.time();
        long total = row.number();
        Optional<String> expected = row.optionalText();
        return new Header(
                namespace,
                ref,
                started,
                total,
                expected.isPresent()
                        ? Optional.of(Digest.parse(expected.get()))
                        : Optional.empty());
    }

    private static @Nullable Checkpoint checkpoint(byte @Nullable [] bytes) throws ImageException {
        if (bytes == null) {
            return null;
        }
        RowReader row = new RowReader("checkpoint", bytes, CHECKPOINT_VERSION);
        long number = row.number();
        String bootId = row.text();
        Instant updated = row.time();
        long offset = row.number();
        String label = row.text();
        Bytes hash = Bytes.of(row.bytes());
        for (Digest.Algorithm algorithm : Digest.Algorithm.values()) {
            if (algorithm.label().equals(label)) {
                return new Checkpoint(number, bootId, updated, offset, algorithm, hash);
            }
        }
        return null;
    }

    /// A payload with its checksum and length.
    static ByteBuffer frame(byte[] payload) {
        ByteBuffer frame = ByteBuffer.allocate(FRAME_BYTES + payload.length);
        return frame.putInt(checksum(payload)).putInt(payload.length).put(payload).flip();
    }

    /// @return what the frame holds; null when it is not whole
    static byte @Nullable [] unframe(byte[] file, int at) {
        if (file.length < at + FRAME_BYTES) {
            return null;
        }
        ByteBuffer frame = ByteBuffer.wrap(file);
        int size = frame.getInt(at + 4);
        if (size <= 0 || size > file.length - at - FRAME_BYTES) {
            return null;
        }
        byte[] payload = new byte[size];
        frame.get(at + FRAME_BYTES, payload);
        return checksum(payload) == frame.getInt(at) ? payload : null;
    }

    private static int checksum(byte[] payload) {
        CRC32C crc = new CRC32C();
        crc.update(payload, 0, payload.length);
        return (int) crc.getValue();
    }

    /// Identifies the running kernel's life; empty where /proc is missing, which disables resuming.
    static String bootId() {
        try {
            return Files.readString(Path.of("/proc/sys/kernel/random/boot_id")).strip();
        } catch (IOException e) {
            return "";
        }
    }
}
