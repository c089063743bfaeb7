package dev.imgd.faults;

import dev.imgd.model.Digest;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.TarWriter;
import dev.imgd.testkit.TestImage;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;

/// Images whose mounted tree says itself whether it is right: the top layer lists the layers, and
/// each of them has a file of noise beside its digest.
final class Images {
    private static final int NOISE_BYTES = 300_000;

    private Images() {}

    /// @param number images with numbers of the same parity share their lowest layer
    static TestImage build(int number) {
        int base = number % 2;
        ImageBuilder builder = ImageBuilder.oci().command("/none");
        builder.layer(tar -> noise(tar, "base" + base, 1000 + base));
        builder.layer(tar -> noise(tar, "own" + number, number));
        builder.layer(tar -> tar.file("parts", "base%d own%d".formatted(base, number)));
        return builder.build();
    }

    private static void noise(TarWriter tar, String name, long seed) {
        byte[] bytes = new byte[NOISE_BYTES];
        new Random(seed).nextBytes(bytes);
        tar.directory(name, 0755)
                .file(name + "/noise", 0644, bytes)
                .file(name + "/digest", Digest.sha256(bytes).toString());
    }

    /// What is wrong with a mounted tree; empty when it is whole.
    static Optional<String> damage(Path tree) throws IOException {
        List<String> wrong = new ArrayList<>();
        Path parts = tree.resolve("parts");
        if (!Files.exists(parts)) {
            return Optional.of("its top layer is empty");
        }
        for (String part : Files.readString(parts).split(" ")) {
            Path noise = tree.resolve(part).resolve("noise");
            Path digest = tree.resolve(part).resolve("digest");
            if (!Files.exists(noise) || !Files.exists(digest)) {
                wrong.add("no files in " + part);
            } else if (!Digest.sha256(Files.readAllBytes(noise))
                    .toString()
                    .equals(Files.readString(digest, StandardCharsets.UTF_8))) {
                wrong.add("other bytes in " + part);
            }
        }
        return wrong.isEmpty() ? Optional.empty() : Optional.of(wrong.toString());
    }
}
