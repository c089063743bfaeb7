package dev.imgd.image;

import dev.imgd.model.ImageException;
import dev.imgd.model.RegistryException;
import dev.imgd.registry.RegistryClient;

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

    /// A server that refuses a handshake by an alert, or whose connection breaks later, speaks
    /// https.
    private boolean isNoHttps(ImageException failure) {
        for (Throwable t = failure; t != null; t = t.getCause()) {
            if (t instanceof RegistryException r && r.host().equals(host)) {
                String message = String.valueOf(r.getMessage());
                return message.endsWith(RegistryClient.PLAIN_HTTP_ADVICE)
                        || message.endsWith(RegistryClient.HANDSHAKE_ENDED);
            }
        }
        return false;
    }
}
