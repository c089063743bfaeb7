package dev.imgd.cli;

import dev.imgd.image.ImageService.LayerProgress;
import dev.imgd.image.ImageService.LayerState;
import dev.imgd.image.ImageService.Progress;
import dev.imgd.image.ImageService.ProgressListener;
import dev.imgd.model.JsonWriter;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.LongSupplier;

/// Shows the progress of a pull on standard error: one line for the whole and a row per active
/// layer on a terminal, a line per phase and every few seconds elsewhere. For one thread.
abstract sealed class ProgressRenderer implements ProgressListener, AutoCloseable {
    final PrintStream err;
    private final LongSupplier nanos;
    private long startedNanos = -1;

    private ProgressRenderer(PrintStream err, LongSupplier nanos) {
        this.err = err;
        this.nanos = nanos;
    }

    /// The renderer for the mode; `auto` draws when standard error is a terminal.
    static ProgressRenderer of(GlobalOptions.ProgressMode mode, PrintStream err) {
        LongSupplier clock = System::nanoTime;
        return switch (mode) {
            case auto ->
                    Terminal.stderrIsTerminal()
                            ? new Tty(err, clock, Terminal.columns(), Terminal.rows())
                            : new Plain(err, clock);
            case tty -> new Tty(err, clock, Terminal.columns(), Terminal.rows());
            case plain -> new Plain(err, clock);
            case json -> new Json(err, clock);
            case none -> new None(err, clock);
        };
    }

    long elapsedNanos() {
        long now = nanos.getAsLong();
        if (startedNanos < 0) {
            startedNanos = now;
        }
        return now - startedNanos;
    }

    /// Bytes a second since the start, and how long the rest would take at that rate.
    String summary(Progress state) {
        long elapsed = elapsedNanos();
        StringBuilder text = new StringBuilder(80);
        text.append(state.phase());
        if (state.totalBytes() > 0) {
            text.append(' ')
                    .append(Sizes.bytes(state.doneBytes()))
                    .append(" / ")
                    .append(Sizes.bytes(state.totalBytes()));
        }
        if (state.fetchedBytes() > 0 && elapsed > 200_000_000L) {
            double rate = state.fetchedBytes() / (elapsed / 1e9);
            text.append("  ").append(Sizes.bytes((long) rate)).append("/s");
            long left = state.totalBytes() - state.doneBytes();
            if (left > 0 && rate > 0) {
                text.append("  ETA ").append(Sizes.millis((long) (left / rate * 1000)));
            }
        }
        return text.toString();
    }

    /// Removes what was drawn.
    @Override
    public void close() {
        err.flush();
    }

    /// Draws over its own lines.
    static final class Tty extends ProgressRenderer {
        private final int columns;
        private final int rows;
        private int drawn;

        Tty(PrintStream err, LongSupplier nanos, int columns, int rows) {
            super(err, nanos);
            this.columns = Math.max(20, columns);
            this.rows = Math.max(3, rows);
        }

        @Override
        public void progress(Progress state) {
            List<String> lines = new ArrayList<>();
            lines.add(fit(state.reference() + "  " + summary(state)));
            int hidden = 0;
            for (LayerProgress layer : state.layers()) {
                if (layer.state() == LayerState.DOWNLOADING
                        || layer.state() == LayerState.UNPACKING) {
                    if (lines.size() < rows - 2) {
                        lines.add(fit(row(layer)));
                    } else {
                        hidden++;
                    }
                }
            }
            if (hidden > 0) {
                lines.add(fit("  … and %d more layers".formatted(hidden)));
            }
            StringBuilder frame = new StringBuilder();
            erase(frame);
            for (String line : lines) {
                frame.append(line).append('\n');
            }
            drawn = lines.size();
            err.print(frame);
            err.flush();
        }

        private static String row(LayerProgress layer) {
            boolean unpacking = layer.state() == LayerState.UNPACKING;
            long done = unpacking ? layer.unpackedBytes() : layer.doneBytes();
            int percent = layer.totalBytes() == 0 ? 100 : (int) (100 * done / layer.totalBytes());
            int filled = Math.clamp(percent / 5, 0, 20);
            return String.format(
                    Locale.ROOT,
                    "  %s %-11s [%s%s] %3d%% %s",
                    layer.digest().shortHex(),
                    unpacking ? "unpacking" : "downloading",
                    "=".repeat(filled),
                    " ".repeat(20 - filled),
                    percent,
                    Sizes.bytes(layer.totalBytes()));
        }

        private String fit(String line) {
            return line.length() < columns ? line : line.substring(0, columns - 2) + "…";
        }

        private void erase(StringBuilder frame) {
            if (drawn > 0) {
                frame.append("\r\u001b[").append(drawn).append("A\u001b[J");
                drawn = 0;
            }
        }

        @Override
        public void close() {
            StringBuilder frame = new StringBuilder();
            erase(frame);
            err.print(frame);
            err.flush();
        }
    }

    /// One line per phase and every five seconds.
    static final class Plain extends ProgressRenderer {
        private static final long EVERY_NANOS = 5_000_000_000L;
        private String phase = "";
        private long printedNanos;

        Plain(PrintStream err, LongSupplier nanos) {
            super(err, nanos);
        }

        @Override
        public void progress(Progress state) {
            long elapsed = elapsedNanos();
            if (!state.phase().equals(phase) || elapsed - printedNanos >= EVERY_NANOS) {
                phase = state.phase();
                printedNanos = elapsed;
                err.println(state.reference() + ": " + summary(state));
                err.flush();
            }
        }
    }

    /// One JSON object per state.
    static final class Json extends ProgressRenderer {
        Json(PrintStream err, LongSupplier nanos) {
            super(err, nanos);
        }

        @Override
        public void progress(Progress state) {
            JsonWriter json =
                    JsonWriter.compact()
                            .beginObject()
                            .member("reference", state.reference())
                            .member("phase", state.phase())
                            .member("doneBytes", state.doneBytes())
                            .member("totalBytes", state.totalBytes())
                            .member("fetchedBytes", state.fetchedBytes())
                            .beginArray("layers");
            for (LayerProgress layer : state.layers()) {
                json.beginObject()
                        .member("digest", layer.digest().toString())
                        .member("state", layer.state().name().toLowerCase(Locale.ROOT))
                        .member("doneBytes", layer.doneBytes())
                        .member("unpackedBytes", layer.unpackedBytes())
                        .member("totalBytes", layer.totalBytes())
                        .endObject();
            }
            json.endArray().beginArray("sources");
            state.sources().forEach(use -> ImageCommands.source(json, use));
            err.println(json.endArray().endObject());
            err.flush();
        }
    }

    /// Shows nothing.
    static final class None extends ProgressRenderer {
        None(PrintStream err, LongSupplier nanos) {
            super(err, nanos);
        }

        @Override
        public void progress(Progress state) {}
    }
}
