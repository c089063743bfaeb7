package dev.imgd.content;

import dev.imgd.model.Digest;
import dev.imgd.model.EarlyBytes;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ReadableByteChannel;
import java.util.List;
import java.util.Map;

/// The single writer of a blob to be.
///
/// Hashes while writing and saves the state of the hash at checkpoints, so that a later process
/// goes on without reading the bytes again. One thread writes; readers follow in other threads.
/// Closing without [#commit] keeps the bytes for the next writer; [#abort] drops them.
public interface Ingest extends AutoCloseable {
    IngestStatus status() throws ImageException;

    /// How many bytes are written.
    long offset();

    /// Appends all remaining bytes of the buffer; a direct buffer avoids a copy.
    ///
    /// @throws ImageException `NO_SPACE`; [dev.imgd.model.SizeMismatchException] beyond the
    ///   expected size
    void write(ByteBuffer bytes) throws IOException;

    /// So many buffers are lent at a time.
    int LENT_BUFFERS = 2 * HashAhead.BATCH;

    /// As [#write], but bytes are hashed while the caller fetches the next ones: the buffer may be
    /// read until [#LENT_BUFFERS] were lent, this one among them, or [#reclaim] returns. So many
    /// buffers of 256 KiB lent in turn keep both busy.
    void lend(ByteBuffer bytes) throws IOException;

    /// Waits until no lent buffer is read any more; also after a failure, and once closed.
    void reclaim();

    /// Keeps bytes that belong after [#offset], until they are written or the ingest is committed
    /// or aborted; also when it is closed, and the process killed. Closed with the ingest.
    EarlyBytes early();

    /// Forgets everything from `offset` on, and what is kept for later; only 0 keeps the cost
    /// constant.
    void truncate(long offset) throws IOException;

    /// A channel that reads from the start and waits for bytes that are not written yet. `read`
    /// returns -1 after the last byte once the ingest was finished ([#finish] or [#commit]), and
    /// throws when it failed or was closed early. Any number of readers; each is for one thread;
    /// the caller closes it.
    ReadableByteChannel follow() throws IOException;

    /// Says that no byte follows: wakes readers at the end. Idempotent.
    void finish();

    /// Gives up on behalf of readers: they get `cause`. The bytes stay for a later writer.
    void fail(IOException cause);

    /// Makes the blob durable and visible: fdatasync, compare size and digest, rename, sync of the
    /// directory, then one synced batch with its labels, references and the lease.
    ///
    /// @param sizeBytes the expected size, or -1
    /// @param expected the expected digest; null takes what was written as it is
    /// @param references blobs that this one refers to
    /// @return the info of the blob, also when it existed already
    /// @throws ImageException [dev.imgd.model.DigestMismatchException] and
    ///   [dev.imgd.model.SizeMismatchException], after which the bytes are dropped
    BlobInfo commit(
            long sizeBytes,
            @org.jspecify.annotations.Nullable Digest expected,
            Map<String, String> labels,
            List<Digest> references)
            throws IOException;

    /// Drops the bytes and the ingest.
    void abort() throws IOException;

    /// Releases the writer; keeps uncommitted bytes. Idempotent.
    @Override
    void close() throws IOException;
}
