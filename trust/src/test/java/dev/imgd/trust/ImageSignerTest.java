package dev.imgd.trust;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.Descriptor;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.Manifest;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryClient.FetchedManifest;
import dev.imgd.registry.RegistryOptions;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.OpenSsl;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// Signatures as imgd makes them, in a registry, checked with `openssl` and by the policy.
class ImageSignerTest {
    private static final ImageSigner.KeyPassword NO_PASSWORD =
            () -> {
                throw new AssertionError("no password is needed");
            };

    @TempDir Path directory;
    private OpenSsl openssl;
    private InMemoryRegistry registry;
    private RegistryClient client;
    private Reference image;
    private Descriptor target;

    @BeforeEach
    void start() throws Exception {
        openssl = new OpenSsl(directory);
        registry = InMemoryRegistry.start();
        client = RegistryClient.create(RegistryOptions.defaults());
        image =
                Reference.parse(
                        registry.push(
                                "team/app",
                                "1",
                                ImageBuilder.oci().layer(tar -> tar.file("a", "a")).build()));
        target = client.resolve(image).descriptor();
    }

    @AfterEach
    void stop() {
        client.close();
        registry.close();
    }

    private void sign(Path key) throws Exception {
        var _ =
                ImageSigner.of(key.toString(), Files.readAllBytes(key), NO_PASSWORD)
                        .sign(client, image, target.digest(), Limits.defaults());
    }

    private Verdict verdict(Path key) throws Exception {
        ImagePolicy policy =
                new Policies(directory).everywhere(Policies.signedBy(openssl.publicKey(key)));
        return Policies.decide(
                policy, image.toString(), target, new RegistrySignatures(client, image));
    }

    @ParameterizedTest
    @ValueSource(strings = {"P-256", "P-384", "RSA2048", "ED25519"})
    void sign_everyKindOfKey_isAccepted(String algorithm) throws Exception {
        Path key = openssl.key(algorithm);
        assertEquals(false, verdict(key).accepted());
        sign(key);
        Policies.assertAccepted(verdict(key));
        assertEquals(false, verdict(openssl.key("P-256")).accepted());
    }

    @Test
    void sign_opensslAgrees() throws Exception {
        Path key = openssl.key("P-256");
        sign(key);
        FetchedManifest signatures =
                client.resolve(image.withTag("sha256-" + target.digest().hex() + ".sig"));
        Descriptor layer =
                Manifest.parse("signatures", signatures.content(), Optional.empty())
                        .layers()
                        .getFirst();
        Path payload = directory.resolve("payload");
        Files.write(payload, client.smallBlob(image, layer).toArray());
        Path signature = directory.resolve("signature");
        Files.write(
                signature,
                Base64.getDecoder()
                        .decode(layer.annotations().get("dev.cosignproject.cosign/signature")));
        openssl.run(
                "dgst",
                "-sha256",
                "-verify",
                openssl.publicKey(key).toString(),
                "-signature",
                signature.toString(),
                payload.toString());
        assertTrue(Files.readString(payload).contains(image.name()));
    }

    @Test
    void sign_moreThanAreLookedAt_refusedWithTheKey() throws Exception {
        Path key = openssl.key("P-256");
        sign(key);
        ImageException e =
                assertThrows(
                        ImageException.class,
                        () ->
                                ImageSigner.of(key.toString(), Files.readAllBytes(key), NO_PASSWORD)
                                        .sign(
                                                client,
                                                image,
                                                target.digest(),
                                                Limits.defaults().with(Limits.Key.SIGNATURES, 1)));
        assertEquals(ErrorKind.FAILED_PRECONDITION, e.kind());
        assertTrue(e.getMessage().contains("limits.signatures"), e.getMessage());
    }

    @Test
    void sign_twice_keepsBothSignatures() throws Exception {
        Path first = openssl.key("P-256");
        Path second = openssl.key("ED25519");
        sign(first);
        sign(second);
        Policies.assertAccepted(verdict(first));
        Policies.assertAccepted(verdict(second));
    }

    @Test
    void key_thatIsNone_saysWhatIsWanted() throws Exception {
        Path key = openssl.publicKey(openssl.key("P-256"));
        ImageException e = assertThrows(ImageException.class, () -> sign(key));
        assertEquals(ErrorKind.INVALID_ARGUMENT, e.kind());
        assertTrue(e.getMessage().contains("PKCS#8"), e.getMessage());
    }
}
