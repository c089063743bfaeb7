package dev.imgd.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.imgd.model.ErrnoException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

class PeerCredentialsTest {
    private static final int SOCKETPAIR = Syscall.X86_64 ? 53 : 199;
    private static final int AF_UNIX = 1;
    private static final int SOCK_STREAM = 1;

    @Test
    void of_socketOfThisProcess_isThisProcess() throws Exception {
        Scratch scratch = Scratch.current();
        long result = Kernel.call(scratch, SOCKETPAIR, AF_UNIX, SOCK_STREAM, 0, scratch.struct());
        Kernel.check("socketpair", "", result);
        int one = scratch.memory.getInt(Scratch.STRUCT);
        int two = scratch.memory.getInt(Scratch.STRUCT + 4);
        try {
            PeerCredentials peer = PeerCredentials.of(one);
            assertEquals(ProcessHandle.current().pid(), peer.pid());
            Path self = Path.of("/proc/self");
            assertEquals(Files.getAttribute(self, "unix:uid"), (int) peer.uid());
            assertEquals(Files.getAttribute(self, "unix:gid"), (int) peer.gid());
        } finally {
            Fs.close(one);
            Fs.close(two);
        }
    }

    @Test
    void of_file_isNoSocket() throws Exception {
        try (Fd file = Fd.open("/dev/null", Fs.O_RDONLY, 0)) {
            ErrnoException e =
                    assertThrows(ErrnoException.class, () -> PeerCredentials.of(file.fd()));
            assertEquals(Errno.ENOTSOCK, e.errno());
        }
    }
}
