package dev.imgd.linux;

import dev.imgd.model.ImageException;
import java.nio.charset.StandardCharsets;

/// Tells a service manager what a service is up to, in datagrams to the Unix socket that it names
/// in `NOTIFY_SOCKET`. The JDK has no Unix sockets for datagrams.
///
/// ```text
/// struct sockaddr_un   family (2 bytes) | path, with a NUL behind it
///                                       | NUL, name: an abstract socket, written as @name
/// ```
///
/// **Source:** sd_notify(3), unix(7), socket(2), sendto(2).
public final class NotifySocket {
    private static final int AF_UNIX = 1;
    private static final int SOCK_DGRAM = 2;
    private static final int SOCK_CLOEXEC = 02000000;
    private static final int MSG_NOSIGNAL = 0x4000;

    /// The longest path with its NUL. **Source:** `UNIX_PATH_MAX` of linux/un.h.
    private static final int PATH_BYTES = 108;

    private static final int FAMILY_BYTES = 2;

    private NotifySocket() {}

    /// Sends one message. Waits when the receiver has not read earlier ones.
    ///
    /// @param address an absolute path, or `@` and the name of an abstract socket
    /// @param message lines of `NAME=value`, for example `READY=1`
    /// @throws ImageException `INVALID_ARGUMENT` for other addresses, [ErrnoException] when nobody
    ///   receives there
    public static void send(String address, String message) throws ImageException {
        Scratch scratch = Scratch.current();
        byte[] text = message.getBytes(StandardCharsets.UTF_8);
        if (text.length > Scratch.BULK_BYTES) {
            throw new IllegalArgumentException("a message of " + text.length + " bytes");
        }
        int length = address(scratch, address);
        scratch.bulk().put(text);
        long result =
                Kernel.call(scratch, Syscall.SOCKET, AF_UNIX, (long) SOCK_DGRAM | SOCK_CLOEXEC, 0);
        try (Fd socket = Fd.of((int) Kernel.check("socket", address, result))) {
            Kernel.check(
                    "sendto",
                    address,
                    Kernel.call(
                            scratch,
                            Syscall.SENDTO,
                            socket.fd(),
                            scratch.bulkAddress(),
                            text.length,
                            MSG_NOSIGNAL,
                            scratch.struct(),
                            length));
        }
    }

    /// Writes a `sockaddr_un` to the struct area.
    ///
    /// @return its length
    static int address(Scratch scratch, String address) throws ImageException {
        boolean isAbstract = address.startsWith("@");
        if (!isAbstract && !address.startsWith("/")) {
            throw ImageException.invalidArgument(
                    "notification socket: wanted an absolute path or @name, got \"%s\""
                            .formatted(Errno.printable(address)));
        }
        byte[] name = FileNames.encode(address);
        if (name.length + (isAbstract ? 0 : 1) > PATH_BYTES) {
            throw ImageException.invalidArgument(
                    "notification socket: wanted an address of at most %d bytes, got %d: \"%s\""
                            .formatted(
                                    isAbstract ? PATH_BYTES : PATH_BYTES - 1,
                                    name.length,
                                    Errno.printable(address)));
        }
        int at = Scratch.STRUCT;
        scratch.memory.putShort(at, (short) AF_UNIX).put(at + FAMILY_BYTES, name);
        if (isAbstract) {
            // The length ends such a name; a NUL would be a part of it.
            scratch.memory.put(at + FAMILY_BYTES, (byte) 0);
            return FAMILY_BYTES + name.length;
        }
        scratch.memory.put(at + FAMILY_BYTES + name.length, (byte) 0);
        return FAMILY_BYTES + name.length + 1;
    }
}
