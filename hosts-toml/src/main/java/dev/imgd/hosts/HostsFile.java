package dev.imgd.hosts;

import dev.imgd.hosts.HostEntry.ClientPair;
import dev.imgd.model.ImageException;
import dev.imgd.model.Text;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import org.tomlj.Toml;
import org.tomlj.TomlArray;
import org.tomlj.TomlParseError;
import org.tomlj.TomlParseResult;
import org.tomlj.TomlPosition;
import org.tomlj.TomlTable;

/// One `hosts.toml` that has been read, before it is known which registry is asked for.
///
/// @param hosts the `[host."…"]` tables in the order of their first brackets
/// @param server the top level, which is asked last
/// @param warnings what was passed over, one sentence each. **Source:** containerd docs/hosts.md
///   and `core/remotes/docker/config`
record HostsFile(List<HostEntry> hosts, HostEntry server, List<String> warnings) {

    /// Reads the text of a file.
    ///
    /// @param file for messages, and relative paths in it start at its directory
    /// @throws ImageException `INVALID_ARGUMENT` with file, line, column and key
    static HostsFile parse(Path file, String text, HostsMode mode) throws ImageException {
        return new Reader(file, text, mode).read();
    }

    /// A key of a table, to say where something is wrong.
    private record Field(List<String> path, @Nullable TomlPosition position) {}

    private static final class Reader {
        private static final List<String> HOST_KEYS =
                List.of(
                        "capabilities",
                        "ca",
                        "client",
                        "skip_verify",
                        "header",
                        "override_path",
                        "dial_timeout",
                        "rewrite");
        private static final List<String> ROOT_KEYS =
                List.of(
                        "server",
                        "host",
                        "capabilities",
                        "ca",
                        "client",
                        "skip_verify",
                        "header",
                        "override_path",
                        "dial_timeout");
        private static final List<String> CAPABILITIES =
                List.of("pull", "resolve", "push", "referrers");

        /// Headers that say how a message is framed or what exactly is asked for.
        private static final Set<String> RESERVED_HEADERS =
                Set.of(
                        "accept",
                        "accept-encoding",
                        "connection",
                        "content-length",
                        "content-range",
                        "content-type",
                        "expect",
                        "host",
                        "if-match",
                        "if-none-match",
                        "keep-alive",
                        "range",
                        "te",
                        "trailer",
                        "transfer-encoding",
                        "upgrade");

        private static final Duration MAX_DIAL_TIMEOUT = Duration.ofHours(1);

        private final Path file;
        private final Path directory;
        private final List<String> lines;
        private final HostsMode mode;
        private final String text;
        private final List<String> warnings = new ArrayList<>();

        Reader(Path file, String text, HostsMode mode) {
            Path parent = file.getParent();
            this.file = file;
            this.directory = parent == null ? Path.of("") : parent;
            this.text = text;
            this.lines = text.lines().toList();
            this.mode = mode;
        }

        HostsFile read() throws ImageException {
            TomlParseResult root = Toml.parse(text);
            if (root.hasErrors()) {
                TomlParseError error = root.errors().getFirst();
                // Without the parser's exception, which quotes the file.
                String problem = TomlRule.of(String.valueOf(error.getMessage()));
                throw ImageException.invalidArgument(
                        "%s: line %d, column %d: not TOML: %s"
                                .formatted(
                                        file,
                                        error.position().line(),
                                        error.position().column(),
                                        plain(problem)));
            }
            List<HostEntry> hosts = new ArrayList<>();
            Object tables = value(root, "host");
            if (tables != null) {
                Field field = field(root, List.of(), "host");
                if (!(tables instanceof TomlTable table)) {
                    throw wrong(
                            field,
                            "wanted tables such as [host.\"https://mirror\"], got " + kind(tables));
                }
                for (String name : table.keySet()) {
                    HostEntry host = host(table, name);
                    if (host != null) {
                        hosts.add(host);
                    }
                }
            }
            return new HostsFile(hosts, server(root), warnings);
        }

        private @Nullable HostEntry host(TomlTable tables, String name) throws ImageException {
            Field field = field(tables, List.of("host"), name);
            Object value = value(tables, name);
            if (!(value instanceof TomlTable table)) {
                throw wrong(field, "wanted a table, got " + kind(value));
            }
            if (name.isEmpty()) {
                throw wrong(field, "the URL of a host is missing");
            }
            if (!isBracketed(field)) {
                ignored(
                        field,
                        "write it as a table of its own, [host.\"%s\"], for its place in the order"
                                .formatted(plain(Text.withoutUser(name))));
                return null;
            }
            return entry(table, List.of("host", name), HOST_KEYS, name, field);
        }

        private HostEntry server(TomlTable root) throws ImageException {
            Field field = field(root, List.of(), "server");
            Object value = value(root, "server");
            String server = value == null ? "" : string(value, field);
            if (server.isEmpty()) {
                for (String key : List.of("capabilities", "override_path")) {
                    if (value(root, key) != null) {
                        ignored(
                                field(root, List.of(), key),
                                "has no effect without server; add server = \"https://…\"");
                    }
                }
            }
            return entry(root, List.of(), ROOT_KEYS, server, field);
        }

        /// @param place the URL; empty for a top level without `server`
        /// @param named where it is written
        private HostEntry entry(
                TomlTable table, List<String> at, List<String> keys, String place, Field named)
                throws ImageException {
            for (String key : table.keySet()) {
                if (keys.contains(key)) {
                    continue;
                }
                Field field = field(table, at, key);
                ignored(
                        field,
                        key.equals("rewrite")
                                ? "belongs into a [host.\"…\"] table; the server is asked with the"
                                        + " names as they are"
                                : "unknown key; " + KeyNames.advice(key, keys));
            }
            boolean override = Boolean.TRUE.equals(bool(table, at, "override_path"));
            int line = named.position() == null ? 0 : named.position().line();
            return new HostEntry(
                    place.isEmpty() ? null : url(place, override, named),
                    line == 0 ? file.toString() : file + ":" + line,
                    place.isEmpty() ? HostEntry.ALL : capabilities(table, at),
                    authorities(table, at),
                    clients(table, at),
                    bool(table, at, "skip_verify"),
                    headers(table, at),
                    dialTimeout(table, at),
                    at.isEmpty() ? List.of() : rewrites(table, at));
        }

        private HostUrl url(String text, boolean override, Field field) throws ImageException {
            HostUrl.Parsed parsed = HostUrl.parse(text, override);
            HostUrl url = parsed.url();
            if (url == null) {
                throw wrong(
                        field,
                        "\"%s\": %s".formatted(plain(Text.withoutUser(text)), parsed.problem()));
            }
            if (parsed.ignored() != null) {
                ignored(field, "a host cannot have " + parsed.ignored());
            }
            return url;
        }

        private Set<Capability> capabilities(TomlTable table, List<String> at)
                throws ImageException {
            Field field = field(table, at, "capabilities");
            Object value = value(table, "capabilities");
            if (value == null) {
                return HostEntry.ALL;
            }
            EnumSet<Capability> capabilities = EnumSet.noneOf(Capability.class);
            for (String word : strings(array(value, field, "a list of strings"), field)) {
                if (!CAPABILITIES.contains(word.toLowerCase(Locale.ROOT))) {
                    throw wrong(
                            field,
                            "unknown capability \"%s\"; %s"
                                    .formatted(
                                            plain(word),
                                            KeyNames.advice(word, CAPABILITIES)
                                                    .replace("the keys here", "there")));
                }
                capabilities.add(Capability.valueOf(word.toUpperCase(Locale.ROOT)));
            }
            return capabilities.isEmpty() ? HostEntry.ALL : Set.copyOf(capabilities);
        }

        private List<Path> authorities(TomlTable table, List<String> at) throws ImageException {
            Field field = field(table, at, "ca");
            Object value = value(table, "ca");
            List<Path> files = new ArrayList<>();
            if (value instanceof String one) {
                files.add(path(one, field));
            } else if (value != null) {
                for (String one :
                        strings(array(value, field, "a file or a list of files"), field)) {
                    files.add(path(one, field));
                }
            }
            return files;
        }

        private List<ClientPair> clients(TomlTable table, List<String> at) throws ImageException {
            Field field = field(table, at, "client");
            Object value = value(table, "client");
            List<ClientPair> pairs = new ArrayList<>();
            if (value instanceof String one) {
                pairs.add(both(one, field));
            } else if (value != null) {
                TomlArray list =
                        array(value, field, "a file, a list of files or a list of [cert, key]");
                for (int i = 0; i < list.size(); i++) {
                    pairs.add(client(list.get(i), field));
                }
            }
            return pairs;
        }

        private ClientPair client(Object value, Field field) throws ImageException {
            if (value instanceof String one) {
                return both(one, field);
            }
            List<String> pair = strings(array(value, field, "a file or a pair [cert, key]"), field);
            if (pair.size() != 2) {
                throw wrong(
                        field,
                        "wanted a pair [cert, key], got a list of %d".formatted(pair.size()));
            }
            Path certificate = path(pair.getFirst(), field);
            // An empty key means that the key is in the file of the certificate.
            return pair.getLast().isEmpty()
                    ? new ClientPair(certificate, certificate)
                    : new ClientPair(certificate, path(pair.getLast(), field));
        }

        private ClientPair both(String text, Field field) throws ImageException {
            Path path = path(text, field);
            return new ClientPair(path, path);
        }

        private Map<String, List<String>> headers(TomlTable table, List<String> at)
                throws ImageException {
            Map<String, List<String>> headers = new LinkedHashMap<>();
            Object value = value(table, "header");
            if (value == null) {
                return headers;
            }
            if (!(value instanceof TomlTable tables)) {
                throw wrong(field(table, at, "header"), "wanted a table, got " + kind(value));
            }
            Set<String> seen = new TreeSet<>(String.CASE_INSENSITIVE_ORDER);
            for (String name : tables.keySet()) {
                Field field = field(tables, plus(at, "header"), name);
                Object content = value(tables, name);
                List<String> values =
                        content instanceof String one
                                ? List.of(one)
                                : strings(
                                        array(content, field, "a string or a list of strings"),
                                        field);
                String problem = headerProblem(name, values);
                if (problem == null && !seen.add(name)) {
                    problem = "is there twice; write one list of values";
                }
                if (problem != null) {
                    ignored(field, problem);
                } else {
                    headers.put(name, values);
                }
            }
            return headers;
        }

        /// Says nothing of the values, which may be secrets.
        private static @Nullable String headerProblem(String name, List<String> values) {
            for (int i = 0; i < name.length(); i++) {
                char c = name.charAt(i);
                boolean letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
                boolean digit = c >= '0' && c <= '9';
                if (!letter && !digit && "!#$%&'*+-.^_`|~".indexOf(c) < 0) {
                    return "is not a header name";
                }
            }
            if (name.isEmpty()) {
                return "is not a header name";
            }
            if (RESERVED_HEADERS.contains(name.toLowerCase(Locale.ROOT))) {
                return "is a header that the client must set itself";
            }
            for (String value : values) {
                for (int i = 0; i < value.length(); i++) {
                    char c = value.charAt(i);
                    if ((c < 0x20 && c != '\t') || c > 0x7e) {
                        return "the value has a character that headers cannot have";
                    }
                }
            }
            return null;
        }

        private @Nullable Duration dialTimeout(TomlTable table, List<String> at)
                throws ImageException {
            Field field = field(table, at, "dial_timeout");
            Object value = value(table, "dial_timeout");
            if (value == null) {
                return null;
            }
            String written = value instanceof String text ? text : null;
            Duration duration =
                    written == null || written.isEmpty() ? null : GoDuration.parse(written);
            if (duration == null && (written == null || !written.isEmpty())) {
                throw wrong(
                        field,
                        "wanted a duration such as \"200ms\" or \"3s\", got "
                                + (written == null ? kind(value) : '"' + plain(written) + '"'));
            }
            if (duration == null
                    || duration.toMillis() < 1
                    || duration.compareTo(MAX_DIAL_TIMEOUT) > 0) {
                ignored(field, "wanted a duration from \"1ms\" to \"1h\"");
                return null;
            }
            return duration;
        }

        private List<Rewrite> rewrites(TomlTable table, List<String> at) throws ImageException {
            List<Rewrite> rewrites = new ArrayList<>();
            Object value = value(table, "rewrite");
            if (value == null) {
                return rewrites;
            }
            if (!(value instanceof TomlTable patterns)) {
                throw wrong(field(table, at, "rewrite"), "wanted a table, got " + kind(value));
            }
            for (String pattern : patterns.keySet()) {
                Field field = field(patterns, plus(at, "rewrite"), pattern);
                String replacement = string(value(patterns, pattern), field);
                try {
                    rewrites.add(Rewrite.of(pattern, replacement));
                } catch (ImageException e) {
                    throw wrong(field, e.getMessage());
                }
            }
            return rewrites;
        }

        private @Nullable Boolean bool(TomlTable table, List<String> at, String key)
                throws ImageException {
            Object value = value(table, key);
            if (value != null && !(value instanceof Boolean)) {
                throw wrong(field(table, at, key), "wanted true or false, got " + kind(value));
            }
            return (Boolean) value;
        }

        private String string(@Nullable Object value, Field field) throws ImageException {
            if (value instanceof String string) {
                return string;
            }
            throw wrong(field, "wanted a string, got " + kind(value));
        }

        private TomlArray array(@Nullable Object value, Field field, String wanted)
                throws ImageException {
            if (value instanceof TomlArray array) {
                return array;
            }
            throw wrong(field, "wanted %s, got %s".formatted(wanted, kind(value)));
        }

        private List<String> strings(TomlArray array, Field field) throws ImageException {
            List<String> strings = new ArrayList<>();
            for (int i = 0; i < array.size(); i++) {
                Object value = array.get(i);
                if (!(value instanceof String string)) {
                    throw wrong(field, "wanted strings in the list, got " + kind(value));
                }
                strings.add(string);
            }
            return strings;
        }

        private Path path(String text, Field field) throws ImageException {
            if (text.isEmpty()) {
                throw wrong(field, "wanted a file, got an empty string");
            }
            try {
                return directory.resolve(text);
            } catch (InvalidPathException e) {
                throw wrong(field, "not a path"); // a NUL
            }
        }

        private static @Nullable Object value(TomlTable table, String key) {
            return table.get(List.of(key));
        }

        private static Field field(TomlTable table, List<String> at, String key) {
            return new Field(plus(at, key), table.inputPositionOf(List.of(key)));
        }

        private static List<String> plus(List<String> path, String key) {
            List<String> longer = new ArrayList<>(path);
            longer.add(key);
            return longer;
        }

        /// Whether the table was opened with brackets; a dotted key or an inline table begins with
        /// something else.
        private boolean isBracketed(Field field) {
            TomlPosition position = field.position();
            if (position == null || position.line() > lines.size()) {
                return false;
            }
            String line = lines.get(position.line() - 1);
            int column = position.column() - 1;
            return column >= 0 && column < line.length() && line.charAt(column) == '[';
        }

        private static String kind(@Nullable Object value) {
            return switch (value) {
                case null -> "nothing";
                case String _ -> "a string";
                case Long _, Double _ -> "a number";
                case Boolean _ -> "true or false";
                case TomlArray _ -> "a list";
                case TomlTable _ -> "a table";
                default -> "a date or a time";
            };
        }

        private static String plain(String text) {
            return Text.printable(text, 160);
        }

        private ImageException wrong(Field field, String message) {
            return ImageException.invalidArgument(located(field, message));
        }

        /// What containerd would not even mention.
        private void ignored(Field field, String message) throws ImageException {
            if (mode == HostsMode.STRICT) {
                throw wrong(field, message);
            }
            warnings.add(located(field, message) + "; ignored, as containerd does");
        }

        private String located(Field field, String message) {
            TomlPosition position = field.position();
            StringBuilder out = new StringBuilder(file.toString());
            if (position != null) {
                out.append(": line ").append(position.line());
                out.append(", column ").append(position.column());
            }
            out.append(": ");
            for (int i = 0; i < field.path().size(); i++) {
                String part = field.path().get(i);
                boolean bare = isBare(part);
                boolean url = i == 1 && field.path().getFirst().equals("host");
                String shown = url ? Text.withoutUser(part) : Text.withoutSecret(part);
                out.append(i == 0 ? "" : ".").append(bare ? "" : "\"");
                out.append(plain(shown)).append(bare ? "" : "\"");
            }
            return out.append(": ").append(message).toString();
        }

        private static boolean isBare(String key) {
            for (int i = 0; i < key.length(); i++) {
                char c = key.charAt(i);
                boolean word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
                if (!word && !(c >= '0' && c <= '9') && c != '_' && c != '-') {
                    return false;
                }
            }
            return !key.isEmpty();
        }
    }
}
