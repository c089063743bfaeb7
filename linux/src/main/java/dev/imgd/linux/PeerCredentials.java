package dev.imgd.linux;

import dev.imgd.model.ErrnoException;

/// Who is at the other end of a Unix socket, as the kernel recorded it when the socket connected.
///
/// @param pid the process, or 0 if it lives in a pid namespace this one cannot see
/// @param uid 0 to 4294967295
/// @param gid 0 to 4294967295
public record PeerCredentials(int pid, long uid, long gid) {
    private static final int SOL_SOCKET = 1;
    private static final int SO_PEERCRED = 17;
    private static final int UCRED_BYTES = 12;

    /// Returns the credentials of a connected Unix socket's peer. **Source:** unix(7).
    ///
    /// @throws ErrnoException ENOTSOCK or EBADF if the descriptor is no socket
    public static PeerCredentials of(int socket) throws ErrnoException {
        Scratch scratch = Scratch.current();
        int at = Scratch.STRUCT;
        scratch.memory.putInt(at + UCRED_BYTES, UCRED_BYTES);
        long result =
                Kernel.call(
                        scratch,
                        Syscall.GETSOCKOPT,
                        socket,
                        SOL_SOCKET,
                        SO_PEERCRED,
                        scratch.struct(),
                        scratch.struct() + UCRED_BYTES,
                        0);
        Kernel.check("getsockopt SO_PEERCRED", socket, result);
        return new PeerCredentials(
                scratch.memory.getInt(at),
                Integer.toUnsignedLong(scratch.memory.getInt(at + 4)),
                Integer.toUnsignedLong(scratch.memory.getInt(at + 8)));
    }
}
