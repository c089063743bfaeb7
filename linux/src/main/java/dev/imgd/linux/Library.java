package dev.imgd.linux;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.util.Optional;

/// A shared library that may or may not be installed. Once found it stays loaded.
final class Library {
    private final SymbolLookup symbols;

    private Library(SymbolLookup symbols) {
        this.symbols = symbols;
    }

    /// Looks a library up the way dlopen(3) does.
    ///
    /// @param sonames the names to try, in this order
    /// @return the first one found, else a library without functions
    static Library find(String... sonames) {
        for (String soname : sonames) {
            try {
                return new Library(SymbolLookup.libraryLookup(soname, Arena.global()));
            } catch (IllegalArgumentException absent) {
                // The libraries are optional: the next name, or none at all, is an answer.
            }
        }
        return new Library(_ -> Optional.empty());
    }

    boolean has(String... functions) {
        for (String function : functions) {
            if (symbols.find(function).isEmpty()) {
                return false;
            }
        }
        return true;
    }

    /// The address of a function, or NULL, which must not be called.
    MemorySegment address(String function) {
        return symbols.find(function).orElse(MemorySegment.NULL);
    }

    /// A handle for all functions of a shape, which takes the function's address as its first
    /// argument: a bound handle costs about twice as much to link.
    ///
    /// @param shape integers and addresses, the latter as `long`
    static MethodHandle shape(FunctionDescriptor shape) {
        return Linker.nativeLinker().downcallHandle(shape);
    }

    /// What a call through a native method handle threw, which is never a checked exception.
    static RuntimeException unexpected(Throwable thrown) {
        if (thrown instanceof Error error) {
            throw error;
        }
        return thrown instanceof RuntimeException runtime
                ? runtime
                : new IllegalStateException("a native call threw a checked exception", thrown);
    }
}
