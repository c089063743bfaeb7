package dev.imgd.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.imgd.model.Digest;
import dev.imgd.model.Limits;
import java.io.ByteArrayInputStream;
import java.nio.channels.Channels;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LayerApplierTest {
    @Test
    void apply_emptyBlob_isAnEmptyLayer(@TempDir Path directory) throws Exception {
        Applied applied =
                new LayerApplier(Limits.defaults())
                        .apply(
                                "layer",
                                Channels.newChannel(new ByteArrayInputStream(new byte[0])),
                                directory,
                                null);
        assertEquals(Digest.sha256(new byte[0]), applied.diffId());
        assertEquals(Compression.NONE, applied.compression());
        assertEquals(0, applied.entries());
    }
}
