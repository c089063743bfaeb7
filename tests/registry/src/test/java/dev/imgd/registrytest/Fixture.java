package dev.imgd.registrytest;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.MediaType;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryOptions;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TestImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.function.Executable;

/// A scripted registry and a client with short waits, for each test.
abstract class Fixture {
    static final RegistryOptions QUICK =
            RegistryOptions.defaults()
                    .withRetries(5, Duration.ofMillis(2), Duration.ofMillis(20))
                    .withOutageTimeout(Duration.ZERO);

    InMemoryRegistry registry;
    RegistryClient client;

    @BeforeEach
    final void start() throws IOException {
        registry = InMemoryRegistry.start();
        client = RegistryClient.create(QUICK);
    }

    @AfterEach
    final void stop() {
        client.close();
        registry.close();
    }

    /// Replaces the client by one with other settings.
    final void use(RegistryOptions options) {
        client.close();
        client = RegistryClient.create(options);
    }

    final Reference reference(String rest) throws ImageException {
        return Reference.parse(registry.authority() + "/" + rest);
    }

    /// An image with one small layer, stored as `app:1`.
    final TestImage pushImage() {
        TestImage image = ImageBuilder.oci().layer(tar -> tar.file("etc/motd", "hello\n")).build();
        registry.push("app", "1", image);
        return image;
    }

    /// Random bytes, stored as a blob.
    final Descriptor pushBlob(byte[] content) {
        Digest digest = registry.content().putBlob(content);
        return new Descriptor(MediaType.OCI_LAYER_GZIP, digest, content.length);
    }

    static byte[] random(int size, long seed) {
        byte[] content = new byte[size];
        new Random(seed).nextBytes(content);
        return content;
    }

    /// Reads a blob to its end.
    final byte[] readBlob(Descriptor descriptor, long offset) throws IOException {
        return readBlob(client, descriptor, offset);
    }

    final byte[] readBlob(RegistryClient from, Descriptor descriptor, long offset)
            throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteBuffer buffer = ByteBuffer.allocateDirect(10_000);
        try (RegistryClient.BlobStream stream = from.blob(reference("app:1"), descriptor, offset)) {
            while (stream.read(buffer.clear()) >= 0) {
                byte[] bytes = new byte[buffer.flip().remaining()];
                buffer.get(bytes);
                out.writeBytes(bytes);
            }
            assertEquals(-1, stream.read(buffer.clear()));
        }
        return out.toByteArray();
    }

    /// Runs something that must fail in one way, with a message on one line.
    static ImageException assertFails(ErrorKind kind, Executable action) {
        ImageException e = assertThrows(ImageException.class, action);
        assertEquals(kind, e.kind(), e.getMessage());
        assertFalse(e.getMessage().contains("\n"), e.getMessage());
        return e;
    }
}
