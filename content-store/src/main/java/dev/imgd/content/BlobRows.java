package dev.imgd.content;

import dev.imgd.content.Database.Table;
import dev.imgd.content.Database.Transaction;
import dev.imgd.content.Database.View;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// The rows of blobs.
///
/// ```
/// content   b/<digest>              size, created, namespaces that see it
/// content   n/<namespace>/<digest>  size, created, updated, labels
/// ```
///
/// A blob without namespaces has bytes but nobody sees it; it can be adopted until it is collected.
final class BlobRows {
    static final String BLOBS = "b/";

    private static final int VERSION = 1;

    private BlobRows() {}

    /// The bytes of a blob, shared by namespaces.
    record Blob(Digest digest, long sizeBytes, Instant created, List<String> namespaces) {
        Blob {
            namespaces = List.copyOf(namespaces);
        }
    }

    private static String blobKey(Digest digest) {
        return BLOBS + digest;
    }

    static String namespacePrefix(String namespace) {
        return "n/" + namespace + "/";
    }

    private static String infoKey(String namespace, Digest digest) {
        return namespacePrefix(namespace) + digest;
    }

    static @Nullable Blob blob(View view, Digest digest) throws ImageException {
        byte[] row = view.get(Table.CONTENT, blobKey(digest));
        return row == null ? null : blob(digest, row);
    }

    static Blob blob(Digest digest, byte[] row) throws ImageException {
        RowReader in = new RowReader("blob " + digest, row, VERSION);
        return new Blob(digest, in.number(), in.time(), in.texts());
    }

    private static void put(Transaction tx, Blob blob) throws ImageException {
        RowWriter row = new RowWriter(VERSION).number(blob.sizeBytes).time(blob.created);
        tx.put(Table.CONTENT, blobKey(blob.digest), row.texts(blob.namespaces).toBytes());
    }

    static @Nullable BlobInfo info(View view, String namespace, Digest digest)
            throws ImageException {
        byte[] row = view.get(Table.CONTENT, infoKey(namespace, digest));
        return row == null ? null : info(digest, row);
    }

    static BlobInfo info(Digest digest, byte[] row) throws ImageException {
        RowReader in = new RowReader("blob " + digest, row, VERSION);
        return new BlobInfo(digest, in.number(), in.time(), in.time(), in.map());
    }

    static void put(Transaction tx, String namespace, BlobInfo info) throws ImageException {
        RowWriter row = new RowWriter(VERSION).number(info.sizeBytes());
        row.time(info.created()).time(info.updated()).map(info.labels());
        tx.put(Table.CONTENT, infoKey(namespace, info.digest()), row.toBytes());
    }

    /// Adds a blob that nobody sees yet; does nothing when it is known.
    static void add(Transaction tx, Digest digest, long sizeBytes, Instant now)
            throws ImageException {
        if (blob(tx, digest) == null) {
            put(tx, new Blob(digest, sizeBytes, now, List.of()));
            enqueueUnreferenced(tx, digest);
        }
    }

    /// Lets a namespace see a blob; labels are laid over those it may have there.
    static BlobInfo show(
            Transaction tx,
            String namespace,
            Digest digest,
            long sizeBytes,
            Map<String, String> labels,
            Instant now)
            throws ImageException {
        Blob blob = blob(tx, digest);
        if (blob == null || blob.sizeBytes != sizeBytes) {
            List<String> known = blob == null ? List.of() : blob.namespaces;
            blob = new Blob(digest, sizeBytes, now, known);
            put(tx, blob);
            enqueueUnreferenced(tx, digest);
        }
        if (!blob.namespaces.contains(namespace)) {
            List<String> namespaces = new ArrayList<>(blob.namespaces);
            namespaces.add(namespace);
            put(tx, new Blob(digest, blob.sizeBytes, blob.created, namespaces));
        }
        BlobInfo old = info(tx, namespace, digest);
        if (old != null && old.labels().entrySet().containsAll(labels.entrySet())) {
            return old;
        }
        Map<String, String> merged = new HashMap<>(old == null ? Map.of() : old.labels());
        merged.putAll(labels);
        merged.values().removeIf(String::isEmpty);
        BlobInfo info =
                new BlobInfo(digest, sizeBytes, old == null ? now : old.created(), now, merged);
        put(tx, namespace, info);
        return info;
    }

    private static void enqueueUnreferenced(Transaction tx, Digest digest) throws ImageException {
        NodeId node = NodeId.blob(digest);
        if (tx.references(node) == 0) {
            ((RocksDatabase.RocksTransaction) tx).enqueue(node);
        }
    }

    /// Hides a blob from a namespace and forgets it when that was the last one.
    ///
    /// @return whether nobody sees it any more
    static boolean hide(Transaction tx, String namespace, Digest digest) throws ImageException {
        tx.delete(Table.CONTENT, infoKey(namespace, digest));
        Blob blob = blob(tx, digest);
        if (blob == null) {
            return true;
        }
        List<String> rest = new ArrayList<>(blob.namespaces);
        rest.remove(namespace);
        if (rest.isEmpty()) {
            forget(tx, digest);
            return true;
        }
        put(tx, new Blob(digest, blob.sizeBytes, blob.created, rest));
        return false;
    }

    /// Forgets a blob and what it refers to.
    static void forget(Transaction tx, Digest digest) throws ImageException {
        Blob blob = blob(tx, digest);
        if (blob != null) {
            for (String namespace : blob.namespaces) {
                tx.delete(Table.CONTENT, infoKey(namespace, digest));
            }
            tx.delete(Table.CONTENT, blobKey(digest));
        }
        NodeId node = NodeId.blob(digest);
        tx.unlinkAll(node);
        ((RocksDatabase.RocksTransaction) tx).dequeue(node);
    }

    /// Replaces the blobs that a blob refers to.
    static void refer(Transaction tx, Digest from, List<Digest> to) throws ImageException {
        NodeId source = NodeId.blob(from);
        List<NodeId> targets = new ArrayList<>(to.size());
        for (Digest digest : to) {
            if (!digest.equals(from)) {
                targets.add(NodeId.blob(digest));
            }
        }
        for (NodeId old : tx.edgesFrom(source)) {
            if (old.type() == NodeId.Type.BLOB && !targets.contains(old)) {
                tx.unlink(source, old);
            }
        }
        for (NodeId target : targets) {
            tx.link(source, target);
        }
    }
}
