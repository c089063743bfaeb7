package dev.imgd.model;

/// A system call that failed.
///
/// The kind follows the number: ENOENT is [ErrorKind#NOT_FOUND], EEXIST [ErrorKind#ALREADY_EXISTS],
/// EACCES, EPERM and EROFS [ErrorKind#PERMISSION_DENIED], ENOSPC and EDQUOT [ErrorKind#NO_SPACE],
/// EMFILE, ENFILE and ENOMEM [ErrorKind#RESOURCE_EXHAUSTED], EBUSY [ErrorKind#LOCKED], ENOSYS and
/// EOPNOTSUPP [ErrorKind#NOT_IMPLEMENTED]; every other number is [ErrorKind#INTERNAL].
public final class ErrnoException extends ImageException {
    public static final int EPERM = 1;
    public static final int ENOENT = 2;
    public static final int EINTR = 4;
    public static final int EIO = 5;
    public static final int EAGAIN = 11;
    public static final int ENOMEM = 12;
    public static final int EACCES = 13;
    public static final int EBUSY = 16;
    public static final int EEXIST = 17;
    public static final int EXDEV = 18;
    public static final int ENODEV = 19;
    public static final int ENOTDIR = 20;
    public static final int EISDIR = 21;
    public static final int EINVAL = 22;
    public static final int ENFILE = 23;
    public static final int EMFILE = 24;
    public static final int EFBIG = 27;
    public static final int ENOSPC = 28;
    public static final int EROFS = 30;
    public static final int EMLINK = 31;
    public static final int ERANGE = 34;
    public static final int ENAMETOOLONG = 36;
    public static final int ENOSYS = 38;
    public static final int ENOTEMPTY = 39;
    public static final int ELOOP = 40;
    public static final int ENODATA = 61;
    public static final int EOVERFLOW = 75;
    public static final int EOPNOTSUPP = 95;
    public static final int ESTALE = 116;
    public static final int EDQUOT = 122;

    private final String call;
    private final int errno;

    /// @param call the system call, for example `openat2`
    /// @param subject what it was applied to, usually a path; may be empty
    /// @param errno the error number of Linux
    /// @param text the system's text of the number, for example `No such file or directory`
    public ErrnoException(String call, String subject, int errno, String text) {
        super(
                kindOf(errno),
                subject.isEmpty()
                        ? "%s: %s (errno %d)".formatted(call, text, errno)
                        : "%s %s: %s (errno %d)".formatted(call, subject, text, errno));
        this.call = call;
        this.errno = errno;
    }

    /// The system call that failed.
    public String call() {
        return call;
    }

    /// The error number of Linux.
    public int errno() {
        return errno;
    }

    private static ErrorKind kindOf(int errno) {
        return switch (errno) {
            case ENOENT -> ErrorKind.NOT_FOUND;
            case EEXIST -> ErrorKind.ALREADY_EXISTS;
            case EACCES, EPERM, EROFS -> ErrorKind.PERMISSION_DENIED;
            case ENOSPC, EDQUOT -> ErrorKind.NO_SPACE;
            case EMFILE, ENFILE, ENOMEM -> ErrorKind.RESOURCE_EXHAUSTED;
            case EBUSY -> ErrorKind.LOCKED;
            case ENOSYS, EOPNOTSUPP -> ErrorKind.NOT_IMPLEMENTED;
            default -> ErrorKind.INTERNAL;
        };
    }
}
