package dev.imgd.trust;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryClient.FetchedManifest;
import java.util.List;
import java.util.Optional;

/// Looks signatures up where the image comes from. As thread-safe as the client.
public final class RegistrySignatures implements SignatureLookup {
    private final RegistryClient client;
    private final Reference repository;

    /// @param client a session, closed here only by [#cancel()]
    /// @param image any reference of the repository
    public RegistrySignatures(RegistryClient client, Reference image) {
        this.client = client.beside();
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

    @Override
    public List<Descriptor> referrers(Descriptor image, List<String> artifactTypes)
            throws ImageException {
        try {
            // Without a filter: one question, whatever number of types.
            return client.listing()
                    .referrers(repository, image.digest(), Optional.empty())
                    .manifests();
        } catch (ImageException e) {
            if (e.kind() == ErrorKind.NOT_FOUND) {
                return List.of();
            }
            throw e;
        }
    }

    @Override
    public Bytes manifest(Descriptor descriptor) throws ImageException {
        return client.manifest(repository, descriptor).content();
    }

    @Override
    public Bytes blob(Descriptor descriptor) throws ImageException {
        return client.smallBlob(repository, descriptor);
    }

    @Override
    public void cancel() {
        client.close();
    }
}
