package dev.imgd.layers;

import dev.imgd.linux.Fd;
import dev.imgd.linux.Fs;
import dev.imgd.model.Digest;
import dev.imgd.model.DigestMismatchException;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import java.io.IOException;
import java.nio.channels.ReadableByteChannel;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/// One call of [LayerApplier#apply].
///
/// ```text
/// source -> 256 KiB -> decoder -> 256 KiB -> SHA-256 -> tar -> write(2) from the same buffer
/// ```
///
/// All of it runs on the calling thread while other layers keep the other processors busy. What is
/// left of the arrow to the tar reader moves to a second thread while the [Assistant] has one.
final class LayerPass {
    private final Limits limits;
    private final String what;
    private final ReadableByteChannel source;
    private final Path directory;
    private final @Nullable Digest expected;
    private final Growth growth;
    private final Assistant assistant;

    LayerPass(
            Limits limits,
            String what,
            ReadableByteChannel source,
            Path directory,
            @Nullable Digest expected,
            Growth growth,
            Assistant assistant) {
        this.limits = limits;
        this.what = what;
        this.source = source;
        this.directory = directory;
        this.expected = expected;
        this.growth = growth;
        this.assistant = assistant;
    }

    Applied run() throws IOException {
        if (expected != null && expected.algorithm() != Digest.Algorithm.SHA256) {
            throw ImageException.invalidContent(
                    "%s: wanted a diffID with sha256, as all images have, got %s"
                            .formatted(what, expected));
        }
        try (Fd root = Fd.open(directory.toString(), Fs.O_PATH | Fs.O_DIRECTORY, 0);
                BlobStream stream = new BlobStream(what, source, limits, growth, assistant);
                TreeWriter tree = new TreeWriter(what, root.fd(), limits)) {
            TarReader reader = new TarReader(what, stream, limits);
            TarEntry entry;
            while ((entry = reader.next()) != null) {
                tree.apply(entry, reader);
            }
            Digest diffId = stream.drain();
            if (expected != null && !expected.equals(diffId)) {
                throw new DigestMismatchException(
                        what, expected, diffId, stream.uncompressedBytes());
            }
            tree.finish();
            return new Applied(
                    diffId,
                    stream.compression(),
                    stream.compressedBytes(),
                    stream.uncompressedBytes(),
                    reader.entries(),
                    tree.usedBytes(),
                    tree.inodes(),
                    tree.implicitDirectories(),
                    tree.warnings());
        }
    }
}
