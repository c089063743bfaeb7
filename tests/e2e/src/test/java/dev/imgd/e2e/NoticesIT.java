package dev.imgd.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.testkit.Fault;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/// What registries say in `Warning` headers reaches the user on standard error, through a daemon
/// too, and the daemon's log.
@Tag("root")
class NoticesIT {
    private static final String WARNING = "299 - \"this repository moves\u0007 soon\"";

    @RegisterExtension final Workspace workspace = new Workspace();

    @Test
    void imgctl_whatTheRegistrySays_isShownOnceOnStandardError() throws Exception {
        try (InMemoryRegistry registry = InMemoryRegistry.start()) {
            String reference =
                    registry.push(
                            "app", "1", ImageBuilder.oci().layer(t -> t.file("a", "a")).build());
            registry.always(
                    exchange -> exchange.method().equals("GET"),
                    (exchange, body, _) -> {
                        String type =
                                exchange.path().contains("/blobs/")
                                        ? "application/octet-stream"
                                        : "application/vnd.oci.image.manifest.v1+json";
                        exchange.respond(
                                200, Map.of("Content-Type", type, "Warning", WARNING), body);
                    });
            String line =
                    "imgctl: warning: registry %s says: this repository moves\\u0007 soon"
                            .formatted(registry.authority());

            Imgctl embedded = Imgctl.embedded(workspace.path("store"));
            for (Object[] words :
                    List.of(
                            new Object[] {"pull", "--plain-http", "--progress", "none", reference},
                            new Object[] {
                                "copy",
                                "--src-plain-http",
                                "--progress",
                                "none",
                                "docker://" + reference,
                                "oci:" + workspace.path("layout")
                            },
                            new Object[] {"manifest", "digest", "--plain-http", reference})) {
                Program.Finished run = embedded.command(words).run().expectExit(0);
                assertEquals(
                        List.of(line),
                        run.err().lines().filter(l -> l.contains("moves")).toList(),
                        run.toString());
                assertFalse(run.out().contains("moves"), run.toString());
            }
            registry.always(
                    exchange -> exchange.method().equals("PUT"),
                    Fault.status(403, Map.of("Warning", "299 - \"pushes end today\""), ""));
            Program.Finished push =
                    embedded.command("push", "--plain-http", "--progress", "none", reference)
                            .run()
                            .expectExit(4);
            assertTrue(push.err().contains("says: pushes end today"), push.toString());

            Imgd imgd = workspace.keep(Imgd.start(workspace.path("d"), Imgd.Mode.PASSIVE));
            for (int i = 0; i < 2; i++) {
                Program.Finished pull =
                        imgd.imgctl()
                                .command("pull", "--plain-http", "--progress", "none", reference)
                                .run()
                                .expectExit(0);
                assertEquals(
                        List.of(line),
                        pull.err().lines().filter(l -> l.contains("moves")).toList(),
                        pull.toString());
            }
            assertEquals(
                    1,
                    imgd.log().lines().filter(l -> l.contains("says: this repository")).count(),
                    imgd.log());
        }
    }
}
