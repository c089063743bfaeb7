package dev.imgd.linux;

/// What statfs(2) says about a file system.
///
/// @param type the magic number, for example 0x794c7630 of overlay
/// @param blockSize in bytes; the unit of the block counts
/// @param blocks all blocks
/// @param blocksAvailable blocks free for unprivileged users
/// @param files all inodes, 0 where the file system has no fixed number
/// @param filesFree free inodes
/// @param nameLength the longest file name, in bytes
/// @param flags the `ST_` constants: how it is mounted
public record StatFs(
        long type,
        long blockSize,
        long blocks,
        long blocksAvailable,
        long files,
        long filesFree,
        long nameLength,
        long flags) {
    public static final long OVERLAYFS_MAGIC = 0x794c7630L;
    public static final long EXT4_MAGIC = 0xef53L;
    public static final long XFS_MAGIC = 0x58465342L;
    public static final long BTRFS_MAGIC = 0x9123683eL;
    public static final long TMPFS_MAGIC = 0x01021994L;
    public static final long EROFS_MAGIC = 0xe0f5e1e2L;

    public static final long ST_RDONLY = 1;
    public static final long ST_NOSUID = 2;
    public static final long ST_NODEV = 4;
    public static final long ST_NOEXEC = 8;
    public static final long ST_NOATIME = 1024;
    public static final long ST_NODIRATIME = 2048;
    public static final long ST_RELATIME = 4096;

    /// The free space for unprivileged users, in bytes.
    public long bytesAvailable() {
        return blocksAvailable * blockSize;
    }
}
