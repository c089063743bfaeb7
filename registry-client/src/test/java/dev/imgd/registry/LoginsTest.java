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
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LoginsTest {
    private static final Credentials ME = new Credentials.Login("me", "pa:ss");

    @TempDir Path directory;

    private Credentials find(Logins logins, String name) throws ImageException {
        return logins.find(name).orElseThrow().credentials();
    }

    @Test
    void store_newFile_isForTheOwnerOnly() throws Exception {
        Path file = directory.resolve("new/auth.json");
        Logins logins = Logins.in(file);
        assertEquals(file.toString(), logins.store("a.example:5000", ME));
        assertEquals(
                "rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(file)));
        assertEquals(
                "rwx------",
                PosixFilePermissions.toString(Files.getPosixFilePermissions(file.getParent())));
        assertEquals(ME, find(logins, "a.example:5000"));
        assertEquals(
                ME, CredentialSource.file(file).find("a.example:5000", "team/app").orElseThrow());
        assertTrue(logins.find("a.example").isEmpty());
        try (var left = Files.list(file.getParent())) {
            assertEquals(
                    List.of(file.resolveSibling(".auth.json.lock"), file),
                    left.sorted().toList(),
                    "nothing but the file and its lock");
        }
    }

    @Test
    void store_fileOfOthers_keepsWhatElseIsInIt() throws Exception {
        Path real = directory.resolve("real.json");
        Files.writeString(
                real,
                """
                {"detachKeys": "ctrl-x", "psFormat": {"a": [1, 2.50, null, true]},
                 "auths": {"https://b.example/v1/": {"auth": "dTpw"}, "c.example": {"auth": "dTpx"}}}
                """);
        Path file = Files.createSymbolicLink(directory.resolve("config.json"), real);
        Logins logins = Logins.in(file);
        logins.store("b.example", new Credentials.IdentityToken("t"));
        logins.store("b.example/team", ME);
        String text = Files.readString(real);
        assertTrue(text.contains("2.50"), text);
        assertTrue(text.contains("\"detachKeys\": \"ctrl-x\""), text);
        assertFalse(text.contains("https://b.example"), "an entry of another form is replaced");
        assertTrue(Files.isSymbolicLink(file));
        assertEquals(new Credentials.IdentityToken("t"), find(logins, "b.example"));
        assertEquals(ME, find(logins, "b.example/team"));
        assertEquals(ME, find(logins, "b.example/team/app"), "the longest key wins");
        assertEquals(new Credentials.Login("u", "q"), find(logins, "c.example"));

        assertEquals(List.of(file.toString()), logins.remove("b.example"));
        assertEquals(ME, find(logins, "b.example/team"));
        assertTrue(logins.find("b.example").isEmpty());
        assertEquals(List.of(), logins.remove("b.example"));
    }

    @Test
    void store_dockerHub_isUnderTheKeyThatDockerReads() throws Exception {
        Path file = directory.resolve("config.json");
        Logins logins = Logins.in(file);
        logins.store("docker.io", ME);
        assertTrue(Files.readString(file).contains("\"https://index.docker.io/v1/\""));
        assertEquals(ME, find(logins, "docker.io"));
        assertEquals(List.of(file.toString()), logins.remove("docker.io"));
    }

    @ParameterizedTest
    @CsvSource({
        // which files exist, which of them has an entry, which is written
        "'', '', home/.config/containers/auth.json",
        "home/.docker/config.json, '', home/.docker/config.json",
        "run/containers/auth.json, '', home/.config/containers/auth.json",
        "run/containers/auth.json, run/containers/auth.json, run/containers/auth.json",
    })
    void store_standardFiles_goesWhereItIsFound(String existing, String entry, String written)
            throws Exception {
        Map<String, String> environment = new HashMap<>();
        environment.put("HOME", directory.resolve("home").toString());
        environment.put("XDG_RUNTIME_DIR", directory.resolve("run").toString());
        for (String file : List.of(existing, entry)) {
            if (!file.isEmpty()) {
                write(directory.resolve(file), file.equals(entry));
            }
        }
        Logins logins = Logins.standard(environment);
        assertEquals(directory.resolve(written).toString(), logins.store("a.example", ME));
        assertEquals(ME, CredentialSource.standardFiles(environment).find("a.example", "x").get());

        environment.put("REGISTRY_AUTH_FILE", directory.resolve("named").toString());
        assertEquals(
                directory.resolve("named").toString(),
                Logins.standard(environment).store("other.example", ME));
    }

    private static void write(Path file, boolean entry) throws IOException {
        Files.createDirectories(file.getParent());
        Files.writeString(file, entry ? "{\"auths\":{\"a.example\":{\"auth\":\"dTpw\"}}}" : "{}");
    }

    /// Keeps credentials for some names in a file, as a process of its own.
    static final class Program {
        public static void main(String[] args) throws Exception {
            Path file = Path.of(args[0]);
            System.out.println("ready");
            System.out.flush();
            // All begin at once, as far as that can be had.
            int begin = System.in.read();
            for (int i = 0; begin >= 0 && i < Integer.parseInt(args[2]); i++) {
                Logins.in(file).store(args[1] + i + ".example", ME);
            }
        }
    }

    @Test
    void store_severalProcessesAndThreadsAtOnce_noneIsLost() throws Exception {
        int each = 25;
        Path file = directory.resolve("config.json");
        Files.writeString(file, "{\"detachKeys\": \"ctrl-x\"}");
        List<Process> processes = new ArrayList<>();
        try {
            for (String name : List.of("a", "b", "c")) {
                processes.add(
                        new ProcessBuilder(
                                        Path.of(System.getProperty("java.home"), "bin", "java")
                                                .toString(),
                                        "-cp",
                                        System.getProperty("java.class.path"),
                                        Program.class.getName(),
                                        file.toString(),
                                        name,
                                        Integer.toString(each))
                                .redirectError(ProcessBuilder.Redirect.INHERIT)
                                .start());
            }
            for (Process process : processes) {
                assertEquals("ready", process.inputReader().readLine());
            }
            for (Process process : processes) {
                process.getOutputStream().write('\n');
                process.getOutputStream().flush();
            }
            try (ExecutorService threads = Executors.newFixedThreadPool(2)) {
                List<Future<String>> stored = new ArrayList<>();
                for (int i = 0; i < each; i++) {
                    String name = "d" + i + ".example";
                    stored.add(threads.submit(() -> Logins.in(file).store(name, ME)));
                }
                for (Future<String> one : stored) {
                    assertEquals(file.toString(), one.get());
                }
            }
            for (Process process : processes) {
                assertTrue(process.waitFor(60, TimeUnit.SECONDS));
                assertEquals(0, process.exitValue());
            }
        } finally {
            processes.forEach(Process::destroyForcibly);
        }
        Logins logins = Logins.in(file);
        for (String name : List.of("a", "b", "c", "d")) {
            for (int i = 0; i < each; i++) {
                assertEquals(ME, find(logins, name + i + ".example"));
            }
        }
        assertTrue(Files.readString(file).contains("detachKeys"));
        assertEquals(
                "rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(file)));
        try (var left = Files.list(directory)) {
            assertEquals(
                    List.of(directory.resolve(".config.json.lock"), file), left.sorted().toList());
        }
    }

    @Test
    void remove_nothingThere_leavesNothing() throws Exception {
        Path file = directory.resolve("config.json");
        assertEquals(List.of(), Logins.in(file).remove("a.example"));
        Files.writeString(file, "{}");
        assertEquals(List.of(), Logins.in(file).remove("a.example"));
        try (var left = Files.list(directory)) {
            assertEquals(List.of(file), left.toList());
        }
    }

    @Test
    void store_noHome_saysWhatToDo() {
        ImageException e =
                assertThrows(
                        ImageException.class, () -> Logins.standard(Map.of()).store("a.b", ME));
        assertEquals(ErrorKind.FAILED_PRECONDITION, e.kind());
        assertTrue(e.getMessage().contains("REGISTRY_AUTH_FILE"), e.getMessage());
    }
}
