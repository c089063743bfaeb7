package dev.imgd.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TestImage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// `verify` and `sign` against a registry, without a store.
class TrustCommandsTest {
    @TempDir Path directory;
    private InMemoryRegistry registry;
    private TestImage image;
    private String reference = "";
    private Path config;
    private Path key;

    @BeforeEach
    void start() throws Exception {
        registry = InMemoryRegistry.start();
        image = ImageBuilder.oci().layer(tar -> tar.file("a", "a")).build();
        reference = registry.push("team/app", "1", image);
        KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
        generator.initialize(256);
        KeyPair keys = generator.generateKeyPair();
        key = pem("key.pem", "PRIVATE KEY", keys.getPrivate().getEncoded());
        pem("key.pub", "PUBLIC KEY", keys.getPublic().getEncoded());
        Path policy = directory.resolve("policy.json");
        Files.writeString(
                policy, "{\"default\":[{\"type\":\"sigstoreSigned\",\"keyPath\":\"key.pub\"}]}");
        config = directory.resolve("config.toml");
        Files.writeString(config, "[trust]\npolicy = \"" + policy + "\"\n");
    }

    private Path pem(String name, String type, byte[] der) throws IOException {
        return Files.writeString(
                directory.resolve(name),
                "-----BEGIN %s-----\n%s\n-----END %s-----\n"
                        .formatted(type, Base64.getMimeEncoder().encodeToString(der), type));
    }

    @AfterEach
    void stop() {
        registry.close();
    }

    private Cli run(String... args) {
        List<String> all = new ArrayList<>(List.of(args));
        all.add("--config");
        all.add(config.toString());
        return Cli.run(
                _ -> {
                    throw new AssertionError("no store is needed");
                },
                all.toArray(String[]::new));
    }

    @Test
    void verify_unsigned_explainsAndIsDenied() throws Exception {
        Cli table = run("verify", reference);
        assertEquals(4, table.exit(), table.err());
        assertTrue(table.out().contains("refused"), table.out());
        assertTrue(table.out().contains("the registry has no signature"), table.out());
        Cli json = run("verify", reference, "--output", "json");
        assertEquals(4, json.exit());
        assertTrue(json.json().contains("\"accepted\":false"), json.out());
    }

    @Test
    void sign_thenVerify_isAccepted() throws Exception {
        Cli signed = run("sign", "--key", key.toString(), reference);
        assertEquals(0, signed.exit(), signed.err());
        assertEquals(
                "%s/team/app:sha256-%s.sig\n"
                        .formatted(registry.authority(), image.manifest().digest().hex()),
                signed.out());
        Cli table = run("verify", reference);
        assertEquals(0, table.exit(), table.out() + table.err());
        assertTrue(table.out().contains("made for " + registry.authority() + "/team/app"));
        Cli json = run("verify", reference, "-o", "json");
        assertTrue(json.json().contains("\"good\":true"), json.out());
    }

    @Test
    void sign_keyMissing_saidPlainly() throws Exception {
        Path absent = key.resolveSibling("absent.pem");
        Cli run = run("sign", "--key", absent.toString(), reference);
        assertEquals(3, run.exit());
        assertEquals("imgctl: " + absent + ": no such file\n", run.err());
    }

    @Test
    void verifierOfContainerd_decidesByExitCode() throws Exception {
        String[] call = {
            "-name", reference, "-digest", image.manifest().digest().toString(),
        };
        assertEquals(4, run(call).exit());
        assertEquals(0, run("sign", "--key", key.toString(), reference).exit());
        Cli accepted = run(call);
        assertEquals(0, accepted.exit(), accepted.out() + accepted.err());
        // Another digest under the same name has no signature.
        String other = registry.push("team/app", "2", ImageBuilder.oci().env("A=b").build());
        assertEquals(4, run("verify", other).exit());
    }

    @Test
    void verify_policyThatIsNamedButAbsent_isAnError() throws Exception {
        Files.delete(directory.resolve("policy.json"));
        Cli result = run("verify", reference);
        assertEquals(2, result.exit());
        assertTrue(result.err().contains("no such file"), result.err());
    }

    /// As cosign makes them, under "123": sigstore-rs, `tests/data/keys`.
    private Path cosignKey() throws IOException {
        return Files.writeString(
                directory.resolve("cosign.key"),
                """
                -----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----
                eyJrZGYiOnsibmFtZSI6InNjcnlwdCIsInBhcmFtcyI6eyJOIjozMjc2OCwiciI6
                OCwicCI6MX0sInNhbHQiOiIrRFJrTXNRZmNUNTNKNCs1Y3VkUnlnWTUyWUMrK0RW
                TmxaSTN4VnlwWFlvPSJ9LCJjaXBoZXIiOnsibmFtZSI6Im5hY2wvc2VjcmV0Ym94
                Iiwibm9uY2UiOiJnNTFORnBqQUxlemhvbGVWTWVjUFJUNUErMVhMcDAxeiJ9LCJj
                aXBoZXJ0ZXh0Ijoib0YvN09mOGlQRDlkNlc2Mk5SWGVibEszWXZmNFFucTZORm16
                Q0VyV2FTVUJOZTNXSFJiRVNYK2dJOCszejg4TDBDVXlWdm9LTHhuR0xhVnhnczVD
                YUdyekcrMWxFTEI1cGRMVmZXd1VlQzlLelNab0hxZHZLaUsvUmNodVhpS0VqYmdv
                ajNGd2pMcmhEYkY5a2lVWk93REpuT01kUkoxNnI3emxjRHdwT3htOXFrbWFDWDlB
                VjQ4b1RXVG0rQXExOHlDZE50MDYybGdudVE9PSJ9
                -----END ENCRYPTED COSIGN PRIVATE KEY-----
                """);
    }

    private Cli signWith(String input) throws IOException {
        InputStream standardInput = System.in;
        System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
        try {
            return run("sign", "--key", cosignKey().toString(), reference);
        } finally {
            System.setIn(standardInput);
        }
    }

    @Test
    void sign_keyOfCosign_passwordFromStandardInput() throws Exception {
        Cli wrong = signWith("canary\n");
        assertEquals(4, wrong.exit(), wrong.err());
        assertTrue(wrong.err().contains("the password is wrong"), wrong.err());
        assertFalse(wrong.err().contains("canary"), wrong.err());
        Cli signed = signWith("123\n");
        assertEquals(0, signed.exit(), signed.err());
        assertTrue(signed.out().contains(".sig"), signed.out());
    }

    @Test
    void sign_passwordInTheEnvironment_winsEvenWhenEmpty() throws Exception {
        for (String set : List.of("123", "")) {
            assertEquals(
                    set,
                    new String(
                            TrustCommands.Sign.password(Map.of("COSIGN_PASSWORD", set)),
                            StandardCharsets.UTF_8));
        }
    }
}
