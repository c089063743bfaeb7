package dev.imgd.testkit;

import com.github.luben.zstd.Zstd;
import dev.imgd.model.Bytes;
import dev.imgd.model.Digest;
import dev.imgd.model.MediaType;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.zip.GZIPOutputStream;

/// Layers with one file of zeros, which is what compresses best: legitimate images have them, and
/// bombs are made of them. They are built from equal pieces, so that none is ever held whole.
public final class ZeroFile {
    private static final int PIECE_BYTES = 64 << 20;

    private ZeroFile() {}

    /// A layer with a file named `zeros`, all of it right.
    ///
    /// @param size a multiple of 64 MiB
    public static LayerSpec layer(long size, MediaType.Compression compression) {
        byte[] head = head(size);
        byte[] piece = new byte[PIECE_BYTES];
        MessageDigest sha256;
        try {
            sha256 = MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError("every JDK has SHA-256", e);
        }
        sha256.update(head);
        for (long done = 0; done < size; done += PIECE_BYTES) {
            sha256.update(piece);
        }
        sha256.update(piece, 0, 1024);
        Digest diffId = Digest.of(Digest.Algorithm.SHA256, sha256.digest());
        return new LayerSpec(blob(size, compression), diffId, compression);
    }

    /// The same with a diffID that nobody lives to compare, for sizes that cannot be hashed here.
    public static LayerSpec bomb(long size, MediaType.Compression compression) {
        return new LayerSpec(blob(size, compression), Digest.sha256(new byte[0]), compression);
    }

    private static Bytes blob(long size, MediaType.Compression compression) {
        if (size % PIECE_BYTES != 0) {
            throw new IllegalArgumentException("not a multiple of 64 MiB: " + size);
        }
        byte[] piece = compress(new byte[PIECE_BYTES], compression);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.writeBytes(compress(head(size), compression));
        for (long done = 0; done < size; done += PIECE_BYTES) {
            out.writeBytes(piece);
        }
        out.writeBytes(compress(new byte[1024], compression));
        return Bytes.of(out.toByteArray());
    }

    private static byte[] head(long size) {
        byte[] name = "zeros".getBytes(StandardCharsets.US_ASCII);
        return new TarWriter().header('0', name, new byte[0], 0644, size, 0, 0);
    }

    /// As small as it gets: a bomb is made by somebody who takes the time.
    private static byte[] compress(byte[] bytes, MediaType.Compression compression) {
        return switch (compression) {
            case NONE, UNSPECIFIED -> bytes.clone();
            case ZSTD -> Zstd.compress(bytes);
            case GZIP -> {
                ByteArrayOutputStream out = new ByteArrayOutputStream();
                try (GZIPOutputStream gzip =
                        new GZIPOutputStream(out) {
                            {
                                def.setLevel(9);
                            }
                        }) {
                    gzip.write(bytes);
                } catch (IOException e) {
                    throw new UncheckedIOException("memory does not fail", e);
                }
                yield out.toByteArray();
            }
        };
    }
}
