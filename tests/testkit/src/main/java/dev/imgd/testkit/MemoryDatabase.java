package dev.imgd.testkit;

import dev.imgd.content.Database;
import dev.imgd.content.NodeId;
import dev.imgd.model.ImageException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.BiPredicate;
import org.jspecify.annotations.Nullable;

/// A [Database] in memory, for tests of what stands on it.
///
/// A transaction works on copies that replace the state when it ends well, so that readers keep one
/// consistent state without locks and a failed body leaves nothing. Writing costs as much as the
/// tables it touches are long: meant for some thousand rows.
public final class MemoryDatabase implements Database {
    /// Byte order of UTF-8, which differs from [String#compareTo] above U+FFFF.
    private static final Comparator<String> UTF_8_ORDER =
            (a, b) ->
                    Arrays.compareUnsigned(
                            a.getBytes(StandardCharsets.UTF_8), b.getBytes(StandardCharsets.UTF_8));

    private record Edge(NodeId from, NodeId to) {}

    private record State(
            Map<Table, NavigableMap<String, byte[]>> tables,
            Set<Edge> edges,
            Set<NodeId> zero,
            Map<String, Long> sequences) {}

    private final ReentrantLock writing = new ReentrantLock(true);
    private volatile State state = empty();

    private static State empty() {
        Map<Table, NavigableMap<String, byte[]>> tables = new EnumMap<>(Table.class);
        for (Table table : Table.values()) {
            tables.put(table, new TreeMap<>(UTF_8_ORDER));
        }
        return new State(tables, Set.of(), Set.of(), Map.of());
    }

    @Override
    public <T extends @Nullable Object> T write(Body<T> body) throws ImageException {
        if (writing.isHeldByCurrentThread()) {
            throw new IllegalStateException("a transaction inside a transaction");
        }
        writing.lock();
        try {
            Copy copy = new Copy(state);
            T result = body.run(copy);
            state = copy.finished();
            return result;
        } finally {
            writing.unlock();
        }
    }

    @Override
    public <T extends @Nullable Object> T read(ReadBody<T> body) throws ImageException {
        return body.run(new Reader(state));
    }

    @Override
    public List<NodeId> zeroQueue(int max) {
        return state.zero().stream().limit(max).toList();
    }

    @Override
    public void dequeue(List<NodeId> nodes) throws ImageException {
        write(
                tx -> {
                    ((Copy) tx).zero().removeAll(nodes);
                    return null;
                });
    }

    /// Throws away everything, as a lost database does.
    public void clear() {
        writing.lock();
        try {
            state = empty();
        } finally {
            writing.unlock();
        }
    }

    private static class Reader implements View {
        final State base;

        Reader(State base) {
            this.base = base;
        }

        NavigableMap<String, byte[]> table(Table table) {
            NavigableMap<String, byte[]> rows = base.tables().get(table);
            if (rows == null) {
                throw new AssertionError(table);
            }
            return rows;
        }

        Set<Edge> edges() {
            return base.edges();
        }

        @Override
        public byte @Nullable [] get(Table table, String key) {
            byte[] value = table(table).get(key);
            return value == null ? null : value.clone();
        }

        @Override
        public void scan(Table table, String prefix, BiPredicate<String, byte[]> visitor) {
            for (Map.Entry<String, byte[]> row : table(table).tailMap(prefix, true).entrySet()) {
                if (!row.getKey().startsWith(prefix)
                        || !visitor.test(row.getKey(), row.getValue().clone())) {
                    return;
                }
            }
        }

        @Override
        public long references(NodeId to) {
            return edgesTo(to).size();
        }

        @Override
        public List<NodeId> edgesFrom(NodeId from) {
            return edges().stream().filter(e -> e.from().equals(from)).map(Edge::to).toList();
        }

        @Override
        public List<NodeId> edgesTo(NodeId to) {
            return edges().stream().filter(e -> e.to().equals(to)).map(Edge::from).toList();
        }
    }

    private static final class Copy extends Reader implements Transaction {
        private final Map<Table, NavigableMap<String, byte[]>> changed = new EnumMap<>(Table.class);
        private @Nullable Set<Edge> edges;
        private @Nullable Set<NodeId> zero;
        private @Nullable Map<String, Long> sequences;

        Copy(State base) {
            super(base);
        }

        State finished() {
            Map<Table, NavigableMap<String, byte[]>> tables = new EnumMap<>(base.tables());
            tables.putAll(changed);
            return new State(
                    tables,
                    edges(),
                    zero == null ? base.zero() : zero,
                    sequences == null ? base.sequences() : sequences);
        }

        @Override
        NavigableMap<String, byte[]> table(Table table) {
            NavigableMap<String, byte[]> rows = changed.get(table);
            return rows == null ? super.table(table) : rows;
        }

        @Override
        Set<Edge> edges() {
            return edges == null ? super.edges() : edges;
        }

        Set<NodeId> zero() {
            if (zero == null) {
                zero = new LinkedHashSet<>(base.zero());
            }
            return zero;
        }

        private NavigableMap<String, byte[]> writable(Table table) {
            return changed.computeIfAbsent(table, t -> new TreeMap<>(super.table(t)));
        }

        private Set<Edge> writableEdges() {
            if (edges == null) {
                edges = new LinkedHashSet<>(base.edges());
            }
            return edges;
        }

        @Override
        public void put(Table table, String key, byte[] value) {
            writable(table).put(key, value.clone());
        }

        @Override
        public void delete(Table table, String key) {
            if (table(table).containsKey(key)) {
                writable(table).remove(key);
            }
        }

        @Override
        public void scan(Table table, String prefix, BiPredicate<String, byte[]> visitor) {
            // The visitor may write to what it walks over.
            for (Map.Entry<String, byte[]> row :
                    new ArrayList<>(table(table).tailMap(prefix, true).entrySet())) {
                if (!row.getKey().startsWith(prefix)
                        || !visitor.test(row.getKey(), row.getValue().clone())) {
                    return;
                }
            }
        }

        @Override
        public void link(NodeId from, NodeId to) {
            writableEdges().add(new Edge(from, to));
        }

        @Override
        public void unlink(NodeId from, NodeId to) {
            if (writableEdges().remove(new Edge(from, to)) && references(to) == 0) {
                zero().add(to);
            }
        }

        @Override
        public void unlinkAll(NodeId from) {
            for (NodeId to : edgesFrom(from)) {
                unlink(from, to);
            }
        }

        @Override
        public long next(String sequence) {
            if (sequences == null) {
                sequences = new HashMap<>(base.sequences());
            }
            return sequences.merge(sequence, 1L, Long::sum);
        }
    }

    /// The rows of a table, for assertions.
    public Set<String> keys(Table table) {
        NavigableMap<String, byte[]> rows = state.tables().get(table);
        return rows == null ? Set.of() : new TreeSet<>(rows.keySet());
    }
}
