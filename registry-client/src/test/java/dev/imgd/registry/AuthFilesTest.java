package dev.imgd.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AuthFilesTest {
    @TempDir Path directory;

    private static String base64(String pair) {
        return Base64.getEncoder().encodeToString(pair.getBytes(StandardCharsets.UTF_8));
    }

    private Optional<Credentials> find(String json, String authority, String repository)
            throws Exception {
        Path file = Files.writeString(directory.resolve("config.json"), json);
        return CredentialSource.file(file).find(authority, repository);
    }

    @Test
    void find_authOfDockerHub_underItsOldKey() throws Exception {
        String json =
                "{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"%s\"}},\"detachKeys\":\"x\"}"
                        .formatted(base64("user:pa:ss\u0000\u0000"));
        assertEquals(
                Optional.of(new Credentials.Login("user", "pa:ss")),
                find(json, "docker.io", "library/debian"));
        assertEquals(Optional.empty(), find(json, "quay.io", "library/debian"));
    }

    @Test
    void find_keysOfAllForms_matchTheHost() throws Exception {
        for (String key :
                List.of(
                        "reg.example:5000",
                        "http://reg.example:5000",
                        "https://reg.example:5000/v2/",
                        "https://reg.example:5000/v1/")) {
            String json = "{\"auths\":{\"%s\":{\"username\":\"u\",\"password\":\"p\"}}}";
            assertEquals(
                    Optional.of(new Credentials.Login("u", "p")),
                    find(json.formatted(key), "reg.example:5000", "a/b"),
                    key);
            assertEquals(Optional.empty(), find(json.formatted(key), "reg.example", "a/b"), key);
        }
    }

    @Test
    void find_repositoryKeys_longestWins() throws Exception {
        String json =
                """
                {"auths": {
                  "quay.io": {"username": "host", "password": "p"},
                  "quay.io/team": {"username": "team", "password": "p"},
                  "quay.io/team/app": {"username": "app", "password": "p"}}}
                """;
        assertEquals("app", user(find(json, "quay.io", "team/app")));
        assertEquals("team", user(find(json, "quay.io", "team/application")));
        assertEquals("host", user(find(json, "quay.io", "teamwork/app")));
        assertEquals(Optional.empty(), find(json, "quay.example", "team/app"));
    }

    private static String user(Optional<Credentials> credentials) {
        return credentials.orElseThrow() instanceof Credentials.Login login ? login.username() : "";
    }

    @Test
    void find_tokens_areTold() throws Exception {
        String json =
                """
                {"auths": {
                  "a.example": {"identitytoken": "id", "auth": "ignored"},
                  "b.example": {"registrytoken": "reg"},
                  "c.example": {}}}
                """;
        assertEquals(
                Optional.of(new Credentials.IdentityToken("id")), find(json, "a.example", "r"));
        assertEquals(
                Optional.of(new Credentials.RegistryToken("reg")), find(json, "b.example", "r"));
        assertEquals(Optional.empty(), find(json, "c.example", "r"));
    }

    @Test
    void find_malformed_saysWhereWithoutTheSecret() throws Exception {
        for (String auth : List.of("%%canary%%", base64("canary-without-colon"))) {
            var e =
                    assertThrows(
                            ImageException.class,
                            () ->
                                    find(
                                            "{\"auths\":{\"a\":{\"auth\":\"" + auth + "\"}}}",
                                            "a",
                                            "r"));
            assertTrue(e.getMessage().contains("config.json"), e.getMessage());
            assertFalse(e.getMessage().contains("canary"), e.getMessage());
            assertFalse(e.getMessage().contains(auth), e.getMessage());
        }
        assertThrows(ImageException.class, () -> find("{\"auths\":", "a", "r"));
        assertThrows(ImageException.class, () -> find("{\"auths\":{},\"auths\":{}}", "a", "r"));
    }

    /// A file that somebody edited by hand, or a program that forgot the quotes.
    @Test
    void find_notJson_saysWhereWithoutTheSecret() throws Exception {
        for (String entry :
                List.of(
                        "\"auth\": canary",
                        "\"auth\": 'canary'",
                        "\"auth\": \"canary",
                        "\"auth\": \"\\canary\"",
                        "\"identitytoken\", \"canary\"",
                        "\"canary\"",
                        "canary",
                        "\"auth\": \"x\" canary")) {
            var e =
                    assertThrows(
                            ImageException.class,
                            () -> find("{\"auths\":\n{\"a\":{" + entry + "}}}", "a", "r"));
            StringWriter all = new StringWriter();
            e.printStackTrace(new PrintWriter(all));
            assertFalse(all.toString().contains("anary"), all::toString);
            assertTrue(
                    e.getMessage()
                            .matches(".*config.json: .*\\(line 2, column \\d+, in /auths/a\\)"),
                    e.getMessage());
        }
    }

    @Test
    void find_requiredFileMissing_isAnError() {
        var e =
                assertThrows(
                        ImageException.class,
                        () -> CredentialSource.file(directory.resolve("none")).find("a", "r"));
        assertEquals(ErrorKind.NOT_FOUND, e.kind());
    }

    @Test
    void standardFiles_environment_decidesTheOrder() throws Exception {
        Path runtime = Files.createDirectories(directory.resolve("run/containers"));
        Path home = Files.createDirectories(directory.resolve("home/.docker"));
        Path docker = Files.createDirectories(directory.resolve("docker"));
        String json = "{\"auths\":{\"%s\":{\"username\":\"%s\",\"password\":\"p\"}}}";
        Files.writeString(runtime.resolve("auth.json"), json.formatted("a", "runtime"));
        Files.writeString(home.resolve("config.json"), json.formatted("b", "home"));
        Files.writeString(docker.resolve("config.json"), json.formatted("a", "docker"));
        String root = directory.toString();

        CredentialSource both =
                CredentialSource.standardFiles(
                        Map.of("XDG_RUNTIME_DIR", root + "/run", "HOME", root + "/home"));
        assertEquals("runtime", user(both.find("a", "r")));
        assertEquals("home", user(both.find("b", "r")));
        CredentialSource moved =
                CredentialSource.standardFiles(
                        Map.of("DOCKER_CONFIG", root + "/docker", "HOME", root + "/home"));
        assertEquals("docker", user(moved.find("a", "r")));
        assertEquals(Optional.empty(), moved.find("b", "r"));
        assertEquals(Optional.empty(), CredentialSource.standardFiles(Map.of()).find("a", "r"));
    }

    @Test
    void toString_credentials_hidesSecrets() {
        for (Credentials credentials :
                List.of(
                        new Credentials.Login("canary", "canary"),
                        new Credentials.IdentityToken("canary"),
                        new Credentials.RegistryToken("canary"))) {
            assertFalse(credentials.toString().contains("canary"));
        }
    }
}
