package dev.imgd.linux;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.imgd.model.ImageException;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.ReadOnlyBufferException;

/// Streaming inflate of raw DEFLATE data by Intel's ISA-L.
///
/// The CRC-32 of the output is computed on the way. Input is never taken beyond the end of the
/// stream: what follows, a gzip trailer for example, stays in the input buffer. Not thread-safe.
/// The state is native memory that is freed with the object; [#close] ends its use early, [#reset]
/// allows the next stream.
///
/// **Source:** RFC 1951; isa-l/igzip_lib.h, `struct inflate_state`.
public final class NativeInflate implements AutoCloseable {
    /// Why [#inflate] returned.
    public enum Status {
        /// All input was taken and the stream goes on.
        NEED_INPUT,
        /// The output buffer is full; there may be more to come even without further input.
        NEED_OUTPUT,
        /// The stream has ended and all of its output was delivered.
        FINISHED
    }

    /// 87,368 bytes in ISA-L 2.30, and some room for what a later version of the same soname may
    /// add.
    private static final int STATE_BYTES = 96 * 1024;

    private static final int NEXT_OUT = 0;
    private static final int AVAIL_OUT = 8;
    private static final int NEXT_IN = 16;
    private static final int READ_IN = 24;
    private static final int AVAIL_IN = 32;
    private static final int READ_IN_LENGTH = 36;
    private static final int BLOCK_STATE = 21160;
    private static final int CRC_FLAG = 21172;
    private static final int CRC = 21176;
    private static final int TMP_IN_SIZE = 21206;

    private static final int ISAL_GZIP_NO_HDR = 2;
    private static final int ISAL_BLOCK_FINISH = 5;
    private static final int ISAL_INVALID_BLOCK = -1;
    private static final int ISAL_INVALID_SYMBOL = -2;
    private static final int ISAL_INVALID_LOOKBACK = -3;

    private final ByteBuffer state =
            ByteBuffer.allocateDirect(STATE_BYTES).order(ByteOrder.nativeOrder());
    private final long address = Fs.address(state);
    private long produced;
    private boolean failed;
    private boolean closed;

    /// Starts a stream.
    ///
    /// @throws IllegalStateException unless [#available]
    public NativeInflate() {
        this(available());
    }

    private NativeInflate(boolean available) {
        if (!available) {
            throw new IllegalStateException("libisal is not available");
        }
        Link.init(address);
        state.putInt(CRC_FLAG, ISAL_GZIP_NO_HDR);
    }

    /// Tells whether a libisal was found that inflates rightly.
    public static boolean available() {
        return Link.AVAILABLE;
    }

    /// Inflates from one buffer into another and moves their positions by what was taken and given.
    ///
    /// @param in direct for speed; a heap buffer is copied on the way
    /// @param out direct for speed; a heap buffer is copied on the way
    /// @throws ImageException if the data is not DEFLATE; the object then needs [#reset]
    public Status inflate(ByteBuffer in, ByteBuffer out) throws ImageException {
        if (closed || failed) {
            throw new IllegalStateException(closed ? "the stream is closed" : "the stream failed");
        }
        if (in.isDirect() && out.isDirect()) {
            return step(in, out);
        }
        ByteBuffer bulk = Scratch.current().bulk();
        int half = Scratch.BULK_BYTES / 2;
        ByteBuffer nearIn = bulk.slice(0, half);
        ByteBuffer nearOut = bulk.slice(half, half);
        while (true) {
            int size = Math.min(half, in.remaining());
            nearIn.clear().put(0, in, in.position(), size).limit(size);
            nearOut.clear().limit(Math.min(half, out.remaining()));
            Status status = step(nearIn, nearOut);
            in.position(in.position() + nearIn.position());
            out.put(nearOut.flip());
            boolean again =
                    switch (status) {
                        case FINISHED -> false;
                        case NEED_INPUT -> in.hasRemaining();
                        case NEED_OUTPUT -> out.hasRemaining();
                    };
            if (!again) {
                return status;
            }
        }
    }

    /// The number of bytes given since the start of the stream.
    public long produced() {
        return produced;
    }

    /// The CRC-32 of the bytes given since the start of the stream, as gzip's trailer holds it.
    public int crc32() {
        return state.getInt(CRC);
    }

    /// Starts the next stream.
    public void reset() {
        if (closed) {
            throw new IllegalStateException("the stream is closed");
        }
        Link.reset(address);
        state.putInt(CRC_FLAG, ISAL_GZIP_NO_HDR);
        produced = 0;
        failed = false;
    }

    /// Returns the CRC-32 of more bytes and moves the buffer's position to its limit.
    ///
    /// @param crc of the bytes before, 0 at the start
    /// @throws IllegalStateException unless [#available]
    public static int crc32(int crc, ByteBuffer data) {
        if (!available()) {
            throw new IllegalStateException("libisal is not available");
        }
        if (data.isDirect()) {
            try {
                int result = Crc32.compute(crc, Fs.address(data), data.remaining());
                data.position(data.limit());
                return result;
            } finally {
                Reference.reachabilityFence(data);
            }
        }
        Scratch scratch = Scratch.current();
        int result = crc;
        while (data.hasRemaining()) {
            int size = Math.min(data.remaining(), Scratch.BULK_BYTES);
            scratch.bulk().put(0, data, data.position(), size);
            data.position(data.position() + size);
            result = Crc32.compute(result, scratch.bulkAddress(), size);
        }
        return result;
    }

    @Override
    public void close() {
        closed = true;
    }

    private Status step(ByteBuffer in, ByteBuffer out) throws ImageException {
        if (out.isReadOnly()) {
            throw new ReadOnlyBufferException();
        }
        if (state.getInt(BLOCK_STATE) == ISAL_BLOCK_FINISH) {
            return Status.FINISHED;
        }
        int available = in.remaining();
        int room = out.remaining();
        int result;
        try {
            state.putLong(NEXT_IN, Fs.address(in))
                    .putInt(AVAIL_IN, available)
                    .putLong(NEXT_OUT, Fs.address(out))
                    .putInt(AVAIL_OUT, room);
            result = Link.inflate(address);
        } finally {
            Reference.reachabilityFence(in);
            Reference.reachabilityFence(out);
        }
        int given = room - state.getInt(AVAIL_OUT);
        produced += given;
        out.position(out.position() + given);
        if (result < 0) {
            failed = true;
            throw ImageException.invalidContent(
                    "DEFLATE data: "
                            + reason(result)
                            + " after "
                            + produced
                            + " bytes of output; the data is corrupt");
        }
        boolean finished = state.getInt(BLOCK_STATE) == ISAL_BLOCK_FINISH;
        boolean full = given == room;
        int taken = available - state.getInt(AVAIL_IN);
        if (finished || full) {
            taken -= giveBack(taken);
        }
        in.position(in.position() + taken);
        return finished ? Status.FINISHED : full ? Status.NEED_OUTPUT : Status.NEED_INPUT;
    }

    /// Undoes the reading ahead of ISA-L, which keeps up to eight bytes in a bit buffer.
    ///
    /// It is done whenever the output is full, not only at the end: then bytes behind the end of
    /// the stream are always such of the current input buffer. When the input is what is missing,
    /// the bits are the start of a code that is still incomplete, so they belong to the stream. In
    /// the middle of a block header the input is in a buffer of its own and none of it can be
    /// behind the end.
    ///
    /// @return how many of the `taken` bytes were given back
    private int giveBack(int taken) {
        if (state.getShort(TMP_IN_SIZE) != 0) {
            return 0;
        }
        int bits = state.getInt(READ_IN_LENGTH);
        int back = Math.min(bits / 8, taken);
        int kept = bits - 8 * back;
        if (back > 0) {
            long mask = kept == 0 ? 0 : -1L >>> (64 - kept);
            state.putLong(READ_IN, state.getLong(READ_IN) & mask).putInt(READ_IN_LENGTH, kept);
        }
        return back;
    }

    private static String reason(int result) {
        return switch (result) {
            case ISAL_INVALID_BLOCK -> "invalid block";
            case ISAL_INVALID_SYMBOL -> "invalid symbol";
            case ISAL_INVALID_LOOKBACK -> "distance beyond the start of the output";
            default -> "error " + result + " of libisal";
        };
    }

    /// Apart, so that the library is loaded by the first use and not by a mention of the class.
    private static final class Link {
        private static final Library ISAL = Library.find("libisal.so.2");
        private static final MemorySegment INIT = ISAL.address("isal_inflate_init");
        private static final MemorySegment RESET = ISAL.address("isal_inflate_reset");
        private static final MemorySegment INFLATE = ISAL.address("isal_inflate");

        /// Serves the functions without a result too: what their result's register holds is
        /// ignored.
        private static final MethodHandle CALL =
                Library.shape(FunctionDescriptor.of(JAVA_INT, JAVA_LONG));

        static final boolean AVAILABLE =
                ISAL.has(
                                "isal_inflate_init",
                                "isal_inflate_reset",
                                "isal_inflate",
                                "crc32_gzip_refl")
                        && answersRightly();

        private Link() {}

        static void init(long state) {
            int _ = call(INIT, state);
        }

        static void reset(long state) {
            int _ = call(RESET, state);
        }

        static int inflate(long state) {
            return call(INFLATE, state);
        }

        private static int call(MemorySegment function, long state) {
            try {
                return (int) CALL.invokeExact(function, state);
            } catch (Throwable t) {
                throw Library.unexpected(t);
            }
        }

        /// Guards against a library whose struct is laid out otherwise: inflates the word `imgd`,
        /// stored and with a byte behind it, and looks at every field that is used.
        private static boolean answersRightly() {
            byte[] stored = {1, 4, 0, (byte) 0xfb, (byte) 0xff, 'i', 'm', 'g', 'd', 42};
            ByteBuffer in = ByteBuffer.allocateDirect(stored.length).put(stored).flip();
            ByteBuffer out = ByteBuffer.allocateDirect(64);
            NativeInflate inflate = new NativeInflate(true);
            try {
                return inflate.step(in, out) == Status.FINISHED
                        && in.position() == stored.length - 1
                        && out.position() == 4
                        && out.getInt(0) == 0x696d6764
                        && inflate.crc32() == 0x470667c7;
            } catch (ImageException otherLayout) {
                return false;
            }
        }
    }

    /// Apart, because most callers take the checksum that comes with the output.
    private static final class Crc32 {
        private static final MemorySegment FUNCTION = Link.ISAL.address("crc32_gzip_refl");
        private static final MethodHandle CALL =
                Library.shape(FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_LONG));

        private Crc32() {}

        static int compute(int crc, long data, long length) {
            try {
                return (int) CALL.invokeExact(FUNCTION, crc, data, length);
            } catch (Throwable t) {
                throw Library.unexpected(t);
            }
        }
    }
}
