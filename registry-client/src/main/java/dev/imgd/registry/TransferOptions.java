package dev.imgd.registry;

/// How blobs are transferred.
///
/// @param rangeConnections over how many connections one big blob is fetched at once, at most; 1
///   for one stream. A blob that one connection brings fast enough is fetched over one
/// @param rangeThreshold from how many bytes on a blob is big
/// @param windowBytes memory for bytes that came before their turn, over all blobs of a client and
///   its sessions
/// @param spread whether several hosts of a registry may serve parts of one blob at once, when the
///   first alone is slower
/// @param bytesPerSecond of all blobs of a client and its sessions together; 0 for no limit
/// @param requestsPerSecond to each host; 0 for no limit
/// @param requestsAtOnce blobs and parts of blobs that each host is asked for at once, at most; it
///   is asked for fewer while it says that it is too much
public record TransferOptions(
        int rangeConnections,
        long rangeThreshold,
        long windowBytes,
        boolean spread,
        long bytesPerSecond,
        int requestsPerSecond,
        int requestsAtOnce) {
    /// What [#requestsAtOnce()] is by default.
    public static final int MOST_AT_ONCE = 32;

    public TransferOptions {
        if (rangeConnections < 1 || rangeConnections > 16) {
            throw new IllegalArgumentException("connections of a blob: " + rangeConnections);
        }
        if (rangeThreshold < 0 || windowBytes < 0 || bytesPerSecond < 0 || requestsPerSecond < 0) {
            throw new IllegalArgumentException("negative limit of transfers");
        }
        if (requestsAtOnce < 1) {
            throw new IllegalArgumentException("requests at once: " + requestsAtOnce);
        }
    }

    /// Four connections from 32 MiB on, 32 MiB of memory, 32 requests at once, no other limits.
    public static TransferOptions defaults() {
        return new TransferOptions(4, 32L << 20, 32L << 20, true, 0, 0, MOST_AT_ONCE);
    }

    public TransferOptions withRanges(int connections, long threshold) {
        return new TransferOptions(
                connections,
                threshold,
                windowBytes,
                spread,
                bytesPerSecond,
                requestsPerSecond,
                requestsAtOnce);
    }

    public TransferOptions withWindowBytes(long value) {
        return new TransferOptions(
                rangeConnections,
                rangeThreshold,
                value,
                spread,
                bytesPerSecond,
                requestsPerSecond,
                requestsAtOnce);
    }

    public TransferOptions withSpread(boolean value) {
        return new TransferOptions(
                rangeConnections,
                rangeThreshold,
                windowBytes,
                value,
                bytesPerSecond,
                requestsPerSecond,
                requestsAtOnce);
    }

    /// @param bytes see [#bytesPerSecond()]
    /// @param requests see [#requestsPerSecond()]
    public TransferOptions withLimits(long bytes, int requests) {
        return new TransferOptions(
                rangeConnections,
                rangeThreshold,
                windowBytes,
                spread,
                bytes,
                requests,
                requestsAtOnce);
    }

    public TransferOptions withRequestsAtOnce(int value) {
        return new TransferOptions(
                rangeConnections,
                rangeThreshold,
                windowBytes,
                spread,
                bytesPerSecond,
                requestsPerSecond,
                value);
    }
}
