package dev.imgd.trust;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.Manifest;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient.FetchedManifest;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// One image on its way through the requirements of a rule, with what was fetched for it and what
/// may still be tried. For one thread.
final class Examination {
    /// A payload or a bundle; an envelope with its chain of certificates.
    static final long MAX_SIGNATURE_BYTES = 1 << 20;

    static final String COSIGN_SIGNATURE = "application/vnd.dev.cosign.artifact.sig.v1+json";
    static final String BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json";
    static final String NOTATION_SIGNATURE = "application/vnd.cncf.notary.signature";

    private static final List<String> SIGNATURE_TYPES =
            List.of(COSIGN_SIGNATURE, BUNDLE, NOTATION_SIGNATURE);

    final Reference reference;
    final Descriptor image;
    final Instant now;
    private final SignatureLookup lookup;
    private final int mostSignatures;
    private int tried;
    private Instant until;
    private @Nullable List<Signing> referring;
    private boolean tagAsked;
    private @Nullable FetchedManifest tagged;

    /// A manifest that holds signatures.
    ///
    /// @param type its artifact type, or its config's media type
    record Signing(String type, Descriptor descriptor, Manifest manifest) {}

    /// @param mostSignatures that are looked at
    /// @param until when a verdict has to be taken again even if nothing expires before
    Examination(
            Reference reference,
            Descriptor image,
            SignatureLookup lookup,
            int mostSignatures,
            Instant now,
            Instant until) {
        this.reference = reference;
        this.image = image;
        this.lookup = lookup;
        this.mostSignatures = mostSignatures;
        this.now = now;
        this.until = until;
    }

    Verdict.Check met(String requirement, String reason) {
        return new Verdict.Check(requirement, true, reason, List.of());
    }

    Verdict.Check unmet(String requirement, String reason) {
        return new Verdict.Check(requirement, false, reason, List.of());
    }

    /// The manifests of signatures that name the image as their subject. Those that are not what
    /// the list promises are told to `broken`.
    List<Signing> referring(List<Verdict.Tried> broken) throws ImageException {
        if (referring != null) {
            return referring;
        }
        List<Signing> found = new ArrayList<>();
        for (Descriptor descriptor : lookup.referrers(image, SIGNATURE_TYPES)) {
            String listed = descriptor.artifactType().orElse("");
            if (!SIGNATURE_TYPES.contains(listed)) {
                continue;
            }
            if (found.size() == mostSignatures) {
                broken.add(skipped("referrer", descriptor));
                break;
            }
            try {
                found.add(signing(listed, descriptor));
            } catch (ImageException e) {
                broken.add(failed("referrer", descriptor.digest(), e));
            }
        }
        referring = found;
        return found;
    }

    private Signing signing(String listed, Descriptor descriptor) throws ImageException {
        Manifest manifest =
                Manifest.parse(
                        "signature " + descriptor.digest(),
                        lookup.manifest(descriptor),
                        Optional.of(descriptor.mediaType()));
        Digest subject =
                manifest.subject()
                        .orElseThrow(() -> ImageException.invalidContent("it has no subject"))
                        .digest();
        if (!subject.equals(image.digest())) {
            throw ImageException.invalidContent(
                    "its subject is %s, not the image".formatted(subject));
        }
        String type = manifest.artifactType().orElse(manifest.config().mediaType());
        if (!type.equals(listed)) {
            throw ImageException.invalidContent(
                    "listed as %s, but it is of another type".formatted(listed));
        }
        return new Signing(type, descriptor, manifest);
    }

    /// What the tag of cosign points to: `sha256-<hex>.sig`.
    Optional<FetchedManifest> tagged() throws ImageException {
        if (!tagAsked) {
            tagged = lookup.tagged(SimpleSigning.tag(image.digest())).orElse(null);
            tagAsked = true;
        }
        return Optional.ofNullable(tagged);
    }

    /// The manifest of the image itself.
    Bytes imageBytes() throws ImageException {
        return lookup.manifest(image);
    }

    /// The bytes of a blob that holds a signature.
    Bytes blob(Descriptor descriptor, long maxBytes) throws ImageException {
        if (descriptor.sizeBytes() > maxBytes) {
            throw ImageException.invalidContent(
                    "too large to be read: wanted at most %d bytes, got %d"
                            .formatted(maxBytes, descriptor.sizeBytes()));
        }
        return lookup.blob(descriptor);
    }

    /// Takes one of the signatures that may be tried.
    ///
    /// @return false when there are none left
    boolean take() {
        return ++tried <= mostSignatures;
    }

    Verdict.Tried skipped(String kind, Descriptor descriptor) {
        return new Verdict.Tried(
                kind,
                descriptor.digest(),
                false,
                Optional.empty(),
                "not looked at: more than %d signatures; see %s"
                        .formatted(mostSignatures, Limits.Key.SIGNATURES.configKey()));
    }

    /// A signature that could not be read or is none. What may pass is thrown on, since it says
    /// nothing about the signature.
    Verdict.Tried failed(String kind, Digest where, ImageException e) throws ImageException {
        if (e.kind().retryable()) {
            throw e;
        }
        return new Verdict.Tried(kind, where, false, Optional.empty(), e.getMessage());
    }

    /// An acceptance rests on something that ends then.
    void endsAt(Instant end) {
        if (end.isBefore(until)) {
            until = end;
        }
    }

    Instant until() {
        return until;
    }
}
