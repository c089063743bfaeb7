package dev.imgd.testkit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class RequiredTest {
    @Test
    void tool_thatIsThere_letsTheTestRun() {
        Required.tool("sh", "ls");
        Required.library("libc.so.6", true);
    }

    /// Whether that is a failure or a skip depends on where this runs; it never goes on.
    @Test
    void tool_thatIsMissing_endsTheTestAndNamesIt() {
        Throwable e =
                assertThrows(Throwable.class, () -> Required.tool("sh", "no-such-program-here"));
        assertTrue(
                String.valueOf(e.getMessage()).contains("not installed: no-such-program-here"),
                e.toString());
        assertThrows(Throwable.class, () -> Required.library("libnone.so.9", false));
    }

    @ParameterizedTest
    @CsvSource({"true,,true", ",true,true", "false,,false", ",,false", "yes,no,false"})
    void requiresAll_onlyWhereSaid(String ci, String all, boolean expected) {
        assertEquals(expected, Required.requiresAll(ci, all));
    }
}
