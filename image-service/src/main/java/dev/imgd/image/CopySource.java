package dev.imgd.image;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient.BlobStream;
import java.io.IOException;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;

/// Where a copy comes from. Blobs are opened by many threads at once, the rest is for one.
interface CopySource extends AutoCloseable {
    /// An artifact that names its subject by its tag only, as cosign's do.
    record Attachment(String tag, Descriptor descriptor) {
        private static final Pattern TAG =
                Pattern.compile("sha(256-[0-9a-f]{64}|512-[0-9a-f]{128})\\.(sig|att|sbom)");

        /// The tags of cosign's signatures, attestations and SBOMs of a manifest.
        static List<String> tags(Digest subject) {
            String name = subject.algorithm().label() + "-" + subject.hex();
            return List.of(name + ".sig", name + ".att", name + ".sbom");
        }

        /// Whether a name is such a tag, of whatever manifest.
        static boolean isTag(String name) {
            return TAG.matcher(name).matches();
        }
    }

    /// The manifest or index that the location names.
    Descriptor target() throws ImageException;

    /// A manifest, an index or a configuration, verified.
    ///
    /// @throws ImageException `NOT_FOUND`
    Bytes document(Descriptor descriptor) throws ImageException;

    /// Whether a blob is there, as far as can be told without asking anybody.
    boolean has(Descriptor blob) throws ImageException;

    /// The bytes of a blob from `offset` on. Not verified: that is for who reads them.
    BlobStream open(Descriptor blob, long offset) throws IOException;

    /// What refers to a manifest of this source.
    List<Descriptor> referrers(Digest subject) throws ImageException;

    /// What is attached to a manifest of this source by a tag that is made of its digest.
    List<Attachment> attachments(Digest subject) throws ImageException;

    /// The repository that the image is in, or was pulled from; a registry may mount from it.
    Optional<Reference> repository();

    /// Keeps what is about to be read from being deleted.
    void hold(Collection<Digest> blobs) throws ImageException;

    @Override
    void close() throws ImageException;
}
