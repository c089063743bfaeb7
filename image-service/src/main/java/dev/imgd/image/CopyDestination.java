package dev.imgd.image;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.ManifestDocument;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryWriter.BlobOutcome;
import dev.imgd.registry.RegistryWriter.BlobSource;
import java.util.Collection;
import java.util.List;

/// Where a copy goes to. What is not finished has no name and leaves nothing but what the next copy
/// can use.
interface CopyDestination extends AutoCloseable {
    /// How many blobs it takes at once.
    int parallel(int wanted);

    /// Prepares for what will come; called once.
    ///
    /// @throws ImageException when it cannot hold that
    void prepare(Expected expected) throws ImageException;

    /// @param target what will be named
    /// @param document the content of the target
    /// @param all everything that will be copied
    /// @param several whether there is more than one image
    record Expected(
            Descriptor target,
            ManifestDocument document,
            Collection<Digest> all,
            boolean several,
            boolean referrers) {}

    /// Takes a blob. By several threads at once, as far as [#parallel] allows; each blob once.
    ///
    /// @param source verified while it is read
    /// @param mountFrom repositories that have it
    BlobOutcome blob(Descriptor blob, BlobSource source, List<Reference> mountFrom)
            throws ImageException;

    /// Takes a manifest or index after all that it points to, without naming it.
    ///
    /// @param children what it points to and was copied
    void manifest(Descriptor descriptor, Bytes content, List<Digest> children)
            throws ImageException;

    /// Takes an artifact that refers to a manifest, after its blobs.
    void referrer(Descriptor descriptor, Bytes content, List<Digest> children)
            throws ImageException;

    /// Takes an artifact that refers to a manifest by its own tag, after its blobs.
    void attachment(String tag, Descriptor descriptor, Bytes content, List<Digest> children)
            throws ImageException;

    /// Takes the target and names it: the copy is complete.
    void finish(Descriptor target, Bytes content, List<Digest> children) throws ImageException;

    @Override
    void close() throws ImageException;
}
