package dev.imgd.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class NoticesTest {
    private static List<String> parse(String... headers) {
        return Notices.parse(List.of(headers));
    }

    @Test
    void parse_warnings_areTheirTexts() {
        assertEquals(List.of("Old."), parse("299 - \"Old.\""));
        assertEquals(List.of("a, b", "c"), parse("299 - \"a, b\" , 299 - \"c\""));
        assertEquals(List.of("a", "b"), parse("299 - \"a\"", "299 - \"b\""));
        assertEquals(List.of("say \"hi\" \\"), parse("299 - \"say \\\"hi\\\" \\\\\""));
        assertEquals(List.of("bénin"), parse("299 - \"bénin\""));
    }

    @Test
    void parse_whatIsNoWarningForPeople_isLeftOut() {
        for (String header :
                List.of(
                        "",
                        "old",
                        "110 - \"stale\"",
                        "299 proxy.example \"from a cache\"",
                        "299 - old",
                        "299 - \"without end",
                        "299 - \"ends in an escape\\",
                        "299 - \"\"",
                        "299 - \"  \"")) {
            assertEquals(List.of(), parse(header), header);
        }
        assertEquals(List.of("a"), parse("299 - \"a\" \"Tue, 15 Nov 1994 08:12:31 GMT\""));
    }

    @Test
    void parse_hostileText_isBoundedAndPrintable() {
        assertEquals(
                List.of("\\u001b[31mred\\u202e\\u0085"),
                parse("299 - \"\u001b[31mred\u202e\u0085\""));
        String shown = parse("299 - \"" + "x".repeat(4000) + "\"").getFirst();
        assertEquals("x".repeat(300) + "…", shown);
        assertTrue(parse("299 - \"" + "x".repeat(5000) + "\"").isEmpty());
        String[] many = new String[100];
        Arrays.fill(many, "299 - \"" + "y".repeat(992) + "\"");
        assertEquals(4, parse(many).size());
    }
}
