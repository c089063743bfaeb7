package dev.imgd.snapshot.overlay;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.util.ArrayDeque;
import java.util.Queue;
import java.util.concurrent.RejectedExecutionException;
import org.junit.jupiter.api.Test;

class WriteBehindTest {
    private final Queue<Runnable> tasks = new ArrayDeque<>();
    private int syncs;
    private final WriteBehind behind = new WriteBehind(() -> syncs++, tasks::add, 100);

    private void runAll() {
        for (Runnable task = tasks.poll(); task != null; task = tasks.poll()) {
            task.run();
        }
    }

    @Test
    void written_lessThanAStep_startsNothing() {
        behind.written(60);
        behind.written(39);

        assertEquals(0, tasks.size());
    }

    @Test
    void written_aStep_startsOneSync() {
        behind.written(60);
        behind.written(40);
        behind.written(500);
        assertEquals(1, tasks.size());
        runAll();

        assertEquals(1, syncs);
    }

    @Test
    void written_whileSyncing_countsForTheNext() {
        WriteBehind[] self = new WriteBehind[1];
        self[0] =
                new WriteBehind(
                        () -> {
                            if (syncs++ == 0) {
                                self[0].written(100);
                            }
                        },
                        tasks::add,
                        100);
        self[0].written(100);
        runAll();

        assertEquals(2, syncs);
    }

    @Test
    void written_diskFails_goesOn() {
        WriteBehind failing =
                new WriteBehind(
                        () -> {
                            syncs++;
                            throw new ImageException(ErrorKind.DATA_LOSS, "no disk");
                        },
                        tasks::add,
                        100);
        failing.written(100);
        runAll();
        failing.written(100);
        runAll();

        assertEquals(2, syncs);
    }

    @Test
    void written_whileClosing_isOnlyCounted() {
        WriteBehind closing =
                new WriteBehind(
                        () -> syncs++,
                        task -> {
                            throw new RejectedExecutionException();
                        },
                        100);
        closing.written(100);

        assertEquals(0, syncs);
    }
}
