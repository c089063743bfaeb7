package dev.imgd.trust;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryOptions;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// skopeo verifies what imgd signs, under the same policy file.
class SkopeoSignatureIT {
    @TempDir Path directory;
    private String output = "";

    private int copy(Path policy, Path registries, String image, String to) throws Exception {
        Process process =
                new ProcessBuilder(
                                "skopeo",
                                "--policy",
                                policy.toString(),
                                "--registries.d",
                                registries.toString(),
                                "copy",
                                "--src-tls-verify=false",
                                "docker://" + image,
                                "dir:" + directory.resolve(to))
                        .redirectErrorStream(true)
                        .start();
        output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertTrue(process.waitFor(60, TimeUnit.SECONDS), "skopeo hangs");
        return process.exitValue();
    }

    @Test
    void skopeo_acceptsOurSignature_andRefusesAnotherKey() throws Exception {
        OpenSsl openssl = new OpenSsl(directory);
        Path key = openssl.key("P-256");
        Path registries = Files.createDirectory(directory.resolve("registries.d"));
        Files.writeString(
                registries.resolve("default.yaml"),
                "default-docker:\n  use-sigstore-attachments: true\n");
        String identity = "{\"type\":\"matchRepository\"}";
        Policies policies = new Policies(directory);
        Path good =
                policies.write(
                        "{\"default\":["
                                + Policies.signedBy(openssl.publicKey(key), identity)
                                + "]}");
        Path other =
                policies.write(
                        "{\"default\":["
                                + Policies.signedBy(
                                        openssl.publicKey(openssl.key("P-256")), identity)
                                + "]}");
        try (InMemoryRegistry registry = InMemoryRegistry.start();
                RegistryClient client = RegistryClient.create(RegistryOptions.defaults())) {
            String name =
                    registry.push(
                            "team/app",
                            "1",
                            ImageBuilder.oci().layer(tar -> tar.file("a", "a")).build());
            Reference image = Reference.parse(name);
            assertNotEquals(0, copy(good, registries, name, "unsigned"), () -> output);
            var _ =
                    ImageSigner.of("key", Files.readAllBytes(key))
                            .sign(client, image, client.resolve(image).descriptor().digest());
            assertEquals(0, copy(good, registries, name, "signed"), () -> output);
            assertNotEquals(0, copy(other, registries, name, "other"), () -> output);
        }
    }
}
