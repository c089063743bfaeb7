package dev.imgd.linux;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.HexFormat;

/// AES-256 in counter mode by OpenSSL's libcrypto, in place.
///
/// It runs at full speed from the first byte, where the JDK's own needs the compiler first. Not
/// thread-safe. Closing frees and wipes the key's native memory. **Source:** NIST SP 800-38A;
/// OpenSSL, openssl/evp.h.
public final class NativeAesCtr implements AutoCloseable {
    private static final int KEY_BYTES = 32;
    private static final int BLOCK_BYTES = 16;

    private long context;

    /// @param key 32 bytes, left to the caller, who may overwrite it
    /// @param counter the first counter block, 16 bytes
    /// @throws IllegalStateException unless [#available]
    public NativeAesCtr(byte[] key, byte[] counter) {
        this(available(), key, counter);
    }

    private NativeAesCtr(boolean available, byte[] key, byte[] counter) {
        if (!available) {
            throw new IllegalStateException("libcrypto is not available");
        }
        if (key.length != KEY_BYTES || counter.length != BLOCK_BYTES) {
            throw new IllegalArgumentException("wanted a key of 32 bytes and a counter of 16");
        }
        context = Link.newContext();
        ByteBuffer start = ByteBuffer.allocateDirect(KEY_BYTES + BLOCK_BYTES);
        start.put(key).put(counter).flip();
        try {
            Link.init(context, Fs.address(start), Fs.address(start) + KEY_BYTES);
        } finally {
            start.put(0, new byte[start.capacity()]);
            Reference.reachabilityFence(start);
        }
    }

    /// Tells whether a libcrypto was found that computes it rightly.
    public static boolean available() {
        return Link.AVAILABLE;
    }

    /// Encrypts or decrypts, which is the same, the remaining bytes of a buffer where they are. Its
    /// position stays.
    ///
    /// @param data direct
    public void update(ByteBuffer data) {
        if (context == 0) {
            throw new IllegalStateException("the cipher is closed");
        }
        if (!data.isDirect() || data.isReadOnly()) {
            throw new IllegalArgumentException("wanted a direct buffer that can be written");
        }
        try {
            Link.update(context, Fs.address(data), data.remaining());
        } finally {
            Reference.reachabilityFence(data);
        }
    }

    @Override
    public void close() {
        if (context != 0) {
            Link.free(context);
            context = 0;
        }
    }

    /// Apart, so that the library is loaded by the first use and not by a mention of the class.
    private static final class Link {
        private static final Library CRYPTO =
                Library.find("libcrypto.so.3", "libcrypto.so.4", "libcrypto.so.1.1");
        private static final MemorySegment NEW = CRYPTO.address("EVP_CIPHER_CTX_new");
        private static final MemorySegment CIPHER = CRYPTO.address("EVP_aes_256_ctr");
        private static final MemorySegment INIT = CRYPTO.address("EVP_EncryptInit_ex");
        private static final MemorySegment UPDATE = CRYPTO.address("EVP_EncryptUpdate");
        private static final MemorySegment FREE = CRYPTO.address("EVP_CIPHER_CTX_free");
        private static final MethodHandle POINTER = Library.shape(FunctionDescriptor.of(JAVA_LONG));
        private static final MethodHandle FIVE =
                Library.shape(
                        FunctionDescriptor.of(
                                JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG));
        private static final MethodHandle LAST =
                Library.shape(FunctionDescriptor.ofVoid(JAVA_LONG));
        static final boolean AVAILABLE =
                CRYPTO.has(
                                "EVP_CIPHER_CTX_new",
                                "EVP_aes_256_ctr",
                                "EVP_EncryptInit_ex",
                                "EVP_EncryptUpdate",
                                "EVP_CIPHER_CTX_free")
                        && answersRightly();

        private Link() {}

        static long newContext() {
            try {
                long made = (long) POINTER.invokeExact(NEW);
                if (made == 0) {
                    throw new IllegalStateException("libcrypto has no memory for a cipher");
                }
                return made;
            } catch (Throwable t) {
                throw Library.unexpected(t);
            }
        }

        static void init(long context, long key, long counter) {
            try {
                long cipher = (long) POINTER.invokeExact(CIPHER);
                require((int) FIVE.invokeExact(INIT, context, cipher, 0L, key, counter));
            } catch (Throwable t) {
                throw Library.unexpected(t);
            }
        }

        /// The length is an `int`, which every calling convention of Linux takes from the lower
        /// half of a `long`.
        static void update(long context, long data, int size) {
            ByteBuffer written = ByteBuffer.allocateDirect(Integer.BYTES);
            try {
                require(
                        (int)
                                FIVE.invokeExact(
                                        UPDATE,
                                        context,
                                        data,
                                        Fs.address(written),
                                        data,
                                        (long) size));
            } catch (Throwable t) {
                throw Library.unexpected(t);
            } finally {
                Reference.reachabilityFence(written);
            }
        }

        static void free(long context) {
            try {
                LAST.invokeExact(FREE, context);
            } catch (Throwable t) {
                throw Library.unexpected(t);
            }
        }

        private static void require(int answer) {
            if (answer != 1) {
                throw new IllegalStateException("libcrypto refuses AES-256 in counter mode");
            }
        }

        /// **Source:** NIST SP 800-38A F.5.5, the first block, in two parts.
        private static boolean answersRightly() {
            HexFormat hex = HexFormat.of();
            ByteBuffer data = ByteBuffer.allocateDirect(BLOCK_BYTES);
            data.put(hex.parseHex("6bc1bee22e409f96e93d7e117393172a")).flip();
            try (NativeAesCtr cipher =
                    new NativeAesCtr(
                            true,
                            hex.parseHex(
                                    "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"),
                            hex.parseHex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"))) {
                cipher.update(data.limit(5));
                cipher.update(data.position(5).limit(BLOCK_BYTES));
            }
            byte[] result = new byte[BLOCK_BYTES];
            data.get(0, result);
            return hex.formatHex(result).equals("601ec313775789a5b7a7f504bbf3d228");
        }
    }
}
