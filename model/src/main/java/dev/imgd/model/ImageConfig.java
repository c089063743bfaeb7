package dev.imgd.model;

import java.time.DateTimeException;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// The configuration of an image: what it runs on, how its processes start, and the digests of its
/// uncompressed layers. **Source:** OCI image-spec v1.1, config.md.
///
/// @param raw the document as it was received
/// @param platform what the image runs on, as written; see [Platform#normalized()]
/// @param created when the image was built, RFC 3339 as written; see [#createdAt()]
/// @param author who built it; empty when unknown
/// @param config how processes start
/// @param diffIds digests of the uncompressed layers, lowest first; empty for artifacts
/// @param history how the layers were made, lowest first
public record ImageConfig(
        Bytes raw,
        Platform platform,
        Optional<String> created,
        String author,
        Execution config,
        List<Digest> diffIds,
        List<History> history) {

    /// How a container of the image starts. Everything is attacker input; empty where the image
    /// says nothing.
    ///
    /// @param user name or number, and after `:` a group
    /// @param env `NAME=value` entries
    /// @param entrypoint the command, before `cmd`
    /// @param cmd the command when there is no entry point, else its default arguments
    /// @param workingDir an absolute path in the container
    /// @param labels in the order of the document
    /// @param exposedPorts for example `80/tcp`
    /// @param volumes paths in the container
    /// @param stopSignal a name or number, for example `SIGTERM`
    public record Execution(
            String user,
            List<String> env,
            List<String> entrypoint,
            List<String> cmd,
            String workingDir,
            Map<String, String> labels,
            List<String> exposedPorts,
            List<String> volumes,
            String stopSignal) {

        public Execution {
            env = List.copyOf(env);
            entrypoint = List.copyOf(entrypoint);
            cmd = List.copyOf(cmd);
            labels = Collections.unmodifiableMap(labels);
            exposedPorts = List.copyOf(exposedPorts);
            volumes = List.copyOf(volumes);
        }

        private static Execution empty() {
            List<String> none = List.of();
            return new Execution("", none, none, none, "", Map.of(), none, none, "");
        }
    }

    /// One step that made the image. Texts are empty where the image says nothing.
    ///
    /// @param created RFC 3339 as written
    /// @param emptyLayer whether the step made no layer
    public record History(
            Optional<String> created,
            String createdBy,
            String author,
            String comment,
            boolean emptyLayer) {}

    public ImageConfig {
        diffIds = List.copyOf(diffIds);
        history = List.copyOf(history);
    }

    /// Reads a configuration within the default limits; see [#parse(String, Bytes, Optional,
    /// Limits)].
    public static ImageConfig parse(String what, Bytes raw, Optional<String> declaredMediaType)
            throws ImageException {
        return parse(what, raw, declaredMediaType, Limits.defaults());
    }

    /// Reads a configuration. Members that are `null` or absent are empty, and members that nobody
    /// here needs are not looked at.
    ///
    /// @param what the document and where it came from, for error messages
    /// @param declaredMediaType the type in the descriptor; a manifest or layer type is an error
    /// @throws ImageException [ErrorKind#INVALID_CONTENT] when the document is malformed
    /// @throws LimitExceededException when it has too much of something
    public static ImageConfig parse(
            String what, Bytes raw, Optional<String> declaredMediaType, Limits limits)
            throws ImageException {
        if (declaredMediaType.isPresent()) {
            checkType(what, declaredMediaType.get());
        }
        JsonNode root = Json.parse(what, raw.array(), limits);
        Optional<JsonNode> config = root.find("config");
        return new ImageConfig(
                raw,
                Platform.read(root),
                time(root),
                root.text("author", ""),
                config.isPresent() ? execution(config.get(), limits) : Execution.empty(),
                diffIds(root, limits),
                history(root, limits));
    }

    private static void checkType(String what, String declared) throws ImageException {
        MediaType type = MediaType.of(declared);
        // Old images declare application/octet-stream, and artifacts whatever they like.
        if (!(type instanceof MediaType.ConfigType) && !(type instanceof MediaType.OpaqueType)) {
            throw ImageException.invalidContent(
                    "%s: wanted an image config, got the media type \"%s\""
                            .formatted(what, Text.printable(declared, 120)));
        }
    }

    private static Execution execution(JsonNode config, Limits limits) throws ImageException {
        List<String> env = config.texts("Env");
        check(config, limits, Limits.Key.CONFIG_ENV, "Env", env.size());
        Map<String, String> labels = config.textMap("Labels");
        check(config, limits, Limits.Key.CONFIG_LABELS, "Labels", labels.size());
        for (Map.Entry<String, String> label : labels.entrySet()) {
            int length = label.getKey().length() + label.getValue().length();
            check(config, limits, Limits.Key.CONFIG_LABEL_BYTES, "Labels", length);
        }
        return new Execution(
                config.text("User", ""),
                env,
                command(config, "Entrypoint"),
                command(config, "Cmd"),
                config.text("WorkingDir", ""),
                labels,
                config.names("ExposedPorts"),
                config.names("Volumes"),
                config.text("StopSignal", ""));
    }

    /// Docker reads a string where a list should be as a list of one, and old images have them.
    private static List<String> command(JsonNode config, String name) throws ImageException {
        Optional<JsonNode> node = config.find(name);
        return node.isPresent() && node.get().kind() == JsonNode.Kind.STRING
                ? List.of(node.get().text())
                : config.texts(name);
    }

    private static List<Digest> diffIds(JsonNode root, Limits limits) throws ImageException {
        Optional<JsonNode> rootfs = root.find("rootfs");
        if (rootfs.isEmpty()) {
            return List.of();
        }
        Optional<JsonNode> type = rootfs.get().find("type");
        if (type.isPresent() && !type.get().text().equals("layers")) {
            throw type.get()
                    .invalid(
                            "wanted \"layers\", got \"%s\""
                                    .formatted(Text.printable(type.get().text(), 80)));
        }
        List<JsonNode> items = rootfs.get().items("diff_ids");
        check(rootfs.get(), limits, Limits.Key.LAYERS, "diff_ids", items.size());
        List<Digest> diffIds = new ArrayList<>(items.size());
        for (JsonNode item : items) {
            diffIds.add(Descriptor.readDigest(item));
        }
        return diffIds;
    }

    private static List<History> history(JsonNode root, Limits limits) throws ImageException {
        List<JsonNode> items = root.items("history");
        check(root, limits, Limits.Key.CONFIG_HISTORY, "history", items.size());
        List<History> history = new ArrayList<>(items.size());
        for (JsonNode item : items) {
            history.add(
                    new History(
                            time(item),
                            item.text("created_by", ""),
                            item.text("author", ""),
                            item.text("comment", ""),
                            item.bool("empty_layer", false)));
        }
        return history;
    }

    private static Optional<String> time(JsonNode node) throws ImageException {
        String created = node.text("created", "");
        return created.isEmpty() ? Optional.empty() : Optional.of(created);
    }

    private static void check(JsonNode node, Limits limits, Limits.Key key, String name, int amount)
            throws ImageException {
        if (amount > limits.value(key)) {
            throw limits.exceeded(key, "%s: \"%s\" has %d".formatted(node.where(), name, amount));
        }
    }

    /// When the image was built, or nothing when the image does not say it or not in RFC 3339.
    public Optional<Instant> createdAt() {
        try {
            return created.isEmpty()
                    ? Optional.empty()
                    : Optional.of(OffsetDateTime.parse(created.get()).toInstant());
        } catch (DateTimeException e) {
            return Optional.empty();
        }
    }

    /// Refuses a config that does not describe the layers of the manifest.
    ///
    /// @param what the image
    /// @throws ImageException [ErrorKind#INVALID_CONTENT] when the counts differ
    public void checkLayers(String what, Manifest manifest) throws ImageException {
        int layers = manifest.imageLayers().size();
        if (layers != diffIds.size()) {
            throw ImageException.invalidContent(
                    "%s: the manifest has %d layers, but the config has %d diff_ids"
                            .formatted(what, layers, diffIds.size()));
        }
    }
}
