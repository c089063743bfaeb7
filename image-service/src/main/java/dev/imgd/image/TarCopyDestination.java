package dev.imgd.image;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.Manifest;
import dev.imgd.model.MediaType;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient.BlobStream;
import dev.imgd.registry.RegistryWriter.BlobOutcome;
import dev.imgd.registry.RegistryWriter.BlobSource;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;
import org.jspecify.annotations.Nullable;

/// An OCI layout as a tar, with the `manifest.json` that `docker load` reads where asked for.
///
/// Written in one pass, blob after blob, beside the target under another name, and renamed when
/// complete. **Source:** OCI image-spec v1.1, image-layout.md; Docker `docker save` format.
final class TarCopyDestination implements CopyDestination {
    private static final int BUFFER_BYTES = 256 << 10;

    private final ImageLocation location;
    private final Path file;
    private final Path partial;
    private final boolean docker;
    private final Set<Digest> written = new HashSet<>();
    private final List<Descriptor> artifacts = new ArrayList<>();
    private @Nullable FileChannel channel;
    private @Nullable TarArchiveOutputStream tar;
    private @Nullable Manifest image;

    /// @param location of the transport `OCI_ARCHIVE` or `DOCKER_ARCHIVE`
    TarCopyDestination(ImageLocation location) throws ImageException {
        this.location = location;
        this.docker = location.transport() == ImageLocation.Transport.DOCKER_ARCHIVE;
        this.file = location.path().toAbsolutePath().normalize();
        this.partial =
                file.resolveSibling(
                        "." + file.getFileName() + "." + UUID.randomUUID() + ".partial");
    }

    @Override
    public int parallel(int wanted) {
        return 1;
    }

    @Override
    public void prepare(Expected expected) throws ImageException {
        if (docker) {
            if (expected.referrers()) {
                throw ImageException.invalidArgument(
                        "copy to %s: cannot hold referrers; use oci-archive:".formatted(location));
            }
            if (!(expected.document() instanceof Manifest manifest) || !manifest.isImage()) {
                throw ImageException.invalidArgument(
                        "copy to %s: holds the image of one platform and nothing else; use oci-archive:"
                                .formatted(location));
            }
            UnlockedLayers.refuseEncrypted("copy to " + location, manifest);
            image = manifest;
        }
        if (Files.exists(file)) {
            throw ImageException.alreadyExists(
                    "%s: exists already; choose another path or remove it".formatted(file));
        }
        try {
            FileChannel opened =
                    FileChannel.open(
                            partial, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
            channel = opened;
            OutputStream out =
                    new BufferedOutputStream(Channels.newOutputStream(opened), BUFFER_BYTES);
            tar = new TarArchiveOutputStream(out, "UTF-8");
            tar.setBigNumberMode(TarArchiveOutputStream.BIGNUMBER_POSIX);
        } catch (IOException e) {
            throw failed(e);
        }
    }

    private TarArchiveOutputStream tar() {
        TarArchiveOutputStream open = tar;
        if (open == null) {
            throw new IllegalStateException("not prepared");
        }
        return open;
    }

    private void begin(String name, long size) throws IOException {
        TarArchiveEntry entry = new TarArchiveEntry(name);
        entry.setSize(size);
        entry.setModTime(0);
        entry.setMode(0100644);
        entry.setIds(0, 0);
        tar().putArchiveEntry(entry);
    }

    private void write(String name, byte[] content) throws IOException {
        begin(name, content.length);
        tar().write(content);
        tar().closeArchiveEntry();
    }

    @Override
    public synchronized BlobOutcome blob(
            Descriptor blob, BlobSource source, List<Reference> mountFrom) throws ImageException {
        if (!written.add(blob.digest())) {
            return BlobOutcome.EXISTED;
        }
        try (BlobStream stream = source.open(0)) {
            begin(FileCopySource.layoutName(blob.digest()), blob.sizeBytes());
            byte[] bytes = new byte[BUFFER_BYTES];
            ByteBuffer buffer = ByteBuffer.wrap(bytes);
            for (int n = stream.read(buffer); n >= 0; n = stream.read(buffer.clear())) {
                tar().write(bytes, 0, n);
            }
            tar().closeArchiveEntry();
            return BlobOutcome.UPLOADED;
        } catch (IOException e) {
            throw failed(e);
        }
    }

    @Override
    public synchronized void manifest(Descriptor descriptor, Bytes content, List<Digest> children)
            throws ImageException {
        if (written.add(descriptor.digest())) {
            try {
                write(FileCopySource.layoutName(descriptor.digest()), content.toArray());
            } catch (IOException e) {
                throw failed(e);
            }
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
    public synchronized void finish(Descriptor target, Bytes content, List<Digest> children)
            throws ImageException {
        manifest(target, content, children);
        try {
            write(
                    "oci-layout",
                    "{\"imageLayoutVersion\":\"1.0.0\"}".getBytes(StandardCharsets.US_ASCII));
            write("index.json", index(target));
            Manifest single = image;
            if (single != null) {
                write("manifest.json", dockerManifest(single));
            }
            tar().finish();
            tar().flush();
            if (channel != null) {
                channel.force(false);
            }
            tar().close();
            Files.move(partial, file, StandardCopyOption.ATOMIC_MOVE);
        } catch (IOException e) {
            throw failed(e);
        }
    }

    private byte[] index(Descriptor target) throws ImageException {
        JsonWriter json =
                JsonWriter.compact()
                        .beginObject()
                        .member("schemaVersion", 2)
                        .member("mediaType", MediaType.OCI_INDEX)
                        .beginArray("manifests");
        new Descriptor(target.mediaType(), target.digest(), target.sizeBytes(), annotations())
                .write(json);
        for (Descriptor artifact : artifacts) {
            artifact.write(json);
        }
        return json.endArray().endObject().toBytes();
    }

    private Map<String, String> annotations() throws ImageException {
        if (location.name().isEmpty()) {
            return Map.of();
        }
        if (!docker) {
            return Map.of(Descriptor.REF_NAME, location.name().get());
        }
        Reference reference = Reference.parse(location.name().get());
        return Map.of(
                Descriptor.CONTAINERD_NAME,
                reference.toString(),
                Descriptor.REF_NAME,
                reference.tag().orElse(Reference.DEFAULT_TAG));
    }

    private byte[] dockerManifest(Manifest single) throws ImageException {
        List<String> layers = new ArrayList<>();
        single.imageLayers()
                .forEach(layer -> layers.add(FileCopySource.layoutName(layer.digest())));
        return JsonWriter.compact()
                .beginArray()
                .beginObject()
                .member("Config", FileCopySource.layoutName(single.config().digest()))
                .member("RepoTags", location.name().map(List::of).orElse(List.of()))
                .member("Layers", layers)
                .endObject()
                .endArray()
                .toBytes();
    }

    private ImageException failed(IOException e) {
        return CopyFailures.of("copy to " + location, e);
    }

    @Override
    public synchronized void close() throws ImageException {
        try {
            if (channel != null) {
                channel.close();
            }
            Files.deleteIfExists(partial);
        } catch (IOException e) {
            throw failed(e);
        }
    }
}
