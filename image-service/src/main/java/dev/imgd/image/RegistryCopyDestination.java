package dev.imgd.image;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryWriter;
import dev.imgd.registry.RegistryWriter.BlobOutcome;
import dev.imgd.registry.RegistryWriter.BlobSource;
import java.util.List;
import java.util.Optional;

/// A repository of a registry.
final class RegistryCopyDestination implements CopyDestination {
    private final RegistryWriter writer;
    private final Reference reference;

    /// @param session stays the caller's, who may close it to make what blocks fail
    RegistryCopyDestination(RegistryClient session, Reference reference) {
        this.writer = session.writer();
        this.reference = reference;
    }

    @Override
    public int parallel(int wanted) {
        return wanted;
    }

    @Override
    public void prepare(Expected expected) throws ImageException {
        Optional<Digest> digest = reference.digest();
        if (digest.isPresent() && !digest.get().equals(expected.target().digest())) {
            throw ImageException.invalidArgument(
                    "copy to docker://%s: the image has another digest: %s"
                            .formatted(reference, expected.target().digest()));
        }
    }

    @Override
    public BlobOutcome blob(Descriptor blob, BlobSource source, List<Reference> mountFrom)
            throws ImageException {
        return writer.pushBlob(
                reference,
                blob,
                source,
                mountFrom.stream()
                        .filter(from -> from.registry().equals(reference.registry()))
                        .toList());
    }

    @Override
    public void manifest(Descriptor descriptor, Bytes content, List<Digest> children)
            throws ImageException {
        writer.pushManifest(reference, descriptor, content, List.of());
    }

    @Override
    public void referrer(Descriptor descriptor, Bytes content, List<Digest> children)
            throws ImageException {
        writer.pushManifest(reference, descriptor, content, List.of());
    }

    @Override
    public void attachment(String tag, Descriptor descriptor, Bytes content, List<Digest> children)
            throws ImageException {
        writer.pushManifest(reference, descriptor, content, List.of(tag));
    }

    @Override
    public void finish(Descriptor target, Bytes content, List<Digest> children)
            throws ImageException {
        writer.pushManifest(
                reference, target, content, reference.tag().map(List::of).orElse(List.of()));
    }

    @Override
    public void close() {}
}
