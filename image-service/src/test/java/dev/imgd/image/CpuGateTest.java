package dev.imgd.image;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.ByteArrayInputStream;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

class CpuGateTest {
    private static final Check GO_ON = () -> {};

    private final CpuGate gate = new CpuGate(1);

    @Test
    void tryEnter_freePlace_takesIt() {
        assertTrue(gate.tryEnter());
        assertFalse(gate.tryEnter());
        gate.leave();
        assertTrue(gate.tryEnter());
    }

    @Test
    void enter_severalWait_mostWorkFirst() throws Exception {
        gate.enter(0, GO_ON);
        List<Long> order = new ArrayList<>();
        CountDownLatch waiting = new CountDownLatch(3);
        List<Thread> threads = new ArrayList<>();
        for (long work : new long[] {2, 9, 5}) {
            threads.add(
                    Thread.ofPlatform()
                            .start(
                                    () -> {
                                        try {
                                            // The first check comes when the thread is in the
                                            // queue.
                                            gate.enter(work, waiting::countDown);
                                        } catch (ImageException e) {
                                            throw new AssertionError(e);
                                        }
                                        order.add(work);
                                        gate.leave();
                                    }));
        }
        waiting.await();
        // Whoever helps does not get in front of whoever waits.
        assertFalse(gate.tryEnter());
        gate.leave();
        for (Thread thread : threads) {
            thread.join();
        }
        assertEquals(List.of(9L, 5L, 2L), order);
        assertTrue(gate.tryEnter());
    }

    @Test
    void enter_cancelledWhileWaiting_leavesNoPlaceTaken() throws Exception {
        gate.enter(0, GO_ON);
        Check cancelled =
                () -> {
                    throw new ImageException(ErrorKind.CANCELLED, "no more");
                };
        assertThrows(ImageException.class, () -> gate.enter(1, cancelled));
        gate.leave();
        assertTrue(gate.tryEnter());
    }

    @Test
    void source_hasReady_countsWhatWasReadAndWhatIsLeft() throws Exception {
        AtomicLong available = new AtomicLong(100);
        GatedSource source =
                new GatedSource(
                        Channels.newChannel(new ByteArrayInputStream(new byte[300])),
                        available::get,
                        gate,
                        GO_ON,
                        300,
                        new AtomicLong());
        source.enter();
        assertTrue(source.hasReady(100));
        assertFalse(source.hasReady(101));
        assertEquals(60, source.read(ByteBuffer.allocate(60)));
        assertFalse(source.hasReady(100));
        available.set(300);
        assertTrue(source.hasReady(240));
        // The end is as far as it goes.
        assertTrue(source.hasReady(1000));
        source.leave();
        assertTrue(gate.tryEnter());
    }
}
