package dev.imgd.image;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.MediaType;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryClient.BlobStream;
import dev.imgd.registry.RegistryClient.FetchedManifest;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Optional;

/// An image in a registry.
final class RegistryCopySource implements CopySource {
    private final RegistryClient session;
    private final Reference reference;
    private final FetchedManifest target;

    /// Resolves the reference.
    ///
    /// @param session stays the caller's, who may close it to make what blocks fail
    RegistryCopySource(RegistryClient session, Reference reference) throws ImageException {
        this.session = session;
        this.reference = reference;
        this.target = session.resolve(reference);
    }

    @Override
    public Descriptor target() {
        return target.descriptor();
    }

    @Override
    public Bytes document(Descriptor descriptor) throws ImageException {
        if (descriptor.digest().equals(target.descriptor().digest())) {
            return target.content();
        }
        return switch (descriptor.type()) {
            case MediaType.IndexType _, MediaType.ManifestType _, MediaType.Schema1Type _ ->
                    session.manifest(reference, descriptor).content();
            case MediaType.ConfigType _, MediaType.LayerType _, MediaType.OpaqueType _ ->
                    session.smallBlob(reference, descriptor);
        };
    }

    @Override
    public boolean has(Descriptor blob) {
        return true;
    }

    @Override
    public BlobStream open(Descriptor blob, long offset) throws ImageException {
        return session.blob(reference, blob, offset);
    }

    @Override
    public List<Descriptor> referrers(Digest subject) throws ImageException {
        return session.listing().referrers(reference, subject, Optional.empty()).manifests();
    }

    @Override
    public List<Attachment> attachments(Digest subject) throws ImageException {
        List<Attachment> found = new ArrayList<>();
        for (String tag : Attachment.tags(subject)) {
            try {
                found.add(
                        new Attachment(
                                tag,
                                session.beside().resolve(reference.withTag(tag)).descriptor()));
            } catch (ImageException e) {
                if (e.kind() != ErrorKind.NOT_FOUND) {
                    throw e;
                }
            }
        }
        return found;
    }

    @Override
    public Optional<Reference> repository() {
        return Optional.of(reference);
    }

    @Override
    public void hold(Collection<Digest> blobs) {}

    @Override
    public void close() {}
}
