package dev.imgd.registry;

import dev.imgd.model.Bytes;
import dev.imgd.model.Digest;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/// What an [EmbeddedRegistry] serves. Implementations are safe for use by many threads.
public interface RegistryContent {
    /// A manifest or index.
    record StoredManifest(String mediaType, Digest digest, Bytes content) {}

    /// A blob that is there.
    interface StoredBlob {
        long sizeBytes();

        /// Opens the bytes from `offset` on; the caller closes the stream.
        ///
        /// @param offset 0 to the size
        InputStream open(long offset) throws IOException;

        /// A blob in memory.
        ///
        /// @param content not copied
        static StoredBlob of(byte[] content) {
            return new StoredBlob() {
                @Override
                public long sizeBytes() {
                    return content.length;
                }

                @Override
                public InputStream open(long offset) {
                    int from = Math.toIntExact(offset);
                    return new ByteArrayInputStream(content, from, content.length - from);
                }
            };
        }
    }

    /// @param reference a tag or a digest
    Optional<StoredManifest> manifest(String repository, String reference) throws IOException;

    Optional<StoredBlob> blob(String repository, Digest digest) throws IOException;

    /// The tags of a repository, sorted; empty when there is no such repository.
    List<String> tags(String repository) throws IOException;

    /// An OCI image layout directory. Every repository name shows the same content, and the tags
    /// are the `org.opencontainers.image.ref.name` annotations of `index.json`. What is served is
    /// not verified: that is the client's task. **Source:** OCI image-spec v1.1, image-layout.md.
    static RegistryContent layout(Path directory) {
        return new LayoutContent(directory);
    }
}
