package dev.imgd.linux;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrnoException;
import dev.imgd.model.ErrorKind;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ReadOnlyBufferException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

class FsTest {
    private static final int NO_FD = 1 << 20;

    @TempDir Path dir;
    private Fd root;

    @BeforeEach
    void open() throws ErrnoException {
        root = Fd.open(dir.toString(), Fs.O_RDONLY | Fs.O_DIRECTORY, 0);
    }

    @AfterEach
    void close() throws ErrnoException {
        root.close();
    }

    private static ErrnoException assertErrno(int errno, Executable call) {
        ErrnoException e = assertThrows(ErrnoException.class, call);
        assertEquals(errno, e.errno(), e.getMessage());
        return e;
    }

    private int create(String name) throws ErrnoException {
        return Fs.openat(root.fd(), name, Fs.O_CREAT | Fs.O_EXCL | Fs.O_RDWR, 0644);
    }

    private void createEmpty(String name) throws ErrnoException {
        Fs.close(create(name));
    }

    private Stat stat(String name) throws ErrnoException {
        return Fs.statx(root.fd(), name, Fs.AT_SYMLINK_NOFOLLOW, Fs.STATX_ALL);
    }

    private static ByteBuffer direct(String text) {
        byte[] bytes = text.getBytes(UTF_8);
        return ByteBuffer.allocateDirect(bytes.length).put(bytes).flip();
    }

    @Test
    void openat2_linksOutOfTheRoot_stayInside() throws Exception {
        Files.createDirectories(dir.resolve("etc"));
        Files.writeString(dir.resolve("etc/passwd"), "inside");
        Fs.symlinkat("/etc/passwd", root.fd(), "absolute");
        Fs.symlinkat("../../../../etc/passwd", root.fd(), "relative");
        for (String link : List.of("absolute", "relative", "/etc/passwd", "etc/../../etc/passwd")) {
            int fd = Fs.openat2(root.fd(), link, Fs.O_RDONLY, 0, Fs.RESOLVE_IN_ROOT);
            ByteBuffer text = ByteBuffer.allocate(100);
            Fs.read(fd, text);
            Fs.close(fd);
            assertEquals("inside", new String(text.array(), 0, text.position(), UTF_8));
        }
        Fs.unlinkat(root.fd(), "absolute", 0);
        Fs.unlinkat(root.fd(), "relative", 0);
    }

    @Test
    void openat2_forbiddenResolution_saysWhich() throws Exception {
        Fs.symlinkat("/etc/passwd", root.fd(), "link");
        int fd = root.fd();
        assertErrno(
                ErrnoException.EXDEV,
                () -> Fs.openat2(fd, "link", Fs.O_RDONLY, 0, Fs.RESOLVE_BENEATH));
        assertErrno(
                ErrnoException.EXDEV,
                () -> Fs.openat2(fd, "..", Fs.O_RDONLY, 0, Fs.RESOLVE_BENEATH));
        assertErrno(
                ErrnoException.ELOOP,
                () -> Fs.openat2(fd, "link", Fs.O_RDONLY, 0, Fs.RESOLVE_NO_SYMLINKS));
        assertErrno(
                ErrnoException.ELOOP,
                () -> Fs.openat2(fd, "link", Fs.O_RDONLY | Fs.O_NOFOLLOW, 0, 0));
        assertErrno(
                ErrnoException.ELOOP,
                () ->
                        Fs.openat2(
                                Fs.AT_FDCWD,
                                Fs.descriptorPath(fd),
                                Fs.O_RDONLY,
                                0,
                                Fs.RESOLVE_NO_MAGICLINKS));
        assertErrno(
                ErrnoException.EXDEV,
                () -> Fs.openat2(Fs.AT_FDCWD, "/proc/self", Fs.O_PATH, 0, Fs.RESOLVE_NO_XDEV));
        Fs.unlinkat(fd, "link", 0);
    }

    @Test
    void openat_anyFlags_closesOnExec() throws Exception {
        for (int fd :
                new int[] {
                    create("a"), Fs.openat2(root.fd(), "a", Fs.O_PATH, 0, Fs.RESOLVE_BENEATH)
                }) {
            String info = Files.readString(Path.of("/proc/self/fdinfo/" + fd));
            Fs.close(fd);
            String flags =
                    info.lines().filter(l -> l.startsWith("flags:")).findFirst().orElseThrow();
            assertNotEquals(
                    0, Integer.parseInt(flags.substring(6).trim(), 8) & Fs.O_CLOEXEC, flags);
        }
    }

    @Test
    void openat_missingFile_namesCallPathAndNumber() {
        ErrnoException e =
                assertErrno(ErrnoException.ENOENT, () -> Fs.openat(root.fd(), "no\nfile", 0, 0));
        assertEquals("openat no\\x0afile: No such file or directory (errno 2)", e.getMessage());
        assertEquals("openat", e.call());
        assertEquals(ErrorKind.NOT_FOUND, e.kind());
    }

    @Test
    void openat_badPaths_areRefused() {
        int fd = root.fd();
        assertErrno(ErrnoException.EINVAL, () -> Fs.openat(fd, "a\0b", 0, 0));
        assertErrno(ErrnoException.EINVAL, () -> Fs.openat(fd, "a\ud800", 0, 0));
        assertErrno(ErrnoException.ENAMETOOLONG, () -> Fs.openat(fd, "a".repeat(256), 0, 0));
        assertErrno(ErrnoException.ENAMETOOLONG, () -> Fs.openat(fd, "./".repeat(2048), 0, 0));
        assertErrno(ErrnoException.ENAMETOOLONG, () -> Fs.openat(fd, "a".repeat(5000), 0, 0));
    }

    @Test
    void openat_longestPath_isAccepted() throws Exception {
        createEmpty("a");
        Fs.close(Fs.openat(root.fd(), "./".repeat(2047) + "a", Fs.O_RDONLY, 0));
    }

    @Test
    void close_badNumber_fails() {
        assertErrno(Errno.EBADF, () -> Fs.close(NO_FD));
    }

    @Test
    void readAndWrite_bothKindsOfBuffers_moveTheData() throws Exception {
        byte[] data = new byte[300_000];
        new Random(1).nextBytes(data);
        int fd = create("a");
        ByteBuffer heap = ByteBuffer.wrap(data, 0, 150_000).asReadOnlyBuffer();
        Fs.writeFully(fd, heap);
        ByteBuffer rest = ByteBuffer.allocateDirect(150_000).put(data, 150_000, 150_000).flip();
        assertEquals(150_000, Fs.write(fd, rest));
        assertEquals(0, heap.remaining() + rest.remaining());
        ByteBuffer direct = ByteBuffer.allocateDirect(400_000).position(7);
        assertEquals(300_000, Fs.pread(fd, direct, 0));
        byte[] got = new byte[300_000];
        direct.flip().position(7).get(got);
        assertArrayEquals(data, got);
        ByteBuffer again = ByteBuffer.allocate(300_000);
        while (again.hasRemaining()) {
            Fs.pread(fd, again, again.position());
        }
        assertArrayEquals(data, again.array());
        assertEquals(-1, Fs.read(fd, ByteBuffer.allocate(1)));
        assertEquals(-1, Fs.pread(fd, ByteBuffer.allocateDirect(1), 300_000));
        assertEquals(0, Fs.read(fd, ByteBuffer.allocate(0)));
        Fs.close(fd);
    }

    @Test
    void pwriteFully_offset_leavesThePositionAlone() throws Exception {
        int fd = create("a");
        Fs.pwriteFully(fd, direct("world"), 6);
        Fs.writeFully(fd, ByteBuffer.wrap("hello ".getBytes(UTF_8)));
        Fs.close(fd);
        assertEquals("hello world", Files.readString(dir.resolve("a")));
    }

    @Test
    void read_readOnlyBuffer_isRefused() throws Exception {
        int fd = create("a");
        ByteBuffer buffer = ByteBuffer.allocateDirect(1).asReadOnlyBuffer();
        assertThrows(ReadOnlyBufferException.class, () -> Fs.read(fd, buffer));
        Fs.close(fd);
    }

    @Test
    void write_fullDevice_isNoSpace() throws Exception {
        try (Fd full = Fd.open("/dev/full", Fs.O_WRONLY, 0)) {
            ErrnoException e =
                    assertErrno(
                            ErrnoException.ENOSPC, () -> Fs.write(full.fd(), direct("something")));
            assertEquals(ErrorKind.NO_SPACE, e.kind());
            assertTrue(e.getMessage().startsWith("write /dev/full: "), e.getMessage());
        }
    }

    @Test
    void write_readOnlyDescriptor_namesTheFile() throws Exception {
        createEmpty("a");
        int fd = Fs.openat(root.fd(), "a", Fs.O_RDONLY, 0);
        ErrnoException e = assertErrno(Errno.EBADF, () -> Fs.pwrite(fd, direct("x"), 0));
        assertTrue(e.getMessage().contains(dir.resolve("a").toString()), e.getMessage());
        Fs.close(fd);
    }

    @Test
    void mkdirat_twice_exists() throws Exception {
        Fs.mkdirat(root.fd(), "d", 0750);
        assertTrue(stat("d").isDirectory());
        ErrnoException e = assertErrno(ErrnoException.EEXIST, () -> Fs.mkdirat(root.fd(), "d", 0));
        assertEquals(ErrorKind.ALREADY_EXISTS, e.kind());
    }

    @Test
    void mknodat_devicesAndPipes_haveTypeAndNumbers() throws Exception {
        Fs.mknodat(root.fd(), "null", Fs.S_IFCHR | 0600, 1, 3);
        Fs.mknodat(root.fd(), "large", Fs.S_IFBLK | 0600, 4095, 1048575);
        Fs.mknodat(root.fd(), "pipe", Fs.S_IFIFO | 0600, 0, 0);
        Fs.mknodat(root.fd(), "whiteout", Fs.S_IFCHR, 0, 0);
        assertEquals(Fs.S_IFCHR, stat("null").type());
        assertEquals(1, stat("null").rdevMajor());
        assertEquals(3, stat("null").rdevMinor());
        assertEquals(Fs.S_IFBLK, stat("large").type());
        assertEquals(4095, stat("large").rdevMajor());
        assertEquals(1048575, stat("large").rdevMinor());
        assertEquals(Fs.S_IFIFO, stat("pipe").type());
        assertEquals(0, stat("whiteout").rdevMajor() + stat("whiteout").rdevMinor());
    }

    @Test
    void mknodat_impossibleNumbers_areRefused() {
        int fd = root.fd();
        assertErrno(ErrnoException.EINVAL, () -> Fs.mknodat(fd, "a", Fs.S_IFCHR, 4096, 0));
        assertErrno(ErrnoException.EINVAL, () -> Fs.mknodat(fd, "a", Fs.S_IFCHR, 0, 1048576));
        assertErrno(ErrnoException.EINVAL, () -> Fs.mknodat(fd, "a", Fs.S_IFCHR, -1, 0));
    }

    @Test
    void linkat_symbolicLink_linksTheLinkItself() throws Exception {
        createEmpty("a");
        Fs.symlinkat("a", root.fd(), "s");
        Fs.linkat(root.fd(), "s", root.fd(), "t", 0);
        assertTrue(stat("t").isSymbolicLink());
        assertTrue(stat("t").isSameFile(stat("s")));
        assertFalse(stat("t").isSameFile(stat("a")));
        assertEquals(2, stat("s").nlink());
        ErrnoException e =
                assertErrno(
                        ErrnoException.EEXIST, () -> Fs.linkat(root.fd(), "a", root.fd(), "t", 0));
        assertTrue(e.getMessage().startsWith("linkat a to t: "), e.getMessage());
    }

    @Test
    void readlinkat_everyTarget_isWhatWasWritten() throws Exception {
        List<String> targets =
                List.of("a", "/x y", "ü/€/😀", "raw \udcff\udc80", "l".repeat(4095), "\\:,");
        for (int i = 0; i < targets.size(); i++) {
            Fs.symlinkat(targets.get(i), root.fd(), "s" + i);
            assertEquals(targets.get(i), Fs.readlinkat(root.fd(), "s" + i));
            assertEquals(
                    FileNames.encode(targets.get(i)).length, stat("s" + i).size(), targets.get(i));
        }
        try (Fd link = Fd.of(Fs.openat(root.fd(), "s1", Fs.O_PATH | Fs.O_NOFOLLOW, 0))) {
            assertEquals("/x y", Fs.readlinkat(link.fd(), ""));
        }
        assertErrno(ErrnoException.EINVAL, () -> Fs.readlinkat(root.fd(), "."));
    }

    @Test
    void unlinkat_filesAndDirectories_needTheirFlags() throws Exception {
        createEmpty("a");
        Fs.mkdirat(root.fd(), "d", 0700);
        Fs.mkdirat(root.fd(), "d/e", 0700);
        int fd = root.fd();
        assertErrno(ErrnoException.EISDIR, () -> Fs.unlinkat(fd, "d", 0));
        assertErrno(ErrnoException.ENOTDIR, () -> Fs.unlinkat(fd, "a", Fs.AT_REMOVEDIR));
        assertErrno(ErrnoException.ENOTEMPTY, () -> Fs.unlinkat(fd, "d", Fs.AT_REMOVEDIR));
        Fs.unlinkat(fd, "d/e", Fs.AT_REMOVEDIR);
        Fs.unlinkat(fd, "d", Fs.AT_REMOVEDIR);
        Fs.unlinkat(fd, "a", 0);
        assertEquals(List.of(), Fs.list(fd));
    }

    @Test
    void renameat2_noReplaceAndExchange_doWhatTheySay() throws Exception {
        createEmpty("a");
        Fs.symlinkat("x", root.fd(), "b");
        ErrnoException e =
                assertErrno(
                        ErrnoException.EEXIST,
                        () -> Fs.renameat2(root.fd(), "a", root.fd(), "b", Fs.RENAME_NOREPLACE));
        assertTrue(e.getMessage().startsWith("renameat2 a to b: "), e.getMessage());
        Fs.renameat2(root.fd(), "a", root.fd(), "b", Fs.RENAME_EXCHANGE);
        assertTrue(stat("a").isSymbolicLink());
        assertTrue(stat("b").isRegularFile());
        Fs.renameat2(root.fd(), "a", root.fd(), "b", 0);
        assertTrue(stat("b").isSymbolicLink());
    }

    @Test
    void fchownat_largestIds_areKept() throws Exception {
        createEmpty("a");
        Fs.symlinkat("a", root.fd(), "s");
        Fs.fchownat(root.fd(), "a", 4294967294L, 3000000000L, 0);
        Fs.fchownat(root.fd(), "s", 5, 6, Fs.AT_SYMLINK_NOFOLLOW);
        Fs.fchownat(root.fd(), "s", -1, 7, Fs.AT_SYMLINK_NOFOLLOW);
        assertEquals(4294967294L, stat("a").uid());
        assertEquals(3000000000L, stat("a").gid());
        assertEquals(5, stat("s").uid());
        assertEquals(7, stat("s").gid());
        int fd = root.fd();
        assertErrno(ErrnoException.EINVAL, () -> Fs.fchownat(fd, "a", 4294967295L, 0, 0));
        assertErrno(ErrnoException.EINVAL, () -> Fs.fchownat(fd, "a", 0, -2, 0));
    }

    @Test
    void fchmodat_symbolicLink_leavesItsTargetAlone() throws Exception {
        createEmpty("a");
        Fs.symlinkat("a", root.fd(), "s");
        Fs.mknodat(root.fd(), "p", Fs.S_IFIFO | 0600, 0, 0);
        int before = stat("a").permissions();
        int fd = root.fd();
        assertErrno(ErrnoException.EOPNOTSUPP, () -> Fs.fchmodat(fd, "s", 0777));
        assertErrno(ErrnoException.EOPNOTSUPP, () -> Fs.fchmodatByDescriptor(fd, "s", 0777));
        assertEquals(before, stat("a").permissions());
        Fs.fchmodat(fd, "a", 06751);
        assertEquals(06751, stat("a").permissions());
        Fs.fchmodatByDescriptor(fd, "a", 01640);
        assertEquals(01640, stat("a").permissions());
        Fs.fchmodatByDescriptor(fd, "p", 0611);
        assertEquals(0611, stat("p").permissions());
        int open = Fs.openat(fd, "a", Fs.O_RDONLY, 0);
        Fs.fchmod(open, 0400);
        Fs.close(open);
        assertEquals(0400, stat("a").permissions());
    }

    @Test
    void utimensat_nanosecondsAndOmit_areKept() throws Exception {
        createEmpty("a");
        Fs.symlinkat("a", root.fd(), "s");
        Fs.utimensat(root.fd(), "a", 1, 2, 4_000_000_000L, 999_999_999, 0);
        Fs.utimensat(root.fd(), "s", -1, 3, -100, 4, Fs.AT_SYMLINK_NOFOLLOW);
        assertEquals(1, stat("a").atimeSeconds());
        assertEquals(2, stat("a").atimeNanos());
        assertEquals(4_000_000_000L, stat("a").mtimeSeconds());
        assertEquals(999_999_999, stat("a").mtimeNanos());
        assertEquals(-1, stat("s").atimeSeconds());
        assertEquals(-100, stat("s").mtimeSeconds());
        int fd = Fs.openat(root.fd(), "a", Fs.O_RDONLY, 0);
        Fs.futimens(fd, 0, Fs.UTIME_OMIT, 77, 0);
        assertEquals(1, stat("a").atimeSeconds());
        assertEquals(77, stat("a").mtimeSeconds());
        Fs.futimens(fd, 0, Fs.UTIME_NOW, 0, Fs.UTIME_OMIT);
        assertTrue(stat("a").atimeSeconds() > 1_700_000_000L);
        assertErrno(ErrnoException.EINVAL, () -> Fs.futimens(fd, 0, -1, 0, 0));
        Fs.close(fd);
    }

    @Test
    void statx_fileAndDescriptor_agreeWithTheJdk() throws Exception {
        Files.write(dir.resolve("a"), new byte[10_000]);
        Map<String, Object> jdk = Files.readAttributes(dir.resolve("a"), "unix:*");
        Stat stat = stat("a");
        assertEquals(jdk.get("mode"), stat.mode());
        assertEquals(jdk.get("size"), stat.size());
        assertEquals(jdk.get("ino"), stat.ino());
        assertEquals(jdk.get("nlink"), (int) stat.nlink());
        assertTrue(stat.blocks() >= 20 && stat.blocks() < 200, stat.toString());
        assertEquals(
                Files.getLastModifiedTime(dir.resolve("a")).toInstant().getEpochSecond(),
                stat.mtimeSeconds());
        try (Fd fd = Fd.of(Fs.openat(root.fd(), "a", Fs.O_PATH, 0))) {
            assertEquals(stat, Fs.statx(fd.fd(), "", Fs.AT_EMPTY_PATH, Fs.STATX_ALL));
        }
        assertErrno(ErrnoException.ENOENT, () -> stat("b"));
    }

    @Test
    void statx_mountId_isInTheMountTable() throws Exception {
        long id = stat(".").mountId();
        assertTrue(MountInfo.list().stream().anyMatch(mount -> mount.id() == id));
    }

    @Test
    void statfs_thisFileSystem_agreesWithTheJdk() throws Exception {
        StatFs byPath = Fs.statfs(dir.toString());
        StatFs byDescriptor = Fs.fstatfs(root.fd());
        assertEquals(byPath.type(), byDescriptor.type());
        assertEquals(Files.getFileStore(dir).getTotalSpace(), byPath.blocks() * byPath.blockSize());
        assertEquals(255, byPath.nameLength());
        assertTrue(byPath.bytesAvailable() > 0 && byPath.files() >= byPath.filesFree());
        assertEquals(StatFs.TMPFS_MAGIC, Fs.statfs("/dev/shm").type());
        assertErrno(ErrnoException.ENOENT, () -> Fs.statfs(dir + "/none"));
        assertErrno(Errno.EBADF, () -> Fs.fstatfs(NO_FD));
    }

    @Test
    void copyFileRange_offsetsAndPositions_copy() throws Exception {
        int from = create("a");
        int to = create("b");
        Fs.writeFully(from, direct("0123456789"));
        assertEquals(4, Fs.copyFileRange(from, 3, to, 1, 4));
        Fs.pwriteFully(to, direct("x"), 0);
        assertEquals("x3456", Files.readString(dir.resolve("b")));
        assertEquals(0, Fs.copyFileRange(from, -1, to, -1, 10));
        Fs.close(from);
        int again = Fs.openat(root.fd(), "a", Fs.O_RDONLY, 0);
        assertEquals(10, Fs.copyFileRange(again, -1, to, -1, 100));
        assertEquals("0123456789", Files.readString(dir.resolve("b")));
        assertErrno(Errno.EBADF, () -> Fs.copyFileRange(to, 0, again, 0, 1));
        Fs.close(again);
        Fs.close(to);
    }

    @Test
    void fallocateAndFtruncate_change_sizeAndBlocks() throws Exception {
        int fd = create("a");
        Fs.fallocate(fd, Fs.FALLOC_FL_KEEP_SIZE, 0, 1 << 20);
        assertEquals(0, stat("a").size());
        assertTrue(stat("a").blocks() >= 2048);
        Fs.fallocate(fd, 0, 0, 1 << 20);
        assertEquals(1 << 20, stat("a").size());
        Fs.fallocate(fd, Fs.FALLOC_FL_PUNCH_HOLE | Fs.FALLOC_FL_KEEP_SIZE, 0, 1 << 20);
        assertTrue(stat("a").blocks() < 64);
        Fs.ftruncate(fd, 5_000_000_000L);
        assertEquals(5_000_000_000L, stat("a").size());
        assertErrno(ErrnoException.EINVAL, () -> Fs.fallocate(fd, 0, -1, 1));
        assertErrno(ErrnoException.EINVAL, () -> Fs.ftruncate(fd, -1));
        Fs.close(fd);
    }

    @Test
    void syncCalls_openFile_succeedAndBadNumber_fails() throws Exception {
        int fd = create("a");
        Fs.writeFully(fd, direct("x"));
        Fs.syncFileRange(fd, 0, 0, Fs.SYNC_FILE_RANGE_WRITE | Fs.SYNC_FILE_RANGE_WAIT_AFTER);
        Fs.fdatasync(fd);
        Fs.fsync(fd);
        Fs.fsync(root.fd());
        Fs.syncfs(root.fd());
        Fs.close(fd);
        assertErrno(Errno.EBADF, () -> Fs.syncFileRange(NO_FD, 0, 0, 0));
        assertErrno(Errno.EBADF, () -> Fs.fdatasync(NO_FD));
        assertErrno(Errno.EBADF, () -> Fs.fsync(NO_FD));
        assertErrno(Errno.EBADF, () -> Fs.syncfs(NO_FD));
    }

    @Test
    void flock_heldByAnother_isNotGiven() throws Exception {
        createEmpty("a");
        try (Fd one = Fd.of(Fs.openat(root.fd(), "a", Fs.O_RDONLY, 0));
                Fd two = Fd.of(Fs.openat(root.fd(), "a", Fs.O_RDONLY, 0))) {
            Fs.flock(one.fd(), Fs.LOCK_EX);
            assertFalse(Fs.tryFlock(two.fd(), Fs.LOCK_SH));
            Fs.flock(one.fd(), Fs.LOCK_UN);
            assertTrue(Fs.tryFlock(two.fd(), Fs.LOCK_SH));
            assertTrue(Fs.tryFlock(one.fd(), Fs.LOCK_SH));
            assertFalse(Fs.tryFlock(one.fd(), Fs.LOCK_EX));
        }
        assertErrno(Errno.EBADF, () -> Fs.flock(NO_FD, Fs.LOCK_EX));
    }

    @Test
    void umask_set_masksNewFiles() throws Exception {
        int before = Fs.umask(027);
        try {
            Fs.mkdirat(root.fd(), "d", 0777);
            assertEquals(0750, stat("d").permissions());
        } finally {
            assertEquals(027, Fs.umask(before));
        }
    }

    @Test
    void list_manyNamesOfAllTypes_givesEachOnce() throws Exception {
        Map<String, Integer> wanted = new HashMap<>();
        for (int i = 0; i < 2000; i++) {
            String name = "file-with-a-long-name-so-that-one-buffer-is-too-small-" + i;
            createEmpty(name);
            wanted.put(name, DirectoryEntry.DT_REG);
        }
        Fs.mkdirat(root.fd(), "d", 0700);
        wanted.put("d", DirectoryEntry.DT_DIR);
        Fs.symlinkat("x", root.fd(), "...");
        wanted.put("...", DirectoryEntry.DT_LNK);
        Fs.mknodat(root.fd(), "p", Fs.S_IFIFO, 0, 0);
        wanted.put("p", DirectoryEntry.DT_FIFO);
        for (String name : List.of("\udcff\udcfe raw", "ü€😀", "n".repeat(255), "new\nline")) {
            createEmpty(name);
            wanted.put(name, DirectoryEntry.DT_REG);
        }
        for (int round = 0; round < 2; round++) {
            List<DirectoryEntry> entries = Fs.list(root.fd());
            Map<String, Integer> got = new HashMap<>();
            entries.forEach(entry -> got.put(entry.name(), entry.type()));
            assertEquals(wanted, got);
            assertEquals(wanted.size(), entries.size());
        }
        assertEquals(stat("d").ino(), inode(Fs.list(root.fd()), "d"));
        assertErrno(Errno.EBADF, () -> Fs.list(NO_FD));
    }

    @Test
    void nextEntries_largeDirectory_givesEachNameOnceInSeveralParts() throws ErrnoException {
        String name = "n".repeat(200);
        Set<String> wanted = new HashSet<>();
        for (int i = 0; i < 2000; i++) {
            Fs.mkdirat(root.fd(), name + i, 0755);
            wanted.add(name + i);
        }
        Set<String> got = new HashSet<>();
        int parts = 0;
        List<DirectoryEntry> part = Fs.nextEntries(root.fd());
        while (!part.isEmpty()) {
            parts++;
            for (DirectoryEntry entry : part) {
                assertTrue(got.add(entry.name()), entry.name());
            }
            part = Fs.nextEntries(root.fd());
        }
        assertEquals(wanted, got);
        assertTrue(parts > 1, "parts: " + parts);
        assertEquals(2000, Fs.list(root.fd()).size());
    }

    private static long inode(List<DirectoryEntry> entries, String name) {
        return entries.stream().filter(e -> e.name().equals(name)).findFirst().orElseThrow().ino();
    }

    @Test
    void allCalls_manyVirtualThreads_doNotMixTheirArguments() throws Exception {
        try (var threads = Executors.newVirtualThreadPerTaskExecutor()) {
            List<Future<String>> results = new ArrayList<>();
            for (int i = 0; i < 300; i++) {
                String name = "file-" + i;
                results.add(threads.submit(() -> writeAndReadBack(name)));
            }
            for (int i = 0; i < results.size(); i++) {
                assertEquals("file-" + i, results.get(i).get());
            }
        }
    }

    private String writeAndReadBack(String name) throws ErrnoException {
        int fd = create(name);
        Fs.writeFully(fd, ByteBuffer.wrap(name.getBytes(UTF_8)));
        Fs.fchownat(root.fd(), name, name.length(), 1, 0);
        ByteBuffer got = ByteBuffer.allocate(100);
        Fs.pread(fd, got, 0);
        Fs.close(fd);
        assertEquals(name.length(), stat(name).uid());
        return new String(got.array(), 0, got.position(), UTF_8);
    }

    @Test
    void createdFile_modeWithoutUmask_isSeenByTheJdk() throws IOException {
        int before = Fs.umask(0);
        try {
            Fs.close(Fs.openat2(root.fd(), "a", Fs.O_CREAT | Fs.O_WRONLY, 0754, 0));
        } finally {
            Fs.umask(before);
        }
        assertEquals(
                PosixFilePermissions.fromString("rwxr-xr--"),
                Files.getPosixFilePermissions(dir.resolve("a")));
    }
}
