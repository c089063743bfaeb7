package dev.imgd.hosts;

import dev.imgd.hosts.HostEntry.ClientPair;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/// Docker's layout of a registry's directory: every `*.crt` is trusted, every `*.cert` with the
/// `*.key` of the same name is a client certificate. **Source:** Docker documentation, "Verify
/// repository client with certificates".
final class CertificateFiles {
    private CertificateFiles() {}

    /// What the files of a directory say, in the order of their names.
    static HostEntry of(Path directory) throws ImageException {
        List<Path> files = new ArrayList<>();
        try (DirectoryStream<Path> all = Files.newDirectoryStream(directory, "*.{crt,cert}")) {
            for (Path file : all) {
                if (!Files.isDirectory(file)) {
                    files.add(file);
                }
            }
        } catch (IOException e) {
            throw new ImageException(
                    ErrorKind.PERMISSION_DENIED,
                    "%s: cannot be listed; check its permissions".formatted(directory),
                    e);
        }
        files.sort(null);
        List<Path> authorities = new ArrayList<>();
        List<ClientPair> clients = new ArrayList<>();
        for (Path file : files) {
            String name = file.getFileName().toString();
            if (name.endsWith(".crt")) {
                authorities.add(file);
                continue;
            }
            String stem = name.substring(0, name.length() - ".cert".length());
            Path key = directory.resolve(stem + ".key");
            clients.add(new ClientPair(file, Files.exists(key) ? key : file));
        }
        String from = files.isEmpty() ? "built in" : directory + "/*.{crt,cert,key}";
        return HostEntry.ofCertificates(from, authorities, clients);
    }
}
