package dev.imgd.linux;

import static dev.imgd.linux.Kernel.call;
import static dev.imgd.linux.Kernel.check;
import static dev.imgd.model.ErrnoException.ENODATA;

import dev.imgd.model.ErrnoException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// Extended attributes.
///
/// Four forms of each call: by path without following a final symbolic link (`l…`), by an open
/// descriptor (`f…`), by a name in a directory (`…at`), and through the latter with an empty name
/// the file behind any descriptor, `O_PATH` included, whatever its type. Names are strings as
/// [FileNames] defines them, values at most 64 KiB. Errors and threads are as in [Fs].
///
/// **Source:** xattr(7).
public final class Xattrs {
    /// Fail with EEXIST if the attribute exists.
    public static final int XATTR_CREATE = 1;

    /// Fail with ENODATA if the attribute does not exist.
    public static final int XATTR_REPLACE = 2;

    private Xattrs() {}

    /// Sets an attribute; does not follow a final symbolic link.
    ///
    /// @param flags 0, [#XATTR_CREATE] or [#XATTR_REPLACE]
    public static void lsetxattr(String path, String name, byte[] value, int flags)
            throws ErrnoException {
        set("lsetxattr", Syscall.LSETXATTR, path, path, name, value, flags);
    }

    /// Sets an attribute of an open file.
    ///
    /// @param fd not `O_PATH`, see [#setxattrat]
    /// @param flags 0, [#XATTR_CREATE] or [#XATTR_REPLACE]
    public static void fsetxattr(int fd, String name, byte[] value, int flags)
            throws ErrnoException {
        Scratch scratch = Scratch.current();
        long bytes = value(scratch, "fsetxattr", name, value);
        long key = scratch.second("fsetxattr", name);
        long result = call(scratch, Syscall.FSETXATTR, fd, key, bytes, value.length, flags, 0);
        if (result < 0) {
            throw failed("fsetxattr", name, Kernel.describe(fd), result);
        }
    }

    /// Sets an attribute of a name in a directory, which is not followed.
    ///
    /// @param file one name without slashes; empty for what `dirfd` refers to, of any type
    /// @param flags 0, [#XATTR_CREATE] or [#XATTR_REPLACE]
    public static void setxattrat(int dirfd, String file, String name, byte[] value, int flags)
            throws ErrnoException {
        int number = file.isEmpty() ? Syscall.SETXATTR : Syscall.LSETXATTR;
        set("setxattr", number, path(dirfd, file), file, name, value, flags);
    }

    /// Returns the value of an attribute, or null if there is none of that name.
    public static byte @Nullable [] lgetxattr(String path, String name) throws ErrnoException {
        return get("lgetxattr", Syscall.LGETXATTR, path, path, name);
    }

    /// Returns the value of an attribute of an open file, or null if there is none of that name.
    ///
    /// @param fd not `O_PATH`, see [#getxattrat]
    public static byte @Nullable [] fgetxattr(int fd, String name) throws ErrnoException {
        Scratch scratch = Scratch.current();
        ByteBuffer bulk = scratch.bulk();
        long key = scratch.second("fgetxattr", name);
        long result =
                call(
                        scratch,
                        Syscall.FGETXATTR,
                        fd,
                        key,
                        scratch.bulkAddress(),
                        Scratch.BULK_BYTES);
        if (result < 0) {
            if (result == -ENODATA) {
                return null;
            }
            throw failed("fgetxattr", name, Kernel.describe(fd), result);
        }
        return bytes(bulk, (int) result);
    }

    /// Returns the value of an attribute of a name in a directory, or null if there is none.
    ///
    /// @param file as in [#setxattrat]
    public static byte @Nullable [] getxattrat(int dirfd, String file, String name)
            throws ErrnoException {
        int number = file.isEmpty() ? Syscall.GETXATTR : Syscall.LGETXATTR;
        return get("getxattr", number, path(dirfd, file), file, name);
    }

    /// Returns the names of all attributes the caller may see; does not follow a final link.
    public static List<String> llistxattr(String path) throws ErrnoException {
        return list("llistxattr", Syscall.LLISTXATTR, path, path);
    }

    /// Returns the names of all attributes of an open file the caller may see.
    ///
    /// @param fd not `O_PATH`, see [#listxattrat]
    public static List<String> flistxattr(int fd) throws ErrnoException {
        Scratch scratch = Scratch.current();
        ByteBuffer bulk = scratch.bulk();
        long result =
                call(scratch, Syscall.FLISTXATTR, fd, scratch.bulkAddress(), Scratch.BULK_BYTES);
        return names(bulk, (int) check("flistxattr", fd, result));
    }

    /// Returns the names of all attributes of a name in a directory the caller may see.
    ///
    /// @param file as in [#setxattrat]
    public static List<String> listxattrat(int dirfd, String file) throws ErrnoException {
        int number = file.isEmpty() ? Syscall.LISTXATTR : Syscall.LLISTXATTR;
        return list("listxattr", number, path(dirfd, file), file);
    }

    /// Removes an attribute; does not follow a final symbolic link.
    ///
    /// @throws ErrnoException ENODATA if there is none of that name
    public static void lremovexattr(String path, String name) throws ErrnoException {
        remove("lremovexattr", Syscall.LREMOVEXATTR, path, path, name);
    }

    /// Removes an attribute of an open file.
    ///
    /// @param fd not `O_PATH`, see [#removexattrat]
    /// @throws ErrnoException ENODATA if there is none of that name
    public static void fremovexattr(int fd, String name) throws ErrnoException {
        Scratch scratch = Scratch.current();
        long key = scratch.second("fremovexattr", name);
        long result = call(scratch, Syscall.FREMOVEXATTR, fd, key);
        if (result < 0) {
            throw failed("fremovexattr", name, Kernel.describe(fd), result);
        }
    }

    /// Removes an attribute of a name in a directory.
    ///
    /// @param file as in [#setxattrat]
    /// @throws ErrnoException ENODATA if there is none of that name
    public static void removexattrat(int dirfd, String file, String name) throws ErrnoException {
        int number = file.isEmpty() ? Syscall.REMOVEXATTR : Syscall.LREMOVEXATTR;
        remove("removexattr", number, path(dirfd, file), file, name);
    }

    /// One name behind a descriptor's path in /proc cannot leave the directory; two could, through
    /// a link.
    private static String path(int dirfd, String file) {
        if (file.isEmpty()) {
            return Fs.descriptorPath(dirfd);
        }
        if (file.indexOf('/') >= 0 || file.equals("..")) {
            throw new IllegalArgumentException("wanted one name in a directory, got " + file);
        }
        return Fs.descriptorPath(dirfd) + "/" + file;
    }

    private static void set(
            String call,
            int number,
            String path,
            String subject,
            String name,
            byte[] value,
            int flags)
            throws ErrnoException {
        Scratch scratch = Scratch.current();
        long bytes = value(scratch, call, name, value);
        long address = scratch.first(call, path);
        long key = scratch.second(call, name);
        long result = call(scratch, number, address, key, bytes, value.length, flags, 0);
        if (result < 0) {
            throw failed(call, name, subject.isEmpty() ? path : subject, result);
        }
    }

    private static byte @Nullable [] get(
            String call, int number, String path, String subject, String name)
            throws ErrnoException {
        Scratch scratch = Scratch.current();
        ByteBuffer bulk = scratch.bulk();
        long address = scratch.first(call, path);
        long key = scratch.second(call, name);
        long result =
                call(scratch, number, address, key, scratch.bulkAddress(), Scratch.BULK_BYTES);
        if (result < 0) {
            if (result == -ENODATA) {
                return null;
            }
            throw failed(call, name, subject.isEmpty() ? path : subject, result);
        }
        return bytes(bulk, (int) result);
    }

    private static List<String> list(String call, int number, String path, String subject)
            throws ErrnoException {
        Scratch scratch = Scratch.current();
        ByteBuffer bulk = scratch.bulk();
        long address = scratch.first(call, path);
        long result = call(scratch, number, address, scratch.bulkAddress(), Scratch.BULK_BYTES);
        return names(bulk, (int) check(call, subject.isEmpty() ? path : subject, result));
    }

    private static void remove(String call, int number, String path, String subject, String name)
            throws ErrnoException {
        Scratch scratch = Scratch.current();
        long address = scratch.first(call, path);
        long key = scratch.second(call, name);
        long result = call(scratch, number, address, key);
        if (result < 0) {
            throw failed(call, name, subject.isEmpty() ? path : subject, result);
        }
    }

    private static long value(Scratch scratch, String call, String name, byte[] value)
            throws ErrnoException {
        if (value.length > Scratch.BULK_BYTES) {
            throw Errno.error(call, name, Errno.E2BIG);
        }
        scratch.bulk().put(0, value);
        return scratch.bulkAddress();
    }

    private static byte[] bytes(ByteBuffer bulk, int length) {
        byte[] value = new byte[length];
        bulk.get(0, value);
        return value;
    }

    private static List<String> names(ByteBuffer bulk, int length) {
        byte[] all = bytes(bulk, length);
        List<String> names = new ArrayList<>();
        int start = 0;
        for (int i = 0; i < length; i++) {
            if (all[i] == 0) {
                names.add(FileNames.decode(all, start, i - start));
                start = i + 1;
            }
        }
        return names;
    }

    private static ErrnoException failed(String call, String name, String file, long result) {
        return Errno.error(call, name + " of " + file, (int) -result);
    }
}
