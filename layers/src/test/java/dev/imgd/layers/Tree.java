package dev.imgd.layers;

import dev.imgd.linux.DirectoryEntry;
import dev.imgd.linux.Fd;
import dev.imgd.linux.Fs;
import dev.imgd.linux.Stat;
import dev.imgd.linux.Xattrs;
import dev.imgd.model.Digest;
import java.io.IOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import java.util.TreeMap;

/// What a directory tree looks like, for comparison: one line per file with all that tar can store.
final class Tree {
    private final Map<String, String> lines = new TreeMap<>();
    private final Map<Long, String> firstNames = new HashMap<>();
    private final boolean withTimes;

    private Tree(boolean withTimes) {
        this.withTimes = withTimes;
    }

    /// Lists everything below a directory, by path.
    static Map<String, String> list(Path root) throws IOException {
        return list(root, true);
    }

    /// Lists everything below a directory without modification times.
    static Map<String, String> listTimeless(Path root) throws IOException {
        return list(root, false);
    }

    private static Map<String, String> list(Path root, boolean withTimes) throws IOException {
        Tree tree = new Tree(withTimes);
        try (Fd fd = Fd.open(root.toString(), Fs.O_RDONLY | Fs.O_DIRECTORY, 0)) {
            tree.add(fd.fd(), "");
        }
        return tree.lines;
    }

    /// Deletes a tree if it exists. JUnit does it too, but warns of every link that points outside.
    static void delete(Path root) throws IOException {
        if (!Files.exists(root, LinkOption.NOFOLLOW_LINKS)) {
            return;
        }
        Files.walkFileTree(
                root,
                new SimpleFileVisitor<>() {
                    @Override
                    public FileVisitResult visitFile(Path file, BasicFileAttributes attributes)
                            throws IOException {
                        Files.delete(file);
                        return FileVisitResult.CONTINUE;
                    }

                    @Override
                    public FileVisitResult postVisitDirectory(Path dir, IOException error)
                            throws IOException {
                        Files.delete(dir);
                        return FileVisitResult.CONTINUE;
                    }
                });
    }

    private void add(int fd, String prefix) throws IOException {
        // Sorted, so that the first name of a file with several is the same in every tree.
        Map<String, DirectoryEntry> sorted = new TreeMap<>();
        for (DirectoryEntry entry : Fs.list(fd)) {
            sorted.put(entry.name(), entry);
        }
        for (String name : sorted.keySet()) {
            Stat stat = Fs.statx(fd, name, Fs.AT_SYMLINK_NOFOLLOW, Fs.STATX_ALL);
            String path = prefix + name;
            lines.put(path, describe(fd, name, path, stat));
            if (stat.isDirectory()) {
                int inner = Fs.openat(fd, name, Fs.O_DIRECTORY | Fs.O_NOFOLLOW, 0);
                try {
                    add(inner, path + '/');
                } finally {
                    Fs.close(inner);
                }
            }
        }
    }

    private String describe(int fd, String name, String path, Stat stat) throws IOException {
        StringBuilder out = new StringBuilder();
        out.append("%06o %d:%d".formatted(stat.mode(), stat.uid(), stat.gid()));
        if (withTimes) {
            out.append(" %d.%09d".formatted(stat.mtimeSeconds(), stat.mtimeNanos()));
        }
        if (stat.isRegularFile()) {
            out.append(' ').append(stat.size()).append(' ').append(digest(fd, name));
        }
        if (stat.isSymbolicLink()) {
            out.append(" -> ").append(Fs.readlinkat(fd, name));
        }
        if (stat.type() == Fs.S_IFCHR || stat.type() == Fs.S_IFBLK) {
            out.append(" dev ").append(stat.rdevMajor()).append(':').append(stat.rdevMinor());
        }
        if (!stat.isDirectory() && stat.nlink() > 1) {
            String first = firstNames.putIfAbsent(stat.ino(), path);
            out.append(" = ").append(first == null ? path : first);
        }
        for (String xattr : Xattrs.listxattrat(fd, name).stream().sorted().toList()) {
            byte[] value = Xattrs.getxattrat(fd, name, xattr);
            out.append(' ').append(xattr).append('=').append(HexFormat.of().formatHex(value));
        }
        return out.toString();
    }

    private static String digest(int fd, String name) throws IOException {
        int file = Fs.openat(fd, name, Fs.O_RDONLY | Fs.O_NOFOLLOW, 0);
        try {
            return Digest.sha256(Files.readAllBytes(Path.of(Fs.descriptorPath(file)))).shortHex();
        } finally {
            Fs.close(file);
        }
    }
}
