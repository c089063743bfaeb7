package dev.imgd.testkit;

import com.github.luben.zstd.Zstd;
import dev.imgd.model.Bytes;
import dev.imgd.model.Digest;
import dev.imgd.model.MediaType;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.zip.GZIPOutputStream;

/// A layer of a test image.
///
/// @param blob the bytes that are transferred
/// @param diffId what the image configuration says the uncompressed bytes hash to
/// @param compression of the blob; decides the media type
public record LayerSpec(Bytes blob, Digest diffId, MediaType.Compression compression) {
    /// A layer of a tar archive, compressed here.
    public static LayerSpec of(byte[] tar, MediaType.Compression compression) {
        return new LayerSpec(Bytes.of(compress(tar, compression)), Digest.sha256(tar), compression);
    }

    /// The bytes, compressed.
    public static byte[] compress(byte[] bytes, MediaType.Compression compression) {
        return switch (compression) {
            case NONE, UNSPECIFIED -> bytes.clone();
            case GZIP -> gzip(bytes);
            case ZSTD -> Zstd.compress(bytes);
        };
    }

    private static byte[] gzip(byte[] bytes) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (GZIPOutputStream gzip = new GZIPOutputStream(out)) {
            gzip.write(bytes);
        } catch (IOException e) {
            throw new UncheckedIOException("memory does not fail", e);
        }
        return out.toByteArray();
    }

    String mediaType(boolean docker) {
        return switch (compression) {
            case NONE -> docker ? MediaType.DOCKER_LAYER : MediaType.OCI_LAYER;
            case UNSPECIFIED -> MediaType.DOCKER_LAYER;
            case GZIP -> docker ? MediaType.DOCKER_LAYER_GZIP : MediaType.OCI_LAYER_GZIP;
            case ZSTD -> docker ? MediaType.DOCKER_LAYER_ZSTD : MediaType.OCI_LAYER_ZSTD;
        };
    }
}
