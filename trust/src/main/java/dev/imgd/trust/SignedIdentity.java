package dev.imgd.trust;

import dev.imgd.model.ImageException;
import dev.imgd.model.JsonNode;
import dev.imgd.model.Reference;
import java.util.List;
import java.util.Optional;

/// Which name a signature has to state for an image. **Source:** containers-policy.json(5),
/// signedIdentity.
sealed interface SignedIdentity {
    /// Whatever the signature states must fit: a tag or digest as it is, and the repository. This
    /// is what applies when a policy says nothing. Signatures of cosign state only a repository.
    record AsStated() implements SignedIdentity {}

    record MatchExact() implements SignedIdentity {}

    record MatchRepoDigestOrExact() implements SignedIdentity {}

    record MatchRepository() implements SignedIdentity {}

    record ExactReference(Reference reference) implements SignedIdentity {}

    record ExactRepository(Reference repository) implements SignedIdentity {}

    /// The name is looked for under another one, for mirrors; then as for [MatchRepoDigestOrExact].
    record RemapIdentity(String prefix, String signedPrefix) implements SignedIdentity {
        /// The name of an image with the prefix of its repository replaced.
        private String remapped(Reference image) {
            String name = image.name();
            boolean below =
                    name.startsWith(prefix)
                            && (name.length() == prefix.length()
                                    || name.charAt(prefix.length()) == '/');
            return below ? signedPrefix + name.substring(prefix.length()) : name;
        }

        private boolean fits(Reference image, Reference stated) {
            if (!remapped(image).equals(stated.name())) {
                return false;
            }
            return image.digest().isPresent() || suffix(image).equals(suffix(stated));
        }
    }

    static SignedIdentity read(JsonNode node) throws ImageException {
        JsonNode type = node.require("type");
        return switch (type.text()) {
            case "matchExact" -> only(node, new MatchExact());
            case "matchRepoDigestOrExact" -> only(node, new MatchRepoDigestOrExact());
            case "matchRepository" -> only(node, new MatchRepository());
            case "exactReference" -> {
                Strict.only(node, List.of("type", "dockerReference"));
                JsonNode name = node.require("dockerReference");
                Reference reference = reference(name);
                if (reference.tag().isEmpty() && reference.digest().isEmpty()) {
                    throw name.invalid("wanted a tag or a digest");
                }
                yield new ExactReference(reference);
            }
            case "exactRepository" -> {
                Strict.only(node, List.of("type", "dockerRepository"));
                JsonNode name = node.require("dockerRepository");
                Reference reference = reference(name);
                if (reference.tag().isPresent() || reference.digest().isPresent()) {
                    throw name.invalid("wanted a repository without a tag or a digest");
                }
                yield new ExactRepository(reference);
            }
            case "remapIdentity" -> {
                Strict.only(node, List.of("type", "prefix", "signedPrefix"));
                yield new RemapIdentity(
                        prefix(node.require("prefix")), prefix(node.require("signedPrefix")));
            }
            default ->
                    throw type.invalid(
                            "wanted matchExact, matchRepoDigestOrExact, matchRepository,"
                                    + " exactReference, exactRepository or remapIdentity");
        };
    }

    private static SignedIdentity only(JsonNode node, SignedIdentity identity)
            throws ImageException {
        Strict.only(node, List.of("type"));
        return identity;
    }

    private static Reference reference(JsonNode node) throws ImageException {
        try {
            return Reference.parse(node.text());
        } catch (ImageException e) {
            throw node.invalid(e.getMessage());
        }
    }

    private static String prefix(JsonNode node) throws ImageException {
        String prefix = node.text();
        if (prefix.isEmpty() || prefix.endsWith("/") || prefix.indexOf('@') >= 0) {
            throw node.invalid("wanted a registry, or a registry and the start of a repository");
        }
        return prefix;
    }

    /// Why a signature that states a name does not count for an image; empty when it does.
    default Optional<String> mismatch(Reference image, Reference stated) {
        boolean fits =
                switch (this) {
                    case AsStated() ->
                            (stated.tag().isEmpty() && stated.digest().isEmpty())
                                    ? sameRepository(image, stated)
                                    : exactOrDigest(image, stated);
                    case MatchExact() -> exact(image, stated);
                    case MatchRepoDigestOrExact() -> exactOrDigest(image, stated);
                    case MatchRepository() -> sameRepository(image, stated);
                    case ExactReference(Reference wanted) -> wanted.equals(stated);
                    case ExactRepository(Reference wanted) -> sameRepository(wanted, stated);
                    case RemapIdentity remap -> remap.fits(image, stated);
                };
        return fits
                ? Optional.empty()
                : Optional.of(
                        "it was made for %s, not for %s (signedIdentity %s)"
                                .formatted(stated, wanted(image), label()));
    }

    /// Whether a signature that states no name can count at all.
    default boolean namesOptional() {
        return this instanceof AsStated;
    }

    /// As in a policy.
    default String label() {
        String name = getClass().getSimpleName();
        return Character.toLowerCase(name.charAt(0)) + name.substring(1);
    }

    private String wanted(Reference image) {
        return switch (this) {
            case ExactReference(Reference wanted) -> wanted.toString();
            case ExactRepository(Reference wanted) -> wanted.toString();
            case RemapIdentity remap -> remap.remapped(image) + suffix(image);
            case AsStated(), MatchExact(), MatchRepoDigestOrExact(), MatchRepository() ->
                    identity(image);
        };
    }

    private static boolean sameRepository(Reference a, Reference b) {
        return a.name().equals(b.name());
    }

    private static boolean exactOrDigest(Reference image, Reference stated) {
        return image.digest().isPresent() ? sameRepository(image, stated) : exact(image, stated);
    }

    private static boolean exact(Reference image, Reference stated) {
        return identity(image).equals(identity(stated));
    }

    /// The name that counts: where there is a digest, a tag beside it decides nothing.
    private static String identity(Reference reference) {
        return (reference.digest().isPresent() ? reference.withoutTag() : reference).toString();
    }

    private static String suffix(Reference reference) {
        return identity(reference).substring(reference.name().length());
    }
}
