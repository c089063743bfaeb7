package dev.imgd.image;

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
import dev.imgd.model.ManifestDocument;
import dev.imgd.model.MediaType;
import dev.imgd.model.Reference;
import dev.imgd.model.SizeMismatchException;
import dev.imgd.model.Text;
import dev.imgd.registry.RegistryClient.BlobStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// An image in files: an OCI layout (directory or tar), a docker archive, or skopeo's directory.
///
/// What a docker archive lacks, a manifest, is made for it; everything else is taken as it is.
/// **Source:** OCI image-spec v1.1, image-layout.md; Docker `docker save` format; containers/image
/// `directory` transport.
final class FileCopySource implements CopySource {

    /// What is in which file.
    @FunctionalInterface
    private interface Naming {
        String file(Descriptor descriptor);
    }

    private final ArchiveSource archive;
    private final Limits limits;
    private final Descriptor target;
    private final Naming naming;
    private final Map<Digest, Bytes> made;
    private final List<Descriptor> listed;

    private FileCopySource(
            ArchiveSource archive,
            Limits limits,
            Descriptor target,
            Naming naming,
            Map<Digest, Bytes> made,
            List<Descriptor> listed) {
        this.archive = archive;
        this.limits = limits;
        this.target = target;
        this.naming = naming;
        this.made = made;
        this.listed = listed;
    }

    /// Opens a location of a kind that is in files.
    static FileCopySource open(ImageLocation location, Limits limits) throws ImageException {
        ArchiveSource archive =
                ArchiveSource.open(
                        location.path(), Path.of(System.getProperty("java.io.tmpdir")), limits);
        try {
            return switch (location.transport()) {
                case OCI, OCI_ARCHIVE -> layout(archive, location, limits);
                // Newer ones are layouts too, with the digests that the image has elsewhere.
                case DOCKER_ARCHIVE ->
                        archive.has("index.json")
                                ? layout(archive, location, limits)
                                : docker(archive, location, limits);
                case DIR -> directory(archive, limits);
                case DOCKER, STORE ->
                        throw new IllegalArgumentException("not in files: " + location);
            };
        } catch (ImageException | RuntimeException e) {
            archive.close();
            throw e;
        }
    }

    private static Bytes require(ArchiveSource archive, String file, Limits limits)
            throws ImageException {
        return archive.read(file, limits.manifestBytes())
                .orElseThrow(
                        () ->
                                ImageException.notFound(
                                        "%s: %s is missing"
                                                .formatted(
                                                        archive.path(),
                                                        Text.printable(file, 120))));
    }

    private static FileCopySource layout(
            ArchiveSource archive, ImageLocation location, Limits limits) throws ImageException {
        Index index =
                Index.parse(
                        archive.path() + " index.json",
                        require(archive, "index.json", limits),
                        Optional.of(MediaType.OCI_INDEX));
        List<Descriptor> matching = new ArrayList<>();
        for (Descriptor entry : index.manifests()) {
            if (location.name().isEmpty() || isNamed(entry, location.name().get())) {
                matching.add(entry);
            }
        }
        if (location.name().isEmpty() && matching.size() > 1) {
            // Artifacts that refer to an image are listed beside it, without a name or with one
            // that is made of its digest.
            List<Descriptor> named = new ArrayList<>();
            for (Descriptor entry : matching) {
                String name = entry.annotations().get(Descriptor.REF_NAME);
                if (name != null && !Attachment.isTag(name)) {
                    named.add(entry);
                }
            }
            if (named.size() == 1) {
                matching = named;
            }
        }
        if (matching.isEmpty()) {
            throw ImageException.notFound(
                    "%s: no image \"%s\"; there are: %s"
                            .formatted(archive.path(), location.name().orElse(""), names(index)));
        }
        if (matching.size() > 1) {
            throw ImageException.invalidArgument(
                    "%s: %d images; say which, as %s%s:NAME: %s"
                            .formatted(
                                    archive.path(),
                                    matching.size(),
                                    location.transport().prefix(),
                                    location.place(),
                                    names(index)));
        }
        return new FileCopySource(
                archive,
                limits,
                plain(matching.getFirst()),
                descriptor -> layoutName(descriptor.digest()),
                Map.of(),
                index.manifests());
    }

    private static boolean isNamed(Descriptor entry, String name) {
        return name.equals(entry.annotations().get(Descriptor.REF_NAME))
                || name.equals(entry.annotations().get(Descriptor.CONTAINERD_NAME))
                || name.equals(entry.digest().toString())
                || isFamiliar(
                        entry.annotations().getOrDefault(Descriptor.CONTAINERD_NAME, ""), name);
    }

    private static boolean isFamiliar(String full, String name) {
        try {
            return !full.isEmpty() && Reference.parse(full).familiar().equals(name);
        } catch (ImageException e) {
            return false; // whoever wrote the layout meant something else by that annotation
        }
    }

    private static String names(Index index) {
        StringBuilder names = new StringBuilder();
        int shown = 0;
        for (Descriptor entry : index.manifests()) {
            if (shown++ == 10) {
                return names.append(", …").toString();
            }
            names.append(names.isEmpty() ? "" : ", ")
                    .append(
                            Text.printable(
                                    entry.annotations()
                                            .getOrDefault(
                                                    Descriptor.REF_NAME, entry.digest().toString()),
                                    80));
        }
        return names.isEmpty() ? "none" : names.toString();
    }

    /// Without what the place it was listed in says of it.
    private static Descriptor plain(Descriptor entry) {
        return new Descriptor(entry.mediaType(), entry.digest(), entry.sizeBytes());
    }

    static String layoutName(Digest digest) {
        return "blobs/" + digest.algorithm().label() + "/" + digest.hex();
    }

    private static FileCopySource directory(ArchiveSource archive, Limits limits)
            throws ImageException {
        Bytes content = require(archive, "manifest.json", limits);
        ManifestDocument document =
                ManifestDocument.parse(
                        archive.path() + " manifest.json", content, Optional.empty(), limits);
        Descriptor target = new Descriptor(document.mediaType(), content.sha256(), content.size());
        return new FileCopySource(
                archive,
                limits,
                target,
                descriptor ->
                        isManifest(descriptor)
                                ? descriptor.digest().hex() + ".manifest.json"
                                : descriptor.digest().hex(),
                Map.of(target.digest(), content),
                List.of());
    }

    private static boolean isManifest(Descriptor descriptor) {
        return switch (descriptor.type()) {
            case MediaType.IndexType _, MediaType.ManifestType _, MediaType.Schema1Type _ -> true;
            case MediaType.ConfigType _, MediaType.LayerType _, MediaType.OpaqueType _ -> false;
        };
    }

    private static FileCopySource docker(
            ArchiveSource archive, ImageLocation location, Limits limits) throws ImageException {
        Bytes document = require(archive, "manifest.json", limits);
        JsonNode image =
                dockerImage(
                        archive,
                        Json.parse(archive.path() + " manifest.json", document.toArray(), limits)
                                .items(),
                        location);
        String configFile = image.require("Config").text();
        Bytes config = require(archive, configFile, limits);
        ImageConfig parsed =
                ImageConfig.parse(archive.path() + " " + configFile, config, Optional.empty());
        List<String> layers = image.texts("Layers");
        if (layers.size() != parsed.diffIds().size()) {
            throw ImageException.invalidContent(
                    "%s: %d layers, but the configuration has %d diffIDs"
                            .formatted(archive.path(), layers.size(), parsed.diffIds().size()));
        }
        Map<Digest, String> files = new HashMap<>();
        JsonWriter manifest =
                JsonWriter.compact()
                        .beginObject()
                        .member("schemaVersion", 2)
                        .member("mediaType", MediaType.DOCKER_MANIFEST);
        new Descriptor(MediaType.DOCKER_CONFIG, config.sha256(), config.size())
                .write(manifest.name("config"));
        manifest.beginArray("layers");
        for (int i = 0; i < layers.size(); i++) {
            Descriptor layer = dockerLayer(archive, layers.get(i), parsed.diffIds().get(i));
            files.put(layer.digest(), layers.get(i));
            layer.write(manifest);
        }
        Bytes made = Bytes.of(manifest.endArray().endObject().toBytes());
        Descriptor target = new Descriptor(MediaType.DOCKER_MANIFEST, made.sha256(), made.size());
        return new FileCopySource(
                archive,
                limits,
                target,
                descriptor -> files.getOrDefault(descriptor.digest(), ""),
                Map.of(target.digest(), made, config.sha256(), config),
                List.of());
    }

    private static JsonNode dockerImage(
            ArchiveSource archive, List<JsonNode> images, ImageLocation location)
            throws ImageException {
        if (location.name().isEmpty()) {
            if (images.size() != 1) {
                throw ImageException.invalidArgument(
                        "%s: %d images; say which, as docker-archive:%s:REF"
                                .formatted(archive.path(), images.size(), location.place()));
            }
            return images.getFirst();
        }
        for (JsonNode image : images) {
            for (String tag : image.texts("RepoTags")) {
                if (Reference.parse(tag).familiar().equals(location.name().get())) {
                    return image;
                }
            }
        }
        throw ImageException.notFound(
                "%s: no image \"%s\"".formatted(archive.path(), location.name().get()));
    }

    /// An uncompressed layer is its own diffID; others have to be read to know their digest.
    private static Descriptor dockerLayer(ArchiveSource archive, String file, Digest diffId)
            throws ImageException {
        if (!archive.has(file)) {
            throw ImageException.invalidContent(
                    "%s: %s is missing".formatted(archive.path(), Text.printable(file, 100)));
        }
        try (InputStream in = archive.open(file)) {
            byte[] magic = in.readNBytes(4);
            String type = dockerLayerType(magic);
            long size = archive.sizeBytes(file);
            if (type.equals(MediaType.DOCKER_LAYER)) {
                return new Descriptor(type, diffId, size);
            }
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            digest.update(magic);
            byte[] buffer = new byte[128 << 10];
            for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
                digest.update(buffer, 0, n);
            }
            return new Descriptor(type, Digest.of(Digest.Algorithm.SHA256, digest.digest()), size);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java runtime has SHA-256", e);
        } catch (ImageException e) {
            throw e;
        } catch (IOException e) {
            throw archive.failed(file, e);
        }
    }

    /// The type of a layer by its first four bytes.
    static String dockerLayerType(byte[] magic) {
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
    }

    @Override
    public Descriptor target() {
        return target;
    }

    @Override
    public Bytes document(Descriptor descriptor) throws ImageException {
        Bytes known = made.get(descriptor.digest());
        if (known != null) {
            return known;
        }
        Bytes content = require(archive, naming.file(descriptor), limits);
        String what = archive.path() + ": " + descriptor.digest();
        if (content.size() != descriptor.sizeBytes()) {
            throw new SizeMismatchException(what, descriptor.sizeBytes(), content.size());
        }
        Digest got = content.digestLike(descriptor.digest());
        if (!got.equals(descriptor.digest())) {
            throw new DigestMismatchException(what, descriptor.digest(), got, content.size());
        }
        return content;
    }

    @Override
    public boolean has(Descriptor blob) {
        return made.containsKey(blob.digest()) || archive.has(naming.file(blob));
    }

    @Override
    public BlobStream open(Descriptor blob, long offset) throws IOException {
        Bytes known = made.get(blob.digest());
        String file = naming.file(blob);
        InputStream in;
        if (known != null) {
            in = new java.io.ByteArrayInputStream(known.toArray());
        } else if (archive.has(file)) {
            in = archive.open(file);
        } else {
            throw ImageException.notFound(
                    "%s: blob %s is missing".formatted(archive.path(), blob.digest()));
        }
        try {
            in.skipNBytes(offset);
        } catch (IOException e) {
            in.close();
            throw e;
        }
        return LocalBlob.of(in, archive.path().toString());
    }

    @Override
    public List<Descriptor> referrers(Digest subject) throws ImageException {
        List<Descriptor> found = new ArrayList<>();
        for (Descriptor entry : listed) {
            if (!isManifest(entry) || !has(entry)) {
                continue;
            }
            ManifestDocument document =
                    ManifestDocument.parse(
                            archive.path() + ": " + entry.digest(),
                            document(entry),
                            Optional.of(entry.mediaType()),
                            limits);
            if (document.subject().filter(s -> s.digest().equals(subject)).isPresent()) {
                found.add(entry);
            }
        }
        return found;
    }

    @Override
    public List<Attachment> attachments(Digest subject) throws ImageException {
        List<String> tags = Attachment.tags(subject);
        List<Attachment> found = new ArrayList<>();
        for (Descriptor entry : listed) {
            String name = entry.annotations().getOrDefault(Descriptor.REF_NAME, "");
            if (tags.contains(name) && isManifest(entry) && has(entry)) {
                found.add(new Attachment(name, entry));
            }
        }
        return found;
    }

    @Override
    public Optional<Reference> repository() {
        return Optional.empty();
    }

    @Override
    public void hold(Collection<Digest> blobs) {}

    @Override
    public void close() throws ImageException {
        archive.close();
    }
}
