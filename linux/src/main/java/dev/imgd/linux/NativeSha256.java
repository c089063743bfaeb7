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
import java.util.HexFormat;

/// SHA-256 by OpenSSL's libcrypto, whose state can be saved and restored.
///
/// It runs at full speed from the first byte, where the JDK's own needs the compiler first. Not
/// thread-safe. The state is native memory that is freed with the object; [#close] ends its use
/// early.
///
/// ```text
/// struct SHA256_CTX          112 bytes
///    0  h[8]      u32        the chaining value
///   32  Nl, Nh    u32        the message length in bits, low and high word
///   40  data[16]  u32        the bytes of an incomplete block
///  104  num       u32        how many they are
///  108  md_len    u32        32
/// ```
///
/// **Source:** FIPS 180-4 § 6.2; OpenSSL, openssl/sha.h.
public final class NativeSha256 implements AutoCloseable {
    /// The length of a digest.
    public static final int DIGEST_BYTES = 32;

    private static final int BLOCK_BYTES = 64;
    private static final int CONTEXT_BYTES = 112;
    private static final int LENGTH = 32;
    private static final int DATA = 40;
    private static final int NUM = 104;
    private static final int DIGEST_LENGTH = 108;

    /// A saved state without the bytes of an incomplete block: message length and chaining value.
    private static final int STATE_BYTES = 8 + DIGEST_BYTES;

    private static final int[] INITIAL = {
        0x6a09e667,
        0xbb67ae85,
        0x3c6ef372,
        0xa54ff53a,
        0x510e527f,
        0x9b05688c,
        0x1f83d9ab,
        0x5be0cd19
    };

    /// A second context behind the first is room for [#digest], which leaves the first alone.
    private final ByteBuffer contexts =
            ByteBuffer.allocateDirect(2 * CONTEXT_BYTES + 2 * BLOCK_BYTES)
                    .order(ByteOrder.nativeOrder());

    private final long address = Fs.address(contexts);
    private long bytes;
    private boolean closed;

    /// Starts a digest.
    ///
    /// @throws IllegalStateException unless [#available]
    public NativeSha256() {
        this(available());
    }

    private NativeSha256(boolean available) {
        if (!available) {
            throw new IllegalStateException("libcrypto is not available");
        }
        initialise();
    }

    /// Tells whether a libcrypto was found that computes SHA-256 rightly.
    public static boolean available() {
        return Link.AVAILABLE;
    }

    /// Hashes the remaining bytes of a buffer and moves its position to the limit.
    ///
    /// @param data direct for speed; a heap buffer is copied on the way
    public void update(ByteBuffer data) {
        requireOpen();
        bytes += data.remaining();
        if (data.isDirect()) {
            try {
                Link.update(address, Fs.address(data), data.remaining());
            } finally {
                Reference.reachabilityFence(data);
            }
            data.position(data.limit());
            return;
        }
        Scratch scratch = Scratch.current();
        while (data.hasRemaining()) {
            int size = Math.min(data.remaining(), Scratch.BULK_BYTES);
            scratch.bulk().put(0, data, data.position(), size);
            data.position(data.position() + size);
            Link.update(address, scratch.bulkAddress(), size);
        }
    }

    /// The number of bytes hashed so far.
    public long bytes() {
        return bytes;
    }

    /// Returns the digest of all bytes so far, [#DIGEST_BYTES] long. Updates may follow.
    public byte[] digest() {
        requireOpen();
        contexts.put(CONTEXT_BYTES, contexts, 0, CONTEXT_BYTES);
        int padding = 2 * CONTEXT_BYTES;
        int used = (int) (bytes % BLOCK_BYTES);
        int size = (used < 56 ? BLOCK_BYTES : 2 * BLOCK_BYTES) - used;
        for (int i = 0; i < size - 8; i++) {
            contexts.put(padding + i, i == 0 ? (byte) 0x80 : 0);
        }
        contexts.order(ByteOrder.BIG_ENDIAN).putLong(padding + size - 8, bytes * 8);
        contexts.order(ByteOrder.nativeOrder());
        Link.update(address + CONTEXT_BYTES, address + padding, size);
        return chainingValue(CONTEXT_BYTES);
    }

    /// Starts again.
    public void reset() {
        requireOpen();
        initialise();
    }

    /// Returns the state in a form any machine can [#restore]: the number of bytes hashed (8
    /// bytes), the chaining value (32 bytes), and the bytes of the incomplete block (0 to 63
    /// bytes), all big-endian.
    public byte[] saveState() {
        requireOpen();
        int partial = (int) (bytes % BLOCK_BYTES);
        byte[] state = new byte[STATE_BYTES + partial];
        ByteBuffer out = ByteBuffer.wrap(state).putLong(bytes).put(chainingValue(0));
        contexts.get(DATA, state, out.position(), partial);
        return state;
    }

    /// Returns a digest that goes on where [#saveState] was called.
    ///
    /// @throws ImageException if the bytes are not a saved state
    public static NativeSha256 restore(byte[] state) throws ImageException {
        ByteBuffer in = ByteBuffer.wrap(state);
        long bytes = state.length < STATE_BYTES ? -1 : in.getLong();
        int partial = (int) (bytes % BLOCK_BYTES);
        if (bytes < 0 || bytes > Long.MAX_VALUE / 8 || state.length != STATE_BYTES + partial) {
            throw ImageException.invalidContent(
                    "SHA-256 state: wanted 40 bytes and those of the incomplete block, got "
                            + state.length
                            + " bytes; hash the content from its start");
        }
        NativeSha256 sha = new NativeSha256();
        for (int i = 0; i < INITIAL.length; i++) {
            sha.contexts.putInt(4 * i, in.getInt());
        }
        sha.contexts.putInt(LENGTH, (int) (bytes << 3)).putInt(LENGTH + 4, (int) (bytes >>> 29));
        sha.contexts.put(DATA, state, STATE_BYTES, partial).putInt(NUM, partial);
        sha.bytes = bytes;
        return sha;
    }

    @Override
    public void close() {
        closed = true;
    }

    private void initialise() {
        contexts.put(0, new byte[CONTEXT_BYTES]);
        for (int i = 0; i < INITIAL.length; i++) {
            contexts.putInt(4 * i, INITIAL[i]);
        }
        contexts.putInt(DIGEST_LENGTH, DIGEST_BYTES);
        bytes = 0;
    }

    private byte[] chainingValue(int context) {
        ByteBuffer out = ByteBuffer.allocate(DIGEST_BYTES);
        for (int i = 0; i < INITIAL.length; i++) {
            out.putInt(contexts.getInt(context + 4 * i));
        }
        return out.array();
    }

    private void requireOpen() {
        if (closed) {
            throw new IllegalStateException("the digest is closed");
        }
    }

    /// Apart, so that the library is loaded by the first use and not by a mention of the class.
    private static final class Link {
        private static final Library CRYPTO =
                Library.find("libcrypto.so.3", "libcrypto.so.4", "libcrypto.so.1.1");
        private static final MemorySegment UPDATE = CRYPTO.address("SHA256_Update");
        private static final MethodHandle CALL =
                Library.shape(FunctionDescriptor.of(JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG));
        static final boolean AVAILABLE = CRYPTO.has("SHA256_Update") && answersRightly();

        private Link() {}

        static void update(long context, long data, long length) {
            try {
                int _ = (int) CALL.invokeExact(UPDATE, context, data, length);
            } catch (Throwable t) {
                throw Library.unexpected(t);
            }
        }

        /// Guards against a library whose struct is laid out otherwise. **Source:** FIPS 180-4's
        /// example of the message `abc`, in two parts.
        private static boolean answersRightly() {
            NativeSha256 sha = new NativeSha256(true);
            sha.update(ByteBuffer.wrap(new byte[] {'a'}));
            sha.update(ByteBuffer.wrap(new byte[] {'b', 'c'}));
            return HexFormat.of()
                    .formatHex(sha.digest())
                    .equals("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        }
    }
}
