package dev.imgd.model;

import static dev.imgd.model.Errors.assertFails;
import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_16;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class JsonTest {
    private static JsonNode parse(String text) throws ImageException {
        return Json.parse("doc", text.getBytes(UTF_8));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '\'',
            value = {
                "'' | the document is empty",
                "'  ' | the document is empty",
                "{ | (line 1, column",
                "{\"a\":1,} | (line 1, column 8)",
                "{\"a\":1}{\"a\":1} | more data after the document (line 1, column 8)",
                "[1] x | not valid JSON",
                "{\"a\":1,\"a\":2} | doc: a: the name occurs twice",
                "{\"x\":[{\"a\":1,\"\\u0061\":2}]} | doc: x[0].a: the name occurs twice",
                "{'a':1} | not valid JSON",
                "[1 /* comment */] | not valid JSON",
                "[NaN] | not valid JSON",
                "[Infinity] | not valid JSON",
                "[01] | not valid JSON",
                "[+1] | not valid JSON",
                "[.5] | not valid JSON",
                "[1.] | not valid JSON",
                "[tru] | not valid JSON",
                "[\"\\x\"] | not valid JSON",
                "[\"\\u12\"] | not valid JSON",
            })
    void parse_malformed_saysWhere(String text, String message) {
        assertFails(ErrorKind.INVALID_CONTENT, message, () -> parse(text));
    }

    @Test
    void parse_cutOff_isSaidInPlainWords() {
        ImageException e = assertThrows(ImageException.class, () -> parse("{\"a\": [1,\n"));
        assertTrue(
                e.getMessage().endsWith(": it ends in the middle (line 2, column 1, in /a)"),
                e.getMessage());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "x|wanted a string in double quotes, a number, an array,",
                "[tru]|wanted a string in double quotes",
                "[,1]|wanted a string in double quotes",
                "[NaN]|wanted a string in double quotes",
                "0\u0081|a control character (line",
                "[\u0001]|a control character (line",
                "[\"a\u0001\"]|a control character that is not escaped (line",
                "[1 2]|wanted a comma, or the end of the array or object (line",
                "{\"a\":1 \"b\":2}|wanted a comma, or the end of the array or object (line",
                "{a:1}|wanted a name in double quotes (line",
                "{\"a\" 1}|wanted a colon after a name (line",
                "{\"a\":[1}}|the wrong closing bracket (line 1, column 8, in /a)",
                "]|a closing bracket of nothing (line",
                "[/* a */]|a comment, which JSON does not have (line",
                "[01]|wanted a number as JSON writes them (line",
                "[+1]|wanted a number as JSON writes them (line",
                "[-]|wanted a number as JSON writes them (line",
                "[1.]|wanted a number as JSON writes them (line",
                "[1.e]|wanted a number as JSON writes them (line",
                "[1.2.3]|wanted a number as JSON writes them (line",
                "[1e]|wanted a number as JSON writes them (line",
                "[0x1]|wanted a number as JSON writes them (line",
                "[1x]|wanted a comma, or the end of the array or object (line",
                "[.5]|wanted a string in double quotes",
                "1x|wanted nothing more, or white space (line",
                "{\"\\ud800\":1}|half of a surrogate pair (line",
                "[\"\\x\"]|wanted one of the escapes \\\", \\\\, \\/, \\b, \\f, \\n, \\r, \\t, or \\u and",
                "[\"\\u12\"]|wanted one of the escapes",
                "[\"a|it ends in the middle (line",
                "{\"a|it ends in the middle (line"
            })
    void parse_wrong_isSaidInPlainWords(String text, String words) {
        ImageException e = assertThrows(ImageException.class, () -> parse(text));
        assertTrue(e.getMessage().contains("not valid JSON: " + words), e.getMessage());
        for (String program :
                List.of(
                        "CTRL-CHAR",
                        "(code 50)",
                        "REDACTED",
                        "token",
                        "JSON String",
                        "JsonReadFeature",
                        "breaks a rule")) {
            assertFalse(e.getMessage().contains(program), e.getMessage());
        }
    }

    /// A document may be a file of credentials that somebody edited: whatever is wrong with it, and
    /// wherever the secret stands.
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "{\"auths\":{\"r\":{\"auth\":hunter2}}}|, in /auths/r)",
                "{\"auths\":{\"r\":[0,{\"auth\":hunter2==}]}}|, in /auths/r/1)",
                "{\"auths\":{\"r\":{\"auth\":'hunter2'}}}|, in /auths/r)",
                "{\"auths\":{\"r\":{\"auth\",\"hunter2\"}}}|, in /auths/r)",
                "{\"auths\":{\"r\":{\"hunter2\"}}}|, in /auths/r)",
                "{\"auths\":{\"r\":{hunter2}}}|, in /auths/r)",
                "{\"auths\":{\"r\":\"hunter2|, in /auths)",
                "{\"auths\":{\"r\":\"hunter2\u0001\"}}|, in /auths)",
                "{\"auths\":{\"r\":\"\\hunter2\"}}|, in /auths)",
                "{\"auths\":{\"r\":\"hunter2\"hunter2}}|, in /auths)",
                "{\"auths\":{\"r\":-hunter2}}|, in /auths)",
                "{\"auths\":{\"r\":7hunter2}}|, in /auths)",
                "{\"auths\":{\"r\":truehunter2}}|, in /auths)",
                "{\"auths\":{\"https://me:hunter2@r/v1/\":{\"auth\":x}}}|, in /auths/https:~1~1…@r~1v1~1)",
                "{\"auths\":{\"r/?sig=hunter2\":[{\"auth\":x}]}}|, in /auths/r~1/0)",
                "hunter2|(line 1, column",
                "{} hunter2|(line 1, column",
                "7hunter2|(line 1, column",
            })
    void parse_malformed_quotesNothing(String text, String place) {
        ImageException e = assertThrows(ImageException.class, () -> parse(text));
        assertTrue(e.getMessage().contains("not valid JSON: "), e.getMessage());
        assertTrue(e.getMessage().contains(place), e.getMessage());
        StringWriter all = new StringWriter();
        e.printStackTrace(new PrintWriter(all));
        assertFalse(all.toString().contains("unter"), all::toString);
    }

    /// A name may be a URL, and have a password.
    @Test
    void where_nameIsAUrl_hasNoSecret() throws Exception {
        JsonNode root = parse("{\"auths\":{\"https://me:hunter2@r/v1/?t=hunter2\":{\"auth\":1}}}");
        JsonNode entry = root.require("auths").members().values().iterator().next();
        assertEquals("doc: auths.https://…@r/v1/", entry.where());
        JsonNode other =
                parse("{\"me:hunter2@r\":{\"a\":[1]}}").members().values().iterator().next();
        assertEquals("doc: …@r.a[0]", other.require("a").items().getFirst().where());
        assertFails(
                ErrorKind.INVALID_CONTENT,
                "doc: …@r: the name occurs twice",
                () -> parse("{\"me:hunter2@r\":1,\"me:hunter2@r\":2}"));
    }

    @Test
    void parse_controlCharacterInString_fails() {
        assertFails(ErrorKind.INVALID_CONTENT, "not valid JSON", () -> parse("[\"a\u0001b\"]"));
        assertFails(ErrorKind.INVALID_CONTENT, "not valid JSON", () -> parse("[\"a\nb\"]"));
        assertFails(ErrorKind.INVALID_CONTENT, "not valid JSON", () -> parse("[\u0000]"));
    }

    @Test
    void parse_notUtf8_fails() {
        for (byte[] document :
                List.of(
                        "[\"é\"]".getBytes(ISO_8859_1),
                        "[1]".getBytes(UTF_16),
                        new byte[] {'"', (byte) 0xc0, (byte) 0xaf, '"'},
                        new byte[] {'"', (byte) 0xed, (byte) 0xa0, (byte) 0x80, '"'},
                        new byte[] {'"', (byte) 0xe2, (byte) 0x82})) {
            assertFails(
                    ErrorKind.INVALID_CONTENT,
                    "not UTF-8 at byte",
                    () -> Json.parse("doc", document));
        }
        assertFails(ErrorKind.INVALID_CONTENT, "not valid JSON", () -> parse("\ufeff[]"));
    }

    @Test
    void parse_nesting_has64LevelsAndNoMore() throws Exception {
        parse("[".repeat(64) + "]".repeat(64));
        assertFails(
                ErrorKind.LIMIT_EXCEEDED,
                "exceeds the limit of 64; raise limits.json_depth ",
                () -> parse("[".repeat(65) + "]".repeat(65)));
        assertFails(
                ErrorKind.LIMIT_EXCEEDED,
                "limits.json_depth",
                () -> parse("{\"a\":".repeat(500_000)));
    }

    @Test
    void parse_numbers_have32CharactersAndNoMore() throws Exception {
        parse("[" + "9".repeat(32) + "]");
        assertFails(ErrorKind.INVALID_CONTENT, "32", () -> parse("[" + "9".repeat(33) + "]"));
        assertFails(ErrorKind.INVALID_CONTENT, "32", () -> parse("[1." + "9".repeat(5_000) + "]"));
        parse("[1e999999999]");
    }

    @Test
    void parse_strings_haveOneMebiCharactersAndNoMore() throws Exception {
        String longest = "x".repeat(1 << 20);
        assertEquals(longest, parse("\"" + longest + "\"").text());
        assertFails(
                ErrorKind.LIMIT_EXCEEDED,
                "exceeds the limit of 1048576; raise limits.json_string_chars ",
                () -> parse("\"" + longest + "x\""));
        assertFails(
                ErrorKind.INVALID_CONTENT,
                "65536",
                () -> parse("{\"" + "x".repeat(65_537) + "\":1}"));
    }

    @Test
    void parse_documentTooLong_namesTheKey() throws Exception {
        byte[] largest = " ".repeat(4 << 20).getBytes(UTF_8);
        largest[0] = '1';
        Json.parse("doc", largest);
        byte[] tooLarge = java.util.Arrays.copyOf(largest, largest.length + 1);
        assertFails(
                ErrorKind.LIMIT_EXCEEDED,
                "doc: exceeds the limit of 4 MiB; raise limits.manifest_bytes",
                () -> Json.parse("doc", tooLarge));
    }

    @Test
    void parse_tooManyTokens_fails() {
        assertFails(
                ErrorKind.LIMIT_EXCEEDED,
                "doc: number of tokens",
                () -> parse("[" + "0,".repeat(600_000) + "0]"));
    }

    @Test
    void parse_escapedLoneSurrogates_areReplaced() throws Exception {
        assertEquals("a\ufffdb", parse("\"a\\ud800b\"").text());
        assertEquals("\ufffd", parse("\"\\udc00\"").text());
        assertEquals("\ud83d\ude00", parse("\"\\ud83d\\ude00\"").text());
        assertFails(ErrorKind.INVALID_CONTENT, "urrogate", () -> parse("{\"\\ud800\":1}"));
    }

    @Test
    void parse_hostileText_neverReachesTheMessage() {
        assertFails(
                ErrorKind.INVALID_CONTENT,
                "\\u001b",
                () -> parse("{\"\\u001b[31m\":[1]}").items("\u001b[31m").getFirst().text());
    }

    @Test
    void accessors_readWhatIsThere() throws Exception {
        JsonNode root =
                parse(
                        "{\"s\":\"t\",\"n\":-5,\"b\":true,\"z\":null,\"l\":[\"x\",null],"
                                + "\"m\":{\"k\":\"v\",\"j\":null},\"o\":{\"p\":{}}}");
        assertEquals("t", root.text("s", "-"));
        assertEquals("-", root.text("z", "-"));
        assertEquals("-", root.text("absent", "-"));
        assertEquals(-5, root.integer("n", -5, 0, 9));
        assertEquals(9, root.integer("absent", -5, 0, 9));
        assertTrue(root.bool("b", false));
        assertEquals(List.of("x", ""), root.texts("l"));
        assertEquals(List.of(), root.texts("z"));
        assertEquals(Map.of("k", "v", "j", ""), root.textMap("m"));
        assertEquals(Map.of(), root.textMap("absent"));
        assertEquals(List.of("p"), root.names("o"));
        assertEquals(Optional.empty(), root.find("z"));
        assertEquals("doc: m.k", root.require("m").require("k").where());
        assertEquals(7, root.members().size());
        assertThrows(UnsupportedOperationException.class, () -> root.members().clear());
    }

    @Test
    void accessors_wrongKind_saysWhereAndWhat() throws Exception {
        JsonNode root = parse("{\"a\":[{\"b\":\"x\"},3.5,1e3,99999999999999999999],\"N\":1}");
        assertFails(
                ErrorKind.INVALID_CONTENT,
                "doc: a[0].b: wanted a number, got a string",
                () -> root.items("a").getFirst().integer("b", 0, 1, 0));
        assertFails(
                ErrorKind.INVALID_CONTENT,
                "doc: a[0]: \"c\" is missing",
                () -> root.items("a").getFirst().require("c"));
        for (int i = 1; i < 4; i++) {
            JsonNode number = root.items("a").get(i);
            assertFails(
                    ErrorKind.INVALID_CONTENT,
                    "wanted an integer from 0 to 10, got ",
                    () -> number.integer(0, 10));
        }
        assertFails(ErrorKind.INVALID_CONTENT, "\"n\" is missing", () -> root.require("n"));
        assertFails(ErrorKind.INVALID_CONTENT, "doc: wanted an array", root::items);
        assertFails(ErrorKind.INVALID_CONTENT, "doc: wanted a string", root::text);
        assertFails(ErrorKind.INVALID_CONTENT, "a: wanted an object", () -> root.textMap("a"));
    }

    @Test
    void writer_compact_escapesAndSorts() {
        String text =
                JsonWriter.compact()
                        .beginObject()
                        .member("s", "a\"\\\n\u001b\u0085\ud800é😀")
                        .member("n", Long.MIN_VALUE)
                        .member("b", true)
                        .member("l", List.of("x", "y"))
                        .member("m", Map.of("b", "2", "a", "1"))
                        .name("z")
                        .nullValue()
                        .beginArray("e")
                        .endArray()
                        .endObject()
                        .toString();
        assertEquals(
                "{\"s\":\"a\\\"\\\\\\n\\u001b\\u0085\ufffdé😀\",\"n\":-9223372036854775808,"
                        + "\"b\":true,"
                        + "\"l\":[\"x\",\"y\"],\"m\":{\"a\":\"1\",\"b\":\"2\"},\"z\":null,"
                        + "\"e\":[]}",
                text);
    }

    @Test
    void writer_indented_putsMembersOnLines() {
        String text =
                JsonWriter.indented()
                        .beginObject()
                        .member("a", 1)
                        .beginArray("b")
                        .value(2)
                        .beginObject()
                        .endObject()
                        .endArray()
                        .endObject()
                        .toString();
        assertEquals("{\n  \"a\": 1,\n  \"b\": [\n    2,\n    {}\n  ]\n}", text);
    }

    @Test
    void writer_misuse_isAProgrammingError() {
        Class<IllegalStateException> error = IllegalStateException.class;
        assertThrows(error, () -> JsonWriter.compact().toString());
        assertThrows(error, () -> JsonWriter.compact().name("a"));
        assertThrows(error, () -> JsonWriter.compact().beginObject().value(1));
        assertThrows(error, () -> JsonWriter.compact().beginObject().name("a").name("b"));
        assertThrows(error, () -> JsonWriter.compact().beginObject().name("a").endObject());
        assertThrows(error, () -> JsonWriter.compact().beginObject().endArray());
        assertThrows(error, () -> JsonWriter.compact().value(1).value(2));
        JsonWriter deep = JsonWriter.compact();
        for (int i = 0; i < JsonWriter.MAX_DEPTH; i++) {
            deep.beginArray();
        }
        assertThrows(error, deep::beginArray);
    }
}
