package dev.imgd.model;

import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/// The limits against hostile manifests and layers: one table of keys, defaults and ranges.
///
/// An immutable value. Every limit has a configuration key of its own, and what exceeds one is a
/// [LimitExceededException] that names the key.
public final class Limits {
    private static final long KIB = 1L << 10;
    private static final long MIB = 1L << 20;
    private static final long GIB = 1L << 30;
    private static final long TIB = 1L << 40;

    /// How a limit is counted.
    public enum Unit {
        COUNT,
        BYTES,
        /// Uncompressed bytes per compressed byte.
        RATIO,
        /// The power of two of a number of bytes.
        LOG2_BYTES;

        private String format(long value) {
            return switch (this) {
                case COUNT -> Long.toString(value);
                case BYTES -> formatBytes(value);
                case RATIO -> value + ":1";
                case LOG2_BYTES -> formatBytes(1L << value);
            };
        }

        private static String formatBytes(long bytes) {
            if (bytes != 0 && bytes % GIB == 0) {
                return bytes / GIB + " GiB";
            }
            if (bytes != 0 && bytes % MIB == 0) {
                return bytes / MIB + " MiB";
            }
            return bytes != 0 && bytes % KIB == 0 ? bytes / KIB + " KiB" : bytes + " bytes";
        }
    }

    /// One limit: the unit, the default and the range it may be set to.
    public enum Key {
        /// A manifest, index, config or page of a list. The distribution-spec asks for at least 4
        /// MiB.
        MANIFEST_BYTES(Unit.BYTES, 4 * MIB, 64 * KIB, 64 * MIB),
        /// Nesting of arrays and objects in a document.
        JSON_DEPTH(Unit.COUNT, 64, 8, 400),
        /// Values, names and brackets in a document.
        JSON_TOKENS(Unit.COUNT, 500_000, 1_000, 50_000_000),
        /// One string of a document, in UTF-16 code units.
        JSON_STRING_CHARS(Unit.COUNT, MIB, KIB, 64 * MIB),
        /// Indexes inside indexes.
        INDEX_DEPTH(Unit.COUNT, 4, 1, 32),
        /// Descriptors in one document, and in all documents of one image.
        DESCRIPTORS(Unit.COUNT, 10_000, 1, 1_000_000),
        /// File system layers of one image; the kernel's overlay takes 500.
        LAYERS(Unit.COUNT, 500, 1, 10_000),
        /// Entries of `history` in an image config.
        CONFIG_HISTORY(Unit.COUNT, 2_000, 0, 100_000),
        /// Entries of `Env` in an image config.
        CONFIG_ENV(Unit.COUNT, 4_096, 0, 100_000),
        /// Entries of `Labels` in an image config.
        CONFIG_LABELS(Unit.COUNT, 1_024, 0, 100_000),
        /// The key and value of one label of an image config.
        CONFIG_LABEL_BYTES(Unit.BYTES, 64 * KIB, 1, MIB),
        /// A layer as it is transferred.
        LAYER_COMPRESSED_BYTES(Unit.BYTES, 64 * GIB, 0, TIB),
        /// A layer after decompression.
        LAYER_UNCOMPRESSED_BYTES(Unit.BYTES, 256 * GIB, 0, 64 * TIB),
        /// All layers of one image after decompression.
        IMAGE_UNCOMPRESSED_BYTES(Unit.BYTES, 512 * GIB, 0, 64 * TIB),
        /// Output for each byte of gzip input, after [#RATIO_GRACE_BYTES] of output. Deflate cannot
        /// exceed 1,032:1, so the default refuses nothing: a layer with a large file of zeros comes
        /// close to that and is legitimate. What stops a bomb are the absolute sizes and
        /// [#DISK_RESERVE_BYTES].
        GZIP_RATIO(Unit.RATIO, 1_100, 1, 1_100),
        /// Output for each byte of zstd input, after [#RATIO_GRACE_BYTES] of output. A block of one
        /// repeated byte is 128 KiB from 4 bytes, 32,768:1, so the default refuses nothing either.
        ZSTD_RATIO(Unit.RATIO, 40_000, 1, 1_000_000),
        /// What unpacking leaves free on the file system of the store, but never more than a
        /// twentieth of it.
        DISK_RESERVE_BYTES(Unit.BYTES, GIB, 0, TIB),
        /// The decoder's window. Images made with `zstd --long` or `-19` and above have windows of
        /// up to 128 MiB, and what `zstd -d` accepts without options must work: 27. A hostile frame
        /// can ask for 31 in a few bytes.
        ZSTD_WINDOW_LOG(Unit.LOG2_BYTES, 27, 10, 31),
        /// Entries of one layer, headers of extensions not counted.
        TAR_ENTRIES(Unit.COUNT, 5_000_000, 1, 1_000_000_000),
        /// Entries of an archive of images that is imported.
        ARCHIVE_ENTRIES(Unit.COUNT, 100_000, 1, 10_000_000),
        /// Components of one path.
        PATH_DEPTH(Unit.COUNT, 1_024, 1, 4_096),
        /// One path; Linux takes 4,096 bytes.
        NAME_BYTES(Unit.BYTES, 4_096, 1, 64 * KIB),
        /// The target of one symbolic or hard link.
        LINK_BYTES(Unit.BYTES, 4_096, 1, 64 * KIB),
        /// All extension headers of one entry: PAX records and GNU long names.
        PAX_BYTES(Unit.BYTES, MIB, KIB, 16 * MIB),
        /// Extended attributes of one entry.
        XATTRS(Unit.COUNT, 64, 0, 10_000),
        /// The value of one extended attribute; Linux takes 64 KiB.
        XATTR_VALUE_BYTES(Unit.BYTES, 64 * KIB, 0, 64 * KIB),
        /// Memory for the directories of one layer: their paths and 128 bytes each. Half a million
        /// directories fit into the default. The names in an archive of images have the same room.
        DIRECTORY_BYTES(Unit.BYTES, 96 * MIB, MIB, 4 * GIB),
        /// Redirects from one request to its answer.
        REDIRECTS(Unit.COUNT, 5, 0, 20),
        /// All headers of one answer. The client reads up to 256 KiB of them before it can tell.
        HTTP_HEADER_BYTES(Unit.BYTES, 16 * KIB, 4 * KIB, 256 * KIB),
        /// One `WWW-Authenticate` header.
        CHALLENGE_BYTES(Unit.BYTES, 8 * KIB, 256, 256 * KIB),
        /// The answer of a token server.
        TOKEN_ANSWER_BYTES(Unit.BYTES, MIB, 4 * KIB, 16 * MIB),
        /// One token, which every request repeats in a header.
        TOKEN_BYTES(Unit.BYTES, 64 * KIB, KIB, MIB),
        /// What is read of an answer that is an error, for its explanation.
        ERROR_BODY_BYTES(Unit.BYTES, 64 * KIB, 0, MIB),
        /// What is shown of that explanation.
        ERROR_SHOWN_BYTES(Unit.BYTES, KIB, 0, 64 * KIB),
        /// Pages of a list of tags or repositories.
        LIST_PAGES(Unit.COUNT, 10_000, 1, 1_000_000),
        /// Pages of the referrers of one manifest.
        REFERRERS_PAGES(Unit.COUNT, 100, 1, 100_000),
        /// Signatures of one image that are looked at.
        SIGNATURES(Unit.COUNT, 64, 1, 10_000);

        private final Unit unit;
        private final long defaultValue;
        private final long min;
        private final long max;
        private final String configKey;

        Key(Unit unit, long defaultValue, long min, long max) {
            this.unit = unit;
            this.defaultValue = defaultValue;
            this.min = min;
            this.max = max;
            this.configKey = PREFIX + name().toLowerCase(Locale.ROOT);
        }

        /// The configuration key, for example `limits.tar_entries`.
        public String configKey() {
            return configKey;
        }

        /// How the limit is counted.
        public Unit unit() {
            return unit;
        }

        /// The value that is used when the configuration has none.
        public long defaultValue() {
            return defaultValue;
        }

        /// The smallest value that may be configured.
        public long min() {
            return min;
        }

        /// The largest value that may be configured.
        public long max() {
            return max;
        }
    }

    /// Output below this is never refused for its ratio, whatever ratio is configured.
    public static final long RATIO_GRACE_BYTES = 64 * MIB;

    /// What every configuration key of a limit begins with.
    public static final String PREFIX = "limits.";

    private static final Key[] KEYS = Key.values();
    private static final Limits DEFAULTS = new Limits(Map.of());

    private final Map<Key, Long> changed;

    private Limits(Map<Key, Long> changed) {
        this.changed = changed;
    }

    /// The limits of a configuration that sets none.
    public static Limits defaults() {
        return DEFAULTS;
    }

    /// The configuration keys of all limits.
    public static List<String> configKeys() {
        List<String> keys = new ArrayList<>(KEYS.length);
        for (Key key : KEYS) {
            keys.add(key.configKey);
        }
        return List.copyOf(keys);
    }

    /// Returns these limits with one changed.
    ///
    /// @param configKey one of [#configKeys()]
    /// @throws ImageException [ErrorKind#INVALID_ARGUMENT] when there is no such key or the value
    ///   is out of its range
    public Limits with(String configKey, long value) throws ImageException {
        for (Key key : KEYS) {
            if (key.configKey.equals(configKey)) {
                return with(key, value);
            }
        }
        throw ImageException.invalidArgument(
                "%s: no such limit; wanted one of %s"
                        .formatted(Text.printable(configKey, 80), String.join(", ", configKeys())));
    }

    /// Returns these limits with one changed.
    ///
    /// @throws ImageException [ErrorKind#INVALID_ARGUMENT] when the value is out of the key's range
    public Limits with(Key key, long value) throws ImageException {
        if (value < key.min || value > key.max) {
            throw ImageException.invalidArgument(
                    "%s: wanted %d to %d, got %d"
                            .formatted(key.configKey, key.min, key.max, value));
        }
        Map<Key, Long> values = new EnumMap<>(Key.class);
        values.putAll(changed);
        if (value == key.defaultValue) {
            values.remove(key);
        } else {
            values.put(key, value);
        }
        return new Limits(values);
    }

    /// The value of a limit.
    public long value(Key key) {
        Long value = changed.get(key);
        return value == null ? key.defaultValue : value;
    }

    /// Refuses an amount that exceeds a limit.
    ///
    /// @param what the thing that was measured
    /// @throws LimitExceededException when `amount` is larger than the limit
    public void check(Key key, String what, long amount) throws LimitExceededException {
        if (amount > value(key)) {
            throw exceeded(key, what);
        }
    }

    /// The error for something that exceeds a limit.
    ///
    /// @param what the thing that was measured
    public LimitExceededException exceeded(Key key, String what) {
        return new LimitExceededException(what, key.configKey, key.unit.format(value(key)));
    }

    /// See [Key#MANIFEST_BYTES].
    public int manifestBytes() {
        return intValue(Key.MANIFEST_BYTES);
    }

    /// See [Key#JSON_DEPTH].
    public int jsonDepth() {
        return intValue(Key.JSON_DEPTH);
    }

    /// See [Key#JSON_TOKENS].
    public int jsonTokens() {
        return intValue(Key.JSON_TOKENS);
    }

    /// See [Key#JSON_STRING_CHARS].
    public int jsonStringChars() {
        return intValue(Key.JSON_STRING_CHARS);
    }

    /// See [Key#INDEX_DEPTH].
    public int indexDepth() {
        return intValue(Key.INDEX_DEPTH);
    }

    /// See [Key#DESCRIPTORS].
    public int descriptors() {
        return intValue(Key.DESCRIPTORS);
    }

    /// See [Key#LAYERS].
    public int layers() {
        return intValue(Key.LAYERS);
    }

    /// See [Key#LAYER_COMPRESSED_BYTES].
    public long layerCompressedBytes() {
        return value(Key.LAYER_COMPRESSED_BYTES);
    }

    /// See [Key#LAYER_UNCOMPRESSED_BYTES].
    public long layerUncompressedBytes() {
        return value(Key.LAYER_UNCOMPRESSED_BYTES);
    }

    /// See [Key#IMAGE_UNCOMPRESSED_BYTES].
    public long imageUncompressedBytes() {
        return value(Key.IMAGE_UNCOMPRESSED_BYTES);
    }

    /// See [Key#GZIP_RATIO].
    public int gzipRatio() {
        return intValue(Key.GZIP_RATIO);
    }

    /// See [Key#ZSTD_RATIO].
    public int zstdRatio() {
        return intValue(Key.ZSTD_RATIO);
    }

    /// See [Key#DISK_RESERVE_BYTES].
    public long diskReserveBytes() {
        return value(Key.DISK_RESERVE_BYTES);
    }

    /// See [Key#ZSTD_WINDOW_LOG].
    public int zstdWindowLog() {
        return intValue(Key.ZSTD_WINDOW_LOG);
    }

    /// See [Key#TAR_ENTRIES].
    public long tarEntries() {
        return value(Key.TAR_ENTRIES);
    }

    /// See [Key#ARCHIVE_ENTRIES].
    public long archiveEntries() {
        return value(Key.ARCHIVE_ENTRIES);
    }

    /// See [Key#PATH_DEPTH].
    public int pathDepth() {
        return intValue(Key.PATH_DEPTH);
    }

    /// See [Key#NAME_BYTES].
    public int nameBytes() {
        return intValue(Key.NAME_BYTES);
    }

    /// See [Key#LINK_BYTES].
    public int linkBytes() {
        return intValue(Key.LINK_BYTES);
    }

    /// See [Key#PAX_BYTES].
    public int paxBytes() {
        return intValue(Key.PAX_BYTES);
    }

    /// See [Key#XATTRS].
    public int xattrs() {
        return intValue(Key.XATTRS);
    }

    /// See [Key#XATTR_VALUE_BYTES].
    public int xattrValueBytes() {
        return intValue(Key.XATTR_VALUE_BYTES);
    }

    /// See [Key#DIRECTORY_BYTES].
    public long directoryBytes() {
        return value(Key.DIRECTORY_BYTES);
    }

    /// See [Key#REDIRECTS].
    public int redirects() {
        return intValue(Key.REDIRECTS);
    }

    /// See [Key#HTTP_HEADER_BYTES].
    public int httpHeaderBytes() {
        return intValue(Key.HTTP_HEADER_BYTES);
    }

    /// See [Key#CHALLENGE_BYTES].
    public int challengeBytes() {
        return intValue(Key.CHALLENGE_BYTES);
    }

    /// See [Key#TOKEN_ANSWER_BYTES].
    public int tokenAnswerBytes() {
        return intValue(Key.TOKEN_ANSWER_BYTES);
    }

    /// See [Key#TOKEN_BYTES].
    public int tokenBytes() {
        return intValue(Key.TOKEN_BYTES);
    }

    /// See [Key#ERROR_BODY_BYTES].
    public int errorBodyBytes() {
        return intValue(Key.ERROR_BODY_BYTES);
    }

    /// See [Key#ERROR_SHOWN_BYTES].
    public int errorShownBytes() {
        return intValue(Key.ERROR_SHOWN_BYTES);
    }

    private int intValue(Key key) {
        return Math.toIntExact(value(key));
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Limits l && l.changed.equals(changed);
    }

    @Override
    public int hashCode() {
        return changed.hashCode();
    }

    @Override
    public String toString() {
        StringBuilder out = new StringBuilder();
        for (Key key : KEYS) {
            out.append(out.isEmpty() ? "" : ", ")
                    .append(key.configKey)
                    .append('=')
                    .append(key.unit.format(value(key)));
        }
        return out.toString();
    }
}
