package dev.imgd.content;

import dev.imgd.model.Bytes;
import dev.imgd.model.Digest;
import dev.imgd.model.DigestMismatchException;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.SizeMismatchException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.AsynchronousCloseException;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.FileChannel;
import java.nio.channels.ReadableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Clock;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/// An ingest in a directory of its own; the layout is in [BlobPaths] and [IngestState].
///
/// Written bytes are published to followers before they are hashed, so that unpacking and hashing
/// overlap. Followers read through descriptors of their own: a follower that is interrupted does
/// not take the writer's channel with it, and a rename does not disturb it.
final class FileIngest implements Ingest {
    /// How many bytes may have to be hashed again after a kill.
    static final int CHECKPOINT_BYTES = 8 << 20;

    private static final int REHASH_BUFFER_BYTES = 256 << 10;
    private static final long UNKNOWN = -1;

    private sealed interface Outcome {
        record Finished() implements Outcome {}

        record Failed(ErrorKind kind, IOException cause) implements Outcome {}
    }

    private final FileContentStore store;
    private final Path directory;
    private final IngestState.Header header;
    private final Clock clock;
    private final String bootId;
    private final long limit;
    private final FileChannel data;

    private @Nullable FileChannel state;
    private @Nullable EarlyFile early;
    private BlobHasher hasher;
    private final HashAhead hashing = new HashAhead();
    private long hashed;
    private long checkpoints;
    private long checkpointOffset;
    private long rehashed;
    private @Nullable Path committed;
    private boolean closed;
    private volatile boolean followed;

    private volatile long offset;
    private volatile long updatedMillis;

    private final ReentrantLock monitor = new ReentrantLock();
    private final Condition changed = monitor.newCondition();
    private volatile long visible;
    private final AtomicInteger waiting = new AtomicInteger();
    private final AtomicInteger generation = new AtomicInteger();
    private volatile @Nullable Outcome outcome;

    /// Opens the directory, which exists, and brings the hash up to the end of the bytes.
    ///
    /// @param saved what the state file said; null for a new ingest
    FileIngest(
            FileContentStore store,
            Path directory,
            IngestState.Header header,
            IngestState.@Nullable Saved saved,
            Digest.Algorithm algorithm,
            String bootId,
            Clock clock)
            throws IOException {
        this.store = store;
        this.directory = directory;
        this.header = header;
        this.clock = clock;
        this.bootId = bootId;
        this.limit =
                header.expected().isPresent() || header.totalBytes() > 0
                        ? header.totalBytes()
                        : UNKNOWN;
        this.data = BlobPaths.openFile(BlobPaths.ingestData(directory));
        FileChannel stateFile = null;
        BlobHasher started = null;
        try {
            stateFile = BlobPaths.openFile(BlobPaths.ingestState(directory));
            if (saved == null || !saved.header().equals(header)) {
                IngestState.writeHeader(stateFile, header);
            }
            long size = data.size();
            if (limit >= 0 && size > limit) {
                data.truncate(0); // Another file was expected when this was written.
                Files.deleteIfExists(BlobPaths.ingestEarly(directory));
                size = 0;
            }
            IngestState.Checkpoint point = saved == null ? null : saved.checkpoint();
            long from = 0;
            if (point != null) {
                checkpoints = point.number();
                updatedMillis = point.updated().toEpochMilli();
                if (point.bootId().equals(bootId)
                        && !bootId.isEmpty()
                        && point.offset() <= size
                        && point.algorithm() == algorithm) {
                    started = BlobHasher.restore(algorithm, point.hash().toArray());
                    from = started == null ? 0 : point.offset();
                }
            } else {
                updatedMillis = clock.millis();
            }
            if (started == null) {
                started = BlobHasher.start(algorithm);
            }
            hash(started, from, size);
            rehashed = size - from;
            checkpointOffset = from;
            offset = size;
            hashed = size;
            visible = size;
            hasher = started;
            state = stateFile;
        } catch (IOException | RuntimeException e) {
            if (started != null) {
                started.close();
            }
            if (stateFile != null) {
                stateFile.close();
            }
            data.close();
            throw e;
        }
    }

    private void hash(BlobHasher into, long from, long to) throws IOException {
        if (from == to) {
            return;
        }
        int size = (int) Math.min(REHASH_BUFFER_BYTES, to - from);
        ByteBuffer buffer = ByteBuffer.allocateDirect(size);
        for (long at = from; at < to; ) {
            buffer.clear().limit((int) Math.min(buffer.capacity(), to - at));
            int n = data.read(buffer, at);
            if (n < 0) {
                throw new IOException("the file shrank while it was read");
            }
            into.update(buffer.flip());
            at += n;
        }
    }

    /// How many bytes this opening had to read again.
    long rehashedBytes() {
        return rehashed;
    }

    IngestState.Header header() {
        return header;
    }

    @Override
    public IngestStatus status() {
        return new IngestStatus(
                header.ref(),
                offset,
                header.totalBytes(),
                header.expected(),
                header.started(),
                Instant.ofEpochMilli(updatedMillis));
    }

    @Override
    public long offset() {
        return offset;
    }

    private void requireOpen() {
        if (closed) {
            throw new IllegalStateException("the ingest is closed: " + header.ref());
        }
    }

    private String what() {
        return "ingest \"" + header.ref() + "\"";
    }

    @Override
    public void write(ByteBuffer bytes) throws IOException {
        requireWritable();
        reclaim();
        ByteBuffer toHash = append(bytes);
        hasher.update(toHash);
        hashedTo(offset);
    }

    @Override
    public void lend(ByteBuffer bytes) throws IOException {
        if (followed && !HashAhead.SPARE_PROCESSORS) {
            // Whoever follows is busy beside this thread already.
            write(bytes);
            return;
        }
        requireWritable();
        hashing.add(append(bytes));
        if (hashing.isFull()) {
            hashing.await();
            hashedTo(offset - hashing.gatheredBytes());
            hashing.start(hasher);
        }
    }

    @Override
    public void reclaim() {
        hashing.finish(hasher);
        if (!closed) {
            hashedTo(offset);
        }
    }

    private void hashedTo(long end) {
        hashed = end;
        if (hashed - checkpointOffset >= CHECKPOINT_BYTES) {
            checkpoint();
        }
    }

    private void requireWritable() {
        requireOpen();
        if (outcome != null) {
            throw new IllegalStateException("the ingest is finished: " + header.ref());
        }
    }

    /// @return the same bytes, to be hashed
    private ByteBuffer append(ByteBuffer bytes) throws IOException {
        long start = offset;
        int size = bytes.remaining();
        if (limit >= 0 && size > limit - start) {
            throw new SizeMismatchException(what(), limit, start + size);
        }
        ByteBuffer toHash = bytes.duplicate();
        try {
            BlobPaths.writeFully(data, bytes, start);
        } catch (IOException e) {
            throw Failures.of("write", BlobPaths.ingestData(directory), e);
        }
        publish(start + size);
        offset = start + size;
        updatedMillis = clock.millis();
        return toHash;
    }

    /// A checkpoint that cannot be written only costs time later, so its errors are not the
    /// writer's.
    private void checkpoint() {
        FileChannel file = state;
        if (file == null || checkpointOffset == hashed) {
            return;
        }
        try {
            IngestState.writeCheckpoint(
                    file,
                    new IngestState.Checkpoint(
                            ++checkpoints,
                            bootId,
                            Instant.ofEpochMilli(updatedMillis),
                            hashed,
                            hasher.algorithm(),
                            Bytes.of(hasher.state())));
            checkpointOffset = hashed;
        } catch (IOException e) {
            state = null;
            try {
                file.close();
            } catch (IOException nothingToSave) {
                e.addSuppressed(nothingToSave);
            }
        }
    }

    @Override
    public EarlyFile early() {
        requireOpen();
        EarlyFile known = early;
        if (known == null) {
            long size = limit >= 0 ? limit : Long.MAX_VALUE;
            known = new EarlyFile(BlobPaths.ingestEarly(directory), bootId, size);
            early = known;
        }
        return known;
    }

    private void forgetEarly() throws ImageException {
        EarlyFile known = early;
        if (known != null) {
            known.clear();
            return;
        }
        Path file = BlobPaths.ingestEarly(directory);
        try {
            Files.deleteIfExists(file); // unread
        } catch (IOException e) {
            throw Failures.of("delete", file, e);
        }
    }

    @Override
    public void truncate(long to) throws IOException {
        requireOpen();
        if (to < 0 || to > offset) {
            throw new IllegalArgumentException("truncate to " + to + " of " + offset);
        }
        reclaim();
        forgetEarly();
        if (to == offset) {
            return;
        }
        BlobHasher shorter = BlobHasher.start(hasher.algorithm());
        try {
            hash(shorter, 0, to);
            data.truncate(to);
        } catch (IOException e) {
            shorter.close();
            throw Failures.of("truncate", BlobPaths.ingestData(directory), e);
        }
        hasher.close();
        hasher = shorter;
        generation.incrementAndGet();
        offset = to;
        hashed = to;
        updatedMillis = clock.millis();
        monitor.lock();
        try {
            visible = to;
            changed.signalAll();
        } finally {
            monitor.unlock();
        }
        checkpointOffset = UNKNOWN; // The one on disk speaks of bytes that are gone.
        checkpoint();
    }

    private void publish(long to) {
        visible = to;
        // Both fields are volatile: a reader that saw the old length has already counted itself.
        if (waiting.get() > 0) {
            monitor.lock();
            try {
                changed.signalAll();
            } finally {
                monitor.unlock();
            }
        }
    }

    private void settle(Outcome how) {
        monitor.lock();
        try {
            if (outcome == null) {
                outcome = how;
                changed.signalAll();
            }
        } finally {
            monitor.unlock();
        }
    }

    @Override
    public void finish() {
        settle(new Outcome.Finished());
    }

    @Override
    public void fail(IOException cause) {
        settle(
                new Outcome.Failed(
                        cause instanceof ImageException e ? e.kind() : ErrorKind.UNAVAILABLE,
                        cause));
    }

    @Override
    public ReadableByteChannel follow() throws IOException {
        followed = true;
        Path blob = committed;
        Path file = blob == null ? BlobPaths.ingestData(directory) : blob;
        try {
            return new Follower(FileChannel.open(file, StandardOpenOption.READ), generation.get());
        } catch (IOException e) {
            throw Failures.of("follow", file, e);
        }
    }

    @Override
    public BlobInfo commit(
            long sizeBytes,
            @Nullable Digest expected,
            Map<String, String> labels,
            List<Digest> references)
            throws IOException {
        requireOpen();
        Path file = BlobPaths.ingestData(directory);
        BlobInfo info;
        try {
            Digest got = verify(sizeBytes, expected);
            BlobPaths.makeReadOnly(file);
            info = store.publish(header.namespace(), got, offset, file, labels, references);
            committed = store.path(got);
        } catch (DigestMismatchException | SizeMismatchException e) {
            fail(e);
            abort();
            throw e;
        } catch (ClosedByInterruptException e) {
            ImageException failure = Failures.of("commit", file, e);
            fail(failure);
            close();
            throw failure;
        } catch (IOException e) {
            // After a failed sync the kernel may have dropped the bytes; they are not for a later
            // writer.
            ImageException failure = Failures.of("commit", file, e);
            fail(failure);
            abort();
            throw failure;
        }
        finish();
        closed = true;
        release(true);
        return info;
    }

    private Digest verify(long sizeBytes, @Nullable Digest expected) throws IOException {
        if (sizeBytes >= 0 && sizeBytes != offset) {
            throw new SizeMismatchException(what(), sizeBytes, offset);
        }
        data.truncate(offset);
        data.force(false);
        reclaim();
        Digest got = hasher.digest();
        if (expected != null && expected.algorithm() != got.algorithm()) {
            try (BlobHasher other = BlobHasher.start(expected.algorithm())) {
                hash(other, 0, offset);
                got = other.digest();
            }
        }
        if (expected != null && !expected.equals(got)) {
            throw new DigestMismatchException(what(), expected, got, offset);
        }
        return got;
    }

    @Override
    public void abort() throws IOException {
        if (closed) {
            return;
        }
        closed = true;
        fail(new ImageException(ErrorKind.ABORTED, what() + ": given up"));
        release(true);
    }

    @Override
    public void close() throws IOException {
        if (closed) {
            return;
        }
        reclaim();
        closed = true;
        checkpoint();
        fail(new ImageException(ErrorKind.ABORTED, what() + ": closed before it was complete"));
        release(false);
    }

    private void release(boolean delete) throws IOException {
        try {
            hashing.finish(hasher);
            hasher.close();
            data.close();
            FileChannel file = state;
            if (file != null) {
                file.close();
            }
            EarlyFile kept = early;
            if (kept != null) {
                kept.close();
            }
            if (delete) {
                BlobPaths.deleteTree(directory);
            }
        } catch (IOException e) {
            throw Failures.of("close", directory, e);
        } finally {
            store.released(directory);
        }
    }

    /// Waits until there are bytes after `position`.
    ///
    /// @return the length so far, or -1 when `position` is the end
    private long await(long position, int since, Follower follower) throws IOException {
        long length = length(position, since);
        if (length != 0) {
            return length;
        }
        monitor.lock();
        waiting.incrementAndGet();
        try {
            while ((length = length(position, since)) == 0) {
                if (!follower.isOpen()) {
                    throw new AsynchronousCloseException();
                }
                changed.await();
            }
            return length;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new ImageException(
                    ErrorKind.CANCELLED, what() + ": interrupted while waiting for bytes", e);
        } finally {
            waiting.decrementAndGet();
            monitor.unlock();
        }
    }

    /// The length when it is beyond `position`, -1 at the end, 0 when one has to wait.
    private long length(long position, int since) throws ImageException {
        // Read before the length: bytes published before the end was announced must not be missed.
        Outcome end = outcome;
        if (generation.get() != since) {
            throw new ImageException(ErrorKind.ABORTED, what() + ": it was started again");
        }
        if (end instanceof Outcome.Failed(ErrorKind kind, IOException cause)) {
            throw new ImageException(kind, String.valueOf(cause.getMessage()), cause);
        }
        long length = visible;
        if (length > position) {
            return length;
        }
        return end != null ? -1 : 0;
    }

    private final class Follower implements ReadableByteChannel {
        private final FileChannel file;
        private final int since;
        private long position;

        Follower(FileChannel file, int since) {
            this.file = file;
            this.since = since;
        }

        @Override
        public int read(ByteBuffer target) throws IOException {
            if (!file.isOpen()) {
                throw new ClosedChannelException();
            }
            if (!target.hasRemaining()) {
                return 0;
            }
            long length = await(position, since, this);
            if (length < 0) {
                return -1;
            }
            int keep = target.limit();
            int size = (int) Math.min(target.remaining(), length - position);
            target.limit(target.position() + size);
            try {
                int n = file.read(target, position);
                if (n < 0) {
                    throw new ImageException(
                            ErrorKind.ABORTED, what() + ": it was cut while it was read");
                }
                position += n;
                return n;
            } finally {
                target.limit(keep);
            }
        }

        @Override
        public boolean isOpen() {
            return file.isOpen();
        }

        @Override
        public void close() throws IOException {
            file.close();
            monitor.lock();
            try {
                changed.signalAll();
            } finally {
                monitor.unlock();
            }
        }
    }
}
