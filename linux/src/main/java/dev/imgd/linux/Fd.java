package dev.imgd.linux;

import dev.imgd.model.ErrnoException;

/// The owner of an open file descriptor.
///
/// Closing is idempotent, so that a number the kernel gave to somebody else in the meantime is
/// never closed. There is no finaliser: one would close a number that a call on another thread
/// still uses. Whoever creates an owner closes it. Thread-safe, but a close while another thread is
/// inside a call with [#fd] is the callers' race.
public final class Fd implements AutoCloseable {
    private static final int CLOSED = -1;

    private int fd;

    private Fd(int fd) {
        this.fd = fd;
    }

    /// Takes over an open descriptor.
    public static Fd of(int fd) {
        if (fd < 0) {
            throw new IllegalArgumentException("not a descriptor: " + fd);
        }
        return new Fd(fd);
    }

    /// Opens a path of this process, `O_CLOEXEC` included.
    ///
    /// @param flags of open(2), see the `O_` constants of [Fs]
    /// @param mode the permissions of a file that is created, else 0
    public static Fd open(String path, int flags, int mode) throws ErrnoException {
        return new Fd(Fs.openat(Fs.AT_FDCWD, path, flags, mode));
    }

    /// The number, valid until [#close].
    ///
    /// @throws IllegalStateException after close
    public synchronized int fd() {
        if (fd == CLOSED) {
            throw new IllegalStateException("the descriptor is closed");
        }
        return fd;
    }

    /// Gives the number away: the caller closes it, this owner is closed.
    public synchronized int release() {
        int released = fd();
        fd = CLOSED;
        return released;
    }

    /// Closes the descriptor; the second time does nothing.
    ///
    /// @throws ErrnoException if the file system reports a late write error (EIO, ENOSPC, EDQUOT);
    ///   the descriptor is closed all the same
    @Override
    public void close() throws ErrnoException {
        int closing;
        synchronized (this) {
            closing = fd;
            fd = CLOSED;
        }
        if (closing != CLOSED) {
            Fs.close(closing);
        }
    }

    @Override
    public synchronized String toString() {
        return fd == CLOSED ? "closed descriptor" : "descriptor " + fd;
    }
}
