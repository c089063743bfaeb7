package dev.imgd.layers;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.linux.FileNames;
import dev.imgd.linux.Fs;
import dev.imgd.linux.Stat;
import dev.imgd.linux.Xattrs;
import dev.imgd.model.Digest;
import dev.imgd.model.DigestMismatchException;
import dev.imgd.model.ErrnoException;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ReadableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TreeWriterTest {
    private static final String OPAQUE = "trusted.overlay.opaque";

    @TempDir Path temp;
    private Path root;

    @BeforeEach
    void makeRoot() throws IOException {
        root = Files.createDirectory(temp.resolve("root"));
    }

    @AfterEach
    void deleteRoot() throws IOException {
        Tree.delete(root);
    }

    private static TarBuilder tar() {
        return new TarBuilder();
    }

    private Stat stat(String path) throws IOException {
        return Fs.statx(
                Fs.AT_FDCWD, root.resolve(path).toString(), Fs.AT_SYMLINK_NOFOLLOW, Fs.STATX_ALL);
    }

    private byte[] xattr(String path, String name) throws IOException {
        return Xattrs.lgetxattr(root.resolve(path).toString(), name);
    }

    private void assertWhiteout(String path) throws IOException {
        Stat stat = stat(path);
        assertEquals(Fs.S_IFCHR, stat.type(), path);
        assertEquals(0, stat.rdevMajor() + stat.rdevMinor(), path);
    }

    private void assertOpaque(String path, boolean wanted) throws IOException {
        byte[] value = xattr(path, OPAQUE);
        assertEquals(wanted ? "y" : null, value == null ? null : FileNames.decode(value), path);
    }

    // Whiteouts

    @Test
    void whiteout_ofLowerName_isCharacterDevice() throws Exception {
        Applied applied = Apply.to(root, tar().directory("d", 0755).file("d/.wh.gone", ""));
        assertWhiteout("d/gone");
        assertFalse(Files.exists(root.resolve("d/.wh.gone")));
        assertEquals(2, applied.inodes());
    }

    @Test
    void whiteout_ofAnyEntryType_skipsItsContent() throws Exception {
        Apply.to(root, tar().file(".wh.a", "content").symlink("x", ".wh.b").file("c", "c"));
        assertWhiteout("a");
        assertWhiteout("b");
        assertEquals("c", Files.readString(root.resolve("c")));
    }

    @Test
    void whiteout_beforeFileOfSameName_fileStays() throws Exception {
        Apply.to(root, tar().file(".wh.a", "").file("a", "new"));
        assertEquals("new", Files.readString(root.resolve("a")));
    }

    @Test
    void whiteout_afterFileOfSameName_fileStays() throws Exception {
        Apply.to(root, tar().file("a", "new").file(".wh.a", ""));
        assertEquals("new", Files.readString(root.resolve("a")));
    }

    @Test
    void whiteout_beforeDirectoryOfSameName_directoryIsOpaque() throws Exception {
        Apply.to(root, tar().file(".wh.d", "").directory("d", 0750).file("d/f", ""));
        assertOpaque("d", true);
        assertEquals(040750, stat("d").mode());
    }

    @Test
    void whiteout_afterDirectoryOfSameName_directoryIsOpaque() throws Exception {
        Apply.to(root, tar().directory("d", 0755).file("d/f", "f").file(".wh.d", ""));
        assertOpaque("d", true);
        assertEquals("f", Files.readString(root.resolve("d/f")));
    }

    @Test
    void whiteout_beforeEntriesBelowIt_implicitDirectoryIsOpaque() throws Exception {
        Applied applied = Apply.to(root, tar().file(".wh.d", "").file("d/f", "f"));
        assertOpaque("d", true);
        assertEquals(List.of("d"), applied.implicitDirectories());
        assertEquals(2, applied.inodes());
    }

    @Test
    void whiteout_twice_isOne() throws Exception {
        Applied applied = Apply.to(root, tar().file(".wh.a", "").file(".wh.a", ""));
        assertWhiteout("a");
        assertEquals(1, applied.inodes());
    }

    @Test
    void opaqueMarker_beforeAndAfterChildren_keepsThem() throws Exception {
        Apply.to(
                root,
                tar().directory("d", 0755)
                        .file("d/a", "a")
                        .file("d/.wh..wh..opq", "")
                        .file("d/b", "b")
                        .file("implied/.wh..wh..opq", ""));
        assertOpaque("d", true);
        assertOpaque("implied", true);
        assertEquals("a", Files.readString(root.resolve("d/a")));
        assertEquals("b", Files.readString(root.resolve("d/b")));
    }

    @Test
    void opaqueMarker_none_directoryIsNotOpaque() throws Exception {
        Apply.to(root, tar().directory("d", 0755).file("d/.wh.x", ""));
        assertOpaque("d", false);
    }

    @Test
    void aufsMetadata_isLeftOutWithWarning() throws Exception {
        Applied applied =
                Apply.to(root, tar().file(".wh..wh.aufs", "").directory(".wh..wh.plnk", 0700));
        assertEquals(0, applied.inodes());
        assertEquals(1, applied.warnings().size());
        assertTrue(applied.warnings().get(0).contains("aufs"), applied.warnings().get(0));
        assertTrue(applied.warnings().get(0).contains(": 2,"), applied.warnings().get(0));
    }

    @Test
    void deviceZeroZero_isLeftOutWithWarning() throws Exception {
        Applied applied = Apply.to(root, tar().entry(h -> h.name("etc").type('3')).file("f", "f"));
        assertFalse(Files.exists(root.resolve("etc")));
        assertTrue(applied.warnings().get(0).contains("0:0"), applied.warnings().get(0));
        assertEquals(1, applied.inodes());
    }

    // What is in the way

    @Test
    void existing_directoryReplacedByFile_isRemovedWithContent() throws Exception {
        Applied applied =
                Apply.to(
                        root,
                        tar().directory("d", 0755)
                                .file("d/sub/deep/f", "x")
                                .symlink("f", "d/sub/deep/l")
                                .file("d", "now a file"));
        assertEquals("now a file", Files.readString(root.resolve("d")));
        assertEquals(1, applied.inodes());
        assertEquals(4096, applied.sizeBytes());
        assertEquals(List.of(), applied.implicitDirectories());
    }

    @Test
    void existing_directoryReplacedAndMadeAgain_descriptorsAreFresh() throws Exception {
        Apply.to(
                root,
                tar().directory("d", 0755)
                        .file("d/old", "x")
                        .file("d", "file")
                        .directory("d", 0700)
                        .file("d/new", "y"));
        assertFalse(Files.exists(root.resolve("d/old")));
        assertEquals("y", Files.readString(root.resolve("d/new")));
        assertEquals(040700, stat("d").mode());
    }

    @Test
    void existing_symlinkOnThePathReplaced_newTargetCounts() throws Exception {
        Apply.to(
                root,
                tar().directory("a", 0755)
                        .directory("b", 0755)
                        .symlink("a", "l")
                        .file("l/x", "1")
                        .symlink("b", "l")
                        .file("l/x", "2"));
        assertEquals("1", Files.readString(root.resolve("a/x")));
        assertEquals("2", Files.readString(root.resolve("b/x")));
    }

    @Test
    void existing_directoryTwice_metadataOfTheLast() throws Exception {
        Applied applied =
                Apply.to(
                        root,
                        tar().directory("d", 0700)
                                .file("d/f", "f")
                                .entry(
                                        h ->
                                                h.name("d/")
                                                        .type('5')
                                                        .mode(01777)
                                                        .owner(5, 6)
                                                        .mtime(12345)));
        Stat stat = stat("d");
        assertEquals(041777, stat.mode());
        assertEquals(5, stat.uid());
        assertEquals(6, stat.gid());
        assertEquals(12345, stat.mtimeSeconds());
        assertEquals("f", Files.readString(root.resolve("d/f")));
        assertEquals(2, applied.inodes());
    }

    @Test
    void existing_eachTypeReplacedByEach_lastStays() throws Exception {
        TarBuilder tar = tar().file("target", "t");
        for (char first : "0123456".toCharArray()) {
            for (char second : "0123456".toCharArray()) {
                String name = "x" + first + second;
                for (char type : new char[] {first, second}) {
                    tar.entry(
                            h ->
                                    h.name(name)
                                            .type(type)
                                            .device(type == '3' || type == '4' ? 1 : 0, 3)
                                            .linkName(type < '3' && type > '0' ? "target" : ""));
                }
            }
        }
        Applied applied = Apply.to(root, tar);
        int[] types = {
            Fs.S_IFREG, Fs.S_IFREG, Fs.S_IFLNK, Fs.S_IFCHR, Fs.S_IFBLK, Fs.S_IFDIR, Fs.S_IFIFO
        };
        for (int first = 0; first < 7; first++) {
            for (int second = 0; second < 7; second++) {
                assertEquals(types[second], stat("x" + first + second).type());
            }
        }
        assertEquals(1 + 7 * 6, applied.inodes(), "hard links add none");
    }

    @Test
    void removal_ofPlainNames_keepsNeighboursWithTheSameStart() throws Exception {
        Applied applied =
                Apply.to(
                        root,
                        tar().file("a/x/f", "")
                                .file("a-b/f", "")
                                .file("a.d/f", "")
                                .file("a0/f", "")
                                .file("a", "now a file"));
        assertEquals(List.of("a-b", "a.d", "a0"), applied.implicitDirectories());
        assertEquals(7, applied.inodes());
    }

    // Bombs

    @Test
    void deepPaths_cannotFillTheMemory() throws Exception {
        TarBuilder tar = tar();
        for (int i = 0; i < 40; i++) {
            tar.longName('L', i + "/" + "d/".repeat(400) + "f").file("short", "");
        }
        Limits limits = Limits.defaults().with(Limits.Key.DIRECTORY_BYTES, 1 << 20);
        Apply.refuses(
                ErrorKind.LIMIT_EXCEEDED, root, tar.bytes(), limits, "limits.directory_bytes");
    }

    @Test
    void deepPaths_beyondTheLimit_areRefused() throws Exception {
        Limits limits = Limits.defaults().with(Limits.Key.PATH_DEPTH, 10);
        Apply.to(root, tar().file("1/2/3/4/5/6/7/8/9/f", "").bytes(), limits);
        Apply.refuses(
                ErrorKind.LIMIT_EXCEEDED,
                root,
                tar().file("1/2/3/4/5/6/7/8/9/10/f", "").bytes(),
                limits,
                "limits.path_depth");
        Apply.refuses(
                ErrorKind.LIMIT_EXCEEDED,
                root,
                tar().symlink("1/2/3/4/5/6", "l").file("l/7/8/9/10/11/f", "").bytes(),
                limits,
                "limits.path_depth");
    }

    @Test
    void links_withLongTargets_cannotKeepUsBusy() {
        TarBuilder tar = tar().directory("d", 0755);
        String target = "d/../".repeat(700);
        for (int i = 0; i < 20; i++) {
            tar.longName('K', target + "l" + (i + 1)).symlink("short", "l" + i);
        }
        Apply.refuses(root, tar.file("l0/f", ""), "too many directories");
    }

    @Test
    void xattrs_beyondTheLimits_areRefused() throws Exception {
        Limits one = Limits.defaults().with(Limits.Key.XATTRS, 1);
        Apply.refuses(
                ErrorKind.LIMIT_EXCEEDED,
                root,
                tar().pax("SCHILY.xattr.user.a", "1", "SCHILY.xattr.user.b", "2")
                        .file("f", "")
                        .bytes(),
                one,
                "limits.xattrs");
        Limits three = Limits.defaults().with(Limits.Key.XATTR_VALUE_BYTES, 3);
        Apply.refuses(
                ErrorKind.LIMIT_EXCEEDED,
                root,
                tar().pax("SCHILY.xattr.user.a", "1234").directory("d", 0755).bytes(),
                three,
                "limits.xattr_value_bytes");
    }

    @Test
    void fileSystem_full_isNoSpace() throws Exception {
        Path small = Files.createDirectory(temp.resolve("small"));
        assertEquals(0, run("mount", "-t", "tmpfs", "-o", "size=1m", "none", small.toString()));
        try {
            byte[] tar = tar().file("big", new byte[2 << 20], 0644).bytes();
            Apply.refuses(ErrorKind.NO_SPACE, small, tar, Limits.defaults(), "\"big\"");
        } finally {
            assertEquals(0, run("umount", small.toString()));
        }
    }

    private static int run(String... command) throws Exception {
        return new ProcessBuilder(command).inheritIO().start().waitFor();
    }

    // Metadata

    @Test
    void implicitDirectories_areReportedParentsFirst() throws Exception {
        Applied applied =
                Apply.to(root, tar().file("a/b/c/f", "").file("x/y", "").directory("a/b", 0700));
        assertEquals(List.of("a", "a/b/c", "x"), applied.implicitDirectories());
        assertEquals(040700, stat("a/b").mode());
        assertEquals(040755, stat("a").mode());
    }

    @Test
    void setgidDirectory_doesNotChangeItsChildren() throws Exception {
        Apply.to(
                root,
                tar().entry(h -> h.name("mail").type('5').mode(02775).owner(0, 8))
                        .file("mail/root", "")
                        .directory("mail/sub", 0755)
                        .file("mail/implied/x", "")
                        .symlink("x", "mail/l")
                        .entry(h -> h.name("mail/fifo").type('6').mode(0600)));
        assertEquals(042775, stat("mail").mode());
        assertEquals(8, stat("mail").gid());
        for (String child : List.of("root", "sub", "implied", "implied/x", "l", "fifo")) {
            assertEquals(0, stat("mail/" + child).gid(), child);
        }
        assertEquals(040755, stat("mail/sub").mode());
        assertEquals(040755, stat("mail/implied").mode());
    }

    @Test
    void setgidRoot_doesNotChangeWhatIsBelow() throws Exception {
        Fs.fchownat(Fs.AT_FDCWD, root.toString(), 0, 8, 0);
        Fs.fchmodat(Fs.AT_FDCWD, root.toString(), 02775);
        Apply.to(root, tar().directory("d", 0755).file("f", "").file("i/x", ""));
        assertEquals(040755, stat("d").mode());
        assertEquals(040755, stat("i").mode());
        for (String name : List.of("d", "f", "i", "i/x")) {
            assertEquals(0, stat(name).gid(), name);
        }
    }

    @Test
    void setuidAndSticky_surviveChangeOfOwner() throws Exception {
        Apply.to(
                root,
                tar().entry(h -> h.name("su").mode(06755).owner(7, 8))
                        .entry(h -> h.name("st").mode(01644))
                        .entry(h -> h.name("tmp").type('5').mode(01777).owner(7, 8))
                        .entry(h -> h.name("pipe").type('6').mode(06666).owner(7, 8)));
        assertEquals(0106755, stat("su").mode());
        assertEquals(0101644, stat("st").mode());
        assertEquals(041777, stat("tmp").mode());
        assertEquals(016666, stat("pipe").mode());
    }

    @Test
    void modes_doNotDependOnTheMask() throws Exception {
        int mask = Fs.umask(077);
        try {
            Apply.to(
                    root,
                    tar().file("f", new byte[0], 0666)
                            .directory("d", 0777)
                            .entry(h -> h.name("p").type('6').mode(0666))
                            .file("i/x", ""));
        } finally {
            Fs.umask(mask);
        }
        assertEquals(0100666, stat("f").mode());
        assertEquals(040777, stat("d").mode());
        assertEquals(010666, stat("p").mode());
        assertEquals(040755, stat("i").mode());
    }

    @Test
    void times_ofDirectories_areThoseOfTheArchive() throws Exception {
        Apply.to(
                root,
                tar().entry(h -> h.name("d").type('5').mode(0755).mtime(1000))
                        .pax("mtime", "2000.123456789")
                        .entry(h -> h.name("d/e").type('5').mode(0755).mtime(5))
                        .file("d/e/f", "x")
                        .file("d/.wh.g", ""));
        assertEquals(1000, stat("d").mtimeSeconds());
        assertEquals(2000, stat("d/e").mtimeSeconds());
        assertEquals(123456789, stat("d/e").mtimeNanos());
    }

    @Test
    void times_outOfRange_are1970() throws Exception {
        Apply.to(
                root,
                tar().entry(h -> h.name("old").base256(136, 12, -1))
                        .entry(h -> h.name("late").base256(136, 12, Long.MAX_VALUE / 2))
                        .pax("mtime", "-5.5")
                        .file("pax", ""));
        assertEquals(0, stat("old").mtimeSeconds());
        assertEquals(0, stat("late").mtimeSeconds());
        assertEquals(0, stat("pax").mtimeSeconds());
    }

    @Test
    void times_accessTime_isNeverBeforeModification() throws Exception {
        Apply.to(
                root,
                tar().pax("atime", "1500000000")
                        .file("early", "")
                        .pax("atime", "1700000000.5")
                        .file("late", ""));
        assertEquals(TarBuilder.MTIME, stat("early").atimeSeconds());
        assertEquals(1_700_000_000, stat("late").atimeSeconds());
        assertEquals(500_000_000, stat("late").atimeNanos());
    }

    @Test
    void xattrs_ofImages_areSet_thoseOfTheHostAreNot() throws Exception {
        Applied applied =
                Apply.to(
                        root,
                        tar().pax(
                                        "SCHILY.xattr.user.a",
                                        "v=1\n",
                                        "SCHILY.xattr.user.empty",
                                        "",
                                        "SCHILY.xattr.trusted.overlay.redirect",
                                        "/etc",
                                        "SCHILY.xattr.user.overlay.opaque",
                                        "y")
                                .file("f", "")
                                .pax("LIBARCHIVE.xattr.user.b%20c", "AAEC")
                                .directory("d", 0755)
                                .pax("SCHILY.xattr.user.x", "1")
                                .symlink("f", "l")
                                .pax("SCHILY.xattr.security.selinux", "label\0")
                                .file("s", ""));
        assertArrayEquals("v=1\n".getBytes(), xattr("f", "user.a"));
        assertArrayEquals(new byte[0], xattr("f", "user.empty"));
        assertNull(xattr("f", "trusted.overlay.redirect"));
        assertNull(xattr("f", "user.overlay.opaque"));
        assertArrayEquals(new byte[] {0, 1, 2}, xattr("d", "user.b c"));
        assertArrayEquals("label\0".getBytes(), xattr("s", "security.selinux"));
        assertEquals(3, applied.warnings().size(), applied.warnings().toString());
    }

    @Test
    void capabilities_surviveOwnerModeAndHardlink() throws Exception {
        String capability = "\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        Apply.to(
                root,
                tar().pax("SCHILY.xattr.security.capability", capability)
                        .entry(h -> h.name("ping").mode(0755).owner(3, 4))
                        .entry(
                                h ->
                                        h.name("ping2")
                                                .type('1')
                                                .linkName("ping")
                                                .mode(0755)
                                                .owner(3, 4)));
        assertEquals(20, xattr("ping", "security.capability").length);
        assertTrue(stat("ping").isSameFile(stat("ping2")));
        assertEquals(3, stat("ping").uid());
    }

    @Test
    void advice_ofTheSystemsErrors_isOnlyWhereItHelps() {
        assertTrue(
                TreeWriter.advice(
                                new ErrnoException(
                                        "fchownat", "etc", ErrnoException.EPERM, "not permitted"))
                        .contains("needs root"));
        assertEquals(
                "",
                TreeWriter.advice(
                        new ErrnoException("write", "", ErrnoException.ENOSPC, "no space")));
    }

    @Test
    void hardlink_headerWithOtherMetadata_appliesToTheFile() throws Exception {
        Apply.to(
                root,
                tar().file("a", "x")
                        .entry(
                                h ->
                                        h.name("b")
                                                .type('1')
                                                .linkName("a")
                                                .mode(0600)
                                                .owner(9, 9)
                                                .mtime(77)));
        Stat stat = stat("a");
        assertEquals(0100600, stat.mode());
        assertEquals(9, stat.uid());
        assertEquals(77, stat.mtimeSeconds());
        assertEquals(2, stat.nlink());
    }

    @Test
    void defaultAcl_isSetAfterTheChildrenAreMade() throws Exception {
        // Version 2: user::rwx, user 1000: rwx, group::r-x, mask::rwx, other::---
        byte[] acl = {
            2,
            0,
            0,
            0,
            1,
            0,
            7,
            0,
            -1,
            -1,
            -1,
            -1,
            2,
            0,
            7,
            0,
            (byte) 0xe8,
            3,
            0,
            0,
            4,
            0,
            5,
            0,
            -1,
            -1,
            -1,
            -1,
            0x10,
            0,
            7,
            0,
            -1,
            -1,
            -1,
            -1,
            0x20,
            0,
            0,
            0,
            -1,
            -1,
            -1,
            -1
        };
        Apply.to(
                root,
                tar().pax(
                                "SCHILY.xattr.system.posix_acl_default",
                                new String(acl, java.nio.charset.StandardCharsets.ISO_8859_1))
                        .directory("d", 0755)
                        .file("d/f", new byte[0], 0644));
        assertArrayEquals(acl, xattr("d", "system.posix_acl_default"));
        assertNull(xattr("d/f", "system.posix_acl_access"));
        assertEquals(0100644, stat("d/f").mode());
    }

    @Test
    void names_thatAreNotUtf8_keepTheirBytes() throws Exception {
        Applied applied =
                Apply.to(
                        root,
                        tar().file("caf\u00e9\u00ff/\u0080", "x").symlink("\u00fe\u00ff", "l"));
        String directory = FileNames.decode(new byte[] {'c', 'a', 'f', (byte) 0xe9, (byte) 0xff});
        assertEquals(List.of(directory), applied.implicitDirectories());
        var names = Tree.list(root).keySet();
        assertTrue(names.contains(directory + "/" + FileNames.decode(new byte[] {(byte) 0x80})));
        String line = Tree.list(root).get("l");
        assertTrue(line.endsWith(FileNames.decode(new byte[] {(byte) 0xfe, (byte) 0xff})), line);
    }

    @Test
    void root_entry_isIgnored() throws Exception {
        Fs.fchmodat(Fs.AT_FDCWD, root.toString(), 0755);
        Applied applied =
                Apply.to(
                        root,
                        tar().entry(h -> h.name("./").type('5').mode(0700).owner(1, 1))
                                .file("./f", ""));
        assertEquals(040755, stat("").mode());
        assertEquals(0, stat("").uid());
        assertEquals(2, applied.entries());
        assertEquals(1, applied.inodes());
    }

    @Test
    void usage_isThatOfTheFileSystem() throws Exception {
        Applied applied =
                Apply.to(
                        root,
                        tar().directory("d", 0755)
                                .file("d/a", new byte[5000], 0644)
                                .file("d/b", new byte[1], 0644)
                                .file("d/empty", "")
                                .link("d/a", "d/c")
                                .symlink("x".repeat(80), "d/l"));
        long blocks = 0;
        for (String path : List.of("d", "d/a", "d/b", "d/empty", "d/l")) {
            blocks += stat(path).blocks();
        }
        assertEquals(blocks * 512, applied.sizeBytes());
        assertEquals(5, applied.inodes());
    }

    // The whole pass

    @Test
    void apply_emptyBlob_isAnEmptyLayer() throws Exception {
        Applied applied = Apply.to(root, new byte[0]);
        assertEquals(Digest.sha256(new byte[0]), applied.diffId());
        assertEquals(Compression.NONE, applied.compression());
        assertEquals(0, applied.entries());
    }

    @Test
    void apply_bytesBehindTheEnd_areHashedAndIgnored() throws Exception {
        byte[] tar = tar().file("a", "a").raw(new byte[1024]).file("b", "b").open();
        Applied applied = Apply.to(root, Apply.gzip(tar));
        assertEquals(Digest.sha256(tar), applied.diffId());
        assertEquals(tar.length, applied.uncompressedBytes());
        assertEquals(Compression.GZIP, applied.compression());
        assertFalse(Files.exists(root.resolve("b")));
    }

    @Test
    void apply_anotherDiffId_isDataLoss() throws Exception {
        byte[] tar = tar().file("a", "a").bytes();
        Digest wanted = Digest.sha256(new byte[] {1});
        DigestMismatchException e =
                assertThrows(
                        DigestMismatchException.class,
                        () ->
                                new LayerApplier(Limits.defaults())
                                        .apply("layer 7", Apply.channel(tar), root, wanted));
        assertEquals(Digest.sha256(tar), e.got());
        assertTrue(e.getMessage().contains("layer 7"), e.getMessage());
    }

    @Test
    void apply_diffIdOfAnotherAlgorithm_isRefused() throws Exception {
        Digest wanted = Digest.parse("sha512:" + "0".repeat(128));
        ImageException e =
                assertThrows(
                        ImageException.class,
                        () ->
                                new LayerApplier(Limits.defaults())
                                        .apply(
                                                "layer 7",
                                                Apply.channel(new byte[0]),
                                                root,
                                                wanted));
        assertEquals(ErrorKind.INVALID_CONTENT, e.kind());
    }

    @Test
    void apply_sourceFails_passesItsErrorOn() {
        IOException failure = new IOException("connection reset");
        byte[] tar = tar().file("a", "a").open();
        ReadableByteChannel source =
                new ReadableByteChannel() {
                    private boolean first = true;

                    @Override
                    public int read(ByteBuffer to) throws IOException {
                        if (!first) {
                            throw failure;
                        }
                        first = false;
                        to.put(tar);
                        return tar.length;
                    }

                    @Override
                    public boolean isOpen() {
                        return true;
                    }

                    @Override
                    public void close() {
                        throw new AssertionError("the source is the caller's");
                    }
                };
        IOException got =
                assertThrows(
                        IOException.class,
                        () ->
                                new LayerApplier(Limits.defaults())
                                        .apply("layer", source, root, null));
        assertEquals(failure, got);
    }

    @Test
    void apply_interrupted_isCancelled() {
        Thread.currentThread().interrupt();
        ImageException e =
                assertThrows(
                        ImageException.class, () -> Apply.to(root, tar().file("a", "a").bytes()));
        assertTrue(Thread.interrupted());
        assertEquals(ErrorKind.CANCELLED, e.kind());
    }

    @Test
    void apply_noSuchDirectory_isNotFound() {
        ImageException e =
                assertThrows(
                        ImageException.class,
                        () -> Apply.to(root.resolve("missing"), tar().bytes()));
        assertEquals(ErrorKind.NOT_FOUND, e.kind());
    }

    @Test
    void apply_manyLayers_leaveNoDescriptorsOpen() throws Exception {
        TarBuilder good = tar();
        for (int i = 0; i < 300; i++) {
            good.file("d" + i + "/f", "x");
        }
        byte[] tar = good.bytes();
        byte[] bad = tar().file("a/b", "").file("a/b/c", "").bytes();
        Apply.to(Files.createDirectory(root.resolve("warm")), tar);
        int before = descriptors();
        for (int i = 0; i < 5; i++) {
            Apply.to(Files.createDirectory(root.resolve("g" + i)), tar);
            Apply.refuses(Files.createDirectory(root.resolve("b" + i)), bad, "wanted a dir");
        }
        assertEquals(before, descriptors());
    }

    private static int descriptors() {
        return Path.of("/proc/self/fd").toFile().list().length;
    }
}
