package dev.imgd.linux;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrnoException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

class XattrsTest {
    private static final byte[] VALUE = "value\0with NUL".getBytes(UTF_8);

    @TempDir Path dir;
    private Fd root;

    @BeforeEach
    void open() throws ErrnoException {
        root = Fd.open(dir.toString(), Fs.O_RDONLY | Fs.O_DIRECTORY, 0);
        Fs.close(Fs.openat(root.fd(), "a", Fs.O_CREAT | Fs.O_WRONLY, 0644));
        Fs.symlinkat("a", root.fd(), "s");
        Fs.mknodat(root.fd(), "p", Fs.S_IFIFO, 0, 0);
    }

    @AfterEach
    void close() throws ErrnoException {
        root.close();
    }

    private static void assertErrno(int errno, Executable call) {
        ErrnoException e = assertThrows(ErrnoException.class, call);
        assertEquals(errno, e.errno(), e.getMessage());
    }

    @Test
    void byPath_setGetListRemove_workOnTheFile() throws Exception {
        String path = dir.resolve("a").toString();
        Xattrs.lsetxattr(path, "user.one", VALUE, 0);
        Xattrs.lsetxattr(path, "user.empty", new byte[0], Xattrs.XATTR_CREATE);
        Xattrs.lsetxattr(path, "user.ü", VALUE, 0);
        assertArrayEquals(VALUE, Xattrs.lgetxattr(path, "user.one"));
        assertArrayEquals(new byte[0], Xattrs.lgetxattr(path, "user.empty"));
        assertNull(Xattrs.lgetxattr(path, "user.none"));
        assertEquals(
                List.of("user.empty", "user.one", "user.ü"),
                Xattrs.llistxattr(path).stream().sorted().toList());
        Xattrs.lremovexattr(path, "user.one");
        Xattrs.lremovexattr(path, "user.ü");
        assertEquals(List.of("user.empty"), Xattrs.llistxattr(path));
        assertErrno(ErrnoException.ENODATA, () -> Xattrs.lremovexattr(path, "user.one"));
        assertErrno(
                ErrnoException.EEXIST,
                () -> Xattrs.lsetxattr(path, "user.empty", VALUE, Xattrs.XATTR_CREATE));
        assertErrno(
                ErrnoException.ENODATA,
                () -> Xattrs.lsetxattr(path, "user.none", VALUE, Xattrs.XATTR_REPLACE));
    }

    @Test
    void byPath_symbolicLink_isNotFollowed() throws Exception {
        String link = dir.resolve("s").toString();
        Xattrs.lsetxattr(link, "trusted.x", VALUE, 0);
        assertArrayEquals(VALUE, Xattrs.lgetxattr(link, "trusted.x"));
        assertEquals(List.of("trusted.x"), Xattrs.llistxattr(link));
        assertNull(Xattrs.lgetxattr(dir.resolve("a").toString(), "trusted.x"));
        assertErrno(ErrnoException.EPERM, () -> Xattrs.lsetxattr(link, "user.x", VALUE, 0));
    }

    @Test
    void byDescriptor_setGetListRemove_workOnTheFile() throws Exception {
        int fd = Fs.openat(root.fd(), "a", Fs.O_RDONLY, 0);
        Xattrs.fsetxattr(fd, "user.one", VALUE, 0);
        assertArrayEquals(VALUE, Xattrs.fgetxattr(fd, "user.one"));
        assertNull(Xattrs.fgetxattr(fd, "user.none"));
        assertEquals(List.of("user.one"), Xattrs.flistxattr(fd));
        Xattrs.fremovexattr(fd, "user.one");
        assertEquals(List.of(), Xattrs.flistxattr(fd));
        ErrnoException e =
                assertThrows(ErrnoException.class, () -> Xattrs.fremovexattr(fd, "user.one"));
        assertEquals(
                "fremovexattr user.one of " + dir.resolve("a") + ": No data available (errno 61)",
                e.getMessage());
        Fs.close(fd);
    }

    @Test
    void byName_everyType_isNotFollowed() throws Exception {
        for (String name : List.of("a", "s", "p")) {
            Xattrs.setxattrat(root.fd(), name, "trusted.x", name.getBytes(UTF_8), 0);
        }
        for (String name : List.of("a", "s", "p")) {
            assertArrayEquals(
                    name.getBytes(UTF_8), Xattrs.getxattrat(root.fd(), name, "trusted.x"));
            assertEquals(List.of("trusted.x"), Xattrs.listxattrat(root.fd(), name));
            Xattrs.removexattrat(root.fd(), name, "trusted.x");
            assertNull(Xattrs.getxattrat(root.fd(), name, "trusted.x"));
        }
    }

    @Test
    void byPathDescriptor_everyType_isWhatItRefersTo() throws Exception {
        for (String name : List.of("a", "s", "p", ".")) {
            try (Fd fd = Fd.of(Fs.openat(root.fd(), name, Fs.O_PATH | Fs.O_NOFOLLOW, 0))) {
                Xattrs.setxattrat(fd.fd(), "", "trusted.y", name.getBytes(UTF_8), 0);
                assertArrayEquals(
                        name.getBytes(UTF_8), Xattrs.getxattrat(fd.fd(), "", "trusted.y"));
                assertEquals(List.of("trusted.y"), Xattrs.listxattrat(fd.fd(), ""));
            }
        }
        assertArrayEquals(
                "s".getBytes(UTF_8), Xattrs.lgetxattr(dir.resolve("s").toString(), "trusted.y"));
        try (Fd fd = Fd.of(Fs.openat(root.fd(), "s", Fs.O_PATH | Fs.O_NOFOLLOW, 0))) {
            Xattrs.removexattrat(fd.fd(), "", "trusted.y");
        }
        assertNull(Xattrs.lgetxattr(dir.resolve("s").toString(), "trusted.y"));
        assertArrayEquals(
                "a".getBytes(UTF_8), Xattrs.lgetxattr(dir.resolve("a").toString(), "trusted.y"));
    }

    @Test
    void byName_pathsAndDots_areRefused() {
        for (String name : List.of("a/b", "/etc/passwd", "..")) {
            assertThrows(
                    IllegalArgumentException.class,
                    () -> Xattrs.setxattrat(root.fd(), name, "user.x", VALUE, 0));
        }
    }

    @Test
    void set_valueBeyondTheKernelsLimit_isTooBig() throws Exception {
        int fd = Fs.openat(root.fd(), "a", Fs.O_RDONLY, 0);
        assertErrno(Errno.E2BIG, () -> Xattrs.fsetxattr(fd, "user.x", new byte[65_537], 0));
        byte[] large = new byte[2000];
        Xattrs.fsetxattr(fd, "user.x", large, 0);
        assertArrayEquals(large, Xattrs.fgetxattr(fd, "user.x"));
        Fs.close(fd);
    }

    @Test
    void set_unknownNamespace_isNotSupported() {
        ErrnoException e =
                assertThrows(
                        ErrnoException.class,
                        () -> Xattrs.setxattrat(root.fd(), "a", "foo.bar", VALUE, 0));
        assertEquals(ErrnoException.EOPNOTSUPP, e.errno());
        assertTrue(e.getMessage().startsWith("setxattr foo.bar of a: "), e.getMessage());
    }
}
