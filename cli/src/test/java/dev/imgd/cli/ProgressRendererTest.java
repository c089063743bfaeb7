package dev.imgd.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.image.ImageService.LayerProgress;
import dev.imgd.image.ImageService.LayerState;
import dev.imgd.image.ImageService.Progress;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class ProgressRendererTest {
    private static final long SECOND = 1_000_000_000L;
    private static final String UP = "\r\u001b[%dA\u001b[J";

    private final ByteArrayOutputStream sink = new ByteArrayOutputStream();
    private final PrintStream err = new PrintStream(sink, true, StandardCharsets.UTF_8);
    private long now = 17 * SECOND;

    /// What was written since the last call.
    private String written() {
        String text = sink.toString(StandardCharsets.UTF_8);
        sink.reset();
        return text;
    }

    private static Progress state(String phase, long done, long total, LayerProgress... layers) {
        return new Progress("a:1", phase, done, total, done, List.of(layers), List.of());
    }

    private static LayerProgress layer(int number, LayerState state, long done, long unpacked) {
        return new LayerProgress(
                FakeImages.digest("layer" + number), state, done, unpacked, 100 << 10);
    }

    private ProgressRenderer.Tty tty(int columns, int rows) {
        return new ProgressRenderer.Tty(err, () -> now, columns, rows);
    }

    @Test
    void tty_eachState_isDrawnOverTheLast() {
        try (ProgressRenderer renderer = tty(100, 24)) {
            renderer.progress(state("resolving", 0, 0));
            assertEquals("a:1  resolving\n", written());
            renderer.progress(
                    state(
                            "downloading",
                            50 << 10,
                            200 << 10,
                            layer(1, LayerState.DOWNLOADING, 50 << 10, 0),
                            layer(2, LayerState.WAITING, 0, 0),
                            layer(3, LayerState.UNPACKING, 100 << 10, 25 << 10),
                            layer(4, LayerState.DONE, 100 << 10, 100 << 10),
                            layer(5, LayerState.EXISTS, 100 << 10, 100 << 10)));
            assertEquals(
                    UP.formatted(1)
                            + "a:1  downloading 50.0 KiB / 200.0 KiB\n"
                            + "  %s downloading [==========          ]  50%% 100.0 KiB\n"
                                    .formatted(FakeImages.digest("layer1").shortHex())
                            + "  %s unpacking   [=====               ]  25%% 100.0 KiB\n"
                                    .formatted(FakeImages.digest("layer3").shortHex()),
                    written());
        }
        assertEquals(UP.formatted(3), written());
    }

    @Test
    void tty_rateAndRest_areKnownAfterAMoment() {
        try (ProgressRenderer renderer = tty(100, 24)) {
            renderer.progress(state("downloading", 0, 40 << 20));
            assertFalse(written().contains("/s"));
            now += 2 * SECOND;
            renderer.progress(state("downloading", 10 << 20, 40 << 20));
            String text = written();
            assertTrue(
                    text.contains("downloading 10.0 MiB / 40.0 MiB  5.00 MiB/s  ETA 6.00s\n"),
                    text);
        }
    }

    @Test
    void tty_manyLayersOrNarrowTerminal_fitsIt() {
        LayerProgress[] layers = new LayerProgress[30];
        for (int i = 0; i < layers.length; i++) {
            layers[i] = layer(i, LayerState.DOWNLOADING, 1 << 10, 0);
        }
        try (ProgressRenderer renderer = tty(40, 10)) {
            renderer.progress(state("downloading", 1, 2, layers));
            List<String> lines = written().lines().toList();
            assertEquals(9, lines.size());
            assertEquals("  … and 23 more layers", lines.getLast());
            for (String line : lines) {
                assertTrue(line.length() < 40, line);
            }
        }
    }

    @Test
    void tty_nothingDrawn_closesSilently() {
        tty(80, 24).close();
        assertEquals("", written());
    }

    @Test
    void plain_printsPhasesAndEveryFewSeconds() {
        List<Integer> lines = new ArrayList<>();
        try (ProgressRenderer renderer = new ProgressRenderer.Plain(err, () -> now)) {
            for (int i = 0; i < 120; i++) {
                renderer.progress(state(i < 60 ? "downloading" : "unpacking", i, 120));
                if (!written().isEmpty()) {
                    lines.add(i);
                }
                now += SECOND / 5;
            }
        }
        // Five a second: the first of each phase, and one every 25.
        assertEquals(List.of(0, 25, 50, 60, 85, 110), lines);
    }

    @Test
    void json_isOneObjectALine() throws Exception {
        try (ProgressRenderer renderer = new ProgressRenderer.Json(err, () -> now)) {
            renderer.progress(state("unpacking", 7, 9, layer(1, LayerState.UNPACKING, 3, 2)));
            renderer.progress(state("done", 9, 9));
        }
        List<String> lines = written().lines().toList();
        assertEquals(
                """
                {"reference":"a:1","phase":"unpacking","doneBytes":7,"totalBytes":9,"fetchedBytes":7,\
                "layers":[{"digest":"%s","state":"unpacking","doneBytes":3,"unpackedBytes":2,\
                "totalBytes":102400}],"sources":[]}"""
                        .formatted(FakeImages.digest("layer1")),
                lines.getFirst());
        assertEquals(lines.getLast(), Cli.compact(lines.getLast()));
        assertEquals(2, lines.size());
    }

    @Test
    void none_printsNothing() {
        try (ProgressRenderer renderer =
                ProgressRenderer.of(GlobalOptions.ProgressMode.none, err)) {
            renderer.progress(state("done", 9, 9));
        }
        assertEquals("", written());
    }
}
