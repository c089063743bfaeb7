package dev.imgd.e2e;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;

/// The test image as an OCI layout, and the tree that another tool makes of it.
///
/// @param layout a directory
/// @param manifestDigest with algorithm
/// @param configDigest with algorithm
/// @param layers lowest first
record Image(Path layout, String manifestDigest, String configDigest, List<Layer> layers) {
    private static final ObjectMapper JSON = new ObjectMapper();

    /// @param digest with algorithm
    /// @param size compressed
    record Layer(String digest, long size) {}

    /// The small image of tests/images/build-image.sh, built on first use.
    static Image small() {
        Path layout =
                Path.of(
                        Program.of(
                                        Installation.HOME.resolve("tests/images/build-image.sh"),
                                        "small")
                                .within(Duration.ofMinutes(15))
                                .ok()
                                .strip());
        JsonNode index = read(layout.resolve("index.json"));
        String manifestDigest = index.get("manifests").get(0).get("digest").asString();
        JsonNode manifest = read(blob(layout, manifestDigest));
        List<Layer> layers =
                manifest.get("layers")
                        .valueStream()
                        .map(l -> new Layer(l.get("digest").asString(), l.get("size").asLong()))
                        .toList();
        return new Image(
                layout, manifestDigest, manifest.get("config").get("digest").asString(), layers);
    }

    /// Unpacks it with umoci.
    ///
    /// @return the root directory
    Path unpack(Path directory) {
        Program.of("umoci", "unpack", "--image", layout + ":12", directory).ok();
        return directory.resolve("rootfs");
    }

    /// Compressed bytes of all layers.
    long size() {
        return layers.stream().mapToLong(Layer::size).sum();
    }

    private static Path blob(Path layout, String digest) {
        return layout.resolve("blobs").resolve(digest.replace(':', '/'));
    }

    private static JsonNode read(Path file) {
        try {
            return JSON.readTree(Files.readAllBytes(file));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
