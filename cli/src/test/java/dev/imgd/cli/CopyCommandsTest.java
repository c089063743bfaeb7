package dev.imgd.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyPairGenerator;
import java.util.Base64;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// What `push` and `copy` ask for, and how they print it.
class CopyCommandsTest {
    private final FakeImages images = new FakeImages();

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "push debian:12|"
                        + "copy store:docker.io/library/debian:12"
                        + " docker://docker.io/library/debian:12 AVAILABLE Optional.empty",
                "push a localhost:5000/b --all-platforms|"
                        + "copy store:docker.io/library/a:latest"
                        + " docker://localhost:5000/b:latest ALL Optional.empty",
                "push a --platform linux/arm64|"
                        + "copy store:docker.io/library/a:latest"
                        + " docker://docker.io/library/a:latest ONE Optional[linux/arm64]",
                "copy store:a oci:/x:y|"
                        + "copy store:docker.io/library/a:latest oci:/x:y ONE Optional.empty"
            })
    void command_itsOptions_becomeOneRequest(String words, String call) {
        Cli run = Cli.run(images, words.split(" ", -1));
        assertEquals(0, run.exit(), run.toString());
        assertEquals(List.of(call), images.calls);
    }

    /// Keys are files of this process: a daemon is not asked to use them.
    @Test
    void rewriting_aStoreOfADaemon_isRefused(@TempDir Path directory) throws Exception {
        Path key =
                Files.writeString(
                        directory.resolve("key.pub"),
                        "-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n"
                                .formatted(
                                        Base64.getMimeEncoder()
                                                .encodeToString(
                                                        KeyPairGenerator.getInstance("EC")
                                                                .generateKeyPair()
                                                                .getPublic()
                                                                .getEncoded())));
        Cli encrypt = Cli.run(images, "encrypt", "store:a", "oci:/x", "--recipient", "jwe:" + key);
        assertEquals(8, encrypt.exit(), encrypt.toString());
        assertTrue(encrypt.err().contains("a daemon has the store"), encrypt.err());
        assertEquals(8, Cli.run(images, "decrypt", "store:a", "oci:/x").exit());
        assertEquals(List.of(), images.calls);
    }

    @Test
    void push_table_destinationWithDigest() {
        Cli run = Cli.run(images, "push", "a", "localhost:5000/b:1");
        assertEquals("docker://localhost:5000/b:1@" + FakeImages.ONE + "\n", run.out());
        assertTrue(
                run.err()
                        .contains(
                                "1 manifest, 3 blobs, 2 there before, 1 foreign and left out,"
                                        + " 0.98 KiB copied"),
                run.err());
    }

    @Test
    void push_json_everyField() throws Exception {
        Cli run = Cli.run(images, "-o", "json", "push", "a", "localhost:5000/b:1");
        assertEquals(
                ("{\"destination\":\"docker://localhost:5000/b:1\",\"digest\":\"%s\","
                                + "\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
                                + "\"manifests\":1,\"blobs\":3,\"existingBlobs\":2,"
                                + "\"mountedBlobs\":0,\"skippedBlobs\":1,\"referrers\":0,"
                                + "\"copiedBytes\":1000,\"millis\":12,\"warnings\":[]}")
                        .formatted(FakeImages.ONE),
                run.json());
    }

    @Test
    void copy_whatTheResultWarnsOf_isOnStandardErrorAndInTheJson() throws Exception {
        images.copyWarnings = List.of("copied 1 of 3 platforms");
        Cli quiet = Cli.run(images, "copy", "-q", "store:a", "oci:/x");
        assertEquals(FakeImages.ONE + "\n", quiet.out());
        assertEquals("imgctl: warning: copied 1 of 3 platforms\n", quiet.err());
        Cli json = Cli.run(images, "-o", "json", "copy", "store:a", "oci:/x");
        assertTrue(json.json().endsWith("\"warnings\":[\"copied 1 of 3 platforms\"]}"), json.out());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "copy debian:12 oci:/x",
                "push a --all-platforms --platform linux/arm64",
                "encrypt oci:/a oci:/b",
                "encrypt oci:/a oci:/b --recipient pgp:me",
                "encrypt oci:/a oci:/b --recipient /a.pem",
                "encrypt oci:/a oci:/b --recipient jwe:/a.pem --layer top",
                "encrypt oci:/a oci:/b --recipient jwe:/a.pem --referrers",
                "decrypt oci:/a",
                "registry delete localhost:5000/a",
                "registry delete --blob localhost:5000/a:1",
                "registry catalog localhost:5000/a",
                "registry tags --limit 0 localhost:5000/a",
                "blob get localhost:5000/a:1",
                "registry",
                "manifest"
            })
    void command_thatMeansNothing_isUsage(String words) {
        Cli run = Cli.run(images, words.split(" ", -1));
        assertEquals(2, run.exit(), run.toString());
        assertEquals("", run.out());
        assertEquals(List.of(), images.calls);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "localhost:5601|imgctl registry catalog localhost:5601 ",
                "localhost:5601|say localhost:5601/REPOSITORY",
                "registry.example.com|imgctl registry catalog registry.example.com ",
                "debian:12|say debian for all its tags, or debian:12/REPOSITORY",
                "myhost:5000|or myhost:5000/REPOSITORY if that is a registry",
                "debian:bookworm|imgctl manifest digest debian:bookworm ",
                "localhost:5000/a:1|say localhost:5000/a for all its tags, or imgctl manifest",
                "localhost:5000/a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef|"
                        + "without a tag or digest"
            })
    void registryTags_ofWhatIsNoRepository_saysWhatToSay(String name, String advice) {
        Cli run = Cli.run(images, "registry", "tags", name);
        assertEquals(2, run.exit(), run.toString());
        assertEquals("", run.out());
        assertTrue(run.err().contains(advice), run.err());
        assertEquals(1, run.err().lines().count(), run.err());
    }

    @Test
    void encrypt_forNobody_namesTheOptionAsItsUsageDoes() {
        Cli run = Cli.run(images, "encrypt", "oci:/a", "oci:/b");
        assertTrue(
                run.err().startsWith("imgctl: Missing required option: '--recipient="), run.err());
    }
}
