package dev.imgd.trust;

import dev.imgd.model.ImageException;
import dev.imgd.model.Text;
import java.security.cert.X509Certificate;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import javax.naming.InvalidNameException;
import javax.naming.ldap.LdapName;
import javax.naming.ldap.Rdn;
import javax.security.auth.x500.X500Principal;

/// The subject of a certificate, or the part of one that a trust policy asks for. **Source:**
/// notaryproject specs v1.0, trust-store-trust-policy.md § Trusted identities.
///
/// @param attributes by type in upper case; each type at most once
record DistinguishedName(Map<String, String> attributes) {
    private static final int MAX_CHARS = 4096;
    private static final Set<String> MANDATORY = Set.of("C", "ST", "O");

    DistinguishedName {
        attributes = Map.copyOf(attributes);
    }

    /// Reads a name such as `C=US, ST=WA, O=acme`.
    ///
    /// @throws ImageException `INVALID_CONTENT` when it is malformed or lacks C, ST or O
    static DistinguishedName parse(String text) throws ImageException {
        if (text.length() > MAX_CHARS) {
            throw ImageException.invalidContent(
                    "a distinguished name of more than %d characters".formatted(MAX_CHARS));
        }
        Map<String, String> attributes = new HashMap<>();
        try {
            for (Rdn rdn : new LdapName(text).getRdns()) {
                if (rdn.size() != 1) {
                    throw invalid(text, "more than one attribute joined by +");
                }
                // A value written with # comes as bytes, and equals nothing that can be read.
                if (!(rdn.getValue() instanceof String value)) {
                    throw invalid(text, "a value in hexadecimal");
                }
                String type = type(rdn.getType());
                if (attributes.put(type, value) != null) {
                    throw invalid(text, "the attribute " + type + " twice");
                }
            }
        } catch (InvalidNameException e) {
            throw invalid(text, "malformed");
        }
        for (String type : MANDATORY) {
            if (attributes.getOrDefault(type, "").isEmpty()) {
                throw invalid(text, "the attribute " + type + " is missing");
            }
        }
        return new DistinguishedName(attributes);
    }

    /// The subject of a certificate.
    static DistinguishedName of(X509Certificate certificate) throws ImageException {
        X500Principal subject = certificate.getSubjectX500Principal();
        if (subject.getEncoded().length > MAX_CHARS) {
            throw ImageException.invalidContent(
                    "a subject of more than %d bytes".formatted(MAX_CHARS));
        }
        // RFC 2253 writes attributes it does not know in hexadecimal; those with names are enough.
        return parse(
                subject.getName(
                        X500Principal.RFC2253,
                        Map.of(
                                "1.2.840.113549.1.9.1", "EMAILADDRESS",
                                "2.5.4.5", "SERIALNUMBER",
                                "2.5.4.4", "SN",
                                "2.5.4.42", "GIVENNAME",
                                "2.5.4.12", "TITLE",
                                "2.5.4.17", "POSTALCODE")));
    }

    private static String type(String type) {
        String upper = type.toUpperCase(Locale.ROOT);
        return upper.equals("S") ? "ST" : upper;
    }

    /// Whether a subject has every attribute of this name.
    boolean matches(DistinguishedName subject) {
        return subject.attributes.entrySet().containsAll(attributes.entrySet());
    }

    @Override
    public String toString() {
        return new TreeMap<>(attributes).toString();
    }

    private static ImageException invalid(String text, String problem) {
        return ImageException.invalidContent(
                "distinguished name \"%s\": %s".formatted(Text.printable(text, 200), problem));
    }
}
