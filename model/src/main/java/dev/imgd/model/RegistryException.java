package dev.imgd.model;

import java.util.List;
import org.jspecify.annotations.Nullable;

/// An answer of a registry, or the lack of one.
public final class RegistryException extends ImageException {
    /// One entry of the error body a registry sends. **Source:** distribution-spec v1.1 § Error
    /// Codes.
    ///
    /// @param code for example `MANIFEST_UNKNOWN`
    /// @param message the registry's own text, control characters escaped, at most 1 KiB
    public record Detail(String code, String message) {}

    private final String host;
    private final int status;
    private final List<Detail> details;

    /// @param status the HTTP status, or 0 when no answer came
    public RegistryException(
            ErrorKind kind,
            String message,
            int status,
            List<Detail> details,
            @Nullable Throwable cause) {
        this(kind, message, "", status, details, cause);
    }

    private RegistryException(
            ErrorKind kind,
            String message,
            String host,
            int status,
            List<Detail> details,
            @Nullable Throwable cause) {
        super(kind, message, cause);
        this.host = host;
        this.status = status;
        this.details = List.copyOf(details);
    }

    /// That no answer came.
    ///
    /// @param host `host` or `host:port` of who was asked
    public static RegistryException noAnswer(
            ErrorKind kind, String message, String host, @Nullable Throwable cause) {
        return new RegistryException(kind, message, host, 0, List.of(), cause);
    }

    /// Who was asked and gave no answer; empty where there is no more to say of it.
    public String host() {
        return host;
    }

    /// The HTTP status, or 0 when no answer came.
    public int status() {
        return status;
    }

    /// What the registry said, possibly empty.
    public List<Detail> details() {
        return details;
    }
}
