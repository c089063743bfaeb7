package dev.imgd.layers;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.linux.Fs;
import dev.imgd.linux.Stat;
import dev.imgd.linux.Xattrs;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/// Archives that try to leave their root, and the links that must work all the same.
///
/// **Source:** the cases of containerd's archive tests, by their names there.
class BreakoutTest {
    private static final String EXPECTED = "unbroken";

    @TempDir Path outside;
    private Path root;
    private Map<String, String> outsideBefore = Map.of();
    private int roots;

    @FunctionalInterface
    private interface Check {
        void check(Path root) throws IOException;
    }

    private record Case(String name, TarBuilder tar, Check check) {}

    @BeforeEach
    void makeOutside() throws IOException {
        Files.createDirectories(outside.resolve("etc"));
        Files.writeString(outside.resolve("etc/passwd"), "outside");
        Files.writeString(outside.resolve("perm400"), "...");
        Files.setPosixFilePermissions(
                outside.resolve("perm400"), PosixFilePermissions.fromString("r--------"));
        outsideBefore = outsideTree();
    }

    @AfterEach
    void deleteRoots() throws IOException {
        Tree.delete(outside.resolve("roots"));
    }

    private Map<String, String> outsideTree() throws IOException {
        Map<String, String> tree = Tree.list(outside);
        tree.keySet().removeIf(name -> name.startsWith("roots"));
        return tree;
    }

    private Path newRoot() throws IOException {
        root = Files.createDirectories(outside.resolve("roots/" + roots++));
        return root;
    }

    private static TarBuilder tar() {
        return new TarBuilder();
    }

    private static TarBuilder etc() {
        return tar().directory("etc", 0770).file("/etc/passwd", "inside");
    }

    private static void unbroken(Path root) throws IOException {
        assertEquals(EXPECTED, Files.readString(root.resolve("etc/unbroken")));
    }

    private static Check same(String a, String b) {
        return root -> assertTrue(sameFile(root, a, b), a + " is not " + b);
    }

    private static boolean sameFile(Path root, String a, String b) throws IOException {
        return inRoot(root, a).isSameFile(inRoot(root, b));
    }

    private static Stat inRoot(Path root, String path) throws IOException {
        int dir = Fs.openat(Fs.AT_FDCWD, root.toString(), Fs.O_PATH | Fs.O_DIRECTORY, 0);
        int file = -1;
        try {
            file = Fs.openat2(dir, path, Fs.O_PATH, 0, Fs.RESOLVE_IN_ROOT);
            return Fs.statx(file, "", Fs.AT_EMPTY_PATH, Fs.STATX_ALL);
        } finally {
            Fs.close(dir);
            if (file >= 0) {
                Fs.close(file);
            }
        }
    }

    /// Its target is found through so many directories that their descriptors are all used.
    private static TarBuilder linkToFarAway() {
        String d = "d/".repeat(46);
        String e = "e/".repeat(46);
        String f = "f/".repeat(46);
        return tar().directory("near", 0755)
                .symlink("/" + e + "next", d + "next")
                .symlink("/" + f, e + "next")
                .file(f + "far", EXPECTED)
                .link(d + "next/far", "near/link");
    }

    private static Check isWhiteout(String path) {
        return root -> {
            Stat stat =
                    Fs.statx(
                            Fs.AT_FDCWD,
                            root.resolve(path).toString(),
                            Fs.AT_SYMLINK_NOFOLLOW,
                            Fs.STATX_ALL);
            assertEquals(Fs.S_IFCHR, stat.type(), path);
            assertEquals(0, stat.rdevMajor() | stat.rdevMinor(), path);
        };
    }

    private List<Case> accepted() {
        return List.of(
                new Case(
                        "HardlinkThroughManyDirectories",
                        linkToFarAway(),
                        same("near/link", "f/".repeat(46) + "far")),
                new Case(
                        "SymlinkAbsolute",
                        tar().directory("etc", 0755)
                                .symlink("/etc", "localetc")
                                .file("/localetc/unbroken", EXPECTED),
                        BreakoutTest::unbroken),
                new Case(
                        "SymlinkUpAndOut",
                        tar().directory("etc", 0755)
                                .directory("dummy", 0755)
                                .symlink("/dummy/../etc", "localetc")
                                .file("/localetc/unbroken", EXPECTED),
                        BreakoutTest::unbroken),
                new Case(
                        "SymlinkMultipleAbsolute",
                        tar().directory("etc", 0755)
                                .directory("dummy", 0755)
                                .symlink("/etc", "/dummy/etc")
                                .symlink("/dummy/etc", "localetc")
                                .file("/localetc/unbroken", EXPECTED),
                        BreakoutTest::unbroken),
                new Case(
                        "SymlinkMultipleRelative",
                        tar().directory("etc", 0755)
                                .directory("dummy", 0755)
                                .symlink("/etc", "/dummy/etc")
                                .symlink("./dummy/etc", "localetc")
                                .file("/localetc/unbroken", EXPECTED),
                        BreakoutTest::unbroken),
                new Case(
                        "SymlinkEmptyFile",
                        tar().directory("etc", 0755)
                                .file("etc/emptied", "notempty")
                                .symlink("/etc", "localetc")
                                .file("/localetc/emptied", ""),
                        root -> assertEquals(0, Files.size(root.resolve("etc/emptied")))),
                new Case(
                        "HardlinkRelative",
                        etc().directory("breakouts", 0755)
                                .symlink("../../etc", "breakouts/d1")
                                .link("/breakouts/d1/passwd", "breakouts/mypasswd"),
                        same("/breakouts/mypasswd", "/etc/passwd")),
                new Case(
                        "HardlinkDownAndOut",
                        etc().directory("breakouts", 0755)
                                .directory("downandout", 0755)
                                .symlink("../downandout/../../etc", "breakouts/d1")
                                .link("/breakouts/d1/passwd", "breakouts/mypasswd"),
                        same("/breakouts/mypasswd", "/etc/passwd")),
                new Case(
                        "HardlinkAbsolute",
                        etc().symlink("/etc", "localetc").link("/localetc/passwd", "localpasswd"),
                        same("localpasswd", "/etc/passwd")),
                new Case(
                        "HardlinkRelativeLong",
                        etc().symlink("../../../../../../../etc", "localetc")
                                .link("/localetc/passwd", "localpasswd"),
                        same("localpasswd", "/etc/passwd")),
                new Case(
                        "HardlinkRelativeUpAndOut",
                        etc().symlink("upandout/../../../etc", "localetc")
                                .link("/localetc/passwd", "localpasswd"),
                        same("localpasswd", "/etc/passwd")),
                new Case(
                        "HardlinkDirectRelative",
                        etc().link("../../../../../etc/passwd", "localpasswd"),
                        same("localpasswd", "/etc/passwd")),
                new Case(
                        "HardlinkDirectAbsolute",
                        etc().link("/etc/passwd", "localpasswd"),
                        same("localpasswd", "/etc/passwd")),
                new Case(
                        "SymlinkParentRelative",
                        etc().symlink("/etc/", "localetc/sub/..")
                                .link("/etc/passwd", "/localetc/localpasswd"),
                        same("/localetc/localpasswd", "/etc/passwd")),
                new Case(
                        "SymlinkSlashEnded",
                        etc().directory("localetc/", 0770)
                                .link("/etc/passwd", "/localetc/localpasswd"),
                        same("/localetc/localpasswd", "/etc/passwd")),
                new Case(
                        "SymlinkOverrideDirectory",
                        etc().directory("localetc", 0755)
                                .file("localetc/old", "")
                                .symlink("/etc", "localetc")
                                .link("/etc/passwd", "/localetc/localpasswd"),
                        root -> {
                            same("/localetc/localpasswd", "/etc/passwd").check(root);
                            assertTrue(Files.isSymbolicLink(root.resolve("localetc")));
                        }),
                new Case(
                        "SymlinkOverrideDirectoryRelative",
                        etc().directory("localetc", 0755)
                                .symlink("../../etc", "localetc")
                                .link("/etc/passwd", "/localetc/localpasswd"),
                        same("/localetc/localpasswd", "/etc/passwd")),
                new Case(
                        "DirectoryOverrideSymlink",
                        etc().symlink("/etc", "localetc")
                                .directory("/localetc/", 0755)
                                .link("/etc/passwd", "/localetc/localpasswd"),
                        root -> {
                            same("/localetc/localpasswd", "/etc/passwd").check(root);
                            assertFalse(Files.isSymbolicLink(root.resolve("localetc")));
                        }),
                new Case(
                        "DirectoryOverrideSymlinkAndHardlink",
                        etc().symlink("etc", "localetc")
                                .link("/etc/passwd", "/localetc/localpasswd")
                                .directory("/localetc/", 0755)
                                .file("/localetc/localpasswd", "different"),
                        root ->
                                assertFalse(
                                        sameFile(root, "/localetc/localpasswd", "/etc/passwd"))),
                new Case(
                        "SymlinkOverridePath",
                        etc().directory("a", 0755)
                                .directory("a/b", 0755)
                                .symlink("/etc", "a/b")
                                .file("a/b/c", "x"),
                        root -> assertEquals("x", Files.readString(root.resolve("etc/c")))),
                new Case("WhiteoutSymlink", tar().file(".wh.localetc", ""), isWhiteout("localetc")),
                new Case(
                        "WhiteoutSymlinkPath",
                        etc().symlink("/etc", "localetc").file("localetc/.wh.whitedout", ""),
                        root -> {
                            isWhiteout("etc/whitedout").check(root);
                            assertEquals("inside", Files.readString(root.resolve("etc/passwd")));
                        }),
                new Case(
                        "WhiteoutDirectoryName",
                        etc().file(".wh.etc/somefile", "non-empty"),
                        root -> {
                            assertEquals("inside", Files.readString(root.resolve("etc/passwd")));
                            assertEquals(
                                    "non-empty",
                                    Files.readString(root.resolve(".wh.etc/somefile")));
                        }),
                new Case(
                        "WhiteoutDeadSymlinkParent",
                        etc().symlink("/dne", "localetc").file("localetc/.wh.etc", ""),
                        root -> {
                            isWhiteout("dne/etc").check(root);
                            assertEquals("inside", Files.readString(root.resolve("etc/passwd")));
                        }),
                new Case(
                        "WhiteoutRelativePath",
                        tar().symlink("/dne", "localetc").file("dne/../.wh.etc", ""),
                        isWhiteout("etc")),
                new Case(
                        "HardlinkSymlinkBeforeCreateTarget",
                        tar().directory("etc", 0770)
                                .symlink("/etc/passwd", "localpasswd")
                                .link("localpasswd", "localpasswd-dup")
                                .file("/etc/passwd", "after"),
                        same("localpasswd-dup", "/etc/passwd")),
                new Case(
                        "HardlinkSymlinkRelative",
                        etc().symlink("../../../../../etc/passwd", "passwdlink")
                                .link("/passwdlink", "localpasswd"),
                        root -> {
                            assertEquals(
                                    Files.readSymbolicLink(root.resolve("passwdlink")),
                                    Files.readSymbolicLink(root.resolve("localpasswd")));
                            same("localpasswd", "/etc/passwd").check(root);
                        }),
                new Case(
                        "HardlinkSymlinkAbsolute",
                        etc().symlink("/etc/passwd", "passwdlink")
                                .link("/passwdlink", "localpasswd"),
                        root -> {
                            assertTrue(Files.isSymbolicLink(root.resolve("localpasswd")));
                            same("localpasswd", "/etc/passwd").check(root);
                        }),
                new Case(
                        "DirectoryCreation",
                        tar().directory("/etc/subdir", 0755)
                                .directory("/etc/subdir2/", 0755)
                                .directory("/etc/subdir2/more", 0755)
                                .directory("/other/noparent-1/1", 0755)
                                .directory("/other/noparent-2/2/", 0755),
                        root -> {
                            assertTrue(Files.isDirectory(root.resolve("etc/subdir2/more")));
                            assertTrue(Files.isDirectory(root.resolve("other/noparent-1/1")));
                            assertTrue(Files.isDirectory(root.resolve("other/noparent-2/2")));
                        }),
                new Case(
                        "FileThroughDanglingAbsoluteSymlink",
                        tar().symlink("/usr/lib", "lib").file("lib/x", "x"),
                        root -> assertEquals("x", Files.readString(root.resolve("usr/lib/x")))),
                new Case(
                        "DotDotBehindSymlinkIsThatOfItsTarget",
                        tar().directory("a", 0755)
                                .directory("a/b", 0755)
                                .symlink("a/b", "l")
                                .symlink("l/../c", "m")
                                .file("m/x", "x"),
                        root -> assertEquals("x", Files.readString(root.resolve("a/c/x")))),
                new Case(
                        "NamesWithDotDot",
                        tar().file("../../../../x", "1").file("a/../../y", "2"),
                        root -> {
                            assertEquals("1", Files.readString(root.resolve("x")));
                            assertEquals("2", Files.readString(root.resolve("y")));
                        }));
    }

    @TestFactory
    Stream<DynamicTest> apply_linksOfAllKinds_stayInside() {
        return accepted().stream()
                .map(
                        row ->
                                DynamicTest.dynamicTest(
                                        row.name,
                                        () -> {
                                            Apply.to(newRoot(), row.tar);
                                            row.check.check(root);
                                            assertEquals(outsideBefore, outsideTree());
                                        }));
    }

    private record Refused(String name, TarBuilder tar, String why) {}

    private static List<Refused> refused() {
        return List.of(
                new Refused("WhiteoutRootParent", etc().file(".wh...", ""), "whiteout of no name"),
                new Refused("WhiteoutParent", etc().file("etc/.wh...", ""), "whiteout of no name"),
                new Refused("WhiteoutRoot", etc().file(".wh..", ""), "whiteout of no name"),
                new Refused(
                        "WhiteoutCurrentDirectory",
                        etc().file("etc/.wh..", ""),
                        "whiteout of no name"),
                new Refused("WhiteoutOfNothing", tar().file(".wh.", ""), "whiteout of no name"),
                new Refused("SymlinkParentDirectory", tar().symlink("/etc/", ".."), "the root"),
                new Refused("SymlinkEmptyFilename", tar().symlink("/etc/", ""), "the root"),
                new Refused("SymlinkAsRoot", tar().symlink("/etc", "."), "the root"),
                new Refused("SymlinkAsSlash", tar().symlink("/etc", "/"), "the root"),
                new Refused("FileAsRoot", tar().file("a/..", "x"), "the root"),
                new Refused("HardlinkToRoot", tar().link("/", "x"), "does not have"),
                new Refused("HardlinkToDirectory", etc().link("etc", "x"), "the directory"),
                new Refused("HardlinkToItself", etc().link("etc/passwd", "/etc/passwd"), "itself"),
                new Refused(
                        "HardlinkIntoWhatItReplaces",
                        etc().link("etc/passwd", "etc"),
                        "in the directory that it replaces"),
                new Refused("HardlinkToNothing", tar().link("nothing", "x"), "does not have"),
                new Refused("HardlinkThroughNothing", tar().link("no/thing", "x"), "does not have"),
                new Refused(
                        "HardlinkToWhiteout",
                        tar().file(".wh.gone", "").link("gone", "x"),
                        "does not have"),
                new Refused("FileBelowFile", tar().file("a", "").file("a/b", ""), "wanted a dir"),
                new Refused(
                        "SymlinkLoop",
                        tar().symlink("b", "a").symlink("a", "b").file("a/x", ""),
                        "symbolic links"),
                new Refused("EmptySymlink", tar().symlink("", "x"), "without target"),
                new Refused(
                        "DeviceTooLarge",
                        tar().entry(h -> h.name("d").type('3').device(4096, 1)),
                        "wanted a device"),
                new Refused(
                        "DeviceNegative",
                        tar().entry(h -> h.name("d").type('4').device(1, 1).base256(329, 8, -1)),
                        "wanted a device"),
                new Refused(
                        "OwnerNobodyCanHave",
                        tar().entry(h -> h.name("f").base256(108, 8, 0xffff_ffffL)),
                        "wanted owners"),
                new Refused(
                        "OwnerNegative",
                        tar().entry(h -> h.name("f").base256(116, 8, -5)),
                        "wanted owners"),
                new Refused(
                        "NameTooLong",
                        tar().longName('L', "n".repeat(256)).file("x", ""),
                        "more than 255 bytes"));
    }

    @TestFactory
    Stream<DynamicTest> apply_hostileEntry_isRefused() {
        return refused().stream()
                .map(
                        row ->
                                DynamicTest.dynamicTest(
                                        row.name,
                                        () -> {
                                            Apply.refuses(newRoot(), row.tar, row.why);
                                            assertEquals(outsideBefore, outsideTree());
                                        }));
    }

    @Test
    void apply_hardlinkToSymlinkOutside_leavesItsTargetAlone() throws Exception {
        Path target = outside.resolve("perm400");
        Apply.to(
                newRoot(),
                tar().symlink(target.toString(), "also")
                        .entry(h -> h.name("sketchy").type('1').mode(0777).linkName("also")));
        assertTrue(Files.isSymbolicLink(root.resolve("sketchy")));
        assertEquals(outsideBefore, outsideTree());
    }

    @Test
    void apply_everyOperationThroughLinkToOutside_staysInside() throws Exception {
        String out = outside.toString();
        Apply.to(
                newRoot(),
                tar().symlink(out, "out")
                        .file("out/etc/passwd", "inside")
                        .directory("out/etc", 0700)
                        .symlink("x", "out/s")
                        .link("out/etc/passwd", "out/h")
                        .entry(h -> h.name("out/fifo").type('6'))
                        .entry(h -> h.name("out/dev").type('3').device(1, 3))
                        .file("out/.wh.perm400", "")
                        .file("out/.wh..wh..opq", ""));
        assertEquals(outsideBefore, outsideTree());
        Path inside = root.resolve(out.substring(1));
        assertArrayEquals("inside".getBytes(UTF_8), Files.readAllBytes(inside.resolve("h")));
        assertNotEquals(
                0,
                Xattrs.lgetxattr(inside.toString(), "trusted.overlay.opaque").length,
                "opaque marker inside");
        assertTrue(Files.exists(inside.resolve("fifo"), LinkOption.NOFOLLOW_LINKS));
    }
}
