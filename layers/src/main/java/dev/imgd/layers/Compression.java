package dev.imgd.layers;

import java.nio.ByteBuffer;

/// How a blob is compressed, decided by its first bytes.
public enum Compression {
    NONE,
    GZIP,
    ZSTD;

    /// The number of bytes that decide.
    public static final int MAGIC_BYTES = 4;

    /// Decides from the first bytes of a blob, fewer than [#MAGIC_BYTES] only for a blob that has
    /// no more.
    ///
    /// A zstd blob may begin with a skippable frame. **Source:** RFC 1952 §2.3.1, RFC 8878 §3.1.
    public static Compression sniff(ByteBuffer start) {
        int at = start.position();
        int length = start.remaining();
        if (length >= 3
                && start.get(at) == 0x1f
                && start.get(at + 1) == (byte) 0x8b
                && start.get(at + 2) == 8) {
            return GZIP;
        }
        if (length < MAGIC_BYTES) {
            return NONE;
        }
        int magic =
                (start.get(at) & 0xff)
                        | (start.get(at + 1) & 0xff) << 8
                        | (start.get(at + 2) & 0xff) << 16
                        | (start.get(at + 3) & 0xff) << 24;
        return magic == 0xfd2fb528 || (magic & ~0xf) == 0x184d2a50 ? ZSTD : NONE;
    }
}
