package dev.imgd.content;

import dev.imgd.content.Database.Table;
import dev.imgd.content.Database.Transaction;
import dev.imgd.content.Database.View;
import dev.imgd.model.Bytes;
import dev.imgd.model.ImageException;
import java.time.Clock;
import java.time.DateTimeException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/// [LeaseStore] in the table `leases`, with keys `<namespace>/<id>`, and in [RefJournal]. What a
/// lease holds are its edges.
final class LeaseTable implements LeaseStore {
    private static final int VERSION = 1;

    private final RocksDatabase database;
    private final Clock clock;

    LeaseTable(RocksDatabase database, Clock clock) {
        this.database = database;
        this.clock = clock;
    }

    private static String key(String namespace, String id) {
        return namespace + "/" + id;
    }

    static byte[] encode(Lease lease) {
        return new RowWriter(VERSION)
                .time(lease.created())
                .time(lease.expires())
                .map(lease.labels())
                .toBytes();
    }

    static Lease decode(String namespace, String id, byte[] row) throws ImageException {
        RowReader in = new RowReader("lease " + id, row, VERSION);
        return new Lease(namespace, id, in.time(), in.time(), in.map());
    }

    /// Writes the row, but not the journal.
    static void store(Transaction tx, Lease lease) throws ImageException {
        tx.put(Table.LEASES, key(lease.namespace(), lease.id()), encode(lease));
    }

    /// Removes the row and the edges, but not from the journal.
    static void remove(Transaction tx, String namespace, String id) throws ImageException {
        tx.unlinkAll(NodeId.lease(namespace, id));
        tx.delete(Table.LEASES, key(namespace, id));
    }

    /// Removes a lease; does nothing when there is none.
    static boolean end(Transaction tx, String namespace, String id) throws ImageException {
        if (tx.get(Table.LEASES, key(namespace, id)) == null) {
            return false;
        }
        remove(tx, namespace, id);
        ((RocksDatabase.RocksTransaction) tx)
                .journal(new RefJournal.Change.DeleteLease(namespace, id));
        return true;
    }

    static @Nullable Lease find(View view, String namespace, String id) throws ImageException {
        byte[] row = view.get(Table.LEASES, key(namespace, id));
        return row == null ? null : decode(namespace, id, row);
    }

    /// All leases under a key prefix.
    static void scan(View view, String prefix, Consumer<Lease> visitor) throws ImageException {
        Rows.scan(
                view,
                Table.LEASES,
                prefix,
                (key, row) -> {
                    int slash = key.indexOf('/');
                    visitor.accept(decode(key.substring(0, slash), key.substring(slash + 1), row));
                });
    }

    private static void check(String namespace, String id) throws ImageException {
        Names.requireNamespace(namespace);
        Names.requireName("lease", id);
    }

    private static ImageException notFound(String namespace, String id) {
        return ImageException.notFound("lease %s: not in namespace %s".formatted(id, namespace));
    }

    @Override
    public Lease create(String namespace, String id, Duration ttl, Map<String, String> labels)
            throws ImageException {
        check(namespace, id);
        Names.requireLabels(labels);
        Instant now = Instant.ofEpochMilli(clock.millis());
        Lease lease = new Lease(namespace, id, now, end(now, ttl), Map.copyOf(labels));
        return database.write(
                tx -> {
                    if (tx.get(Table.LEASES, key(namespace, id)) != null) {
                        throw ImageException.alreadyExists(
                                "lease %s: already in namespace %s".formatted(id, namespace));
                    }
                    store(tx, lease);
                    ((RocksDatabase.RocksTransaction) tx)
                            .journal(
                                    new RefJournal.Change.PutLease(
                                            namespace, id, Bytes.of(encode(lease))));
                    return lease;
                });
    }

    private static Instant end(Instant now, Duration ttl) {
        try {
            return now.plus(ttl);
        } catch (DateTimeException | ArithmeticException beyondTime) {
            return Instant.MAX;
        }
    }

    @Override
    public void hold(String namespace, String id, List<NodeId> objects) throws ImageException {
        check(namespace, id);
        NodeId lease = NodeId.lease(namespace, id);
        database.write(
                tx -> {
                    if (tx.get(Table.LEASES, key(namespace, id)) == null) {
                        throw notFound(namespace, id);
                    }
                    List<NodeId> held = tx.edgesFrom(lease);
                    List<NodeId> added = new ArrayList<>(objects);
                    added.removeAll(held);
                    if (added.isEmpty()) {
                        return null;
                    }
                    for (NodeId object : added) {
                        tx.link(lease, object);
                    }
                    ((RocksDatabase.RocksTransaction) tx)
                            .journal(new RefJournal.Change.Hold(namespace, id, added));
                    return null;
                });
    }

    @Override
    public List<NodeId> held(String namespace, String id) throws ImageException {
        check(namespace, id);
        return database.read(view -> view.edgesFrom(NodeId.lease(namespace, id)));
    }

    @Override
    public List<Lease> list(String namespace) throws ImageException {
        Names.requireNamespace(namespace);
        List<Lease> leases = new ArrayList<>();
        database.read(
                view -> {
                    scan(view, namespace + "/", leases::add);
                    return null;
                });
        return leases;
    }

    @Override
    public void delete(String namespace, String id) throws ImageException {
        check(namespace, id);
        database.write(
                tx -> {
                    if (!end(tx, namespace, id)) {
                        throw notFound(namespace, id);
                    }
                    return null;
                });
    }
}
