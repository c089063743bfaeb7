package dev.imgd.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// The script, as bash itself runs it.
class CompletionTest {
    @TempDir Path directory;

    private Path script(String shell) throws IOException {
        Cli run = Cli.run(new FakeImages(), "completion", shell);
        assertEquals(0, run.exit(), run.toString());
        assertEquals("", run.err());
        return Files.writeString(directory.resolve(shell), run.out());
    }

    private static String bash(String program) throws Exception {
        Process process =
                new ProcessBuilder("bash", "--norc", "-c", program)
                        .redirectErrorStream(true)
                        .start();
        process.getOutputStream().close();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), out);
        return out;
    }

    private Set<String> completions(String line) throws Exception {
        List<String> words = List.of(line.split(" ", -1));
        String program =
                """
                source '%s'
                COMP_WORDS=(%s)
                COMP_CWORD=%d
                _complete_imgctl imgctl "${COMP_WORDS[COMP_CWORD]}" x >/dev/null 2>&1
                printf '%%s\\n' "${COMPREPLY[@]}"
                """
                        .formatted(
                                script("bash"),
                                String.join(
                                        " ", words.stream().map(word -> "'" + word + "'").toList()),
                                words.size() - 1);
        Set<String> found = new TreeSet<>();
        for (String word : bash(program).split("\\s+")) {
            if (!word.isEmpty()) {
                found.add(word);
            }
        }
        return found;
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "imgctl pu|pull push",
                "imgctl b|blob bundle",
                "imgctl --ro|--root",
                "imgctl pull --pl|--plain-http --platform",
                "imgctl mount --r|--root --rw",
                "imgctl gc --dr|--dry-run",
                "imgctl registry t|tags test",
                "imgctl config con|containerd"
            })
    void bash_partOfAWord_isCompleted(String line, String expected) throws Exception {
        assertEquals(new TreeSet<>(Arrays.asList(expected.split(" "))), completions(line));
    }

    @Test
    void bash_nothingYet_offersEveryCommand() throws Exception {
        Set<String> found = completions("imgctl ");
        for (String command :
                List.of(
                        "pull",
                        "ls",
                        "inspect",
                        "tag",
                        "rm",
                        "gc",
                        "fsck",
                        "mount",
                        "unmount",
                        "bundle",
                        "import",
                        "export",
                        "push",
                        "copy",
                        "login",
                        "logout",
                        "whoami",
                        "registry",
                        "manifest",
                        "blob",
                        "quickstart",
                        "config",
                        "version",
                        "completion")) {
            assertTrue(found.contains(command), command + " in " + found);
        }
    }

    @Test
    void zsh_script_loadsBashCompletionFirst() throws Exception {
        assertTrue(Files.readString(script("zsh")).startsWith("autoload -U +X bashcompinit"));
    }
}
