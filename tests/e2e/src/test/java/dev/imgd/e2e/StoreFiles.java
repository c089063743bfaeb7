package dev.imgd.e2e;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Stream;

/// The files of a store, seen by somebody who trusts none of its metadata.
///
/// @param root the store's directory
record StoreFiles(Path root) {
    /// Digests of the blobs, as the names of their files claim.
    Set<String> blobs() {
        Set<String> digests = new TreeSet<>();
        for (String algorithm : names("blobs")) {
            for (String hex : names("blobs/" + algorithm)) {
                digests.add(algorithm + ":" + hex);
            }
        }
        return digests;
    }

    /// Blobs whose bytes are not those of their name.
    List<String> damagedBlobs() {
        List<String> damaged = new ArrayList<>();
        for (String digest : blobs()) {
            int colon = digest.indexOf(':');
            Path file = root.resolve("blobs").resolve(digest.replace(':', '/'));
            String sum = Program.of(digest.substring(0, colon) + "sum", file).ok();
            if (!sum.startsWith(digest.substring(colon + 1) + " ")) {
                damaged.add(digest);
            }
        }
        return damaged;
    }

    /// What is being received or was left half-received: sizes by name.
    TreeMap<String, Long> ingests() {
        TreeMap<String, Long> sizes = new TreeMap<>();
        for (String name : names("ingest")) {
            Path data = root.resolve("ingest").resolve(name).resolve("data");
            try {
                sizes.put(name, Files.size(data));
            } catch (NoSuchFileException e) {
                sizes.put(name, 0L);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
        return sizes;
    }

    /// Directories of layers and snapshots.
    Set<String> snapshotDirectories() {
        return names("snapshots");
    }

    /// What waits for deletion.
    Set<String> trash() {
        Set<String> names = names("trash");
        names.addAll(names("snapshots-trash"));
        return names;
    }

    private Set<String> names(String directory) {
        try (Stream<Path> entries = Files.list(root.resolve(directory))) {
            Set<String> names = new TreeSet<>();
            entries.forEach(entry -> names.add(entry.getFileName().toString()));
            return names;
        } catch (NoSuchFileException e) {
            return new TreeSet<>();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
