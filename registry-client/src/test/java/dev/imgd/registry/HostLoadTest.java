package dev.imgd.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

final class HostLoadTest {
    private final HostLoad load = new HostLoad(TransferOptions.defaults());

    private int fill() {
        return fill(load);
    }

    /// Takes all places there are.
    private static int fill(HostLoad load) {
        int taken = 0;
        while (load.tryEnter()) {
            taken++;
        }
        return taken;
    }

    private void empty(int places) {
        for (int i = 0; i < places; i++) {
            load.leave();
        }
    }

    @Test
    void overloaded_requestsThatFailTogether_halvesOnceByWhatWasInUse() {
        assertEquals(32, fill());
        load.overloaded(0);
        load.overloaded(0);
        empty(32);
        assertEquals(16, fill());
    }

    @Test
    void tryEnter_noMoreThanConfigured_alsoAfterSuccesses() {
        HostLoad few = new HostLoad(TransferOptions.defaults().withRequestsAtOnce(3));
        assertEquals(3, fill(few));
        few.succeeded();
        assertFalse(few.tryEnter());
        few.leave();
        assertTrue(few.tryEnter());
    }

    @Test
    void overloaded_fewInUse_halvesThose() {
        for (int i = 0; i < 8; i++) {
            assertTrue(load.tryEnter());
        }
        load.overloaded(0);
        empty(8);
        assertEquals(4, fill());
    }

    @Test
    void overloaded_oneInUse_oneIsStillAllowed() {
        assertTrue(load.tryEnter());
        load.overloaded(0);
        load.leave();
        assertEquals(1, fill());
    }

    @Test
    void succeeded_asOftenAsPlaces_oneMore() {
        for (int i = 0; i < 8; i++) {
            assertTrue(load.tryEnter());
        }
        load.overloaded(0);
        empty(8);
        for (int places = 4; places < 32; places++) {
            assertEquals(places, fill());
            empty(places);
            // One for the part of a place that is lost in rounding.
            for (int i = 0; i <= places; i++) {
                load.succeeded();
            }
        }
        load.succeeded();
        assertEquals(32, fill());
    }

    @Test
    void overloaded_withAPause_nothingIsTakenMeanwhile() {
        load.overloaded(TimeUnit.HOURS.toMillis(1));
        assertTrue(load.wantsRest());
        assertFalse(load.tryEnter());
    }

    @Test
    void enter_noPlaceLeft_takenWhenPatienceEnds() throws Exception {
        assertEquals(32, fill());
        load.enter(1, new Operation(), "test");
        empty(1);
        assertFalse(load.tryEnter());
    }
}
