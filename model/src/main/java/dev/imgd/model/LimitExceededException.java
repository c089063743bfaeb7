package dev.imgd.model;

/// Input that exceeds one of the limits against hostile content.
public final class LimitExceededException extends ImageException {
    private final String key;

    /// @param what the thing that was too large
    /// @param key the configuration key that raises the limit, for example `limits.tar_entries`
    /// @param limit the limit in force, with its unit
    public LimitExceededException(String what, String key, String limit) {
        super(
                ErrorKind.LIMIT_EXCEEDED,
                "%s: exceeds the limit of %s; raise %s if you trust the source"
                        .formatted(what, limit, key));
        this.key = key;
    }

    /// The configuration key of the limit.
    public String key() {
        return key;
    }
}
