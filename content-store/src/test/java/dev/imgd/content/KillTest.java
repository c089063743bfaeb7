package dev.imgd.content;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// A process that is killed while it writes: what it said was done stays done.
@Timeout(240)
final class KillTest {
    private static final int ROUNDS = 6;

    @TempDir Path directory;

    private final Map<String, Digest> images = new HashMap<>();
    private final Set<String> going = new HashSet<>();
    private final Set<String> gone = new HashSet<>();
    private final Map<Digest, Integer> blobs = new HashMap<>();
    private String lastStarted = "";

    private Process start(Path root, long seed) throws IOException {
        String java = System.getProperty("java.home") + File.separator + "bin/java";
        return new ProcessBuilder(
                        java,
                        "-XX:+UseSerialGC",
                        "-XX:TieredStopAtLevel=1",
                        "-Xmx128m",
                        "--enable-native-access=ALL-UNNAMED",
                        "-Djava.io.tmpdir=" + directory,
                        "-Djava.library.path=" + System.getProperty("java.library.path", ""),
                        "-cp",
                        System.getProperty("java.class.path"),
                        KilledWriter.class.getName(),
                        root.toString(),
                        Long.toString(seed))
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
    }

    private void acknowledge(String line) throws ImageException {
        String[] words = line.split(" ");
        switch (words[0]) {
            case "open" -> {}
            case "blob" -> blobs.put(Digest.parse(words[1]), Integer.parseInt(words[2]));
            case "image" -> images.put(words[1], Digest.parse(words[2]));
            case "going" -> going.add(words[1]);
            case "gone" -> {
                images.remove(words[1]);
                gone.add(words[1]);
            }
            default -> throw new AssertionError(line);
        }
        lastStarted = line;
    }

    @Test
    void kill_atRandomMoments_losesNothingAcknowledged() throws Exception {
        Path root = directory.resolve("store");
        Random random = new Random(99);
        for (int round = 0; round < ROUNDS; round++) {
            Process writer = start(root, round);
            int lines = 5 + random.nextInt(60);
            try (BufferedReader out =
                    new BufferedReader(
                            new InputStreamReader(
                                    writer.getInputStream(), StandardCharsets.UTF_8))) {
                for (int i = 0; i < lines; i++) {
                    String line = out.readLine();
                    assertTrue(line != null, "the writer ended early");
                    acknowledge(line);
                }
                if (round == 0) {
                    ImageException e =
                            assertThrows(
                                    ImageException.class,
                                    () -> Store.open(root, StoreOptions.defaults()));
                    assertEquals(ErrorKind.LOCKED, e.kind());
                    assertTrue(e.getMessage().contains("process " + writer.pid()), e.getMessage());
                    assertTrue(e.getMessage().contains("KilledWriter"), e.getMessage());
                }
                writer.toHandle().destroyForcibly(); // Process itself would close the stream.
                String line;
                while ((line = out.readLine()) != null) {
                    acknowledge(line);
                }
            }
            writer.waitFor();
            try (Store store = Store.open(root, StoreOptions.defaults())) {
                // A kill between the journal and the database leaves the journal one entry ahead,
                // which
                // counts as rebuilt; the database itself must never be given up.
                assertEquals(List.of(), setAside(root), "after " + lastStarted);
                check(store);
            }
        }
        // The journal alone must tell the same.
        BlobPaths.deleteTree(root.resolve("db"));
        try (Store store = Store.open(root, StoreOptions.defaults())) {
            assertTrue(store.rebuilt());
            checkImages(store);
        }
        assertTrue(images.size() > ROUNDS, "only " + images);
    }

    private static List<Path> setAside(Path root) throws IOException {
        try (var entries = Files.newDirectoryStream(root, "db.damaged-*")) {
            List<Path> found = new ArrayList<>();
            entries.forEach(found::add);
            return found;
        }
    }

    private void check(Store store) throws ImageException {
        checkImages(store);
        for (Map.Entry<Digest, Integer> blob : blobs.entrySet()) {
            Digest digest = blob.getKey();
            assertEquals(
                    (long) blob.getValue(),
                    store.content().info(KilledWriter.NS, digest).sizeBytes());
        }
        assertEquals(List.of(), store.maintenance().checkFiles(true));
        store.database()
                .read(
                        view -> {
                            store.maintenance()
                                    .counts(
                                            view,
                                            (node, n) ->
                                                    assertEquals(view.edgesTo(node).size(), n));
                            return null;
                        });
    }

    private void checkImages(Store store) throws ImageException {
        for (Map.Entry<String, Digest> image : images.entrySet()) {
            Optional<ImageRecord> found = store.images().find(KilledWriter.NS, image.getKey());
            if (found.isPresent()) {
                assertEquals(image.getValue(), found.get().target().digest());
            } else {
                assertTrue(going.contains(image.getKey()), "lost: " + image.getKey());
            }
        }
        for (String name : gone) {
            assertEquals(Optional.empty(), store.images().find(KilledWriter.NS, name));
        }
    }
}
