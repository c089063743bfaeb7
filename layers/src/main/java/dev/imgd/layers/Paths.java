package dev.imgd.layers;

import java.util.ArrayDeque;

/// Names of archive entries as paths below the root: components joined by slashes, none of them `.`
/// or `..`, no slash at either end. The root is the empty string.
final class Paths {
    /// What sorts directly behind a slash: all paths below `d` are from `d/` to this.
    static final char BEHIND_SLASH = '/' + 1;

    private Paths() {}

    /// Normalises a name without looking at any file: `a/../b` is `b` even if `a` is a link, and
    /// `..` at the root stays there. That is what every tool that reads layers does.
    static String clean(String name) {
        return isClean(name) ? name : rebuild(name);
    }

    private static boolean isClean(String name) {
        int start = 0;
        int length = name.length();
        for (int i = 0; i <= length; i++) {
            if (i == length || name.charAt(i) == '/') {
                int size = i - start;
                if (size == 0
                        || (name.charAt(start) == '.'
                                && (size == 1 || (size == 2 && name.charAt(start + 1) == '.')))) {
                    return length == 0;
                }
                start = i + 1;
            }
        }
        return true;
    }

    private static String rebuild(String name) {
        StringBuilder out = new StringBuilder(name.length());
        int length = name.length();
        int start = 0;
        for (int i = 0; i <= length; i++) {
            if (i < length && name.charAt(i) != '/') {
                continue;
            }
            int size = i - start;
            if (size == 2 && name.charAt(start) == '.' && name.charAt(start + 1) == '.') {
                out.setLength(Math.max(out.lastIndexOf("/"), 0));
            } else if (size > 0 && !(size == 1 && name.charAt(start) == '.')) {
                if (!out.isEmpty()) {
                    out.append('/');
                }
                out.append(name, start, i);
            }
            start = i + 1;
        }
        return out.toString();
    }

    /// The path of the directory that holds `path`.
    static String parent(String path) {
        int slash = path.lastIndexOf('/');
        return slash < 0 ? "" : path.substring(0, slash);
    }

    /// The last component.
    static String base(String path) {
        return path.substring(path.lastIndexOf('/') + 1);
    }

    static String join(String directory, String name) {
        return directory.isEmpty() ? name : directory + '/' + name;
    }

    /// Whether `path` is `directory` or below it.
    static boolean isInside(String path, String directory) {
        return path.startsWith(directory)
                && (path.length() == directory.length() || path.charAt(directory.length()) == '/');
    }

    /// The number of components.
    static int depth(String path) {
        int depth = path.isEmpty() ? 0 : 1;
        for (int i = 0; i < path.length(); i++) {
            if (path.charAt(i) == '/') {
                depth++;
            }
        }
        return depth;
    }

    /// Pushes the components of a path so that the first is on top of the stack.
    static void push(ArrayDeque<String> stack, String path) {
        int end = path.length();
        while (end > 0) {
            int slash = path.lastIndexOf('/', end - 1);
            if (slash + 1 < end) {
                stack.push(path.substring(slash + 1, end));
            }
            end = Math.max(slash, 0);
        }
    }
}
