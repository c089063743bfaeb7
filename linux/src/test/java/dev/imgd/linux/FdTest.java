package dev.imgd.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.imgd.model.ErrnoException;
import org.junit.jupiter.api.Test;

class FdTest {
    @Test
    void close_twice_closesNobodyElses() throws ErrnoException {
        Fd first = Fd.open("/dev/null", Fs.O_RDONLY, 0);
        int number = first.fd();
        first.close();
        try (Fd second = Fd.open("/dev/zero", Fs.O_RDONLY, 0)) {
            assertEquals(number, second.fd());
            first.close();
            assertEquals("/dev/zero", Kernel.describe(second.fd()));
        }
        assertThrows(IllegalStateException.class, first::fd);
    }

    @Test
    void close_alreadyClosedByNumber_tells() throws ErrnoException {
        Fd fd = Fd.open("/dev/null", Fs.O_RDONLY, 0);
        Fs.close(fd.fd());
        ErrnoException e = assertThrows(ErrnoException.class, fd::close);
        assertEquals(Errno.EBADF, e.errno());
    }

    @Test
    void release_givesTheNumberAway() throws ErrnoException {
        Fd fd = Fd.open("/dev/null", Fs.O_RDONLY, 0);
        int number = fd.release();
        fd.close();
        assertEquals("/dev/null", Kernel.describe(number));
        Fs.close(number);
        assertEquals("descriptor " + number, Kernel.describe(number));
        assertThrows(IllegalStateException.class, fd::release);
    }

    @Test
    void of_negativeNumber_isRefused() {
        assertThrows(IllegalArgumentException.class, () -> Fd.of(-1));
    }
}
