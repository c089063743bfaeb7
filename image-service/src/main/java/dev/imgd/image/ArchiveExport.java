package dev.imgd.image;

import dev.imgd.content.ImageRecord;
import dev.imgd.content.Store;
import dev.imgd.image.ImageService.ExportFormat;
import dev.imgd.image.ImageTree.PlatformImage;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.Limits;
import dev.imgd.model.MediaType;
import dev.imgd.model.Platform;
import dev.imgd.model.Reference;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.channels.Channels;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;

/// Writes images to an OCI layout, with the `manifest.json` that `docker load` reads where asked
/// for.
///
/// Everything is written beside the target under another name and renamed when complete. Equal
/// images give equal archives: times are zero and the order is fixed. **Source:** OCI image-spec
/// v1.1, image-layout.md.
final class ArchiveExport {
    private static final String NAMESPACE = LocalImageService.NAMESPACE;

    private final Store store;
    private final Limits limits;

    ArchiveExport(Store store, Limits limits) {
        this.store = store;
        this.limits = limits;
    }

    void write(List<ImageRecord> images, Path target, ExportFormat format) throws ImageException {
        Map<String, byte[]> documents = new LinkedHashMap<>();
        Set<Digest> blobs = new LinkedHashSet<>();
        JsonWriter index =
                JsonWriter.compact()
                        .beginObject()
                        .member("schemaVersion", 2)
                        .member("mediaType", MediaType.OCI_INDEX)
                        .beginArray("manifests");
        JsonWriter docker = JsonWriter.compact().beginArray();
        for (ImageRecord image : images) {
            ImageTree.Result tree =
                    ImageTree.all(
                            image.name(),
                            image.target(),
                            ImageTree.stored(store.content(), limits),
                            limits,
                            true);
            blobs.addAll(tree.documents().keySet());
            for (PlatformImage platform : tree.images()) {
                for (Descriptor blob : platform.blobs()) {
                    if (store.content().find(NAMESPACE, blob.digest()).isPresent()) {
                        blobs.add(blob.digest());
                    } else {
                        throw ImageException.notFound(
                                "export %s: blob %s is not in the store; pull the image again"
                                        .formatted(image.name(), blob.digest()));
                    }
                }
            }
            Reference name = Reference.parse(image.name());
            index.beginObject()
                    .member("mediaType", image.target().mediaType())
                    .member("digest", image.target().digest().toString())
                    .member("size", image.target().sizeBytes())
                    .member(
                            "annotations",
                            Map.of(
                                    "io.containerd.image.name",
                                    image.name(),
                                    "org.opencontainers.image.ref.name",
                                    name.tag().orElse("latest")))
                    .endObject();
            if (format == ExportFormat.DOCKER_ARCHIVE) {
                dockerEntry(docker, image, name, tree.images());
            }
        }
        documents.put(
                "oci-layout",
                "{\"imageLayoutVersion\":\"1.0.0\"}".getBytes(StandardCharsets.US_ASCII));
        documents.put("index.json", index.endArray().endObject().toBytes());
        if (format == ExportFormat.DOCKER_ARCHIVE) {
            documents.put("manifest.json", docker.endArray().toBytes());
        }
        Path partial = partial(target, format);
        try {
            delete(partial);
            if (format == ExportFormat.OCI_DIRECTORY) {
                directory(partial, documents, blobs);
            } else {
                tar(partial, documents, blobs);
            }
            Files.move(partial, target, StandardCopyOption.ATOMIC_MOVE);
        } catch (ImageException e) {
            throw e;
        } catch (ClosedByInterruptException e) {
            throw new ImageException(
                    ErrorKind.CANCELLED, "export to %s: interrupted".formatted(target), e);
        } catch (IOException e) {
            String text = String.valueOf(e.getMessage());
            throw new ImageException(
                    text.contains("No space left") ? ErrorKind.NO_SPACE : ErrorKind.INTERNAL,
                    "export to %s: %s".formatted(target, text),
                    e);
        } finally {
            try {
                delete(partial);
            } catch (IOException e) {
                // Named after the target and hidden: the next export of the same target removes it.
                partial.toFile().deleteOnExit();
            }
        }
    }

    /// The name under which the target is written, after checking that it can be replaced.
    private static Path partial(Path target, ExportFormat format) throws ImageException {
        Path absolute = target.toAbsolutePath();
        Path parent = absolute.getParent();
        if (parent == null || !Files.isDirectory(parent)) {
            throw ImageException.notFound(
                    "export to %s: there is no directory %s".formatted(target, parent));
        }
        boolean replaceable =
                format == ExportFormat.OCI_DIRECTORY
                        ? !Files.exists(absolute) || isEmptyDirectory(absolute)
                        : !Files.isDirectory(absolute);
        if (!replaceable) {
            throw ImageException.alreadyExists(
                    "export to %s: exists already; remove it or choose another name"
                            .formatted(target));
        }
        return parent.resolve(".%s.partial".formatted(absolute.getFileName()));
    }

    private static boolean isEmptyDirectory(Path path) {
        String[] names = path.toFile().list();
        return names != null && names.length == 0;
    }

    /// A docker archive has one platform of each image.
    private static void dockerEntry(
            JsonWriter docker, ImageRecord record, Reference name, List<PlatformImage> images)
            throws ImageException {
        Optional<PlatformImage> chosen =
                images.size() == 1
                        ? Optional.of(images.getFirst())
                        : ImageTree.bestOf(images, Platform.host());
        if (chosen.isEmpty() || chosen.get().config().isEmpty()) {
            throw ImageException.failedPrecondition(
                    "export %s: a docker archive needs an image for this host's platform"
                            .formatted(record.name()));
        }
        PlatformImage image = chosen.get();
        docker.beginObject()
                .member("Config", blobName(image.manifest().config().digest()))
                .member(
                        "RepoTags",
                        name.tag().isPresent() ? List.of(name.familiar()) : List.<String>of())
                .member(
                        "Layers",
                        image.layers().stream().map(layer -> blobName(layer.digest())).toList())
                .endObject();
    }

    private static String blobName(Digest digest) {
        return "blobs/" + digest.algorithm().label() + "/" + digest.hex();
    }

    private void directory(Path root, Map<String, byte[]> documents, Set<Digest> blobs)
            throws IOException {
        Files.createDirectories(root.resolve("blobs"));
        for (Map.Entry<String, byte[]> document : documents.entrySet()) {
            Files.write(root.resolve(document.getKey()), document.getValue());
        }
        for (Digest digest : blobs) {
            Path file = root.resolve(blobName(digest));
            Files.createDirectories(file.getParent());
            try (FileChannel in = store.content().open(digest);
                    FileChannel out =
                            FileChannel.open(
                                    file,
                                    StandardOpenOption.CREATE_NEW,
                                    StandardOpenOption.WRITE)) {
                transfer(in, out);
            }
        }
    }

    private static void transfer(FileChannel in, java.nio.channels.WritableByteChannel out)
            throws IOException {
        long size = in.size();
        for (long at = 0; at < size; ) {
            long n = in.transferTo(at, size - at, out);
            if (n <= 0) {
                throw new IOException("blob ended early");
            }
            at += n;
        }
    }

    private void tar(Path file, Map<String, byte[]> documents, Set<Digest> blobs)
            throws IOException {
        try (OutputStream out = Files.newOutputStream(file, StandardOpenOption.CREATE_NEW);
                TarArchiveOutputStream tar = new TarArchiveOutputStream(out, "UTF-8")) {
            tar.setBigNumberMode(TarArchiveOutputStream.BIGNUMBER_POSIX);
            for (Map.Entry<String, byte[]> document : documents.entrySet()) {
                begin(tar, document.getKey(), document.getValue().length);
                tar.write(document.getValue());
                tar.closeArchiveEntry();
            }
            for (Digest digest : blobs.stream().sorted(Comparator.naturalOrder()).toList()) {
                try (FileChannel in = store.content().open(digest)) {
                    begin(tar, blobName(digest), in.size());
                    transfer(in, Channels.newChannel(tar));
                    tar.closeArchiveEntry();
                }
            }
        }
    }

    private static void begin(TarArchiveOutputStream tar, String name, long size)
            throws IOException {
        TarArchiveEntry entry = new TarArchiveEntry(name);
        entry.setSize(size);
        entry.setModTime(0);
        entry.setMode(0100644);
        entry.setIds(0, 0);
        tar.putArchiveEntry(entry);
    }

    private static void delete(Path path) throws IOException {
        if (!Files.exists(path)) {
            return;
        }
        try (Stream<Path> tree = Files.walk(path)) {
            for (Path file : tree.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(file);
            }
        }
    }
}
