package dev.imgd.linux;

import static dev.imgd.linux.Kernel.call;
import static dev.imgd.linux.Kernel.check;
import static dev.imgd.model.ErrnoException.EAGAIN;
import static dev.imgd.model.ErrnoException.EINTR;
import static dev.imgd.model.ErrnoException.EINVAL;
import static dev.imgd.model.ErrnoException.ENOSYS;
import static dev.imgd.model.ErrnoException.EOPNOTSUPP;

import dev.imgd.model.ErrnoException;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.ReadOnlyBufferException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/// File system calls of Linux, under their own names.
///
/// Descriptors are plain numbers; [Fd] owns one where a block should. Every descriptor that is
/// opened here has `O_CLOEXEC`. Paths are strings as [FileNames] defines them, at most 4095 bytes;
/// a NUL in one is EINVAL. `dirfd` is the directory a relative path starts at, or [#AT_FDCWD].
/// Interrupted calls are repeated where that is right. All methods are thread-safe as far as the
/// descriptor is; they occupy the carrier of a virtual thread.
///
/// Errors are [ErrnoException] with the call, the path (of calls on a descriptor the path behind
/// it) and the number.
///
/// **Source:** the Linux manual pages, section 2.
public final class Fs {
    public static final int AT_FDCWD = -100;
    public static final int AT_SYMLINK_NOFOLLOW = 0x100;
    public static final int AT_REMOVEDIR = 0x200;
    public static final int AT_SYMLINK_FOLLOW = 0x400;
    public static final int AT_EMPTY_PATH = 0x1000;
    public static final int AT_RECURSIVE = 0x8000;

    public static final int O_RDONLY = 0;
    public static final int O_WRONLY = 1;
    public static final int O_RDWR = 2;
    public static final int O_CREAT = 0x40;
    public static final int O_EXCL = 0x80;
    public static final int O_NOCTTY = 0x100;
    public static final int O_TRUNC = 0x200;
    public static final int O_APPEND = 0x400;
    public static final int O_NONBLOCK = 0x800;
    public static final int O_DSYNC = 0x1000;
    public static final int O_DIRECT = Syscall.X86_64 ? 0x4000 : 0x10000;
    public static final int O_DIRECTORY = Syscall.X86_64 ? 0x10000 : 0x4000;
    public static final int O_NOFOLLOW = Syscall.X86_64 ? 0x20000 : 0x8000;
    public static final int O_NOATIME = 0x40000;
    public static final int O_CLOEXEC = 0x80000;
    public static final int O_PATH = 0x200000;
    public static final int O_TMPFILE = 0x400000 | O_DIRECTORY;

    public static final int RESOLVE_NO_XDEV = 0x01;
    public static final int RESOLVE_NO_MAGICLINKS = 0x02;
    public static final int RESOLVE_NO_SYMLINKS = 0x04;
    public static final int RESOLVE_BENEATH = 0x08;
    public static final int RESOLVE_IN_ROOT = 0x10;

    public static final int S_IFMT = 0170000;
    public static final int S_IFSOCK = 0140000;
    public static final int S_IFLNK = 0120000;
    public static final int S_IFREG = 0100000;
    public static final int S_IFBLK = 0060000;
    public static final int S_IFDIR = 0040000;
    public static final int S_IFCHR = 0020000;
    public static final int S_IFIFO = 0010000;

    public static final int RENAME_NOREPLACE = 1;
    public static final int RENAME_EXCHANGE = 2;
    public static final int RENAME_WHITEOUT = 4;

    /// As nanoseconds of [#utimensat]: the current time.
    public static final long UTIME_NOW = 0x3fffffff;

    /// As nanoseconds of [#utimensat]: leave this time alone.
    public static final long UTIME_OMIT = 0x3ffffffe;

    /// Everything [Stat] holds.
    public static final int STATX_ALL = 0x17ff;

    public static final int FALLOC_FL_KEEP_SIZE = 1;
    public static final int FALLOC_FL_PUNCH_HOLE = 2;
    public static final int FALLOC_FL_ZERO_RANGE = 0x10;

    public static final int SYNC_FILE_RANGE_WAIT_BEFORE = 1;
    public static final int SYNC_FILE_RANGE_WRITE = 2;
    public static final int SYNC_FILE_RANGE_WAIT_AFTER = 4;

    public static final int LOCK_SH = 1;
    public static final int LOCK_EX = 2;
    public static final int LOCK_NB = 4;
    public static final int LOCK_UN = 8;

    /// How often a resolution that raced with a rename is repeated before EAGAIN is the answer.
    private static final int RESOLVE_ATTEMPTS = 64;

    private static volatile boolean fchmodat2Missing;

    private Fs() {}

    /// The path under which this process can reach what a descriptor refers to, `O_PATH` included.
    /// Calls that follow it operate on the very file, even on a symbolic link.
    public static String descriptorPath(int fd) {
        return "/proc/self/fd/" + fd;
    }

    /// openat2(2): opens a path under restrictions of its resolution.
    ///
    /// @param mode the permissions of a file that is created; 0 without `O_CREAT` or `O_TMPFILE`
    /// @param resolve the `RESOLVE_` constants; with `RESOLVE_IN_ROOT` absolute paths and `..` stay
    ///   inside `dirfd`
    /// @return the descriptor; the caller closes it
    /// @throws ErrnoException EXDEV or ELOOP where the restrictions forbid the path, ENOSYS before
    ///   Linux 5.6
    public static int openat2(int dirfd, String path, int flags, int mode, int resolve)
            throws ErrnoException {
        Scratch scratch = Scratch.current();
        scratch.memory
                .putLong(Scratch.STRUCT, (flags | O_CLOEXEC) & 0xffffffffL)
                .putLong(Scratch.STRUCT + 8, mode)
                .putLong(Scratch.STRUCT + 16, resolve);
        long address = scratch.first("openat2", path);
        long fd;
        int attempts = 0;
        do {
            fd = call(scratch, Syscall.OPENAT2, dirfd, address, scratch.struct(), 24);
        } while (fd == -EINTR || (fd == -EAGAIN && ++attempts < RESOLVE_ATTEMPTS));
        return (int) check("openat2", path, fd);
    }

    /// openat(2).
    ///
    /// @return the descriptor; the caller closes it
    public static int openat(int dirfd, String path, int flags, int mode) throws ErrnoException {
        Scratch scratch = Scratch.current();
        long address = scratch.first("openat", path);
        long fd;
        do {
            fd = call(scratch, Syscall.OPENAT, dirfd, address, flags | O_CLOEXEC, mode);
        } while (fd == -EINTR);
        return (int) check("openat", path, fd);
    }

    /// close(2). The number is free afterwards, whatever the result.
    public static void close(int fd) throws ErrnoException {
        long result = call(Scratch.current(), Syscall.CLOSE, fd);
        // Linux frees the number before it can be interrupted: closing again would hit a stranger.
        if (result < 0 && result != -EINTR) {
            throw Errno.error("close", "descriptor " + fd, (int) -result);
        }
    }

    /// read(2) into the remaining part of a buffer.
    ///
    /// @return the number of bytes, or -1 at the end of the file
    public static int read(int fd, ByteBuffer to) throws ErrnoException {
        return readInto("read", Syscall.READ, fd, to, 0);
    }

    /// pread(2) into the remaining part of a buffer.
    ///
    /// @param offset in bytes from the start of the file
    /// @return the number of bytes, or -1 at or behind the end of the file
    public static int pread(int fd, ByteBuffer to, long offset) throws ErrnoException {
        return readInto("pread", Syscall.PREAD64, fd, to, offset);
    }

    /// write(2) of the remaining part of a buffer.
    ///
    /// @return the number of bytes, possibly fewer than remained
    public static int write(int fd, ByteBuffer from) throws ErrnoException {
        return writeFrom("write", Syscall.WRITE, fd, from, 0);
    }

    /// pwrite(2) of the remaining part of a buffer.
    ///
    /// @param offset in bytes from the start of the file
    /// @return the number of bytes, possibly fewer than remained
    public static int pwrite(int fd, ByteBuffer from, long offset) throws ErrnoException {
        return writeFrom("pwrite", Syscall.PWRITE64, fd, from, offset);
    }

    /// Writes all that remains in a buffer.
    public static void writeFully(int fd, ByteBuffer from) throws ErrnoException {
        while (from.hasRemaining()) {
            write(fd, from);
        }
    }

    /// Writes all that remains in a buffer to an offset.
    ///
    /// @param offset in bytes from the start of the file
    public static void pwriteFully(int fd, ByteBuffer from, long offset) throws ErrnoException {
        long at = offset;
        while (from.hasRemaining()) {
            at += pwrite(fd, from, at);
        }
    }

    /// mkdirat(2).
    public static void mkdirat(int dirfd, String path, int mode) throws ErrnoException {
        Scratch scratch = Scratch.current();
        long address = scratch.first("mkdirat", path);
        check("mkdirat", path, call(scratch, Syscall.MKDIRAT, dirfd, address, mode));
    }

    /// mknodat(2).
    ///
    /// @param mode type and permissions, for example `S_IFCHR | 0600`
    /// @param major 0 to 4095; not used for pipes, sockets and regular files
    /// @param minor 0 to 1048575
    /// @throws ErrnoException EINVAL for device numbers the kernel does not have
    public static void mknodat(int dirfd, String path, int mode, int major, int minor)
            throws ErrnoException {
        if (major < 0 || major > 0xfff || minor < 0 || minor > 0xfffff) {
            throw Errno.error(
                    "mknodat",
                    path,
                    EINVAL,
                    "wanted a device up to 4095:1048575, got "
                            + Integer.toUnsignedString(major)
                            + ":"
                            + Integer.toUnsignedString(minor));
        }
        long device = (minor & 0xff) | ((long) major << 8) | ((long) (minor & ~0xff) << 12);
        Scratch scratch = Scratch.current();
        long address = scratch.first("mknodat", path);
        check("mknodat", path, call(scratch, Syscall.MKNODAT, dirfd, address, mode, device));
    }

    /// linkat(2).
    ///
    /// @param flags 0, `AT_SYMLINK_FOLLOW` or `AT_EMPTY_PATH`
    public static void linkat(int oldDir, String oldPath, int newDir, String newPath, int flags)
            throws ErrnoException {
        Scratch scratch = Scratch.current();
        long from = scratch.first("linkat", oldPath);
        long to = scratch.second("linkat", newPath);
        long result = call(scratch, Syscall.LINKAT, oldDir, from, newDir, to, flags, 0);
        if (result < 0) {
            throw Errno.error("linkat", oldPath + " to " + newPath, (int) -result);
        }
    }

    /// symlinkat(2): creates `path`, which points to `target`.
    public static void symlinkat(String target, int dirfd, String path) throws ErrnoException {
        Scratch scratch = Scratch.current();
        long to = scratch.first("symlinkat", target);
        long address = scratch.second("symlinkat", path);
        check("symlinkat", path, call(scratch, Syscall.SYMLINKAT, to, dirfd, address));
    }

    /// unlinkat(2).
    ///
    /// @param flags 0 for anything but a directory, `AT_REMOVEDIR` for an empty directory
    public static void unlinkat(int dirfd, String path, int flags) throws ErrnoException {
        Scratch scratch = Scratch.current();
        long address = scratch.first("unlinkat", path);
        check("unlinkat", path, call(scratch, Syscall.UNLINKAT, dirfd, address, flags));
    }

    /// renameat2(2).
    ///
    /// @param flags 0 or the `RENAME_` constants
    public static void renameat2(int oldDir, String oldPath, int newDir, String newPath, int flags)
            throws ErrnoException {
        Scratch scratch = Scratch.current();
        long from = scratch.first("renameat2", oldPath);
        long to = scratch.second("renameat2", newPath);
        long result = call(scratch, Syscall.RENAMEAT2, oldDir, from, newDir, to, flags, 0);
        if (result < 0) {
            throw Errno.error("renameat2", oldPath + " to " + newPath, (int) -result);
        }
    }

    /// fchownat(2).
    ///
    /// @param uid 0 to 4294967294, or -1 to leave the owner alone
    /// @param gid 0 to 4294967294, or -1 to leave the group alone
    /// @param flags `AT_SYMLINK_NOFOLLOW` and `AT_EMPTY_PATH`
    /// @throws ErrnoException EINVAL also for ids out of range
    public static void fchownat(int dirfd, String path, long uid, long gid, int flags)
            throws ErrnoException {
        if (isNoId(uid) || isNoId(gid)) {
            throw Errno.error(
                    "fchownat",
                    path,
                    EINVAL,
                    "wanted ids up to 4294967294, got " + uid + ":" + gid);
        }
        Scratch scratch = Scratch.current();
        long address = scratch.first("fchownat", path);
        check(
                "fchownat",
                path,
                call(scratch, Syscall.FCHOWNAT, dirfd, address, uid, gid, flags, 0));
    }

    /// fchmod(2).
    ///
    /// @param mode 0 to 07777
    public static void fchmod(int fd, int mode) throws ErrnoException {
        check("fchmod", fd, call(Scratch.current(), Syscall.FCHMOD, fd, mode));
    }

    /// Changes the permissions of a file and never those of what a symbolic link points to.
    ///
    /// @param mode 0 to 07777
    /// @throws ErrnoException EOPNOTSUPP for a symbolic link
    public static void fchmodat(int dirfd, String path, int mode) throws ErrnoException {
        if (!fchmodat2Missing) {
            Scratch scratch = Scratch.current();
            long address = scratch.first("fchmodat2", path);
            long result =
                    call(scratch, Syscall.FCHMODAT2, dirfd, address, mode, AT_SYMLINK_NOFOLLOW);
            if (result != -ENOSYS) {
                check("fchmodat2", path, result);
                return;
            }
            fchmodat2Missing = true;
        }
        fchmodatByDescriptor(dirfd, path, mode);
    }

    /// The way of kernels before 6.6: a descriptor pins the file, its path in /proc changes it.
    static void fchmodatByDescriptor(int dirfd, String path, int mode) throws ErrnoException {
        int fd = openat(dirfd, path, O_PATH | O_NOFOLLOW, 0);
        try {
            if (statx(fd, "", AT_EMPTY_PATH, STATX_ALL).isSymbolicLink()) {
                throw Errno.error("fchmodat", path, EOPNOTSUPP);
            }
            Scratch scratch = Scratch.current();
            long address = scratch.first("fchmodat", descriptorPath(fd));
            check("fchmodat", path, call(scratch, Syscall.FCHMODAT, AT_FDCWD, address, mode));
        } finally {
            close(fd);
        }
    }

    /// utimensat(2).
    ///
    /// @param atimeSeconds since 1970, negative before
    /// @param atimeNanos 0 to 999999999, [#UTIME_NOW] or [#UTIME_OMIT]
    /// @param mtimeSeconds since 1970, negative before
    /// @param mtimeNanos 0 to 999999999, [#UTIME_NOW] or [#UTIME_OMIT]
    /// @param flags `AT_SYMLINK_NOFOLLOW` and, from Linux 5.8, `AT_EMPTY_PATH`
    public static void utimensat(
            int dirfd,
            String path,
            long atimeSeconds,
            long atimeNanos,
            long mtimeSeconds,
            long mtimeNanos,
            int flags)
            throws ErrnoException {
        Scratch scratch = times(atimeSeconds, atimeNanos, mtimeSeconds, mtimeNanos);
        long address = scratch.first("utimensat", path);
        long result = call(scratch, Syscall.UTIMENSAT, dirfd, address, scratch.struct(), flags);
        check("utimensat", path, result);
    }

    /// futimens(3): the times of an open file, as [#utimensat].
    public static void futimens(
            int fd, long atimeSeconds, long atimeNanos, long mtimeSeconds, long mtimeNanos)
            throws ErrnoException {
        Scratch scratch = times(atimeSeconds, atimeNanos, mtimeSeconds, mtimeNanos);
        check("futimens", fd, call(scratch, Syscall.UTIMENSAT, fd, 0, scratch.struct(), 0));
    }

    /// readlinkat(2).
    ///
    /// @param path the link; empty where `dirfd` itself is one, opened with `O_PATH | O_NOFOLLOW`
    public static String readlinkat(int dirfd, String path) throws ErrnoException {
        Scratch scratch = Scratch.current();
        long address = scratch.first("readlinkat", path);
        long result =
                call(
                        scratch,
                        Syscall.READLINKAT,
                        dirfd,
                        address,
                        scratch.secondRoom(),
                        Scratch.PATH_MAX);
        return scratch.secondText((int) check("readlinkat", path, result));
    }

    /// statx(2).
    ///
    /// @param path empty with `AT_EMPTY_PATH` for the file behind `dirfd`
    /// @param flags `AT_SYMLINK_NOFOLLOW` and `AT_EMPTY_PATH`
    /// @param mask what is wanted, usually [#STATX_ALL]; the rest of the result may be 0
    public static Stat statx(int dirfd, String path, int flags, int mask) throws ErrnoException {
        Scratch scratch = Scratch.current();
        long address = scratch.first("statx", path);
        long result =
                call(scratch, Syscall.STATX, dirfd, address, flags, mask, scratch.struct(), 0);
        if (result < 0) {
            throw Errno.error(
                    "statx", path.isEmpty() ? Kernel.describe(dirfd) : path, (int) -result);
        }
        ByteBuffer m = scratch.memory;
        int at = Scratch.STRUCT;
        return new Stat(
                m.getShort(at + 28) & 0xffff,
                Integer.toUnsignedLong(m.getInt(at + 20)),
                Integer.toUnsignedLong(m.getInt(at + 24)),
                m.getLong(at + 40),
                Integer.toUnsignedLong(m.getInt(at + 16)),
                m.getLong(at + 32),
                m.getInt(at + 136),
                m.getInt(at + 140),
                m.getInt(at + 128),
                m.getInt(at + 132),
                m.getLong(at + 48),
                m.getLong(at + 64),
                m.getInt(at + 72),
                m.getLong(at + 112),
                m.getInt(at + 120),
                m.getLong(at + 96),
                m.getInt(at + 104),
                m.getLong(at + 144));
    }

    /// statfs(2) of the file system a path lies on; follows symbolic links.
    public static StatFs statfs(String path) throws ErrnoException {
        Scratch scratch = Scratch.current();
        long address = scratch.first("statfs", path);
        check("statfs", path, call(scratch, Syscall.STATFS, address, scratch.struct()));
        return statFs(scratch.memory);
    }

    /// fstatfs(2) of the file system an open file lies on.
    public static StatFs fstatfs(int fd) throws ErrnoException {
        Scratch scratch = Scratch.current();
        check("fstatfs", fd, call(scratch, Syscall.FSTATFS, fd, scratch.struct()));
        return statFs(scratch.memory);
    }

    /// copy_file_range(2).
    ///
    /// @param offsetIn in bytes, or -1 for the file position of `fdIn`, which then moves
    /// @param offsetOut in bytes, or -1 for the file position of `fdOut`, which then moves
    /// @return the number of bytes copied, possibly fewer than `length`; 0 at the end of the source
    /// @throws ErrnoException EXDEV where the file systems cannot do it
    public static long copyFileRange(
            int fdIn, long offsetIn, int fdOut, long offsetOut, long length) throws ErrnoException {
        Scratch scratch = Scratch.current();
        long in = offsetIn < 0 ? 0 : scratch.struct();
        long out = offsetOut < 0 ? 0 : scratch.struct() + 8;
        long result;
        do {
            scratch.memory.putLong(Scratch.STRUCT, offsetIn).putLong(Scratch.STRUCT + 8, offsetOut);
            result = call(scratch, Syscall.COPY_FILE_RANGE, fdIn, in, fdOut, out, length, 0);
        } while (result == -EINTR);
        return check("copy_file_range", fdOut, result);
    }

    /// fallocate(2).
    ///
    /// @param mode 0 or the `FALLOC_` constants
    /// @throws ErrnoException EOPNOTSUPP where the file system cannot do it
    public static void fallocate(int fd, int mode, long offset, long length) throws ErrnoException {
        Scratch scratch = Scratch.current();
        long result;
        do {
            result = call(scratch, Syscall.FALLOCATE, fd, mode, offset, length);
        } while (result == -EINTR);
        check("fallocate", fd, result);
    }

    /// ftruncate(2).
    public static void ftruncate(int fd, long length) throws ErrnoException {
        Scratch scratch = Scratch.current();
        long result;
        do {
            result = call(scratch, Syscall.FTRUNCATE, fd, length);
        } while (result == -EINTR);
        check("ftruncate", fd, result);
    }

    /// fsync(2). After an error the data may be lost though a second call succeeds.
    public static void fsync(int fd) throws ErrnoException {
        check("fsync", fd, call(Scratch.current(), Syscall.FSYNC, fd));
    }

    /// fdatasync(2). After an error the data may be lost though a second call succeeds.
    public static void fdatasync(int fd) throws ErrnoException {
        check("fdatasync", fd, call(Scratch.current(), Syscall.FDATASYNC, fd));
    }

    /// syncfs(2): all data of the file system an open file lies on.
    public static void syncfs(int fd) throws ErrnoException {
        check("syncfs", fd, call(Scratch.current(), Syscall.SYNCFS, fd));
    }

    /// sync_file_range(2): starts or awaits the write-back of a range. Not a durability guarantee.
    ///
    /// @param length in bytes; 0 up to the end of the file
    /// @param flags the `SYNC_FILE_RANGE_` constants
    public static void syncFileRange(int fd, long offset, long length, int flags)
            throws ErrnoException {
        Scratch scratch = Scratch.current();
        long result = call(scratch, Syscall.SYNC_FILE_RANGE, fd, offset, length, flags);
        check("sync_file_range", fd, result);
    }

    /// flock(2).
    ///
    /// @param operation `LOCK_SH`, `LOCK_EX` or `LOCK_UN`
    public static void flock(int fd, int operation) throws ErrnoException {
        check("flock", fd, flockResult(fd, operation));
    }

    /// flock(2) without waiting.
    ///
    /// @param operation `LOCK_SH` or `LOCK_EX`
    /// @return false if another open file description holds the lock
    public static boolean tryFlock(int fd, int operation) throws ErrnoException {
        long result = flockResult(fd, operation | LOCK_NB);
        if (result == -EAGAIN) {
            return false;
        }
        check("flock", fd, result);
        return true;
    }

    /// umask(2): sets the mask of the whole process.
    ///
    /// @return the mask before
    public static int umask(int mask) {
        return (int) call(Scratch.current(), Syscall.UMASK, mask);
    }

    /// The entries of a directory except `.` and `..`, in the file system's order.
    ///
    /// @param fd an open directory, not `O_PATH`; its position moves to the end
    public static List<DirectoryEntry> list(int fd) throws ErrnoException {
        check("lseek", fd, call(Scratch.current(), Syscall.LSEEK, fd, 0, 0));
        List<DirectoryEntry> entries = new ArrayList<>();
        List<DirectoryEntry> next = nextEntries(fd);
        while (!next.isEmpty()) {
            entries.addAll(next);
            next = nextEntries(fd);
        }
        return entries;
    }

    /// The next entries of a directory except `.` and `..`, at most a few thousand: for directories
    /// that may be too large for [#list].
    ///
    /// @param fd an open directory, not `O_PATH`; its position moves behind the entries
    /// @return empty at the end
    public static List<DirectoryEntry> nextEntries(int fd) throws ErrnoException {
        Scratch scratch = Scratch.current();
        ByteBuffer buffer = scratch.bulk();
        List<DirectoryEntry> entries = new ArrayList<>();
        byte[] name = new byte[256];
        while (entries.isEmpty()) {
            long result =
                    call(
                            scratch,
                            Syscall.GETDENTS64,
                            fd,
                            scratch.bulkAddress(),
                            Scratch.BULK_BYTES);
            int end = (int) check("getdents64", fd, result);
            if (end == 0) {
                break;
            }
            int at = 0;
            while (at < end) {
                int recordLength = buffer.getShort(at + 16) & 0xffff;
                int length = 0;
                byte b;
                while ((b = buffer.get(at + 19 + length)) != 0) {
                    if (length == name.length) {
                        name = Arrays.copyOf(name, name.length * 2);
                    }
                    name[length++] = b;
                }
                if (!isDots(name, length)) {
                    entries.add(
                            new DirectoryEntry(
                                    FileNames.decode(name, 0, length),
                                    buffer.get(at + 18),
                                    buffer.getLong(at)));
                }
                at += recordLength;
            }
        }
        return entries;
    }

    private static boolean isDots(byte[] name, int length) {
        return name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.'));
    }

    private static boolean isNoId(long id) {
        return id < -1 || id > 0xfffffffeL;
    }

    private static long flockResult(int fd, int operation) {
        Scratch scratch = Scratch.current();
        long result;
        do {
            result = call(scratch, Syscall.FLOCK, fd, operation);
        } while (result == -EINTR);
        return result;
    }

    private static Scratch times(
            long atimeSeconds, long atimeNanos, long mtimeSeconds, long mtimeNanos) {
        Scratch scratch = Scratch.current();
        scratch.memory
                .putLong(Scratch.STRUCT, atimeSeconds)
                .putLong(Scratch.STRUCT + 8, atimeNanos)
                .putLong(Scratch.STRUCT + 16, mtimeSeconds)
                .putLong(Scratch.STRUCT + 24, mtimeNanos);
        return scratch;
    }

    private static StatFs statFs(ByteBuffer m) {
        int at = Scratch.STRUCT;
        return new StatFs(
                m.getLong(at),
                m.getLong(at + 8),
                m.getLong(at + 16),
                m.getLong(at + 32),
                m.getLong(at + 40),
                m.getLong(at + 48),
                m.getLong(at + 64),
                m.getLong(at + 80));
    }

    private static int readInto(String call, int number, int fd, ByteBuffer to, long offset)
            throws ErrnoException {
        if (to.isReadOnly()) {
            throw new ReadOnlyBufferException();
        }
        Scratch scratch = Scratch.current();
        int wanted = to.remaining();
        if (wanted == 0) {
            return 0;
        }
        if (to.isDirect()) {
            try {
                int count = transfer(scratch, call, number, fd, address(to), wanted, offset);
                to.position(to.position() + count);
                return count == 0 ? -1 : count;
            } finally {
                Reference.reachabilityFence(to);
            }
        }
        ByteBuffer bulk = scratch.bulk();
        int room = Math.min(wanted, Scratch.BULK_BYTES);
        int count = transfer(scratch, call, number, fd, scratch.bulkAddress(), room, offset);
        to.put(bulk.limit(count));
        return count == 0 ? -1 : count;
    }

    private static int writeFrom(String call, int number, int fd, ByteBuffer from, long offset)
            throws ErrnoException {
        Scratch scratch = Scratch.current();
        int wanted = from.remaining();
        if (from.isDirect()) {
            try {
                int count = transfer(scratch, call, number, fd, address(from), wanted, offset);
                from.position(from.position() + count);
                return count;
            } finally {
                Reference.reachabilityFence(from);
            }
        }
        int room = Math.min(wanted, Scratch.BULK_BYTES);
        scratch.bulk().put(0, from, from.position(), room);
        int count = transfer(scratch, call, number, fd, scratch.bulkAddress(), room, offset);
        from.position(from.position() + count);
        return count;
    }

    private static int transfer(
            Scratch scratch, String call, int number, int fd, long address, int length, long offset)
            throws ErrnoException {
        long result;
        do {
            result = call(scratch, number, fd, address, length, offset);
        } while (result == -EINTR);
        return (int) check(call, fd, result);
    }

    /// The address of the first remaining byte of a direct buffer.
    static long address(ByteBuffer buffer) {
        return MemorySegment.ofBuffer(buffer).address();
    }
}
