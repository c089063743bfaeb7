package dev.imgd.trust;

import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Json;
import dev.imgd.model.JsonNode;
import dev.imgd.model.Reference;
import dev.imgd.model.Text;
import dev.imgd.trust.Verdict.Check;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// Which images may be used, by scope. Immutable and thread-safe.
///
/// The syntax is that of containers-policy.json(5), read strictly: a field that is unknown, twice
/// or `null` refuses the file. Of its transports `docker` applies, since imgd asks registries. To
/// its requirements comes `notation`. What imgd cannot verify (`signedBy`, keyless signatures) can
/// be written and is met by nothing.
///
/// ```
/// {"default": [{"type": "reject"}],
///  "transports": {"docker": {
///    "quay.io/team": [{"type": "sigstoreSigned", "keyPath": "/etc/imgd/team.pub"}],
///    "registry.example.com": [{"type": "notation"}]}}}
/// ```
public final class ImagePolicy {
    /// How long an acceptance holds at most before it is decided again.
    static final Duration MAX_AGE = Duration.ofMinutes(10);

    private static final List<String> SIGSTORE_MEMBERS =
            List.of(
                    "type",
                    "keyPath",
                    "keyPaths",
                    "keyData",
                    "keyDatas",
                    "fulcio",
                    "pki",
                    "rekorPublicKeyPath",
                    "rekorPublicKeyPaths",
                    "rekorPublicKeyData",
                    "rekorPublicKeyDatas",
                    "signedIdentity");

    private final String name;
    private final Digest hash;
    private final List<Requirement> byDefault;
    private final Map<String, List<Requirement>> scopes;

    private ImagePolicy(
            String name,
            Digest hash,
            List<Requirement> byDefault,
            Map<String, List<Requirement>> scopes) {
        this.name = name;
        this.hash = hash;
        this.byDefault = byDefault;
        this.scopes = scopes;
    }

    /// Reads a policy, and everything it names.
    ///
    /// @param file keys are named relative to its directory
    /// @param notation the directory with `trustpolicy.json`, read when a requirement asks for it
    /// @throws ImageException `INVALID_ARGUMENT` when anything in it is wrong, `PERMISSION_DENIED`
    ///   when it may not be read
    public static ImagePolicy read(Path file, Path notation) throws ImageException {
        PolicyFiles files = new PolicyFiles();
        try {
            return new Reading(file, notation, files).policy(files.read(file));
        } catch (ImageException e) {
            boolean denied = e.kind() == ErrorKind.PERMISSION_DENIED;
            boolean told = denied || e.kind() == ErrorKind.FAILED_PRECONDITION;
            throw new ImageException(
                    denied ? e.kind() : ErrorKind.INVALID_ARGUMENT,
                    told ? e.getMessage() : "trust policy: " + e.getMessage(),
                    e);
        }
    }

    /// The hash of the file and of everything it names: equal hashes decide alike.
    public Digest hash() {
        return hash;
    }

    /// Decides on an image.
    ///
    /// @param reference the name it is asked for under
    /// @param resolved the manifest or index that would be used
    /// @param lookup cancelled when it takes too long
    /// @throws ImageException when the signatures cannot be looked up; the image may not be used
    public Verdict decide(
            Reference reference,
            Descriptor resolved,
            SignatureLookup lookup,
            Effort effort,
            Instant now)
            throws ImageException {
        Rule rule = rule(reference);
        try (TimedLookup timed = new TimedLookup(lookup, reference, effort.time())) {
            Examination examination =
                    new Examination(
                            reference,
                            resolved,
                            timed,
                            effort.signatures(),
                            now,
                            now.plus(MAX_AGE));
            List<Check> checks = new ArrayList<>();
            boolean accepted = true;
            for (Requirement requirement : rule.requirements) {
                Check check = requirement.check(examination);
                checks.add(check);
                accepted &= check.satisfied();
            }
            timed.end();
            return new Verdict(
                    accepted,
                    Optional.of(resolved.digest()),
                    name,
                    rule.name,
                    checks,
                    examination.until());
        }
    }

    /// Decides where signatures change nothing; empty where they do.
    Optional<Verdict> decideAlone(Reference reference, Optional<Digest> digest, Instant now) {
        Rule rule = rule(reference);
        List<Check> checks = new ArrayList<>();
        boolean accepted = true;
        boolean open = false;
        for (Requirement requirement : rule.requirements) {
            switch (requirement) {
                case Requirement.AcceptAnything accept ->
                        checks.add(new Check(accept.type(), true, Requirement.ACCEPTED, List.of()));
                case Requirement.Reject reject -> {
                    checks.add(new Check(reject.type(), false, Requirement.REJECTED, List.of()));
                    accepted = false;
                }
                case Requirement.Unsupported(String type, String reason) -> {
                    checks.add(new Check(type, false, reason, List.of()));
                    accepted = false;
                }
                case Requirement.SigstoreSigned _, Requirement.Notation _ -> open = true;
            }
        }
        return open && accepted
                ? Optional.empty()
                : Optional.of(
                        new Verdict(accepted, digest, name, rule.name, checks, now.plus(MAX_AGE)));
    }

    private record Rule(String name, List<Requirement> requirements) {}

    private Rule rule(Reference reference) {
        for (String scope : scopesOf(reference)) {
            List<Requirement> own = scopes.get(scope);
            if (own != null) {
                return new Rule(scope.isEmpty() ? "docker" : "docker: " + scope, own);
            }
        }
        return new Rule("default", byDefault);
    }

    /// Where a reference is looked up, the most specific scope first. **Source:**
    /// containers-policy.json(5) § docker.
    static List<String> scopesOf(Reference reference) {
        List<String> all = new ArrayList<>();
        all.add((reference.digest().isPresent() ? reference.withoutTag() : reference).toString());
        String path = reference.name();
        for (int end = path.length(); end > 0; end = path.lastIndexOf('/', end - 1)) {
            all.add(path.substring(0, end));
        }
        String host = reference.registry();
        for (int dot = host.indexOf('.'); dot >= 0; dot = host.indexOf('.', dot + 1)) {
            all.add("*" + host.substring(dot));
        }
        all.add("");
        return all;
    }

    /// Reads one file.
    private static final class Reading {
        private final Path file;
        private final Path notation;
        private final PolicyFiles files;
        private @Nullable NotationPolicy notationPolicy;

        Reading(Path file, Path notation, PolicyFiles files) {
            this.file = file;
            this.notation = notation;
            this.files = files;
        }

        ImagePolicy policy(byte[] document) throws ImageException {
            JsonNode root = Json.parse(file.toString(), document);
            Strict.only(root, List.of("default", "transports"));
            List<Requirement> byDefault = requirements(root.require("default"));
            Map<String, List<Requirement>> scopes = new HashMap<>();
            Optional<JsonNode> transports = root.find("transports");
            if (transports.isPresent()) {
                for (Map.Entry<String, JsonNode> transport :
                        transports.get().members().entrySet()) {
                    boolean docker = transport.getKey().equals("docker");
                    for (Map.Entry<String, JsonNode> scope :
                            transport.getValue().members().entrySet()) {
                        // Other transports are read too, so that a mistake shows.
                        List<Requirement> own = requirements(scope.getValue());
                        if (docker) {
                            checkScope(scope.getKey(), scope.getValue());
                            scopes.put(scope.getKey(), own);
                        }
                    }
                }
            }
            return new ImagePolicy(file.toString(), files.hash(), byDefault, scopes);
        }

        /// A scope that no reference can have would silently protect nothing.
        private static void checkScope(String scope, JsonNode where) throws ImageException {
            if (scope.isEmpty()) {
                return;
            }
            if (scope.startsWith("*.")) {
                if (scope.indexOf('/') >= 0 || scope.indexOf('*', 1) >= 0) {
                    throw where.invalid("after \"*.\" only a domain may follow");
                }
                return;
            }
            int slash = scope.indexOf('/');
            String host = slash < 0 ? scope : scope.substring(0, slash);
            boolean registry =
                    host.indexOf('.') >= 0 || host.indexOf(':') >= 0 || host.equals("localhost");
            if (!registry || host.indexOf('@') >= 0) {
                throw unreachable(where);
            }
            if (slash >= 0) {
                try {
                    String canonical = Reference.parse(scope).toString();
                    // Only docker.io completes names, and a shorter scope is a prefix there.
                    if (!canonical.equals(scope) && !host.equals("docker.io")) {
                        throw unreachable(where);
                    }
                } catch (ImageException e) {
                    throw where.invalid(e.getMessage());
                }
            }
        }

        private static ImageException unreachable(JsonNode where) {
            return where.invalid(
                    "no image has this scope; wanted a registry's host, then namespace or"
                            + " repository, such as docker.io/library");
        }

        private List<Requirement> requirements(JsonNode node) throws ImageException {
            List<Requirement> requirements = new ArrayList<>();
            for (JsonNode item : node.items()) {
                requirements.add(requirement(item));
            }
            if (requirements.isEmpty()) {
                throw node.invalid("wanted at least one requirement");
            }
            return List.copyOf(requirements);
        }

        private Requirement requirement(JsonNode node) throws ImageException {
            JsonNode type = node.require("type");
            return switch (type.text()) {
                case "insecureAcceptAnything" -> {
                    Strict.only(node, List.of("type"));
                    yield new Requirement.AcceptAnything();
                }
                case "reject" -> {
                    Strict.only(node, List.of("type"));
                    yield new Requirement.Reject();
                }
                case "sigstoreSigned" -> sigstoreSigned(node);
                case "notation" -> {
                    Strict.only(node, List.of("type"));
                    yield notation();
                }
                case "signedBy" -> {
                    Strict.only(
                            node,
                            List.of(
                                    "type",
                                    "keyType",
                                    "keyPath",
                                    "keyPaths",
                                    "keyData",
                                    "signedIdentity"));
                    yield new Requirement.Unsupported(
                            "signedBy", "imgd does not verify GPG signatures; use sigstoreSigned");
                }
                default ->
                        throw type.invalid(
                                "unknown requirement \"%s\"; wanted insecureAcceptAnything, reject, sigstoreSigned or notation"
                                        .formatted(Text.printable(type.text(), 60)));
            };
        }

        private Requirement sigstoreSigned(JsonNode node) throws ImageException {
            Strict.only(node, SIGSTORE_MEMBERS);
            Optional<JsonNode> identity = node.find("signedIdentity");
            SignedIdentity wanted =
                    identity.isPresent()
                            ? SignedIdentity.read(identity.get())
                            : new SignedIdentity.AsStated();
            int sources = 0;
            for (String source :
                    List.of("keyPath", "keyPaths", "keyData", "keyDatas", "fulcio", "pki")) {
                sources += node.find(source).isPresent() ? 1 : 0;
            }
            if (sources != 1) {
                throw node.invalid("wanted exactly one of keyPath, keyPaths, keyData, keyDatas");
            }
            if (node.find("fulcio").isPresent() || node.find("pki").isPresent()) {
                return new Requirement.Unsupported(
                        "sigstoreSigned",
                        "imgd verifies signatures by keys, not those by certificates (fulcio, pki)");
            }
            for (String member : node.members().keySet()) {
                if (member.startsWith("rekor")) {
                    return new Requirement.Unsupported(
                            "sigstoreSigned",
                            "imgd does not verify entries of transparency logs (%s)"
                                    .formatted(member));
                }
            }
            List<VerificationKey> keys = new ArrayList<>();
            for (JsonNode path : several(node, "keyPath", "keyPaths")) {
                Path key = file.toAbsolutePath().resolveSibling(path.text());
                keys.add(VerificationKey.parse(key.toString(), files.read(key)));
            }
            for (JsonNode data : several(node, "keyData", "keyDatas")) {
                keys.add(
                        VerificationKey.parse(
                                data.where(), Strict.base64(data.where(), data.text())));
            }
            if (keys.isEmpty()) {
                throw node.invalid("wanted at least one key");
            }
            return new Requirement.SigstoreSigned(keys, wanted);
        }

        private static List<JsonNode> several(JsonNode node, String one, String many)
                throws ImageException {
            Optional<JsonNode> single = node.find(one);
            return single.isPresent() ? List.of(single.get()) : node.items(many);
        }

        private Requirement notation() throws ImageException {
            if (notationPolicy == null) {
                notationPolicy = NotationPolicy.read(notation, files);
            }
            return new Requirement.Notation(notationPolicy);
        }
    }
}
