package dev.imgd.image;

import dev.imgd.linux.Fd;
import dev.imgd.linux.Fs;
import dev.imgd.model.Bytes;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Text;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedByInterruptException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
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
        if (cause instanceof ClosedByInterruptException) {
            return new ImageException(
                    ErrorKind.CANCELLED, "%s: interrupted".formatted(path), cause);
        }
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

    /// The archive is somebody else's: no name in it leads out of it, through a link or otherwise,
    /// and nothing but regular files is read.
    private static final class Directory extends ArchiveSource {
        private final Path directory;

        Directory(Path directory) {
            super(directory);
            this.directory = directory;
        }

        private Fd openFile(String name) throws ImageException {
            try (Fd root = Fd.open(directory.toString(), Fs.O_PATH | Fs.O_DIRECTORY, 0)) {
                Fd file =
                        Fd.of(
                                Fs.openat2(
                                        root.fd(),
                                        name,
                                        Fs.O_RDONLY | Fs.O_NONBLOCK | Fs.O_NOCTTY | Fs.O_CLOEXEC,
                                        0,
                                        Fs.RESOLVE_BENEATH | Fs.RESOLVE_NO_MAGICLINKS));
                if (Fs.statx(file.fd(), "", Fs.AT_EMPTY_PATH, Fs.STATX_ALL).isRegularFile()) {
                    return file;
                }
                file.close();
                throw ImageException.invalidContent(
                        "%s: %s: wanted a regular file"
                                .formatted(directory, Text.printable(name, 100)));
            }
        }

        @Override
        boolean has(String name) {
            if (name.isEmpty() || name.indexOf('\0') >= 0) {
                return false;
            }
            try (Fd _ = openFile(name)) {
                return true;
            } catch (ImageException e) {
                return false; // what cannot be opened is as good as nothing
            }
        }

        @Override
        InputStream open(String name) throws IOException {
            Fd file = openFile(name);
            return new InputStream() {
                @Override
                public int read() throws IOException {
                    byte[] one = new byte[1];
                    return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
                }

                @Override
                public int read(byte[] into, int offset, int length) throws IOException {
                    int n = Fs.read(file.fd(), ByteBuffer.wrap(into, offset, length));
                    return n == 0 && length > 0 ? -1 : n;
                }

                @Override
                public void close() throws IOException {
                    file.close();
                }
            };
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
            for (int hops = 0;
                    entry != null && (entry.isSymbolicLink() || entry.isLink());
                    hops++) {
                if (hops == 8) {
                    throw new IOException("too many links");
                }
                entry = entries.get(target(entry));
            }
            if (entry == null || !entry.isFile()) {
                throw new IOException("no such file in the archive");
            }
            return entry;
        }

        /// The name that a link leads to.
        private static String target(TarArchiveEntry link) throws IOException {
            try {
                Path target =
                        link.isLink()
                                ? Path.of("/" + link.getLinkName())
                                : Path.of("/" + link.getName()).resolveSibling(link.getLinkName());
                return target.normalize().toString().substring(1);
            } catch (InvalidPathException e) {
                throw new IOException("a link with a target that is no path", e);
            }
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
