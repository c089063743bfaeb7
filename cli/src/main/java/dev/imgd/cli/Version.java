package dev.imgd.cli;

/// The version of the programs.
final class Version {
    /// The version, as in the build.
    static final String NUMBER = "0.1.0";

    private Version() {}

    /// One line for people.
    static String line() {
        return "imgd %s (Java %s, %s/%s)"
                .formatted(
                        NUMBER,
                        Runtime.version().feature(),
                        System.getProperty("os.name", "").toLowerCase(java.util.Locale.ROOT),
                        System.getProperty("os.arch", ""));
    }
}
