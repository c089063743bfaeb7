package dev.imgd.trust;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.ImageException;
import dev.imgd.model.Manifest;
import dev.imgd.registry.RegistryClient.FetchedManifest;
import dev.imgd.trust.Verdict.Tried;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// Looks for one good signature by a key of the policy: cosign's simple signing by tag and by
/// referrers, and sigstore bundles. For one thread.
///
/// The order of every check is: fetch within limits, verify the signature over the bytes as they
/// are, and only then parse them.
final class KeySignatures {
    private final Requirement.SigstoreSigned requirement;
    private final Examination examination;
    private final List<Tried> tried = new ArrayList<>();

    KeySignatures(Requirement.SigstoreSigned requirement, Examination examination) {
        this.requirement = requirement;
        this.examination = examination;
    }

    Verdict.Check check() throws ImageException {
        boolean good = byTag() || byReferrers();
        String reason;
        if (good) {
            reason = "signed by " + tried.getLast().key().orElseThrow();
        } else if (tried.isEmpty()) {
            reason = "the registry has no signature for it; sign it, or change the policy";
        } else {
            reason = "none of its signatures counts";
        }
        return new Verdict.Check(requirement.type(), good, reason, tried);
    }

    private boolean byTag() throws ImageException {
        Optional<FetchedManifest> found = examination.tagged();
        if (found.isEmpty()) {
            return false;
        }
        Descriptor descriptor = found.get().descriptor();
        try {
            Manifest manifest =
                    Manifest.parse(
                            "signatures",
                            found.get().content(),
                            Optional.of(descriptor.mediaType()));
            return simpleSignings(manifest);
        } catch (ImageException e) {
            tried.add(examination.failed("cosign", descriptor.digest(), e));
            return false;
        }
    }

    private boolean byReferrers() throws ImageException {
        for (Examination.Signing signing : examination.referring(tried)) {
            boolean good =
                    switch (signing.type()) {
                        case Examination.COSIGN_SIGNATURE -> simpleSignings(signing.manifest());
                        case Examination.BUNDLE -> bundle(signing);
                        default -> false; // of another requirement
                    };
            if (good) {
                return true;
            }
        }
        return false;
    }

    private boolean simpleSignings(Manifest manifest) throws ImageException {
        for (Descriptor layer : manifest.layers()) {
            if (!layer.mediaType().equals(SimpleSigning.MEDIA_TYPE)) {
                continue;
            }
            if (!examination.take()) {
                tried.add(examination.skipped("cosign", layer));
                return false;
            }
            Tried one;
            try {
                one = simpleSigning(layer);
            } catch (ImageException e) {
                one = examination.failed("cosign", layer.digest(), e);
            }
            tried.add(one);
            if (one.good()) {
                return true;
            }
        }
        return false;
    }

    private Tried simpleSigning(Descriptor layer) throws ImageException {
        String text = layer.annotations().get(SimpleSigning.SIGNATURE_ANNOTATION);
        if (text == null) {
            throw ImageException.invalidContent(
                    "it has no annotation " + SimpleSigning.SIGNATURE_ANNOTATION);
        }
        byte[] signature = Strict.base64("its signature", text);
        byte[] payload = examination.blob(layer, SimpleSigning.MAX_BYTES).toArray();
        VerificationKey key = signer(payload, signature);
        if (key == null) {
            return bad("cosign", layer, null, "no key of the policy made it");
        }
        SimpleSigning signed;
        try {
            signed = SimpleSigning.parse(payload);
        } catch (ImageException e) {
            return bad("cosign", layer, key, e.getMessage());
        }
        if (!signed.digest().equals(examination.image.digest())) {
            return bad("cosign", layer, key, "it was made for the image " + signed.digest());
        }
        Optional<String> mismatch =
                requirement.identity().mismatch(examination.reference, signed.identity());
        if (mismatch.isPresent()) {
            return bad("cosign", layer, key, mismatch.get());
        }
        return new Tried(
                "cosign",
                layer.digest(),
                true,
                Optional.of(key.toString()),
                "made for " + signed.identity());
    }

    private boolean bundle(Examination.Signing signing) throws ImageException {
        if (!examination.take()) {
            tried.add(examination.skipped("bundle", signing.descriptor()));
            return false;
        }
        Tried one;
        try {
            one = readBundle(signing);
        } catch (ImageException e) {
            one = examination.failed("bundle", signing.descriptor().digest(), e);
        }
        tried.add(one);
        return one.good();
    }

    private Tried readBundle(Examination.Signing signing) throws ImageException {
        List<Descriptor> layers = signing.manifest().layers();
        if (layers.size() != 1 || !layers.getFirst().mediaType().equals(Examination.BUNDLE)) {
            throw ImageException.invalidContent("wanted one layer of type " + Examination.BUNDLE);
        }
        Descriptor layer = layers.getFirst();
        Bytes document = examination.blob(layer, Examination.MAX_SIGNATURE_BYTES);
        VerificationKey key;
        switch (SigstoreBundle.parse(document)) {
            case SigstoreBundle.OfMessage message -> {
                Bytes image = examination.imageBytes();
                key = signer(image.toArray(), message.signature().toArray());
                if (key == null) {
                    return bad(
                            "bundle", layer, null, "no key of the policy made it for this image");
                }
                if (message.stated().isPresent()
                        && !message.stated().get().equals(image.sha256())) {
                    return bad("bundle", layer, key, "its messageDigest is of something else");
                }
            }
            case SigstoreBundle.OfStatement statement -> {
                key = signer(statement.signed().toArray(), statement.signature().toArray());
                if (key == null) {
                    return bad("bundle", layer, null, "no key of the policy made it");
                }
                try {
                    SigstoreBundle.checkStatement(
                            statement.payload().toArray(), examination.image.digest());
                } catch (ImageException e) {
                    return bad("bundle", layer, key, e.getMessage());
                }
            }
        }
        if (!requirement.identity().namesOptional()) {
            return bad(
                    "bundle",
                    layer,
                    key,
                    "it states no name, which signedIdentity %s asks for"
                            .formatted(requirement.identity().label()));
        }
        return new Tried(
                "bundle",
                layer.digest(),
                true,
                Optional.of(key.toString()),
                "made for this digest");
    }

    private @Nullable VerificationKey signer(byte[] message, byte[] signature) {
        for (VerificationKey key : requirement.keys()) {
            if (key.verifies(message, signature)) {
                return key;
            }
        }
        return null;
    }

    private static Tried bad(
            String kind, Descriptor where, @Nullable VerificationKey key, String reason) {
        return new Tried(
                kind,
                where.digest(),
                false,
                Optional.ofNullable(key).map(VerificationKey::toString),
                reason);
    }
}
