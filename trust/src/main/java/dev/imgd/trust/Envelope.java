package dev.imgd.trust;

import dev.imgd.model.Bytes;
import dev.imgd.model.ImageException;
import dev.imgd.model.Json;
import dev.imgd.model.JsonNode;
import dev.imgd.model.Text;
import java.nio.charset.StandardCharsets;
import java.security.cert.X509Certificate;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.time.format.DateTimeParseException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/// A signature of the Notary Project, from JWS or COSE to one shape. Parsed, not verified.
/// **Source:** notaryproject specs v1.0, signature-envelope-jws.md and signature-envelope-cose.md.
///
/// @param algorithm as the header says: `PS256` to `PS512`, `ES256` to `ES512`
/// @param chain leaf first
/// @param signed the bytes that the signature is made over
/// @param signature of ECDSA as r and s one after the other
/// @param authenticSigningTime only in the scheme of signing authorities
record Envelope(
        String algorithm,
        String scheme,
        Optional<Instant> authenticSigningTime,
        Optional<Instant> expiry,
        List<X509Certificate> chain,
        Bytes payload,
        Bytes signed,
        Bytes signature) {
    static final String JWS = "application/jose+json";
    static final String COSE = "application/cose";
    static final String SCHEME_X509 = "notary.x509";
    static final String SCHEME_AUTHORITY = "notary.x509.signingAuthority";

    private static final String PAYLOAD_TYPE = "application/vnd.cncf.notary.payload.v1+json";
    private static final String PREFIX = "io.cncf.notary.";
    private static final String SCHEME = PREFIX + "signingScheme";
    private static final String SIGNING_TIME = PREFIX + "signingTime";
    private static final String AUTHENTIC_TIME = PREFIX + "authenticSigningTime";
    private static final String EXPIRY = PREFIX + "expiry";
    private static final String PLUGIN = PREFIX + "verificationPlugin";
    private static final Set<String> UNDERSTOOD = Set.of(SCHEME, AUTHENTIC_TIME, EXPIRY);

    private static final long COSE_SIGN1 = 18;
    private static final Cbor ALG = new Cbor.Int(1);
    private static final Cbor CRIT = new Cbor.Int(2);
    private static final Cbor CONTENT_TYPE = new Cbor.Int(3);
    private static final Cbor X5CHAIN = new Cbor.Int(33);

    /// What the protected header says, with all values as text or as times.
    private record Header(
            String algorithm,
            String contentType,
            Set<String> critical,
            Map<String, Instant> times,
            Optional<String> scheme,
            Set<String> names) {}

    /// @param mediaType of the blob: [#JWS] or [#COSE]
    /// @throws ImageException `INVALID_CONTENT`
    static Envelope parse(String mediaType, byte[] document) throws ImageException {
        return switch (mediaType) {
            case JWS -> jws(document);
            case COSE -> cose(document);
            default ->
                    throw ImageException.invalidContent(
                            "wanted an envelope of type %s or %s, got %s"
                                    .formatted(JWS, COSE, Text.printable(mediaType, 80)));
        };
    }

    private static Envelope of(
            Header header,
            List<X509Certificate> chain,
            byte[] payload,
            byte[] signed,
            byte[] signature)
            throws ImageException {
        if (!header.contentType.equals(PAYLOAD_TYPE)) {
            throw ImageException.invalidContent("its content type is not " + PAYLOAD_TYPE);
        }
        for (String name : header.critical) {
            if (name.startsWith(PLUGIN)) {
                throw ImageException.invalidContent(
                        "it asks for a verification plugin, and imgd has none");
            }
            if (!UNDERSTOOD.contains(name)) {
                throw ImageException.invalidContent(
                        "it has the critical attribute \"%s\", which imgd does not know"
                                .formatted(Text.printable(name, 80)));
            }
            if (!header.names.contains(name)) {
                throw ImageException.invalidContent(
                        "\"%s\" is critical but absent".formatted(name));
            }
        }
        String scheme =
                header.scheme.orElseThrow(
                        () -> ImageException.invalidContent("it has no signing scheme"));
        if (!scheme.equals(SCHEME_X509) && !scheme.equals(SCHEME_AUTHORITY)) {
            throw ImageException.invalidContent(
                    "unknown signing scheme \"%s\"".formatted(Text.printable(scheme, 80)));
        }
        boolean authority = scheme.equals(SCHEME_AUTHORITY);
        Optional<Instant> authentic = Optional.ofNullable(header.times.get(AUTHENTIC_TIME));
        Optional<Instant> expiry = Optional.ofNullable(header.times.get(EXPIRY));
        Set<String> wanted = new HashSet<>(Set.of(SCHEME));
        expiry.ifPresent(_ -> wanted.add(EXPIRY));
        authentic.ifPresent(_ -> wanted.add(AUTHENTIC_TIME));
        for (String name : wanted) {
            if (!header.critical.contains(name)) {
                throw ImageException.invalidContent("\"%s\" is not critical".formatted(name));
            }
        }
        if (authority != authentic.isPresent()
                || authority == header.times.containsKey(SIGNING_TIME)) {
            throw ImageException.invalidContent("its signing time does not fit " + scheme);
        }
        if (header.names.contains(PLUGIN)) {
            throw ImageException.invalidContent("its verification plugin is not critical");
        }
        return new Envelope(
                header.algorithm,
                scheme,
                authentic,
                expiry,
                chain,
                Bytes.of(payload),
                Bytes.of(signed),
                Bytes.of(signature));
    }

    /// Flattened JSON: `{"payload", "protected", "header": {"x5c": […]}, "signature"}`.
    private static Envelope jws(byte[] document) throws ImageException {
        JsonNode root = Json.parse("JWS", document);
        Strict.only(root, List.of("payload", "protected", "header", "signature"));
        String payload = root.require("payload").text();
        String protectedHeader = root.require("protected").text();
        JsonNode unprotected = root.require("header");
        for (String name : List.of("alg", "crit", "cty")) {
            if (unprotected.members().containsKey(name)) {
                throw unprotected.invalid("\"" + name + "\" is not protected");
            }
        }
        List<X509Certificate> chain = new ArrayList<>();
        for (JsonNode item : unprotected.items("x5c")) {
            chain.add(CertificateChain.parse(Strict.base64(item.where(), item.text())));
        }
        JsonNode header =
                Json.parse(
                        "protected header", Strict.base64Url("protected header", protectedHeader));
        Map<String, Instant> times = new HashMap<>();
        for (String name : List.of(SIGNING_TIME, AUTHENTIC_TIME, EXPIRY)) {
            Optional<JsonNode> time = header.find(name);
            if (time.isPresent()) {
                times.put(name, time(time.get()));
            }
        }
        List<String> critical = header.texts("crit");
        if (critical.isEmpty()) {
            throw header.invalid("\"crit\" is missing or empty");
        }
        if (Set.copyOf(critical).size() != critical.size()) {
            throw header.invalid("\"crit\" names something twice");
        }
        Optional<JsonNode> scheme = header.find(SCHEME);
        return of(
                new Header(
                        header.require("alg").text(),
                        header.require("cty").text(),
                        Set.copyOf(critical),
                        times,
                        scheme.isPresent() ? Optional.of(scheme.get().text()) : Optional.empty(),
                        header.members().keySet()),
                chain,
                Strict.base64Url("payload", payload),
                (protectedHeader + "." + payload).getBytes(StandardCharsets.US_ASCII),
                Strict.base64Url("signature", root.require("signature").text()));
    }

    private static Instant time(JsonNode node) throws ImageException {
        try {
            return OffsetDateTime.parse(node.text()).toInstant();
        } catch (DateTimeParseException e) {
            throw node.invalid("wanted a time such as 2026-01-02T03:04:05Z");
        }
    }

    /// `18([protected, {33: [x5chain]}, payload, signature])`.
    private static Envelope cose(byte[] document) throws ImageException {
        if (!(Cbor.parse("COSE", document) instanceof Cbor.Tagged(long tag, Cbor content))
                || tag != COSE_SIGN1
                || !(content instanceof Cbor.Array(List<Cbor> parts))
                || parts.size() != 4
                || !(parts.get(0) instanceof Cbor.Binary(Bytes protectedHeader))
                || !(parts.get(1) instanceof Cbor.Dictionary(Map<Cbor, Cbor> unprotected))
                || !(parts.get(2) instanceof Cbor.Binary(Bytes payload))
                || !(parts.get(3) instanceof Cbor.Binary(Bytes signature))) {
            throw ImageException.invalidContent("not a COSE_Sign1 message with its payload");
        }
        if (!(Cbor.parse("protected header", protectedHeader.toArray())
                instanceof Cbor.Dictionary(Map<Cbor, Cbor> header))) {
            throw ImageException.invalidContent("its protected header is not a map");
        }
        for (Cbor label : List.of(ALG, CRIT, CONTENT_TYPE)) {
            if (unprotected.containsKey(label)) {
                throw ImageException.invalidContent("alg, crit or content type is not protected");
            }
        }
        Map<String, Instant> times = new HashMap<>();
        for (String name : List.of(SIGNING_TIME, AUTHENTIC_TIME, EXPIRY)) {
            Cbor time = header.get(new Cbor.Text(name));
            if (time != null) {
                times.put(name, time(name, time));
            }
        }
        Set<String> names = new HashSet<>();
        for (Cbor label : header.keySet()) {
            if (label instanceof Cbor.Text(String name)) {
                names.add(name);
            }
        }
        Optional<String> scheme =
                header.get(new Cbor.Text(SCHEME)) instanceof Cbor.Text(String text)
                        ? Optional.of(text)
                        : Optional.empty();
        if (!(header.get(CONTENT_TYPE) instanceof Cbor.Text(String contentType))) {
            throw ImageException.invalidContent("it has no content type");
        }
        return of(
                new Header(
                        coseAlgorithm(header.get(ALG)),
                        contentType,
                        critical(header.get(CRIT)),
                        times,
                        scheme,
                        names),
                chain(unprotected.get(X5CHAIN)),
                payload.toArray(),
                Cbor.signatureStructure(protectedHeader.toArray(), payload.toArray()),
                signature.toArray());
    }

    private static String coseAlgorithm(@Nullable Cbor value) throws ImageException {
        if (value instanceof Cbor.Int(long number)) {
            switch ((int) Math.max(Math.min(number, 0), -100)) {
                case -37:
                    return "PS256";
                case -38:
                    return "PS384";
                case -39:
                    return "PS512";
                case -7:
                    return "ES256";
                case -35:
                    return "ES384";
                case -36:
                    return "ES512";
                default:
                    break;
            }
        }
        throw ImageException.invalidContent("its algorithm is none of PS256 to ES512");
    }

    private static Set<String> critical(@Nullable Cbor value) throws ImageException {
        if (!(value instanceof Cbor.Array(List<Cbor> labels)) || labels.isEmpty()) {
            throw ImageException.invalidContent("\"crit\" is missing or empty");
        }
        Set<String> names = new HashSet<>();
        for (Cbor label : labels) {
            if (!(label instanceof Cbor.Text(String name)) || !names.add(name)) {
                throw ImageException.invalidContent(
                        "\"crit\" names something twice or by a number");
            }
        }
        return names;
    }

    private static Instant time(String name, Cbor value) throws ImageException {
        Cbor plain = value instanceof Cbor.Tagged(long tag, Cbor c) && tag == 1 ? c : value;
        if (plain instanceof Cbor.Int(long seconds) && Math.abs(seconds) < 1L << 40) {
            return Instant.ofEpochSecond(seconds);
        }
        throw ImageException.invalidContent("\"%s\" is not a time".formatted(name));
    }

    private static List<X509Certificate> chain(@Nullable Cbor value) throws ImageException {
        List<Cbor> items =
                switch (value) {
                    case Cbor.Array(List<Cbor> several) -> several;
                    case Cbor.Binary one -> List.of(one);
                    case null, default -> List.of();
                };
        List<X509Certificate> chain = new ArrayList<>();
        for (Cbor item : items) {
            if (!(item instanceof Cbor.Binary(Bytes der))) {
                throw ImageException.invalidContent("its chain has something else than bytes");
            }
            chain.add(CertificateChain.parse(der.toArray()));
        }
        return chain;
    }
}
