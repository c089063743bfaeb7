package dev.imgd.e2e;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.TreeSet;

/// Everything a file tree shows: names, types, modes, owners, times, sizes, contents, link targets,
/// which names are one file, device numbers and extended attributes.
///
/// Read by GNU find, stat, sha256sum and getfattr, so that nothing of the product is trusted and
/// names may be any bytes (one char per byte here). Left out are what no archive holds: sizes of
/// directories, the time of the root, and the attributes overlayfs keeps for itself.
final class Tree {
    private static final String ROOT = ".";

    private final SortedMap<String, SortedMap<String, String>> files = new TreeMap<>();

    private Tree() {}

    /// Reads the tree below a directory, which is on one file system.
    static Tree of(Path directory) {
        Tree tree = new Tree();
        tree.readFiles(directory);
        tree.readDevices(directory);
        tree.readContents(directory);
        tree.readAttributes(directory);
        return tree;
    }

    /// Number of files, the root included.
    int size() {
        return files.size();
    }

    /// What is different, one line each, at most 100; empty when the trees are alike.
    List<String> differencesTo(Tree other) {
        List<String> lines = new ArrayList<>();
        TreeSet<String> names = new TreeSet<>(files.keySet());
        names.addAll(other.files.keySet());
        for (String name : names) {
            SortedMap<String, String> left = files.get(name);
            SortedMap<String, String> right = other.files.get(name);
            if (left == null || right == null) {
                lines.add(name + (left == null ? ": only in the second" : ": only in the first"));
            } else if (!left.equals(right)) {
                TreeSet<String> keys = new TreeSet<>(left.keySet());
                keys.addAll(right.keySet());
                keys.removeIf(
                        key -> left.getOrDefault(key, "").equals(right.getOrDefault(key, "")));
                for (String key : keys) {
                    lines.add(
                            "%s: %s: %s, then %s"
                                    .formatted(name, key, left.get(key), right.get(key)));
                }
            }
            if (lines.size() >= 100) {
                break;
            }
        }
        return lines;
    }

    private void readFiles(Path directory) {
        String format = "%p\\0%y\\0%m\\0%U\\0%G\\0%s\\0%T@\\0%D:%i\\0%n\\0%l\\0";
        List<String> fields = read(directory, "find", ROOT, "-printf", format);
        Map<String, TreeSet<String>> sameFile = new HashMap<>();
        for (int i = 0; i + 10 <= fields.size(); i += 10) {
            SortedMap<String, String> file = new TreeMap<>();
            String name = fields.get(i);
            String type = fields.get(i + 1);
            file.put("type", type);
            file.put("mode", fields.get(i + 2));
            file.put("owner", fields.get(i + 3) + ":" + fields.get(i + 4));
            if (!type.equals("d")) {
                file.put("size", fields.get(i + 5));
            }
            if (!name.equals(ROOT)) {
                file.put("time", fields.get(i + 6));
            }
            if (!type.equals("d") && !fields.get(i + 8).equals("1")) {
                sameFile.computeIfAbsent(fields.get(i + 7), id -> new TreeSet<>()).add(name);
            }
            if (type.equals("l")) {
                file.put("target", fields.get(i + 9));
            }
            files.put(name, file);
        }
        sameFile.values().stream()
                .filter(names -> names.size() > 1)
                .forEach(names -> names.forEach(n -> file(n).put("same as", names.first())));
    }

    private void readDevices(Path directory) {
        List<String> fields =
                read(
                        directory,
                        "find",
                        ROOT,
                        "(",
                        "-type",
                        "b",
                        "-o",
                        "-type",
                        "c",
                        ")",
                        "-exec",
                        "stat",
                        "--printf",
                        "%n\\0%t:%T\\0",
                        "{}",
                        "+");
        for (int i = 0; i + 2 <= fields.size(); i += 2) {
            file(fields.get(i)).put("device", fields.get(i + 1));
        }
    }

    private void readContents(Path directory) {
        List<String> lines =
                read(directory, "find", ROOT, "-type", "f", "-exec", "sha256sum", "-z", "{}", "+");
        for (String line : lines) {
            file(line.substring(66)).put("content", line.substring(0, 64));
        }
    }

    private void readAttributes(Path directory) {
        byte[] output =
                output(
                        directory,
                        "getfattr",
                        "--absolute-names",
                        "-RPhd",
                        "-m",
                        "-",
                        "-e",
                        "hex",
                        ROOT);
        String name = "";
        for (String line : new String(output, StandardCharsets.ISO_8859_1).split("\n")) {
            if (line.startsWith("# file: ")) {
                name = unescape(line.substring(8));
            } else if (!line.isEmpty()
                    && !line.startsWith("trusted.overlay.")
                    && !line.startsWith("security.selinux=")) {
                int equals = line.indexOf('=');
                String key = equals < 0 ? line : line.substring(0, equals);
                file(name).put("attribute " + key, equals < 0 ? "" : line.substring(equals + 1));
            }
        }
    }

    private SortedMap<String, String> file(String name) {
        SortedMap<String, String> file = files.get(name);
        if (file == null) {
            throw new AssertionError("the tree changes while it is read: " + name);
        }
        return file;
    }

    /// Undoes getfattr's `\ooo`.
    private static String unescape(String name) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < name.length(); i++) {
            if (name.charAt(i) == '\\' && i + 3 < name.length()) {
                text.append((char) Integer.parseInt(name.substring(i + 1, i + 4), 8));
                i += 3;
            } else {
                text.append(name.charAt(i));
            }
        }
        return text.toString();
    }

    private static List<String> read(Path directory, String... command) {
        String text = new String(output(directory, command), StandardCharsets.ISO_8859_1);
        List<String> fields = new ArrayList<>();
        int start = 0;
        for (int end = text.indexOf('\0'); end >= 0; end = text.indexOf('\0', start)) {
            fields.add(text.substring(start, end));
            start = end + 1;
        }
        return fields;
    }

    private static byte[] output(Path directory, String... command) {
        try {
            Process process =
                    new ProcessBuilder(command)
                            .directory(directory.toFile())
                            .redirectError(ProcessBuilder.Redirect.INHERIT)
                            .start();
            process.getOutputStream().close();
            ByteArrayOutputStream output = new ByteArrayOutputStream();
            process.getInputStream().transferTo(output);
            if (process.waitFor() != 0) {
                throw new AssertionError(
                        String.join(" ", command) + ": exit code " + process.exitValue());
            }
            return output.toByteArray();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }
}
