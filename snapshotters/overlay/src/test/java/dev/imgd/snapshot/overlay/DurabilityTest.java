package dev.imgd.snapshot.overlay;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.snapshot.Layer;
import dev.imgd.snapshot.SnapshotMetadata;
import dev.imgd.snapshot.Usage;
import dev.imgd.testkit.MemoryDatabase;
import java.nio.charset.StandardCharsets;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class DurabilityTest {
    private final SnapshotMetadata metadata =
            new SnapshotMetadata(new MemoryDatabase(), Clock.systemUTC());
    private final ScheduledThreadPoolExecutor scheduler = new ScheduledThreadPoolExecutor(1);
    private final List<String> events = new ArrayList<>();
    private boolean diskFails;
    private boolean databaseFails;
    private final Durability durability =
            new Durability(this::sync, this::lose, metadata, scheduler, Duration.ofHours(1));

    @AfterEach
    void stop() {
        scheduler.shutdownNow();
    }

    private void sync() throws ImageException {
        events.add("sync");
        if (diskFails) {
            throw new ImageException(ErrorKind.DATA_LOSS, "the disk did not take them");
        }
    }

    private void lose(List<Long> directories) throws ImageException {
        events.add("lose " + directories);
        if (databaseFails) {
            throw new ImageException(ErrorKind.NO_SPACE, "no space");
        }
        for (long directory : directories) {
            metadata.lost(directory);
        }
    }

    private static Digest diffId(long directory) {
        return Digest.sha256(Long.toString(directory).getBytes(StandardCharsets.UTF_8));
    }

    private void commit(long directory) throws ImageException {
        Digest id = diffId(directory);
        metadata.addLayer(
                new Layer(Layer.id(id), id, directory, new Usage(1, 1), Instant.EPOCH), "boot");
        durability.add(directory);
    }

    private boolean exists(long directory) throws ImageException {
        return metadata.layer(diffId(directory), Optional.empty()).isPresent();
    }

    @Test
    void flush_syncFails_whatItCoveredIsLostAndTheRestGoesOn() throws Exception {
        commit(1);
        durability.flush();
        commit(2);
        diskFails = true;
        assertEquals(
                ErrorKind.DATA_LOSS, assertThrows(ImageException.class, durability::flush).kind());
        diskFails = false;
        assertTrue(exists(1));
        assertFalse(exists(2));
        commit(3);
        durability.flush();
        assertTrue(exists(3));
        assertFalse(exists(2));
        assertEquals(List.of(), metadata.unsynced());
        assertEquals(List.of("sync", "sync", "lose [2]", "sync"), events);
    }

    @Test
    void flush_lossCannotBeRecorded_nothingIsSyncedBeforeItIs() throws Exception {
        commit(1);
        diskFails = true;
        databaseFails = true;
        assertThrows(ImageException.class, durability::flush);
        diskFails = false;
        commit(2);
        ImageException e = assertThrows(ImageException.class, durability::flush);
        assertEquals(ErrorKind.NO_SPACE, e.kind());
        assertEquals(2, metadata.unsynced().size(), "the next boot takes both for lost");
        databaseFails = false;
        durability.flush();
        assertFalse(exists(1));
        assertTrue(exists(2));
        assertEquals(List.of(), metadata.unsynced());
        assertEquals(List.of("sync", "lose [1]", "lose [1]", "lose [1]", "sync"), events);
    }
}
