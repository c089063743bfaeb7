package dev.imgd.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// Passwords that somebody types where none belongs are in no message.
@Timeout(60)
class ArgumentSecretsTest {
    @TempDir Path directory;

    private String err = "";

    private int run(String... words) throws IOException {
        List<String> all = new ArrayList<>(List.of("--debug", "--progress", "none"));
        all.addAll(List.of("--root", directory.resolve("store").toString()));
        all.addAll(List.of("--config", Files.writeString(directory.resolve("c"), "").toString()));
        all.addAll(List.of(words));
        ByteArrayOutputStream toOut = new ByteArrayOutputStream();
        ByteArrayOutputStream toErr = new ByteArrayOutputStream();
        int code =
                Imgctl.run(
                        all.toArray(new String[0]),
                        new PrintStream(toOut, true, StandardCharsets.UTF_8),
                        new PrintStream(toErr, true, StandardCharsets.UTF_8));
        err = toErr.toString(StandardCharsets.UTF_8);
        String shown = toOut.toString(StandardCharsets.UTF_8) + err;
        assertFalse(shown.contains("canary"), shown.replace("canary", "******"));
        return code;
    }

    /// `%` is a name with a password in it.
    @ParameterizedTest
    @ValueSource(
            strings = {
                "pull %",
                "pull --all-platforms % %",
                "inspect %",
                "tag % b",
                "tag a %",
                "rm %",
                "mount % /nowhere",
                "bundle % /nowhere",
                "import /nowhere.tar --name %",
                "export /nowhere.tar %",
                "push %",
                "push a %",
                "copy % oci:/nowhere",
                "copy docker://% oci:/nowhere",
                "copy oci:/nowhere docker://%",
                "copy store:% oci:/nowhere",
                "copy oci:/nowhere docker-archive:/nowhere.tar:%",
                "copy docker://% docker://% --src-user me --dest-user you",
                "encrypt docker://% oci:/nowhere --recipient jwe:/nowhere.pem",
                "decrypt docker://% oci:/nowhere",
                "registry test %",
                "registry hosts %",
                "registry resolve %",
                "registry tags %",
                "registry catalog %",
                "registry referrers %",
                "registry delete %",
                "manifest get %",
                "manifest digest %",
                "manifest put % /nowhere",
                "blob get %",
                "blob put % /nowhere",
                "verify %",
                "sign % --key /nowhere.pem",
                "login %",
                "logout %",
                "whoami %",
                "%",
                "registry %",
                "ls %",
                "gc %",
                "version %"
            })
    void nameWithAPassword_isRefusedWithoutIt(String line) throws Exception {
        for (String name :
                List.of(
                        "me:canary@localhost:1/x",
                        "me:canary@localhost:1",
                        "me:can/canary@localhost:1/x:1",
                        "me:can@canary@localhost:1/x",
                        "canary@localhost:1/x",
                        "https://me:canary@localhost:1/x",
                        "https://me:can/canary@localhost:1/x",
                        "https://me:can?canary@localhost:1",
                        "https://localhost:1/x?token=canary",
                        "https://localhost:1/x?mail=a@b&token=canary",
                        "https://me:canary@localhost:1/x@sha256:" + "0".repeat(64))) {
            int code = run(line.replace("%", name).split(" "));
            // Files that are not there may be found out first.
            boolean file = line.contains("/nowhere.");
            assertTrue(code == 2 || (file && code == 3), () -> line + ": " + code + ": " + err);
        }
    }

    @ParameterizedTest
    @CsvSource({
        "login ghcr.io -u me canary, argument 12 is one too many",
        "login -u me ghcr.io --password-stdin canary canary, argument 13 is one too many",
        "login -u -pcanary ghcr.io, Expected parameter for option '--username'",
        "logout ghcr.io canary, argument 10 is one too many",
        "ls --pasword canary, '\"--pasword\": no such option'",
        "whoami ghcr.io --pasword canary, '\"--pasword\": no such option'",
        "login ghcr.io canary --pasword, argument 10 is one too many"
    })
    void argumentTooMany_isNotShown(String line, String expected) throws Exception {
        assertEquals(2, run(line.split(" ")), () -> err);
        assertTrue(err.startsWith("imgctl: " + expected), err);
    }

    @Test
    void proxyOfTheWrongType_isShownWithoutItsPassword() throws Exception {
        Path file = directory.resolve("proxy");
        for (String value :
                List.of("['http://me:canary@proxy:1']", "{a = 'http://me:ca/canary@proxy:1'}")) {
            Files.writeString(file, "[registry]\nhttps_proxy = %s\n".formatted(value));
            assertEquals(2, run("--config", file.toString(), "registry", "hosts", "a"), () -> err);
        }
    }
}
