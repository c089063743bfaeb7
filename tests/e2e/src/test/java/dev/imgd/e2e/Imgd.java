package dev.imgd.e2e;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;

/// The daemon on a store that outlives it.
final class Imgd extends Background {
    /// How it answers Prepare of an image layer.
    enum Mode {
        PASSIVE,
        ACCELERATE
    }

    private final Place place;

    private final Map<String, String> environment;

    private Imgd(Place place, Map<String, String> environment) {
        super(
                "imgd",
                place.directory().resolve("log"),
                environment,
                Installation.IMGD,
                "--config",
                place.config(),
                "--root",
                place.root(),
                "--address",
                place.address(),
                "--snapshotter-address",
                place.snapshotterAddress());
        this.place = place;
        this.environment = environment;
        await(() -> accepts(place.address()) && accepts(place.snapshotterAddress()));
    }

    /// Where a daemon lives, so that the next one can take its place.
    record Place(Path directory) {
        Path config() {
            return directory.resolve("config.toml");
        }

        Path root() {
            return directory.resolve("root");
        }

        Path address() {
            return directory.resolve("run/imgd.sock");
        }

        Path snapshotterAddress() {
            return directory.resolve("run/snapshotter.sock");
        }
    }

    /// Starts the first daemon in a directory.
    static Imgd start(Path directory, Mode mode) throws IOException {
        return start(directory, mode, Map.of());
    }

    /// Starts the first daemon in a directory, with more variables in its environment.
    static Imgd start(Path directory, Mode mode, Map<String, String> environment)
            throws IOException {
        return start(directory, mode, environment, "");
    }

    /// Starts the first daemon in a directory, with more in its configuration.
    static Imgd start(Path directory, Mode mode, Map<String, String> environment, String more)
            throws IOException {
        Files.createDirectories(directory);
        Place place = new Place(directory);
        Files.writeString(
                place.config(),
                """
                [snapshotter]
                mode = "%s"
                # What goes, goes because something let go of it, not because it was time.
                [gc]
                interval = "1h"
                provide_grace = "10s"
                """
                                .formatted(mode.name().toLowerCase(Locale.ROOT))
                        + more);
        return new Imgd(place, environment);
    }

    /// Starts the next daemon where this one was.
    Imgd again() {
        return new Imgd(place, environment);
    }

    Place place() {
        return place;
    }

    Imgctl imgctl() {
        return Imgctl.remote(place.address());
    }
}
