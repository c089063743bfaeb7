package dev.imgd.linux;

/// What statx(2) says about a file.
///
/// @param mode type and permission bits, see the `S_` constants of [Fs]
/// @param uid the owner, 0 to 4294967295
/// @param gid the group, 0 to 4294967295
/// @param size in bytes; of a symbolic link the length of its target
/// @param devMajor the device the file lies on
/// @param rdevMajor the device a character or block device file stands for, else 0
/// @param blocks allocated units of 512 bytes
/// @param atimeSeconds since 1970, negative before
/// @param mtimeSeconds since 1970, negative before
/// @param ctimeSeconds since 1970, negative before
/// @param mountId as in [MountInfo#id], or 0 before Linux 5.8
public record Stat(
        int mode,
        long uid,
        long gid,
        long size,
        long nlink,
        long ino,
        int devMajor,
        int devMinor,
        int rdevMajor,
        int rdevMinor,
        long blocks,
        long atimeSeconds,
        int atimeNanos,
        long mtimeSeconds,
        int mtimeNanos,
        long ctimeSeconds,
        int ctimeNanos,
        long mountId) {

    /// The type bits of the mode, one of `S_IFREG`, `S_IFDIR` and so on.
    public int type() {
        return mode & Fs.S_IFMT;
    }

    /// The mode without the type bits, 0 to 07777.
    public int permissions() {
        return mode & 07777;
    }

    public boolean isDirectory() {
        return type() == Fs.S_IFDIR;
    }

    public boolean isRegularFile() {
        return type() == Fs.S_IFREG;
    }

    public boolean isSymbolicLink() {
        return type() == Fs.S_IFLNK;
    }

    /// Tells whether both describe the same file: same device and same inode number.
    public boolean isSameFile(Stat other) {
        return ino == other.ino && devMajor == other.devMajor && devMinor == other.devMinor;
    }
}
