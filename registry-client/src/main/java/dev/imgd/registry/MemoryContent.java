package dev.imgd.registry;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;

import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentSkipListMap;

/// Content in memory. Blobs are shared by all repositories; manifests and tags are each
/// repository's own. Nothing is checked: tests put hostile content here. Safe for use by many
/// threads.
public final class MemoryContent implements RegistryContent {
    private static final class Repository {
        final Map<Digest, StoredManifest> manifests = new ConcurrentHashMap<>();
        final Map<String, Digest> tags = new ConcurrentSkipListMap<>();
    }

    private static final class MemoryBlob implements StoredBlob {
        private final byte[] content;

        MemoryBlob(byte[] content) {
            this.content = content.clone();
        }

        @Override
        public long sizeBytes() {
            return content.length;
        }

        @Override
        public InputStream open(long offset) {
            int from = Math.toIntExact(offset);
            return new ByteArrayInputStream(content, from, content.length - from);
        }
    }

    private final Map<Digest, MemoryBlob> blobs = new ConcurrentHashMap<>();
    private final Map<String, Repository> repositories = new ConcurrentHashMap<>();

    /// Stores a blob under its SHA-256 digest.
    public Digest putBlob(byte[] content) {
        Digest digest = Digest.sha256(content);
        putBlob(digest, content);
        return digest;
    }

    /// Stores a blob under the digest given, which may be a wrong one.
    public void putBlob(Digest digest, byte[] content) {
        blobs.put(digest, new MemoryBlob(content));
    }

    /// Stores a manifest under its SHA-256 digest.
    ///
    /// @param tags names for it, possibly none
    public Descriptor putManifest(
            String repository, String mediaType, Bytes content, String... tags) {
        Digest digest = content.sha256();
        putManifest(repository, mediaType, digest, content, tags);
        return new Descriptor(mediaType, digest, content.size());
    }

    /// Stores a manifest under the digest given, which may be a wrong one.
    public void putManifest(
            String repository, String mediaType, Digest digest, Bytes content, String... tags) {
        Repository into = repositories.computeIfAbsent(repository, _ -> new Repository());
        into.manifests.put(digest, new StoredManifest(mediaType, digest, content));
        for (String tag : tags) {
            into.tags.put(tag, digest);
        }
    }

    @Override
    public Optional<StoredManifest> manifest(String repository, String reference) {
        Repository from = repositories.get(repository);
        if (from == null) {
            return Optional.empty();
        }
        Digest digest;
        if (reference.indexOf(':') >= 0) {
            try {
                digest = Digest.parse(reference);
            } catch (ImageException e) {
                return Optional.empty();
            }
        } else {
            digest = from.tags.get(reference);
        }
        return digest == null ? Optional.empty() : Optional.ofNullable(from.manifests.get(digest));
    }

    @Override
    public Optional<StoredBlob> blob(String repository, Digest digest) {
        return Optional.ofNullable(blobs.get(digest));
    }

    @Override
    public List<String> tags(String repository) {
        Repository from = repositories.get(repository);
        return from == null ? List.of() : List.copyOf(from.tags.keySet());
    }
}
