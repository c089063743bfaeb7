package dev.imgd.plugin;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import java.util.Locale;
import java.util.concurrent.CancellationException;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// The only place where errors become gRPC statuses and come back.
///
/// A status carries the code of the error's kind and the message as it is. Several kinds share a
/// code, so the kind's name travels in the trailer `imgd-error-kind` too; containerd ignores it.
final class GrpcErrors {
    private static final Logger LOG = LoggerFactory.getLogger(GrpcErrors.class);

    static final Metadata.Key<String> KIND =
            Metadata.Key.of("imgd-error-kind", Metadata.ASCII_STRING_MARSHALLER);

    /// Percent-encoding may triple it, and a peer's limit for all headers is 8 KiB by default.
    private static final int MAX_MESSAGE_CHARS = 2048;

    private GrpcErrors() {}

    /// The status for anything a call handler can throw. Bugs are logged here with their stack,
    /// because the caller gets no more than a hint.
    static StatusRuntimeException toStatus(Throwable error) {
        return switch (error) {
            case ImageException e -> status(e.kind(), message(e));
            case StatusRuntimeException e -> e;
            case StatusException e -> new StatusRuntimeException(e.getStatus(), e.getTrailers());
            case InterruptedException _, CancellationException _ ->
                    status(ErrorKind.CANCELLED, "the call was cancelled");
            default -> {
                LOG.error("a call failed because of a bug", error);
                yield status(
                        ErrorKind.INTERNAL,
                        "internal error: " + error + "; the log of imgd has the details");
            }
        };
    }

    private static StatusRuntimeException status(ErrorKind kind, String message) {
        Metadata trailers = new Metadata();
        trailers.put(KIND, kind.name());
        String description =
                message.length() <= MAX_MESSAGE_CHARS
                        ? message
                        : message.substring(0, MAX_MESSAGE_CHARS) + "…";
        return Status.fromCodeValue(kind.grpcCode())
                .withDescription(description)
                .asRuntimeException(trailers);
    }

    private static String message(ImageException error) {
        String message = error.getMessage();
        return message == null ? error.kind().name().toLowerCase(Locale.ROOT) : message;
    }

    /// The error a status stands for.
    ///
    /// @param where what was called, for statuses that carry no message
    static ImageException fromStatus(
            String where, Status status, @Nullable Metadata trailers, Throwable cause) {
        String description = status.getDescription();
        return new ImageException(
                kind(status, trailers),
                description == null || description.isEmpty()
                        ? where + ": " + status.getCode()
                        : description,
                cause);
    }

    private static ErrorKind kind(Status status, @Nullable Metadata trailers) {
        String name = trailers == null ? null : trailers.get(KIND);
        int code = status.getCode().value();
        ErrorKind byCode = ErrorKind.UNKNOWN;
        for (ErrorKind kind : ErrorKind.values()) {
            if (kind.name().equals(name)) {
                return kind;
            }
            // The first kind with a code is the general one.
            if (kind.grpcCode() == code && byCode == ErrorKind.UNKNOWN) {
                byCode = kind;
            }
        }
        return byCode;
    }
}
