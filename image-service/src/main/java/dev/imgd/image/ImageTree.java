package dev.imgd.image;

import dev.imgd.content.ContentStore;
import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageConfig;
import dev.imgd.model.ImageException;
import dev.imgd.model.Index;
import dev.imgd.model.Limits;
import dev.imgd.model.Manifest;
import dev.imgd.model.ManifestDocument;
import dev.imgd.model.Platform;
import dev.imgd.model.PlatformMatcher;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// Walks from an image's target through nested indexes to the manifests of the wanted platforms.
///
/// Where documents come from (a registry, the store, an archive) is the caller's choice; all of
/// them are checked here in the same way and within the same limits.
final class ImageTree {
    /// Gives the bytes of a manifest, an index or a configuration.
    @FunctionalInterface
    interface Documents {
        /// @throws ImageException `NOT_FOUND` when it is not there
        Bytes read(Descriptor descriptor) throws ImageException;
    }

    /// One image of one platform.
    ///
    /// @param config empty for artifacts, whose configuration is not an image's
    record PlatformImage(
            Descriptor descriptor,
            Manifest manifest,
            Optional<ImageConfig> config,
            Optional<Bytes> configBytes) {
        /// The platform as the configuration states it; empty for artifacts.
        Optional<Platform> platform() {
            return config.map(ImageConfig::platform);
        }

        /// Layers in the order of diffIDs: only what unpacks.
        List<Descriptor> layers() {
            return manifest.imageLayers();
        }

        /// Everything but the manifest: the configuration and all layers.
        List<Descriptor> blobs() {
            List<Descriptor> blobs = new ArrayList<>();
            blobs.add(manifest.config());
            blobs.addAll(manifest.layers());
            return blobs;
        }
    }

    /// What was found.
    ///
    /// @param documents every manifest and index that was read, by digest, with its bytes
    /// @param references for each of them what it points to
    record Result(
            Map<Digest, Bytes> documents,
            Map<Digest, List<Digest>> references,
            List<PlatformImage> images) {
        /// The manifests of the images.
        List<Descriptor> manifests() {
            return images.stream().map(PlatformImage::descriptor).toList();
        }
    }

    private final String what;
    private final Documents source;
    private final Limits limits;
    private final Map<Digest, Bytes> documents = new LinkedHashMap<>();
    private final Map<Digest, List<Digest>> references = new LinkedHashMap<>();
    private final Set<Digest> path = new HashSet<>();
    private int descriptors;

    private ImageTree(String what, Documents source, Limits limits) {
        this.what = what;
        this.source = source;
        this.limits = limits;
    }

    /// Finds the image of one platform.
    ///
    /// @param what the reference, for messages
    /// @throws ImageException `NOT_FOUND` listing the platforms there are
    static Result select(
            String what, Descriptor target, Platform platform, Documents source, Limits limits)
            throws ImageException {
        ImageTree tree = new ImageTree(what, source, limits);
        PlatformMatcher matcher = PlatformMatcher.only(platform);
        List<String> offered = new ArrayList<>();
        Optional<PlatformImage> image = tree.best(target, matcher, offered, 0);
        if (image.isEmpty()) {
            throw matcher.noMatch(what, offered);
        }
        return new Result(tree.documents, tree.references, List.of(image.get()));
    }

    /// Finds every image that can be read.
    ///
    /// @param skipMissing leave out what the source does not have
    static Result all(
            String what, Descriptor target, Documents source, Limits limits, boolean skipMissing)
            throws ImageException {
        ImageTree tree = new ImageTree(what, source, limits);
        List<PlatformImage> images = new ArrayList<>();
        tree.collect(target, images, skipMissing, 0);
        return new Result(tree.documents, tree.references, images);
    }

    private Optional<PlatformImage> best(
            Descriptor descriptor, PlatformMatcher matcher, List<String> offered, int depth)
            throws ImageException {
        switch (read(descriptor, depth)) {
            case Manifest manifest -> {
                PlatformImage image = image(descriptor, manifest);
                Optional<Platform> platform = image.platform();
                // A configuration without a platform is an artifact's, or older than platforms.
                if (platform.isEmpty()
                        || platform.get().os().isEmpty()
                        || matcher.matches(platform.get())) {
                    return Optional.of(image);
                }
                offered.add(platform.get().format());
                forget(descriptor);
                return Optional.empty();
            }
            case Index index -> {
                enter(descriptor);
                try {
                    offered.addAll(PlatformMatcher.offered(index));
                    for (Descriptor candidate : matcher.candidates(index)) {
                        Optional<PlatformImage> image =
                                best(candidate, matcher, offered, depth + 1);
                        if (image.isPresent()) {
                            references.put(descriptor.digest(), List.of(candidate.digest()));
                            return image;
                        }
                    }
                    forget(descriptor);
                    return Optional.empty();
                } finally {
                    path.remove(descriptor.digest());
                }
            }
        }
    }

    private void collect(
            Descriptor descriptor, List<PlatformImage> images, boolean skipMissing, int depth)
            throws ImageException {
        ManifestDocument document;
        PlatformImage image = null;
        try {
            document = read(descriptor, depth);
            if (document instanceof Manifest manifest) {
                image = image(descriptor, manifest);
            }
        } catch (ImageException e) {
            if (skipMissing && e.kind() == ErrorKind.NOT_FOUND) {
                forget(descriptor);
                return;
            }
            throw e;
        }
        if (image != null) {
            images.add(image);
        } else if (document instanceof Index index) {
            enter(descriptor);
            List<Digest> children = new ArrayList<>();
            for (Descriptor child : index.manifests()) {
                collect(child, images, skipMissing, depth + 1);
                if (documents.containsKey(child.digest())) {
                    children.add(child.digest());
                }
            }
            references.put(descriptor.digest(), children);
            path.remove(descriptor.digest());
        }
    }

    /// A document that led nowhere is no part of the result: what it points to is not fetched.
    private void forget(Descriptor descriptor) {
        documents.remove(descriptor.digest());
        references.remove(descriptor.digest());
    }

    private ManifestDocument read(Descriptor descriptor, int depth) throws ImageException {
        if (depth > limits.indexDepth()) {
            throw limits.exceeded(Limits.Key.INDEX_DEPTH, "%s: nesting of indexes".formatted(what));
        }
        Bytes bytes = source.read(descriptor);
        ManifestDocument document =
                ManifestDocument.parse(
                        "%s %s".formatted(what, descriptor.digest()),
                        bytes,
                        Optional.of(descriptor.mediaType()),
                        limits);
        descriptors +=
                switch (document) {
                    case Manifest manifest -> manifest.layers().size() + 1;
                    case Index index -> index.manifests().size();
                };
        limits.check(Limits.Key.DESCRIPTORS, what + ": number of descriptors", descriptors);
        documents.put(descriptor.digest(), bytes);
        if (document instanceof Manifest manifest) {
            List<Digest> blobs = new ArrayList<>();
            blobs.add(manifest.config().digest());
            manifest.layers().forEach(layer -> blobs.add(layer.digest()));
            references.put(descriptor.digest(), blobs);
        }
        return document;
    }

    private void enter(Descriptor descriptor) throws ImageException {
        if (!path.add(descriptor.digest())) {
            throw ImageException.invalidContent(
                    "%s: index %s contains itself".formatted(what, descriptor.digest()));
        }
    }

    private PlatformImage image(Descriptor descriptor, Manifest manifest) throws ImageException {
        if (!manifest.isImage()) {
            return new PlatformImage(descriptor, manifest, Optional.empty(), Optional.empty());
        }
        Bytes bytes = source.read(manifest.config());
        ImageConfig config =
                ImageConfig.parse(
                        "%s %s".formatted(what, manifest.config().digest()),
                        bytes,
                        Optional.of(manifest.config().mediaType()),
                        limits);
        return new PlatformImage(descriptor, manifest, Optional.of(config), Optional.of(bytes));
    }

    /// Checks that an image can be unpacked and returns its diffIDs, lowest first; empty for
    /// artifacts.
    ///
    /// @throws ImageException `INVALID_CONTENT` when layers and diffIDs do not pair up
    static List<Digest> diffIds(String what, PlatformImage image) throws ImageException {
        if (image.config.isEmpty()) {
            return List.of();
        }
        image.config.get().checkLayers(what, image.manifest);
        return image.config.get().diffIds();
    }

    /// The image that a platform runs best.
    static Optional<PlatformImage> bestOf(List<PlatformImage> images, Platform platform) {
        PlatformMatcher matcher = PlatformMatcher.only(platform);
        PlatformImage best = null;
        for (PlatformImage image : images) {
            Optional<Platform> candidate = image.platform().filter(matcher::matches);
            if (candidate.isPresent()
                    && (best == null
                            || matcher.prefers(candidate.get(), best.platform().orElseThrow()))) {
                best = image;
            }
        }
        return Optional.ofNullable(best);
    }

    /// As [#bestOf].
    ///
    /// @throws ImageException `NOT_FOUND` listing the platforms there are
    static PlatformImage choose(String what, List<PlatformImage> images, Platform platform)
            throws ImageException {
        Optional<PlatformImage> best = bestOf(images, platform);
        if (best.isPresent()) {
            return best.get();
        }
        List<String> offered = new ArrayList<>();
        images.forEach(image -> image.platform().ifPresent(p -> offered.add(p.format())));
        throw PlatformMatcher.only(platform).noMatch(what, offered);
    }

    /// Reads from the store.
    static Documents stored(ContentStore content, Limits limits) {
        return descriptor -> Bytes.of(content.read(descriptor.digest(), limits.manifestBytes()));
    }
}
