package dev.imgd.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrnoException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FsTest {
    @TempDir Path dir;

    @Test
    void openat2_newFile_isWrittenAndDescribed() throws ErrnoException {
        try (Fd root = Fd.open(dir.toString(), Fs.O_PATH | Fs.O_DIRECTORY, 0)) {
            int fd =
                    Fs.openat2(
                            root.fd(),
                            "a",
                            Fs.O_CREAT | Fs.O_EXCL | Fs.O_WRONLY,
                            0600,
                            Fs.RESOLVE_IN_ROOT);
            Fs.writeFully(fd, ByteBuffer.wrap(new byte[] {1, 2, 3}));
            Fs.fchownat(fd, "", 4294967294L, 7, Fs.AT_EMPTY_PATH);
            Fs.futimens(fd, 5, 6, -7, 8);
            Fs.close(fd);
            Stat stat = Fs.statx(root.fd(), "a", 0, Fs.STATX_ALL);
            assertEquals(3, stat.size());
            assertEquals(4294967294L, stat.uid());
            assertEquals(-7, stat.mtimeSeconds());
            assertEquals(8, stat.mtimeNanos());
        }
    }

    @Test
    void nextEntries_largeDirectory_givesEachNameOnceInSeveralParts() throws ErrnoException {
        String name = "n".repeat(200);
        Set<String> wanted = new HashSet<>();
        try (Fd root = Fd.open(dir.toString(), Fs.O_RDONLY | Fs.O_DIRECTORY, 0)) {
            for (int i = 0; i < 2000; i++) {
                Fs.mkdirat(root.fd(), name + i, 0755);
                wanted.add(name + i);
            }
            Set<String> got = new HashSet<>();
            int parts = 0;
            List<DirectoryEntry> part = Fs.nextEntries(root.fd());
            while (!part.isEmpty()) {
                parts++;
                for (DirectoryEntry entry : part) {
                    assertTrue(got.add(entry.name()), entry.name());
                }
                part = Fs.nextEntries(root.fd());
            }
            assertEquals(wanted, got);
            assertTrue(parts > 1, "parts: " + parts);
            assertEquals(2000, Fs.list(root.fd()).size());
        }
    }
}
