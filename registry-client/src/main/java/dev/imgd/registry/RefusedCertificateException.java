package dev.imgd.registry;

import dev.imgd.model.Text;
import java.net.InetAddress;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertPathValidatorException.BasicReason;
import java.security.cert.CertificateException;
import java.security.cert.CertificateExpiredException;
import java.security.cert.CertificateNotYetValidException;
import java.security.cert.CertificateParsingException;
import java.security.cert.X509Certificate;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.security.auth.x500.X500Principal;
import org.jspecify.annotations.Nullable;

/// A server's certificate that is not taken. The message says whose it is and why, on one line.
final class RefusedCertificateException extends CertificateException {
    private static final DateTimeFormatter MINUTE =
            DateTimeFormatter.ofPattern("yyyy-MM-dd HH:mm 'UTC'", Locale.ROOT)
                    .withZone(ZoneOffset.UTC);

    private static final int MOST_NAMES = 8;

    /// Of the names in a certificate. **Source:** RFC 5280 § 4.2.1.6.
    private static final int DNS_NAME = 2;

    private static final int IP_ADDRESS = 7;

    /// What OkHttp says of a certificate that is for others; the names in it are the certificate's.
    private static final Pattern NOT_VERIFIED =
            Pattern.compile(
                    "Hostname (\\S+) not verified:.*subjectAltNames: \\[(.*)]", Pattern.DOTALL);

    private final boolean unknown;

    private RefusedCertificateException(String message, boolean unknown, CertificateException e) {
        super(message, e);
        this.unknown = unknown;
    }

    /// Whether to trust its authority would help.
    boolean isUnknown() {
        return unknown;
    }

    /// Explains why a certificate was refused. That of a server which is out of date is often
    /// refused for what follows from it, so that is looked at first. The others that it sent may
    /// not have been needed, so they are looked at only if it was a date that was wrong.
    ///
    /// @param chain what the server sent, its own first
    static RefusedCertificateException of(
            X509Certificate[] chain, CertificateException cause, Instant now) {
        boolean dated = isDate(cause);
        for (int i = 0; i < (dated ? chain.length : Math.min(1, chain.length)); i++) {
            String whose =
                    i == 0 ? "the server's certificate" : "a certificate that the server sent";
            String outdated = outdated(chain[i], now);
            if (!outdated.isEmpty()) {
                String message = "%s %s".formatted(whose, outdated);
                return new RefusedCertificateException(message, false, cause);
            }
        }
        return new RefusedCertificateException(notTrusted(chain, cause), !dated, cause);
    }

    /// The same of a certificate that a trusted authority signed.
    static RefusedCertificateException ofKnownAuthority(
            X509Certificate[] chain, CertificateException cause) {
        return new RefusedCertificateException(notTrusted(chain, cause), false, cause);
    }

    private static String notTrusted(X509Certificate[] chain, CertificateException cause) {
        String message = TransportFailure.NOT_TRUSTED + TransportFailure.reason(cause);
        return chain.length == 0 ? message : message + whose(chain);
    }

    private static boolean isDate(CertificateException cause) {
        for (Throwable t = cause; t != null; t = t.getCause()) {
            if (t instanceof CertificateExpiredException
                    || t instanceof CertificateNotYetValidException
                    || (t instanceof CertPathValidatorException path
                            && (path.getReason() == BasicReason.EXPIRED
                                    || path.getReason() == BasicReason.NOT_YET_VALID))) {
                return true;
            }
        }
        return false;
    }

    private static String whose(X509Certificate[] chain) {
        X500Principal subject = chain[0].getSubjectX500Principal();
        X500Principal issuer = chain[0].getIssuerX500Principal();
        X500Principal last = chain[chain.length - 1].getIssuerX500Principal();
        if (subject.equals(issuer)) {
            return " (certificate of %s, signed by itself)".formatted(name(subject));
        }
        return last.equals(issuer)
                ? " (certificate of %s, issued by %s)".formatted(name(subject), name(issuer))
                : " (certificate of %s, issued by %s, whose authority is %s)"
                        .formatted(name(subject), name(issuer), name(last));
    }

    /// That a certificate which is good is for another name.
    static RefusedCertificateException otherName(
            String wanted, X509Certificate certificate, CertificateException cause) {
        return new RefusedCertificateException(otherName(wanted, names(certificate)), false, cause);
    }

    /// The same in the words of OkHttp.
    static String otherName(String message) {
        Matcher said = NOT_VERIFIED.matcher(message);
        return said.find()
                ? otherName(said.group(1), List.of(said.group(2).split(", ")))
                : "the certificate is for another host name";
    }

    private static String otherName(String wanted, List<String> names) {
        List<String> shown = names.stream().filter(name -> !name.isBlank()).toList();
        String has =
                shown.isEmpty()
                        ? "it has no names"
                        : "it is for "
                                + Text.printable(
                                        String.join(
                                                ", ",
                                                shown.subList(
                                                        0, Math.min(MOST_NAMES, shown.size()))),
                                        300)
                                + (shown.size() > MOST_NAMES ? ", …" : "");
        return "the certificate is for another host name: wanted %s, %s; ask for the registry by a name that is in its certificate, or have one made for %1$s"
                .formatted(Text.printable(wanted, 120), has);
    }

    private static List<String> names(X509Certificate certificate) {
        List<String> names = new ArrayList<>();
        for (List<?> name : alternativeNames(certificate)) {
            if (name.get(1) instanceof String text) {
                names.add(text);
            }
        }
        return names;
    }

    private static Collection<List<?>> alternativeNames(X509Certificate certificate) {
        try {
            Collection<List<?>> names = certificate.getSubjectAlternativeNames();
            return names == null ? List.of() : names;
        } catch (CertificateParsingException e) {
            // Then it has none that anybody could use.
            return List.of();
        }
    }

    /// Whether a certificate is for a host.
    ///
    /// @param host a name or an address, IPv6 with brackets or without
    static boolean isFor(X509Certificate certificate, String host) {
        return isAmong(alternativeNames(certificate), host);
    }

    /// Whether a host is one of the names. **Source:** RFC 9525 § 6.3: an asterisk stands for the
    /// first label.
    ///
    /// @param names as the Java runtime has them: a number for what each is, and the text of it
    static boolean isAmong(Collection<List<?>> names, String host) {
        InetAddress address = address(host);
        String wanted = host.toLowerCase(Locale.ROOT);
        int dot = wanted.indexOf('.');
        String parent = dot > 0 ? wanted.substring(dot) : "";
        for (List<?> name : names) {
            if (!(name.get(0) instanceof Integer kind) || !(name.get(1) instanceof String text)) {
                continue;
            }
            String known = text.toLowerCase(Locale.ROOT);
            if (address != null) {
                if (kind == IP_ADDRESS && address.equals(address(known))) {
                    return true;
                }
            } else if (kind == DNS_NAME
                    && (known.equals(wanted)
                            || (!parent.isEmpty() && known.equals('*' + parent)))) {
                return true;
            }
        }
        return false;
    }

    private static @Nullable InetAddress address(String host) {
        try {
            return InetAddress.ofLiteral(host);
        } catch (IllegalArgumentException e) {
            return null; // a name
        }
    }

    /// What is to be said of the time that a certificate is for; empty when it is good now.
    static String outdated(X509Certificate certificate, Instant now) {
        Instant from = certificate.getNotBefore().toInstant();
        Instant until = certificate.getNotAfter().toInstant();
        boolean expired = now.isAfter(until);
        if (!expired && !now.isBefore(from)) {
            return "";
        }
        return "%s: that of %s, issued by %s, is good from %s until %s; %s"
                .formatted(
                        expired ? "has expired" : "is not valid yet",
                        name(certificate.getSubjectX500Principal()),
                        name(certificate.getIssuerX500Principal()),
                        MINUTE.format(from),
                        MINUTE.format(until),
                        expired
                                ? "renew it, or set the clock of this host"
                                : "check the clock of this host");
    }

    private static String name(X500Principal principal) {
        return Text.printable(principal.getName(), 120);
    }
}
