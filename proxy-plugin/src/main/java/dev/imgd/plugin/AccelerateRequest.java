package dev.imgd.plugin;

import dev.imgd.model.Digest;
import dev.imgd.model.Reference;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// A layer that containerd is about to fetch.
///
/// Everything comes from labels that containerd or the image wrote: each value is well-formed, none
/// is proven. The layer counts as provided only when the image's verified configuration leads to
/// `chainId`.
///
/// @param view the name of the proxy plugin
/// @param namespace containerd's namespace; empty when the caller sent none
/// @param image the image being pulled
/// @param manifestDigest the manifest for the platform, when the caller says
/// @param layerDigest the compressed layer
/// @param layersFromHere this layer and those above, lowest first, possibly cut short or empty
/// @param chainId the chainID the layer must have
/// @param parentName the committed snapshot below in the view, or empty
/// @param labels those labels of the request that belong to the snapshot
public record AccelerateRequest(
        String view,
        String namespace,
        Reference image,
        Optional<Digest> manifestDigest,
        Digest layerDigest,
        List<Digest> layersFromHere,
        Digest chainId,
        String parentName,
        Map<String, String> labels) {
    public AccelerateRequest {
        layersFromHere = List.copyOf(layersFromHere);
        labels = Map.copyOf(labels);
    }
}
