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

/// Inflate of raw DEFLATE data that is wholly in memory, by libdeflate.
///
/// For chunks and other small pieces whose size is known; [NativeInflate] is for streams. Not
/// thread-safe. The caller closes it.
///
/// **Source:** RFC 1951; libdeflate.h.
public final class WholeInflate implements AutoCloseable {
    private static final int LIBDEFLATE_SUCCESS = 0;
    private static final int LIBDEFLATE_INSUFFICIENT_SPACE = 3;

    private final ByteBuffer sizes = ByteBuffer.allocateDirect(16).order(ByteOrder.nativeOrder());
    private final long sizesAddress = Fs.address(sizes);
    private long decompressor;

    /// Allocates a decompressor.
    ///
    /// @throws IllegalStateException unless [#available]
    public WholeInflate() {
        if (!available()) {
            throw new IllegalStateException("libdeflate is not available");
        }
        decompressor = Link.alloc();
        if (decompressor == 0) {
            throw new OutOfMemoryError("libdeflate: no memory for a decompressor");
        }
    }

    /// Tells whether libdeflate was found.
    public static boolean available() {
        return Link.AVAILABLE;
    }

    /// Inflates one whole stream and moves the positions of both buffers behind it.
    ///
    /// @param in a direct buffer; what follows the stream stays in it
    /// @param out a direct buffer
    /// @return false, and nothing moved, if the output buffer is too small
    /// @throws ImageException if the data is not a whole DEFLATE stream
    public boolean inflate(ByteBuffer in, ByteBuffer out) throws ImageException {
        if (decompressor == 0) {
            throw new IllegalStateException("the decompressor is closed");
        }
        if (!in.isDirect() || !out.isDirect()) {
            throw new IllegalArgumentException("wanted direct buffers");
        }
        if (out.isReadOnly()) {
            throw new ReadOnlyBufferException();
        }
        int result;
        try {
            result =
                    Link.decompress(
                            decompressor,
                            Fs.address(in),
                            in.remaining(),
                            Fs.address(out),
                            out.remaining(),
                            sizesAddress);
        } finally {
            Reference.reachabilityFence(in);
            Reference.reachabilityFence(out);
        }
        if (result == LIBDEFLATE_INSUFFICIENT_SPACE) {
            return false;
        }
        if (result != LIBDEFLATE_SUCCESS) {
            throw ImageException.invalidContent(
                    "DEFLATE data: no whole stream in "
                            + in.remaining()
                            + " bytes; the data is corrupt or cut short");
        }
        in.position(in.position() + (int) sizes.getLong(0));
        out.position(out.position() + (int) sizes.getLong(8));
        return true;
    }

    /// Returns the CRC-32 of more bytes and moves the buffer's position to its limit.
    ///
    /// @param crc of the bytes before, 0 at the start
    /// @param data a direct buffer
    /// @throws IllegalStateException unless [#available]
    public static int crc32(int crc, ByteBuffer data) {
        if (!available()) {
            throw new IllegalStateException("libdeflate is not available");
        }
        if (!data.isDirect()) {
            throw new IllegalArgumentException("wanted a direct buffer");
        }
        try {
            int result = Link.crc32(crc, Fs.address(data), data.remaining());
            data.position(data.limit());
            return result;
        } finally {
            Reference.reachabilityFence(data);
        }
    }

    /// Frees the decompressor; the second time does nothing.
    @Override
    public void close() {
        if (decompressor != 0) {
            Link.free(decompressor);
            decompressor = 0;
        }
    }

    /// Apart, so that the library is loaded by the first use and not by a mention of the class.
    private static final class Link {
        private static final Library DEFLATE = Library.find("libdeflate.so.0", "libdeflate.so.1");
        private static final MemorySegment ALLOC = DEFLATE.address("libdeflate_alloc_decompressor");
        private static final MemorySegment FREE = DEFLATE.address("libdeflate_free_decompressor");
        private static final MemorySegment DECOMPRESS =
                DEFLATE.address("libdeflate_deflate_decompress_ex");
        private static final MemorySegment CRC32 = DEFLATE.address("libdeflate_crc32");
        private static final MethodHandle CALL_ALLOC =
                Library.shape(FunctionDescriptor.of(JAVA_LONG));
        private static final MethodHandle CALL_FREE =
                Library.shape(FunctionDescriptor.ofVoid(JAVA_LONG));
        private static final MethodHandle CALL_DECOMPRESS =
                Library.shape(
                        FunctionDescriptor.of(
                                JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG,
                                JAVA_LONG, JAVA_LONG));
        private static final MethodHandle CALL_CRC32 =
                Library.shape(FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_LONG));
        static final boolean AVAILABLE =
                DEFLATE.has(
                        "libdeflate_alloc_decompressor",
                        "libdeflate_free_decompressor",
                        "libdeflate_deflate_decompress_ex",
                        "libdeflate_crc32");

        private Link() {}

        static long alloc() {
            try {
                return (long) CALL_ALLOC.invokeExact(ALLOC);
            } catch (Throwable t) {
                throw Library.unexpected(t);
            }
        }

        static void free(long decompressor) {
            try {
                CALL_FREE.invokeExact(FREE, decompressor);
            } catch (Throwable t) {
                throw Library.unexpected(t);
            }
        }

        /// @param sizes where two 64-bit sizes go: input taken, output given
        static int decompress(
                long decompressor, long in, long inSize, long out, long outSize, long sizes) {
            try {
                return (int)
                        CALL_DECOMPRESS.invokeExact(
                                DECOMPRESS,
                                decompressor,
                                in,
                                inSize,
                                out,
                                outSize,
                                sizes,
                                sizes + 8);
            } catch (Throwable t) {
                throw Library.unexpected(t);
            }
        }

        static int crc32(int crc, long data, long length) {
            try {
                return (int) CALL_CRC32.invokeExact(CRC32, crc, data, length);
            } catch (Throwable t) {
                throw Library.unexpected(t);
            }
        }
    }
}
