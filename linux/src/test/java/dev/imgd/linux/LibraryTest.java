package dev.imgd.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;

class LibraryTest {
    @Test
    void find_noneInstalled_hasNothing() {
        Library none = Library.find("libimgd-is-not-there.so.1", "libnor-this.so");
        assertFalse(none.has("malloc"));
        assertEquals(MemorySegment.NULL, none.address("malloc"));
    }

    @Test
    void find_secondNameInstalled_hasItsFunctions() {
        Library libc = Library.find("libimgd-is-not-there.so.1", "libc.so.6");
        assertTrue(libc.has("malloc", "free"));
        assertFalse(libc.has("malloc", "imgd_is_not_there"));
        assertNotEquals(MemorySegment.NULL, libc.address("malloc"));
    }
}
