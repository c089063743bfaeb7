package dev.imgd.snapshot.overlay;

import dev.imgd.linux.DirectoryEntry;
import dev.imgd.linux.Fd;
import dev.imgd.linux.Fs;
import dev.imgd.model.ErrnoException;
import dev.imgd.model.ImageException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/// Deletes everything in a trash directory, whatever containers left there.
///
/// Never follows a symbolic link and never enters another mount. Trees deeper than [#MAX_DEPTH] are
/// cut: the subtree moves up to the trash and is deleted from there, so that descriptors stay
/// bounded. For one thread.
final class TreeRemoval {
    static final int MAX_DEPTH = 64;

    private final int trash;
    private final List<ImageException> failures = new ArrayList<>();
    private long cuts;

    TreeRemoval(int trash) {
        this.trash = trash;
    }

    List<ImageException> run() {
        Set<String> failed = new HashSet<>();
        try {
            boolean progress = true;
            while (progress) {
                progress = false;
                for (DirectoryEntry entry : Fs.list(trash)) {
                    if (!failed.contains(entry.name())) {
                        progress = true;
                        try {
                            remove(trash, entry, 1);
                        } catch (ErrnoException e) {
                            failed.add(entry.name());
                            failures.add(e);
                        }
                    }
                }
            }
        } catch (ErrnoException e) {
            failures.add(e);
        }
        return failures;
    }

    private void remove(int parent, DirectoryEntry entry, int depth) throws ErrnoException {
        if (!entry.isDirectory()) {
            try {
                Fs.unlinkat(parent, entry.name(), 0);
                return;
            } catch (ErrnoException e) {
                if (e.errno() == ErrnoException.ENOENT) {
                    return;
                }
                if (e.errno() != ErrnoException.EISDIR) {
                    throw e;
                }
            }
        }
        if (depth > MAX_DEPTH) {
            cut(parent, entry.name());
            return;
        }
        try (Fd directory =
                Fd.of(
                        Fs.openat2(
                                parent,
                                entry.name(),
                                Fs.O_RDONLY | Fs.O_DIRECTORY | Fs.O_NOFOLLOW,
                                0,
                                Fs.RESOLVE_NO_XDEV | Fs.RESOLVE_NO_SYMLINKS))) {
            empty(directory.fd(), depth);
        }
        Fs.unlinkat(parent, entry.name(), Fs.AT_REMOVEDIR);
    }

    private void empty(int directory, int depth) throws ErrnoException {
        List<DirectoryEntry> entries = Fs.nextEntries(directory);
        while (!entries.isEmpty()) {
            for (DirectoryEntry entry : entries) {
                remove(directory, entry, depth + 1);
            }
            entries = Fs.nextEntries(directory);
        }
    }

    private void cut(int parent, String name) throws ErrnoException {
        while (true) {
            try {
                Fs.renameat2(parent, name, trash, "deep-" + cuts++, Fs.RENAME_NOREPLACE);
                return;
            } catch (ErrnoException e) {
                if (e.errno() != ErrnoException.EEXIST) {
                    throw e;
                }
            }
        }
    }
}
