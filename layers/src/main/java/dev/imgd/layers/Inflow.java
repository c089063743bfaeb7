package dev.imgd.layers;

import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ReadableByteChannel;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/// The uncompressed bytes of a blob as they come out of its decoder, hashed and counted against the
/// limits before anybody sees them.
///
/// For one thread at a time: whoever hands it on has to see to the order. Closing leaves the source
/// open.
final class Inflow implements AutoCloseable {
    private final String what;
    private final Limits limits;
    private final ReadableByteChannel source;

    /// Compressed bytes between position and limit.
    private final ByteBuffer input;

    /// Null when only looked through.
    private final @Nullable Sha256 sha;

    private final Compression compression;
    private final Decoder decoder;
    private final long maxRatio;
    private final Growth growth;
    private boolean sourceEnded;
    private boolean ended;
    private long compressedBytes;
    private long uncompressedBytes;

    /// Reads the first bytes.
    ///
    /// @param input empty
    Inflow(
            String what,
            ReadableByteChannel source,
            ByteBuffer input,
            Limits limits,
            Growth growth,
            Function<String, RawInflater> inflaters)
            throws IOException {
        this.what = what;
        this.limits = limits;
        this.growth = growth;
        this.source = source;
        this.input = input;
        this.sha = Sha256.create();
        try {
            while (input.remaining() < Compression.MAGIC_BYTES && readMore()) {
                // The magic may arrive in pieces.
            }
            this.compression = Compression.sniff(input);
            this.decoder =
                    switch (compression) {
                        case NONE -> {
                            refuseUnsupported();
                            yield new Decoder.Plain();
                        }
                        case GZIP -> new GzipDecoder(what, inflaters.apply(what));
                        case ZSTD -> new ZstdDecoder(what, limits);
                    };
        } catch (IOException | RuntimeException | Error e) {
            sha.close();
            throw e;
        }
        this.maxRatio =
                switch (compression) {
                    case NONE -> Long.MAX_VALUE;
                    case GZIP -> limits.gzipRatio();
                    case ZSTD -> limits.zstdRatio();
                };
    }

    private Inflow(String what, ReadableByteChannel source, ByteBuffer input, Limits limits) {
        this.what = what;
        this.limits = limits;
        this.growth = Growth.UNWATCHED;
        this.source = source;
        this.input = input;
        this.sha = null;
        this.compression = Compression.NONE;
        this.decoder = new Decoder.Plain();
        this.maxRatio = Long.MAX_VALUE;
    }

    /// The bytes as they are, without a digest.
    static Inflow plain(String what, ReadableByteChannel source, ByteBuffer input, Limits limits) {
        return new Inflow(what, source, input, limits);
    }

    /// Names what the blob is when it is surely no archive, which says more than a bad tar header.
    private void refuseUnsupported() throws ImageException {
        String format = null;
        if (startsWith(0xfd, '7', 'z', 'X', 'Z', 0)) {
            format = "xz";
        } else if (startsWith('B', 'Z', 'h')) {
            format = "bzip2";
        }
        if (format != null) {
            throw ImageException.invalidContent(
                    "%s: wanted tar, gzip or zstd, got %s; rebuild the image with one of those"
                            .formatted(what, format));
        }
    }

    private boolean startsWith(int... magic) {
        if (input.remaining() < magic.length) {
            return false;
        }
        for (int i = 0; i < magic.length; i++) {
            if (input.get(input.position() + i) != (byte) magic[i]) {
                return false;
            }
        }
        return true;
    }

    Compression compression() {
        return compression;
    }

    /// How many bytes were read from the source.
    long compressedBytes() {
        return compressedBytes;
    }

    /// How many bytes came out.
    long uncompressedBytes() {
        return uncompressedBytes;
    }

    /// Whether all bytes came out.
    boolean ended() {
        return ended;
    }

    /// The digest of all bytes; ends the use of this object.
    Digest digest() {
        if (sha == null) {
            throw new IllegalStateException("nothing was hashed");
        }
        return sha.digest();
    }

    /// Fills `out` up to its limit, less far only at the end.
    ///
    /// @throws ImageException `INVALID_CONTENT`, `LIMIT_EXCEEDED`, `CANCELLED`; what is in `out`
    ///   then was not checked
    void fill(ByteBuffer out) throws IOException {
        int start = out.position();
        while (out.hasRemaining() && !ended) {
            int inBefore = input.position();
            int outBefore = out.position();
            decoder.decode(input, out);
            if (out.position() != outBefore) {
                checkOutput(uncompressedBytes + out.position() - start);
            } else if (input.position() == inBefore && !readMore()) {
                decoder.finish();
                ended = true;
            }
        }
        int made = out.position() - start;
        uncompressedBytes += made;
        growth.grown(made);
        if (sha != null) {
            sha.update(out.duplicate().limit(out.position()).position(start));
        }
    }

    /// Leaves bytes out that were read and not decoded.
    ///
    /// @return how many there were
    int skipInput(long count) {
        int skipped = (int) Math.min(count, input.remaining());
        input.position(input.position() + skipped);
        return skipped;
    }

    /// Counts bytes that were left out as if they had come out.
    void skipped(long count) {
        uncompressedBytes += count;
    }

    private void checkOutput(long total) throws ImageException {
        if (total > limits.layerUncompressedBytes()) {
            throw limits.exceeded(
                    Limits.Key.LAYER_UNCOMPRESSED_BYTES, what + ": uncompressed size");
        }
        if (total > Limits.RATIO_GRACE_BYTES) {
            long used = compressedBytes - input.remaining();
            if (total / maxRatio > used) {
                throw limits.exceeded(
                        compression == Compression.GZIP
                                ? Limits.Key.GZIP_RATIO
                                : Limits.Key.ZSTD_RATIO,
                        "%s: compression ratio, %d bytes out of %d,".formatted(what, total, used));
            }
        }
    }

    /// Reads once from the source; returns false at its end.
    private boolean readMore() throws IOException {
        if (sourceEnded) {
            return false;
        }
        if (Thread.currentThread().isInterrupted()) {
            throw new ImageException(ErrorKind.CANCELLED, what + ": cancelled");
        }
        input.compact();
        int count = source.read(input);
        input.flip();
        if (count < 0) {
            sourceEnded = true;
            return false;
        }
        compressedBytes += count;
        if (compressedBytes > limits.layerCompressedBytes()) {
            throw limits.exceeded(Limits.Key.LAYER_COMPRESSED_BYTES, what + ": compressed size");
        }
        return true;
    }

    @Override
    public void close() {
        decoder.close();
        if (sha != null) {
            sha.close();
        }
    }
}
