package dev.imgd.testkit;

import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Assumptions;

/// What a test needs of the machine it runs on, beyond the build.
///
/// Where something is missing the test is skipped, with a line on standard error that says what to
/// install. With `CI=true` or `IMGD_TESTS_REQUIRE_ALL=true` in the environment it fails instead:
/// there, nothing may be left out unseen.
public final class Required {
    private Required() {}

    /// Programs that are looked for in `PATH` and in the directories of the superuser.
    ///
    /// @param names for example `skopeo`
    public static void tool(String... names) {
        List<String> missing = new ArrayList<>();
        for (String name : names) {
            if (!isInstalled(name)) {
                missing.add(name);
            }
        }
        require(missing.isEmpty(), "not installed: " + String.join(", ", missing));
    }

    /// A native library.
    ///
    /// @param name for example `libisal.so.2`
    /// @param found what the code under test says about it
    public static void library(String name, boolean found) {
        require(found, "library not installed: " + name);
    }

    private static boolean isInstalled(String name) {
        String path = System.getenv().getOrDefault("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin";
        for (String directory : path.split(File.pathSeparator)) {
            if (!directory.isEmpty() && Files.isExecutable(Path.of(directory, name))) {
                return true;
            }
        }
        return false;
    }

    private static void require(boolean present, String missing) {
        if (present) {
            return;
        }
        if (requiresAll(System.getenv("CI"), System.getenv("IMGD_TESTS_REQUIRE_ALL"))) {
            throw new AssertionError(missing + "; nothing may be left out here");
        }
        System.err.println("!!! LEFT OUT: " + missing);
        Assumptions.abort(missing);
    }

    /// By the values of the two variables, each null when it is not set.
    static boolean requiresAll(@Nullable String ci, @Nullable String all) {
        return "true".equals(ci) || "true".equals(all);
    }
}
