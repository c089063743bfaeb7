package dev.imgd.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.github.luben.zstd.Zstd;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.EnumSet;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Seeded mutations of archives that use everything: whatever comes in, only an [ImageException]
/// may come out, and nothing but the root may change.
class LayerFuzzTest {
    private static final int ROUNDS = 800;

    private static final Set<ErrorKind> EXPECTED =
            EnumSet.of(ErrorKind.INVALID_CONTENT, ErrorKind.LIMIT_EXCEEDED);

    private static final String[] NAMES = {
        "a",
        "a/b",
        "a/b/c",
        "l",
        "l/x",
        "../up",
        "/abs/x",
        ".wh.a",
        "a/.wh.b",
        "a/.wh..wh..opq",
        ".",
        "..",
        "l/../x",
        "m",
        "m/n",
        ".wh.m",
        "a/",
        "x//y",
        ".wh.",
        "a/.wh..wh.plnk/1"
    };

    private static final String[] TARGETS = {
        "a", "/", "..", "../../..", "/a/b", "l", "m", "a/b/c", "./x", "", "/etc/passwd"
    };

    @TempDir Path temp;

    @AfterEach
    void deleteRoot() throws IOException {
        Tree.delete(temp.resolve("outside"));
    }

    private static byte[] seedArchive() {
        return new TarBuilder()
                .directory("a", 02755)
                .pax(
                        "SCHILY.xattr.user.k", "v",
                        "mtime", "1700000000.5",
                        "LIBARCHIVE.xattr.user.e", "AAEC",
                        "path", "a/pax")
                .file("short", "content of a file")
                .longName('L', "a/" + "n".repeat(120))
                .file("short", "x".repeat(700))
                .longName('K', "a/pax")
                .link("short", "hard")
                .symlink("a/../../..", "l")
                .file("l/through", "y")
                .entry(h -> h.name("dev").type('3').device(1, 3))
                .entry(h -> h.name("fifo").type('6').mode(04777).owner(5, 6))
                .pax('g', "comment", "c")
                .pax("GNU.sparse.size", "9000", "GNU.sparse.map", "512,512,4096,512")
                .file("sparse", "z".repeat(1024))
                .file("a/.wh.gone", "")
                .file("b/.wh..wh..opq", "")
                .entry(h -> h.gnu().name("old").text(345, "prefix/of/go"))
                .bytes();
    }

    /// Changes bytes; keeps checksums right mostly, so that the mutation gets past them.
    private static byte[] mutate(byte[] tar, Random random) {
        byte[] changed = tar.clone();
        for (int i = random.nextInt(4); i >= 0; i--) {
            int at = random.nextInt(changed.length);
            switch (random.nextInt(4)) {
                case 0 -> changed[at] = (byte) random.nextInt(256);
                case 1 -> changed[at] ^= (byte) (1 << random.nextInt(8));
                case 2 -> changed[at] = (byte) "0123456789/.-=\n\0".charAt(random.nextInt(16));
                default -> {
                    int from = random.nextInt(changed.length / 512) * 512;
                    int to = random.nextInt(changed.length / 512) * 512;
                    System.arraycopy(tar, from, changed, to, 512);
                }
            }
        }
        if (random.nextInt(10) != 0) {
            seal(changed);
        }
        return changed;
    }

    private static void seal(byte[] tar) {
        for (int block = 0; block < tar.length; block += 512) {
            if (tar[block + 257] == 'u' && tar[block + 258] == 's') {
                int sum = 8 * ' ';
                for (int i = 0; i < 512; i++) {
                    sum += i >= 148 && i < 156 ? 0 : tar[block + i] & 0xff;
                }
                byte[] digits = "%06o\0 ".formatted(sum).getBytes();
                System.arraycopy(digits, 0, tar, block + 148, 8);
            }
        }
    }

    /// A random sequence of valid headers: what the order of entries can do.
    private static byte[] sequence(Random random) {
        TarBuilder tar = new TarBuilder();
        for (int i = random.nextInt(30); i >= 0; i--) {
            String name = NAMES[random.nextInt(NAMES.length)];
            String target = TARGETS[random.nextInt(TARGETS.length)];
            char type = (char) ('0' + random.nextInt(7));
            tar.entry(
                    new byte[type == '0' ? random.nextInt(2000) : 0],
                    h ->
                            h.name(name)
                                    .type(type)
                                    .linkName(type == '1' || type == '2' ? target : "")
                                    .mode(random.nextInt(010000))
                                    .owner(random.nextInt(3), random.nextInt(3))
                                    .device(random.nextInt(2), random.nextInt(2)));
        }
        return tar.bytes();
    }

    private byte[] wrap(byte[] tar, Random random) {
        return switch (random.nextInt(4)) {
            case 0 -> Apply.gzip(tar);
            case 1 -> Zstd.compress(tar);
            default -> tar;
        };
    }

    private interface Source {
        byte[] next(Random random);
    }

    private int run(long seed, Source source) throws IOException {
        Path outside = Files.createDirectory(temp.resolve("outside"));
        Files.writeString(outside.resolve("precious"), "precious");
        Path root = outside.resolve("root");
        Map<String, String> before = null;
        Random random = new Random(seed);
        int accepted = 0;
        for (int round = 0; round < ROUNDS; round++) {
            byte[] blob = source.next(random);
            Files.createDirectory(root);
            if (before == null) {
                before = outsideOf(outside);
            }
            try {
                Apply.to(root, blob);
                accepted++;
            } catch (ImageException e) {
                assertTrue(EXPECTED.contains(e.kind()), "round " + round + ": " + e);
            }
            assertEquals(before, outsideOf(outside), "round " + round);
            Tree.delete(root);
        }
        return accepted;
    }

    private static Map<String, String> outsideOf(Path outside) throws IOException {
        Map<String, String> tree = Tree.listTimeless(outside);
        // The root itself may become opaque.
        tree.keySet().removeIf(name -> name.equals("root") || name.startsWith("root/"));
        return tree;
    }

    @Test
    void apply_mutatedBytes_onlyRefusals() {
        byte[] seed = seedArchive();
        int accepted =
                assertTimeoutPreemptively(
                        Duration.ofMinutes(3),
                        () -> run(11, random -> wrap(mutate(seed, random), random)));
        assertTrue(accepted > ROUNDS / 10 && accepted < ROUNDS, "accepted " + accepted);
    }

    @Test
    void apply_randomSequences_onlyRefusals() {
        int accepted =
                assertTimeoutPreemptively(
                        Duration.ofMinutes(3),
                        () -> run(12, random -> wrap(sequence(random), random)));
        assertTrue(accepted > ROUNDS / 50 && accepted < ROUNDS, "accepted " + accepted);
    }
}
