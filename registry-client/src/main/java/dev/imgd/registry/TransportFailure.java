package dev.imgd.registry;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.RegistryException;
import dev.imgd.model.Text;
import java.io.EOFException;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.net.ConnectException;
import java.net.NoRouteToHostException;
import java.net.ProtocolException;
import java.net.UnknownHostException;
import java.security.cert.CertPathBuilderException;
import java.security.cert.CertificateException;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLPeerUnverifiedException;
import org.jspecify.annotations.Nullable;

/// What a request that got no answer, or no whole one, tells the user.
///
/// @param kind unavailable, unless it is something that does not go away by itself
/// @param attempts how often it is worth trying, at most
record TransportFailure(ErrorKind kind, String text, int attempts) {
    private static final int MANY = Integer.MAX_VALUE;
    static final String NOT_TRUSTED = "the certificate is not trusted: ";
    private static final String HOST_AUTHORITY =
            "; name its authority as \"ca\" of this host in hosts.toml, or add it to the system's"
                    + " trust store";
    private static final String SYSTEM_AUTHORITY =
            "; add its authority to the system's trust store";

    TransportFailure(String text, int attempts) {
        this(ErrorKind.UNAVAILABLE, text, attempts);
    }

    static TransportFailure of(IOException failure) {
        if (failure instanceof ProxyException proxy) {
            return new TransportFailure(proxy.kind(), message(failure), proxy.attempts());
        }
        if (failure instanceof RefusedAddressException) {
            return new TransportFailure(
                    ErrorKind.PERMISSION_DENIED, Text.printable(message(failure), 200), 1);
        }
        if (failure instanceof UnknownHostException) {
            return new TransportFailure(
                    "no address found for this name; check the name and DNS", 3);
        }
        if (failure instanceof ConnectException) {
            return new TransportFailure(
                    "connection refused; check the address and that the server runs", 3);
        }
        if (failure instanceof NoRouteToHostException) {
            return new TransportFailure("no route to this host; check the network", 3);
        }
        if (failure instanceof SSLException) {
            return tls(failure);
        }
        if (failure instanceof InterruptedIOException) {
            return new TransportFailure("no answer in time; check the network", MANY);
        }
        if (isTls(failure)) {
            return new TransportFailure(ErrorKind.INVALID_ARGUMENT, ErrorBody.PLAIN_HTTP, 1);
        }
        if (failure instanceof ProtocolException && message(failure).contains("status line")) {
            return new TransportFailure(
                    "the answer is not HTTP; check the port, and https against plain http", 1);
        }
        if (failure instanceof EOFException && message(failure).startsWith("\\n not found")) {
            return new TransportFailure(
                    "the headers of the answer break off, or are longer than 256 KiB", MANY);
        }
        return new TransportFailure(
                "connection broken: " + Text.printable(message(failure), 200), MANY);
    }

    /// The same of a server that no `hosts.toml` is about.
    static TransportFailure elsewhere(IOException failure) {
        TransportFailure known = of(failure);
        String text = known.text.replace(HOST_AUTHORITY, SYSTEM_AUTHORITY);
        return new TransportFailure(known.kind, text, known.attempts);
    }

    /// Whether a server answered a request in the clear with an alert of TLS, whole or as what was
    /// taken for the beginning of an answer. **Source:** RFC 8446 § 5.1.
    private static boolean isTls(IOException failure) {
        Throwable innermost = failure.getCause() instanceof EOFException e ? e : failure;
        String text = message(innermost);
        return (failure instanceof ProtocolException
                        && text.startsWith("Unexpected status line: \u0015\u0003"))
                || (innermost instanceof EOFException
                        && text.startsWith("\\n not found")
                        && text.contains("content=1503"));
    }

    private static TransportFailure tls(IOException failure) {
        if (failure instanceof OwnCertificateException) {
            return new TransportFailure(ErrorKind.UNAUTHENTICATED, "TLS: " + message(failure), 1);
        }
        if (failure instanceof SSLPeerUnverifiedException) {
            return untrusted(RefusedCertificateException.otherName(message(failure)), "");
        }
        for (Throwable t = failure; t != null; t = t.getCause()) {
            if (t instanceof RefusedCertificateException refused) {
                return untrusted(message(t), refused.isUnknown() ? HOST_AUTHORITY : "");
            }
        }
        for (Throwable t = failure; t != null; t = t.getCause()) {
            if (t instanceof CertificateException) {
                return untrusted(NOT_TRUSTED + reason(t), HOST_AUTHORITY);
            }
        }
        String text = message(failure);
        if (text.startsWith("Unsupported or unrecognized SSL message")) {
            return new TransportFailure(
                    ErrorKind.INVALID_ARGUMENT,
                    "TLS: the server does not speak https here, perhaps plain http"
                            + RegistryClient.PLAIN_HTTP_ADVICE,
                    1);
        }
        if (text.startsWith("Remote host terminated the handshake")) {
            return new TransportFailure("TLS: " + RegistryClient.HANDSHAKE_ENDED, MANY);
        }
        String alert = alert(failure);
        if (alert.equals("certificate_required")) {
            return new TransportFailure(
                    ErrorKind.UNAUTHENTICATED, "TLS: " + ErrorBody.NO_CLIENT_CERTIFICATE, 1);
        }
        return isOwnCertificate(alert)
                ? new TransportFailure(
                        ErrorKind.UNAUTHENTICATED,
                        "TLS: the server refused this side's certificate (%s); %s"
                                .formatted(alert, ErrorBody.CLIENT_CERTIFICATE_ADVICE),
                        1)
                : new TransportFailure("TLS: " + Text.printable(text, 200), MANY);
    }

    private static TransportFailure untrusted(String text, String advice) {
        return new TransportFailure(ErrorKind.UNTRUSTED, "TLS: " + text + advice, 1);
    }

    /// The alert that a server ended a handshake with, or something that is none.
    private static String alert(IOException failure) {
        String text = message(failure);
        return text.substring(text.lastIndexOf(' ') + 1);
    }

    /// Whether a server said that it does not take this side's certificate.
    static boolean isOwnCertificate(IOException failure) {
        return failure instanceof SSLException && isOwnCertificate(alert(failure));
    }

    /// Servers disagree on the alert for a certificate that they do not trust.
    private static boolean isOwnCertificate(String alert) {
        return switch (alert) {
            case "bad_certificate",
                    "unknown_ca",
                    "certificate_unknown",
                    "certificate_expired",
                    "unsupported_certificate" ->
                    true;
            default -> false;
        };
    }

    /// The innermost reason: the outer ones repeat it behind names of classes.
    static String reason(Throwable failure) {
        Throwable innermost = failure;
        while (innermost.getCause() != null) {
            innermost = innermost.getCause();
        }
        return innermost instanceof CertPathBuilderException
                ? "no trusted authority signed it"
                : Text.printable(message(innermost), 200);
    }

    /// Why TLS failed, for somebody who knows with whom.
    static String tlsReason(SSLException failure) {
        for (Throwable t = failure; t != null; t = t.getCause()) {
            if (t instanceof RefusedCertificateException) {
                return message(t);
            }
            if (t instanceof CertificateException) {
                return NOT_TRUSTED + reason(t);
            }
        }
        return Text.printable(message(failure), 200);
    }

    private static String message(Throwable failure) {
        String message = failure.getMessage();
        return message == null ? failure.getClass().getSimpleName() : message;
    }

    RegistryException exception(String what, String host, @Nullable IOException cause) {
        return RegistryException.noAnswer(
                kind, "%s: no answer from %s: %s".formatted(what, host, text), host, cause);
    }
}
