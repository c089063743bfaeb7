package dev.imgd.content;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.EarlyBytes;
import dev.imgd.model.EarlyBytes.Place;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// What a killed process had fetched before its turn. A file that is opened while another has it
/// open is what a kill leaves.
final class EarlyFileTest {
    private static final String BOOT = "8b2f5b5c-0000-4000-8000-000000000001";
    private static final long SIZE = 64 << 20;
    private static final byte[] BYTES = Trees.random(3, EarlyBytes.PLACE_BYTES);

    @TempDir Path directory;
    private Path path;

    @BeforeEach
    void name() {
        path = directory.resolve("early");
    }

    private EarlyFile open() {
        return new EarlyFile(path, BOOT, SIZE);
    }

    private static Place add(EarlyBytes early, long offset, int... sizes) {
        Place place = early.open(offset);
        int at = 0;
        for (int size : sizes) {
            place.add(ByteBuffer.wrap(BYTES, at, size));
            at += size;
        }
        return place;
    }

    private static List<Long> offsets(EarlyBytes early) {
        return early.kept().stream().map(Place::offset).toList();
    }

    private static void assertKept(Place place, long offset, int size) throws IOException {
        assertEquals(offset, place.offset());
        assertEquals(size, place.sizeBytes());
        ByteBuffer into = ByteBuffer.allocate(size);
        place.read(0, into);
        assertArrayEquals(Arrays.copyOf(BYTES, size), into.array());
        ByteBuffer last = ByteBuffer.allocate(1);
        place.read(size - 1, last);
        assertEquals(BYTES[size - 1], last.get(0));
    }

    @Test
    void kept_afterKill_isWhatWasAdded() throws IOException {
        try (EarlyFile killed = open();
                EarlyFile next = openAfter(killed)) {
            assertEquals(List.of(1L << 20, 9L << 20, 10L << 20), offsets(next));
            assertKept(next.kept().get(0), 1 << 20, 70_000);
            assertKept(next.kept().get(1), 9 << 20, EarlyBytes.PLACE_BYTES);
            assertKept(next.kept().get(2), 10 << 20, 1);
        }
    }

    private EarlyFile openAfter(EarlyFile killed) {
        add(killed, 9 << 20, EarlyBytes.PLACE_BYTES);
        add(killed, 1 << 20, 65_536, 4_464);
        add(killed, 30 << 20);
        add(killed, 10 << 20, 1);
        return open();
    }

    @Test
    void kept_nothingCameEarly_makesNoFile() throws IOException {
        try (EarlyFile early = open()) {
            assertEquals(List.of(), early.kept());
        }
        assertFalse(Files.exists(path));
    }

    @Test
    void open_reusesFreedPlaces_theFirstFreedFirst() throws IOException {
        try (EarlyFile early = open()) {
            Place first = add(early, 0, 10);
            Place second = add(early, 1 << 20, 10);
            add(early, 2 << 20, 10);
            first.free();
            second.free();
            try (EarlyFile next = open()) {
                assertEquals(
                        List.of(0L, 1L << 20, 2L << 20),
                        offsets(next),
                        "freed is not lost until it is used");
            }
            add(early, 3 << 20, 10);
        }
        long length = Files.size(path);
        try (EarlyFile next = open()) {
            assertEquals(List.of(1L << 20, 2L << 20, 3L << 20), offsets(next));
            next.kept().getFirst().free();
            add(next, 4 << 20, 20);
            assertEquals(List.of(2L << 20, 3L << 20), offsets(next));
        }
        assertEquals(length, Files.size(path), "no place is added while one is free");
        try (EarlyFile next = open()) {
            assertKept(next.kept().getLast(), 4 << 20, 20);
        }
    }

    @Test
    void discard_isNotFoundAgain_andIsReused() throws IOException {
        try (EarlyFile early = open()) {
            add(early, 0, 100).discard();
            add(early, 1 << 20, 100).free();
            try (EarlyFile next = open()) {
                assertEquals(List.of(1L << 20), offsets(next));
            }
            add(early, 2 << 20, 100);
            add(early, 3 << 20, 100);
        }
        assertTrue(Files.size(path) < 3L * EarlyBytes.PLACE_BYTES, "no place was added");
    }

    @Test
    void open_reusedAndKilledBeforeTheFirstBytes_speaksOfNothing() throws IOException {
        try (EarlyFile early = open()) {
            add(early, 0, 100).free();
            early.open(5 << 20);
            try (EarlyFile next = open()) {
                assertEquals(List.of(), next.kept());
            }
        }
    }

    @Test
    void kept_anotherBoot_isNotBelieved() throws IOException {
        try (EarlyFile early = open()) {
            add(early, 0, 100);
        }
        try (EarlyFile other = new EarlyFile(path, "another", SIZE);
                EarlyFile unknown = new EarlyFile(path, "", SIZE)) {
            assertEquals(List.of(), other.kept());
            assertEquals(List.of(), unknown.kept());
        }
    }

    @Test
    void kept_damaged_isWhatIsWhole() throws IOException {
        try (EarlyFile early = open()) {
            add(early, 0, EarlyBytes.PLACE_BYTES);
            add(early, 1 << 20, EarlyBytes.PLACE_BYTES);
            add(early, 2 << 20, EarlyBytes.PLACE_BYTES);
        }
        byte[] file = Files.readAllBytes(path);
        file[20]++; // in the first head
        Files.write(path, Arrays.copyOf(file, file.length - 1));
        try (EarlyFile next = open()) {
            assertEquals(List.of(1L << 20), offsets(next), "the last one is cut");
        }
        Files.write(path, Trees.random(4, 100_000), StandardOpenOption.TRUNCATE_EXISTING);
        try (EarlyFile next = open()) {
            assertEquals(List.of(), next.kept());
        }
    }

    @Test
    void kept_bytesThatTheHeadDoesNotSpeakOf_areNotBelieved() throws IOException {
        try (EarlyFile early = open()) {
            add(early, 0, 1000);
            add(early, 1 << 20, 1000, 1000);
        }
        byte[] file = Files.readAllBytes(path);
        file[4096 + 999]++;
        Files.write(path, file);
        try (EarlyFile next = open()) {
            assertEquals(List.of(1L << 20), offsets(next));
            assertKept(next.kept().getFirst(), 1 << 20, 2000);
        }
    }

    /// A worker of a download that was given up may still be writing.
    @Test
    void clear_placesFromBefore_touchNothing() throws IOException {
        try (EarlyFile early = open()) {
            Place before = add(early, 0, 1000);
            early.clear();
            add(early, 5 << 20, 2000);
            before.add(ByteBuffer.wrap(BYTES, 1000, 1000));
            before.free();
            add(early, 6 << 20, 3000);
            try (EarlyFile next = open()) {
                assertEquals(List.of(5L << 20, 6L << 20), offsets(next));
                assertKept(next.kept().getFirst(), 5 << 20, 2000);
            }
            assertThrows(IOException.class, () -> before.read(0, ByteBuffer.allocate(1)));
        }
    }

    @Test
    void clear_closed_isNoFailure() throws IOException {
        EarlyFile early = open();
        add(early, 0, 1000);
        early.close();
        early.clear();
        assertEquals(List.of(), early.kept());
    }

    @Test
    void kept_beyondTheBlobOrTwice_isLeftOut() throws IOException {
        try (EarlyFile early = open()) {
            add(early, SIZE - 10, 11);
            add(early, 100, 1000);
            add(early, 600, 1000);
        }
        try (EarlyFile next = open()) {
            assertEquals(List.of(100L), offsets(next));
        }
    }

    @Test
    void ingest_closed_keepsForTheNextWriter_committedOrCut_doesNot() throws Exception {
        Path root = directory.resolve("store");
        try (Store store = Store.open(root, StoreOptions.defaults())) {
            for (int i = 0; i < 2; i++) {
                try (Ingest ingest = store.content().ingest("default", "r", Optional.empty())) {
                    assertEquals(i, ingest.early().kept().size());
                    add(ingest.early(), 50, 10);
                }
            }
            try (Ingest ingest = store.content().ingest("default", "r", Optional.empty())) {
                ingest.truncate(0);
                assertEquals(List.of(), ingest.early().kept(), "whatever was written before");
                add(ingest.early(), 50, 10);
                ingest.write(ByteBuffer.wrap(BYTES));
                ingest.truncate(0);
                assertEquals(List.of(), ingest.early().kept());
            }
            try (Ingest ingest = store.content().ingest("default", "r", Optional.empty())) {
                assertEquals(List.of(), ingest.early().kept());
                EarlyBytes early = ingest.early();
                Place late = add(early, 50, 10);
                ingest.write(ByteBuffer.wrap(BYTES));
                ingest.commit(-1, null, Map.of(), List.of());
                late.add(ByteBuffer.wrap(BYTES, 0, 10));
                add(early, 60, 10);
            }
            try (var left = Files.list(root.resolve("ingest"))) {
                assertEquals(List.of(), left.toList());
            }
        }
    }
}
