package dev.imgd.model;

/// The class of an error, and the one table that maps it to a gRPC status, to the exit code of
/// `imgctl` and to whether the same call may succeed when repeated.
///
/// The first group is containerd's set of error classes; the second refines some of them where a
/// user needs another exit code. **Source:** containerd `errdefs`, gRPC status codes.
public enum ErrorKind {
    UNKNOWN(2, 1, false),
    INVALID_ARGUMENT(3, 2, false),
    NOT_FOUND(5, 3, false),
    ALREADY_EXISTS(6, 8, false),
    PERMISSION_DENIED(7, 4, false),
    RESOURCE_EXHAUSTED(8, 1, true),
    FAILED_PRECONDITION(9, 8, false),
    ABORTED(10, 1, true),
    OUT_OF_RANGE(11, 1, false),
    NOT_IMPLEMENTED(12, 1, false),
    INTERNAL(13, 1, false),
    UNAVAILABLE(14, 6, true),
    DATA_LOSS(15, 5, false),
    UNAUTHENTICATED(16, 4, false),
    CANCELLED(1, 130, true),
    DEADLINE_EXCEEDED(4, 6, true),

    /// A registry answered 429, or a configured rate was used up.
    RATE_LIMITED(8, 7, true),
    /// A server did not prove to be the one that was asked for: its certificate is of an unknown
    /// authority, out of date or for another name.
    UNTRUSTED(9, 6, false),
    /// The file system has no space or no inodes left.
    NO_SPACE(8, 9, false),
    /// A limit against hostile input was exceeded; the message names its configuration key.
    LIMIT_EXCEEDED(3, 5, false),
    /// Content that cannot be trusted: malformed, ambiguous or forbidden by a rule.
    INVALID_CONTENT(3, 5, false),
    /// Another process owns the store, or an object is in use.
    LOCKED(9, 8, true);

    private final int grpcCode;
    private final int exitCode;
    private final boolean retryable;

    ErrorKind(int grpcCode, int exitCode, boolean retryable) {
        this.grpcCode = grpcCode;
        this.exitCode = exitCode;
        this.retryable = retryable;
    }

    /// The numeric gRPC status code, 0 to 16.
    public int grpcCode() {
        return grpcCode;
    }

    /// The exit code of `imgctl`: 1 generic, 2 usage, 3 not found, 4 denied, 5 verification failed,
    /// 6 unavailable, 7 rate-limited, 8 conflict, 9 no space, 130 interrupted.
    public int exitCode() {
        return exitCode;
    }

    /// Whether the same call may succeed later without anybody changing anything.
    public boolean retryable() {
        return retryable;
    }
}
