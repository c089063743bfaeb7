package dev.imgd.e2e;

import dev.imgd.model.Digest;
import java.nio.charset.StandardCharsets;

/// Debian's `skopeo`, which speaks plain http to the registries of these tests.
final class Skopeo {
    private Skopeo() {}

    /// The digest of what a tag points to, computed from the bytes it gets.
    static String digest(String reference) {
        return Digest.sha256(raw(reference).getBytes(StandardCharsets.UTF_8)).toString();
    }

    /// The manifest or index that a tag points to.
    static String raw(String reference) {
        return Program.of(
                        "skopeo", "inspect", "--raw", "--tls-verify=false", "docker://" + reference)
                .ok();
    }

    /// Copies all platforms; compresses what the target wants compressed.
    static void copy(String source, String target) {
        Program.of(
                        "skopeo",
                        "copy",
                        "--quiet",
                        "--all",
                        "--src-tls-verify=false",
                        "--dest-tls-verify=false",
                        source,
                        target)
                .ok();
    }
}
