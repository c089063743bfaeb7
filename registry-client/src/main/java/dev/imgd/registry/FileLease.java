package dev.imgd.registry;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.EnumSet;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;

/// The right to change a file that is replaced as a whole, held by one thread of one process at a
/// time.
///
/// What is locked is a file beside it, `.NAME.lock`, which stays: the file itself is another one
/// after each change. The kernel lets go of the lock when a process dies. Programs that do not know
/// of it are not kept out.
final class FileLease implements AutoCloseable {
    private static final long PATIENCE_NANOS = TimeUnit.SECONDS.toNanos(10);
    private static final long PAUSE_NANOS = TimeUnit.MILLISECONDS.toNanos(20);

    /// Locks of files are those of processes: threads of this one need another.
    private static final ReentrantLock THREADS = new ReentrantLock();

    private final Path target;
    private final FileChannel channel;

    private FileLease(Path target, FileChannel channel) {
        this.target = target;
        this.channel = channel;
    }

    /// Waits for the right to change a file. Makes its directory, for the owner only, where there
    /// is none.
    ///
    /// @throws ImageException `LOCKED` when another one has it for long, `PERMISSION_DENIED` when
    ///   nothing can be written there
    static FileLease of(Path file) throws ImageException {
        long deadline = System.nanoTime() + PATIENCE_NANOS;
        try {
            if (!THREADS.tryLock(PATIENCE_NANOS, TimeUnit.NANOSECONDS)) {
                throw busy(file);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new ImageException(ErrorKind.CANCELLED, file + ": interrupted", e);
        }
        boolean held = false;
        try {
            // A link is kept, and what it points to replaced.
            Path target = Files.exists(file) ? file.toRealPath() : file.toAbsolutePath();
            FileLease lease = new FileLease(target, open(target));
            try {
                lease.lock(file, deadline);
                held = true;
                return lease;
            } finally {
                if (!held) {
                    lease.channel.close();
                }
            }
        } catch (ImageException e) {
            throw e;
        } catch (IOException e) {
            throw notWritten(file, e);
        } finally {
            if (!held) {
                THREADS.unlock();
            }
        }
    }

    private static FileChannel open(Path target) throws IOException {
        Path directory = target.getParent();
        if (directory == null) {
            throw new IOException("not a file");
        }
        Files.createDirectories(directory, mode("rwx------"));
        return FileChannel.open(
                directory.resolve("." + target.getFileName() + ".lock"),
                EnumSet.of(StandardOpenOption.CREATE, StandardOpenOption.WRITE),
                mode("rw-------"));
    }

    private void lock(Path file, long deadline) throws IOException {
        while (true) {
            FileLock lock = channel.tryLock();
            if (lock != null) {
                return; // until the channel is closed
            }
            if (System.nanoTime() - deadline >= 0) {
                throw busy(file);
            }
            if (Thread.currentThread().isInterrupted()) {
                throw new ImageException(ErrorKind.CANCELLED, file + ": interrupted");
            }
            LockSupport.parkNanos(PAUSE_NANOS);
        }
    }

    /// Where the file really is.
    Path target() {
        return target;
    }

    static FileAttribute<Set<PosixFilePermission>> mode(String text) {
        return PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString(text));
    }

    static ImageException notWritten(Path file, IOException cause) {
        return new ImageException(
                ErrorKind.PERMISSION_DENIED,
                file + ": credentials file cannot be written: " + cause.getMessage(),
                cause);
    }

    private static ImageException busy(Path file) {
        return new ImageException(
                ErrorKind.LOCKED,
                "%s: another login or logout has been changing it for %d s; try again"
                        .formatted(file, Duration.ofNanos(PATIENCE_NANOS).toSeconds()));
    }

    @Override
    public void close() throws ImageException {
        try {
            channel.close();
        } catch (IOException e) {
            throw notWritten(target, e);
        } finally {
            THREADS.unlock();
        }
    }
}
