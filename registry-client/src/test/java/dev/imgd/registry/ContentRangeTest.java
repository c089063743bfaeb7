package dev.imgd.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.NullSource;
import org.junit.jupiter.params.provider.ValueSource;

class ContentRangeTest {
    @Test
    void parse_wellFormed_givesAllNumbers() {
        assertEquals(new ContentRange(5, 9, 10), ContentRange.parse("bytes 5-9/10"));
        assertEquals(new ContentRange(0, 0, -1), ContentRange.parse("Bytes 0-0/*"));
        assertEquals(
                new ContentRange(0, 99_999_999_999L, 100_000_000_000L),
                ContentRange.parse("bytes 0-99999999999/100000000000"));
    }

    @ParameterizedTest
    @NullSource
    @ValueSource(
            strings = {
                "",
                "bytes */10",
                "bytes 5-9",
                "bytes 9-5/10",
                "bytes 5-10/10",
                "bytes -5-9/10",
                "bytes 5-9/",
                "bytes 5-9/1x",
                "bytes 5-9/**",
                "bytes 5/9-10",
                "bytes  5-9/10",
                "items 5-9/10",
                "bytes 5-9/9999999999999999999",
            })
    void parse_malformed_isNull(String header) {
        assertNull(ContentRange.parse(header));
    }
}
