package dev.imgd.model;

/// Content that is shorter or longer than its descriptor says.
public final class SizeMismatchException extends ImageException {
    private final long wantedBytes;
    private final long gotBytes;

    /// @param what the thing that was measured and where it came from
    /// @param gotBytes the size seen; of an endless body, the size at which reading stopped
    public SizeMismatchException(String what, long wantedBytes, long gotBytes) {
        super(
                ErrorKind.DATA_LOSS,
                "%s: wanted %d bytes, got %s%d"
                        .formatted(
                                what,
                                wantedBytes,
                                gotBytes > wantedBytes ? "at least " : "",
                                gotBytes));
        this.wantedBytes = wantedBytes;
        this.gotBytes = gotBytes;
    }

    public long wantedBytes() {
        return wantedBytes;
    }

    public long gotBytes() {
        return gotBytes;
    }
}
