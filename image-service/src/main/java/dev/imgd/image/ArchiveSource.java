package dev.imgd.image;

import dev.imgd.layers.Compression;
import dev.imgd.layers.Decompression;
import dev.imgd.layers.TarIndex;
import dev.imgd.linux.Fd;
import dev.imgd.linux.Fs;
import dev.imgd.model.Bytes;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.Text;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.FileChannel;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Optional;

/// The files of an image archive: a directory, or a tar that is read at random. A compressed tar is
/// first written out, to a file without a name that goes with the process. Not thread-safe.
abstract sealed class ArchiveSource implements AutoCloseable {
    private final Path path;

    private ArchiveSource(Path path) {
        this.path = path;
    }

    /// Opens a directory or a tar.
    ///
    /// @param scratch a directory with room for the content of a compressed tar
    /// @throws ImageException `NOT_FOUND`, `INVALID_CONTENT`, `LIMIT_EXCEEDED`, `NO_SPACE`
    static ArchiveSource open(Path path, Path scratch, Limits limits) throws ImageException {
        if (Files.isDirectory(path)) {
            return new Directory(path);
        }
        if (!Files.exists(path)) {
            throw ImageException.notFound(path + ": no such file or directory");
        }
        try {
            return new Tar(path, plain(path, scratch, limits), limits);
        } catch (ImageException e) {
            throw e;
        } catch (ClosedByInterruptException e) {
            throw new ImageException(ErrorKind.CANCELLED, path + ": interrupted", e);
        } catch (AccessDeniedException e) {
            throw new ImageException(
                    ErrorKind.PERMISSION_DENIED, path + ": cannot read: permission denied", e);
        } catch (IOException e) {
            throw new ImageException(
                    ErrorKind.INVALID_CONTENT,
                    "%s: wanted an OCI layout or docker archive, got no readable tar: %s"
                            .formatted(path, Text.printable(String.valueOf(e.getMessage()), 200)),
                    e);
        }
    }

    /// The tar without compression, at its start: the file itself, or its content in a file without
    /// a name.
    private static FileChannel plain(Path path, Path scratch, Limits limits) throws IOException {
        FileChannel file = FileChannel.open(path, StandardOpenOption.READ);
        boolean plain = false;
        try {
            ByteBuffer start = ByteBuffer.allocate(Compression.MAGIC_BYTES);
            while (start.hasRemaining() && file.read(start) >= 0) {
                // A short read of a file is rare, but allowed.
            }
            file.position(0);
            plain = Compression.sniff(start.flip()) == Compression.NONE;
            return plain ? file : expanded(path, file, scratch, limits);
        } finally {
            if (!plain) {
                file.close();
            }
        }
    }

    private static FileChannel expanded(
            Path path, FileChannel compressed, Path scratch, Limits limits) throws IOException {
        FileChannel expanded;
        try (Fd file = Fd.open(scratch.toString(), Fs.O_TMPFILE | Fs.O_RDWR, 0600)) {
            expanded =
                    FileChannel.open(
                            Path.of("/proc/self/fd/" + file.fd()),
                            StandardOpenOption.READ,
                            StandardOpenOption.WRITE);
        }
        boolean done = false;
        UnpackBudget budget = new UnpackBudget(path.toString(), limits);
        try (UnpackBudget.Share share = budget.share(scratch)) {
            var _ = Decompression.copy(path.toString(), compressed, expanded, limits, share);
            expanded.position(0);
            done = true;
            return expanded;
        } catch (IOException e) {
            if (String.valueOf(e.getMessage()).contains("No space left")) {
                throw new ImageException(
                        ErrorKind.NO_SPACE,
                        "%s: no room to decompress it in %s; free some space or decompress it first"
                                .formatted(path, scratch),
                        e);
            }
            throw e;
        } finally {
            if (!done) {
                expanded.close();
            }
        }
    }

    Path path() {
        return path;
    }

    /// Whether there is a regular file of that name.
    abstract boolean has(String name);

    /// Opens a file; the caller closes it. Several may be open at once, in several threads.
    abstract InputStream open(String name) throws IOException;

    /// The size of a file.
    abstract long sizeBytes(String name) throws IOException;

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
        long sizeBytes(String name) throws IOException {
            try (Fd file = openFile(name)) {
                return Fs.statx(file.fd(), "", Fs.AT_EMPTY_PATH, Fs.STATX_ALL).size();
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
        private static final int MAX_HOPS = 8;

        private final FileChannel file;
        private final TarIndex index;

        /// @param file closed with this, and when this fails
        Tar(Path path, FileChannel file, Limits limits) throws IOException {
            super(path);
            this.file = file;
            try {
                index = TarIndex.read(path.toString(), file, limits);
            } catch (IOException | RuntimeException | Error e) {
                file.close();
                throw e;
            }
        }

        /// Old docker archives share layers by links.
        private TarIndex.Entry resolve(String name) throws IOException {
            Optional<TarIndex.Entry> found = index.find(name);
            for (int hops = 0; found.isPresent() && isLink(found.get()); hops++) {
                if (hops == MAX_HOPS) {
                    throw new IOException("too many links");
                }
                found = index.find(target(found.get()));
            }
            if (found.isEmpty() || found.get().kind() != TarIndex.Kind.FILE) {
                throw new IOException("no such file in the archive");
            }
            return found.get();
        }

        private static boolean isLink(TarIndex.Entry entry) {
            return entry.kind() == TarIndex.Kind.HARD_LINK
                    || entry.kind() == TarIndex.Kind.SYMBOLIC_LINK;
        }

        /// The name that a link leads to.
        private static String target(TarIndex.Entry link) throws IOException {
            try {
                Path target =
                        link.kind() == TarIndex.Kind.HARD_LINK
                                ? Path.of("/" + link.target())
                                : Path.of("/" + link.name()).resolveSibling(link.target());
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
        long sizeBytes(String name) throws IOException {
            return resolve(name).sizeBytes();
        }

        @Override
        InputStream open(String name) throws IOException {
            TarIndex.Entry entry = resolve(name);
            return new Part(file, entry.offset(), entry.sizeBytes());
        }

        @Override
        public void close() throws ImageException {
            try {
                file.close();
            } catch (IOException e) {
                throw new ImageException(
                        ErrorKind.INTERNAL, path() + ": cannot close: " + e.getMessage(), e);
            }
        }
    }

    /// A piece of a file.
    private static final class Part extends InputStream {
        private final FileChannel file;
        private final long end;
        private long position;

        Part(FileChannel file, long offset, long length) {
            this.file = file;
            this.position = offset;
            this.end = offset + length;
        }

        @Override
        public int read() throws IOException {
            byte[] one = new byte[1];
            return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
        }

        @Override
        public int read(byte[] into, int offset, int length) throws IOException {
            if (length == 0) {
                return 0;
            }
            int wanted = (int) Math.min(length, end - position);
            if (wanted == 0) {
                return -1;
            }
            int n = file.read(ByteBuffer.wrap(into, offset, wanted), position);
            if (n < 0) {
                throw new EOFException("the archive became shorter while it was read");
            }
            position += n;
            return n;
        }
    }
}
