package dev.imgd.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.channels.Channels;
import java.nio.channels.ReadableByteChannel;
import java.nio.file.Path;
import java.util.zip.GZIPOutputStream;

/// The call under test, in short. A second thread helps now and then.
final class Apply {
    private Apply() {}

    static Applied to(Path directory, byte[] blob) throws IOException {
        return to(directory, blob, Limits.defaults());
    }

    static Applied to(Path directory, byte[] blob, Limits limits) throws IOException {
        try (Colleague colleague = new Colleague(2)) {
            return new LayerApplier(limits)
                    .apply("layer 1", channel(blob), directory, null, Growth.UNWATCHED, colleague);
        }
    }

    static Applied to(Path directory, TarBuilder tar) throws IOException {
        return to(directory, tar.bytes());
    }

    /// Asserts that a blob is refused as malformed, by an error that names the layer and says
    /// `why`.
    static void refuses(Path directory, byte[] blob, String why) {
        refuses(ErrorKind.INVALID_CONTENT, directory, blob, Limits.defaults(), why);
    }

    static void refuses(Path directory, TarBuilder tar, String why) {
        refuses(directory, tar.bytes(), why);
    }

    static void refuses(ErrorKind kind, Path directory, byte[] blob, Limits limits, String why) {
        ImageException e =
                assertThrows(ImageException.class, () -> to(directory, blob, limits), why);
        assertEquals(kind, e.kind(), e.getMessage());
        assertTrue(e.getMessage().contains(why), e.getMessage());
        assertTrue(e.getMessage().contains("layer 1"), e.getMessage());
        assertTrue(e.getMessage().lines().count() == 1, e.getMessage());
    }

    static ReadableByteChannel channel(byte[] bytes) {
        return Channels.newChannel(new ByteArrayInputStream(bytes));
    }

    static byte[] gzip(byte[] bytes) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (GZIPOutputStream gzip = new GZIPOutputStream(out)) {
            gzip.write(bytes);
        } catch (IOException e) {
            throw new AssertionError("memory does not fail", e);
        }
        return out.toByteArray();
    }
}
