package dev.imgd.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

@Tag("root")
class QuickstartIT {
    @RegisterExtension final Workspace workspace = new Workspace();

    @Test
    void quickstart_explainsEveryStepAndLeavesNothing() throws Exception {
        Path temporary = workspace.newDirectory("tmp");
        List<String> mounts = Workspace.mountsBelow(Path.of(""));

        Program.Finished finished =
                Program.of(Installation.IMGCTL, "quickstart")
                        .env("IMGD_JAVA_OPTIONS", "-Djava.io.tmpdir=" + temporary)
                        .run()
                        .expectExit(0);

        assertEquals("", finished.err());
        for (String step :
                List.of("sample image", "Pulled", "digest", "diffID", "ounted", "emoved")) {
            assertTrue(finished.out().contains(step), step + " in\n" + finished.out());
        }
        assertEquals(List.of(), entries(temporary));
        assertEquals(mounts, Workspace.mountsBelow(Path.of("")));
    }

    /// From the moment there is something to clean up.
    @Test
    void quickstart_terminatedAtAnyStep_leavesNothing() throws Exception {
        List<String> mounts = Workspace.mountsBelow(Path.of(""));
        for (String step : List.of("", " 1. ", " 2. ", "Pulled", "Mounted")) {
            Path temporary = workspace.newDirectory("tmp-" + step.strip());
            Path log = temporary.resolveSibling(temporary.getFileName() + ".log");
            try (Background quickstart =
                    new Background(
                            "quickstart",
                            log,
                            Map.of("IMGD_JAVA_OPTIONS", "-Djava.io.tmpdir=" + temporary),
                            Installation.IMGCTL,
                            "quickstart")) {
                quickstart.await(
                        () -> !entries(temporary).isEmpty() && quickstart.log().contains(step));
                int exit = quickstart.terminate();
                assertTrue(
                        exit == 130 || exit == 0, exit + " at '" + step + "'\n" + quickstart.log());
                assertTrue(exit == 130 || !step.isEmpty(), quickstart.log());
            }
            assertEquals(
                    List.of(), entries(temporary), "at '" + step + "'\n" + Files.readString(log));
            assertEquals(mounts, Workspace.mountsBelow(Path.of("")));
        }
    }

    @Test
    void version_printsOneLineAndNothingElse() {
        Program.Finished finished = Program.of(Installation.IMGCTL, "version").run().expectExit(0);
        assertEquals("", finished.err());
        assertEquals(1, finished.out().lines().count());
        assertTrue(finished.out().contains("0."), finished.out());
    }

    private static List<String> entries(Path directory) {
        try (Stream<Path> entries = Files.list(directory)) {
            return entries.map(Path::toString).sorted().toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
