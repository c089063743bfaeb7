package dev.imgd.model;

import java.util.Arrays;

/// An immutable sequence of bytes with value equality.
public final class Bytes {
    private final byte[] content;

    private Bytes(byte[] content) {
        this.content = content;
    }

    /// Returns a copy of the array as a value.
    public static Bytes of(byte[] content) {
        return new Bytes(content.clone());
    }

    /// A fresh copy of the bytes.
    public byte[] toArray() {
        return content.clone();
    }

    /// The bytes themselves, for readers in this package, which do not change them.
    byte[] array() {
        return content;
    }

    /// The number of bytes.
    public int size() {
        return content.length;
    }

    /// The SHA-256 digest of the bytes.
    public Digest sha256() {
        return Digest.sha256(content);
    }

    /// The digest of the bytes with the algorithm of `like`.
    public Digest digestLike(Digest like) {
        return like.ofSameAlgorithm(content);
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Bytes b && Arrays.equals(b.content, content);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(content);
    }

    @Override
    public String toString() {
        return content.length + " bytes";
    }
}
