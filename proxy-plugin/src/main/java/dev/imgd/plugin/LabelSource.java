package dev.imgd.plugin;

/// A set of labels that name the image a Prepare belongs to.
///
/// Whoever pulls writes them, and overwrites what the image brought along, only when told to:
/// containerd's CRI plugin with `disable_snapshot_annotations = false`, its transfer service with
/// `enable_remote_snapshot_annotations`, `ctr-remote images rpull`. Otherwise the labels may be
/// annotations of the image, and an image could name another image whose layers it then shows. So
/// only those sets should be enabled that the callers of this host write.
public enum LabelSource {
    /// `containerd.io/snapshot/cri.*`. **Source:** containerd `pkg/snapshotters/annotations.go`.
    CRI(
            "containerd.io/snapshot/cri.image-ref",
            "containerd.io/snapshot/cri.layer-digest",
            "containerd.io/snapshot/cri.image-layers",
            "containerd.io/snapshot/cri.manifest-digest"),
    /// `containerd.io/snapshot/remote/stargz.*`, of stargz-snapshotter's default handler.
    STARGZ(
            "containerd.io/snapshot/remote/stargz.reference",
            "containerd.io/snapshot/remote/stargz.digest",
            "containerd.io/snapshot/remote/stargz.layers",
            "");

    final String image;
    final String layer;
    final String layers;
    final String manifest;

    LabelSource(String image, String layer, String layers, String manifest) {
        this.image = image;
        this.layer = layer;
        this.layers = layers;
        this.manifest = manifest;
    }
}
