package dev.imgd.layers;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.github.luben.zstd.Zstd;
import dev.imgd.linux.Fs;
import dev.imgd.linux.Xattrs;
import dev.imgd.model.Limits;
import dev.imgd.testkit.Required;
import java.io.File;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// Trees that GNU tar packs must come out as GNU tar unpacks them.
class TarDifferentialTest {
    @TempDir Path temp;
    private Path source;

    @BeforeEach
    void makeSource() throws Exception {
        Required.tool("tar");
        source = Files.createDirectory(temp.resolve("source"));
    }

    @AfterEach
    void deleteAll() throws IOException {
        Tree.delete(temp.resolve("ours"));
        Tree.delete(temp.resolve("theirs"));
        Tree.delete(source);
    }

    private static int run(Path directory, String... command) throws Exception {
        Process process =
                new ProcessBuilder(command)
                        .directory(directory.toFile())
                        .redirectErrorStream(true)
                        .redirectOutput(new File("/dev/null"))
                        .start();
        return process.waitFor();
    }

    private String path(String name) {
        return source.resolve(name).toString();
    }

    /// Every kind of file, in the ranges that every format can hold.
    private void fillCommon() throws IOException {
        Random random = new Random(1);
        int number = 0;
        for (String directory : List.of("bin", "usr", "usr/lib", "usr/lib/deep", "var", "home/x")) {
            Files.createDirectories(source.resolve(directory));
            for (int size : new int[] {0, 1, 511, 512, 513, 4096, 70_000, 300_000}) {
                byte[] content = new byte[size];
                random.nextBytes(content);
                String name = directory + "/f" + number++;
                Files.write(source.resolve(name), content);
                Fs.fchownat(Fs.AT_FDCWD, path(name), random.nextInt(3000), random.nextInt(3000), 0);
                Fs.fchmodat(Fs.AT_FDCWD, path(name), random.nextInt(010000));
            }
            Fs.symlinkat("../f" + number, Fs.AT_FDCWD, path(directory + "/link"));
            Fs.fchownat(Fs.AT_FDCWD, path(directory + "/link"), 7, 8, Fs.AT_SYMLINK_NOFOLLOW);
            Fs.fchmodat(Fs.AT_FDCWD, path(directory), 0700 | random.nextInt(010000));
        }
        Fs.linkat(Fs.AT_FDCWD, path("bin/f0"), Fs.AT_FDCWD, path("usr/lib/hard0"), 0);
        Fs.linkat(Fs.AT_FDCWD, path("usr/lib/f17"), Fs.AT_FDCWD, path("a-hard-link"), 0);
        Fs.linkat(Fs.AT_FDCWD, path("bin/link"), Fs.AT_FDCWD, path("var/hard-to-symlink"), 0);
        Fs.mknodat(Fs.AT_FDCWD, path("null"), Fs.S_IFCHR | 0666, 1, 3);
        Fs.mknodat(Fs.AT_FDCWD, path("disk"), Fs.S_IFBLK | 0660, 259, 70_000);
        Fs.mknodat(Fs.AT_FDCWD, path("pipe"), Fs.S_IFIFO | 0622, 0, 0);
        Files.writeString(source.resolve("caf\u00e9 \u65e5\u672c"), "unicode");
        for (String name : List.of("bin/f1", "usr/lib", "usr/lib/deep", "bin/link", "pipe")) {
            Fs.utimensat(
                    Fs.AT_FDCWD,
                    path(name),
                    1_234_567_890,
                    0,
                    1_111_111_111,
                    0,
                    Fs.AT_SYMLINK_NOFOLLOW);
        }
    }

    /// What needs the extensions of PAX.
    private void fillExtended() throws IOException {
        String deep = "d".repeat(200) + "/" + "e".repeat(200);
        Files.createDirectories(source.resolve(deep));
        Files.writeString(source.resolve(deep + "/" + "f".repeat(250)), "deep");
        Fs.symlinkat("t".repeat(1000), Fs.AT_FDCWD, path("long-link"));
        Files.writeString(source.resolve("large-ids"), "x");
        Fs.fchownat(Fs.AT_FDCWD, path("large-ids"), 3_000_000_000L, 2_500_000_000L, 0);
        Xattrs.lsetxattr(path("large-ids"), "user.comment", "a value\n".getBytes(UTF_8), 0);
        Xattrs.lsetxattr(path("usr"), "user.dir", new byte[] {0, 1, 2, -1}, 0);
        byte[] capability = new byte[20];
        capability[0] = 1;
        capability[3] = 2;
        capability[5] = 4;
        Xattrs.lsetxattr(path("bin/f3"), "security.capability", capability, 0);
        Fs.utimensat(Fs.AT_FDCWD, path("bin/f2"), 5, 6, 1_700_000_000, 123_456_789, 0);
    }

    private void sparseFile(String name, long size, long... offsets) throws IOException {
        try (RandomAccessFile file = new RandomAccessFile(path(name), "rw")) {
            file.setLength(size);
            for (long offset : offsets) {
                file.seek(offset);
                file.write(new byte[5000]);
                file.seek(offset);
                file.write(("data at " + offset).getBytes(UTF_8));
            }
        }
    }

    private void assertSame(String what, List<String> pack) throws Exception {
        Path archive = temp.resolve(what + ".tar");
        List<String> command = new ArrayList<>(List.of("tar", "-C", source.toString()));
        command.addAll(pack);
        command.addAll(List.of("-cf", archive.toString(), "."));
        assertEquals(0, run(temp, command.toArray(String[]::new)), what + ": tar -c");
        Path theirs = Files.createDirectory(temp.resolve("theirs"));
        Path ours = Files.createDirectory(temp.resolve("ours"));
        assertEquals(
                0,
                run(
                        temp,
                        "tar",
                        "-xpf",
                        archive.toString(),
                        "-C",
                        theirs.toString(),
                        "--same-owner",
                        "--numeric-owner",
                        "--xattrs",
                        "--xattrs-include=*"),
                what + ": tar -x");
        for (String blob : List.of("", ".gz", ".zst")) {
            Path file = Path.of(archive + blob);
            if (blob.equals(".gz")) {
                assertEquals(0, run(temp, "gzip", "-1k", archive.toString()));
            } else if (blob.equals(".zst")) {
                Files.write(file, Zstd.compress(Files.readAllBytes(archive)));
            }
            try (FileChannel channel = FileChannel.open(file)) {
                new LayerApplier(Limits.defaults()).apply(what, channel, ours, null);
            }
            Map<String, String> wanted = Tree.list(theirs);
            Map<String, String> got = Tree.list(ours);
            assertEquals(wanted.keySet(), got.keySet(), what + blob);
            for (String name : wanted.keySet()) {
                assertEquals(wanted.get(name), got.get(name), what + blob + ": " + name);
            }
            assertTrue(wanted.size() > 5, what);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"ustar", "gnu", "posix", "oldgnu"})
    void apply_treePackedByGnuTar_equalsItsOwnUnpacking(String format) throws Exception {
        fillCommon();
        assertSame(format, List.of("--format=" + format));
    }

    @Test
    void apply_v7Archive_equalsItsOwnUnpacking() throws Exception {
        fillCommon();
        for (String name : List.of("null", "disk", "pipe")) {
            Files.delete(source.resolve(name));
        }
        assertSame("v7", List.of("--format=v7"));
    }

    @Test
    void apply_extendedMetadataInPax_equalsItsOwnUnpacking() throws Exception {
        fillCommon();
        fillExtended();
        assertSame("pax", List.of("--format=posix", "--xattrs", "--xattrs-include=*"));
    }

    @Test
    void apply_longNamesInGnuFormat_equalsItsOwnUnpacking() throws Exception {
        fillCommon();
        fillExtended();
        assertSame("gnu", List.of("--format=gnu"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"gnu", "0.0", "0.1", "1.0"})
    void apply_sparseFiles_equalTheirOwnUnpacking(String form) throws Exception {
        Files.createDirectories(source.resolve("d"));
        sparseFile("d/one", 1 << 20, 65_536);
        sparseFile("d/hole", 1 << 20);
        sparseFile("d/" + "n".repeat(120), 10_000_000, 0, 1 << 20, 3 << 20, 9_990_000);
        long[] many = new long[100];
        for (int i = 0; i < many.length; i++) {
            many[i] = i * 65_536L;
        }
        sparseFile("many", 100 * 65_536L, many);
        Files.writeString(source.resolve("plain"), "plain");
        assertSame(
                "sparse-" + form,
                form.equals("gnu")
                        ? List.of("--format=gnu", "-S")
                        : List.of("--format=posix", "-S", "--sparse-version=" + form));
        assertTrue(
                Fs.statx(Fs.AT_FDCWD, temp.resolve("ours/d/one").toString(), 0, Fs.STATX_ALL)
                                .blocks()
                        < 100,
                "holes stay holes");
    }
}
