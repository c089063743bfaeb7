package dev.imgd.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Optional;

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
        assertEquals(ErrorKind.FAILED_PRECONDITION, e.kind());
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
}
