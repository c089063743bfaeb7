package dev.imgd.registry;

import dev.imgd.model.Text;
import java.security.cert.CertificateException;
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

/// A server's certificate that is not taken. The message says whose it is and why, on one line.
final class RefusedCertificateException extends CertificateException {
    private static final DateTimeFormatter MINUTE =
            DateTimeFormatter.ofPattern("yyyy-MM-dd HH:mm 'UTC'", Locale.ROOT)
                    .withZone(ZoneOffset.UTC);

    private static final int MOST_NAMES = 8;

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

    /// Explains why a certificate was refused. One that is out of date is often refused for what
    /// follows from it, so that is looked at first.
    ///
    /// @param chain what the server sent, its own first
    static RefusedCertificateException of(X509Certificate[] chain, CertificateException cause) {
        for (int i = 0; i < chain.length; i++) {
            String whose =
                    i == 0 ? "the server's certificate" : "a certificate that the server sent";
            String outdated = outdated(chain[i], Instant.now());
            if (!outdated.isEmpty()) {
                String message = "%s %s".formatted(whose, outdated);
                return new RefusedCertificateException(message, false, cause);
            }
        }
        String message = TransportFailure.NOT_TRUSTED + TransportFailure.reason(cause);
        return new RefusedCertificateException(
                chain.length == 0 ? message : message + whose(chain), true, cause);
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
        try {
            Collection<List<?>> all = certificate.getSubjectAlternativeNames();
            if (all != null) {
                for (List<?> name : all) {
                    if (name.get(1) instanceof String text) {
                        names.add(text);
                    }
                }
            }
        } catch (CertificateParsingException e) {
            // Then it has none that anybody could use.
            return names;
        }
        return names;
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
