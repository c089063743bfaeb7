package dev.imgd.image;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.RegistryException;
import dev.imgd.registry.RegistryClient;
import javax.net.ssl.SSLException;

/// That a registry is asked over https where somebody wants plain http.
///
/// @param host `host` or `host:port` that is asked
/// @param from where its configuration is written
public record PlainHttpRefused(String host, String from) {
    /// What to tell who wants plain http.
    public String text() {
        return "plain http was asked for, but %s names https://%s, and that counts; write http:// there if %s speaks plain http"
                .formatted(from, host, host);
    }

    /// The same failure, with the text where it is that this host does not speak https: instead of
    /// the advice to do what was done already.
    ImageException explain(ImageException failure) {
        String message = String.valueOf(failure.getMessage());
        return isNoHttps(failure)
                ? new ImageException(
                        failure.kind(),
                        message.replace(RegistryClient.PLAIN_HTTP_ADVICE, "") + "; " + text(),
                        failure)
                : failure;
    }

    private boolean isNoHttps(ImageException failure) {
        boolean fits =
                failure.kind() == ErrorKind.UNAVAILABLE
                        || failure.kind() == ErrorKind.INVALID_ARGUMENT;
        for (Throwable t = failure; fits && t != null; t = t.getCause()) {
            if (t instanceof RegistryException r && r.host().equals(host)) {
                return r.getCause() instanceof SSLException;
            }
        }
        return false;
    }
}
