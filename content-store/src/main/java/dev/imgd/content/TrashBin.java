package dev.imgd.content;

import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongConsumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Files that are being deleted.
///
/// Moving a file here is one rename; freeing the space of a large one takes the file system a
/// while, so a background thread does that. What is left when the process dies is deleted by the
/// next one. Safe for use by many threads.
final class TrashBin implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(TrashBin.class);

    private final BlobPaths paths;
    private final AtomicLong number;
    private @Nullable Thread worker;
    private boolean wanted;
    private boolean closed;

    TrashBin(BlobPaths paths, long firstNumber) {
        this.paths = paths;
        this.number = new AtomicLong(firstNumber);
    }

    /// Takes a blob's file out of sight; a missing one is fine.
    void take(Digest digest) throws ImageException {
        Path blob = paths.blob(digest);
        try {
            Files.move(
                    blob,
                    paths.trash(digest, number.getAndIncrement()),
                    StandardCopyOption.ATOMIC_MOVE);
        } catch (NoSuchFileException e) {
            return; // A row without a file; the row was the last of it.
        } catch (IOException e) {
            throw Failures.of("remove", blob, e);
        }
    }

    /// Deletes in the background what was taken.
    synchronized void emptyLater() {
        if (closed) {
            return;
        }
        wanted = true;
        if (worker == null) {
            worker = Thread.ofPlatform().daemon().name("imgd-trash").start(this::work);
        }
    }

    private void work() {
        while (true) {
            synchronized (this) {
                if (!wanted || closed) {
                    worker = null;
                    notifyAll();
                    return;
                }
                wanted = false;
            }
            try {
                empty(_ -> {});
            } catch (ImageException e) {
                LOG.warn("deleting removed files failed, the next collection tries again", e);
            }
        }
    }

    /// Deletes everything, now.
    ///
    /// @param pace called with the size of each file before it goes; may wait
    /// @return how many bytes were freed
    long empty(LongConsumer pace) throws ImageException {
        long freed = 0;
        try (var files = Files.newDirectoryStream(paths.trash())) {
            for (Path file : files) {
                synchronized (this) {
                    if (closed) {
                        return freed;
                    }
                }
                long size = sizeOf(file);
                pace.accept(size);
                BlobPaths.deleteTree(file);
                freed += size;
            }
        } catch (IOException e) {
            throw Failures.of("empty", paths.trash(), e);
        } catch (java.nio.file.DirectoryIteratorException e) {
            throw Failures.of("empty", paths.trash(), e);
        }
        return freed;
    }

    private static long sizeOf(Path file) throws IOException {
        try {
            return Files.size(file);
        } catch (NoSuchFileException e) {
            return 0; // The background thread was faster.
        }
    }

    /// Whether something waits to be deleted.
    boolean isEmpty() throws ImageException {
        try (var files = Files.newDirectoryStream(paths.trash())) {
            return !files.iterator().hasNext();
        } catch (IOException e) {
            throw Failures.of("list", paths.trash(), e);
        }
    }

    /// Stops after the file that is being deleted.
    @Override
    public void close() {
        boolean interrupted = false;
        synchronized (this) {
            closed = true;
            while (worker != null) {
                try {
                    wait();
                } catch (InterruptedException e) {
                    interrupted = true;
                }
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
