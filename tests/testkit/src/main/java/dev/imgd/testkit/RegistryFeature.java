package dev.imgd.testkit;

/// What an [InMemoryRegistry] can do beyond pulls and plain uploads. All but [#SPARSE] are on in a
/// new registry; real registries lack one or another.
public enum RegistryFeature {
    /// The referrers endpoint and the `OCI-Subject` header.
    REFERRERS,
    /// `artifactType` of the referrers endpoint; without it the whole list is sent.
    REFERRERS_FILTER,
    /// Mounting a blob of another repository.
    MOUNT,
    /// Mounting without saying from where.
    ANONYMOUS_MOUNT,
    /// A whole blob in the first POST.
    SINGLE_POST,
    /// `GET` of an upload in progress.
    UPLOAD_STATUS,
    /// `?tag=` where a manifest is pushed by digest.
    TAG_PARAMETERS,
    /// `ETag`, `If-Match` and `If-None-Match` of manifests.
    ETAGS,
    /// `Range` of blobs; without it the whole blob is sent with 200.
    RANGES,
    /// `DELETE` of manifests, tags and blobs.
    DELETE,
    /// `/v2/_catalog`.
    CATALOG,
    /// `Docker-Content-Digest`.
    DIGEST_HEADER,
    /// Manifests may be pushed before what they refer to.
    SPARSE
}
