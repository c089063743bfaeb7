package dev.imgd.image;

import dev.imgd.content.BlobInfo;
import dev.imgd.content.ImageRecord;
import dev.imgd.content.NodeId;
import dev.imgd.content.Store;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.MediaType;
import dev.imgd.model.Platform;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// What is stored of an image, from rows alone: the reference graph says what a manifest points to,
/// the rows of blobs how large they are, and a label of the manifest for which platform it is. No
/// document is read, hashed and parsed, which for a list of images takes longer than all the rest.
///
/// @param sizeBytes compressed size of the stored blobs
/// @param platforms those whose blobs are all present, formatted, in order of their names
record StoredSummary(long sizeBytes, List<String> platforms) {
    StoredSummary {
        List<String> ordered = new ArrayList<>(platforms);
        Collections.sort(ordered);
        platforms = List.copyOf(ordered);
    }

    /// The platform that a manifest's configuration states, or [#ARTIFACT].
    private static final String PLATFORM_LABEL = "imgd.dev/platform";

    /// Stands for a platform where there is none.
    static final String ARTIFACT = "artifact";

    /// The labels to store a document with.
    static Map<String, String> labels(ImageTree.Result tree, Digest document) {
        for (ImageTree.PlatformImage image : tree.images()) {
            if (image.descriptor().digest().equals(document)) {
                return labels(image.platform());
            }
        }
        return Map.of();
    }

    /// The labels to store a manifest with.
    static Map<String, String> labels(Optional<Platform> platform) {
        return Map.of(PLATFORM_LABEL, platform.map(Platform::format).orElse(ARTIFACT));
    }

    /// Sums an image up; empty when the rows do not say enough, as after a rebuild of the database.
    static Optional<StoredSummary> of(Store store, String namespace, ImageRecord image)
            throws ImageException {
        return new Reading(store, namespace).summary(image.target());
    }

    /// The summary of a tree that was read.
    static StoredSummary of(Store store, String namespace, ImageTree.Result tree)
            throws ImageException {
        long size = 0;
        for (var document : tree.documents().values()) {
            size += document.size();
        }
        Set<Digest> seen = new HashSet<>();
        List<String> platforms = new ArrayList<>();
        for (ImageTree.PlatformImage image : tree.images()) {
            boolean complete = true;
            for (Descriptor blob : image.blobs()) {
                if (store.content().find(namespace, blob.digest()).isEmpty()) {
                    complete = false;
                } else if (seen.add(blob.digest())) {
                    size += blob.sizeBytes();
                }
            }
            if (complete) {
                platforms.add(image.platform().map(Platform::format).orElse(ARTIFACT));
            }
        }
        return new StoredSummary(size, platforms);
    }

    private static final class Reading {
        private final Store store;
        private final String namespace;
        private final Set<Digest> seen = new HashSet<>();
        private final List<String> platforms = new ArrayList<>();
        private long size;

        Reading(Store store, String namespace) {
            this.store = store;
            this.namespace = namespace;
        }

        Optional<StoredSummary> summary(Descriptor target) throws ImageException {
            Optional<BlobInfo> top = store.content().find(namespace, target.digest());
            if (top.isEmpty()) {
                return Optional.empty();
            }
            boolean known =
                    target.type() instanceof MediaType.IndexType
                            ? index(top.get())
                            : manifest(top.get());
            return known ? Optional.of(new StoredSummary(size, platforms)) : Optional.empty();
        }

        /// Returns whether every manifest in it could be summed up.
        private boolean index(BlobInfo index) throws ImageException {
            size += index.sizeBytes();
            for (Digest child : children(index.digest())) {
                Optional<BlobInfo> manifest = store.content().find(namespace, child);
                if (manifest.isPresent() && !manifest(manifest.get())) {
                    return false;
                }
            }
            return true;
        }

        private boolean manifest(BlobInfo manifest) throws ImageException {
            String platform = manifest.labels().get(PLATFORM_LABEL);
            List<Digest> blobs = children(manifest.digest());
            if (platform == null || blobs.isEmpty()) {
                return false;
            }
            size += manifest.sizeBytes();
            boolean complete = true;
            for (Digest digest : blobs) {
                Optional<BlobInfo> blob = store.content().find(namespace, digest);
                if (blob.isEmpty()) {
                    complete = false;
                } else if (seen.add(digest)) {
                    size += blob.get().sizeBytes();
                }
            }
            if (complete) {
                platforms.add(platform);
            }
            return true;
        }

        private List<Digest> children(Digest document) throws ImageException {
            List<NodeId> nodes =
                    store.database().read(view -> view.edgesFrom(NodeId.blob(document)));
            List<Digest> digests = new ArrayList<>(nodes.size());
            for (NodeId node : nodes) {
                digests.add(Digest.parse(node.key()));
            }
            return digests;
        }
    }
}
