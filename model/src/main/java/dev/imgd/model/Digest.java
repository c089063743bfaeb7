package dev.imgd.model;

import java.util.Arrays;
import java.util.HexFormat;

/// Content digest: an algorithm and a hash, written `sha256:<64 lower-case hex digits>`.
///
/// The only way to make one is a strict parser or the bytes of a hash, so a `Digest` is safe in a
/// path or a URL. **Source:** OCI image-spec v1.1, descriptor.md § Digests.
public final class Digest implements Comparable<Digest> {
    /// A registered hash algorithm.
    public enum Algorithm {
        SHA256("sha256", "SHA-256", 32),
        SHA512("sha512", "SHA-512", 64);

        private final String label;
        private final String jcaName;
        private final int bytes;

        Algorithm(String label, String jcaName, int bytes) {
            this.label = label;
            this.jcaName = jcaName;
            this.bytes = bytes;
        }

        /// The name in a digest string: `sha256` or `sha512`.
        public String label() {
            return label;
        }

        /// The name that [java.security.MessageDigest] knows.
        public String jcaName() {
            return jcaName;
        }

        /// The length of the hash, in bytes.
        public int bytes() {
            return bytes;
        }
    }

    private final Algorithm algorithm;
    private final String hex;

    private Digest(Algorithm algorithm, String hex) {
        this.algorithm = algorithm;
        this.hex = hex;
    }

    /// Parses `algorithm:hex`.
    ///
    /// @throws ImageException [ErrorKind#INVALID_ARGUMENT] when the text is not a digest
    public static Digest parse(String text) throws ImageException {
        for (Algorithm algorithm : Algorithm.values()) {
            int colon = algorithm.label.length();
            if (text.length() == colon + 1 + 2 * algorithm.bytes
                    && text.startsWith(algorithm.label)
                    && text.charAt(colon) == ':'
                    && isLowerHex(text, colon + 1)) {
                return new Digest(algorithm, text.substring(colon + 1));
            }
        }
        throw ImageException.invalidArgument(
                "digest \"%s\": wanted sha256:<64 hex digits> or sha512:<128>, in lower case"
                        .formatted(Text.printable(text, 160)));
    }

    /// Returns the digest that has the given hash.
    ///
    /// @param hash exactly [Algorithm#bytes()] bytes
    public static Digest of(Algorithm algorithm, byte[] hash) {
        if (hash.length != algorithm.bytes) {
            throw new IllegalArgumentException(
                    algorithm + " has " + algorithm.bytes + " bytes, got " + hash.length);
        }
        return new Digest(algorithm, HexFormat.of().formatHex(hash));
    }

    /// Returns the SHA-256 digest of the bytes.
    public static Digest sha256(byte[] content) {
        return of(Algorithm.SHA256, content, content.length);
    }

    /// Returns the digest of the bytes with the same algorithm as this one.
    public Digest ofSameAlgorithm(byte[] content) {
        return of(algorithm, content, content.length);
    }

    private static Digest of(Algorithm algorithm, byte[] content, int length) {
        try {
            var hasher = java.security.MessageDigest.getInstance(algorithm.jcaName);
            hasher.update(content, 0, length);
            return of(algorithm, hasher.digest());
        } catch (java.security.NoSuchAlgorithmException e) {
            throw new AssertionError("every JDK has " + algorithm.jcaName, e);
        }
    }

    private static boolean isLowerHex(String text, int from) {
        for (int i = from; i < text.length(); i++) {
            char c = text.charAt(i);
            if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f')) {
                return false;
            }
        }
        return true;
    }

    public Algorithm algorithm() {
        return algorithm;
    }

    /// The hash in lower-case hexadecimal.
    public String hex() {
        return hex;
    }

    /// A fresh array with the bytes of the hash.
    public byte[] bytes() {
        return HexFormat.of().parseHex(hex);
    }

    /// The first twelve digits, for people.
    public String shortHex() {
        return hex.substring(0, 12);
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Digest d && d.algorithm == algorithm && d.hex.equals(hex);
    }

    @Override
    public int hashCode() {
        return hex.hashCode();
    }

    @Override
    public int compareTo(Digest other) {
        int byAlgorithm = algorithm.compareTo(other.algorithm);
        return byAlgorithm != 0 ? byAlgorithm : hex.compareTo(other.hex);
    }

    /// Whether the hash equals the given bytes.
    public boolean matches(byte[] hash) {
        return Arrays.equals(bytes(), hash);
    }

    /// The digest as `algorithm:hex`.
    @Override
    public String toString() {
        return algorithm.label + ":" + hex;
    }
}
