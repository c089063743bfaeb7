package dev.imgd.registry;

import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import java.util.List;
import java.util.Optional;

/// Lists what registries have. Names are attacker input: they are well-formed, but may be any
/// number in any order.
///
/// Blocking; safe for use by many threads. **Source:** OCI distribution-spec v1.1 § Content
/// Discovery; the catalog is an extension that most registries have.
public interface RegistryListing {
    /// The most names that one call returns.
    int MAX_NAMES = 1_000_000;

    /// The tags of a repository, in the registry's order.
    ///
    /// @param after only those that come after this one
    /// @param limit how many, 1 to [#MAX_NAMES]
    /// @throws ImageException `NOT_FOUND` when there is no such repository
    List<String> tags(Reference repository, Optional<String> after, int limit)
            throws ImageException;

    /// The repositories of a registry, as far as this account may see them.
    ///
    /// @param registry as in a [Reference], for example `localhost:5000`
    /// @param after only those that come after this one
    /// @param limit how many, 1 to [#MAX_NAMES]
    List<String> repositories(String registry, Optional<String> after, int limit)
            throws ImageException;

    /// The size of a blob, with a media type that says nothing.
    ///
    /// @throws ImageException `NOT_FOUND`
    Descriptor blob(Reference repository, Digest digest) throws ImageException;

    /// What refers to a manifest: signatures, attestations and other artifacts.
    ///
    /// The hosts with the capability `referrers` are asked for their list, in their order, until
    /// one has something in it: that a copy of the registry knows of nothing must not hide what the
    /// registry has. If none has, those that know no such lists (404) are asked for the tag made of
    /// the subject's digest, in the same way. Where no host has the capability, those with
    /// `resolve` are asked for the tag alone. A host that fails is passed over. There is nothing
    /// when the last host, the registry itself, has nothing.
    ///
    /// @param artifactType only those of this type
    /// @throws ImageException the last host's failure, if nothing was found and it failed
    Referrers referrers(Reference repository, Digest subject, Optional<String> artifactType)
            throws ImageException;

    /// @param manifests descriptors with their artifact type and annotations
    /// @param byTag whether they were listed in the index under the tag made of the subject's
    ///   digest; for an empty list, whether the registry itself has no other
    record Referrers(List<Descriptor> manifests, boolean byTag) {
        public Referrers {
            manifests = List.copyOf(manifests);
        }
    }
}
