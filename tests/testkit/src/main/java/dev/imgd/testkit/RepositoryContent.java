package dev.imgd.testkit;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.registry.RegistryContent;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentSkipListMap;

/// What an [InMemoryRegistry] stores. A blob belongs to the repositories that it was pushed to or
/// mounted in, or to all of them. Nothing is checked: tests put hostile content here. Safe for use
/// by many threads.
public final class RepositoryContent implements RegistryContent {
    private static final class Repository {
        final Map<Digest, StoredBlob> blobs = new ConcurrentHashMap<>();
        final Map<Digest, StoredManifest> manifests = new ConcurrentSkipListMap<>();
        final Map<String, Digest> tags = new ConcurrentSkipListMap<>();
    }

    private final Map<Digest, StoredBlob> everywhere = new ConcurrentHashMap<>();
    private final Map<String, Repository> repositories = new ConcurrentSkipListMap<>();

    RepositoryContent() {}

    /// Stores a blob of all repositories under its SHA-256 digest.
    public Digest putBlob(byte[] content) {
        Digest digest = Digest.sha256(content);
        putBlob(digest, content);
        return digest;
    }

    /// Stores a blob of all repositories under the digest given, which may be a wrong one.
    public void putBlob(Digest digest, byte[] content) {
        everywhere.put(digest, StoredBlob.of(content.clone()));
    }

    /// Stores a blob of one repository under the digest given, which may be a wrong one.
    public void putBlob(String repository, Digest digest, byte[] content) {
        repository(repository).blobs.put(digest, StoredBlob.of(content.clone()));
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
        Repository into = repository(repository);
        into.manifests.put(digest, new StoredManifest(mediaType, digest, content));
        for (String tag : tags) {
            into.tags.put(tag, digest);
        }
    }

    /// Makes a blob of one repository, or of any when `from` is empty, one of another.
    ///
    /// @return whether there was one
    boolean mount(Optional<String> from, Digest digest, String into) {
        StoredBlob found = everywhere.get(digest);
        for (Map.Entry<String, Repository> source : repositories.entrySet()) {
            if (found == null && (from.isEmpty() || from.get().equals(source.getKey()))) {
                found = source.getValue().blobs.get(digest);
            }
        }
        if (found == null) {
            return false;
        }
        repository(into).blobs.put(digest, found);
        return true;
    }

    /// @return whether there was one
    public boolean deleteBlob(String repository, Digest digest) {
        Repository from = repositories.get(repository);
        boolean own = from != null && from.blobs.remove(digest) != null;
        return everywhere.remove(digest) != null || own;
    }

    /// Deletes a manifest with the tags that name it.
    ///
    /// @return whether there was one
    public boolean deleteManifest(String repository, Digest digest) {
        Repository from = repositories.get(repository);
        if (from == null || from.manifests.remove(digest) == null) {
            return false;
        }
        from.tags.values().removeIf(digest::equals);
        return true;
    }

    /// @return whether there was one
    public boolean deleteTag(String repository, String tag) {
        Repository from = repositories.get(repository);
        return from != null && from.tags.remove(tag) != null;
    }

    /// All repositories that anything was ever pushed to, sorted.
    public List<String> repositories() {
        return List.copyOf(repositories.keySet());
    }

    boolean exists(String repository) {
        return repositories.containsKey(repository);
    }

    /// The manifests of a repository in the order of their digests.
    public List<StoredManifest> manifests(String repository) {
        Repository from = repositories.get(repository);
        return from == null ? List.of() : List.copyOf(from.manifests.values());
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
        Repository from = repositories.get(repository);
        StoredBlob own = from == null ? null : from.blobs.get(digest);
        return Optional.ofNullable(own == null ? everywhere.get(digest) : own);
    }

    @Override
    public List<String> tags(String repository) {
        Repository from = repositories.get(repository);
        return from == null ? List.of() : List.copyOf(from.tags.keySet());
    }

    private Repository repository(String name) {
        return repositories.computeIfAbsent(name, _ -> new Repository());
    }
}
