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
import java.security.cert.CertificateExpiredException;
import java.security.cert.CertificateNotYetValidException;
import java.util.List;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLPeerUnverifiedException;
import org.jspecify.annotations.Nullable;

/// What a request that got no answer, or no whole one, tells the user.
///
/// @param kind unavailable, denied for an address that is not gone to, or what a proxy wants
/// @param attempts how often it is worth trying, at most
record TransportFailure(ErrorKind kind, String text, int attempts) {
    private static final int MANY = Integer.MAX_VALUE;
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

    private static TransportFailure tls(IOException failure) {
        if (failure instanceof SSLPeerUnverifiedException) {
            return new TransportFailure("TLS: the certificate is for another host name", 1);
        }
        for (Throwable t = failure; t != null; t = t.getCause()) {
            if (t instanceof CertificateExpiredException) {
                return new TransportFailure(
                        "TLS: the server's certificate has expired: "
                                + Text.printable(message(t), 200)
                                + "; renew it, or set the clock of this host",
                        1);
            }
            if (t instanceof CertificateNotYetValidException) {
                return new TransportFailure(
                        "TLS: the server's certificate is not valid yet: "
                                + Text.printable(message(t), 200)
                                + "; check the clock of this host",
                        1);
            }
        }
        for (Throwable t = failure; t != null; t = t.getCause()) {
            if (t instanceof CertificateException) {
                return new TransportFailure(
                        "TLS: the certificate is not trusted: " + reason(t) + HOST_AUTHORITY, 1);
            }
        }
        String text = message(failure);
        if (text.startsWith("Unsupported or unrecognized SSL message")) {
            return new TransportFailure(
                    "TLS: the registry does not speak https; ask for plain http if you trust the"
                            + " network",
                    1);
        }
        String alert = text.substring(text.lastIndexOf(' ') + 1);
        return switch (alert) {
            case "certificate_required" ->
                    new TransportFailure("TLS: " + ErrorBody.NO_CLIENT_CERTIFICATE, 1);
            // Servers disagree on the alert for a certificate that they do not trust.
            case "bad_certificate",
                    "unknown_ca",
                    "certificate_unknown",
                    "certificate_expired",
                    "unsupported_certificate" ->
                    new TransportFailure(
                            "TLS: the server refused this side's certificate ("
                                    + alert
                                    + "); "
                                    + ErrorBody.CLIENT_CERTIFICATE_ADVICE,
                            1);
            default -> new TransportFailure("TLS: " + Text.printable(text, 200), MANY);
        };
    }

    /// The innermost reason: the outer ones repeat it behind names of classes.
    private static String reason(Throwable failure) {
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
            if (t instanceof CertificateException) {
                return "the certificate is not trusted: " + reason(t);
            }
        }
        return Text.printable(message(failure), 200);
    }

    private static String message(Throwable failure) {
        String message = failure.getMessage();
        return message == null ? failure.getClass().getSimpleName() : message;
    }

    RegistryException exception(String what, String host, @Nullable IOException cause) {
        return new RegistryException(
                kind, "%s: no answer from %s: %s".formatted(what, host, text), 0, List.of(), cause);
    }
}
