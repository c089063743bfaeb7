package dev.imgd.layers;

/// How a blob is compressed, decided by its first bytes.
public enum Compression {
    NONE,
    GZIP,
    ZSTD
}
