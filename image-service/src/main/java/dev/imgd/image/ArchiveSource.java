package dev.imgd.image;

import dev.imgd.model.Bytes;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Text;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarFile;

/// The files of an image archive: a directory, or an uncompressed tar that is read at random. Not
/// thread-safe.
abstract sealed class ArchiveSource implements AutoCloseable {
    private static final int MAX_ENTRIES = 100_000;

    private final Path path;

    private ArchiveSource(Path path) {
        this.path = path;
    }

    /// Opens a directory or a tar.
    ///
    /// @throws ImageException `NOT_FOUND`, `INVALID_CONTENT`
    static ArchiveSource open(Path path) throws ImageException {
        if (Files.isDirectory(path)) {
            return new Directory(path);
        }
        if (!Files.exists(path)) {
            throw ImageException.notFound(path + ": no such file or directory");
        }
        try {
            return new Tar(path);
        } catch (IOException | IllegalArgumentException e) {
            throw new ImageException(
                    ErrorKind.INVALID_CONTENT,
                    "%s: wanted an OCI layout or docker archive, got no readable tar: %s"
                            .formatted(path, Text.printable(String.valueOf(e.getMessage()), 200)),
                    e);
        }
    }

    Path path() {
        return path;
    }

    /// Whether there is a regular file of that name.
    abstract boolean has(String name);

    /// The size of a file, in bytes.
    abstract long size(String name) throws IOException;

    /// Opens a file; the caller closes it.
    abstract InputStream open(String name) throws IOException;

    /// Reads a small file whole; empty when there is none.
    ///
    /// @throws ImageException `INVALID_CONTENT` above `maxBytes`
    Optional<Bytes> read(String name, int maxBytes) throws ImageException {
        if (!has(name)) {
            return Optional.empty();
        }
        try (InputStream in = open(name)) {
            byte[] content = in.readNBytes(maxBytes + 1);
            if (content.length > maxBytes) {
                throw ImageException.invalidContent(
                        "%s: %s is larger than %d bytes"
                                .formatted(path, Text.printable(name, 100), maxBytes));
            }
            return Optional.of(Bytes.of(content));
        } catch (ImageException e) {
            throw e;
        } catch (IOException e) {
            throw failed(name, e);
        }
    }

    ImageException failed(String name, IOException cause) {
        return new ImageException(
                ErrorKind.INVALID_CONTENT,
                "%s: cannot read %s: %s"
                        .formatted(
                                path,
                                Text.printable(name, 100),
                                Text.printable(String.valueOf(cause.getMessage()), 200)),
                cause);
    }

    @Override
    public abstract void close() throws ImageException;

    private static final class Directory extends ArchiveSource {
        private final Path directory;

        Directory(Path directory) {
            super(directory);
            this.directory = directory;
        }

        @Override
        boolean has(String name) {
            return Files.isRegularFile(directory.resolve(name), LinkOption.NOFOLLOW_LINKS);
        }

        @Override
        long size(String name) throws IOException {
            return Files.size(directory.resolve(name));
        }

        @Override
        InputStream open(String name) throws IOException {
            return Files.newInputStream(directory.resolve(name), LinkOption.NOFOLLOW_LINKS);
        }

        @Override
        public void close() {}
    }

    private static final class Tar extends ArchiveSource {
        private final TarFile tar;
        private final Map<String, TarArchiveEntry> entries = new HashMap<>();

        Tar(Path path) throws IOException {
            super(path);
            this.tar = new TarFile(path);
            if (tar.getEntries().size() > MAX_ENTRIES) {
                tar.close();
                throw new IOException("more than " + MAX_ENTRIES + " entries");
            }
            for (TarArchiveEntry entry : tar.getEntries()) {
                String name = entry.getName();
                while (name.startsWith("./")) {
                    name = name.substring(2);
                }
                entries.put(name, entry);
            }
        }

        /// Old docker archives share layers by links.
        private TarArchiveEntry resolve(String name) throws IOException {
            TarArchiveEntry entry = entries.get(name);
            for (int hops = 0; entry != null && (entry.isSymbolicLink() || entry.isLink()); hops++) {
                if (hops == 8) {
                    throw new IOException("too many links");
                }
                Path target =
                        entry.isLink()
                                ? Path.of(entry.getLinkName())
                                : Path.of("/" + entry.getName())
                                        .resolveSibling(entry.getLinkName());
                String normal = target.normalize().toString();
                entry = entries.get(normal.startsWith("/") ? normal.substring(1) : normal);
            }
            if (entry == null || !entry.isFile()) {
                throw new IOException("no such file in the archive");
            }
            return entry;
        }

        @Override
        boolean has(String name) {
            try {
                resolve(name);
                return true;
            } catch (IOException e) {
                return false; // a dangling link is as good as nothing
            }
        }

        @Override
        long size(String name) throws IOException {
            return resolve(name).getSize();
        }

        @Override
        InputStream open(String name) throws IOException {
            return tar.getInputStream(resolve(name));
        }

        @Override
        public void close() throws ImageException {
            try {
                tar.close();
            } catch (IOException e) {
                throw new ImageException(
                        ErrorKind.INTERNAL, path() + ": cannot close: " + e.getMessage(), e);
            }
        }
    }
}
