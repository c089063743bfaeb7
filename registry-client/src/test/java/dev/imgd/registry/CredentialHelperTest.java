package dev.imgd.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Helpers must be on the `PATH` of the process, so the test puts one into the first writable
/// directory of it and takes it away again.
class CredentialHelperTest {
    private static final String NAME = "imgd-test-" + ProcessHandle.current().pid();
    private Path program;

    @BeforeEach
    void findPlace() {
        for (String directory : System.getenv("PATH").split(":", -1)) {
            if (!directory.isEmpty() && Files.isWritable(Path.of(directory))) {
                program = Path.of(directory, "docker-credential-" + NAME);
                return;
            }
        }
        throw new IllegalStateException("no writable directory in PATH");
    }

    @AfterEach
    void remove() throws IOException {
        Files.deleteIfExists(program);
    }

    private void install(String script) throws IOException {
        Files.writeString(program, "#!/bin/sh\n" + script + "\n");
        Files.setPosixFilePermissions(program, PosixFilePermissions.fromString("rwx------"));
    }

    @Test
    void ask_login_isReadFromTheAnswer() throws Exception {
        install(
                "[ \"$1\" = get ] && read server; echo "
                        + "\"{\\\"ServerURL\\\":\\\"$server\\\",\\\"Username\\\":\\\"$server\\\","
                        + "\\\"Secret\\\":\\\"s\\\"}\"");
        assertEquals(
                Optional.of(new Credentials.Login("reg.example", "s")),
                CredentialHelper.ask(NAME, "reg.example"));
    }

    @Test
    void ask_tokenUser_isAnIdentityToken() throws Exception {
        install("echo '{\"ServerURL\":\"x\",\"Username\":\"<token>\",\"Secret\":\"t\"}'");
        assertEquals(
                Optional.of(new Credentials.IdentityToken("t")), CredentialHelper.ask(NAME, "x"));
    }

    @Test
    void ask_unknownServer_isNothing() throws Exception {
        install("echo 'credentials not found in native keychain'; exit 1");
        assertEquals(Optional.empty(), CredentialHelper.ask(NAME, "x"));
    }

    @Test
    void ask_failure_isAnErrorWithoutTheOutput() throws Exception {
        install("echo canary; echo canary >&2; exit 3");
        var e = assertThrows(ImageException.class, () -> CredentialHelper.ask(NAME, "x"));
        assertEquals(ErrorKind.UNAUTHENTICATED, e.kind());
        assertTrue(e.getMessage().contains("exit code 3"), e.getMessage());
        assertFalse(e.getMessage().contains("canary"), e.getMessage());
    }

    @Test
    void ask_endlessOutput_isCutOff() throws Exception {
        install("exec yes canary");
        var e = assertThrows(ImageException.class, () -> CredentialHelper.ask(NAME, "x"));
        assertEquals(ErrorKind.UNAUTHENTICATED, e.kind());
    }

    @Test
    void ask_notInstalled_saysSo() {
        var e = assertThrows(ImageException.class, () -> CredentialHelper.ask(NAME, "x"));
        assertEquals(ErrorKind.UNAUTHENTICATED, e.kind());
        assertTrue(e.getMessage().contains("docker-credential-" + NAME), e.getMessage());
    }

    @Test
    void ask_nameWithPath_isRefused() {
        for (String name : List.of("", "../evil", "a/b", "a b", "x".repeat(200))) {
            var e = assertThrows(ImageException.class, () -> CredentialHelper.ask(name, "x"));
            assertEquals(ErrorKind.INVALID_ARGUMENT, e.kind());
        }
    }

    @Test
    void find_helperInFile_isAskedForThisKeyOnly() throws Exception {
        install(
                "read server; echo \"{\\\"Username\\\":\\\"$server\\\",\\\"Secret\\\":\\\"s\\\"}\"");
        Path file = Files.createTempFile("config", ".json");
        try {
            Files.writeString(
                    file,
                    "{\"credHelpers\":{\"a.example\":\"%s\"},\"auths\":{\"b.example\":{}}}"
                            .formatted(NAME));
            CredentialSource source = CredentialSource.file(file);
            assertEquals(
                    Optional.of(new Credentials.Login("a.example", "s")),
                    source.find("a.example", "r"));
            assertEquals(Optional.empty(), source.find("b.example", "r"));
            Files.writeString(file, "{\"credsStore\":\"%s\"}".formatted(NAME));
            assertEquals(
                    Optional.of(new Credentials.Login("https://index.docker.io/v1/", "s")),
                    source.find("docker.io", "library/a"));
        } finally {
            Files.delete(file);
        }
    }

    /// A helper that keeps what it is told in a file, as far as the protocol goes.
    private void installKeeping(Path kept) throws IOException {
        install(
                """
                case "$1" in
                store) cat > '%1$s' ;;
                get) read -r server || true
                     grep -qF "$server" '%1$s' 2>/dev/null && cat '%1$s' && exit 0
                     echo 'credentials not found in native keychain'; exit 1 ;;
                erase) rm '%1$s' ;;
                esac"""
                        .formatted(kept));
    }

    @Test
    void logins_credsStore_keepsAndForgets(@TempDir Path directory) throws Exception {
        Path kept = directory.resolve("kept");
        installKeeping(kept);
        Path file = directory.resolve("config.json");
        Files.writeString(
                file,
                "{\"credsStore\":\"%s\",\"auths\":{\"a.example\":{\"auth\":\"dTpw\"}}}"
                        .formatted(NAME));
        Logins logins = Logins.in(file);

        String place = logins.store("a.example", new Credentials.Login("me", "s\"ecret"));

        assertTrue(place.startsWith("docker-credential-" + NAME), place);
        assertFalse(Files.readString(file).contains("dTpw"), "the old secret stays in the file");
        assertFalse(Files.readString(file).contains("ecret"));
        assertEquals(
                new Credentials.Login("me", "s\"ecret"),
                logins.find("a.example").orElseThrow().credentials());
        assertEquals(List.of(place), logins.remove("a.example"));
        assertFalse(Files.exists(kept));
        assertEquals(List.of(), logins.remove("a.example"));

        logins.store("a.example", new Credentials.IdentityToken("t"));
        assertTrue(Files.readString(kept).contains("<token>"));
        assertEquals(
                new Credentials.IdentityToken("t"),
                logins.find("a.example").orElseThrow().credentials());
    }

    @Test
    void store_failure_isAnErrorWithoutTheSecret() throws Exception {
        install("cat; exit 3");
        var e =
                assertThrows(
                        ImageException.class,
                        () -> CredentialHelper.store(NAME, "a.example", "me", "canary"));
        assertTrue(e.getMessage().contains("asked to store"), e.getMessage());
        assertFalse(e.getMessage().contains("canary"), e.getMessage());
    }
}
