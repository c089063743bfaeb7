package dev.imgd.linux;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
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

    /// Links a function; addresses are `long`. A function that is missing becomes a handle that does
    /// nothing and returns 0, so that handles can be constants whether [#has] holds or not.
    MethodHandle function(String name, FunctionDescriptor shape) {
        Optional<MemorySegment> address = symbols.find(name);
        return address.isPresent()
                ? Linker.nativeLinker().downcallHandle(address.get(), shape)
                : MethodHandles.empty(shape.toMethodType());
    }

    /// What a call through a method handle of this class threw, which is never a checked exception.
    static RuntimeException unexpected(Throwable thrown) {
        if (thrown instanceof Error error) {
            throw error;
        }
        return thrown instanceof RuntimeException runtime
                ? runtime
                : new IllegalStateException("a native call threw a checked exception", thrown);
    }
}
