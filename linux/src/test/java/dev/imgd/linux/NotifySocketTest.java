package dev.imgd.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrnoException;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class NotifySocketTest {
    private static final int BIND = Syscall.X86_64 ? 49 : 200;
    private static final int RECVFROM = Syscall.X86_64 ? 45 : 207;
    private static final int AF_UNIX = 1;
    private static final int SOCK_DGRAM = 2;
    private static final int MSG_DONTWAIT = 0x40;

    /// A socket of a service manager, bound in the kernel.
    private record Receiver(Fd socket) implements AutoCloseable {
        static Receiver at(String address) throws ImageException {
            Scratch scratch = Scratch.current();
            long fd = Kernel.call(scratch, Syscall.SOCKET, AF_UNIX, SOCK_DGRAM, 0);
            Receiver receiver = new Receiver(Fd.of((int) Kernel.check("socket", address, fd)));
            int length = NotifySocket.address(scratch, address);
            int socket = receiver.socket.fd();
            Kernel.check(
                    "bind", address, Kernel.call(scratch, BIND, socket, scratch.struct(), length));
            return receiver;
        }

        /// The next datagram, which must be there already.
        String receive() throws ErrnoException {
            Scratch scratch = Scratch.current();
            long room = scratch.secondRoom();
            int fd = socket.fd();
            long count =
                    Kernel.call(scratch, RECVFROM, fd, room, Scratch.PATH_MAX, MSG_DONTWAIT, 0, 0);
            return scratch.secondText((int) Kernel.check("recvfrom", fd, count));
        }

        @Override
        public void close() throws ErrnoException {
            socket.close();
        }
    }

    @TempDir Path directory;

    @Test
    void send_toAPath_isOneDatagramEach() throws Exception {
        String address = directory.resolve("notify ü").toString();
        try (Receiver receiver = Receiver.at(address)) {
            NotifySocket.send(address, "READY=1");
            NotifySocket.send(address, "STOPPING=1\nSTATUS=ends");
            assertEquals("READY=1", receiver.receive());
            assertEquals("STOPPING=1\nSTATUS=ends", receiver.receive());
        }
    }

    @Test
    void send_toAnAbstractName_arrives() throws Exception {
        // As long as there is room for, and a shorter one, which must not keep a rest of it.
        String prefix = "@imgd-test-" + ProcessHandle.current().pid() + "-";
        for (String address : new String[] {prefix + "x".repeat(108 - prefix.length()), prefix}) {
            try (Receiver receiver = Receiver.at(address)) {
                assertTrue(
                        Files.readString(Path.of("/proc/net/unix"))
                                .lines()
                                .anyMatch(line -> line.endsWith(" " + address)),
                        address);
                NotifySocket.send(address, "READY=1");
                assertEquals("READY=1", receiver.receive());
            }
        }
    }

    @Test
    void send_whereNobodyReceives_saysWhere() {
        String address = directory.resolve("absent").toString();
        ErrnoException e =
                assertThrows(ErrnoException.class, () -> NotifySocket.send(address, "READY=1"));
        assertEquals(ErrnoException.ENOENT, e.errno());
        assertTrue(e.getMessage().contains(address), e.getMessage());
    }

    @Test
    void send_toWhatIsNoAddress_isRefused() throws Exception {
        String longest = "/" + "a".repeat(107);
        assertEquals(108, longest.getBytes(StandardCharsets.UTF_8).length);
        for (String address : new String[] {"", "relative", "vsock:2:1", longest, "@" + longest}) {
            ImageException e =
                    assertThrows(ImageException.class, () -> NotifySocket.send(address, "READY=1"));
            assertEquals(ErrorKind.INVALID_ARGUMENT, e.kind(), e.getMessage());
        }
    }
}
