package dev.imgd.linux;

/// The numbers of the system calls on x86_64 and aarch64.
///
/// **Source:** Linux, arch/x86/entry/syscalls/syscall_64.tbl and scripts/syscall.tbl; calls from
/// 424 on have one number on both.
final class Syscall {
    static final boolean X86_64 = "amd64".equals(System.getProperty("os.arch"));
    static final boolean SUPPORTED =
            "Linux".equals(System.getProperty("os.name"))
                    && (X86_64 || "aarch64".equals(System.getProperty("os.arch")));

    static final int READ = X86_64 ? 0 : 63;
    static final int WRITE = X86_64 ? 1 : 64;
    static final int CLOSE = X86_64 ? 3 : 57;
    static final int LSEEK = X86_64 ? 8 : 62;
    static final int PREAD64 = X86_64 ? 17 : 67;
    static final int PWRITE64 = X86_64 ? 18 : 68;
    static final int OPENAT = X86_64 ? 257 : 56;
    static final int OPENAT2 = 437;
    static final int MKDIRAT = X86_64 ? 258 : 34;
    static final int MKNODAT = X86_64 ? 259 : 33;
    static final int LINKAT = X86_64 ? 265 : 37;
    static final int SYMLINKAT = X86_64 ? 266 : 36;
    static final int UNLINKAT = X86_64 ? 263 : 35;
    static final int RENAMEAT2 = X86_64 ? 316 : 276;
    static final int FCHOWNAT = X86_64 ? 260 : 54;
    static final int FCHMOD = X86_64 ? 91 : 52;
    static final int FCHMODAT = X86_64 ? 268 : 53;
    static final int FCHMODAT2 = 452;
    static final int UTIMENSAT = X86_64 ? 280 : 88;
    static final int SETXATTR = X86_64 ? 188 : 5;
    static final int LSETXATTR = X86_64 ? 189 : 6;
    static final int FSETXATTR = X86_64 ? 190 : 7;
    static final int GETXATTR = X86_64 ? 191 : 8;
    static final int LGETXATTR = X86_64 ? 192 : 9;
    static final int FGETXATTR = X86_64 ? 193 : 10;
    static final int LISTXATTR = X86_64 ? 194 : 11;
    static final int LLISTXATTR = X86_64 ? 195 : 12;
    static final int FLISTXATTR = X86_64 ? 196 : 13;
    static final int REMOVEXATTR = X86_64 ? 197 : 14;
    static final int LREMOVEXATTR = X86_64 ? 198 : 15;
    static final int FREMOVEXATTR = X86_64 ? 199 : 16;
    static final int READLINKAT = X86_64 ? 267 : 78;
    static final int STATX = X86_64 ? 332 : 291;
    static final int STATFS = X86_64 ? 137 : 43;
    static final int FSTATFS = X86_64 ? 138 : 44;
    static final int COPY_FILE_RANGE = X86_64 ? 326 : 285;
    static final int FALLOCATE = X86_64 ? 285 : 47;
    static final int FTRUNCATE = X86_64 ? 77 : 46;
    static final int FSYNC = X86_64 ? 74 : 82;
    static final int FDATASYNC = X86_64 ? 75 : 83;
    static final int SYNCFS = X86_64 ? 306 : 267;
    static final int SYNC_FILE_RANGE = X86_64 ? 277 : 84;
    static final int FLOCK = X86_64 ? 73 : 32;
    static final int UMASK = X86_64 ? 95 : 166;
    static final int GETDENTS64 = X86_64 ? 217 : 61;
    static final int MOUNT = X86_64 ? 165 : 40;
    static final int UMOUNT2 = X86_64 ? 166 : 39;
    static final int OPEN_TREE = 428;
    static final int MOVE_MOUNT = 429;
    static final int FSOPEN = 430;
    static final int FSCONFIG = 431;
    static final int FSMOUNT = 432;
    static final int MOUNT_SETATTR = 442;
    static final int SOCKET = X86_64 ? 41 : 198;
    static final int SENDTO = X86_64 ? 44 : 206;
    static final int GETSOCKOPT = X86_64 ? 55 : 209;

    private Syscall() {}
}
