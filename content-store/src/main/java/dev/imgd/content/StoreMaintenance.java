package dev.imgd.content;

import dev.imgd.content.Database.Table;
import dev.imgd.content.Database.Transaction;
import dev.imgd.content.Database.View;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.function.LongConsumer;
import org.jspecify.annotations.Nullable;

/// [Maintenance] of one store.
final class StoreMaintenance implements Maintenance {
    private final BlobPaths paths;
    private final RocksDatabase database;
    private final FileContentStore content;
    private final TrashBin trash;

    StoreMaintenance(
            BlobPaths paths, RocksDatabase database, FileContentStore content, TrashBin trash) {
        this.paths = paths;
        this.database = database;
        this.content = content;
        this.trash = trash;
    }

    private static StoredBlob stored(BlobRows.Blob blob) {
        return new StoredBlob(blob.digest(), blob.sizeBytes(), blob.created(), blob.namespaces());
    }

    @Override
    public void blobs(View view, Consumer<StoredBlob> visitor) throws ImageException {
        Rows.scan(
                view,
                Table.CONTENT,
                BlobRows.BLOBS,
                (key, row) -> {
                    Digest digest = Digest.parse(key.substring(BlobRows.BLOBS.length()));
                    visitor.accept(stored(BlobRows.blob(digest, row)));
                });
    }

    @Override
    public Optional<StoredBlob> blob(View view, Digest digest) throws ImageException {
        return Optional.ofNullable(BlobRows.blob(view, digest)).map(StoreMaintenance::stored);
    }

    @Override
    public void images(View view, Consumer<ImageRecord> visitor) throws ImageException {
        ImageTable.scan(view, "", visitor);
    }

    @Override
    public void leases(View view, Consumer<LeaseStore.Lease> visitor) throws ImageException {
        LeaseTable.scan(view, "", visitor);
    }

    @Override
    public void edges(View view, boolean bySource, EdgeVisitor visitor) throws ImageException {
        ((RocksDatabase.RocksView) view).edges(bySource, visitor);
    }

    @Override
    public void counts(View view, CountVisitor visitor) throws ImageException {
        ((RocksDatabase.RocksView) view).counts(visitor);
    }

    @Override
    public void forgetBlob(Transaction tx, Digest digest) throws ImageException {
        BlobRows.forget(tx, digest);
    }

    @Override
    public boolean endExpiredLease(Transaction tx, String namespace, String id, Instant now)
            throws ImageException {
        LeaseStore.Lease lease = LeaseTable.find(tx, namespace, id);
        return lease != null && !lease.expires().isAfter(now) && LeaseTable.end(tx, namespace, id);
    }

    @Override
    public void recount(Transaction tx, NodeId node) throws ImageException {
        ((RocksDatabase.RocksTransaction) tx).recount(node);
    }

    @Override
    public void discard(Collection<Digest> digests) throws ImageException {
        for (Digest digest : digests) {
            content.discard(digest);
        }
    }

    @Override
    public void onUnreferenced(Runnable listener) {
        database.onUnreferenced(listener);
    }

    @Override
    public long emptyTrash(LongConsumer pace) throws ImageException {
        return trash.empty(pace);
    }

    @Override
    public List<StoredIngest> ingests() throws ImageException {
        List<StoredIngest> ingests = new ArrayList<>();
        for (FileContentStore.FoundIngest found : content.findIngests()) {
            ingests.add(new StoredIngest(found.namespace(), found.status(), found.active()));
        }
        return ingests;
    }

    @Override
    public boolean dropIngest(String namespace, String ref) throws ImageException {
        return content.drop(paths.ingest(namespace, ref));
    }

    @Override
    public List<String> checkFiles(boolean rehash) throws ImageException {
        Map<Digest, Long> files = new TreeMap<>();
        forEachFile(
                paths,
                (digest, file) -> {
                    try {
                        files.put(digest, Files.size(file));
                    } catch (NoSuchFileException e) {
                        return; // Deleted meanwhile; its row tells whether that was right.
                    }
                });
        List<String> findings = new ArrayList<>();
        List<StoredBlob> rows = new ArrayList<>();
        database.read(
                view -> {
                    blobs(view, rows::add);
                    return null;
                });
        for (StoredBlob row : rows) {
            Path file = paths.blob(row.digest());
            Long size = files.remove(row.digest());
            if (size == null && !Files.exists(file)) {
                if (!content.agree(row.digest())) {
                    findings.add("blob %s: it has a row but no file".formatted(row.digest()));
                }
            } else if (size != null && size != row.sizeBytes()) {
                findings.add(
                        "blob %s: wanted %d bytes, the file has %d"
                                .formatted(row.digest(), row.sizeBytes(), size));
            } else if (rehash) {
                check(row.digest(), file, findings);
            }
        }
        for (Digest digest : files.keySet()) {
            if (!content.agree(digest)) {
                findings.add("blob %s: it has a file but no row".formatted(digest));
            }
        }
        return findings;
    }

    private static void check(Digest digest, Path file, List<String> findings)
            throws ImageException {
        try {
            Digest got = hash(digest, file);
            if (!got.equals(digest)) {
                findings.add(
                        "blob %s: its bytes are damaged, they hash to %s".formatted(digest, got));
            }
        } catch (NoSuchFileException e) {
            return; // Deleted meanwhile.
        } catch (IOException e) {
            findings.add("blob %s: it cannot be read: %s".formatted(digest, e.getMessage()));
        }
    }

    /// The digest of a file's bytes, with the algorithm of `like`.
    static Digest hash(Digest like, Path file) throws IOException {
        try (var channel = java.nio.channels.FileChannel.open(file);
                BlobHasher hasher = BlobHasher.start(like.algorithm())) {
            var buffer = java.nio.ByteBuffer.allocateDirect(256 << 10);
            while (channel.read(buffer.clear()) >= 0) {
                hasher.update(buffer.flip());
            }
            return hasher.digest();
        }
    }

    /// Receives a blob file.
    @FunctionalInterface
    interface FileVisitor {
        void visit(Digest digest, Path file) throws IOException;
    }

    /// Calls `visitor` with each file in `blobs/` whose name is a digest.
    static void forEachFile(BlobPaths paths, FileVisitor visitor) throws ImageException {
        for (Digest.Algorithm algorithm : Digest.Algorithm.values()) {
            Path directory = paths.blobs(algorithm);
            if (!Files.isDirectory(directory)) {
                continue;
            }
            try (var files = Files.newDirectoryStream(directory)) {
                for (Path file : files) {
                    @Nullable Digest digest = BlobPaths.digestOf(file).orElse(null);
                    if (digest != null) {
                        visitor.visit(digest, file);
                    }
                }
            } catch (IOException e) {
                throw Failures.of("list", directory, e);
            } catch (DirectoryIteratorException e) {
                throw Failures.of("list", directory, e);
            }
        }
    }
}
