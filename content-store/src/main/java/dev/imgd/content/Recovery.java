package dev.imgd.content;

import dev.imgd.content.Database.Table;
import dev.imgd.content.Database.Transaction;
import dev.imgd.content.RefJournal.LeaseEntry;
import dev.imgd.content.RefJournal.Name;
import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.Index;
import dev.imgd.model.Manifest;
import dev.imgd.model.ManifestDocument;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Brings database, journal and files together again after a crash, or makes a new database from
/// the other two. Every step may be repeated. Runs before the store is handed out.
final class Recovery {
    private static final Logger LOG = LoggerFactory.getLogger(Recovery.class);
    private static final String REBUILDING = "content.rebuilding";
    private static final int MAX_DOCUMENT_BYTES = 4 << 20;
    private static final int BATCH = 256;

    private final BlobPaths paths;
    private final RocksDatabase database;
    private final RefJournal journal;
    private final TrashBin trash;

    Recovery(BlobPaths paths, RocksDatabase database, RefJournal journal, TrashBin trash) {
        this.paths = paths;
        this.database = database;
        this.journal = journal;
        this.trash = trash;
    }

    /// Whether a rebuild was begun and not ended.
    static boolean isRebuilding(RocksDatabase database) throws ImageException {
        return database.get(Table.META, REBUILDING).isPresent();
    }

    /// The number of the last journal entry that the database knows.
    static long lastEntry(RocksDatabase database) throws ImageException {
        return database.read(
                view -> ((RocksDatabase.RocksView) view).sequence(RocksDatabase.JOURNAL_SEQUENCE));
    }

    /// Makes the index anew from blobs and journal. Labels of blobs and everything about snapshots
    /// are lost; names, leases and what they hold are not.
    void rebuild() throws ImageException {
        long start = System.nanoTime();
        database.write(
                tx -> {
                    tx.put(Table.META, REBUILDING, new byte[0]);
                    return null;
                });
        int blobs = addFiles(files(), false);
        restoreJournal();
        showReachable();
        database.write(
                tx -> {
                    tx.delete(Table.META, REBUILDING);
                    return null;
                });
        LOG.warn(
                "database rebuilt from files: blobs={} images={} duration_ms={}",
                blobs,
                count(Table.IMAGES),
                (System.nanoTime() - start) / 1_000_000);
    }

    /// Repairs what a crash between two steps leaves behind.
    ///
    /// @return whether the database had lost names
    boolean reconcile() throws ImageException {
        boolean behind = restoreJournal();
        Map<Digest, Path> files = files();
        List<Digest> lost = new ArrayList<>();
        database.read(
                view -> {
                    Rows.scan(
                            view,
                            Table.CONTENT,
                            BlobRows.BLOBS,
                            (key, _) -> {
                                Digest digest =
                                        Digest.parse(key.substring(BlobRows.BLOBS.length()));
                                if (files.remove(digest) == null) {
                                    lost.add(digest);
                                }
                            });
                    return null;
                });
        if (!lost.isEmpty()) {
            database.write(
                    tx -> {
                        for (Digest digest : lost) {
                            LOG.error(
                                    "blob has no file any more, its row is dropped: digest={};"
                                            + " images that need it have to be pulled again",
                                    digest);
                            BlobRows.forget(tx, digest);
                        }
                        return null;
                    });
        }
        if (!files.isEmpty()) {
            LOG.info("blobs without a row adopted: count={}", addFiles(files, true));
        }
        if (behind) {
            // Edges may be lost although the rows of their blobs are not.
            addFiles(files(), false);
        }
        if (behind || !files.isEmpty()) {
            showReachable();
        }
        return behind;
    }

    /// Brings database and journal together after the disk was full. The journal is written anew:
    /// what a disk refused to sync once cannot be trusted later.
    void agreeAgain() throws ImageException {
        restoreJournal();
        rewriteJournal();
    }

    private long count(Table table) throws ImageException {
        long[] rows = {0};
        database.read(
                view -> {
                    view.scan(
                            table,
                            "",
                            (_, _) -> {
                                rows[0]++;
                                return true;
                            });
                    return null;
                });
        return rows[0];
    }

    private Map<Digest, Path> files() throws ImageException {
        Map<Digest, Path> files = new TreeMap<>();
        StoreMaintenance.forEachFile(paths, files::put);
        return files;
    }

    private record Found(Digest digest, long sizeBytes, Instant created, List<Digest> references) {}

    /// Adds rows for files, and edges for those that are manifests.
    ///
    /// @param rehash whether to read large files too; documents are always read
    private int addFiles(Map<Digest, Path> files, boolean rehash) throws ImageException {
        List<Found> batch = new ArrayList<>();
        int added = 0;
        for (Map.Entry<Digest, Path> entry : files.entrySet()) {
            Optional<Found> found = inspect(entry.getKey(), entry.getValue(), rehash);
            if (found.isPresent()) {
                batch.add(found.get());
                added++;
            }
            if (batch.size() == BATCH) {
                add(batch);
                batch.clear();
            }
        }
        add(batch);
        return added;
    }

    private void add(List<Found> batch) throws ImageException {
        if (batch.isEmpty()) {
            return;
        }
        List<Found> found = List.copyOf(batch);
        database.write(
                tx -> {
                    for (Found blob : found) {
                        BlobRows.add(tx, blob.digest, blob.sizeBytes, blob.created);
                        if (!blob.references.isEmpty()) {
                            BlobRows.refer(tx, blob.digest, blob.references);
                        }
                    }
                    return null;
                });
    }

    private Optional<Found> inspect(Digest digest, Path file, boolean rehash)
            throws ImageException {
        try {
            long size = Files.size(file);
            Instant created = Files.getLastModifiedTime(file).toInstant();
            List<Digest> references = List.of();
            boolean intact = true;
            if (size <= MAX_DOCUMENT_BYTES) {
                byte[] bytes = Files.readAllBytes(file);
                intact = digest.ofSameAlgorithm(bytes).equals(digest);
                references = intact ? referencesOf(bytes) : references;
            } else if (rehash) {
                intact = StoreMaintenance.hash(digest, file).equals(digest);
            }
            if (!intact) {
                LOG.error("blob file is damaged and removed: digest={}", digest);
                trash.take(digest);
                return Optional.empty();
            }
            return Optional.of(new Found(digest, size, created, references));
        } catch (IOException e) {
            throw Failures.of("read blob", file, e);
        }
    }

    /// What a manifest or an index refers to; empty for anything else.
    private static List<Digest> referencesOf(byte[] bytes) {
        if (bytes.length == 0 || bytes[0] != '{') {
            return List.of();
        }
        List<Digest> references = new ArrayList<>();
        try {
            switch (ManifestDocument.parse("blob", Bytes.of(bytes), Optional.empty())) {
                case Manifest manifest -> {
                    references.add(manifest.config().digest());
                    for (Descriptor layer : manifest.layers()) {
                        references.add(layer.digest());
                    }
                }
                case Index index -> {
                    for (Descriptor child : index.manifests()) {
                        references.add(child.digest());
                    }
                }
            }
        } catch (ImageException notADocument) {
            return List.of(); // Any JSON may be a blob; configs are the common case.
        }
        return references;
    }

    /// Makes database and journal say the same. The one that is ahead wins: what only it knows was
    /// written last, and may have been acknowledged.
    ///
    /// @return whether the database was behind
    private boolean restoreJournal() throws ImageException {
        RefJournal.State state = journal.read();
        long known = lastEntry(database);
        if (state.damaged()) {
            LOG.error("journal {} is damaged, what could be read is kept", paths.journal());
        }
        boolean behind = state.last() > known;
        if (behind) {
            database.write(
                    tx -> {
                        apply(tx, state);
                        ((RocksDatabase.RocksTransaction) tx).journalAt(state.last());
                        return null;
                    });
        }
        if (state.damaged() || state.last() < known) {
            rewriteJournal();
        } else {
            journal.resumeAt(state);
        }
        return behind;
    }

    private static void apply(Transaction tx, RefJournal.State state) throws ImageException {
        if (!state.damaged()) {
            List<ImageRecord> images = new ArrayList<>();
            ImageTable.scan(tx, "", images::add);
            for (ImageRecord image : images) {
                if (!state.images().containsKey(new Name(image.namespace(), image.name()))) {
                    ImageTable.remove(tx, image.namespace(), image.name());
                }
            }
            List<LeaseStore.Lease> leases = new ArrayList<>();
            LeaseTable.scan(tx, "", leases::add);
            for (LeaseStore.Lease lease : leases) {
                if (!state.leases().containsKey(new Name(lease.namespace(), lease.id()))) {
                    LeaseTable.remove(tx, lease.namespace(), lease.id());
                }
            }
        }
        for (Map.Entry<Name, Bytes> image : state.images().entrySet()) {
            Name name = image.getKey();
            ImageTable.store(
                    tx,
                    ImageTable.decode(name.namespace(), name.name(), image.getValue().toArray()));
        }
        for (Map.Entry<Name, LeaseEntry> lease : state.leases().entrySet()) {
            Name name = lease.getKey();
            byte[] row = lease.getValue().row().toArray();
            LeaseTable.store(tx, LeaseTable.decode(name.namespace(), name.name(), row));
            for (NodeId object : lease.getValue().objects()) {
                tx.link(NodeId.lease(name.namespace(), name.name()), object);
            }
        }
    }

    /// Lets each namespace see again what its images and leases need.
    private void showReachable() throws ImageException {
        Map<String, Deque<NodeId>> starts = new TreeMap<>();
        database.read(
                view -> {
                    ImageTable.scan(
                            view,
                            "",
                            image ->
                                    starts.computeIfAbsent(
                                                    image.namespace(), _ -> new ArrayDeque<>())
                                            .add(NodeId.blob(image.target().digest())));
                    List<LeaseStore.Lease> leases = new ArrayList<>();
                    LeaseTable.scan(view, "", leases::add);
                    for (LeaseStore.Lease lease : leases) {
                        starts.computeIfAbsent(lease.namespace(), _ -> new ArrayDeque<>())
                                .addAll(
                                        view.edgesFrom(
                                                NodeId.lease(lease.namespace(), lease.id())));
                    }
                    return null;
                });
        for (Map.Entry<String, Deque<NodeId>> start : starts.entrySet()) {
            Set<NodeId> seen = new HashSet<>();
            Deque<NodeId> open = start.getValue();
            while (!open.isEmpty()) {
                database.write(
                        tx -> {
                            for (int i = 0; i < BATCH && !open.isEmpty(); i++) {
                                NodeId node = open.remove();
                                if (node.type() == NodeId.Type.BLOB && seen.add(node)) {
                                    open.addAll(tx.edgesFrom(node));
                                    show(tx, start.getKey(), node);
                                }
                            }
                            return null;
                        });
            }
        }
    }

    private static void show(Transaction tx, String namespace, NodeId node) throws ImageException {
        Digest digest = Digest.parse(node.key());
        BlobRows.Blob blob = BlobRows.blob(tx, digest);
        if (blob != null) {
            BlobRows.show(tx, namespace, digest, blob.sizeBytes(), Map.of(), blob.created());
        }
    }

    /// Writes the journal anew from the database.
    void rewriteJournal() throws ImageException {
        List<RefJournal.Change> live = new ArrayList<>();
        long last = lastEntry(database);
        database.read(
                view -> {
                    ImageTable.scan(
                            view,
                            "",
                            image ->
                                    live.add(
                                            new RefJournal.Change.PutImage(
                                                    image.namespace(),
                                                    image.name(),
                                                    Bytes.of(ImageTable.encode(image)))));
                    List<LeaseStore.Lease> leases = new ArrayList<>();
                    LeaseTable.scan(view, "", leases::add);
                    for (LeaseStore.Lease lease : leases) {
                        live.add(
                                new RefJournal.Change.PutLease(
                                        lease.namespace(),
                                        lease.id(),
                                        Bytes.of(LeaseTable.encode(lease))));
                        live.add(
                                new RefJournal.Change.Hold(
                                        lease.namespace(),
                                        lease.id(),
                                        view.edgesFrom(
                                                NodeId.lease(lease.namespace(), lease.id()))));
                    }
                    return null;
                });
        journal.rewrite(last, live);
    }
}
