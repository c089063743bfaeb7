package dev.imgd.model;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// The manifest of one image or artifact, of OCI or Docker schema 2. **Source:** OCI image-spec
/// v1.1, manifest.md; Docker image manifest v2 schema 2.
///
/// @param raw the document as it was received
/// @param mediaType the document's own type, else the declared one, else OCI's
/// @param config the configuration; its type is not restricted
/// @param layers everything the manifest consists of, lowest first; types are not restricted
/// @param subject what an artifact refers to
/// @param artifactType the type of an artifact
/// @param annotations attacker input
public record Manifest(
        Bytes raw,
        String mediaType,
        Descriptor config,
        List<Descriptor> layers,
        Optional<Descriptor> subject,
        Optional<String> artifactType,
        Map<String, String> annotations)
        implements ManifestDocument {

    // Some clients of 2016 wrote this for the config of a schema 2 image, and registries still have
    // them.
    private static final String LEGACY_DOCKER_CONFIG = "application/octet-stream";

    public Manifest {
        layers = List.copyOf(layers);
        annotations = Map.copyOf(annotations);
    }

    /// Reads a manifest within the default limits; an index is an error. See
    /// [ManifestDocument#parse(String, Bytes, Optional, Limits)].
    public static Manifest parse(String what, Bytes raw, Optional<String> declaredMediaType)
            throws ImageException {
        ManifestDocument document = ManifestDocument.parse(what, raw, declaredMediaType);
        if (document instanceof Manifest manifest) {
            return manifest;
        }
        throw ImageException.invalidContent(
                what + ": wanted the manifest of one image, got an index");
    }

    /// The layers that are file systems, lowest first.
    public List<Descriptor> imageLayers() {
        List<Descriptor> images = new ArrayList<>(layers.size());
        for (Descriptor layer : layers) {
            if (layer.type() instanceof MediaType.LayerType) {
                images.add(layer);
            }
        }
        return List.copyOf(images);
    }

    /// Whether this is an image that can be unpacked: the config is an image config, and there are
    /// file system layers or none at all. Signatures and attestations use an image config too, with
    /// other layers.
    public boolean isImage() {
        boolean imageConfig =
                config.type() instanceof MediaType.ConfigType
                        || (mediaType.equals(MediaType.DOCKER_MANIFEST)
                                && config.mediaType().equals(LEGACY_DOCKER_CONFIG));
        return imageConfig && (layers.isEmpty() || !imageLayers().isEmpty());
    }
}
