package dev.imgd.linux;

import dev.imgd.model.ErrnoException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.jspecify.annotations.Nullable;

/// The native memory one thread uses for the arguments of its calls.
///
/// Every call fills what it needs and reads its results before it returns, so nothing survives from
/// one call to the next and nothing is allocated per call. Direct buffers are read and written
/// without var handles, which is what a cold JVM can do quickly.
///
/// ```text
///     0  errno, as the linker captures it
///    64  structs
///   512  first string (4096 bytes with its NUL)
///  4608  second string (4096 bytes with its NUL)
/// ```
final class Scratch {
    /// The longest string with its NUL. **Source:** `PATH_MAX` of linux/limits.h.
    static final int PATH_MAX = 4096;

    /// The size of [#bulk]; the kernel's limit of attribute values and attribute lists.
    static final int BULK_BYTES = 64 * 1024;

    static final int STRUCT = 64;
    private static final int FIRST = 512;
    private static final int SECOND = FIRST + PATH_MAX;

    private static final ThreadLocal<Scratch> CURRENT = ThreadLocal.withInitial(Scratch::new);

    final ByteBuffer memory =
            ByteBuffer.allocateDirect(SECOND + PATH_MAX).order(ByteOrder.nativeOrder());
    final MemorySegment errno = MemorySegment.ofBuffer(memory.slice(0, 16));
    private final long address = errno.address();
    private final byte[] text = new byte[PATH_MAX];
    private @Nullable ByteBuffer bulk;
    private long bulkAddress;

    private Scratch() {}

    static Scratch current() {
        return CURRENT.get();
    }

    /// The address of the struct area, 448 bytes.
    long struct() {
        return address + STRUCT;
    }

    /// Writes a NUL-terminated string to the first place and returns its address.
    long first(String call, String string) throws ErrnoException {
        return string(call, string, FIRST);
    }

    /// Writes a NUL-terminated string to the second place and returns its address.
    long second(String call, String string) throws ErrnoException {
        return string(call, string, SECOND);
    }

    /// The second place as room for results, [#PATH_MAX] bytes.
    long secondRoom() {
        return address + SECOND;
    }

    /// Reads `length` bytes that a call left in the second place.
    String secondText(int length) {
        memory.get(SECOND, text, 0, length);
        return FileNames.decode(text, 0, length);
    }

    /// A buffer of [#BULK_BYTES] bytes for data of unknown size.
    ByteBuffer bulk() {
        ByteBuffer buffer = bulk;
        if (buffer == null) {
            buffer = ByteBuffer.allocateDirect(BULK_BYTES).order(ByteOrder.nativeOrder());
            bulkAddress = MemorySegment.ofBuffer(buffer).address();
            bulk = buffer;
        }
        return buffer.clear();
    }

    /// The address of [#bulk].
    long bulkAddress() {
        if (bulk == null) {
            bulk();
        }
        return bulkAddress;
    }

    /// Writes a NUL-terminated string into [#bulk] and returns its address.
    long bulkString(String call, String string, int offset) throws ErrnoException {
        int length = encode(call, string);
        bulk().put(offset, text, 0, length).put(offset + length, (byte) 0);
        return bulkAddress + offset;
    }

    private long string(String call, String string, int offset) throws ErrnoException {
        int length = encode(call, string);
        memory.put(offset, text, 0, length).put(offset + length, (byte) 0);
        return address + offset;
    }

    private int encode(String call, String string) throws ErrnoException {
        int length = FileNames.encode(string, text);
        if (length < 0) {
            throw Errno.error(call, string, -length);
        }
        if (length == PATH_MAX) {
            throw Errno.error(call, string, ErrnoException.ENAMETOOLONG);
        }
        return length;
    }
}
