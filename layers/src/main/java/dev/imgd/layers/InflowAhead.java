package dev.imgd.layers;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/// Windows that a second thread fills while the first one reads others, so that one large layer is
/// decoded and hashed on one processor and written on another.
///
/// Two batches take turns: one is read, one is filled. The second thread is asked for anew for each
/// batch; without one, the reader has to fill windows itself. For one thread.
final class InflowAhead implements AutoCloseable {
    /// Windows that are filled in one go, because waking a thread costs about as much as decoding a
    /// small piece.
    private static final int BATCH = 4;

    private static final int KEPT = 4;
    private static final ArrayBlockingQueue<ByteBuffer[]> POOL = new ArrayBlockingQueue<>(KEPT);

    private static final class Batch {
        private ByteBuffer @Nullable [] windows;
        private int filled;
        private int read;
        private @Nullable Throwable failure;

        void fill(Inflow inflow) {
            filled = 0;
            read = 0;
            try {
                ByteBuffer[] all = windows();
                while (filled < BATCH && !inflow.ended()) {
                    Buffers.empty(all[filled]);
                    inflow.fill(all[filled]);
                    Buffers.show(all[filled]);
                    filled++;
                }
            } catch (IOException | RuntimeException | Error e) {
                failure = e;
            }
        }

        private ByteBuffer[] windows() {
            ByteBuffer[] all = windows;
            if (all == null) {
                all = POOL.poll();
            }
            if (all == null) {
                all = new ByteBuffer[BATCH];
                for (int i = 0; i < BATCH; i++) {
                    all[i] = Buffers.newWindow();
                }
            }
            windows = all;
            return all;
        }

        @Nullable ByteBuffer next() throws IOException {
            ByteBuffer[] all = windows;
            if (all != null && read < filled) {
                return all[read++];
            }
            return switch (failure) {
                case null -> null;
                case IOException e -> throw e;
                case RuntimeException e -> throw e;
                case Error e -> throw e;
                default -> throw new IllegalStateException(failure);
            };
        }

        void give() {
            ByteBuffer[] all = windows;
            if (all != null) {
                POOL.offer(all); // A full pool leaves them to the garbage collector.
            }
        }
    }

    private final Inflow inflow;
    private final Assistant assistant;
    private Batch reading = new Batch();
    private Batch filling = new Batch();
    private @Nullable CompletableFuture<@Nullable Void> running;

    InflowAhead(Inflow inflow, Assistant assistant) {
        this.inflow = inflow;
        this.assistant = assistant;
    }

    /// The next window, its bytes between position and limit. Valid until [#proceed] after the next
    /// one was taken.
    ///
    /// @return null when nothing was filled ahead, and nobody but the caller uses the inflow
    /// @throws IOException what the inflow threw behind the last window
    @Nullable ByteBuffer next() throws IOException {
        ByteBuffer window = reading.next();
        if (window == null && running != null) {
            await();
            Batch exhausted = reading;
            reading = filling;
            filling = exhausted;
            window = reading.next();
        }
        return window;
    }

    /// Has more windows filled, if there is a thread for it.
    void proceed() {
        if (running != null || inflow.ended()) {
            return;
        }
        Batch batch = filling;
        CompletableFuture<@Nullable Void> work = new CompletableFuture<>();
        if (assistant.begin(
                () -> {
                    batch.fill(inflow);
                    work.complete(null);
                })) {
            running = work;
        }
    }

    /// Waits for the second thread. An interruption is kept for later, because what the thread uses
    /// must not be freed under it.
    private void await() {
        CompletableFuture<@Nullable Void> work = running;
        if (work != null) {
            running = null;
            work.join();
        }
    }

    @Override
    public void close() {
        await();
        reading.give();
        filling.give();
    }
}
