package dev.imgd.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.imgd.model.ErrnoException;
import org.junit.jupiter.api.Test;

class ErrnoTest {
    @Test
    void text_numbersOfTheModel_areThoseOfTheSystem() {
        assertEquals("No such file or directory", Errno.text(ErrnoException.ENOENT));
        assertEquals("No space left on device", Errno.text(ErrnoException.ENOSPC));
        assertEquals("Invalid cross-device link", Errno.text(ErrnoException.EXDEV));
        assertEquals("Function not implemented", Errno.text(ErrnoException.ENOSYS));
        assertEquals("Operation not supported", Errno.text(ErrnoException.EOPNOTSUPP));
        assertEquals("Disk quota exceeded", Errno.text(ErrnoException.EDQUOT));
        assertEquals("Memory page has hardware error", Errno.text(133));
    }

    @Test
    void text_unknownNumbers_areShown() {
        assertEquals("Unknown error 0", Errno.text(0));
        assertEquals("Unknown error 41", Errno.text(41));
        assertEquals("Unknown error 134", Errno.text(134));
    }

    @Test
    void printable_hostileNames_stayOnOneLine() {
        assertEquals("plain ü 😀", Errno.printable("plain ü 😀"));
        assertEquals("a\\x0ab\\x1b[31m\\x7f\\x85", Errno.printable("a\nb\u001b[31m\u007f\u0085"));
        assertEquals("\\xff😀\\x80", Errno.printable("\udcff😀\udc80"));
        assertEquals("\\x0a\ud83d\udc80", Errno.printable("\n\ud83d\udc80"));
    }
}
