package dev.imgd.linux;

import static dev.imgd.linux.Kernel.call;
import static dev.imgd.linux.Kernel.check;
import static dev.imgd.model.ErrnoException.EINVAL;
import static dev.imgd.model.ErrnoException.ENODATA;
import static dev.imgd.model.ErrnoException.ENOSYS;

import dev.imgd.model.ErrnoException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// Mounting: the classic calls, the descriptor-based mount API, and what imgd needs of them.
///
/// Paths, descriptors, errors and threads are as in [Fs]. Errors of the mount API carry what the
/// kernel logged about them. Everything needs CAP_SYS_ADMIN over the mount namespace.
///
/// **Source:** mount(2), umount(2), mount_setattr(2), Linux Documentation/filesystems/mount_api.rst
/// and overlayfs.rst.
public final class Mounts {
    public static final long MS_RDONLY = 1;
    public static final long MS_NOSUID = 2;
    public static final long MS_NODEV = 4;
    public static final long MS_NOEXEC = 8;
    public static final long MS_REMOUNT = 32;
    public static final long MS_NOATIME = 1024;
    public static final long MS_NODIRATIME = 2048;
    public static final long MS_BIND = 4096;
    public static final long MS_MOVE = 8192;
    public static final long MS_REC = 16384;
    public static final long MS_PRIVATE = 1 << 18;
    public static final long MS_SLAVE = 1 << 19;
    public static final long MS_SHARED = 1 << 20;
    public static final long MS_RELATIME = 1 << 21;

    public static final int MNT_FORCE = 1;
    public static final int MNT_DETACH = 2;
    public static final int UMOUNT_NOFOLLOW = 8;

    public static final long MOUNT_ATTR_RDONLY = 0x1;
    public static final long MOUNT_ATTR_NOSUID = 0x2;
    public static final long MOUNT_ATTR_NODEV = 0x4;
    public static final long MOUNT_ATTR_NOEXEC = 0x8;
    public static final long MOUNT_ATTR_NOATIME = 0x10;
    public static final long MOUNT_ATTR_IDMAP = 0x100000;

    public static final int OPEN_TREE_CLONE = 1;

    public static final int MOVE_MOUNT_F_EMPTY_PATH = 0x04;
    public static final int MOVE_MOUNT_T_SYMLINKS = 0x10;
    public static final int MOVE_MOUNT_T_EMPTY_PATH = 0x40;

    private static final int FSOPEN_CLOEXEC = 1;
    private static final int FSMOUNT_CLOEXEC = 1;
    private static final int FSCONFIG_SET_FLAG = 0;
    private static final int FSCONFIG_SET_STRING = 1;
    private static final int FSCONFIG_SET_FD = 5;
    private static final int FSCONFIG_CMD_CREATE = 6;

    /// The longest value of [#fsconfigString], in bytes.
    private static final int FSCONFIG_VALUE_BYTES = 255;

    /// The longest data of [#mount], in bytes: a page with its NUL.
    private static final int MOUNT_DATA_BYTES = Scratch.PATH_MAX - 1;

    private Mounts() {}

    /// mount(2).
    ///
    /// @param source a device, a directory, or a word that is shown in its place
    /// @param type the file system type; not used with `MS_BIND`, `MS_REMOUNT`, `MS_MOVE` or a
    ///   change of propagation
    /// @param flags the `MS_` constants
    /// @param data the file system's options, separated by commas, at most 4095 bytes
    public static void mount(String source, String target, String type, long flags, String data)
            throws ErrnoException {
        Scratch scratch = Scratch.current();
        long typeAddress = scratch.bulkString("mount", type, 0);
        long dataAddress = scratch.bulkString("mount", data, Scratch.PATH_MAX);
        long from = scratch.first("mount", source);
        long to = scratch.second("mount", target);
        long result = call(scratch, Syscall.MOUNT, from, to, typeAddress, flags, dataAddress, 0);
        if (result < 0) {
            String what = type.isEmpty() ? source : type + " " + source;
            throw Errno.error("mount", what + " on " + target, (int) -result);
        }
    }

    /// umount2(2).
    ///
    /// @param flags `MNT_DETACH`, `MNT_FORCE` and `UMOUNT_NOFOLLOW`
    public static void umount2(String target, int flags) throws ErrnoException {
        Scratch scratch = Scratch.current();
        long address = scratch.first("umount2", target);
        check("umount2", target, call(scratch, Syscall.UMOUNT2, address, flags));
    }

    /// fsopen(2): starts the configuration of a file system.
    ///
    /// @return a configuration descriptor; the caller closes it
    /// @throws ErrnoException ENODEV if the kernel lacks the type, ENOSYS before Linux 5.2
    public static int fsopen(String type) throws ErrnoException {
        Scratch scratch = Scratch.current();
        long address = scratch.first("fsopen", type);
        return (int) check("fsopen", type, call(scratch, Syscall.FSOPEN, address, FSOPEN_CLOEXEC));
    }

    /// fsconfig(2): sets an option with a value of at most 255 bytes.
    public static void fsconfigString(int config, String key, String value) throws ErrnoException {
        Scratch scratch = Scratch.current();
        long keyAddress = scratch.first("fsconfig", key);
        long valueAddress = scratch.second("fsconfig", value);
        long result = fsconfig(scratch, config, FSCONFIG_SET_STRING, keyAddress, valueAddress, 0);
        checkConfig("fsconfig", config, key + "=" + value, result);
    }

    /// fsconfig(2): sets an option without a value.
    public static void fsconfigFlag(int config, String key) throws ErrnoException {
        Scratch scratch = Scratch.current();
        long keyAddress = scratch.first("fsconfig", key);
        long result = fsconfig(scratch, config, FSCONFIG_SET_FLAG, keyAddress, 0, 0);
        checkConfig("fsconfig", config, key, result);
    }

    /// fsconfig(2): sets an option to an open file.
    public static void fsconfigFd(int config, String key, int fd) throws ErrnoException {
        Scratch scratch = Scratch.current();
        long keyAddress = scratch.first("fsconfig", key);
        long result = fsconfig(scratch, config, FSCONFIG_SET_FD, keyAddress, 0, fd);
        checkConfig("fsconfig", config, key + "=descriptor " + fd, result);
    }

    /// fsconfig(2): creates the file system that was configured.
    public static void fsconfigCreate(int config) throws ErrnoException {
        Scratch scratch = Scratch.current();
        long result = fsconfig(scratch, config, FSCONFIG_CMD_CREATE, 0, 0, 0);
        checkConfig("fsconfig", config, "create", result);
    }

    /// fsmount(2): makes a mount of a created file system, attached nowhere yet.
    ///
    /// @param attributes the `MOUNT_ATTR_` constants
    /// @return a descriptor of the mount, which goes away with it unless [#moveMount] attached it;
    ///   the caller closes it
    public static int fsmount(int config, long attributes) throws ErrnoException {
        Scratch scratch = Scratch.current();
        long result = call(scratch, Syscall.FSMOUNT, config, FSMOUNT_CLOEXEC, attributes);
        checkConfig("fsmount", config, "", result);
        return (int) result;
    }

    /// move_mount(2): attaches or moves a mount.
    ///
    /// @param flags the `MOVE_MOUNT_` constants; a final symbolic link is not followed without
    public static void moveMount(int fromDir, String from, int toDir, String to, int flags)
            throws ErrnoException {
        Scratch scratch = Scratch.current();
        long fromAddress = scratch.first("move_mount", from);
        long toAddress = scratch.second("move_mount", to);
        long result =
                call(scratch, Syscall.MOVE_MOUNT, fromDir, fromAddress, toDir, toAddress, flags, 0);
        check("move_mount", to, result);
    }

    /// open_tree(2).
    ///
    /// @param flags `OPEN_TREE_CLONE` for a detached copy, with `AT_RECURSIVE` of everything below;
    ///   `AT_SYMLINK_NOFOLLOW` and `AT_EMPTY_PATH`
    /// @return a descriptor; a detached copy goes away with it unless [#moveMount] attached it; the
    ///   caller closes it
    public static int openTree(int dirfd, String path, int flags) throws ErrnoException {
        Scratch scratch = Scratch.current();
        long address = scratch.first("open_tree", path);
        long result = call(scratch, Syscall.OPEN_TREE, dirfd, address, flags | Fs.O_CLOEXEC);
        return (int) check("open_tree", path, result);
    }

    /// mount_setattr(2).
    ///
    /// @param flags `AT_EMPTY_PATH`, `AT_RECURSIVE` and `AT_SYMLINK_NOFOLLOW`
    /// @param set the `MOUNT_ATTR_` constants to add
    /// @param clear the `MOUNT_ATTR_` constants to take away
    /// @param propagation one of `MS_PRIVATE`, `MS_SLAVE` and `MS_SHARED`, or 0 to leave it alone
    /// @param userNamespace of `MOUNT_ATTR_IDMAP`, else 0
    /// @throws ErrnoException ENOSYS before Linux 5.12
    public static void mountSetattr(
            int dirfd,
            String path,
            int flags,
            long set,
            long clear,
            long propagation,
            int userNamespace)
            throws ErrnoException {
        Scratch scratch = Scratch.current();
        scratch.memory
                .putLong(Scratch.STRUCT, set)
                .putLong(Scratch.STRUCT + 8, clear)
                .putLong(Scratch.STRUCT + 16, propagation)
                .putLong(Scratch.STRUCT + 24, userNamespace);
        long address = scratch.first("mount_setattr", path);
        long result =
                call(
                        scratch,
                        Syscall.MOUNT_SETATTR,
                        dirfd,
                        address,
                        flags,
                        scratch.struct(),
                        32,
                        0);
        check("mount_setattr", path.isEmpty() ? Kernel.describe(dirfd) : path, result);
    }

    /// Mounts an overlay.
    ///
    /// With Linux 6.8 or later every layer is an option of its own, so that their number (at most
    /// 500) and the length of their paths do not matter; before, all options must fit into a page,
    /// for which paths are shortened where needed. Directories may be given as [Fs#descriptorPath];
    /// that and shortened paths are what the mount table then shows.
    ///
    /// @param lowerDirs the read-only layers, the top one first, at least one; at least two without
    ///   an upper directory
    /// @param upper the writable directory, or null for a read-only overlay
    /// @param work an empty directory on the file system of `upper`; null exactly if `upper` is
    /// @param target where to mount; a final symbolic link is not followed
    /// @param options more of overlayfs's, each `key` or `key=value`
    /// @param readOnly whether the mount refuses writes although there may be an upper directory
    public static void mountOverlay(
            List<String> lowerDirs,
            @Nullable String upper,
            @Nullable String work,
            String target,
            List<String> options,
            boolean readOnly)
            throws ErrnoException {
        if (lowerDirs.isEmpty() || (upper == null) != (work == null)) {
            throw new IllegalArgumentException(
                    "wanted lower directories, and upper and work directory together or neither");
        }
        Overlay overlay = new Overlay(lowerDirs, upper, work, target, options, readOnly);
        try {
            overlay.mountByDescriptors();
        } catch (ErrnoException e) {
            if (e.errno() != ENOSYS && e.errno() != EINVAL) {
                throw e;
            }
            try {
                overlay.mountByData();
            } catch (ErrnoException classic) {
                // The mount API gives reasons; without it only the classic call has an answer.
                ErrnoException told = e.errno() == ENOSYS ? classic : e;
                told.addSuppressed(told == e ? classic : e);
                throw told;
            }
        }
    }

    /// Makes a directory or file visible at a second place.
    ///
    /// @param source follows a final symbolic link
    /// @param target of the same kind as `source`; a final symbolic link is not followed
    /// @param recursive whether what is mounted below `source` comes along
    /// @param readOnly whether the new mount, with `recursive` all new mounts, refuse writes; it is
    ///   never visible writable on Linux 5.12 and later
    public static void bind(String source, String target, boolean recursive, boolean readOnly)
            throws ErrnoException {
        int recursion = recursive ? Fs.AT_RECURSIVE : 0;
        int tree;
        try {
            tree = openTree(Fs.AT_FDCWD, source, OPEN_TREE_CLONE | recursion);
        } catch (ErrnoException e) {
            if (e.errno() != ENOSYS) {
                throw e;
            }
            bindClassic(source, target, recursive, readOnly);
            return;
        }
        try {
            if (readOnly) {
                mountSetattr(tree, "", Fs.AT_EMPTY_PATH | recursion, MOUNT_ATTR_RDONLY, 0, 0, 0);
            }
            moveMount(tree, "", Fs.AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH);
        } catch (ErrnoException e) {
            if (e.errno() != ENOSYS) {
                throw e;
            }
            bindClassic(source, target, recursive, readOnly);
        } finally {
            Fs.close(tree);
        }
    }

    /// The way of kernels before 5.12, which cannot make what is mounted below read-only.
    static void bindClassic(String source, String target, boolean recursive, boolean readOnly)
            throws ErrnoException {
        mount(source, target, "", MS_BIND | (recursive ? MS_REC : 0), "");
        if (!readOnly) {
            return;
        }
        try {
            long flags = Fs.statfs(target).flags();
            long kept = flags & (MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME);
            long relatime = (flags & StatFs.ST_RELATIME) != 0 ? MS_RELATIME : 0;
            mount("", target, "", MS_REMOUNT | MS_BIND | MS_RDONLY | kept | relatime, "");
        } catch (ErrnoException e) {
            umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW);
            throw e;
        }
    }

    private static long fsconfig(
            Scratch scratch, int config, int command, long key, long value, int aux) {
        return call(scratch, Syscall.FSCONFIG, config, command, key, value, aux, 0);
    }

    private static void checkConfig(String call, int config, String subject, long result)
            throws ErrnoException {
        if (result < 0) {
            throw Errno.error(call, subject, (int) -result, log(config));
        }
    }

    /// What the kernel logged in a configuration descriptor, on one line.
    private static String log(int config) throws ErrnoException {
        StringBuilder log = new StringBuilder();
        ByteBuffer message = ByteBuffer.allocate(1024);
        try {
            while (Fs.read(config, message.clear()) > 2) {
                byte[] text = message.array();
                // A message starts with its level and a space, and may end with a line feed.
                int end = message.position() - (text[message.position() - 1] == '\n' ? 1 : 0);
                log.append(log.isEmpty() ? "" : "; ").append(FileNames.decode(text, 2, end - 2));
            }
        } catch (ErrnoException e) {
            if (e.errno() != ENODATA) {
                throw e;
            }
        }
        return log.toString();
    }

    /// The arguments of [#mountOverlay] and the two ways to carry them out.
    ///
    /// A path that an option cannot hold is pinned: opened, and replaced by its descriptor's path.
    record Overlay(
            List<String> lowerDirs,
            @Nullable String upper,
            @Nullable String work,
            String target,
            List<String> options,
            boolean readOnly) {

        void mountByDescriptors() throws ErrnoException {
            List<Fd> pins = new ArrayList<>();
            int config = fsopen("overlay");
            try {
                fsconfigString(config, "source", "overlay");
                for (String lower : lowerDirs) {
                    fsconfigString(config, "lowerdir+", pinned(lower, pins));
                }
                if (upper != null && work != null) {
                    fsconfigString(config, "upperdir", pinned(upper, pins));
                    fsconfigString(config, "workdir", pinned(work, pins));
                }
                for (String option : options) {
                    int equals = option.indexOf('=');
                    if (equals < 0) {
                        fsconfigFlag(config, option);
                    } else {
                        fsconfigString(
                                config, option.substring(0, equals), option.substring(equals + 1));
                    }
                }
                fsconfigCreate(config);
                int mount = fsmount(config, readOnly ? MOUNT_ATTR_RDONLY : 0);
                try {
                    moveMount(mount, "", Fs.AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH);
                } finally {
                    Fs.close(mount);
                }
            } finally {
                Fs.close(config);
                close(pins);
            }
        }

        void mountByData() throws ErrnoException {
            List<Fd> pins = new ArrayList<>();
            try {
                String data = data(false, pins);
                if (FileNames.encode(data).length > MOUNT_DATA_BYTES) {
                    close(pins);
                    pins.clear();
                    data = data(true, pins);
                }
                mount("overlay", target, "overlay", readOnly ? MS_RDONLY : 0, data);
            } finally {
                close(pins);
            }
        }

        private String data(boolean pinAll, List<Fd> pins) throws ErrnoException {
            StringBuilder data = new StringBuilder("lowerdir=");
            for (int i = 0; i < lowerDirs.size(); i++) {
                String lower = lowerDirs.get(i);
                data.append(i == 0 ? "" : ":")
                        .append(pinAll ? pin(lower, pins) : pinned(lower, pins));
            }
            if (upper != null && work != null) {
                data.append(",upperdir=").append(pinned(upper, pins));
                data.append(",workdir=").append(pinned(work, pins));
            }
            for (String option : options) {
                data.append(',').append(option);
            }
            return data.toString();
        }

        private static String pinned(String path, List<Fd> pins) throws ErrnoException {
            boolean special =
                    path.indexOf(':') >= 0 || path.indexOf(',') >= 0 || path.indexOf('\\') >= 0;
            return special || FileNames.encode(path).length > FSCONFIG_VALUE_BYTES
                    ? pin(path, pins)
                    : path;
        }

        private static String pin(String path, List<Fd> pins) throws ErrnoException {
            Fd fd = Fd.open(path, Fs.O_PATH | Fs.O_DIRECTORY, 0);
            pins.add(fd);
            return Fs.descriptorPath(fd.fd());
        }

        private static void close(List<Fd> pins) throws ErrnoException {
            for (Fd pin : pins) {
                pin.close();
            }
        }
    }
}
