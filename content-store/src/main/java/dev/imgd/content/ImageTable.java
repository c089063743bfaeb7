package dev.imgd.content;

import dev.imgd.content.Database.Table;
import dev.imgd.content.Database.Transaction;
import dev.imgd.content.Database.View;
import dev.imgd.model.Bytes;
import dev.imgd.model.ImageException;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/// [ImageStore] in the table `images`, with keys `<namespace>/<name>`, and in [RefJournal].
final class ImageTable implements ImageStore {
    private static final int VERSION = 1;

    private final RocksDatabase database;

    ImageTable(RocksDatabase database) {
        this.database = database;
    }

    private static String key(String namespace, String name) {
        return namespace + "/" + name;
    }

    static byte[] encode(ImageRecord image) {
        return new RowWriter(VERSION)
                .descriptor(image.target())
                .texts(image.snapshots())
                .map(image.labels())
                .time(image.created())
                .time(image.updated())
                .toBytes();
    }

    static ImageRecord decode(String namespace, String name, byte[] row) throws ImageException {
        RowReader in = new RowReader("image " + name, row, VERSION);
        return new ImageRecord(
                namespace, name, in.descriptor(), in.texts(), in.map(), in.time(), in.time());
    }

    private static Set<NodeId> targets(ImageRecord image) {
        Set<NodeId> targets = new LinkedHashSet<>();
        targets.add(NodeId.blob(image.target().digest()));
        for (String snapshot : image.snapshots()) {
            targets.add(new NodeId(NodeId.Type.SNAPSHOT, snapshot));
        }
        return targets;
    }

    /// Writes the row and the edges, but not the journal.
    static void store(Transaction tx, ImageRecord image) throws ImageException {
        NodeId node = NodeId.image(image.namespace(), image.name());
        Set<NodeId> targets = targets(image);
        for (NodeId old : tx.edgesFrom(node)) {
            if (!targets.contains(old)) {
                tx.unlink(node, old);
            }
        }
        for (NodeId target : targets) {
            tx.link(node, target);
        }
        tx.put(Table.IMAGES, key(image.namespace(), image.name()), encode(image));
    }

    /// Removes the row and the edges, but not from the journal.
    static void remove(Transaction tx, String namespace, String name) throws ImageException {
        tx.unlinkAll(NodeId.image(namespace, name));
        tx.delete(Table.IMAGES, key(namespace, name));
    }

    static @Nullable ImageRecord find(View view, String namespace, String name)
            throws ImageException {
        byte[] row = view.get(Table.IMAGES, key(namespace, name));
        return row == null ? null : decode(namespace, name, row);
    }

    /// All images of all namespaces, in the order of their keys.
    static void scan(View view, String prefix, Consumer<ImageRecord> visitor)
            throws ImageException {
        Rows.scan(
                view,
                Table.IMAGES,
                prefix,
                (key, row) -> {
                    int slash = key.indexOf('/');
                    visitor.accept(decode(key.substring(0, slash), key.substring(slash + 1), row));
                });
    }

    private static void check(String namespace, String name) throws ImageException {
        Names.requireNamespace(namespace);
        Names.requireName("image name", name);
    }

    @Override
    public ImageRecord put(ImageRecord image) throws ImageException {
        check(image.namespace(), image.name());
        Names.requireLabels(image.labels());
        return database.write(
                tx -> {
                    ImageRecord old = find(tx, image.namespace(), image.name());
                    ImageRecord stored =
                            new ImageRecord(
                                    image.namespace(),
                                    image.name(),
                                    image.target(),
                                    image.snapshots(),
                                    image.labels(),
                                    old == null ? image.created() : old.created(),
                                    image.updated());
                    store(tx, stored);
                    ((RocksDatabase.RocksTransaction) tx)
                            .journal(
                                    new RefJournal.Change.PutImage(
                                            stored.namespace(),
                                            stored.name(),
                                            Bytes.of(encode(stored))));
                    return stored;
                });
    }

    @Override
    public Optional<ImageRecord> find(String namespace, String name) throws ImageException {
        check(namespace, name);
        Optional<byte[]> row = database.get(Table.IMAGES, key(namespace, name));
        return row.isEmpty() ? Optional.empty() : Optional.of(decode(namespace, name, row.get()));
    }

    @Override
    public List<ImageRecord> list(String namespace) throws ImageException {
        Names.requireNamespace(namespace);
        List<ImageRecord> images = new ArrayList<>();
        database.read(
                view -> {
                    scan(view, namespace + "/", images::add);
                    return null;
                });
        return images;
    }

    @Override
    public void delete(String namespace, String name) throws ImageException {
        check(namespace, name);
        database.write(
                tx -> {
                    if (tx.get(Table.IMAGES, key(namespace, name)) == null) {
                        throw ImageException.notFound(
                                "image %s: not in namespace %s".formatted(name, namespace));
                    }
                    remove(tx, namespace, name);
                    ((RocksDatabase.RocksTransaction) tx)
                            .journal(new RefJournal.Change.DeleteImage(namespace, name));
                    return null;
                });
    }
}
