package dev.imgd.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class FilterTest {
    private static final SnapshotInfo SNAPSHOT =
            new SnapshotInfo(
                    "default/3/a b",
                    "p\"q",
                    Kind.VIEW,
                    Instant.EPOCH,
                    Instant.EPOCH,
                    Map.of("simple", "v1", "a.b/c", "x,y", "empty", "", "path", "/one/two"));

    // Delimiter ;, because commas belong to the language.
    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            quoteCharacter = '\0',
            value = {
                "name==\"default/3/a b\"; true",
                "name==default/3/a; false",
                "name!=x; true",
                "name; true",
                "parent; true",
                "parent==\"p\\\"q\"; true",
                "parent==\"p\\x22q\"; true",
                "parent==\"p\\042q\"; true",
                "parent==\"p\\u0022q\"; true",
                "kind==view; true",
                "kind==active; false",
                "kind~=^(view|active)$; true",
                "labels.simple; true",
                "labels.simple==v1; true",
                "labels.\"simple\"==v1; true",
                "labels.other; false",
                "labels.other!=v; true",
                "labels.empty; true",
                "labels.empty==\"\"; true",
                "labels.other==\"\"; false",
                "labels.\"a.b/c\"==\"x,y\"; true",
                "labels.a.\"b/c\"==\"x,y\"; true",
                "labels.path~=/^\\/one/; true",
                "labels.path~=|one/tw$|; false",
                "labels.path~=|one/two|; true",
                "name==x,labels.simple; false",
                "kind==view,labels.simple~=1$; true",
                "kind == view , labels.simple == v1 ; true",
                "unknown; false",
                "unknown!=x; true"
            })
    void matches_selectors_asContainerdDoes(String filter, boolean wanted) throws ImageException {
        assertEquals(wanted, Filter.parse(List.of(filter)).matches(SNAPSHOT));
    }

    @Test
    void matches_list_anyHolds() throws ImageException {
        assertTrue(Filter.parse(List.of()).matches(SNAPSHOT));
        assertTrue(Filter.parse(List.of("")).matches(SNAPSHOT));
        assertTrue(Filter.parse(List.of("name==x", "kind==view")).matches(SNAPSHOT));
        assertEquals(false, Filter.parse(List.of("name==x", "kind==active")).matches(SNAPSHOT));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "=",
                "name=",
                "name==",
                "name=x",
                "name<x",
                "name==a b",
                "name==a,",
                ",name",
                "name==\"a",
                "name==\"\\q\"",
                "name==\"\\x4\"",
                "name==\"\\UFFFFFFFF\"",
                "labels.",
                "labels..x",
                "name~=[",
                "name~=/a",
                "name==a|b c",
                "-x",
                "name==\"a\"b"
            })
    void parse_malformed_isInvalidArgument(String filter) {
        ImageException error =
                assertThrows(ImageException.class, () -> Filter.parse(List.of(filter)));
        assertEquals(ErrorKind.INVALID_ARGUMENT, error.kind());
        assertTrue(error.getMessage().contains("position"), error.getMessage());
    }
}
