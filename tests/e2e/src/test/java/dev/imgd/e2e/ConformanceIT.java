package dev.imgd.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.testkit.Required;
import java.time.Duration;
import java.util.List;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/// containerd's published snapshotter suite; runs where a Go toolchain is found.
@Tag("root")
class ConformanceIT {
    private static final int CASES = 21;
    private static final Pattern PASSED =
            Pattern.compile("^ +--- PASS: TestSnapshotter/", Pattern.MULTILINE);

    @RegisterExtension final Workspace workspace = new Workspace();

    @Test
    void suite_throughTheSocket_allCasesPass() throws Exception {
        Required.tool("go");
        Imgd imgd = workspace.keep(Imgd.start(workspace.path("d"), Imgd.Mode.PASSIVE));
        Program.Finished finished =
                Program.of(
                                "go",
                                "test",
                                "-count=1",
                                "-v",
                                ".",
                                "-args",
                                "-address",
                                imgd.place().snapshotterAddress())
                        .in(Installation.HOME.resolve("tests/conformance/snapshotter"))
                        .env("GOFLAGS", "-mod=readonly")
                        .within(Duration.ofMinutes(10))
                        .run();

        assertEquals(0, finished.exit(), finished.toString());
        long passed = PASSED.matcher(finished.out()).results().count();
        assertTrue(passed >= CASES, "only " + passed + " cases\n" + finished);
        StoreFiles files = new StoreFiles(imgd.place().root());
        Await.until(
                "no snapshot directory is left",
                Duration.ofSeconds(60),
                () -> files.snapshotDirectories().isEmpty() && files.trash().isEmpty());
        assertEquals(List.of(), Workspace.mountsBelow(workspace.directory()));
    }
}
