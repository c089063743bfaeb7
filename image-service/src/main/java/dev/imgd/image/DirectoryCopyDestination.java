package dev.imgd.image;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Index;
import dev.imgd.model.Json;
import dev.imgd.model.JsonNode;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.Limits;
import dev.imgd.model.MediaType;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient.BlobStream;
import dev.imgd.registry.RegistryWriter.BlobOutcome;
import dev.imgd.registry.RegistryWriter.BlobSource;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;

/// A directory: an OCI layout, which may have other images already, or skopeo's `dir:`, which has
/// one.
///
/// Every file is written under another name, synced and renamed, so that what is there under its
/// own name is whole; the list of images comes last. **Source:** OCI image-spec v1.1,
/// image-layout.md; containers/image `directory` transport.
final class DirectoryCopyDestination implements CopyDestination {
    private static final String LAYOUT = "{\"imageLayoutVersion\":\"1.0.0\"}";
    private static final String VERSION = "Directory Transport Version: 1.1\n";
    private static final int BUFFER_BYTES = 256 << 10;

    private final Path root;
    private final Optional<String> name;
    private final boolean layout;
    private final Limits limits;
    private final List<Descriptor> artifacts = new ArrayList<>();

    /// @param location of the transport `OCI` or `DIR`
    DirectoryCopyDestination(ImageLocation location, Limits limits) throws ImageException {
        this.root = location.path().toAbsolutePath().normalize();
        this.name = location.name();
        this.layout = location.transport() == ImageLocation.Transport.OCI;
        this.limits = limits;
    }

    @Override
    public int parallel(int wanted) {
        return wanted;
    }

    @Override
    public void prepare(Expected expected) throws ImageException {
        if (expected.referrers() && !layout) {
            throw ImageException.invalidArgument(
                    "copy to dir:%s: cannot hold referrers; use oci:".formatted(root));
        }
        String marker = layout ? "oci-layout" : "version";
        try {
            String[] there = root.toFile().list();
            if (there != null && there.length > 0 && !Files.isRegularFile(root.resolve(marker))) {
                throw ImageException.alreadyExists(
                        "%s: neither empty nor %s; choose another directory"
                                .formatted(
                                        root,
                                        layout ? "an OCI layout" : "a directory of this kind"));
            }
            if (Files.isRegularFile(root, LinkOption.NOFOLLOW_LINKS)) {
                throw ImageException.alreadyExists(root + ": a file, wanted a directory");
            }
            Files.createDirectories(root);
            // The version comes first: a second try finds a directory that it may go on with.
            if (!Files.exists(root.resolve(marker))) {
                write(
                        root.resolve(marker),
                        (layout ? LAYOUT : VERSION).getBytes(StandardCharsets.US_ASCII));
            }
        } catch (IOException e) {
            throw failed(e);
        }
    }

    private Path file(Descriptor descriptor, boolean manifest) {
        if (layout) {
            return root.resolve(FileCopySource.layoutName(descriptor.digest()));
        }
        return root.resolve(descriptor.digest().hex() + (manifest ? ".manifest.json" : ""));
    }

    @Override
    public BlobOutcome blob(Descriptor blob, BlobSource source, List<Reference> mountFrom)
            throws ImageException {
        Path file = file(blob, false);
        try {
            if (isThere(file, blob)) {
                return BlobOutcome.EXISTED;
            }
            Files.createDirectories(file.getParent());
            Path partial = partial(file);
            try {
                try (BlobStream stream = source.open(0);
                        FileChannel out = create(partial)) {
                    ByteBuffer buffer = ByteBuffer.allocateDirect(BUFFER_BYTES);
                    while (stream.read(buffer.clear()) >= 0) {
                        buffer.flip();
                        while (buffer.hasRemaining()) {
                            out.write(buffer);
                        }
                    }
                    out.force(false);
                }
                Files.move(partial, file, StandardCopyOption.ATOMIC_MOVE);
            } finally {
                Files.deleteIfExists(partial);
            }
            return BlobOutcome.UPLOADED;
        } catch (IOException e) {
            throw failed(e);
        }
    }

    /// Whether a file holds the blob. Its bytes are read for that: another program may have left
    /// half of it.
    private static boolean isThere(Path file, Descriptor blob) throws IOException {
        if (!Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS)
                || Files.size(file) != blob.sizeBytes()) {
            return false;
        }
        try (FileChannel in = FileChannel.open(file, StandardOpenOption.READ);
                VerifiedBlob verified =
                        new VerifiedBlob(
                                blob,
                                offset -> LocalBlob.of(in.position(offset), file.toString()),
                                new AtomicLong(),
                                new AtomicBoolean());
                BlobStream stream = verified.open(0)) {
            ByteBuffer buffer = ByteBuffer.allocateDirect(BUFFER_BYTES);
            int count = 0;
            while (count >= 0) {
                count = stream.read(buffer.clear());
            }
            return true;
        } catch (ImageException e) {
            if (e.kind() == ErrorKind.DATA_LOSS) {
                return false;
            }
            throw e;
        }
    }

    private static Path partial(Path file) {
        return file.resolveSibling("." + file.getFileName() + "." + UUID.randomUUID() + ".partial");
    }

    private static FileChannel create(Path file) throws IOException {
        return FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
    }

    private static void write(Path file, byte[] content) throws IOException {
        Path partial = partial(file);
        try {
            try (FileChannel out = create(partial)) {
                ByteBuffer buffer = ByteBuffer.wrap(content);
                while (buffer.hasRemaining()) {
                    out.write(buffer);
                }
                out.force(false);
            }
            Files.move(
                    partial,
                    file,
                    StandardCopyOption.ATOMIC_MOVE,
                    StandardCopyOption.REPLACE_EXISTING);
        } finally {
            Files.deleteIfExists(partial);
        }
    }

    @Override
    public void manifest(Descriptor descriptor, Bytes content, List<Digest> children)
            throws ImageException {
        Path file = file(descriptor, true);
        try {
            Files.createDirectories(file.getParent());
            write(file, content.toArray());
        } catch (IOException e) {
            throw failed(e);
        }
    }

    @Override
    public void referrer(Descriptor descriptor, Bytes content, List<Digest> children)
            throws ImageException {
        manifest(descriptor, content, children);
        artifacts.add(descriptor);
    }

    @Override
    public void attachment(String tag, Descriptor descriptor, Bytes content, List<Digest> children)
            throws ImageException {
        manifest(descriptor, content, children);
        artifacts.add(
                new Descriptor(
                        descriptor.mediaType(),
                        descriptor.digest(),
                        descriptor.sizeBytes(),
                        Map.of(Descriptor.REF_NAME, tag)));
    }

    @Override
    public void finish(Descriptor target, Bytes content, List<Digest> children)
            throws ImageException {
        try {
            if (layout) {
                manifest(target, content, children);
                write(root.resolve("index.json"), index(target));
                sync(root.resolve("blobs").resolve(target.digest().algorithm().label()));
            } else {
                write(root.resolve("manifest.json"), content.toArray());
            }
            sync(root);
        } catch (IOException e) {
            throw failed(e);
        }
    }

    /// The list of images, with the new one instead of what had its name.
    private byte[] index(Descriptor target) throws IOException {
        JsonWriter json =
                JsonWriter.compact()
                        .beginObject()
                        .member("schemaVersion", 2)
                        .member("mediaType", MediaType.OCI_INDEX)
                        .beginArray("manifests");
        Path file = root.resolve("index.json");
        if (Files.isRegularFile(file)) {
            byte[] before = Files.readAllBytes(file);
            Index parsed =
                    Index.parse(
                            file.toString(), Bytes.of(before), Optional.of(MediaType.OCI_INDEX));
            List<JsonNode> entries = Json.parse(file.toString(), before, limits).items("manifests");
            for (int i = 0; i < entries.size(); i++) {
                if (!isReplaced(parsed.manifests().get(i), target)) {
                    json.value(entries.get(i));
                }
            }
        }
        new Descriptor(
                        target.mediaType(),
                        target.digest(),
                        target.sizeBytes(),
                        name.isPresent() ? Map.of(Descriptor.REF_NAME, name.get()) : Map.of())
                .write(json);
        for (Descriptor artifact : artifacts) {
            artifact.write(json);
        }
        return json.endArray().endObject().toBytes();
    }

    private boolean isReplaced(Descriptor entry, Descriptor target) {
        String named = entry.annotations().get(Descriptor.REF_NAME);
        if (named != null) {
            return (name.isPresent() && named.equals(name.get()))
                    || artifacts.stream()
                            .anyMatch(a -> named.equals(a.annotations().get(Descriptor.REF_NAME)));
        }
        return entry.digest().equals(target.digest())
                || artifacts.stream().anyMatch(a -> a.digest().equals(entry.digest()));
    }

    private static void sync(Path directory) throws IOException {
        try (FileChannel channel = FileChannel.open(directory, StandardOpenOption.READ)) {
            channel.force(true);
        }
    }

    private ImageException failed(IOException e) {
        return CopyFailures.of("copy to " + root, e);
    }

    @Override
    public void close() {}
}
