package dev.imgd.content;

import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Optional;
import java.util.Set;

/// The only class that knows path names.
///
/// ```
/// <root>/                 0700
///   LOCK                  who owns the store
///   blobs/<alg>/<hex>     0400, complete and verified
///   ingest/<id>/data      bytes of an ingest; <id> is the SHA-256 of namespace and reference
///   ingest/<id>/state     what it is and its checkpoints
///   ingest/<id>/early     bytes that came before their turn, where there were any
///   ingest/w-<n>          a small blob on its way
///   db/                   RocksDB
///   db.damaged-<time>/    a database that was set aside
///   refs/journal          names and leases, apart from the database
///   refs/clean            present when the last owner closed the store in order
///   trash/                what is being deleted
/// ```
record BlobPaths(Path root) {
    private static final String SMALL_BLOB_PREFIX = "w-";
    private static final Set<PosixFilePermission> OWNER_ONLY =
            PosixFilePermissions.fromString("rwx------");
    private static final Set<PosixFilePermission> READ_ONLY =
            Set.of(PosixFilePermission.OWNER_READ);
    private static final FileAttribute<?> PRIVATE_DIRECTORY =
            PosixFilePermissions.asFileAttribute(OWNER_ONLY);
    private static final FileAttribute<?> PRIVATE_FILE =
            PosixFilePermissions.asFileAttribute(
                    Set.of(PosixFilePermission.OWNER_READ, PosixFilePermission.OWNER_WRITE));

    Path lock() {
        return root.resolve("LOCK");
    }

    Path blobs() {
        return root.resolve("blobs");
    }

    Path blobs(Digest.Algorithm algorithm) {
        return blobs().resolve(algorithm.label());
    }

    Path blob(Digest digest) {
        return blobs(digest.algorithm()).resolve(digest.hex());
    }

    Path ingests() {
        return root.resolve("ingest");
    }

    Path ingest(String namespace, String ref) {
        byte[] name = (namespace + "/" + ref).getBytes(StandardCharsets.UTF_8);
        return ingests().resolve(Digest.sha256(name).hex());
    }

    static Path ingestData(Path ingest) {
        return ingest.resolve("data");
    }

    static Path ingestState(Path ingest) {
        return ingest.resolve("state");
    }

    static Path ingestEarly(Path ingest) {
        return ingest.resolve("early");
    }

    Path smallBlob(long number) {
        return ingests().resolve(SMALL_BLOB_PREFIX + number);
    }

    static boolean isSmallBlob(Path entry) {
        return entry.getFileName().toString().startsWith(SMALL_BLOB_PREFIX);
    }

    Path database() {
        return root.resolve("db");
    }

    /// Whether RocksDB has ever completed the creation of a database here.
    boolean databaseExists() {
        return Files.exists(database().resolve("CURRENT"));
    }

    /// A file that says the database returned damaged data and must not be trusted any more.
    Path databaseDamaged() {
        return database().resolve("DAMAGED");
    }

    Path quarantine(long epochMillis) {
        return root.resolve("db.damaged-" + epochMillis);
    }

    Path refs() {
        return root.resolve("refs");
    }

    Path journal() {
        return refs().resolve("journal");
    }

    Path journalDraft() {
        return refs().resolve("journal.new");
    }

    Path clean() {
        return refs().resolve("clean");
    }

    Path trash() {
        return root.resolve("trash");
    }

    Path trash(Digest digest, long number) {
        return trash().resolve(digest.hex() + "-" + number);
    }

    /// The digest of a file in `blobs/<alg>/`, empty when its name is not one.
    static Optional<Digest> digestOf(Path file) {
        Path directory = file.getParent();
        if (directory == null) {
            return Optional.empty();
        }
        try {
            return Optional.of(Digest.parse(directory.getFileName() + ":" + file.getFileName()));
        } catch (ImageException notADigest) {
            return Optional.empty();
        }
    }

    /// Creates the directory, for the owner only; does nothing when it exists.
    ///
    /// @return whether it was created
    static boolean createDirectory(Path directory) throws IOException {
        if (Files.isDirectory(directory)) {
            return false;
        }
        Files.createDirectories(directory, PRIVATE_DIRECTORY);
        return true;
    }

    /// Opens a new file with mode 0600.
    static FileChannel createFile(Path file) throws IOException {
        return FileChannel.open(
                file,
                Set.of(
                        StandardOpenOption.READ,
                        StandardOpenOption.WRITE,
                        StandardOpenOption.CREATE_NEW),
                PRIVATE_FILE);
    }

    /// Opens a file for reading and writing; creates it with mode 0600.
    static FileChannel openFile(Path file) throws IOException {
        return FileChannel.open(
                file,
                Set.of(
                        StandardOpenOption.READ,
                        StandardOpenOption.WRITE,
                        StandardOpenOption.CREATE),
                PRIVATE_FILE);
    }

    static void makePrivate(Path directory) throws IOException {
        Files.setPosixFilePermissions(directory, OWNER_ONLY);
    }

    static void makeReadOnly(Path file) throws IOException {
        Files.setPosixFilePermissions(file, READ_ONLY);
    }

    /// Makes creations, renames and removals in the directory durable, also on an interrupted
    /// thread.
    static void syncDirectory(Path directory) throws IOException {
        boolean interrupted = false;
        try {
            while (true) {
                try (FileChannel channel = FileChannel.open(directory, StandardOpenOption.READ)) {
                    channel.force(true);
                    return;
                } catch (ClosedByInterruptException e) {
                    // Not an error of the disk: the step after a rename must not be left out.
                    interrupted |= Thread.interrupted();
                }
            }
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    /// Writes a new file with mode 0600 and makes its bytes durable, also on an interrupted thread.
    static void writeDurably(Path file, byte[] bytes) throws IOException {
        createFile(file).close();
        try (FileOutputStream out = new FileOutputStream(file.toFile())) {
            out.write(bytes);
            out.getFD().sync();
        }
    }

    /// Deletes a file or a directory with plain files in it; a missing one is fine.
    static void deleteTree(Path path) throws IOException {
        if (!Files.isDirectory(path, java.nio.file.LinkOption.NOFOLLOW_LINKS)) {
            Files.deleteIfExists(path);
            return;
        }
        try (var entries = Files.newDirectoryStream(path)) {
            for (Path entry : entries) {
                deleteTree(entry);
            }
        } catch (NoSuchFileException e) {
            return; // Somebody else deleted it first, which is what was wanted.
        }
        Files.deleteIfExists(path);
    }

    /// Writes all remaining bytes at the position of the file.
    static void writeFully(FileChannel channel, ByteBuffer bytes, long position)
            throws IOException {
        long at = position;
        while (bytes.hasRemaining()) {
            at += channel.write(bytes, at);
        }
    }

    /// Reads until the buffer is full or the file ends.
    static void readFully(FileChannel channel, ByteBuffer bytes, long position) throws IOException {
        long at = position;
        while (bytes.hasRemaining()) {
            int n = channel.read(bytes, at);
            if (n < 0) {
                return;
            }
            at += n;
        }
    }
}
