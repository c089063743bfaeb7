package dev.imgd.image;

import dev.imgd.content.BlobInfo;
import dev.imgd.content.ContentStore;
import dev.imgd.content.Ingest;
import dev.imgd.content.NodeId;
import dev.imgd.content.Store;
import dev.imgd.image.ImageTree.PlatformImage;
import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.DigestMismatchException;
import dev.imgd.model.ImageConfig;
import dev.imgd.model.ImageException;
import dev.imgd.model.Index;
import dev.imgd.model.Json;
import dev.imgd.model.JsonNode;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.Limits;
import dev.imgd.model.MediaType;
import dev.imgd.model.Reference;
import dev.imgd.model.SizeMismatchException;
import dev.imgd.model.Text;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// Reads images from an archive into the store.
///
/// An OCI layout goes in as it is, digests preserved. A docker archive that is nothing else gets a
/// manifest made for its configuration and layers. **Source:** OCI image-spec v1.1,
/// image-layout.md; Docker `docker save` format.
final class ArchiveImport {
    private static final String NAMESPACE = LocalImageService.NAMESPACE;
    private static final int BUFFER_BYTES = 256 << 10;

    /// An image whose content is in the store.
    record Found(String name, Descriptor target) {}

    private final Store store;
    private final ArchiveSource archive;
    private final Limits limits;
    private final String lease;
    private int files;

    /// @param lease holds what is stored until the caller has given it a name
    ArchiveImport(Store store, ArchiveSource archive, Limits limits, String lease) {
        this.store = store;
        this.archive = archive;
        this.limits = limits;
        this.lease = lease;
    }

    /// Stores every image of the archive.
    ///
    /// @param name the name to use; only for archives with one image
    List<Found> read(Optional<String> name) throws ImageException {
        Optional<Bytes> index = archive.read("index.json", limits.manifestBytes());
        if (index.isPresent()) {
            return layout(index.get(), name);
        }
        Optional<Bytes> manifest = archive.read("manifest.json", limits.manifestBytes());
        if (manifest.isPresent()) {
            return docker(manifest.get(), name);
        }
        throw ImageException.invalidContent(
                ("%s: wanted an OCI layout (index.json) or a docker archive (manifest.json),"
                                + " found neither")
                        .formatted(archive.path()));
    }

    private List<Found> layout(Bytes document, Optional<String> name) throws ImageException {
        Index index =
                Index.parse(
                        archive.path() + " index.json", document, Optional.of(MediaType.OCI_INDEX));
        List<Found> found = new ArrayList<>();
        for (Descriptor target : index.manifests()) {
            String chosen =
                    nameOf(
                            name,
                            index.manifests().size(),
                            target.annotations()
                                    .getOrDefault(
                                            Descriptor.CONTAINERD_NAME,
                                            target.annotations()
                                                    .getOrDefault(Descriptor.REF_NAME, "")),
                            target.digest());
            store(chosen, target);
            found.add(new Found(chosen, target));
        }
        if (found.isEmpty()) {
            throw ImageException.invalidContent(archive.path() + ": index.json lists no image");
        }
        return found;
    }

    /// A recorded name is used only when it is a full reference; of a bare tag such as `latest`
    /// nobody can tell what it is a tag of.
    private String nameOf(Optional<String> wanted, int images, String recorded, Digest digest)
            throws ImageException {
        if (wanted.isPresent()) {
            if (images > 1) {
                throw ImageException.invalidArgument(
                        "--name %s: the archive has %d images; import it without --name"
                                .formatted(wanted.get(), images));
            }
            return Reference.parse(wanted.get()).withDefaultTag().toString();
        }
        if (recorded.contains("/") || recorded.contains(":")) {
            return Reference.parse(recorded).withDefaultTag().toString();
        }
        throw ImageException.invalidArgument(
                "%s: image %s has %s; say --name REF"
                        .formatted(
                                archive.path(),
                                digest,
                                recorded.isEmpty()
                                        ? "no name"
                                        : "only the tag \"%s\" for a name"
                                                .formatted(Text.printable(recorded, 64))));
    }

    private void store(String name, Descriptor target) throws ImageException {
        ImageTree.Result tree =
                ImageTree.all(
                        name,
                        target,
                        descriptor -> {
                            Bytes bytes =
                                    archive.read(
                                                    blobName(descriptor.digest()),
                                                    limits.manifestBytes())
                                            .orElseThrow(
                                                    () ->
                                                            ImageException.notFound(
                                                                    "%s: blob %s is missing"
                                                                            .formatted(
                                                                                    archive.path(),
                                                                                    descriptor
                                                                                            .digest())));
                            verify(descriptor, bytes);
                            return bytes;
                        },
                        limits,
                        true);
        if (tree.images().isEmpty()) {
            throw ImageException.invalidContent(
                    "%s: the manifest or the configuration of %s is missing"
                            .formatted(archive.path(), name));
        }
        List<NodeId> nodes = new ArrayList<>();
        tree.documents().keySet().forEach(digest -> nodes.add(NodeId.blob(digest)));
        tree.images()
                .forEach(image -> image.blobs().forEach(b -> nodes.add(NodeId.blob(b.digest()))));
        store.leases().hold(NAMESPACE, lease, nodes);
        for (PlatformImage image : tree.images()) {
            for (Descriptor blob : image.blobs()) {
                copy(blobName(blob.digest()), blob);
            }
        }
        List<Map.Entry<Digest, Bytes>> bottomUp =
                new ArrayList<>(tree.documents().entrySet()).reversed();
        for (Map.Entry<Digest, Bytes> entry : bottomUp) {
            store.content()
                    .write(
                            NAMESPACE,
                            entry.getKey(),
                            entry.getValue().toArray(),
                            StoredSummary.labels(tree, entry.getKey()),
                            tree.references().getOrDefault(entry.getKey(), List.of()));
        }
    }

    private void verify(Descriptor descriptor, Bytes bytes) throws ImageException {
        Digest got = bytes.digestLike(descriptor.digest());
        if (bytes.size() != descriptor.sizeBytes()) {
            throw new SizeMismatchException(
                    "%s: %s".formatted(archive.path(), descriptor.digest()),
                    descriptor.sizeBytes(),
                    bytes.size());
        }
        if (!got.equals(descriptor.digest())) {
            throw new DigestMismatchException(
                    archive.path().toString(), descriptor.digest(), got, bytes.size());
        }
    }

    private static String blobName(Digest digest) {
        return "blobs/" + digest.algorithm().label() + "/" + digest.hex();
    }

    /// Copies one file into the store, verified.
    private void copy(String file, Descriptor expected) throws ImageException {
        ContentStore content = store.content();
        if (content.findWhole(NAMESPACE, expected.digest()).isEmpty()
                && !content.adopt(NAMESPACE, expected.digest(), Map.of())) {
            copy(file, Optional.of(expected));
        }
    }

    /// @param expected its digest and size; empty takes it as it is
    private BlobInfo copy(String file, Optional<Descriptor> expected) throws ImageException {
        if (!archive.has(file)) {
            throw ImageException.invalidContent(
                    "%s: %s is missing".formatted(archive.path(), Text.printable(file, 100)));
        }
        // A name of its own: nothing of another archive is gone on with.
        String ref = lease + "/" + files++;
        try (Ingest ingest = store.content().ingest(NAMESPACE, ref, Optional.empty())) {
            boolean complete = false;
            try (InputStream in = archive.open(file)) {
                byte[] buffer = new byte[BUFFER_BYTES];
                for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
                    ingest.write(ByteBuffer.wrap(buffer, 0, n));
                }
                @Nullable Digest digest = expected.map(Descriptor::digest).orElse(null);
                BlobInfo blob =
                        ingest.commit(
                                expected.map(Descriptor::sizeBytes).orElse(-1L),
                                digest,
                                Map.of(),
                                List.of());
                complete = true;
                return blob;
            } finally {
                if (!complete) {
                    ingest.abort();
                }
            }
        } catch (DigestMismatchException e) {
            throw new DigestMismatchException(
                    "%s: %s".formatted(archive.path(), Text.printable(file, 100)),
                    e.wanted(),
                    e.got(),
                    expected.map(Descriptor::sizeBytes).orElse(-1L));
        } catch (ImageException e) {
            throw e;
        } catch (IOException e) {
            throw archive.failed(file, e);
        }
    }

    private List<Found> docker(Bytes document, Optional<String> name) throws ImageException {
        JsonNode root = Json.parse(archive.path() + " manifest.json", document.toArray(), limits);
        List<JsonNode> images = root.items();
        List<Found> found = new ArrayList<>();
        for (JsonNode image : images) {
            Descriptor target = dockerImage(image);
            List<String> tags = image.texts("RepoTags");
            if (name.isPresent() || tags.isEmpty()) {
                found.add(new Found(nameOf(name, images.size(), "", target.digest()), target));
            } else {
                for (String tag : tags) {
                    found.add(new Found(Reference.parse(tag).withDefaultTag().toString(), target));
                }
            }
        }
        if (found.isEmpty()) {
            throw ImageException.invalidContent(archive.path() + ": manifest.json lists no image");
        }
        return found;
    }

    private Descriptor dockerImage(JsonNode image) throws ImageException {
        String configFile = image.require("Config").text();
        Bytes config =
                archive.read(configFile, limits.manifestBytes())
                        .orElseThrow(
                                () ->
                                        ImageException.invalidContent(
                                                "%s: the configuration is missing"
                                                        .formatted(archive.path())));
        ImageConfig parsed =
                ImageConfig.parse(archive.path() + " " + configFile, config, Optional.empty());
        List<String> layers = image.texts("Layers");
        if (layers.size() != parsed.diffIds().size()) {
            throw ImageException.invalidContent(
                    "%s: %d layers, but the configuration has %d diffIDs"
                            .formatted(archive.path(), layers.size(), parsed.diffIds().size()));
        }
        Digest configDigest = config.sha256();
        store.leases().hold(NAMESPACE, lease, List.of(NodeId.blob(configDigest)));
        store.content().write(NAMESPACE, configDigest, config.toArray(), Map.of(), List.of());
        JsonWriter manifest =
                JsonWriter.compact()
                        .beginObject()
                        .member("schemaVersion", 2)
                        .member("mediaType", MediaType.DOCKER_MANIFEST)
                        .beginObject("config")
                        .member("mediaType", MediaType.DOCKER_CONFIG)
                        .member("size", config.size())
                        .member("digest", configDigest.toString())
                        .endObject()
                        .beginArray("layers");
        Map<String, BlobInfo> copied = new LinkedHashMap<>();
        List<Digest> references = new ArrayList<>();
        references.add(configDigest);
        for (int i = 0; i < layers.size(); i++) {
            String layer = layers.get(i);
            String mediaType = layerType(layer);
            BlobInfo blob = copied.get(layer);
            if (blob == null) {
                blob = copyHeld(layer);
                copied.put(layer, blob);
            }
            if (mediaType.equals(MediaType.DOCKER_LAYER)
                    && !blob.digest().equals(parsed.diffIds().get(i))) {
                throw new DigestMismatchException(
                        "%s: %s".formatted(archive.path(), Text.printable(layer, 100)),
                        parsed.diffIds().get(i),
                        blob.digest(),
                        blob.sizeBytes());
            }
            references.add(blob.digest());
            manifest.beginObject()
                    .member("mediaType", mediaType)
                    .member("size", blob.sizeBytes())
                    .member("digest", blob.digest().toString())
                    .endObject();
        }
        byte[] bytes = manifest.endArray().endObject().toBytes();
        Digest digest = Digest.sha256(bytes);
        store.leases().hold(NAMESPACE, lease, List.of(NodeId.blob(digest)));
        store.content()
                .write(
                        NAMESPACE,
                        digest,
                        bytes,
                        StoredSummary.labels(Optional.of(parsed.platform())),
                        references);
        return new Descriptor(MediaType.DOCKER_MANIFEST, digest, bytes.length);
    }

    /// Copies a file whose digest is not known before. A collection that comes between its bytes
    /// and the lease takes it; from the second time on the lease is there first.
    private BlobInfo copyHeld(String file) throws ImageException {
        while (true) {
            BlobInfo blob = copy(file, Optional.empty());
            store.leases().hold(NAMESPACE, lease, List.of(NodeId.blob(blob.digest())));
            if (store.content().find(NAMESPACE, blob.digest()).isPresent()) {
                return blob;
            }
        }
    }

    private String layerType(String file) throws ImageException {
        if (!archive.has(file)) {
            throw ImageException.invalidContent(
                    "%s: %s is missing".formatted(archive.path(), Text.printable(file, 100)));
        }
        try (InputStream in = archive.open(file)) {
            byte[] magic = in.readNBytes(4);
            if (magic.length == 4 && magic[0] == 0x1f && (magic[1] & 0xff) == 0x8b) {
                return MediaType.DOCKER_LAYER_GZIP;
            }
            if (magic.length == 4
                    && magic[0] == 0x28
                    && (magic[1] & 0xff) == 0xb5
                    && magic[2] == 0x2f
                    && (magic[3] & 0xff) == 0xfd) {
                return MediaType.DOCKER_LAYER_ZSTD;
            }
            return MediaType.DOCKER_LAYER;
        } catch (IOException e) {
            throw archive.failed(file, e);
        }
    }
}
