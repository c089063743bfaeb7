package dev.imgd.model;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SpellingTest {
    @ParameterizedTest
    @CsvSource({
        "'', '', 0",
        "abc, abc, 0",
        "abc, '', 3",
        "kitten, sitting, 3",
        "impotr, import, 1",
        "ab, ba, 1",
        "ca, abc, 3"
    })
    void distance_countsMistakes(String a, String b, int expected) {
        assertEquals(expected, Spelling.distance(a, b));
        assertEquals(expected, Spelling.distance(b, a));
    }

    @Test
    void nearest_isNearOrNothing() {
        List<String> known = List.of("pull", "push", "ls", "--platform", "--plain-http");
        assertEquals(Optional.of("pull"), Spelling.nearest("pul", known));
        assertEquals(Optional.of("push"), Spelling.nearest("PSUH", known));
        assertEquals(Optional.of("ls"), Spelling.nearest("lss", known));
        assertEquals(Optional.of("--platform"), Spelling.nearest("--plattform", known));
        assertEquals(Optional.of("--plain-http"), Spelling.nearest("--plainhttp", known));
        assertEquals(Optional.empty(), Spelling.nearest("images", known));
        assertEquals(Optional.empty(), Spelling.nearest("--frobnicate", known));
        assertEquals(Optional.empty(), Spelling.nearest("", List.of()));
    }
}
