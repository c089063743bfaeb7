package dev.imgd.snapshot.overlay;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.linux.Fd;
import dev.imgd.linux.Fs;
import dev.imgd.linux.Mounts;
import dev.imgd.model.ErrnoException;
import dev.imgd.model.ImageException;
import dev.imgd.snapshot.Usage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Measuring and deleting trees as containers leave them.
class TreesTest {
    @TempDir Path dir;
    private Path trash;

    @BeforeEach
    void makeTrash() throws IOException {
        trash = Files.createDirectory(dir.resolve("trash"));
    }

    private static Fd open(Path path) throws ErrnoException {
        return Fd.open(path.toString(), Fs.O_RDONLY | Fs.O_DIRECTORY, 0);
    }

    private List<ImageException> empty() throws ErrnoException {
        try (Fd fd = open(trash)) {
            return new TreeRemoval(fd.fd()).run();
        }
    }

    private static Usage usage(Path path) throws ErrnoException {
        return DiskUsage.of(open(path));
    }

    /// A chain of directories far longer than a path may be.
    private static void deep(Path root, int depth) throws ErrnoException {
        int at = Fs.openat(Fs.AT_FDCWD, root.toString(), Fs.O_RDONLY | Fs.O_DIRECTORY, 0);
        for (int i = 0; i < depth; i++) {
            Fs.mkdirat(at, "directory", 0755);
            Fs.close(Fs.openat(at, "file", Fs.O_CREAT | Fs.O_WRONLY, 0600));
            int next = Fs.openat(at, "directory", Fs.O_RDONLY | Fs.O_DIRECTORY, 0);
            Fs.close(at);
            at = next;
        }
        Fs.close(at);
    }

    @Test
    void usage_everyType_isCountedOnce() throws IOException {
        Path tree = Files.createDirectory(dir.resolve("tree"));
        Path file = Files.write(tree.resolve("file"), new byte[10_000]);
        Files.createLink(tree.resolve("link"), file);
        Files.createSymbolicLink(tree.resolve("symlink"), Path.of("nowhere"));
        Files.createDirectories(tree.resolve("a/b/c"));
        Files.createLink(tree.resolve("a/b/link"), file);
        try (Fd fd = open(tree)) {
            Fs.mknodat(fd.fd(), "whiteout", Fs.S_IFCHR, 0, 0);
        }
        // The tree, three directories, the file, the symbolic link, the device.
        assertEquals(7, usage(tree).inodes());
        long blocks = 0;
        try (var files = Files.walk(tree)) {
            for (Path path : (Iterable<Path>) files::iterator) {
                if (!path.endsWith("link")) {
                    blocks +=
                            Fs.statx(
                                            Fs.AT_FDCWD,
                                            path.toString(),
                                            Fs.AT_SYMLINK_NOFOLLOW,
                                            Fs.STATX_ALL)
                                    .blocks();
                }
            }
        }
        assertEquals(blocks * 512, usage(tree).sizeBytes());
    }

    @Test
    void usage_veryDeepTree_needsFewDescriptors() throws IOException {
        Path tree = Files.createDirectory(trash.resolve("tree"));
        deep(tree, 1_500);
        assertEquals(3_001, usage(tree).inodes());
        assertEquals(List.of(), empty());
        assertFalse(Files.exists(tree));
    }

    @Test
    void usage_wideDirectory_isCounted() throws IOException {
        Path tree = Files.createDirectory(trash.resolve("tree"));
        try (Fd fd = open(tree)) {
            for (int i = 0; i < 3_000; i++) {
                Fs.mkdirat(fd.fd(), "a-rather-long-name-of-a-directory-" + i, 0755);
            }
        }
        assertEquals(3_001, usage(tree).inodes());
        assertEquals(List.of(), empty());
        assertFalse(Files.exists(tree));
    }

    @Test
    void removal_linksOutOfTheTree_areNotFollowed() throws IOException {
        Path outside = Files.createDirectories(dir.resolve("outside/sub"));
        Files.writeString(outside.resolve("f"), "f");
        Path tree = Files.createDirectories(trash.resolve("tree/a"));
        Files.createSymbolicLink(tree.resolve("dir"), outside);
        Files.createLink(tree.resolve("hard"), outside.resolve("f"));
        Files.createSymbolicLink(trash.resolve("top"), outside);
        assertEquals(List.of(), empty());
        assertEquals(0, names(trash));
        assertEquals("f", Files.readString(outside.resolve("f")));
    }

    @Test
    void removal_otherMount_isNotEntered() throws IOException {
        Path outside = Files.createDirectories(dir.resolve("outside"));
        Files.writeString(outside.resolve("f"), "f");
        Path point = Files.createDirectories(trash.resolve("tree/mounted"));
        Files.writeString(trash.resolve("other"), "goes");
        Mounts.bind(outside.toString(), point.toString(), false, false);
        try {
            List<ImageException> failures = empty();
            assertEquals(1, failures.size(), failures.toString());
            assertEquals("f", Files.readString(outside.resolve("f")));
            assertFalse(Files.exists(trash.resolve("other")), "one failure stops nothing else");
        } finally {
            Mounts.umount2(point.toString(), 0);
        }
        assertEquals(List.of(), empty());
        assertEquals(0, names(trash));
        assertTrue(Files.exists(outside.resolve("f")));
    }

    private static long names(Path directory) throws IOException {
        try (var files = Files.list(directory)) {
            return files.count();
        }
    }
}
