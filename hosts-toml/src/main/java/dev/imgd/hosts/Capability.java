package dev.imgd.hosts;

/// What a host may be asked for. **Source:** containerd docs/hosts.md, `capabilities`.
public enum Capability {
    /// Manifests and blobs by digest.
    PULL,
    /// Tags to digests; only hosts that are trusted to say what a tag means.
    RESOLVE,
    /// Uploads.
    PUSH,
    /// The referrers of a digest.
    REFERRERS
}
