package dev.imgd.plugin;

import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import dev.imgd.model.Text;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// Labels of snapshot requests. They come from annotations of images: hostile input.
final class SnapshotLabels {
    /// Names the chainID that a Prepare is for. **Source:** containerd `core/unpack/unpacker.go`.
    static final String TARGET = "containerd.io/snapshot.ref";

    /// What a snapshot inherits. **Source:** containerd `core/snapshots/snapshotter.go`,
    /// `FilterInheritedLabels`.
    private static final String INHERITED_PREFIX = "containerd.io/snapshot/";

    /// Of key and value together. **Source:** containerd `pkg/labels/validate.go`.
    private static final int MAX_LABEL_BYTES = 4096;

    private static final int MAX_LABELS = 256;

    private SnapshotLabels() {}

    /// What the labels say about the image.
    record ImageLabels(
            Reference image,
            Optional<Digest> manifestDigest,
            Digest layerDigest,
            List<Digest> layersFromHere) {}

    /// @throws ImageException `INVALID_ARGUMENT` when a label is too long or there are too many
    static void check(Map<String, String> labels) throws ImageException {
        if (labels.size() > MAX_LABELS) {
            throw ImageException.invalidArgument(
                    "labels: got %d, at most %d are allowed".formatted(labels.size(), MAX_LABELS));
        }
        for (Map.Entry<String, String> label : labels.entrySet()) {
            int bytes = utf8Length(label.getKey()) + utf8Length(label.getValue());
            if (bytes > MAX_LABEL_BYTES) {
                throw ImageException.invalidArgument(
                        "label \"%s\": key and value have %d bytes, at most %d are allowed"
                                .formatted(
                                        Text.printable(label.getKey(), 64),
                                        bytes,
                                        MAX_LABEL_BYTES));
            }
            if (label.getKey().isEmpty()) {
                throw ImageException.invalidArgument("label with an empty key");
            }
        }
    }

    private static int utf8Length(String text) {
        return text.length() > MAX_LABEL_BYTES
                ? text.length()
                : text.getBytes(StandardCharsets.UTF_8).length;
    }

    /// Those labels that a snapshot keeps which other namespaces share.
    static Map<String, String> inherited(Map<String, String> labels) {
        Map<String, String> kept = new HashMap<>();
        labels.forEach(
                (key, value) -> {
                    if (key.equals(TARGET) || key.startsWith(INHERITED_PREFIX)) {
                        kept.put(key, value);
                    }
                });
        return kept;
    }

    /// The image that the labels of the first complete source name; empty without one.
    ///
    /// @throws ImageException `INVALID_ARGUMENT` when they are there but malformed
    static Optional<ImageLabels> image(Map<String, String> labels, Set<LabelSource> sources)
            throws ImageException {
        for (LabelSource source : LabelSource.values()) {
            String image = labels.get(source.image);
            String layer = labels.get(source.layer);
            if (image != null && layer != null && sources.contains(source)) {
                String manifest = labels.get(source.manifest);
                return Optional.of(
                        new ImageLabels(
                                Reference.parse(image),
                                manifest == null
                                        ? Optional.empty()
                                        : Optional.of(Digest.parse(manifest)),
                                Digest.parse(layer),
                                digests(labels.getOrDefault(source.layers, ""))));
            }
        }
        return Optional.empty();
    }

    private static List<Digest> digests(String list) throws ImageException {
        List<Digest> digests = new ArrayList<>();
        for (int from = 0; from < list.length(); ) {
            int comma = list.indexOf(',', from);
            int to = comma < 0 ? list.length() : comma;
            digests.add(Digest.parse(list.substring(from, to)));
            from = to + 1;
        }
        return digests;
    }
}
