package dev.imgd.content;

import dev.imgd.content.Database.Table;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.DigestMismatchException;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Text;
import java.io.File;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// [ContentStore] with a file per blob and [BlobRows] in the database.
///
/// A blob's file and its row change under a lock of its digest: a file that goes because nobody
/// needs it and the same blob coming back at that moment must not cross. Lock order: digest, then
/// database. A crash leaves, at worst, a file without a row, which the next start adopts.
final class FileContentStore implements ContentStore {
    private static final Logger LOG = LoggerFactory.getLogger(FileContentStore.class);
    private static final int LOCKS = 64;

    private final BlobPaths paths;
    private final RocksDatabase database;
    private final TrashBin trash;
    private final StoreOptions options;
    private final CleanMark clean;
    private final ReentrantLock[] locks = new ReentrantLock[LOCKS];
    private final Map<Path, FileIngest> open = new HashMap<>();
    private final java.util.Set<Path> claimed = ConcurrentHashMap.newKeySet();
    private final AtomicLong smallBlobs;
    private volatile @Nullable String bootId;

    FileContentStore(
            BlobPaths paths,
            RocksDatabase database,
            TrashBin trash,
            StoreOptions options,
            CleanMark clean) {
        this.paths = paths;
        this.database = database;
        this.trash = trash;
        this.options = options;
        this.clean = clean;
        this.smallBlobs = new AtomicLong(options.clock().millis());
        for (int i = 0; i < LOCKS; i++) {
            locks[i] = new ReentrantLock();
        }
    }

    private ReentrantLock lock(Digest digest) {
        return locks[Math.floorMod(digest.hashCode(), LOCKS)];
    }

    private Instant now() {
        return Instant.ofEpochMilli(options.clock().millis());
    }

    private ImageException notFound(String namespace, Digest digest) {
        return ImageException.notFound(
                "blob %s: not in namespace %s of store %s"
                        .formatted(digest, namespace, paths.root()));
    }

    @Override
    public BlobInfo info(String namespace, Digest digest) throws ImageException {
        return find(namespace, digest).orElseThrow(() -> notFound(namespace, digest));
    }

    @Override
    public Optional<BlobInfo> find(String namespace, Digest digest) throws ImageException {
        Names.requireNamespace(namespace);
        Optional<byte[]> row =
                database.get(Table.CONTENT, BlobRows.namespacePrefix(namespace) + digest);
        return row.isEmpty() ? Optional.empty() : Optional.of(BlobRows.info(digest, row.get()));
    }

    @Override
    public Optional<BlobInfo> findWhole(String namespace, Digest digest) throws ImageException {
        Optional<BlobInfo> found = find(namespace, digest);
        return found.isPresent() && hasFile(digest, found.get().sizeBytes())
                ? found
                : Optional.empty();
    }

    private boolean hasFile(Digest digest, long sizeBytes) throws ImageException {
        Path blob = paths.blob(digest);
        try {
            return Files.size(blob) == sizeBytes;
        } catch (NoSuchFileException e) {
            return false;
        } catch (IOException e) {
            throw Failures.of("read", blob, e);
        }
    }

    @Override
    public boolean recheck(Digest digest) throws ImageException {
        if (hasItsBytes(digest)) {
            return true;
        }
        ReentrantLock lock = lock(digest);
        lock.lock();
        try {
            if (hasItsBytes(digest)) {
                return true; // It was replaced meanwhile.
            }
            LOG.warn("the disk lost or changed a blob, it has to be fetched again: {}", digest);
            clean.drop();
            trash.take(digest);
            trash.emptyLater();
            return false;
        } finally {
            lock.unlock();
        }
    }

    private boolean hasItsBytes(Digest digest) {
        try {
            return StoreMaintenance.hash(digest, paths.blob(digest)).equals(digest);
        } catch (IOException e) {
            LOG.debug("blob cannot be read: digest={}", digest, e);
            return false;
        }
    }

    @Override
    public BlobInfo updateLabels(
            String namespace, Digest digest, Map<String, String> labels, List<String> keys)
            throws ImageException {
        Names.requireNamespace(namespace);
        Names.requireLabels(labels);
        return database.write(
                tx -> {
                    BlobInfo old = BlobRows.info(tx, namespace, digest);
                    if (old == null) {
                        throw notFound(namespace, digest);
                    }
                    Map<String, String> merged =
                            new HashMap<>(keys.isEmpty() ? labels : old.labels());
                    for (String key : keys) {
                        merged.put(key, labels.getOrDefault(key, ""));
                    }
                    merged.values().removeIf(String::isEmpty);
                    BlobInfo info =
                            new BlobInfo(digest, old.sizeBytes(), old.created(), now(), merged);
                    BlobRows.put(tx, namespace, info);
                    return info;
                });
    }

    @Override
    public void list(String namespace, Consumer<BlobInfo> visitor) throws ImageException {
        Names.requireNamespace(namespace);
        String prefix = BlobRows.namespacePrefix(namespace);
        database.read(
                view -> {
                    Rows.scan(
                            view,
                            Table.CONTENT,
                            prefix,
                            (key, row) -> {
                                Digest digest = Digest.parse(key.substring(prefix.length()));
                                visitor.accept(BlobRows.info(digest, row));
                            });
                    return null;
                });
    }

    @Override
    public boolean adopt(String namespace, Digest digest, Map<String, String> labels)
            throws ImageException {
        Names.requireNamespace(namespace);
        Names.requireLabels(labels);
        return database.write(
                tx -> {
                    BlobRows.Blob blob = BlobRows.blob(tx, digest);
                    if (blob == null || !hasFile(digest, blob.sizeBytes())) {
                        return false;
                    }
                    BlobRows.show(tx, namespace, digest, blob.sizeBytes(), labels, now());
                    return true;
                });
    }

    @Override
    public FileChannel open(Digest digest) throws IOException {
        try {
            return FileChannel.open(paths.blob(digest), StandardOpenOption.READ);
        } catch (NoSuchFileException e) {
            throw ImageException.notFound(
                    "blob %s: not in store %s".formatted(digest, paths.root()));
        } catch (IOException e) {
            throw Failures.of("open", paths.blob(digest), e);
        }
    }

    @Override
    public byte[] read(Digest digest, int maxBytes) throws ImageException {
        byte[] content;
        try (FileChannel channel = open(digest)) {
            long size = channel.size();
            if (size > maxBytes) {
                throw new ImageException(
                        ErrorKind.LIMIT_EXCEEDED,
                        "blob %s: wanted at most %d bytes, got %d"
                                .formatted(digest, maxBytes, size));
            }
            ByteBuffer buffer = ByteBuffer.allocate((int) size);
            BlobPaths.readFully(channel, buffer, 0);
            content = buffer.array();
        } catch (IOException e) {
            throw Failures.of("read", paths.blob(digest), e);
        }
        Digest got = digest.ofSameAlgorithm(content);
        if (!got.equals(digest)) {
            throw new DigestMismatchException(
                    "blob file %s, which a pull of its image replaces"
                            .formatted(paths.blob(digest)),
                    digest,
                    got,
                    content.length);
        }
        return content;
    }

    @Override
    public Path path(Digest digest) {
        return paths.blob(digest);
    }

    @Override
    public void delete(String namespace, Digest digest) throws ImageException {
        Names.requireNamespace(namespace);
        ReentrantLock lock = lock(digest);
        lock.lock();
        try {
            boolean gone =
                    database.write(
                            tx -> {
                                if (BlobRows.info(tx, namespace, digest) == null) {
                                    throw notFound(namespace, digest);
                                }
                                return BlobRows.hide(tx, namespace, digest);
                            });
            if (gone) {
                trash.take(digest);
                trash.emptyLater();
            }
        } finally {
            lock.unlock();
        }
    }

    /// Takes the file of a forgotten blob out of sight, unless the blob has come back.
    void discard(Digest digest) throws ImageException {
        ReentrantLock lock = lock(digest);
        lock.lock();
        try {
            if (database.get(Table.CONTENT, BlobRows.BLOBS + digest).isEmpty()) {
                trash.take(digest);
            }
        } finally {
            lock.unlock();
        }
    }

    /// Whether row and file of a blob are both there or both not, with no commit between the two.
    boolean agree(Digest digest) throws ImageException {
        ReentrantLock lock = lock(digest);
        lock.lock();
        try {
            return Files.exists(paths.blob(digest))
                    == database.get(Table.CONTENT, BlobRows.BLOBS + digest).isPresent();
        } finally {
            lock.unlock();
        }
    }

    @Override
    public Ingest ingest(String namespace, String ref, Optional<Descriptor> expected)
            throws ImageException {
        Names.requireNamespace(namespace);
        Names.requireName("ingest reference", ref);
        Path directory = paths.ingest(namespace, ref);
        if (!claimed.add(directory)) {
            throw ImageException.unavailable(
                    "ingest \"%s\": another writer has it; wait for it to end"
                            .formatted(Text.printable(ref, 200)),
                    null);
        }
        try {
            if (expected.isPresent() && findWhole(namespace, expected.get().digest()).isPresent()) {
                BlobPaths.deleteTree(directory);
                throw ImageException.alreadyExists(
                        "blob %s: already in namespace %s"
                                .formatted(expected.get().digest(), namespace));
            }
            FileIngest ingest = openIngest(namespace, ref, directory, expected);
            synchronized (open) {
                open.put(directory, ingest);
            }
            return ingest;
        } catch (IOException e) {
            claimed.remove(directory);
            throw Failures.of("open ingest", directory, e);
        } catch (RuntimeException e) {
            claimed.remove(directory);
            throw e;
        }
    }

    private FileIngest openIngest(
            String namespace, String ref, Path directory, Optional<Descriptor> expected)
            throws IOException {
        IngestState.Saved saved = IngestState.read(BlobPaths.ingestState(directory));
        if (saved == null) {
            BlobPaths.deleteTree(directory);
            BlobPaths.createDirectory(directory);
        }
        IngestState.Header old = saved == null ? null : saved.header();
        Optional<Digest> digest = expected.map(Descriptor::digest);
        IngestState.Header header =
                new IngestState.Header(
                        namespace,
                        ref,
                        old == null ? now() : old.started(),
                        expected.isPresent()
                                ? expected.get().sizeBytes()
                                : old == null ? 0 : old.totalBytes(),
                        digest.isPresent() || old == null ? digest : old.expected());
        Digest.Algorithm algorithm =
                header.expected().map(Digest::algorithm).orElse(Digest.Algorithm.SHA256);
        try {
            requireSpace(directory, header.totalBytes() - (saved == null ? 0 : size(directory)));
        } catch (ImageException e) {
            if (saved == null) {
                BlobPaths.deleteTree(directory);
            }
            throw e;
        }
        return new FileIngest(this, directory, header, saved, algorithm, boot(), options.clock());
    }

    private static long size(Path ingest) throws IOException {
        try {
            return Files.size(BlobPaths.ingestData(ingest));
        } catch (NoSuchFileException e) {
            return 0;
        }
    }

    private String boot() {
        String id = bootId;
        if (id == null) {
            id = IngestState.bootId();
            bootId = id;
        }
        return id;
    }

    /// Refuses early what cannot fit, before anything is downloaded.
    private void requireSpace(Path directory, long wantedBytes) throws ImageException {
        if (wantedBytes <= 0) {
            return;
        }
        File place = directory.toFile();
        long free = place.getUsableSpace();
        long reserve =
                options.minFreeRatio() == 0
                        ? 0
                        : (long) (place.getTotalSpace() * options.minFreeRatio());
        if (free - reserve < wantedBytes) {
            throw new ImageException(
                    ErrorKind.NO_SPACE,
                    "store %s: wanted %d bytes, got %d free with %d to keep free; run imgctl gc"
                            .formatted(paths.root(), wantedBytes, free, reserve));
        }
    }

    /// The ingest of the directory has no writer any more.
    void released(Path directory) {
        synchronized (open) {
            open.remove(directory);
        }
        claimed.remove(directory);
    }

    /// Makes a verified and synced file the blob of its digest, and the blob visible.
    ///
    /// A file without a row may be a leftover of a crash; the new one, just verified, replaces it.
    BlobInfo publish(
            String namespace,
            Digest digest,
            long sizeBytes,
            Path file,
            Map<String, String> labels,
            List<Digest> references)
            throws IOException {
        Names.requireLabels(labels);
        clean.drop();
        ReentrantLock lock = lock(digest);
        lock.lock();
        try {
            Path blob = paths.blob(digest);
            if (!isWhole(digest, sizeBytes, blob)) {
                Path directory = paths.blobs(digest.algorithm());
                if (BlobPaths.createDirectory(directory)) {
                    BlobPaths.syncDirectory(paths.blobs());
                }
                Files.move(file, blob, StandardCopyOption.ATOMIC_MOVE);
                BlobPaths.syncDirectory(directory);
            }
            return database.write(
                    tx -> {
                        BlobInfo info =
                                BlobRows.show(tx, namespace, digest, sizeBytes, labels, now());
                        if (!references.isEmpty()) {
                            BlobRows.refer(tx, digest, references);
                        }
                        return info;
                    });
        } finally {
            lock.unlock();
        }
    }

    private boolean isWhole(Digest digest, long sizeBytes, Path blob) throws IOException {
        Optional<byte[]> row = database.get(Table.CONTENT, BlobRows.BLOBS + digest);
        if (row.isEmpty() || BlobRows.blob(digest, row.get()).sizeBytes() != sizeBytes) {
            return false;
        }
        try {
            return Files.size(blob) == sizeBytes;
        } catch (NoSuchFileException e) {
            return false;
        }
    }

    @Override
    public BlobInfo write(
            String namespace,
            Digest digest,
            byte[] content,
            Map<String, String> labels,
            List<Digest> references)
            throws ImageException {
        Names.requireNamespace(namespace);
        Names.requireLabels(labels);
        BlobInfo existing = showExisting(namespace, digest, content, labels, references);
        if (existing != null) {
            return existing;
        }
        Digest got = digest.ofSameAlgorithm(content);
        if (!got.equals(digest)) {
            throw new DigestMismatchException(
                    "blob of " + content.length + " bytes", digest, got, content.length);
        }
        Path file = paths.smallBlob(smallBlobs.getAndIncrement());
        try {
            if (Files.exists(paths.blob(digest))) {
                recheck(digest);
            }
            requireSpace(paths.ingests(), content.length);
            BlobPaths.writeDurably(file, content);
            BlobPaths.makeReadOnly(file);
            return publish(namespace, digest, content.length, file, labels, references);
        } catch (IOException e) {
            throw Failures.of("write", file, e);
        } finally {
            file.toFile().delete();
        }
    }

    private @Nullable BlobInfo showExisting(
            String namespace,
            Digest digest,
            byte[] content,
            Map<String, String> labels,
            List<Digest> references)
            throws ImageException {
        if (database.get(Table.CONTENT, BlobRows.BLOBS + digest).isEmpty()
                || !holds(digest, content)) {
            return null;
        }
        return database.write(
                tx -> {
                    BlobRows.Blob blob = BlobRows.blob(tx, digest);
                    if (blob == null) {
                        return null;
                    }
                    if (!references.isEmpty()) {
                        BlobRows.refer(tx, digest, references);
                    }
                    return BlobRows.show(tx, namespace, digest, blob.sizeBytes(), labels, now());
                });
    }

    private boolean holds(Digest digest, byte[] content) {
        Path blob = paths.blob(digest);
        try {
            return Files.size(blob) == content.length
                    && Arrays.equals(Files.readAllBytes(blob), content);
        } catch (IOException e) {
            LOG.debug("blob cannot be read: digest={}", digest, e);
            return false;
        }
    }

    @Override
    public void references(Digest from, List<Digest> to) throws ImageException {
        database.write(
                tx -> {
                    BlobRows.refer(tx, from, to);
                    return null;
                });
    }

    @Override
    public List<IngestStatus> ingests(String namespace) throws ImageException {
        Names.requireNamespace(namespace);
        List<IngestStatus> statuses = new ArrayList<>();
        for (FoundIngest found : findIngests()) {
            if (found.namespace.equals(namespace)) {
                statuses.add(found.status);
            }
        }
        return statuses;
    }

    /// An ingest on disk.
    ///
    /// @param active whether a writer has it
    record FoundIngest(Path directory, String namespace, IngestStatus status, boolean active) {}

    /// All ingests of all namespaces; directories that are none are left out.
    List<FoundIngest> findIngests() throws ImageException {
        List<FoundIngest> found = new ArrayList<>();
        try (var directories = Files.newDirectoryStream(paths.ingests())) {
            for (Path directory : directories) {
                FoundIngest ingest =
                        BlobPaths.isSmallBlob(directory) ? null : findIngest(directory);
                if (ingest != null) {
                    found.add(ingest);
                }
            }
        } catch (IOException e) {
            throw Failures.of("list", paths.ingests(), e);
        } catch (DirectoryIteratorException e) {
            throw Failures.of("list", paths.ingests(), e);
        }
        return found;
    }

    private @Nullable FoundIngest findIngest(Path directory) throws IOException {
        FileIngest active;
        synchronized (open) {
            active = open.get(directory);
        }
        if (active != null) {
            return new FoundIngest(directory, active.header().namespace(), active.status(), true);
        }
        try {
            IngestState.Saved saved = IngestState.read(BlobPaths.ingestState(directory));
            return saved == null
                    ? null
                    : new FoundIngest(
                            directory,
                            saved.header().namespace(),
                            status(directory, saved),
                            claimed.contains(directory));
        } catch (NoSuchFileException e) {
            return null; // It ended meanwhile.
        }
    }

    private static IngestStatus status(Path directory, IngestState.Saved saved) throws IOException {
        IngestState.Header header = saved.header();
        long size = size(directory);
        Path data = BlobPaths.ingestData(directory);
        Instant modified =
                Files.exists(data) ? Files.getLastModifiedTime(data).toInstant() : header.started();
        IngestState.Checkpoint point = saved.checkpoint();
        Instant updated = point == null || point.offset() != size ? modified : point.updated();
        return new IngestStatus(
                header.ref(),
                size,
                header.totalBytes(),
                header.expected(),
                header.started(),
                updated);
    }

    @Override
    public void abort(String namespace, String ref) throws ImageException {
        Names.requireNamespace(namespace);
        Path directory = paths.ingest(namespace, ref);
        if (!claimed.add(directory)) {
            throw ImageException.unavailable(
                    "ingest \"%s\": a writer has it; end it first"
                            .formatted(Text.printable(ref, 200)),
                    null);
        }
        try {
            if (!Files.isDirectory(directory)) {
                throw ImageException.notFound(
                        "ingest \"%s\": not in namespace %s of store %s"
                                .formatted(Text.printable(ref, 200), namespace, paths.root()));
            }
            BlobPaths.deleteTree(directory);
        } catch (IOException e) {
            throw Failures.of("abort", directory, e);
        } finally {
            claimed.remove(directory);
        }
    }

    /// Drops an ingest that has no writer.
    ///
    /// @return false when a writer has it
    boolean drop(Path directory) throws ImageException {
        if (!claimed.add(directory)) {
            return false;
        }
        try {
            BlobPaths.deleteTree(directory);
            return true;
        } catch (IOException e) {
            throw Failures.of("drop", directory, e);
        } finally {
            claimed.remove(directory);
        }
    }

    /// Drops what no writer will go on with: ingests that were not touched for
    /// [StoreOptions#ingestTtl], those whose blob was published before their writer was killed, and
    /// debris that is no ingest. For use before the store is handed out.
    ///
    /// @return how many
    int dropDead() throws ImageException {
        Instant oldest = options.clock().instant().minus(options.ingestTtl());
        int dropped = 0;
        try (var entries = Files.newDirectoryStream(paths.ingests())) {
            for (Path entry : entries) {
                if (isDead(entry, oldest) && drop(entry)) {
                    dropped++;
                }
            }
        } catch (IOException e) {
            throw Failures.of("clean", paths.ingests(), e);
        } catch (DirectoryIteratorException e) {
            throw Failures.of("clean", paths.ingests(), e);
        }
        return dropped;
    }

    private boolean isDead(Path entry, Instant oldest) throws IOException {
        Path data = BlobPaths.ingestData(entry);
        if (BlobPaths.isSmallBlob(entry) || !Files.exists(data)) {
            return true; // The bytes became a blob, or there never were any.
        }
        if (Files.getLastModifiedTime(data).toInstant().isBefore(oldest)) {
            return true;
        }
        IngestState.Saved saved = IngestState.read(BlobPaths.ingestState(entry));
        if (saved == null) {
            return true; // Nobody can tell whose bytes these are.
        }
        Optional<Digest> expected = saved.header().expected();
        return expected.isPresent()
                && findWhole(saved.header().namespace(), expected.get()).isPresent();
    }
}
