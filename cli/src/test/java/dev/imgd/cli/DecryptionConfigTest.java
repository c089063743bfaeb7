package dev.imgd.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.trust.DecryptionKeys;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Which keys a configuration gives.
class DecryptionConfigTest {
    @TempDir Path directory;

    private DecryptionKeys keys(String config) throws IOException {
        Path file = Files.writeString(directory.resolve("config.toml"), config);
        return Assembly.keys(Config.load(file), DecryptionKeys.NONE).load();
    }

    @Test
    void keys_ofTheModel() throws Exception {
        Path node = Files.createDirectory(directory.resolve("node"));
        String path = "[decryption]\nkeys_path = \"%s\"\n".formatted(node);
        assertEquals("keys were looked for in " + node + " (no key)", keys(path).toString());
        assertEquals("no keys are configured", keys(path + "key_model = \"none\"\n").toString());
        Files.delete(node);
        ImageException e = assertThrows(ImageException.class, () -> keys(path));
        assertEquals(ErrorKind.FAILED_PRECONDITION, e.kind());
        assertEquals(
                ErrorKind.INVALID_ARGUMENT,
                assertThrows(ImageException.class, () -> keys(path + "key_model = \"provider\"\n"))
                        .kind());
    }
}
