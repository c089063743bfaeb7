package dev.imgd.registrytest;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.testkit.InMemoryRegistry;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// The OCI distribution conformance suite against the registry that the client is tested with, with
/// everything on that the suite can try. The suite is a program to be built apart, so this runs
/// when it is named: `-Dit.test=DistributionConformanceSuite`, with the path of the program, a
/// version from 2026 on, in `DISTRIBUTION_CONFORMANCE`. **Source:** distribution-spec,
/// conformance/README.md.
class DistributionConformanceSuite {
    private static final String VARIABLE = "DISTRIBUTION_CONFORMANCE";

    @Test
    @Timeout(300)
    void suite_everything_passes(@TempDir Path directory) throws Exception {
        String program = System.getenv(VARIABLE);
        assertNotNull(
                program,
                VARIABLE
                        + ": wanted the path of the conformance suite's program, got nothing;"
                        + " build it from distribution-spec/conformance");
        Path log = directory.resolve("suite.log");
        try (InMemoryRegistry registry = InMemoryRegistry.start()) {
            ProcessBuilder suite = new ProcessBuilder(program).directory(directory.toFile());
            suite.environment()
                    .putAll(
                            Map.of(
                                    "OCI_REGISTRY",
                                    registry.authority(),
                                    "OCI_TLS",
                                    "disabled",
                                    "OCI_VERSION",
                                    "dev",
                                    "OCI_RESULTS_DIR",
                                    directory.resolve("results").toString(),
                                    "OCI_API_BLOBS_UPLOAD_CANCEL",
                                    "true",
                                    "OCI_API_BLOBS_DIGEST_HEADER",
                                    "true",
                                    "OCI_API_MANIFESTS_DIGEST_HEADER",
                                    "true",
                                    "OCI_API_MANIFESTS_TAG_PARAM",
                                    "true"));
            Process process = suite.redirectErrorStream(true).redirectOutput(log.toFile()).start();
            try {
                assertTrue(process.waitFor(240, TimeUnit.SECONDS), "the suite does not end");
            } finally {
                process.destroyForcibly();
            }
            String report = Files.readString(log);
            assertEquals(0, process.exitValue(), report);
            assertTrue(report.contains("OCI Conformance Result: Pass"), report);
            for (String nothing : new String[] {"Skip", "FAIL", "Error"}) {
                assertTrue(report.matches("(?s).*\n  " + nothing + "\\.+: +0\n.*"), report);
            }
            assertEquals(0, registry.openUploads(), "cancelled or finished");
        }
    }
}
