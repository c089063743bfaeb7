package dev.imgd.linux;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.imgd.model.ErrnoException;
import java.util.Random;
import org.junit.jupiter.api.Test;

class FileNamesTest {
    @Test
    void decode_validText_isUtf8() {
        for (String text : new String[] {"", "a", "ü", "€", "😀", "\ufffd", "a\ufffdb", "\uffff"}) {
            assertEquals(text, FileNames.decode(text.getBytes(UTF_8)));
            assertArrayEquals(text.getBytes(UTF_8), FileNames.encode(text));
        }
    }

    @Test
    void decode_invalidBytes_areSurrogatesOfTheirOwn() {
        assertEquals("a\udcffb", FileNames.decode(new byte[] {'a', (byte) 0xff, 'b'}));
        assertEquals("\udcc0\udc80", FileNames.decode(new byte[] {(byte) 0xc0, (byte) 0x80}));
        assertEquals("\udce2\udc82", FileNames.decode(new byte[] {(byte) 0xe2, (byte) 0x82}));
        assertEquals(
                "\udced\udca0\udc80",
                FileNames.decode(new byte[] {(byte) 0xed, (byte) 0xa0, (byte) 0x80}));
        assertEquals(
                "\udcf4\udc90\udc80\udc80",
                FileNames.decode(new byte[] {(byte) 0xf4, (byte) 0x90, (byte) 0x80, (byte) 0x80}));
    }

    @Test
    void encode_decodedRandomBytes_givesThemBack() {
        Random random = new Random(1);
        byte[] interesting = {
            0x41,
            (byte) 0x80,
            (byte) 0xbf,
            (byte) 0xc3,
            (byte) 0xe2,
            (byte) 0xed,
            (byte) 0xef,
            (byte) 0xf0,
            (byte) 0x9f,
            (byte) 0xf4,
            (byte) 0x8f,
            (byte) 0xbd
        };
        for (int round = 0; round < 20_000; round++) {
            byte[] bytes = new byte[random.nextInt(12)];
            for (int i = 0; i < bytes.length; i++) {
                bytes[i] =
                        random.nextInt(4) == 0
                                ? (byte) random.nextInt()
                                : interesting[random.nextInt(interesting.length)];
            }
            String text = FileNames.decode(bytes);
            assertArrayEquals(bytes, FileNames.encode(text), () -> "of " + text);
        }
    }

    @Test
    void encode_loneSurrogates_areRefused() {
        for (String text :
                new String[] {"\ud800", "a\udc00", "\udc7f", "\udd00b", "\ud800\ud800"}) {
            assertThrows(IllegalArgumentException.class, () -> FileNames.encode(text));
        }
    }

    @Test
    void encode_smallRoom_isTooLongAtEveryCut() {
        String text = "aü€😀\udcff";
        int size = 1 + 2 + 3 + 4 + 1;
        assertEquals(size, FileNames.encode(text, new byte[size]));
        for (int room = 0; room < size; room++) {
            assertEquals(-ErrnoException.ENAMETOOLONG, FileNames.encode(text, new byte[room]));
        }
        assertEquals(-ErrnoException.EINVAL, FileNames.encode("a\0", new byte[10]));
    }
}
