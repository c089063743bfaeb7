package dev.imgd.plugin;

/// How the snapshotter answers a Prepare that names the layer it is for.
public enum SnapshotterMode {
    /// containerd fetches and unpacks every layer itself.
    PASSIVE,
    /// imgd fetches and unpacks the layers of the image itself and tells containerd that they
    /// exist.
    ACCELERATE
}
