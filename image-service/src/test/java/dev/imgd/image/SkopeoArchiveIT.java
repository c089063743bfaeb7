package dev.imgd.image;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.imgd.image.ImageService.ExportFormat;
import dev.imgd.image.ImageService.ImageSummary;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.Required;
import dev.imgd.testkit.TestImage;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// Archives exchanged with skopeo.
@Tag("root")
class SkopeoArchiveIT {
    @TempDir Path directory;
    private InMemoryRegistry registry;
    private Host host;

    @BeforeEach
    void start() throws IOException {
        Required.tool("skopeo");
        registry = InMemoryRegistry.start();
        host = Host.open(directory);
    }

    @AfterEach
    void stop() throws IOException {
        if (host != null) {
            host.close();
            registry.close();
        }
    }

    private static TestImage image() {
        return ImageBuilder.oci()
                .layer(tar -> tar.directory("d", 0755).file("d/x", "1"))
                .layer(tar -> tar.file("text", "hello"))
                .command("/text")
                .build();
    }

    private String skopeo(String... arguments) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of("skopeo", "--insecure-policy"));
        command.addAll(List.of(arguments));
        Process process =
                new ProcessBuilder(command)
                        .redirectErrorStream(true)
                        .directory(directory.toFile())
                        .start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), output);
        return output;
    }

    private void assertShows(String reference) throws IOException {
        Path mount = directory.resolve("mounted");
        host.images.mount(reference, mount, false);
        try {
            assertEquals("hello", Files.readString(mount.resolve("text")));
            assertEquals("1", Files.readString(mount.resolve("d/x")));
        } finally {
            host.images.unmount(mount);
        }
    }

    @ParameterizedTest
    @CsvSource({
        "docker-archive:made.tar:example.org/a:1, made.tar",
        "oci-archive:made.tar:example.org/a:1, made.tar",
        "oci:made:example.org/a:1, made"
    })
    void import_archiveMadeBySkopeo_showsTheImage(String target, String file) throws Exception {
        String reference = registry.push("a", "1", image());
        skopeo("copy", "-q", "--src-tls-verify=false", "docker://" + reference, target);
        List<ImageSummary> imported =
                host.images.importImages(directory.resolve(file), Optional.empty(), true);
        assertEquals("example.org/a:1", imported.getFirst().name());
        assertShows("example.org/a:1");
        host.assertSound();
        assertEquals(List.of(), host.leases());
    }

    @Test
    void export_archives_areReadBySkopeo() throws Exception {
        TestImage image = image();
        String reference = registry.push("a", "1", image);
        host.pull(reference);
        host.images.export(
                List.of(reference), directory.resolve("oci.tar"), ExportFormat.OCI_ARCHIVE);
        host.images.export(
                List.of(reference), directory.resolve("oci"), ExportFormat.OCI_DIRECTORY);
        host.images.export(
                List.of(reference), directory.resolve("docker.tar"), ExportFormat.DOCKER_ARCHIVE);
        for (String source : List.of("oci-archive:oci.tar", "oci:oci")) {
            assertEquals(
                    image.content().size(), skopeo("inspect", "--raw", source).length(), source);
        }
        skopeo("copy", "-q", "docker-archive:docker.tar", "oci:again:example.org/b:1");
        host.images.importImages(directory.resolve("again"), Optional.empty(), true);
        assertShows("example.org/b:1");
        host.assertSound();
    }
}
