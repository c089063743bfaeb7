package dev.imgd.e2e;

import java.nio.file.Path;

/// The working tree the tests belong to.
final class Installation {
    /// The root of the repository, where the launchers stand.
    static final Path HOME = home();

    static final Path IMGCTL = HOME.resolve("imgctl");
    static final Path IMGD = HOME.resolve("imgd");

    private Installation() {}

    private static Path home() {
        String property = System.getProperty("imgd.home");
        if (property == null) {
            throw new AssertionError("the system property imgd.home must name the repository");
        }
        return Path.of(property).toAbsolutePath().normalize();
    }
}
