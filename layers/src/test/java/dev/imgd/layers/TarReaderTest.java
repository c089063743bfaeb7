package dev.imgd.layers;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.LimitExceededException;
import dev.imgd.model.Limits;
import java.io.IOException;
import java.util.Arrays;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

class TarReaderTest {
    private static TarBuilder tar() {
        return new TarBuilder();
    }

    private static void read(byte[] tar, Limits limits, Consumer<TarEntry> consumer)
            throws IOException {
        try (BlobStream stream =
                new BlobStream(
                        "layer 1", Apply.channel(tar), limits, Growth.UNWATCHED, Assistant.NONE)) {
            TarReader reader = new TarReader("layer 1", stream, limits);
            TarEntry entry;
            while ((entry = reader.next()) != null) {
                consumer.accept(entry);
            }
        }
    }

    /// Checks the only entry of an archive.
    private static void single(TarBuilder tar, Consumer<TarEntry> check) throws IOException {
        int[] count = {0};
        read(
                tar.bytes(),
                Limits.defaults(),
                entry -> {
                    count[0]++;
                    check.accept(entry);
                });
        assertEquals(1, count[0]);
    }

    private static void refuses(byte[] tar, String why) {
        ImageException e =
                assertThrows(
                        ImageException.class, () -> read(tar, Limits.defaults(), entry -> {}), why);
        assertEquals(ErrorKind.INVALID_CONTENT, e.kind(), e.getMessage());
        assertTrue(e.getMessage().contains(why), e.getMessage());
        assertTrue(e.getMessage().contains("layer 1: tar header at byte"), e.getMessage());
    }

    private static void refuses(TarBuilder tar, String why) {
        refuses(tar.bytes(), why);
    }

    private static void exceeds(Limits.Key key, long limit, TarBuilder tar) throws Exception {
        byte[] bytes = tar.bytes();
        LimitExceededException e =
                assertThrows(
                        LimitExceededException.class,
                        () -> read(bytes, Limits.defaults().with(key, limit), entry -> {}));
        assertEquals(key.configKey(), e.key());
        read(bytes, Limits.defaults().with(key, limit + 1), entry -> {});
    }

    // Formats

    @Test
    void ustar_allFields() throws Exception {
        single(
                tar().entry(
                                h ->
                                        h.name("n".repeat(100))
                                                .text(345, "p".repeat(155))
                                                .type('3')
                                                .mode(0100755)
                                                .owner(1000, 2000)
                                                .mtime(99)
                                                .device(8, 17)),
                e -> {
                    assertEquals("p".repeat(155) + "/" + "n".repeat(100), e.name);
                    assertEquals(TarEntry.Type.CHARACTER_DEVICE, e.type);
                    assertEquals(0755, e.mode);
                    assertEquals(1000, e.uid);
                    assertEquals(2000, e.gid);
                    assertEquals(99, e.mtimeSeconds);
                    assertEquals(8, e.deviceMajor);
                    assertEquals(17, e.deviceMinor);
                });
    }

    @Test
    void v7_hasNeitherPrefixNorDevices() throws Exception {
        single(
                tar().entry(
                                h ->
                                        h.text(257, "\0\0\0\0\0\0\0\0")
                                                .name("d/")
                                                .type('\0')
                                                .text(345, "prefix")),
                e -> {
                    assertEquals("d/", e.name);
                    assertEquals(TarEntry.Type.DIRECTORY, e.type);
                });
    }

    @Test
    void star_prefixIsShorterAndTimesFollow() throws Exception {
        single(
                tar().entry(
                                h ->
                                        h.name("n")
                                                .text(345, "p".repeat(131))
                                                .octal(476, 12, TarBuilder.MTIME + 5)
                                                .text(508, "tar\0")),
                e -> {
                    assertEquals("p".repeat(131) + "/n", e.name);
                    assertEquals(TarBuilder.MTIME + 5, e.atimeSeconds);
                });
    }

    @Test
    void gnu_longNamesAndBase256() throws Exception {
        String name = "long/".repeat(60) + "f";
        String link = "target/".repeat(40) + "t";
        single(
                tar().longName('K', link)
                        .longName('L', name)
                        .entry(
                                h ->
                                        h.gnu()
                                                .name(name.substring(0, 100))
                                                .type('2')
                                                .base256(108, 8, 4_000_000_000L)
                                                .base256(116, 8, 3_000_000)
                                                .base256(136, 12, 1L << 33)),
                e -> {
                    assertEquals(name, e.name);
                    assertEquals(link, e.linkName);
                    assertEquals(4_000_000_000L, e.uid);
                    assertEquals(3_000_000, e.gid);
                    assertEquals(1L << 33, e.mtimeSeconds);
                });
    }

    @Test
    void gnu_prefixWrittenByOldGo_isTaken() throws Exception {
        single(
                tar().entry(h -> h.gnu().name("n").text(345, "some/prefix")),
                e -> assertEquals("some/prefix/n", e.name));
        single(
                tar().entry(h -> h.gnu().name("n").octal(345, 12, TarBuilder.MTIME + 7)),
                e -> {
                    assertEquals("n", e.name);
                    assertEquals(TarBuilder.MTIME + 7, e.atimeSeconds);
                });
    }

    @Test
    void pax_recordsOverrideTheHeader() throws Exception {
        single(
                tar().pax(
                                "path",
                                "caf\u00c3\u00a9/" + "x".repeat(200),
                                "linkpath",
                                "l".repeat(150),
                                "uid",
                                "3000000000",
                                "gid",
                                "2999999999",
                                "mtime",
                                "1700000000.25",
                                "hdrcharset",
                                "BINARY",
                                "comment",
                                "a=b\nc",
                                "SCHILY.xattr.user.k",
                                "v\0w")
                        .entry(h -> h.name("short").type('2').linkName("x")),
                e -> {
                    assertEquals("café/" + "x".repeat(200), e.name);
                    assertEquals("l".repeat(150), e.linkName);
                    assertEquals(3_000_000_000L, e.uid);
                    assertEquals(2_999_999_999L, e.gid);
                    assertEquals(1_700_000_000, e.mtimeSeconds);
                    assertEquals(250_000_000, e.mtimeNanos);
                    assertEquals("user.k", e.xattrs.get(0).name());
                    assertArrayEquals("v\0w".getBytes(ISO_8859_1), e.xattrs.get(0).value());
                });
    }

    @Test
    void pax_emptyValue_leavesTheHeaderAlone() throws Exception {
        single(
                tar().pax("path", "", "uid", "", "mtime", "").file("name", "x"),
                e -> {
                    assertEquals("name", e.name);
                    assertEquals(TarBuilder.MTIME, e.mtimeSeconds);
                });
    }

    @Test
    void pax_appliesToOneEntryOnly() throws Exception {
        StringBuilder names = new StringBuilder();
        read(
                tar().pax("path", "a").file("x", "1").file("b", "2").bytes(),
                Limits.defaults(),
                e -> names.append(e.name).append(' '));
        assertEquals("a b ", names.toString());
    }

    @Test
    void pax_negativeTimeWithFraction_roundsDown() throws Exception {
        PaxRecords records = parse(TarBuilder.record("mtime", "-1.25"));
        assertEquals(-2, records.mtimeSeconds);
        assertEquals(750_000_000, records.mtimeNanos);
        assertEquals(1, parse(TarBuilder.record("mtime", "1.0000000019")).mtimeNanos);
    }

    private static PaxRecords parse(String records) throws TarFormatException {
        byte[] bytes = records.getBytes(ISO_8859_1);
        return PaxRecords.parse(bytes, bytes.length);
    }

    @Test
    void globalHeader_isIgnored_unlessItRenames() throws Exception {
        single(
                tar().pax('g', "comment", "0123456789abcdef", "mtime", "5").file("f", ""),
                e -> assertEquals(TarBuilder.MTIME, e.mtimeSeconds));
        refuses(tar().pax('g', "path", "other").file("f", ""), "global header");
        refuses(tar().pax('g', "size", "5").file("f", ""), "global header");
        refuses(tar().pax('g', "linkpath", "x").file("f", ""), "global header");
    }

    // Sizes

    @Test
    void linksAndDirectories_haveNoContentWhateverTheySay() throws Exception {
        StringBuilder names = new StringBuilder();
        byte[] tar =
                tar().entry(h -> h.name("d").type('5').size(4096))
                        .entry(h -> h.name("h").type('1').size(1024).linkName("x"))
                        .entry(h -> h.name("s").type('2').size(77).linkName("x"))
                        .file("f", "")
                        .bytes();
        read(tar, Limits.defaults(), e -> names.append(e.name).append(e.size).append(' '));
        assertEquals("d0 h0 s0 f0 ", names.toString());
    }

    @Test
    void paxSize_differsFromHeader_isAmbiguous() throws Exception {
        byte[] content = new byte[1024];
        refuses(
                tar().pax("size", "512").entry(content, h -> h.name("f")),
                "ambiguous size: 1024 in the header, 512 in the extended header");
        single(
                tar().pax("size", "1024").entry(content, h -> h.name("f")),
                e -> assertEquals(1024, e.size));
        single(
                tar().pax("size", "1024").entry(content, h -> h.name("f").size(0)),
                e -> assertEquals(1024, e.size));
    }

    @Test
    void paxSize_beforeLongName_appliesToTheFile() throws Exception {
        String name = "n".repeat(150);
        StringBuilder seen = new StringBuilder();
        read(
                tar().pax("size", "5")
                        .longName('L', name)
                        .file("short", "12345")
                        .file("g", "")
                        .bytes(),
                Limits.defaults(),
                e -> seen.append(e.name).append(e.size).append(' '));
        assertEquals(name + "5 g0 ", seen.toString());
    }

    // Malformed

    @Test
    void malformedArchives_areRefused() {
        byte[] good = tar().file("f", "x").bytes();
        byte[] badSum = good.clone();
        badSum[0] = 'g';
        refuses(badSum, "wanted a tar archive");
        refuses(tar().file("f", "x").raw(badSum), "wanted checksum");
        refuses("something that is no archive".repeat(50).getBytes(ISO_8859_1), "wanted a tar");
        refuses("<html>not found</html>".getBytes(ISO_8859_1), "ends inside a header");
        refuses(Arrays.copyOf(good, 300), "ends inside a header");
        refuses(Arrays.copyOf(tar().file("f", "x".repeat(600)).open(), 700), "inside the content");
        refuses(tar().raw(new byte[512]).file("f", ""), "behind a block of zeros");
        refuses(tar().entry(h -> h.name("f").type('V')), "unknown type 0x56");
        refuses(tar().entry(h -> h.name("f").text(124, "1x")), "\"size\" is not a number");
        refuses(tar().entry(h -> h.name("f").base256(124, 12, -1)), "wanted a size from 0 on");
        refuses(
                tar().entry(h -> h.name("f").text(124, "\u00bf" + "\u00ff".repeat(11))),
                "\"size\"");
        refuses(tar().entry(h -> h.name("f").text(108, "9")), "\"uid\" is not a number");
        refuses(tar().pax("path", "x").open(), "behind an extended header");
        refuses(tar().longName('L', "x").bytes(), "behind an extended header");
    }

    @Test
    void archiveWithoutEnd_isAccepted() throws Exception {
        int[] count = {0};
        read(tar().file("f", "x").open(), Limits.defaults(), e -> count[0]++);
        read(tar().file("f", "x").raw(new byte[512]).open(), Limits.defaults(), e -> count[0]++);
        byte[] open = tar().file("f", "x").open();
        read(Arrays.copyOf(open, 513), Limits.defaults(), e -> count[0]++);
        assertEquals(3, count[0]);
    }

    @Test
    void signedChecksum_isAccepted() throws Exception {
        TarBuilder.Header header = new TarBuilder.Header().name("\u00e9");
        byte[] block = header.sealed();
        int sum = 0;
        header.text(148, "        ");
        for (byte b : block) {
            sum += b;
        }
        header.text(148, "%06o\0 ".formatted(sum));
        single(tar().raw(header.block), e -> assertEquals(1, e.name.length()));
    }

    @Test
    void malformedExtendedHeaders_areRefused() {
        String[] records = {
            "5 a=b\n",
            "x",
            "99 path=a\n",
            "6 a=b\n\n",
            "5 =b\n",
            "7 path\n",
            "-6 a=b\n",
            "0 a=b\n",
            "6  a=b\n",
            "18446744073709551622 a=b\n"
        };
        for (String record : records) {
            refuses(
                    tar().entry(record.getBytes(ISO_8859_1), h -> h.name("x").type('x'))
                            .file("f", ""),
                    "extended header");
        }
        refuses(tar().pax("path", "a\0b").file("f", ""), "NUL");
        refuses(tar().pax("size", "-1").file("f", ""), "size: wanted a number");
        refuses(tar().pax("size", "9223372036854775808").file("f", ""), "size: wanted a number");
        refuses(tar().pax("uid", "0x1").file("f", ""), "uid: wanted a number");
        refuses(tar().pax("mtime", "1.2.3").file("f", ""), "mtime: wanted seconds");
        refuses(tar().pax("mtime", "1e9").file("f", ""), "mtime: wanted seconds");
        refuses(tar().pax("LIBARCHIVE.xattr.user.x", "!").file("f", ""), "base64");
        refuses(tar().pax("LIBARCHIVE.xattr.user.%4", "AA").file("f", ""), "malformed name");
        refuses(
                tar().entry(new byte[0], h -> h.name("x").type('x').base256(124, 12, -5)),
                "no valid size");
    }

    // Limits

    @Test
    void limits_haveTheirOwnErrors() throws Exception {
        exceeds(Limits.Key.TAR_ENTRIES, 2, tar().file("a", "").file("b", "").file("c", ""));
        exceeds(Limits.Key.NAME_BYTES, 9, tar().file("n".repeat(10), ""));
        exceeds(Limits.Key.LINK_BYTES, 9, tar().symlink("t".repeat(10), "x"));
        exceeds(
                Limits.Key.PAX_BYTES,
                4999,
                tar().longName('L', "a".repeat(99))
                        .longName('K', "b".repeat(99))
                        .pax("comment", "c".repeat(4800 - 14))
                        .file("f", ""));
    }

    @Test
    void extendedHeader_claimsGigabytes_isRefusedBeforeReading() {
        byte[] header = new TarBuilder.Header().name("x").type('x').size(1L << 32).sealed();
        assertThrows(LimitExceededException.class, () -> read(header, Limits.defaults(), e -> {}));
    }

    // Sparse files

    @Test
    void sparse_maps_areReadInAllForms() throws Exception {
        byte[] data = new byte[1024];
        String map = "2\n1024\n512\n8192\n512\n";
        Consumer<TarEntry> check =
                e -> {
                    assertEquals("real", e.name);
                    SparseMap sparse = e.sparse;
                    assertNotNull(sparse);
                    assertEquals(2, sparse.count());
                    assertEquals(1024, sparse.offset(0));
                    assertEquals(512, sparse.length(0));
                    assertEquals(8192, sparse.offset(1));
                    assertEquals(100_000, sparse.realSize());
                };
        single(
                tar().pax(
                                "GNU.sparse.size", "100000",
                                "GNU.sparse.numblocks", "2",
                                "GNU.sparse.offset", "1024",
                                "GNU.sparse.numbytes", "512",
                                "GNU.sparse.offset", "8192",
                                "GNU.sparse.numbytes", "512")
                        .entry(data, h -> h.name("real")),
                check);
        single(
                tar().pax(
                                "GNU.sparse.size", "100000",
                                "GNU.sparse.numblocks", "2",
                                "GNU.sparse.name", "real",
                                "GNU.sparse.map", "1024,512,8192,512")
                        .entry(data, h -> h.name("GNUSparseFile.0/real")),
                check);
        byte[] mapped = Arrays.copyOf(map.getBytes(ISO_8859_1), 512 + 1024);
        single(
                tar().pax(
                                "GNU.sparse.major", "1",
                                "GNU.sparse.minor", "0",
                                "GNU.sparse.name", "real",
                                "GNU.sparse.realsize", "100000")
                        .entry(mapped, h -> h.name("GNUSparseFile.0/real")),
                check);
        single(
                tar().entry(
                                data,
                                h ->
                                        h.gnu()
                                                .name("real")
                                                .type('S')
                                                .octal(386, 12, 1024)
                                                .octal(398, 12, 512)
                                                .octal(410, 12, 8192)
                                                .octal(422, 12, 512)
                                                .octal(483, 12, 100_000)),
                check);
        single(tar().file("plain", ""), e -> assertNull(e.sparse));
    }

    @Test
    void sparse_mapsThatLie_areRefused() {
        String[][] lies = {
            {"1024,512,512,512", "wanted one from byte 1536"},
            {"0,512,4096,1024", "wanted 1536 bytes of data, got 1024"},
            {"0,512,8192,512", "has a region that ends at 8704"},
            {"0,512,8192", "wanted pairs"},
            {"9223372036854775807,1024", "sparse region 0"},
        };
        for (String[] lie : lies) {
            refuses(
                    tar().pax("GNU.sparse.size", "8200", "GNU.sparse.map", lie[0])
                            .entry(new byte[1024], h -> h.name("f")),
                    lie[1]);
        }
        refuses(
                tar().pax("GNU.sparse.map", "0,0").entry(h -> h.name("f")),
                "without GNU.sparse.size");
        refuses(
                tar().pax("GNU.sparse.major", "2", "GNU.sparse.minor", "0").entry(h -> h.name("f")),
                "sparse format 2.0 is unknown");
        for (String map : new String[] {"x\n", "2\n1\n", "\n", "99999999999999999999\n"}) {
            refuses(
                    tar().pax(
                                    "GNU.sparse.major", "1",
                                    "GNU.sparse.minor", "0",
                                    "GNU.sparse.realsize", "1")
                            .entry(Arrays.copyOf(map.getBytes(ISO_8859_1), 512), h -> h.name("f")),
                    "the sparse map is");
        }
    }

    @Test
    void sparse_hugeFile_exceedsTheLimit() {
        assertThrows(
                LimitExceededException.class,
                () ->
                        read(
                                tar().pax(
                                                "GNU.sparse.size",
                                                Long.toString(1L << 50),
                                                "GNU.sparse.map",
                                                "0,0")
                                        .entry(h -> h.name("f"))
                                        .bytes(),
                                Limits.defaults(),
                                e -> {}));
    }

    // Numbers and paths

    @Test
    void numericFields_octalAndBase256() {
        assertEquals(0, field("\0\0\0\0\0\0\0\0"));
        assertEquals(8, field("   10 \0 "));
        assertEquals(0777, field("0000777\0"));
        assertEquals(077777777, field("77777777"));
        assertEquals(Fields.INVALID, field("0000778\0"));
        assertEquals(Fields.INVALID, field("-000001\0"));
        assertEquals(1, field("\u0080\0\0\0\0\0\0\1"));
        assertEquals(-1, field("\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff"));
        assertEquals(Long.MAX_VALUE, wide(Long.MAX_VALUE));
        assertEquals(Long.MIN_VALUE + 1, wide(Long.MIN_VALUE + 1));
        assertEquals(
                Fields.INVALID,
                Fields.numeric("\u0080\1\0\0\0\0\0\0\0\0\0\0".getBytes(ISO_8859_1), 0, 12));
    }

    private static long field(String bytes) {
        return Fields.numeric(bytes.getBytes(ISO_8859_1), 0, 8);
    }

    private static long wide(long value) {
        return Fields.numeric(new TarBuilder.Header().base256(0, 12, value).block, 0, 12);
    }

    @Test
    void paths_areCleanedLexically() {
        String[][] pairs = {
            {"", ""},
            {"/", ""},
            {".", ""},
            {"./", ""},
            {"..", ""},
            {"../..", ""},
            {"a/..", ""},
            {"a", "a"},
            {"a/", "a"},
            {"/a", "a"},
            {"./a", "a"},
            {"a//b", "a/b"},
            {"a/./b", "a/b"},
            {"a/../b", "b"},
            {"../a", "a"},
            {"a/b/../../../c", "c"},
            {"...", "..."},
            {".a/..b/c.", ".a/..b/c."},
            {"a/b/c", "a/b/c"},
            {"./a/b/", "a/b"}
        };
        for (String[] pair : pairs) {
            assertEquals(pair[1], Paths.clean(pair[0]), pair[0]);
        }
    }
}
