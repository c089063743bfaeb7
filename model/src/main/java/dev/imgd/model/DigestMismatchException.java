package dev.imgd.model;

/// Bytes whose digest is not the wanted one.
public final class DigestMismatchException extends ImageException {
    private final Digest wanted;
    private final Digest got;

    /// @param what the thing that was checked and where it came from, for example `layer 2 of
    ///   localhost:5000/a:1 from mirror.example:443`
    /// @param bytesRead how many bytes were hashed
    public DigestMismatchException(String what, Digest wanted, Digest got, long bytesRead) {
        super(
                ErrorKind.DATA_LOSS,
                "%s: wanted %s, got %s after %d bytes; the data is corrupt or was tampered with"
                        .formatted(what, wanted, got, bytesRead));
        this.wanted = wanted;
        this.got = got;
    }

    public Digest wanted() {
        return wanted;
    }

    public Digest got() {
        return got;
    }
}
