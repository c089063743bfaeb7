package dev.imgd.registry;

import dev.imgd.model.ErrorKind;
import java.io.IOException;

/// A request that a proxy did not pass on, or that got no answer through it.
final class ProxyException extends IOException {
    private final ErrorKind kind;
    private final int attempts;

    /// @param message ends a sentence, see [TransportFailure]
    /// @param attempts how often it is worth trying, at most
    ProxyException(ErrorKind kind, String message, int attempts) {
        super(message);
        this.kind = kind;
        this.attempts = attempts;
    }

    ErrorKind kind() {
        return kind;
    }

    int attempts() {
        return attempts;
    }
}
