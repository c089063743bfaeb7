package dev.imgd.trust;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Json;
import dev.imgd.model.JsonNode;
import dev.imgd.model.Reference;
import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.cert.CRLException;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509CRL;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Base64;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// A trust policy of the Notary Project with its trust stores and revocation lists. Immutable.
/// **Source:** notaryproject specs v1.0, trust-store-trust-policy.md.
///
/// ```
/// DIR/trustpolicy.json
/// DIR/truststore/x509/ca/NAME/*.pem            roots of signers
/// DIR/truststore/x509/signingAuthority/NAME/   roots of signing authorities
/// DIR/crl/*                                    revocation lists, PEM or DER
/// ```
///
/// @param statements by their scopes, `registry/repository` or `*`
record NotationPolicy(Map<String, Statement> statements, List<X509CRL> revocationLists) {
    private static final String CERTIFICATE = "-----BEGIN CERTIFICATE-----";

    NotationPolicy {
        statements = Map.copyOf(statements);
        revocationLists = List.copyOf(revocationLists);
    }

    /// What is verified of a signature.
    enum Validation {
        INTEGRITY("integrity"),
        AUTHENTICITY("authenticity"),
        AUTHENTIC_TIMESTAMP("authenticTimestamp"),
        EXPIRY("expiry"),
        REVOCATION("revocation");

        private final String label;

        Validation(String label) {
            this.label = label;
        }

        @Override
        public String toString() {
            return label;
        }
    }

    /// What follows from a validation that fails.
    enum Action {
        ENFORCE,
        LOG,
        SKIP
    }

    /// One statement.
    ///
    /// @param skip accept without looking at signatures
    /// @param trusted the roots of each type of store: `ca`, `signingAuthority`
    /// @param identities empty when every subject is trusted
    record Statement(
            String name,
            boolean skip,
            Map<Validation, Action> actions,
            Map<String, List<X509Certificate>> trusted,
            List<DistinguishedName> identities) {
        Action action(Validation validation) {
            return actions.getOrDefault(validation, Action.ENFORCE);
        }
    }

    /// The statement for an image: that of its repository, else that of `*`.
    Optional<Statement> statement(Reference image) {
        Statement own = statements.get(image.name());
        return Optional.ofNullable(own == null ? statements.get("*") : own);
    }

    /// Reads the directory.
    static NotationPolicy read(Path directory, PolicyFiles files) throws ImageException {
        Path file = directory.resolve("trustpolicy.json");
        JsonNode root = Json.parse(file.toString(), files.read(file));
        Strict.only(root, List.of("version", "trustPolicies"));
        JsonNode version = root.require("version");
        if (!version.text().equals("1.0")) {
            throw version.invalid("wanted \"1.0\"");
        }
        Map<String, Statement> statements = new HashMap<>();
        Set<String> names = new HashSet<>();
        List<JsonNode> policies = root.require("trustPolicies").items();
        if (policies.isEmpty()) {
            throw root.invalid("\"trustPolicies\" is empty");
        }
        for (JsonNode policy : policies) {
            Strict.only(
                    policy,
                    List.of(
                            "name",
                            "registryScopes",
                            "signatureVerification",
                            "trustStores",
                            "trustedIdentities"));
            JsonNode name = policy.require("name");
            if (name.text().isEmpty() || !names.add(name.text())) {
                throw name.invalid("empty, or the name of another policy too");
            }
            Statement statement = statement(directory, policy, files);
            List<JsonNode> scopes = policy.require("registryScopes").items();
            if (scopes.isEmpty()) {
                throw policy.invalid("\"registryScopes\" is empty");
            }
            for (JsonNode scope : scopes) {
                checkScope(scope, scopes.size());
                if (statements.put(scope.text(), statement) != null) {
                    throw scope.invalid("the scope of another policy too");
                }
            }
        }
        return new NotationPolicy(statements, revocationLists(directory.resolve("crl"), files));
    }

    private static void checkScope(JsonNode scope, int count) throws ImageException {
        if (scope.text().equals("*")) {
            if (count > 1) {
                throw scope.invalid("\"*\" stands alone");
            }
            return;
        }
        Reference reference;
        try {
            reference = Reference.parse(scope.text());
        } catch (ImageException e) {
            throw scope.invalid(e.getMessage());
        }
        if (!reference.name().equals(scope.text())) {
            throw scope.invalid(
                    "wanted a whole repository without tag or wildcards, such as "
                            + reference.name());
        }
    }

    private static Statement statement(Path directory, JsonNode policy, PolicyFiles files)
            throws ImageException {
        JsonNode verification = policy.require("signatureVerification");
        Strict.only(verification, List.of("level", "override", "verifyTimestamp"));
        JsonNode level = verification.require("level");
        Map<Validation, Action> actions = actions(level);
        boolean skip = level.text().equals("skip");
        Optional<JsonNode> override = verification.find("override");
        if (override.isPresent()) {
            if (skip) {
                throw override.get().invalid("nothing is verified at level \"skip\"");
            }
            override(override.get(), actions);
        }
        JsonNode timestamp = verification.find("verifyTimestamp").orElse(null);
        if (timestamp != null && !Set.of("always", "afterCertExpiry").contains(timestamp.text())) {
            throw timestamp.invalid("wanted \"always\" or \"afterCertExpiry\"");
        }
        List<JsonNode> stores = policy.items("trustStores");
        List<JsonNode> identities = policy.items("trustedIdentities");
        if (skip != stores.isEmpty() || skip != identities.isEmpty()) {
            throw policy.invalid(
                    skip
                            ? "trust stores and identities mean nothing at level \"skip\""
                            : "\"trustStores\" or \"trustedIdentities\" is missing or empty");
        }
        Map<String, List<X509Certificate>> trusted = new HashMap<>();
        for (JsonNode store : stores) {
            addStore(directory, store, trusted, files);
        }
        return new Statement(
                policy.require("name").text(), skip, actions, trusted, identities(identities));
    }

    private static Map<Validation, Action> actions(JsonNode level) throws ImageException {
        Map<Validation, Action> actions = new EnumMap<>(Validation.class);
        switch (level.text()) {
            case "strict", "skip" -> {}
            case "permissive" -> {
                actions.put(Validation.AUTHENTIC_TIMESTAMP, Action.LOG);
                actions.put(Validation.EXPIRY, Action.LOG);
                actions.put(Validation.REVOCATION, Action.LOG);
            }
            case "audit" -> {
                for (Validation validation : Validation.values()) {
                    if (validation != Validation.INTEGRITY) {
                        actions.put(validation, Action.LOG);
                    }
                }
            }
            default -> throw level.invalid("wanted strict, permissive, audit or skip");
        }
        return actions;
    }

    private static void override(JsonNode override, Map<Validation, Action> actions)
            throws ImageException {
        for (Map.Entry<String, JsonNode> entry : override.members().entrySet()) {
            Validation found = null;
            for (Validation validation : Validation.values()) {
                if (validation.label.equals(entry.getKey())) {
                    found = validation;
                }
            }
            if (found == null || found == Validation.INTEGRITY) {
                throw entry.getValue()
                        .invalid("wanted authenticity, authenticTimestamp, expiry or revocation");
            }
            Action action =
                    switch (entry.getValue().text()) {
                        case "enforce" -> Action.ENFORCE;
                        case "log" -> Action.LOG;
                        case "skip" -> Action.SKIP;
                        default -> throw entry.getValue().invalid("wanted enforce, log or skip");
                    };
            if (action == Action.SKIP && found != Validation.REVOCATION) {
                throw entry.getValue().invalid("only revocation can be skipped");
            }
            actions.put(found, action);
        }
    }

    private static List<DistinguishedName> identities(List<JsonNode> nodes) throws ImageException {
        List<DistinguishedName> identities = new ArrayList<>();
        for (JsonNode node : nodes) {
            String text = node.text();
            if (text.equals("*")) {
                if (nodes.size() > 1) {
                    throw node.invalid("\"*\" stands alone");
                }
                return List.of();
            }
            if (!text.startsWith("x509.subject:")) {
                throw node.invalid("wanted \"x509.subject: C=…, ST=…, O=…\" or \"*\"");
            }
            DistinguishedName name;
            try {
                name = DistinguishedName.parse(text.substring("x509.subject:".length()).strip());
            } catch (ImageException e) {
                throw node.invalid(e.getMessage());
            }
            for (DistinguishedName other : identities) {
                if (name.matches(other) || other.matches(name)) {
                    throw node.invalid("overlaps with another trusted identity");
                }
            }
            identities.add(name);
        }
        return List.copyOf(identities);
    }

    private static void addStore(
            Path directory,
            JsonNode store,
            Map<String, List<X509Certificate>> trusted,
            PolicyFiles files)
            throws ImageException {
        String text = store.text();
        int colon = text.indexOf(':');
        String type = colon < 0 ? "" : text.substring(0, colon);
        String name = text.substring(colon + 1);
        if (!Set.of("ca", "signingAuthority", "tsa").contains(type) || !isFileName(name)) {
            throw store.invalid("wanted \"ca:NAME\", \"signingAuthority:NAME\" or \"tsa:NAME\"");
        }
        if (type.equals("tsa")) {
            // Times of authorities are not used, which only makes verification stricter.
            return;
        }
        Path path = directory.resolve("truststore").resolve("x509").resolve(type).resolve(name);
        List<X509Certificate> roots = new ArrayList<>();
        for (Path file : files.list(path)) {
            roots.addAll(certificates(file, files.read(file)));
        }
        if (roots.isEmpty()) {
            throw store.invalid("%s has no certificates".formatted(path));
        }
        trusted.computeIfAbsent(type, _ -> new ArrayList<>()).addAll(roots);
    }

    private static boolean isFileName(String name) {
        for (int i = 0; i < name.length(); i++) {
            char c = name.charAt(i);
            boolean plain =
                    (c >= 'a' && c <= 'z')
                            || (c >= 'A' && c <= 'Z')
                            || (c >= '0' && c <= '9')
                            || c == '_'
                            || c == '-'
                            || (c == '.' && i > 0);
            if (!plain) {
                return false;
            }
        }
        return !name.isEmpty();
    }

    /// Certificates in PEM or one in DER.
    private static List<X509Certificate> certificates(Path file, byte[] content)
            throws ImageException {
        List<X509Certificate> found = new ArrayList<>();
        try {
            if (content.length > 0 && content[0] == 0x30) {
                found.add(CertificateChain.parse(content));
            } else {
                String text = new String(content, StandardCharsets.ISO_8859_1);
                for (int at = text.indexOf(CERTIFICATE); at >= 0; ) {
                    int end = text.indexOf("-----END CERTIFICATE-----", at);
                    if (end < 0) {
                        throw ImageException.invalidContent("a certificate without an end");
                    }
                    found.add(
                            CertificateChain.parse(
                                    Base64.getMimeDecoder()
                                            .decode(
                                                    text.substring(
                                                            at + CERTIFICATE.length(), end))));
                    at = text.indexOf(CERTIFICATE, end);
                }
            }
        } catch (ImageException e) {
            throw ImageException.failedPrecondition(
                    "trust store: %s: %s".formatted(file, e.getMessage()));
        } catch (IllegalArgumentException e) {
            throw ImageException.failedPrecondition(
                    "trust store: %s: a certificate in PEM that is not base64".formatted(file));
        }
        if (found.isEmpty()) {
            throw ImageException.failedPrecondition(
                    "trust store: %s: no certificate in PEM or DER".formatted(file));
        }
        return found;
    }

    private static List<X509CRL> revocationLists(Path directory, PolicyFiles files)
            throws ImageException {
        List<X509CRL> lists = new ArrayList<>();
        for (Path file : files.list(directory)) {
            try {
                lists.add(
                        (X509CRL)
                                CertificateFactory.getInstance("X.509")
                                        .generateCRL(new ByteArrayInputStream(files.read(file))));
            } catch (CRLException | CertificateException e) {
                throw new ImageException(
                        ErrorKind.FAILED_PRECONDITION,
                        "revocation list: %s: neither PEM nor DER".formatted(file),
                        e);
            }
        }
        return lists;
    }
}
