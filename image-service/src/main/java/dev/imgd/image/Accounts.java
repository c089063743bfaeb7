package dev.imgd.image;

import dev.imgd.linux.Fd;
import dev.imgd.linux.Fs;
import dev.imgd.model.ErrnoException;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Text;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/// The users and groups of an image, read from its root file system.
///
/// The files are attacker input: they are opened inside the root without following a link out of
/// it, must be regular and small. **Source:** OCI image-spec v1.1, config.md § User; passwd(5),
/// group(5).
final class Accounts {
    private static final int MAX_BYTES = 1 << 20;
    private static final long MAX_ID = Integer.MAX_VALUE;

    /// Who the process runs as.
    record Identity(long uid, long gid, List<Long> additionalGids) {}

    private final List<String[]> users;
    private final List<String[]> groups;

    private Accounts(List<String[]> users, List<String[]> groups) {
        this.users = users;
        this.groups = groups;
    }

    /// Reads `/etc/passwd` and `/etc/group` of a root file system; a file that is not there is
    /// empty.
    static Accounts read(Path root) throws ImageException {
        return new Accounts(table(root, "etc/passwd"), table(root, "etc/group"));
    }

    /// Resolves `user`, `uid`, `user:group`, `uid:gid` and so on; empty is root.
    ///
    /// A number is an id and never a name: whoever checks that a container does not run as root
    /// reads it so, and the account files are the image's own.
    ///
    /// @throws ImageException `INVALID_CONTENT` when a name is unknown or a number out of range
    Identity resolve(String specifier) throws ImageException {
        int colon = specifier.indexOf(':');
        String user = colon < 0 ? specifier : specifier.substring(0, colon);
        String group = colon < 0 ? "" : specifier.substring(colon + 1);
        long uid = 0;
        long gid = 0;
        String name = "";
        if (!user.isEmpty()) {
            String[] entry = entry(users, user);
            if (entry != null && entry.length >= 4) {
                name = entry[0];
                uid = id(entry[2], "user", user);
                gid = id(entry[3], "group of user", user);
            } else {
                uid = id(user, "user", user);
            }
        } else {
            name = "root";
        }
        List<Long> additional = new ArrayList<>();
        if (!group.isEmpty()) {
            String[] entry = entry(groups, group);
            gid =
                    entry != null && entry.length >= 3
                            ? id(entry[2], "group", group)
                            : id(group, "group", group);
        } else if (!name.isEmpty()) {
            for (String[] entry : groups) {
                if (entry.length >= 4 && List.of(entry[3].split(",", -1)).contains(name)) {
                    additional.add(id(entry[2], "group", entry[0]));
                }
            }
        }
        return new Identity(uid, gid, additional);
    }

    private static String @org.jspecify.annotations.Nullable [] entry(
            List<String[]> table, String nameOrId) {
        int column = isNumber(nameOrId) ? 2 : 0;
        for (String[] row : table) {
            if (row.length >= 3 && row[column].equals(nameOrId)) {
                return row;
            }
        }
        return null;
    }

    private static boolean isNumber(String text) {
        for (int i = 0; i < text.length(); i++) {
            if (text.charAt(i) < '0' || text.charAt(i) > '9') {
                return false;
            }
        }
        return !text.isEmpty();
    }

    private static long id(String digits, String what, String name) throws ImageException {
        try {
            long id = Long.parseLong(digits);
            if (id >= 0 && id <= MAX_ID) {
                return id;
            }
        } catch (NumberFormatException e) {
            throw new ImageException(
                    ErrorKind.INVALID_CONTENT,
                    "%s \"%s\": not a number and not in the image's account files"
                            .formatted(what, Text.printable(name, 64)),
                    e);
        }
        throw ImageException.invalidContent(
                "%s \"%s\": wanted an id from 0 to %d, got %s"
                        .formatted(what, Text.printable(name, 64), MAX_ID, digits));
    }

    private static List<String[]> table(Path root, String path) throws ImageException {
        List<String[]> rows = new ArrayList<>();
        try (Fd directory = Fd.open(root.toString(), Fs.O_PATH | Fs.O_DIRECTORY, 0);
                Fd file =
                        Fd.of(
                                Fs.openat2(
                                        directory.fd(),
                                        path,
                                        Fs.O_RDONLY | Fs.O_NONBLOCK | Fs.O_NOCTTY | Fs.O_CLOEXEC,
                                        0,
                                        Fs.RESOLVE_IN_ROOT | Fs.RESOLVE_NO_MAGICLINKS))) {
            if (!Fs.statx(file.fd(), "", Fs.AT_EMPTY_PATH, Fs.STATX_ALL).isRegularFile()) {
                throw ImageException.invalidContent(
                        "/%s of the image: wanted a regular file".formatted(path));
            }
            ByteBuffer bytes = ByteBuffer.allocate(MAX_BYTES + 1);
            while (bytes.hasRemaining() && Fs.read(file.fd(), bytes) > 0) {
                // until the end of the file or the limit
            }
            if (!bytes.hasRemaining()) {
                throw ImageException.invalidContent(
                        "/%s of the image: larger than %d bytes".formatted(path, MAX_BYTES));
            }
            String text = new String(bytes.array(), 0, bytes.position(), StandardCharsets.UTF_8);
            text.lines()
                    .filter(line -> !line.isBlank() && !line.startsWith("#"))
                    .forEach(line -> rows.add(line.split(":", -1)));
        } catch (ErrnoException e) {
            if (e.errno() != ErrnoException.ENOENT && e.errno() != ErrnoException.ENOTDIR) {
                throw e;
            }
        }
        return rows;
    }
}
