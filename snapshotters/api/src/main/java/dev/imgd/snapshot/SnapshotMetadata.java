package dev.imgd.snapshot;

import dev.imgd.content.Database;
import dev.imgd.content.Database.Table;
import dev.imgd.content.Database.Transaction;
import dev.imgd.content.Database.View;
import dev.imgd.content.NodeId;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Text;
import dev.imgd.snapshot.Filter.Operator;
import dev.imgd.snapshot.Filter.Selector;
import java.nio.charset.StandardCharsets;
import java.time.Clock;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/// The rows of all snapshots and unpacked layers: containerd's rules, without any directory.
///
/// Every method is one transaction or one consistent read; what it wrote is durable when it
/// returns. Costs do not grow with the number of snapshots, except for [#walk] without a usable
/// condition and for [#visitNodes] and [#directories]. Safe for use by many threads.
///
/// Keys, where `|` stands for U+0001, which no name may contain:
///
/// ```
/// SNAPSHOTS  s|view|key             the snapshot (see Rows)
///            c|view|parent|key      index: children of a snapshot
///            r|view|ref|key         index: snapshots by label containerd.io/snapshot.ref
/// LAYERS     y|id                   the layer (see Rows)
///            u|directory            not yet durable: boot id|owner, owner = s|view|key or y|id
///            m|session              "open" or "closed"
/// ```
///
/// Edges of the graph: snapshot to its parent, snapshot to the layer it shows. Roots, which live
/// without references, follow from the row ([#isRoot]): they are not marked by edges.
public final class SnapshotMetadata {
    /// The label of a Prepare that names the snapshot which an image layer will become. **Source:**
    /// containerd `pkg/labels`, `core/snapshots`.
    public static final String REF_LABEL = "containerd.io/snapshot.ref";

    private static final String SEPARATOR = "\u0001";
    private static final String SESSION = "m" + SEPARATOR + "session";
    private static final String UNSYNCED = "u" + SEPARATOR;
    private static final String SEQUENCE = "snapshot-directories";
    private static final byte[] EMPTY = {};

    /// Directory numbers taken from the durable sequence at once; a crash loses at most these.
    private static final long ID_BLOCK = 64;

    private static final int MAX_NAME_CHARS = 1024;
    private static final int MAX_VIEW_CHARS = 255;

    /// **Source:** containerd `pkg/labels/validate.go`.
    private static final int MAX_LABEL_BYTES = 4096;

    private static final int MAX_LABELS = 1024;

    /// How the last owner of the metadata ended.
    public enum Session {
        /// There was none: the database is new, or was lost and made anew.
        NONE,
        OPEN,
        CLOSED
    }

    /// A directory whose bytes may not be on the disk yet.
    ///
    /// @param bootId the boot in which they were written
    public record Unsynced(long directory, String bootId) {}

    /// What a committed snapshot with a directory of its own takes.
    public record Measured(String view, String name, long directory, Usage usage) {}

    /// Gets each node of the graph that this module owns.
    @FunctionalInterface
    public interface NodeVisitor {
        /// @param root whether it lives without references
        void visit(NodeId node, boolean root);
    }

    /// Gets each directory in use.
    @FunctionalInterface
    public interface DirectoryVisitor {
        /// @param kind of the snapshot; a layer counts as committed
        void visit(long directory, Kind kind) throws ImageException;
    }

    private final Database database;
    private final Clock clock;
    private final Object idLock = new Object();
    private long nextId;
    private long endOfIds;

    /// @param clock gives created and updated
    public SnapshotMetadata(Database database, Clock clock) {
        this.database = database;
        this.clock = clock;
    }

    // ---- names and numbers

    /// @throws ImageException `INVALID_ARGUMENT` unless it is a view name
    public static void checkView(String view) throws ImageException {
        if (view.isEmpty() || view.length() > MAX_VIEW_CHARS || view.indexOf('/') >= 0) {
            throw ImageException.invalidArgument(
                    "snapshotter name \"%s\": wanted 1 to %d characters without a slash"
                            .formatted(Text.printable(view, 80), MAX_VIEW_CHARS));
        }
        checkCharacters("snapshotter name", view);
    }

    private static void checkName(String what, String name) throws ImageException {
        if (name.isEmpty() || name.length() > MAX_NAME_CHARS) {
            throw ImageException.invalidArgument(
                    "%s \"%s\": wanted 1 to %d characters, got %d"
                            .formatted(
                                    what, Text.printable(name, 80), MAX_NAME_CHARS, name.length()));
        }
        checkCharacters(what, name);
    }

    private static void checkCharacters(String what, String name) throws ImageException {
        for (int i = 0; i < name.length(); i++) {
            char c = name.charAt(i);
            boolean pairs =
                    Character.isHighSurrogate(c)
                            && i + 1 < name.length()
                            && Character.isLowSurrogate(name.charAt(i + 1));
            if (Character.isISOControl(c) || (Character.isSurrogate(c) && !pairs)) {
                throw ImageException.invalidArgument(
                        "%s \"%s\": control character at position %d"
                                .formatted(what, Text.printable(name, 80), i + 1));
            }
            if (pairs) {
                i++;
            }
        }
    }

    private static void checkLabels(Map<String, String> labels) throws ImageException {
        if (labels.size() > MAX_LABELS) {
            throw ImageException.invalidArgument(
                    "labels: wanted at most %d, got %d".formatted(MAX_LABELS, labels.size()));
        }
        for (Map.Entry<String, String> label : labels.entrySet()) {
            String key = label.getKey();
            int bytes = utf8Length(key) + utf8Length(label.getValue());
            if (key.isEmpty() || bytes > MAX_LABEL_BYTES) {
                throw ImageException.invalidArgument(
                        "label \"%s\": wanted a key, and key and value of at most %d bytes, got %d"
                                .formatted(Text.printable(key, 80), MAX_LABEL_BYTES, bytes));
            }
        }
        String ref = labels.get(REF_LABEL);
        if (ref != null) {
            checkCharacters("label " + REF_LABEL, ref);
        }
    }

    private static int utf8Length(String text) {
        int ascii = text.length();
        for (int i = 0; i < ascii; i++) {
            if (text.charAt(i) >= 0x80) {
                return text.getBytes(StandardCharsets.UTF_8).length;
            }
        }
        return ascii;
    }

    /// A directory number that was never given out before.
    public long newDirectory() throws ImageException {
        synchronized (idLock) {
            if (nextId == endOfIds) {
                long block = database.write(tx -> tx.next(SEQUENCE));
                nextId = block * ID_BLOCK;
                endOfIds = nextId + ID_BLOCK;
            }
            return nextId++;
        }
    }

    // ---- reading

    /// The snapshot of that key or name.
    public Optional<StoredSnapshot> find(String view, String key) throws ImageException {
        byte[] row = database.read(v -> v.get(Table.SNAPSHOTS, snapshotKey(view, key)));
        return row == null ? Optional.empty() : Optional.of(Rows.snapshot(view, key, row));
    }

    /// The snapshot of that key or name.
    ///
    /// @throws ImageException `NOT_FOUND`
    public StoredSnapshot require(String view, String key) throws ImageException {
        return find(view, key).orElseThrow(() -> notFound(key));
    }

    /// A snapshot with the directories below it.
    ///
    /// @throws ImageException `NOT_FOUND`; `DATA_LOSS` when an ancestor is lost
    public SnapshotStack stack(String view, String key) throws ImageException {
        return database.read(
                v -> {
                    StoredSnapshot top = read(v, view, key);
                    return new SnapshotStack(top, lowers(v, view, top.info().parent()));
                });
    }

    /// The directory with the files of the parent that a new snapshot shall have; says early what
    /// [#create] would refuse.
    ///
    /// @param key the key of the new snapshot
    /// @return empty without a parent
    /// @throws ImageException `ALREADY_EXISTS` (key), `NOT_FOUND`, `INVALID_ARGUMENT` when the
    ///   parent is not committed, `DATA_LOSS` when it is lost
    public Optional<Long> parentDirectory(String view, String key, String parent)
            throws ImageException {
        return database.read(
                v -> {
                    refuseExisting(v, view, key);
                    requireParent(v, view, parent, ErrorKind.INVALID_ARGUMENT);
                    return parent.isEmpty()
                            ? Optional.empty()
                            : Optional.of(directory(v, read(v, view, parent)));
                });
    }

    /// The directories of a committed snapshot and its ancestors, nearest first, each once.
    ///
    /// @throws ImageException `NOT_FOUND`, `INVALID_ARGUMENT` when it is not committed, `DATA_LOSS`
    ///   when it or an ancestor is lost
    public List<Long> lowers(String view, String name) throws ImageException {
        return database.read(
                v -> {
                    requireParent(v, view, name, ErrorKind.INVALID_ARGUMENT);
                    return lowers(v, view, name);
                });
    }

    private static List<Long> lowers(View v, String view, String parent) throws ImageException {
        // Images repeat layers. Whatever lies between, the nearest place decides what the layer
        // shows, and
        // overlayfs refuses the same directory twice.
        Set<Long> lowers = new LinkedHashSet<>();
        String name = parent;
        while (!name.isEmpty()) {
            StoredSnapshot snapshot = read(v, view, name);
            lowers.add(directory(v, snapshot));
            name = snapshot.info().parent();
        }
        return List.copyOf(lowers);
    }

    /// The directory that holds the files of a committed snapshot.
    private static long directory(View v, StoredSnapshot snapshot) throws ImageException {
        if (!snapshot.lost()) {
            if (snapshot.layer().isEmpty()) {
                return snapshot.directory();
            }
            Layer layer = readLayer(v, snapshot.layer());
            if (layer != null && !layer.lost()) {
                return layer.directory();
            }
        }
        throw new ImageException(
                ErrorKind.DATA_LOSS,
                "snapshot %s: its files did not get to the disk before the machine stopped or the disk failed; %s"
                        .formatted(
                                Text.printable(snapshot.info().name(), 200),
                                "remove the image and pull it again"));
    }

    /// Calls `visitor` with each snapshot of the view for which the filter holds, until it returns
    /// false. A condition on the name, on the label [#REF_LABEL] or on a parent is answered from an
    /// index.
    public void walk(String view, Filter filter, Predicate<StoredSnapshot> visitor)
            throws ImageException {
        database.read(
                v -> {
                    Collection<String> names = candidates(v, view, filter);
                    if (names == null) {
                        scan(v, view, filter, visitor);
                    } else {
                        for (String name : names) {
                            StoredSnapshot snapshot = readOrNull(v, view, name);
                            if (snapshot != null
                                    && filter.matches(snapshot.info())
                                    && !visitor.test(snapshot)) {
                                break;
                            }
                        }
                    }
                    return null;
                });
    }

    private static void scan(View v, String view, Filter filter, Predicate<StoredSnapshot> visitor)
            throws ImageException {
        String prefix = "s" + SEPARATOR + view + SEPARATOR;
        FirstError error = new FirstError();
        v.scan(
                Table.SNAPSHOTS,
                prefix,
                (key, row) ->
                        error.guard(
                                () -> {
                                    String name = key.substring(prefix.length());
                                    StoredSnapshot snapshot = Rows.snapshot(view, name, row);
                                    return !filter.matches(snapshot.info())
                                            || visitor.test(snapshot);
                                }));
        error.rethrow();
    }

    /// The names that may match, or null when only a scan can tell.
    private static @Nullable Collection<String> candidates(View v, String view, Filter filter)
            throws ImageException {
        Set<String> names = new LinkedHashSet<>();
        for (List<Selector> selectors : filter.alternatives()) {
            if (!addCandidates(v, view, selectors, names)) {
                return null;
            }
        }
        return names;
    }

    private static boolean addCandidates(
            View v, String view, List<Selector> selectors, Set<String> names)
            throws ImageException {
        String parent = "";
        String ref = null;
        for (Selector selector : selectors) {
            if (selector.operator() != Operator.EQUAL) {
                continue;
            }
            String field = selector.path().getFirst();
            if (field.equals("name")) {
                names.add(selector.value());
                return true;
            } else if (field.equals("parent")) {
                parent = selector.value();
            } else if (field.equals("labels")
                    && String.join(".", selector.path()).equals("labels." + REF_LABEL)) {
                ref = selector.value();
            }
        }
        if (ref != null) {
            indexed(v, refKey(view, ref, ""), names);
            return true;
        }
        if (!parent.isEmpty()) {
            indexed(v, childKey(view, parent, ""), names);
            return true;
        }
        return false;
    }

    private static void indexed(View v, String prefix, Set<String> names) throws ImageException {
        v.scan(
                Table.SNAPSHOTS,
                prefix,
                (key, _) -> {
                    names.add(key.substring(prefix.length()));
                    return true;
                });
    }

    // ---- changing snapshots

    /// Adds an active snapshot or a view.
    ///
    /// @param directory its own directory, 0 when it needs none
    /// @throws ImageException `ALREADY_EXISTS` (key), `NOT_FOUND` (parent), `INVALID_ARGUMENT`
    ///   (parent not committed)
    public StoredSnapshot create(
            String view,
            String key,
            Kind kind,
            String parent,
            Map<String, String> labels,
            long directory)
            throws ImageException {
        if (kind == Kind.COMMITTED) {
            throw new IllegalArgumentException("a snapshot is not created committed");
        }
        checkName("snapshot key", key);
        checkLabels(labels);
        return database.write(
                tx -> {
                    refuseExisting(tx, view, key);
                    requireParent(tx, view, parent, ErrorKind.INVALID_ARGUMENT);
                    Instant now = clock.instant();
                    StoredSnapshot snapshot =
                            new StoredSnapshot(
                                    view,
                                    new SnapshotInfo(key, parent, kind, now, now, labels),
                                    directory,
                                    "",
                                    Optional.empty(),
                                    false);
                    add(tx, snapshot);
                    return snapshot;
                });
    }

    /// Turns the active snapshot `key` into the committed snapshot `name`; contract of
    /// [Snapshotter#commit].
    ///
    /// @param bootId the running boot: the files count as lost when another one starts before
    ///   [#settled] was called with the directory
    public StoredSnapshot commit(
            String view,
            String name,
            String key,
            Map<String, String> labels,
            String parent,
            String bootId)
            throws ImageException {
        checkName("snapshot name", name);
        checkLabels(labels);
        return database.write(
                tx -> {
                    refuseExisting(tx, view, name);
                    StoredSnapshot active = read(tx, view, key);
                    if (active.info().kind() != Kind.ACTIVE) {
                        throw ImageException.failedPrecondition(
                                "commit of snapshot %s: wanted an active one, got a %s one"
                                        .formatted(
                                                Text.printable(key, 200),
                                                word(active.info().kind())));
                    }
                    String below = active.info().parent();
                    if (below.isEmpty()) {
                        requireParent(tx, view, parent, ErrorKind.FAILED_PRECONDITION);
                        below = parent;
                    } else if (!parent.isEmpty() && !parent.equals(below)) {
                        throw ImageException.invalidArgument(
                                "commit of snapshot %s: wanted its parent %s, got %s"
                                        .formatted(
                                                Text.printable(key, 200),
                                                Text.printable(below, 200),
                                                Text.printable(parent, 200)));
                    }
                    Instant now = clock.instant();
                    StoredSnapshot committed =
                            new StoredSnapshot(
                                    view,
                                    new SnapshotInfo(name, below, Kind.COMMITTED, now, now, labels),
                                    active.directory(),
                                    "",
                                    Optional.empty(),
                                    false);
                    drop(tx, active);
                    add(tx, committed);
                    markUnsynced(tx, committed.directory(), snapshotKey(view, name), bootId);
                    return committed;
                });
    }

    /// Removes a snapshot; contract of [Snapshotter#remove].
    ///
    /// @return what was removed; its directory is the caller's to delete
    public StoredSnapshot remove(String view, String key) throws ImageException {
        return database.write(
                tx -> {
                    StoredSnapshot snapshot = read(tx, view, key);
                    if (hasChild(tx, view, key)) {
                        throw ImageException.failedPrecondition(
                                "snapshot %s: cannot remove snapshot with child"
                                        .formatted(Text.printable(key, 200)));
                    }
                    drop(tx, snapshot);
                    tx.delete(Table.LAYERS, unsyncedKey(snapshot.directory()));
                    return snapshot;
                });
    }

    /// Changes labels; contract of [Snapshotter#update].
    public SnapshotInfo update(
            String view, String name, Map<String, String> labels, List<String> fieldPaths)
            throws ImageException {
        for (String path : fieldPaths) {
            if (!path.equals("labels") && !path.startsWith("labels.")) {
                throw ImageException.invalidArgument(
                        "update of snapshot %s: only labels can change, got field path \"%s\""
                                .formatted(Text.printable(name, 200), Text.printable(path, 200)));
            }
        }
        return database.write(
                tx -> {
                    StoredSnapshot old = read(tx, view, name);
                    SnapshotInfo info = old.info();
                    Map<String, String> merged = merge(info.labels(), labels, fieldPaths);
                    checkLabels(merged);
                    SnapshotInfo changed =
                            new SnapshotInfo(
                                    name,
                                    info.parent(),
                                    info.kind(),
                                    info.created(),
                                    clock.instant(),
                                    merged);
                    unindexRef(tx, old);
                    StoredSnapshot replaced =
                            new StoredSnapshot(
                                    view,
                                    changed,
                                    old.directory(),
                                    old.layer(),
                                    old.usage(),
                                    old.lost());
                    put(tx, replaced);
                    indexRef(tx, replaced);
                    return changed;
                });
    }

    private static Map<String, String> merge(
            Map<String, String> old, Map<String, String> given, List<String> fieldPaths) {
        if (fieldPaths.isEmpty()) {
            return Map.copyOf(given);
        }
        Map<String, String> merged = new HashMap<>(old);
        for (String path : fieldPaths) {
            if (path.equals("labels")) {
                merged.clear();
                merged.putAll(given);
            } else {
                String key = path.substring("labels.".length());
                String value = given.get(key);
                if (value == null || value.isEmpty()) {
                    merged.remove(key);
                } else {
                    merged.put(key, value);
                }
            }
        }
        return merged;
    }

    // ---- layers

    /// The layer of a diffID that can stand on `parentChain`; empty also when its files are lost.
    public Optional<Layer> layer(Digest diffId, Optional<Digest> parentChain)
            throws ImageException {
        return Optional.ofNullable(database.read(v -> usableLayer(v, diffId, parentChain)));
    }

    /// The layer of an id, also when its files are lost.
    public Optional<Layer> layer(String id) throws ImageException {
        return Optional.ofNullable(database.read(v -> readLayer(v, id)));
    }

    private static @Nullable Layer usableLayer(View v, Digest diffId, Optional<Digest> parentChain)
            throws ImageException {
        Layer layer = readLayer(v, Layer.id(diffId));
        if (layer == null || layer.lost()) {
            layer = readLayer(v, Layer.id(diffId, parentChain));
        }
        return layer == null || layer.lost() ? null : layer;
    }

    /// Adds a layer. One that is there already and has its files wins; one that lost them takes the
    /// new directory, and so do the snapshots that show it.
    ///
    /// @param bootId the running boot, see [#commit]
    /// @return the layer that is now stored
    public Layer addLayer(Layer layer, String bootId) throws ImageException {
        return database.write(
                tx -> {
                    Layer old = readLayer(tx, layer.id());
                    if (old != null && !old.lost()) {
                        return old;
                    }
                    tx.put(Table.LAYERS, layerKey(layer.id()), Rows.encode(layer));
                    markUnsynced(tx, layer.directory(), layerKey(layer.id()), bootId);
                    return layer;
                });
    }

    /// Adds a committed snapshot that shows a layer; contract of [SnapshotService#link].
    ///
    /// @return the layer, empty when the view has a committed snapshot of that name already
    public Optional<Layer> link(
            String view,
            String name,
            String parent,
            Digest diffId,
            Optional<Digest> parentChain,
            Map<String, String> labels)
            throws ImageException {
        checkView(view);
        checkName("snapshot name", name);
        checkLabels(labels);
        return database.write(
                tx -> {
                    StoredSnapshot old = readOrNull(tx, view, name);
                    if (old != null && old.info().kind() != Kind.COMMITTED) {
                        throw exists(name);
                    }
                    if (old != null && !old.lost()) {
                        return Optional.empty();
                    }
                    requireParent(tx, view, parent, ErrorKind.FAILED_PRECONDITION);
                    Layer layer = usableLayer(tx, diffId, parentChain);
                    if (layer == null) {
                        throw ImageException.notFound("layer %s: not unpacked".formatted(diffId));
                    }
                    if (old != null) {
                        drop(tx, old);
                    }
                    Instant now = clock.instant();
                    add(
                            tx,
                            new StoredSnapshot(
                                    view,
                                    new SnapshotInfo(
                                            name, parent, Kind.COMMITTED, now, now, labels),
                                    0,
                                    layer.id(),
                                    Optional.of(layer.usage()),
                                    false));
                    return Optional.of(layer);
                });
    }

    // ---- garbage collection

    /// Whether a snapshot lives without references: active snapshots and views belong to whoever
    /// prepared them, and every snapshot outside of [SnapshotService#LOCAL] belongs to that view's
    /// caller.
    public static boolean isRoot(String view, Kind kind) {
        return kind != Kind.COMMITTED || !view.equals(SnapshotService.LOCAL);
    }

    /// Visits every snapshot and every layer.
    public static void visitNodes(View v, NodeVisitor visitor) throws ImageException {
        FirstError error = new FirstError();
        String snapshots = "s" + SEPARATOR;
        v.scan(
                Table.SNAPSHOTS,
                snapshots,
                (key, row) ->
                        error.guard(
                                () -> {
                                    int slash = key.indexOf(SEPARATOR, snapshots.length());
                                    String view = key.substring(snapshots.length(), slash);
                                    String name = key.substring(slash + 1);
                                    Kind kind = Rows.snapshot(view, name, row).info().kind();
                                    visitor.visit(NodeId.snapshot(view, name), isRoot(view, kind));
                                    return true;
                                }));
        error.rethrow();
        String layers = layerKey("");
        v.scan(
                Table.LAYERS,
                layers,
                (key, _) -> {
                    visitor.visit(NodeId.layer(key.substring(layers.length())), false);
                    return true;
                });
    }

    /// Removes a snapshot or layer that is no root and that no edge points to.
    ///
    /// @return the number of the directory to delete, 0 when it has none; empty when nothing was
    ///   removed
    public Optional<Long> removeUnreferenced(NodeId node) throws ImageException {
        return switch (node.type()) {
            case SNAPSHOT -> {
                int slash = node.key().indexOf('/');
                if (slash < 0) {
                    throw new IllegalArgumentException("not a snapshot: " + node);
                }
                String view = node.key().substring(0, slash);
                String name = node.key().substring(slash + 1);
                yield database.write(tx -> removeUnreferenced(tx, view, name));
            }
            case LAYER -> database.write(tx -> removeUnreferencedLayer(tx, node.key()));
            case IMAGE, LEASE, BLOB ->
                    throw new IllegalArgumentException("neither snapshot nor layer: " + node);
        };
    }

    private static Optional<Long> removeUnreferenced(Transaction tx, String view, String name)
            throws ImageException {
        StoredSnapshot snapshot = readOrNull(tx, view, name);
        if (snapshot == null
                || isRoot(view, snapshot.info().kind())
                || tx.references(NodeId.snapshot(view, name)) > 0) {
            return Optional.empty();
        }
        drop(tx, snapshot);
        tx.delete(Table.LAYERS, unsyncedKey(snapshot.directory()));
        return Optional.of(snapshot.directory());
    }

    private static Optional<Long> removeUnreferencedLayer(Transaction tx, String id)
            throws ImageException {
        Layer layer = readLayer(tx, id);
        if (layer == null || tx.references(NodeId.layer(id)) > 0) {
            return Optional.empty();
        }
        tx.delete(Table.LAYERS, layerKey(id));
        tx.delete(Table.LAYERS, unsyncedKey(layer.directory()));
        return Optional.of(layer.directory());
    }

    // ---- durability and recovery

    /// How the last owner ended.
    public Session lastSession() throws ImageException {
        byte[] row = database.read(v -> v.get(Table.LAYERS, SESSION));
        if (row == null) {
            return Session.NONE;
        }
        return new String(row, StandardCharsets.US_ASCII).equals("closed")
                ? Session.CLOSED
                : Session.OPEN;
    }

    /// Records that directories are about to change, so that the next owner compares them with the
    /// rows.
    public void sessionOpened() throws ImageException {
        session("open");
    }

    /// Records that directories and rows agree.
    public void sessionClosed() throws ImageException {
        session("closed");
    }

    private void session(String state) throws ImageException {
        byte[] row = state.getBytes(StandardCharsets.US_ASCII);
        database.write(
                tx -> {
                    tx.put(Table.LAYERS, SESSION, row);
                    return null;
                });
    }

    /// The directories that were committed and are not known to be durable.
    public List<Unsynced> unsynced() throws ImageException {
        return database.read(
                v -> {
                    List<Unsynced> found = new ArrayList<>();
                    v.scan(
                            Table.LAYERS,
                            UNSYNCED,
                            (key, row) -> {
                                String text = new String(row, StandardCharsets.UTF_8);
                                found.add(
                                        new Unsynced(
                                                Long.parseLong(
                                                        key, UNSYNCED.length(), key.length(), 10),
                                                text.substring(0, text.indexOf(SEPARATOR))));
                                return true;
                            });
                    return found;
                });
    }

    /// Records that the bytes of directories are durable, and what committed snapshots take.
    ///
    /// @param measured does nothing for a snapshot that is gone or whose name another one has now
    public void settled(Collection<Long> directories, Collection<Measured> measured)
            throws ImageException {
        database.write(
                tx -> {
                    for (long directory : directories) {
                        tx.delete(Table.LAYERS, unsyncedKey(directory));
                    }
                    for (Measured one : measured) {
                        store(tx, one);
                    }
                    return null;
                });
    }

    private static void store(Transaction tx, Measured measured) throws ImageException {
        StoredSnapshot snapshot = readOrNull(tx, measured.view(), measured.name());
        if (snapshot != null
                && snapshot.directory() == measured.directory()
                && snapshot.info().kind() == Kind.COMMITTED) {
            put(
                    tx,
                    new StoredSnapshot(
                            measured.view(),
                            snapshot.info(),
                            measured.directory(),
                            snapshot.layer(),
                            Optional.of(measured.usage()),
                            snapshot.lost()));
        }
    }

    /// Records that a directory lost its files: a layer is forgotten or, when snapshots show it,
    /// waits to be unpacked again; a committed snapshot of its own cannot be used any more.
    ///
    /// @return the name of what lost its files, for a report; empty when nothing uses the directory
    public Optional<String> lost(long directory) throws ImageException {
        return database.write(
                tx -> {
                    byte[] row = tx.get(Table.LAYERS, unsyncedKey(directory));
                    if (row == null) {
                        return Optional.empty();
                    }
                    tx.delete(Table.LAYERS, unsyncedKey(directory));
                    String text = new String(row, StandardCharsets.UTF_8);
                    return lost(tx, directory, text.substring(text.indexOf(SEPARATOR) + 1));
                });
    }

    /// Like [#lost(long)] for a directory that turned out to be missing: also finds owners that
    /// were durable once. Reads all rows.
    public List<String> missing(Set<Long> directories) throws ImageException {
        return database.write(
                tx -> {
                    List<String> owners = new ArrayList<>();
                    List<Long> numbers = new ArrayList<>();
                    owners(
                            tx,
                            (owner, number, kind) -> {
                                if (kind == Kind.COMMITTED && directories.contains(number)) {
                                    owners.add(owner);
                                    numbers.add(number);
                                }
                            });
                    List<String> names = new ArrayList<>();
                    for (int i = 0; i < owners.size(); i++) {
                        tx.delete(Table.LAYERS, unsyncedKey(numbers.get(i)));
                        lost(tx, numbers.get(i), owners.get(i)).ifPresent(names::add);
                    }
                    return names;
                });
    }

    private static Optional<String> lost(Transaction tx, long directory, String owner)
            throws ImageException {
        if (owner.startsWith(layerKey(""))) {
            String id = owner.substring(layerKey("").length());
            Layer layer = readLayer(tx, id);
            if (layer == null || layer.directory() != directory) {
                return Optional.empty();
            }
            if (tx.references(NodeId.layer(id)) == 0) {
                tx.delete(Table.LAYERS, owner);
            } else {
                tx.put(
                        Table.LAYERS,
                        owner,
                        Rows.encode(
                                new Layer(id, layer.diffId(), 0, layer.usage(), layer.created())));
            }
            return Optional.of("layer " + id);
        }
        String[] parts = owner.split(SEPARATOR, 3);
        StoredSnapshot snapshot = readOrNull(tx, parts[1], parts[2]);
        if (snapshot == null || snapshot.directory() != directory) {
            return Optional.empty();
        }
        put(
                tx,
                new StoredSnapshot(
                        parts[1], snapshot.info(), directory, "", snapshot.usage(), true));
        return Optional.of("snapshot " + parts[1] + "/" + parts[2]);
    }

    /// Visits every directory that a row uses.
    public void directories(DirectoryVisitor visitor) throws ImageException {
        database.read(
                v -> {
                    owners(v, (_, directory, kind) -> visitor.visit(directory, kind));
                    return null;
                });
    }

    @FunctionalInterface
    private interface OwnerVisitor {
        void visit(String owner, long directory, Kind kind) throws ImageException;
    }

    private static void owners(View v, OwnerVisitor visitor) throws ImageException {
        FirstError error = new FirstError();
        v.scan(
                Table.SNAPSHOTS,
                "s" + SEPARATOR,
                (key, row) ->
                        error.guard(
                                () -> {
                                    String[] parts = key.split(SEPARATOR, 3);
                                    StoredSnapshot snapshot =
                                            Rows.snapshot(parts[1], parts[2], row);
                                    if (snapshot.directory() != 0) {
                                        visitor.visit(
                                                key, snapshot.directory(), snapshot.info().kind());
                                    }
                                    return true;
                                }));
        error.rethrow();
        v.scan(
                Table.LAYERS,
                layerKey(""),
                (key, row) ->
                        error.guard(
                                () -> {
                                    Layer layer =
                                            Rows.layer(key.substring(layerKey("").length()), row);
                                    if (!layer.lost()) {
                                        visitor.visit(key, layer.directory(), Kind.COMMITTED);
                                    }
                                    return true;
                                }));
        error.rethrow();
    }

    // ---- rows, indexes and edges

    private static void add(Transaction tx, StoredSnapshot snapshot) throws ImageException {
        SnapshotInfo info = snapshot.info();
        put(tx, snapshot);
        indexRef(tx, snapshot);
        NodeId node = NodeId.snapshot(snapshot.view(), info.name());
        if (!info.parent().isEmpty()) {
            tx.put(Table.SNAPSHOTS, childKey(snapshot.view(), info.parent(), info.name()), EMPTY);
            tx.link(node, NodeId.snapshot(snapshot.view(), info.parent()));
        }
        if (!snapshot.layer().isEmpty()) {
            tx.link(node, NodeId.layer(snapshot.layer()));
        }
    }

    private static void drop(Transaction tx, StoredSnapshot snapshot) throws ImageException {
        SnapshotInfo info = snapshot.info();
        tx.delete(Table.SNAPSHOTS, snapshotKey(snapshot.view(), info.name()));
        unindexRef(tx, snapshot);
        if (!info.parent().isEmpty()) {
            tx.delete(Table.SNAPSHOTS, childKey(snapshot.view(), info.parent(), info.name()));
        }
        tx.unlinkAll(NodeId.snapshot(snapshot.view(), info.name()));
    }

    private static void put(Transaction tx, StoredSnapshot snapshot) throws ImageException {
        tx.put(
                Table.SNAPSHOTS,
                snapshotKey(snapshot.view(), snapshot.info().name()),
                Rows.encode(snapshot));
    }

    private static void indexRef(Transaction tx, StoredSnapshot snapshot) throws ImageException {
        String ref = snapshot.info().labels().get(REF_LABEL);
        if (ref != null) {
            tx.put(Table.SNAPSHOTS, refKey(snapshot.view(), ref, snapshot.info().name()), EMPTY);
        }
    }

    private static void unindexRef(Transaction tx, StoredSnapshot snapshot) throws ImageException {
        String ref = snapshot.info().labels().get(REF_LABEL);
        if (ref != null) {
            tx.delete(Table.SNAPSHOTS, refKey(snapshot.view(), ref, snapshot.info().name()));
        }
    }

    private static void markUnsynced(Transaction tx, long directory, String owner, String bootId)
            throws ImageException {
        tx.put(
                Table.LAYERS,
                unsyncedKey(directory),
                (bootId + SEPARATOR + owner).getBytes(StandardCharsets.UTF_8));
    }

    private static boolean hasChild(View v, String view, String key) throws ImageException {
        if (v.references(NodeId.snapshot(view, key)) == 0) {
            return false;
        }
        boolean[] found = {false};
        v.scan(
                Table.SNAPSHOTS,
                childKey(view, key, ""),
                (_, _) -> {
                    found[0] = true;
                    return false;
                });
        return found[0];
    }

    private static void requireParent(View v, String view, String parent, ErrorKind notCommitted)
            throws ImageException {
        if (parent.isEmpty()) {
            return;
        }
        StoredSnapshot snapshot = readOrNull(v, view, parent);
        if (snapshot == null) {
            throw ImageException.notFound(
                    "parent snapshot %s: not found".formatted(Text.printable(parent, 200)));
        }
        if (snapshot.info().kind() != Kind.COMMITTED) {
            throw new ImageException(
                    notCommitted,
                    "parent snapshot %s: wanted a committed one, got a %s one"
                            .formatted(Text.printable(parent, 200), word(snapshot.info().kind())));
        }
    }

    private static void refuseExisting(View v, String view, String key) throws ImageException {
        if (v.get(Table.SNAPSHOTS, snapshotKey(view, key)) != null) {
            throw exists(key);
        }
    }

    private static ImageException exists(String key) {
        return ImageException.alreadyExists(
                "snapshot %s: already exists".formatted(Text.printable(key, 200)));
    }

    private static ImageException notFound(String key) {
        return ImageException.notFound(
                "snapshot %s: not found".formatted(Text.printable(key, 200)));
    }

    private static StoredSnapshot read(View v, String view, String key) throws ImageException {
        StoredSnapshot snapshot = readOrNull(v, view, key);
        if (snapshot == null) {
            throw notFound(key);
        }
        return snapshot;
    }

    private static @Nullable StoredSnapshot readOrNull(View v, String view, String key)
            throws ImageException {
        byte[] row = v.get(Table.SNAPSHOTS, snapshotKey(view, key));
        return row == null ? null : Rows.snapshot(view, key, row);
    }

    private static @Nullable Layer readLayer(View v, String id) throws ImageException {
        byte[] row = v.get(Table.LAYERS, layerKey(id));
        return row == null ? null : Rows.layer(id, row);
    }

    private static String snapshotKey(String view, String key) {
        return "s" + SEPARATOR + view + SEPARATOR + key;
    }

    private static String childKey(String view, String parent, String key) {
        return "c" + SEPARATOR + view + SEPARATOR + parent + SEPARATOR + key;
    }

    private static String refKey(String view, String ref, String key) {
        return "r" + SEPARATOR + view + SEPARATOR + ref + SEPARATOR + key;
    }

    private static String layerKey(String id) {
        return "y" + SEPARATOR + id;
    }

    private static String unsyncedKey(long directory) {
        return UNSYNCED + directory;
    }

    private static String word(Kind kind) {
        return switch (kind) {
            case VIEW -> "read-only";
            case ACTIVE -> "active";
            case COMMITTED -> "committed";
        };
    }

    /// Carries a checked error out of a scan, which it ends.
    private static final class FirstError {
        @FunctionalInterface
        interface Step {
            boolean run() throws ImageException;
        }

        private @Nullable ImageException error;

        boolean guard(Step step) {
            try {
                return step.run();
            } catch (ImageException e) {
                error = e;
                return false;
            }
        }

        void rethrow() throws ImageException {
            if (error != null) {
                throw error;
            }
        }
    }
}
