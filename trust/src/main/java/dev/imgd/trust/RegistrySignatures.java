package dev.imgd.trust;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Index;
import dev.imgd.model.ManifestDocument;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryClient.FetchedManifest;
import java.util.List;
import java.util.Optional;

/// Looks signatures up where the image comes from. As thread-safe as the client.
public final class RegistrySignatures implements SignatureLookup {
    private final RegistryClient client;
    private final Reference repository;

    /// @param client not closed here
    /// @param image any reference of the repository
    public RegistrySignatures(RegistryClient client, Reference image) {
        this.client = client;
        this.repository = image;
    }

    @Override
    public Optional<FetchedManifest> tagged(String tag) throws ImageException {
        try {
            return Optional.of(client.resolve(repository.withTag(tag)));
        } catch (ImageException e) {
            if (e.kind() == ErrorKind.NOT_FOUND) {
                return Optional.empty();
            }
            throw e;
        }
    }

    /// By the tag that registries without the referrers API are given: `sha256-<hex>`. **Source:**
    /// distribution-spec v1.1 § Referrers Tag Schema.
    @Override
    public List<Descriptor> referrers(Descriptor image, List<String> artifactTypes)
            throws ImageException {
        Optional<FetchedManifest> found =
                tagged(image.digest().algorithm().label() + "-" + image.digest().hex());
        if (found.isEmpty()) {
            return List.of();
        }
        ManifestDocument document =
                ManifestDocument.parse(
                        "referrers of " + image.digest(),
                        found.get().content(),
                        Optional.of(found.get().descriptor().mediaType()));
        return document instanceof Index index ? index.manifests() : List.of();
    }

    @Override
    public Bytes manifest(Descriptor descriptor) throws ImageException {
        return client.manifest(repository, descriptor).content();
    }

    @Override
    public Bytes blob(Descriptor descriptor) throws ImageException {
        return client.smallBlob(repository, descriptor);
    }
}
