package dev.imgd.trust;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.PrivateKey;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/// Private keys that open the envelopes of encrypted layers, and where they were looked for.
///
/// Immutable; the keys stay in memory as long as this.
public final class DecryptionKeys {
    /// Gives the keys of a host when an encrypted layer needs them, and not before. Called for each
    /// use of an encrypted image, so that a key that was taken away opens nothing any more.
    @FunctionalInterface
    public interface Source {
        /// @throws ImageException when what is configured cannot be read
        DecryptionKeys load() throws ImageException;
    }

    /// No keys.
    public static final DecryptionKeys NONE = new DecryptionKeys(List.of(), List.of());

    private static final int MAX_FILE_BYTES = 64 << 10;
    private static final int MAX_FILES = 256;
    private static final int MAX_PASSWORD_BYTES = 4096;

    private final List<PrivateKey> keys;
    private final List<String> places;

    private DecryptionKeys(List<PrivateKey> keys, List<String> places) {
        this.keys = List.copyOf(keys);
        this.places = List.copyOf(places);
    }

    /// The keys of a directory: of each file that is not hidden, the private keys in PEM (PKCS#8,
    /// PKCS#1, SEC1); RSA of 2048 to 8192 bits, and EC of the curves P-256, P-384 and P-521. Other
    /// files, such as certificates, are passed over. Links are followed, because secrets are often
    /// mounted as such.
    ///
    /// @param required whether the directory has to be there
    /// @throws ImageException `FAILED_PRECONDITION` when it cannot be read
    public static DecryptionKeys directory(Path directory, boolean required) throws ImageException {
        if (!required && Files.notExists(directory)) {
            return new DecryptionKeys(List.of(), List.of(directory + " (does not exist)"));
        }
        List<Path> files = new ArrayList<>();
        try (DirectoryStream<Path> entries = Files.newDirectoryStream(directory)) {
            for (Path entry : entries) {
                if (!entry.getFileName().toString().startsWith(".") && Files.isRegularFile(entry)) {
                    files.add(entry);
                }
            }
        } catch (IOException e) {
            throw new ImageException(
                    ErrorKind.FAILED_PRECONDITION,
                    "decryption keys: %s: cannot be read: %s".formatted(directory, reason(e)),
                    e);
        }
        if (files.size() > MAX_FILES) {
            throw ImageException.failedPrecondition(
                    "decryption keys: %s: wanted at most %d files, got %d"
                            .formatted(directory, MAX_FILES, files.size()));
        }
        files.sort(null);
        List<PrivateKey> keys = new ArrayList<>();
        List<String> passedOver = new ArrayList<>();
        for (Path file : files) {
            PrivateKeyFile read = read(file, new byte[0]);
            keys.addAll(read.keys());
            passedOver.addAll(read.problems());
        }
        String place = "%s (%s)".formatted(directory, count(keys.size()));
        if (!passedOver.isEmpty()) {
            place += "; passed over there: " + String.join("; ", passedOver);
        }
        return new DecryptionKeys(keys, List.of(place));
    }

    /// The keys of one file that a user names as `FILE`, `FILE:file=PASSWORDFILE` or `FILE:fd=N`,
    /// the latter two for keys with a password.
    ///
    /// @throws ImageException `INVALID_ARGUMENT` when there is no usable key in it, `NOT_FOUND`
    public static DecryptionKeys named(String name) throws ImageException {
        int colon = name.lastIndexOf(':');
        String option = colon < 0 ? "" : name.substring(colon + 1);
        byte[] password = new byte[0];
        String file = name;
        if (option.startsWith("file=")) {
            password = password(Path.of(option.substring(5)));
            file = name.substring(0, colon);
        } else if (option.matches("fd=[0-9]{1,6}")) {
            password = password(Path.of("/proc/self/fd/" + option.substring(3)));
            file = name.substring(0, colon);
        } else if (colon >= 0 && !Files.exists(Path.of(name))) {
            // Not shown: what follows the colon is a password for other tools.
            throw ImageException.invalidArgument(
                    "decryption key %s: no password on the command line, where others can read it; wanted %s:file=PASSWORDFILE or %s:fd=N"
                            .formatted(
                                    name.substring(0, colon),
                                    name.substring(0, colon),
                                    name.substring(0, colon)));
        }
        try {
            PrivateKeyFile read = read(Path.of(file), password);
            if (!read.problems().isEmpty()) {
                throw ImageException.invalidArgument(
                        "decryption key " + String.join("; ", read.problems()));
            }
            boolean certificate = read.keys().isEmpty() && read.certificate();
            if (read.keys().isEmpty() && !certificate) {
                throw ImageException.invalidArgument(
                        "decryption key %s: there is no private key in it; wanted PEM"
                                .formatted(file));
            }
            return new DecryptionKeys(
                    read.keys(),
                    List.of(file + (certificate ? " (a certificate, not needed)" : "")));
        } finally {
            Arrays.fill(password, (byte) 0);
        }
    }

    /// These keys and others.
    public DecryptionKeys and(DecryptionKeys others) {
        List<PrivateKey> all = new ArrayList<>(keys);
        all.addAll(others.keys);
        List<String> everywhere = new ArrayList<>(places);
        everywhere.addAll(others.places);
        return new DecryptionKeys(all, everywhere);
    }

    List<PrivateKey> keys() {
        return keys;
    }

    private static PrivateKeyFile read(Path file, byte[] password) throws ImageException {
        byte[] content;
        try (InputStream in = Files.newInputStream(file)) {
            content = in.readNBytes(MAX_FILE_BYTES + 1);
        } catch (NoSuchFileException e) {
            throw ImageException.notFound("decryption key %s: no such file".formatted(file));
        } catch (IOException e) {
            throw new ImageException(
                    ErrorKind.FAILED_PRECONDITION,
                    "decryption key %s: cannot be read: %s".formatted(file, reason(e)),
                    e);
        }
        try {
            if (content.length > MAX_FILE_BYTES) {
                return PrivateKeyFile.unusable(file + ": too large for a key");
            }
            return PrivateKeyFile.parse(file.toString(), content, password);
        } finally {
            Arrays.fill(content, (byte) 0);
        }
    }

    /// A line end after the password is no part of it.
    private static byte[] password(Path file) throws ImageException {
        byte[] content;
        try (InputStream in = Files.newInputStream(file)) {
            content = in.readNBytes(MAX_PASSWORD_BYTES);
        } catch (IOException e) {
            throw new ImageException(
                    ErrorKind.NOT_FOUND,
                    "password of a decryption key: %s: cannot be read: %s"
                            .formatted(file, reason(e)),
                    e);
        }
        int length = content.length;
        while (length > 0 && (content[length - 1] == '\n' || content[length - 1] == '\r')) {
            length--;
        }
        byte[] password = Arrays.copyOf(content, length);
        Arrays.fill(content, (byte) 0);
        return password;
    }

    private static String reason(IOException e) {
        return e.getClass().getSimpleName().replace("Exception", "");
    }

    private static String count(int keys) {
        return keys == 0 ? "no key" : keys == 1 ? "1 key" : keys + " keys";
    }

    /// Where the keys were looked for; never the keys.
    @Override
    public String toString() {
        return places.isEmpty()
                ? "no keys are configured"
                : "keys were looked for in " + String.join(", ", places);
    }
}
