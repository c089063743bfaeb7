package dev.imgd.linux;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.imgd.model.ErrnoException;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/// System calls by number.
///
/// All calls share one method handle, that of syscall(2): linking a handle costs milliseconds on a
/// cold JVM, one handle is compiled soon, and calls that are newer than the C library work.
/// Integers and addresses travel as 64-bit values, which is how the kernel's entry takes them.
///
/// Callers keep what an address points to reachable until the call returned: [Scratch] by its
/// thread, buffers by a reachability fence.
final class Kernel {
    private static final MemorySegment ENTRY = entry();

    /// Takes the function's address as an argument: binding it would cost as much again to link.
    /// The function is variadic, which makes no difference to how integers are passed.
    private static final MethodHandle SYSCALL =
            Linker.nativeLinker()
                    .downcallHandle(
                            FunctionDescriptor.of(
                                    JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG,
                                    JAVA_LONG, JAVA_LONG, JAVA_LONG),
                            Linker.Option.captureCallState("errno"));

    private Kernel() {}

    /// Calls the kernel.
    ///
    /// @return the result, or a negative error number
    static long call(Scratch scratch, int number, long a, long b, long c, long d, long e, long f) {
        try {
            long result =
                    (long)
                            SYSCALL.invokeExact(
                                    ENTRY, scratch.errno, (long) number, a, b, c, d, e, f);
            return result == -1 ? -(long) scratch.memory.getInt(0) : result;
        } catch (Throwable t) {
            throw Library.unexpected(t);
        }
    }

    static long call(Scratch scratch, int number, long a, long b, long c, long d) {
        return call(scratch, number, a, b, c, d, 0, 0);
    }

    static long call(Scratch scratch, int number, long a, long b, long c) {
        return call(scratch, number, a, b, c, 0, 0, 0);
    }

    static long call(Scratch scratch, int number, long a, long b) {
        return call(scratch, number, a, b, 0, 0, 0, 0);
    }

    static long call(Scratch scratch, int number, long a) {
        return call(scratch, number, a, 0, 0, 0, 0, 0);
    }

    /// Returns a result that is not an error.
    static long check(String call, String subject, long result) throws ErrnoException {
        if (result < 0) {
            throw Errno.error(call, subject, (int) -result);
        }
        return result;
    }

    /// Returns the result of a call on a descriptor that is not an error.
    static long check(String call, int fd, long result) throws ErrnoException {
        if (result < 0) {
            throw Errno.error(call, describe(fd), (int) -result);
        }
        return result;
    }

    /// What a descriptor refers to, for messages.
    static String describe(int fd) {
        if (fd < 0) {
            return fd == Fs.AT_FDCWD ? "the working directory" : "descriptor " + fd;
        }
        try {
            return Fs.readlinkat(Fs.AT_FDCWD, Fs.descriptorPath(fd));
        } catch (ErrnoException gone) {
            // The message must not depend on /proc, nor on the descriptor being open.
            return "descriptor " + fd;
        }
    }

    private static MemorySegment entry() {
        if (!Syscall.SUPPORTED) {
            throw new IllegalStateException(
                    "system calls: wanted Linux on x86_64 or aarch64, got "
                            + System.getProperty("os.name")
                            + " on "
                            + System.getProperty("os.arch"));
        }
        return Linker.nativeLinker().defaultLookup().findOrThrow("syscall");
    }
}
