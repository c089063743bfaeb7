package dev.imgd.image;

import dev.imgd.content.ImageRecord;
import dev.imgd.content.Store;
import dev.imgd.image.ImageService.ExportFormat;
import dev.imgd.image.ImageTree.PlatformImage;
import dev.imgd.linux.Fs;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrnoException;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.Limits;
import dev.imgd.model.MediaType;
import dev.imgd.model.Platform;
import dev.imgd.model.Reference;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.Channels;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.time.Instant;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.stream.Stream;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;

/// Writes images to an OCI layout, with the `manifest.json` that `docker load` reads where asked
/// for.
///
/// Everything is written beside the target under a name of its own and renamed when it is complete
/// and on the disk; what is there already is never replaced. Equal images give equal archives:
/// times are zero and the order is fixed. **Source:** OCI image-spec v1.1, image-layout.md.
final class ArchiveExport {
    private static final String NAMESPACE = LocalImageService.NAMESPACE;
    private static final String PARTIAL = ".partial";

    /// Nobody writes to an export for so long without an end.
    private static final Duration ABANDONED = Duration.ofDays(1);

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
                                    Descriptor.CONTAINERD_NAME,
                                    image.name(),
                                    Descriptor.REF_NAME,
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
            deleteAbandoned(target);
            if (format == ExportFormat.OCI_DIRECTORY) {
                directory(partial, documents, blobs);
            } else {
                tar(partial, documents, blobs);
            }
            publish(partial, target, format);
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
                // Named after the target and hidden: a later export of the same target removes it.
                partial.toFile().deleteOnExit();
            }
        }
    }

    /// The name under which the target is written, after checking that it can be replaced.
    private static Path partial(Path target, ExportFormat format) throws ImageException {
        Path absolute = target.toAbsolutePath();
        Path parent = parent(target);
        boolean replaceable =
                format == ExportFormat.OCI_DIRECTORY
                        ? isFree(absolute) || isEmptyDirectory(absolute)
                        : isFree(absolute);
        if (!replaceable) {
            throw exists(target);
        }
        String own = UUID.randomUUID().toString().substring(0, 8);
        return parent.resolve(prefix(target) + own + PARTIAL);
    }

    private static Path parent(Path target) throws ImageException {
        Path parent = target.toAbsolutePath().getParent();
        if (parent == null || !Files.isDirectory(parent)) {
            throw ImageException.notFound(
                    "export to %s: there is no directory %s".formatted(target, parent));
        }
        return parent;
    }

    private static String prefix(Path target) {
        return ".%s.".formatted(target.getFileName());
    }

    private static boolean isFree(Path path) {
        return !Files.exists(path, LinkOption.NOFOLLOW_LINKS);
    }

    private static ImageException exists(Path target) {
        return ImageException.alreadyExists(
                "export to %s: exists already; remove it or choose another name".formatted(target));
    }

    /// Removes what exports to the same target left when they were killed.
    private static void deleteAbandoned(Path target) throws IOException {
        Path parent = parent(target);
        Instant oldest = Instant.now().minus(ABANDONED);
        String prefix = prefix(target);
        try (DirectoryStream<Path> siblings = Files.newDirectoryStream(parent)) {
            for (Path sibling : siblings) {
                String name = sibling.getFileName().toString();
                if (name.length() == prefix.length() + 8 + PARTIAL.length()
                        && name.startsWith(prefix)
                        && name.endsWith(PARTIAL)
                        && isOlder(sibling, oldest)) {
                    delete(sibling);
                }
            }
        } catch (DirectoryIteratorException e) {
            throw e.getCause();
        }
    }

    private static boolean isOlder(Path file, Instant oldest) throws IOException {
        try {
            return Files.getLastModifiedTime(file, LinkOption.NOFOLLOW_LINKS)
                    .toInstant()
                    .isBefore(oldest);
        } catch (NoSuchFileException e) {
            return false; // An export that ended just now.
        }
    }

    /// Gives the complete export its name, durably.
    private static void publish(Path partial, Path target, ExportFormat format) throws IOException {
        try {
            // An empty directory is the one thing that may be in the place of another.
            int flags =
                    format == ExportFormat.OCI_DIRECTORY && isEmptyDirectory(target)
                            ? 0
                            : Fs.RENAME_NOREPLACE;
            Fs.renameat2(
                    Fs.AT_FDCWD,
                    partial.toAbsolutePath().toString(),
                    Fs.AT_FDCWD,
                    target.toAbsolutePath().toString(),
                    flags);
        } catch (ErrnoException e) {
            if (e.errno() == ErrnoException.EEXIST || e.errno() == ErrnoException.ENOTEMPTY) {
                throw exists(target);
            }
            if (e.errno() != ErrnoException.EINVAL || !isFree(target)) {
                throw e;
            }
            // A file system without RENAME_NOREPLACE.
            Files.move(partial, target, StandardCopyOption.ATOMIC_MOVE);
        }
        sync(parent(target));
    }

    private static void sync(Path path) throws IOException {
        try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
            channel.force(true);
        }
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
        UnlockedLayers.refuseEncrypted("export " + record.name(), image.manifest());
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
        Set<Path> directories = new LinkedHashSet<>();
        for (Map.Entry<String, byte[]> document : documents.entrySet()) {
            Path file = root.resolve(document.getKey());
            Files.write(file, document.getValue());
            sync(file);
        }
        for (Digest digest : blobs) {
            Path file = root.resolve(blobName(digest));
            directories.add(Files.createDirectories(file.getParent()));
            try (FileChannel in = open(digest);
                    FileChannel out =
                            FileChannel.open(
                                    file,
                                    StandardOpenOption.CREATE_NEW,
                                    StandardOpenOption.WRITE)) {
                transfer(in, out);
                out.force(true);
            }
        }
        directories.add(root.resolve("blobs"));
        directories.add(root);
        for (Path directory : directories) {
            sync(directory);
        }
    }

    /// A blob as it was when it came: an export may outlive this store, and so would the damage.
    private FileChannel open(Digest digest) throws IOException {
        if (!store.content().recheck(digest)) {
            throw new ImageException(
                    ErrorKind.DATA_LOSS,
                    "blob %s: the disk lost or changed it; pull its image again".formatted(digest));
        }
        return store.content().open(digest);
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
        try (FileChannel out =
                        FileChannel.open(
                                file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
                TarArchiveOutputStream tar =
                        new TarArchiveOutputStream(Channels.newOutputStream(out), "UTF-8")) {
            tar.setBigNumberMode(TarArchiveOutputStream.BIGNUMBER_POSIX);
            for (Map.Entry<String, byte[]> document : documents.entrySet()) {
                begin(tar, document.getKey(), document.getValue().length);
                tar.write(document.getValue());
                tar.closeArchiveEntry();
            }
            for (Digest digest : blobs.stream().sorted(Comparator.naturalOrder()).toList()) {
                try (FileChannel in = open(digest)) {
                    begin(tar, blobName(digest), in.size());
                    transfer(in, Channels.newChannel(tar));
                    tar.closeArchiveEntry();
                }
            }
            tar.finish();
            tar.flush();
            out.force(true);
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

    /// Deletes a file or a tree; whatever somebody else deletes at the same time is fine.
    private static void delete(Path path) throws IOException {
        if (!Files.exists(path, LinkOption.NOFOLLOW_LINKS)) {
            return;
        }
        try (Stream<Path> tree = Files.walk(path)) {
            for (Path file : tree.sorted(Comparator.reverseOrder()).toList()) {
                Files.deleteIfExists(file);
            }
        } catch (NoSuchFileException e) {
            return;
        } catch (UncheckedIOException e) {
            if (!(e.getCause() instanceof NoSuchFileException)) {
                throw e.getCause();
            }
        }
    }
}
