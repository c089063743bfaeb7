package dev.imgd.content;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.content.Database.Table;
import dev.imgd.content.Database.View;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// The database against a model of maps, with seeded random transactions.
@Timeout(180)
final class DatabaseModelTest {
    @TempDir Path directory;

    private Store open() throws ImageException {
        return Store.open(directory.resolve("store"), StoreOptions.defaults());
    }

    private static final class Model {
        Map<String, String> rows = new TreeMap<>();
        Map<NodeId, Set<NodeId>> out = new HashMap<>();
        Set<NodeId> zero = new HashSet<>();
        long sequence;

        Model copy() {
            Model copy = new Model();
            copy.rows = new TreeMap<>(rows);
            out.forEach((from, to) -> copy.out.put(from, new HashSet<>(to)));
            copy.zero = new HashSet<>(zero);
            copy.sequence = sequence;
            return copy;
        }

        long count(NodeId to) {
            return out.values().stream().filter(targets -> targets.contains(to)).count();
        }

        void link(NodeId from, NodeId to) {
            out.computeIfAbsent(from, _ -> new HashSet<>()).add(to);
            zero.remove(to);
        }

        void unlink(NodeId from, NodeId to) {
            if (out.getOrDefault(from, Set.of()).contains(to)) {
                out.get(from).remove(to);
                if (count(to) == 0) {
                    zero.add(to);
                }
            }
        }
    }

    private static NodeId node(Random random) {
        NodeId.Type[] types = NodeId.Type.values();
        // Keys that are prefixes of each other, and characters beyond ASCII.
        String[] keys = {"a", "aa", "a/a", "ä", "b", "日本"};
        return new NodeId(types[random.nextInt(types.length)], keys[random.nextInt(keys.length)]);
    }

    private static Set<NodeId> set(Collection<NodeId> nodes) {
        Set<NodeId> set = new HashSet<>(nodes);
        assertEquals(nodes.size(), set.size(), "twice in " + nodes);
        return set;
    }

    private static void compare(Model model, View view) throws ImageException {
        Map<String, String> rows = new TreeMap<>();
        List<String> order = new ArrayList<>();
        view.scan(
                Table.SNAPSHOTS,
                "",
                (key, value) -> {
                    rows.put(key, new String(value, StandardCharsets.UTF_8));
                    order.add(key);
                    return true;
                });
        assertEquals(model.rows, rows);
        List<String> sorted = new ArrayList<>(order);
        sorted.sort(
                (a, b) ->
                        Arrays.compareUnsigned(
                                a.getBytes(StandardCharsets.UTF_8),
                                b.getBytes(StandardCharsets.UTF_8)));
        assertEquals(sorted, order);
        Set<NodeId> nodes = new HashSet<>(model.out.keySet());
        model.out.values().forEach(nodes::addAll);
        for (NodeId node : nodes) {
            assertEquals(model.out.getOrDefault(node, Set.of()), set(view.edgesFrom(node)));
            assertEquals(model.count(node), view.references(node));
            assertEquals(model.count(node), view.edgesTo(node).size());
            for (NodeId from : view.edgesTo(node)) {
                assertTrue(model.out.get(from).contains(node));
            }
        }
    }

    @Test
    void write_randomTransactions_equalModel() throws Exception {
        Random random = new Random(20261);
        Model model = new Model();
        Store store = open();
        try {
            for (int round = 0; round < 400; round++) {
                if (round % 97 == 96) {
                    store.close();
                    store = open();
                }
                Model next = model.copy();
                boolean fail = random.nextInt(5) == 0;
                int steps = 1 + random.nextInt(12);
                Database database = store.database();
                try {
                    database.write(
                            tx -> {
                                for (int i = 0; i < steps; i++) {
                                    step(random, next, tx);
                                }
                                compare(next, tx);
                                if (fail) {
                                    throw new ImageException(ErrorKind.ABORTED, "on purpose");
                                }
                                return null;
                            });
                    assertTrue(!fail);
                    model = next;
                } catch (ImageException e) {
                    assertEquals("on purpose", e.getMessage());
                }
                Model now = model;
                database.read(
                        view -> {
                            compare(now, view);
                            return null;
                        });
                assertEquals(now.zero, set(database.zeroQueue(1000)));
                if (round % 50 == 49) {
                    List<NodeId> some = database.zeroQueue(2);
                    database.dequeue(some);
                    model.zero.removeAll(some);
                }
            }
            List<String> findings = new ArrayList<>();
            Maintenance maintenance = store.maintenance();
            store.database()
                    .read(
                            view -> {
                                maintenance.counts(
                                        view,
                                        (node, count) -> {
                                            if (view.edgesTo(node).size() != count) {
                                                findings.add(node.toString());
                                            }
                                        });
                                return null;
                            });
            assertEquals(List.of(), findings);
        } finally {
            store.close();
        }
    }

    private static void step(Random random, Model model, Database.Transaction tx)
            throws ImageException {
        String key = "key/" + random.nextInt(200);
        NodeId from = node(random);
        NodeId to = node(random);
        switch (random.nextInt(7)) {
            case 0, 1 -> {
                String value = "v" + random.nextInt();
                tx.put(Table.SNAPSHOTS, key, value.getBytes(StandardCharsets.UTF_8));
                model.rows.put(key, value);
            }
            case 2 -> {
                tx.delete(Table.SNAPSHOTS, key);
                model.rows.remove(key);
            }
            case 3, 4 -> {
                if (!from.equals(to)) {
                    tx.link(from, to);
                    model.link(from, to);
                }
            }
            case 5 -> {
                tx.unlink(from, to);
                model.unlink(from, to);
            }
            default -> {
                tx.unlinkAll(from);
                for (NodeId target : List.copyOf(model.out.getOrDefault(from, Set.of()))) {
                    model.unlink(from, target);
                }
                assertEquals(++model.sequence, tx.next("numbers"));
            }
        }
    }

    @Test
    void scan_visitorWritesInTransaction_seesEachRowOnce() throws Exception {
        try (Store store = open()) {
            store.database()
                    .write(
                            tx -> {
                                for (int i = 0; i < 300; i++) {
                                    tx.put(Table.SNAPSHOTS, "k%03d".formatted(i), new byte[] {1});
                                }
                                List<String> seen = new ArrayList<>();
                                tx.scan(
                                        Table.SNAPSHOTS,
                                        "k",
                                        (key, _) -> {
                                            seen.add(key);
                                            try {
                                                tx.delete(Table.SNAPSHOTS, key);
                                            } catch (ImageException e) {
                                                throw new AssertionError(e);
                                            }
                                            return seen.size() < 250;
                                        });
                                assertEquals(250, new HashSet<>(seen).size());
                                assertNull(tx.get(Table.SNAPSHOTS, "k249"));
                                assertArrayEquals(new byte[] {1}, tx.get(Table.SNAPSHOTS, "k250"));
                                return null;
                            });
        }
    }

    @Test
    void read_isOneState_whileWritersRun() throws Exception {
        try (Store store = open();
                ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
            Database database = store.database();
            List<Future<?>> writers = new ArrayList<>();
            for (int w = 0; w < 8; w++) {
                writers.add(
                        threads.submit(
                                () -> {
                                    for (int i = 0; i < 50; i++) {
                                        database.write(
                                                tx -> {
                                                    long n = tx.next("n");
                                                    byte[] row =
                                                            Long.toString(n)
                                                                    .getBytes(
                                                                            StandardCharsets.UTF_8);
                                                    tx.put(Table.SNAPSHOTS, "a", row);
                                                    tx.put(Table.SNAPSHOTS, "z", row);
                                                    return null;
                                                });
                                    }
                                    return null;
                                }));
            }
            while (writers.stream().anyMatch(writer -> !writer.isDone())) {
                database.read(
                        view -> {
                            byte[] a = view.get(Table.SNAPSHOTS, "a");
                            assertArrayEquals(a, view.get(Table.SNAPSHOTS, "z"));
                            return null;
                        });
            }
            for (Future<?> writer : writers) {
                writer.get();
            }
            assertEquals(
                    "400",
                    new String(
                            database.get(Table.SNAPSHOTS, "a").orElseThrow(),
                            StandardCharsets.UTF_8));
        }
    }

    @Test
    void link_toItself_isAProgrammingError() throws Exception {
        try (Store store = open()) {
            NodeId node = NodeId.layer("x");
            assertThrows(
                    IllegalArgumentException.class,
                    () ->
                            store.database()
                                    .write(
                                            tx -> {
                                                tx.link(node, node);
                                                return null;
                                            }));
        }
    }
}
