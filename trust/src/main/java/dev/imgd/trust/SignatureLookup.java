package dev.imgd.trust;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.ImageException;
import dev.imgd.registry.RegistryClient.FetchedManifest;
import java.util.List;
import java.util.Optional;

/// Where the signatures of the images of one repository are looked up.
///
/// Everything returned is attacker input whose size and digest are checked, nothing more.
public interface SignatureLookup {
    /// What a tag of the repository points to; empty when there is no such tag.
    Optional<FetchedManifest> tagged(String tag) throws ImageException;

    /// The manifests that name an image as their subject, in the order of the registry; empty when
    /// there are none.
    ///
    /// @param artifactTypes only manifests of these types are wanted; others may be among the
    ///   answers
    List<Descriptor> referrers(Descriptor image, List<String> artifactTypes) throws ImageException;

    /// The bytes of a manifest of the repository.
    Bytes manifest(Descriptor descriptor) throws ImageException;

    /// The bytes of a small blob of the repository.
    Bytes blob(Descriptor descriptor) throws ImageException;

    /// Ends what is being asked, from another thread: it fails, as does whatever is asked later.
    void cancel();
}
