package dev.imgd.image;

import dev.imgd.image.ImageTree.PlatformImage;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.MediaType;
import dev.imgd.model.Platform;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryClient.FetchedManifest;
import dev.imgd.trust.PolicyGate;
import dev.imgd.trust.RegistrySignatures;
import dev.imgd.trust.Verdict;
import java.util.List;
import java.util.Optional;

/// Says what the policy thinks of an image in a registry, without pulling it. Thread-safe.
public final class ImageVerifier {
    private final RegistryClients registries;
    private final Limits limits;

    /// @param registries with the policy; not closed here
    public ImageVerifier(RegistryClients registries, Limits limits) {
        this.registries = registries;
        this.limits = limits;
    }

    /// What was decided.
    ///
    /// @param digest what the name stands for; empty where that was not asked for
    /// @param verdicts of the index or manifest, then of the platform's manifest where that decided
    public record Verification(boolean accepted, Optional<Digest> digest, List<Verdict> verdicts) {}

    /// Decides as a pull would.
    ///
    /// @param reference the name that the policy's rules and the signatures speak of
    /// @param digest what the name stands for; else the registry is asked
    /// @param platform whose manifest counts where an index is not accepted itself
    /// @throws ImageException when it cannot be decided
    public Verification verify(
            Reference reference, Optional<Digest> digest, Platform platform, boolean plainHttp)
            throws ImageException {
        Reference name = reference.withDefaultTag();
        try (RegistryClient client = registries.client(name.registry(), plainHttp).session()) {
            return Interruptible.call(
                    "image " + name, client, () -> verify(client, name, digest, platform));
        }
    }

    private Verification verify(
            RegistryClient client, Reference name, Optional<Digest> digest, Platform platform)
            throws ImageException {
        PolicyGate gate = registries.policy();
        Optional<Digest> pinned = digest.isPresent() ? digest : name.digest();
        Optional<Verdict> settled = gate.settled(name, pinned);
        if (settled.isPresent()) {
            return new Verification(settled.get().accepted(), pinned, List.of(settled.get()));
        }
        FetchedManifest target =
                client.resolve(digest.isPresent() ? name.withDigest(digest.get()) : name);
        Descriptor descriptor = target.descriptor();
        Optional<Digest> resolved = Optional.of(descriptor.digest());
        RegistrySignatures signatures = new RegistrySignatures(client, name);
        Verdict whole = gate.decide(name, descriptor, signatures);
        if (whole.accepted() || !(descriptor.type() instanceof MediaType.IndexType)) {
            return new Verification(whole.accepted(), resolved, List.of(whole));
        }
        ImageTree.Documents documents =
                wanted ->
                        switch (wanted.type()) {
                            case MediaType.IndexType _,
                                    MediaType.ManifestType _,
                                    MediaType.Schema1Type _ ->
                                    wanted.digest().equals(descriptor.digest())
                                            ? target.content()
                                            : client.manifest(name, wanted).content();
                            case MediaType.ConfigType _,
                                    MediaType.LayerType _,
                                    MediaType.OpaqueType _ ->
                                    client.smallBlob(name, wanted);
                        };
        PlatformImage image =
                ImageTree.select(name.toString(), descriptor, platform, documents, limits)
                        .images()
                        .getFirst();
        Verdict part = gate.decide(name, image.descriptor(), signatures);
        return new Verification(part.accepted(), resolved, List.of(whole, part));
    }
}
