package dev.imgd.registry;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.Index;
import dev.imgd.model.ManifestDocument;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.TreeSet;

/// An OCI image layout directory, read at each request.
final class LayoutContent implements RegistryContent {

    private final Path directory;

    LayoutContent(Path directory) {
        this.directory = directory;
    }

    @Override
    public Optional<StoredManifest> manifest(String repository, String reference)
            throws IOException {
        if (reference.indexOf(':') >= 0) {
            return manifest(Digest.parse(reference));
        }
        for (Descriptor descriptor : index().manifests()) {
            if (reference.equals(descriptor.annotations().get(Descriptor.REF_NAME))) {
                return manifest(descriptor.digest());
            }
        }
        return Optional.empty();
    }

    private Optional<StoredManifest> manifest(Digest digest) throws IOException {
        Path file = path(digest);
        if (!Files.isRegularFile(file)) {
            return Optional.empty();
        }
        Bytes content = Bytes.of(Files.readAllBytes(file));
        try {
            String type =
                    ManifestDocument.parse(file.toString(), content, Optional.empty()).mediaType();
            return Optional.of(new StoredManifest(type, digest, content));
        } catch (ImageException e) {
            return Optional.empty(); // a blob of another kind
        }
    }

    @Override
    public Optional<StoredBlob> blob(String repository, Digest digest) {
        Path file = path(digest);
        return Files.isRegularFile(file) ? Optional.of(new FileBlob(file)) : Optional.empty();
    }

    private record FileBlob(Path file) implements StoredBlob {
        @Override
        public long sizeBytes() {
            return file.toFile().length();
        }

        @Override
        public InputStream open(long offset) throws IOException {
            InputStream in = Files.newInputStream(file);
            try {
                in.skipNBytes(offset);
                return in;
            } catch (IOException e) {
                in.close();
                throw e;
            }
        }
    }

    @Override
    public List<String> tags(String repository) throws IOException {
        TreeSet<String> tags = new TreeSet<>();
        for (Descriptor descriptor : index().manifests()) {
            String tag = descriptor.annotations().get(Descriptor.REF_NAME);
            if (tag != null) {
                tags.add(tag);
            }
        }
        return List.copyOf(tags);
    }

    private Index index() throws IOException {
        Path file = directory.resolve("index.json");
        return Index.parse(file.toString(), Bytes.of(Files.readAllBytes(file)), Optional.empty());
    }

    private Path path(Digest digest) {
        return directory.resolve("blobs").resolve(digest.algorithm().label()).resolve(digest.hex());
    }
}
