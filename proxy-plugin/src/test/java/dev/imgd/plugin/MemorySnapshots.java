package dev.imgd.plugin;

import dev.imgd.content.NodeId;
import dev.imgd.model.ChainId;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.snapshot.Kind;
import dev.imgd.snapshot.Mount;
import dev.imgd.snapshot.SnapshotInfo;
import dev.imgd.snapshot.SnapshotService;
import dev.imgd.snapshot.Snapshotter;
import dev.imgd.snapshot.Usage;
import java.nio.file.Path;
import java.time.Instant;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Predicate;

/// The snapshot contract without a disk: rows only, mounts that name the key.
final class MemorySnapshots implements SnapshotService {
    final Set<Digest> layers = ConcurrentHashMap.newKeySet();
    final AtomicInteger cleanups = new AtomicInteger();

    private final Map<String, View> views = new ConcurrentHashMap<>();

    @Override
    public View view(String name) {
        return views.computeIfAbsent(name, _ -> new View());
    }

    @Override
    public boolean hasLayer(Digest diffId, Optional<Digest> parentChain) {
        return layers.contains(diffId);
    }

    @Override
    public boolean link(
            String view,
            String name,
            String parent,
            Digest diffId,
            Optional<Digest> parentChain,
            Map<String, String> labels)
            throws ImageException {
        if (!layers.contains(diffId)) {
            throw ImageException.notFound("layer " + diffId + ": not here");
        }
        return view(view).put(name, parent, Kind.COMMITTED, labels);
    }

    @Override
    public Staging stage(Digest diffId, Optional<Digest> parentChain) {
        throw new UnsupportedOperationException();
    }

    @Override
    public void mount(List<Mount> mounts, Path target) {
        throw new UnsupportedOperationException();
    }

    @Override
    public void unmount(Path target) {
        throw new UnsupportedOperationException();
    }

    @Override
    public boolean removeUnreferenced(NodeId layer) {
        throw new UnsupportedOperationException();
    }

    @Override
    public void sync(String view, List<String> names) {}

    @Override
    public void close() {}

    /// The chainIDs of a stack.
    static List<Digest> chain(Digest... diffIds) {
        return ChainId.of(List.of(diffIds));
    }

    final class View implements Snapshotter {
        private final TreeMap<String, SnapshotInfo> rows = new TreeMap<>();

        final AtomicInteger visited = new AtomicInteger();
        final AtomicInteger walking = new AtomicInteger();
        private int visitedBefore = -1;
        private long unchangedSince;

        /// Whether the number of visits stayed the same for a while.
        boolean visitedUnchanged(long millis) {
            if (visited.get() != visitedBefore) {
                visitedBefore = visited.get();
                unchangedSince = System.nanoTime();
            }
            return System.nanoTime() - unchangedSince > millis * 1_000_000;
        }

        /// What every call throws, when set.
        volatile ImageException failure;

        synchronized boolean put(String name, String parent, Kind kind, Map<String, String> labels)
                throws ImageException {
            if (failure != null) {
                throw failure;
            }
            if (!parent.isEmpty() && row(parent).kind() != Kind.COMMITTED) {
                throw ImageException.invalidArgument("parent " + parent + ": not committed");
            }
            Instant now = Instant.now();
            return rows.putIfAbsent(name, new SnapshotInfo(name, parent, kind, now, now, labels))
                    == null;
        }

        private SnapshotInfo row(String key) throws ImageException {
            if (failure != null) {
                throw failure;
            }
            SnapshotInfo row = rows.get(key);
            if (row == null) {
                throw ImageException.notFound("snapshot " + key + ": does not exist");
            }
            return row;
        }

        @Override
        public List<Mount> prepare(String key, String parent, Map<String, String> labels)
                throws ImageException {
            return add(key, parent, Kind.ACTIVE, labels);
        }

        @Override
        public List<Mount> view(String key, String parent, Map<String, String> labels)
                throws ImageException {
            return add(key, parent, Kind.VIEW, labels);
        }

        private List<Mount> add(String key, String parent, Kind kind, Map<String, String> labels)
                throws ImageException {
            if (!put(key, parent, kind, labels)) {
                throw ImageException.alreadyExists("snapshot " + key + ": already exists");
            }
            return mounts(key);
        }

        @Override
        public synchronized List<Mount> mounts(String key) throws ImageException {
            SnapshotInfo row = row(key);
            return switch (row.kind()) {
                case COMMITTED ->
                        throw ImageException.failedPrecondition(key + ": neither active nor view");
                case ACTIVE -> List.of(new Mount("bind", "/s/" + key, List.of("rw", "rbind")));
                case VIEW -> List.of(new Mount("bind", "/s/" + key, List.of("ro", "rbind")));
            };
        }

        @Override
        public synchronized void commit(
                String name, String key, Map<String, String> labels, String parent)
                throws ImageException {
            SnapshotInfo row = row(key);
            if (row.kind() != Kind.ACTIVE) {
                throw ImageException.failedPrecondition(key + ": not active");
            }
            if (!row.parent().isEmpty() && !parent.isEmpty() && !parent.equals(row.parent())) {
                throw ImageException.invalidArgument(key + ": has another parent");
            }
            String under = row.parent().isEmpty() ? parent : row.parent();
            if (!put(name, under, Kind.COMMITTED, labels)) {
                throw ImageException.alreadyExists("snapshot " + name + ": already exists");
            }
            rows.remove(key);
        }

        @Override
        public synchronized void remove(String key) throws ImageException {
            row(key);
            if (rows.values().stream().anyMatch(row -> row.parent().equals(key))) {
                throw ImageException.failedPrecondition("cannot remove snapshot with child");
            }
            rows.remove(key);
        }

        @Override
        public synchronized SnapshotInfo stat(String key) throws ImageException {
            return row(key);
        }

        @Override
        public synchronized SnapshotInfo update(
                String name, Map<String, String> labels, List<String> fieldPaths)
                throws ImageException {
            SnapshotInfo row = row(name);
            Map<String, String> changed = new HashMap<>(row.labels());
            if (fieldPaths.isEmpty()) {
                changed = new HashMap<>(labels);
            }
            for (String path : fieldPaths) {
                if (path.equals("labels")) {
                    changed = new HashMap<>(labels);
                } else if (path.startsWith("labels.")) {
                    String key = path.substring("labels.".length());
                    String value = labels.getOrDefault(key, "");
                    if (value.isEmpty()) {
                        changed.remove(key);
                    } else {
                        changed.put(key, value);
                    }
                } else {
                    throw ImageException.invalidArgument("field " + path + ": cannot be updated");
                }
            }
            var updated =
                    new SnapshotInfo(
                            name, row.parent(), row.kind(), row.created(), Instant.now(), changed);
            rows.put(name, updated);
            return updated;
        }

        @Override
        public void walk(List<String> filters, Predicate<SnapshotInfo> visitor)
                throws ImageException {
            if (filters.contains("bad filter")) {
                throw ImageException.invalidArgument("filter \"bad filter\": wanted an operator");
            }
            Set<SnapshotInfo> all;
            synchronized (this) {
                all = new HashSet<>(rows.values());
            }
            walking.incrementAndGet();
            try {
                for (SnapshotInfo row : all) {
                    visited.incrementAndGet();
                    if ((filters.isEmpty() || filters.contains("name==" + row.name()))
                            && !visitor.test(row)) {
                        return;
                    }
                }
            } finally {
                walking.decrementAndGet();
            }
        }

        @Override
        public synchronized Usage usage(String key) throws ImageException {
            row(key);
            return new Usage(4096, 7);
        }

        @Override
        public void cleanup() throws ImageException {
            if (failure != null && failure.kind() == ErrorKind.INTERNAL) {
                throw failure;
            }
            cleanups.incrementAndGet();
        }
    }
}
